"""The first look at a network: does it behave as a classifier, and does its copy stand alone?

Before a network is used it runs on random images, in batches of several sizes. That shows whether
it returns scores, treats each image by itself, draws random numbers and takes a usual chunk at
once. Meanwhile operations are watched: a run of the private copy that reaches a part of the
original is refused.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from convscope._network.black_box import TRIAL, BlackBox
from convscope._network.chunks import rows_per_chunk
from convscope._network.runner import ClassifierLike, Execution, Runner, without_autocast
from convscope._random import RandomStates
from convscope.errors import ConvscopeError, ModelContractError

Result = TypeVar("Result")


class Trial(NamedTuple):
    """What a few runs of a network show.

    Attributes:
        scores: ``(image, class)``, as the network returns them, of random images.
        draws: Whether it draws from a global random state.
        randomized: Whether the same images got other scores the second time.
        rows: The largest batch that it took, if that is less than a usual chunk.
    """

    scores: Tensor
    draws: bool
    randomized: bool
    rows: int | None


def run_trial(classifier: ClassifierLike) -> Trial:
    """Run the network on random images of several sizes of batches, and compare.

    Raises:
        ModelContractError: M01, M02, M03 for what it returns; M14 if it fails; M24 if the scores
            of an image depend on the other images of its batch; M25 if the copy runs a part of
            the original.
    """
    return in_worker_thread(lambda: _run_trial(classifier))


def _run_trial(classifier: ClassifierLike) -> Trial:
    runner = Runner(classifier, Execution(reason="a first look"))
    usual = rows_per_chunk(classifier.input_shape, classifier.device)
    if isinstance(classifier.module, BlackBox):
        usual = TRIAL
    images = random_images(max(usual, 6), classifier.input_shape)
    seen = _RandomOps()  # type: ignore[no-untyped-call]

    def scores(rows: Any) -> Tensor:
        batch = images[rows]
        watched = seen, _Watch(runner.originals), _forbid_originals(runner.parts)
        with contextlib.ExitStack() as stack:
            for calm in (torch.inference_mode(False), torch.no_grad(),
                         without_autocast(classifier.device), *watched):  # fmt: skip
                stack.enter_context(calm)
            returned = runner(runner.prepare(batch))
            return runner.raw_scores(returned, len(batch)).clone()

    states, draws = RandomStates(), False
    try:
        try:
            first, again = scores(slice(0, 2)), scores(slice(0, 2))
        except ConvscopeError:
            raise
        except Exception as error:
            raise failed(classifier, images[:2], error) from error
        # NumPy's and Python's states may have been moved by another thread.
        differs = differ(first, again)
        draws = (seen.seen and states.moved()) or (differs and states.moved_elsewhere())
        randomized = draws or differs
        whole, rows = first, usual
        while rows > 2:
            try:
                whole = scores(slice(0, max(rows, 6)))
                break
            except ConvscopeError:
                raise
            except Exception:
                rows //= 2
        if not randomized:
            for row in {0, len(whole) // 2, len(whole) - 1}:
                _require_independence(scores, whole, row)
    finally:
        if draws and states.moved():
            states.rewind()
    return Trial(
        scores=whole, draws=draws, randomized=randomized, rows=None if rows == usual else rows
    )


def _require_independence(scores: Any, whole: Tensor, row: int) -> None:
    """One image by itself, or beside one other if a batch of one is too small, as in its batch."""
    other = 0 if row else len(whole) - 1
    try:
        alone = scores([row])
    except Exception:
        alone = scores([row, other])[:1]
    if differ(whole[row : row + 1], alone):
        raise ModelContractError(
            "the logits of an image depend on the other images of its batch",
            code="M24",
            expected="a network that treats each image by itself in evaluation mode",
            hint="batch normalization needs running statistics (track_running_stats=True); nn.LSTM "
            "needs batch_first=True; scales or sums over the batch axis belong to each image",
        )


def random_images(count: int, shape: tuple[int, int, int]) -> Tensor:
    """Random images of different brightness and contrast."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    images = torch.rand(count, *shape, generator=generator, dtype=torch.float32, device="cpu")
    share = torch.linspace(0, 1, count, device="cpu", dtype=torch.float32)
    order = torch.randperm(count, generator=generator, device="cpu")
    contrast = (0.2 + 0.8 * share[order]).view(-1, 1, 1, 1)
    return images * contrast + (1 - contrast) * share.view(-1, 1, 1, 1)


def differ(first: Tensor, second: Tensor) -> bool:
    """More than threads and kernels explain, which may add up in another order."""
    share = 1e-4 if first.dtype in (torch.float32, torch.float64) else 2e-2
    a, b = first.detach().double(), second.detach().double()
    known = a.isfinite() & b.isfinite()
    if not bool(known.any()):
        return bool((a.isfinite() != b.isfinite()).any())
    return bool((a - b)[known].abs().amax() > share * a[known].abs().amax().clamp_min(1e-30))


class _RandomOps(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notices operations of this thread that may draw random numbers."""

    seen = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.seen = True
        return func(*args, **(kwargs or {}))


def failed(classifier: ClassifierLike, images: Tensor, error: Exception) -> ModelContractError:
    """The network's own failure, in a sentence."""
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    inputs = "positional argument" in first
    return ModelContractError(
        f"the network failed on images of shape {tuple(images.shape)}: {first}",
        code="M14",
        expected="a forward that takes one batch of images"
        if inputs
        else _first_layer(classifier.module),
        hint="wrap a module whose forward fills in the other inputs"
        if inputs
        else "check input_shape=(channel, height, width); this classifier was made for "
        f"{classifier.input_shape}",
    )


def _first_layer(module: nn.Module) -> str:
    for name, child in nn.Module.named_modules(module):
        if isinstance(child, nn.Conv2d):
            return f"{child.in_channels} channels: first convolution {name!r}"
        if isinstance(child, nn.Linear):
            return f"{child.in_features} values: first linear layer {name!r}"
    return "an input that the network accepts"


# ---------------------------------------------------------------------- watching


def in_worker_thread(function: Callable[[], Result]) -> Result:
    """What `function` returns or raises, run in a thread of its own if this is the main one.

    Modes of torch that watch every operation live on a stack of the thread. A KeyboardInterrupt
    between pushing and popping would leave one there, and everything that the thread does
    afterwards would be watched. Python delivers signals to the main thread only, so what needs
    such a mode runs in another one; an interrupt ends the waiting at once, and the other thread
    finishes by itself.

    Example:
        >>> in_worker_thread(lambda: 6 * 7)
        42
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    ended: list[tuple[Any, BaseException | None]] = []
    context = contextvars.copy_context()

    def work() -> None:
        try:
            ended.append((context.run(function), None))
        except BaseException as error:
            ended.append((None, error))

    thread = threading.Thread(target=work, name="convscope-look", daemon=True)
    thread.start()
    thread.join()
    value, error = ended[0]
    if error is not None:
        raise error
    found: Result = value
    return found


class _Watch(TorchFunctionMode):
    """Refuses a run of the copy that reaches a tensor of the original.

    Some ways to a module cannot be copied: a proxy, a class attribute, a global that a method of
    the network's class uses. An operation on an original's parameter or buffer is refused before
    it happens.

    Raises:
        ModelContractError: M25 with the name of the part.
    """

    def __init__(self, originals: dict[int, str]) -> None:
        super().__init__()
        self.originals = originals

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for value in (*args, *(kwargs or {}).values()):
            several = value if isinstance(value, list | tuple) else (value,)
            for item in several:
                if id(item) in self.originals:
                    raise _reached(self.originals[id(item)])
        return func(*args, **(kwargs or {}))


def _reached(name: str) -> ModelContractError:
    return ModelContractError(
        f"the network reaches its part {name!r} in a way that cannot be copied",
        code="M25",
        expected="modules that are attributes of the network, used as self.NAME",
        hint="do not use a module by a global name, a class attribute or a weak proxy",
    )


@contextlib.contextmanager
def _forbid_originals(parts: dict[int, str]) -> Iterator[None]:
    """Within this context and thread, refuse calls of the original's modules.

    A part without tensors, such as dropout, is in the mode of the original where it is reached by
    a way that was not copied. Calls are seen by Python's own profiler.

    Raises:
        ModelContractError: M25 with the name of the part.
    """
    codes = {nn.Module._call_impl.__code__}
    before = sys.getprofile()

    def observe(frame: types.FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code in codes:
            name = parts.get(id(frame.f_locals.get("self")))
            if name is not None:
                raise _reached(name)

    sys.setprofile(observe)
    try:
        yield
    finally:
        sys.setprofile(before)
