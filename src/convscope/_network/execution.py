"""On which path a network runs: plainly, or with speed tricks that were proven on it.

Three tricks change how a network runs and not what it computes: channels-last layout, exchanging
a ReLU and the max-pooling that alone sees it, and a faster gradient of convolutions of few
channels. They need two proofs. The structure must show that nothing can notice: every module is
one whose forward is known, torch's own or this package's, and nobody listens. And logits and
gradients of a small batch must be those of plain execution. Every other network runs as it is, in
torch's default layout.
"""

from __future__ import annotations

import contextlib
import enum
import struct
import types
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_file
from torch.utils._python_dispatch import TorchDispatchMode

from convscope._network.apart import Watch, apart, unreached
from convscope._network.narrow import is_narrow
from convscope._network.runner import (
    IN_ORDER,
    Execution,
    Runner,
    Wrapped,
    fast_paths_allowed,
    rows_per_chunk,
    undisturbed,
)
from convscope._random import RandomStates
from convscope.errors import ConvscopeError, ModelContractError

MOST_KNOWN = 8
"""How many states of one network are remembered, for networks that change from call to call."""


# ---------------------------------------------------------------------- deciding


def execution_of(classifier: Wrapped) -> Execution:
    """The path of this classifier's network as it is now; looked at once for each structure.

    Raises:
        ModelContractError: If the network does not behave as a classifier, see `Classifier.wrap`.
    """
    known = classifier._executions
    key = fingerprint(classifier.module)[0]
    execution = known.get(key)
    if execution is None:
        execution = decide(classifier, look(classifier))
        remember(known, key, execution)
    if fast_paths_allowed() or not execution.fast:
        return execution
    return Execution(
        reason="fast paths are switched off", draws=execution.draws, rows=execution.rows
    )


def remember(known: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep the last few."""
    while len(known) >= MOST_KNOWN:
        known.pop(next(iter(known)), None)
    known[key] = value


class Look(NamedTuple):
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


def look(classifier: Wrapped) -> Look:
    """See `_look`: run apart, because it watches operations."""
    return apart(lambda: _look(classifier))


def _look(classifier: Wrapped) -> Look:
    """Run the network on random images of several sizes of batches, and compare.

    Raises:
        ModelContractError: M01, M02, M03 for what it returns; M14 if it fails; M24 if the scores
            of an image depend on the other images of its batch; M25 if the copy runs a part of
            the original.
    """
    runner = Runner(classifier, Execution(reason="a first look"))
    usual = rows_per_chunk(classifier.input_shape, classifier.device)
    images = _varied(max(usual, 6), classifier.input_shape)
    seen = _Drawing()  # type: ignore[no-untyped-call]

    def scores(rows: Any) -> Tensor:
        batch = images[rows]
        watched = seen, Watch(runner.originals), unreached(runner.parts)
        with contextlib.ExitStack() as stack:
            for calm in (torch.inference_mode(False), torch.no_grad(),
                         undisturbed(classifier.device), *watched):  # fmt: skip
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
    return Look(
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


def _varied(count: int, shape: tuple[int, int, int]) -> Tensor:
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


class _Drawing(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notices operations of this thread that may draw random numbers."""

    seen = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.seen = True
        return func(*args, **(kwargs or {}))


def failed(classifier: Wrapped, images: Tensor, error: Exception) -> ModelContractError:
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


def decide(classifier: Wrapped, seen: Look) -> Execution:
    """The path of a network that was looked at."""
    module = classifier.module
    plain = Execution(reason="", draws=seen.draws, rows=seen.rows)
    if seen.draws:
        return replace(plain, reason="it draws random numbers")
    if classifier.device.type != "cpu" or classifier.dtype != torch.float32:
        words = f"{str(classifier.dtype).removeprefix('torch.')} on {classifier.device.type}"
        return replace(plain, reason=words)
    doubt = next((words for words in map(_doubt, nn.Module.modules(module)) if words), None)
    if doubt is not None:
        return replace(plain, reason=doubt)
    proposed = replace(
        plain,
        reason="every module is torch's or ours",
        channels_last=True,
        exchanges=_pairs_in_sequences(module),
        narrow=tuple(name for name, child in module.named_modules() if is_narrow(child)),
    )
    return _checked(classifier, plain, proposed)


def _checked(classifier: Wrapped, plain: Execution, proposed: Execution) -> Execution:
    """`proposed` if a small batch shows the same logits and gradients, else plain execution.

    Where channels-last is what fails, as in networks that need another layout, the other tricks
    are tried without it.
    """
    try:
        expected = _sample(classifier, plain)
    except Exception as error:
        return replace(plain, reason=f"it could not be tried: {type(error).__name__}")
    why = proposed.reason
    for attempt in (proposed, replace(proposed, channels_last=False)):
        if not attempt.fast:
            continue
        try:
            found = _sample(classifier, attempt)
        except Exception as error:
            why = f"a trial on the fast path failed: {type(error).__name__}"
            continue
        if all(map(_same, found, expected)):
            return attempt
        why = "the fast path gave other numbers"
    return replace(plain, reason=why)


TOLERANCE = 2e-5
"""How far fast and plain numbers may differ, as a share of the largest: rounding in other order."""


def _same(found: Tensor, expected: Tensor) -> bool:
    size = max(float(expected.abs().max()), 1e-30)
    return torch.allclose(found, expected, rtol=0, atol=TOLERANCE * size)


def _sample(classifier: Wrapped, execution: Execution) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of two random images with and without a graph, and the gradient of a random mix."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    runner = Runner(classifier, execution)
    x = _varied(2, classifier.input_shape)
    with torch.inference_mode(False), undisturbed(classifier.device):
        with torch.no_grad():
            plain = runner.to_logits(runner(runner.prepare(x)), 2).clone()
        with torch.enable_grad():
            x = x.requires_grad_(True)
            logits = runner.to_logits(runner(runner.prepare(x)), 2)
            mix = torch.randn(logits.shape, generator=generator, dtype=logits.dtype, device="cpu")
            (gradient,) = torch.autograd.grad((logits * mix.to(logits.device)).sum(), x)
    return plain, logits.detach(), gradient


# ---------------------------------------------------------------------- structure


class _Same:
    """An object that is equal to itself only, kept alive so that no other takes its identity."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def fingerprint(module: nn.Module) -> tuple[tuple[Any, ...], bool]:
    """Everything plain that a forward may branch on: classes, settings, hooks, names.

    Returns:
        Something to compare, and whether it is all there is: not if the network holds objects
        that can change inside.
    """
    rows: list[Any] = [_Same(item) for item in _global_hooks()]
    contents: dict[int, Any] = {}
    solid = True
    for path, child in nn.Module.named_modules(module):
        if isinstance(child, torch.jit.ScriptModule):
            rows.append(_Same(child))
            continue
        kind = type(child)
        ways = ("forward", "_conv_forward", "__call__")
        rows.append((path, kind, *(_Same(getattr(kind, way, None)) for way in ways)))
        for name, value in list(vars(child).items()):
            if name == "training":
                continue
            if type(value) in _PLAIN or (
                type(value) is tuple and all(type(item) in _PLAIN for item in value)
            ):
                rows.append((name, type(value), value))
            elif name in _HOOKS:
                rows.extend((name, _Same(hook)) for hook in list(value.values()))
            elif name not in _STATE and not isinstance(value, nn.Module | Tensor):
                content = _content(value, contents)
                rows.append((name, _Same(value), content))
                solid = solid and content is not None
        for held in (child._parameters, child._buffers):
            rows.extend(
                (n, p.dtype, p.device, tuple(p.shape)) for n, p in held.items() if p is not None
            )
    return tuple(rows), solid


def _content(value: Any, known: dict[int, Any]) -> Any:
    """What a value holds, to compare, or ``None`` if something in it could change unseen.

    Followed are dictionaries, lists, sets and tuples, and objects that keep all they have in their
    ``__dict__``, such as the configuration that transformers' networks carry in every layer.

    Args:
        value: Anything.
        known: What earlier values hold, by identity; this one is added.
    """
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind in _FIXED or isinstance(value, enum.Enum):
        return kind, _Same(value)
    if id(value) in known:
        return known[id(value)]
    known[id(value)] = None  # A value that holds itself is not followed.
    items: list[Any]
    if kind in (list, tuple):
        items = list(value)
    elif kind is dict:
        items = [item for pair in value.items() for item in pair]
    elif kind in (set, frozenset):
        items = list(value)
    elif _all_in_dict(kind):
        items = [item for pair in vars(value).items() for item in pair]
    else:
        return None
    parts = [_content(item, known) for item in items]
    if any(part is None for part in parts):
        return None
    whole = frozenset(parts) if kind in (set, frozenset) else tuple(parts)
    known[id(value)] = kind, whole
    return known[id(value)]


@cache
def _all_in_dict(kind: type) -> bool:
    """Whether instances of a class keep all that they are in their ``__dict__``.

    Not if it has slots or comes from a class written in C with memory of its own.
    """
    pointers = (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    own = kind.__basicsize__ - object.__basicsize__ - pointers * struct.calcsize("P")
    return kind.__dictoffset__ != 0 and kind.__itemsize__ == 0 and own <= 0


_PLAIN = frozenset((bool, int, float, str, bytes, type(None)))
_FIXED = frozenset((type, torch.dtype, torch.device, torch.Size, types.BuiltinFunctionType))
_HOOKS = frozenset(name for name in vars(nn.Module()) if name.endswith("_hooks"))
_STATE = frozenset(vars(nn.Module()))


def _global_hooks() -> list[Any]:
    """Hooks on every module of the process."""
    found = []
    for name in ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks",
                 "_global_backward_pre_hooks"):  # fmt: skip
        found += list(getattr(module_file, name, {}).values())
    return found


OURS = ("torch.nn.modules.", "convscope.models.")


def _doubt(module: nn.Module) -> str | None:
    """Why nothing is known about how this module is run, or ``None``."""
    kind = type(module)
    if not kind.__module__.startswith(OURS):
        return f"{kind.__name__} is neither torch's nor ours"
    if "forward" in vars(module) or "_modules" not in vars(module):
        return f"{kind.__name__} has a forward of its own"
    for name in ("forward", "_conv_forward", "__call__"):
        function = getattr(kind, name, None)
        if function is not None and not str(function.__module__).startswith(
            (*OURS, "torch.nn.modules")
        ):
            return f"{kind.__name__}.{name} was replaced"
    if any(bool(vars(module).get(name)) for name in _HOOKS if "state_dict" not in name):
        return f"{kind.__name__} has hooks"
    return "there are hooks on every module" if _global_hooks() else None


def _pairs_in_sequences(module: nn.Module) -> tuple[tuple[str, str], ...]:
    """Neighbors ReLU and max-pooling in sequences, each used in one place only."""
    uses = Counter(
        id(item) for child in module.modules() for item in child._modules.values() if item
    )
    pairs = []
    for path, chain in module.named_modules():
        plain = type(chain) is nn.Sequential or IN_ORDER in type(chain).__dict__
        if not plain or uses[id(chain)] > 1:
            continue
        items = list(chain._modules.items())
        for (one, relu), (two, pool) in pairwise(items):
            alone = uses[id(relu)] == uses[id(pool)] == 1
            fits = type(relu) is nn.ReLU and type(pool) is nn.MaxPool2d
            if fits and alone and not pool.return_indices:
                pairs.append((f"{path}.{one}".lstrip("."), f"{path}.{two}".lstrip(".")))
    return tuple(pairs)
