"""On which path a network runs: plainly, or with speed tricks that were proven on it.

Five tricks change how a network runs and not what it computes: channels-last layout, batch
normalization folded into the convolution that it alone sees, padding by nothing skipped, exchanging
a ReLU and the max-pooling that alone sees it, and a faster gradient of convolutions of few
channels. They need two proofs. The structure must show that nothing can notice: every module is one
whose forward is known, torch's own, this package's or, for the first three, a library's of
networks, and nobody listens. And logits and gradients of a small batch must be those of plain
execution. Every other network runs as it is, in torch's default layout.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_file

from convscope._network.black_box import BlackBox
from convscope._network.runner import (
    IN_ORDER,
    ClassifierLike,
    EmptyPadding,
    Execution,
    Fold,
    Runner,
    fast_paths_allowed,
    is_narrow,
    without_autocast,
)
from convscope._network.trial_run import Trial, random_images, run_trial

MOST_KNOWN = 8
"""How many states of one network are remembered, for networks that change from call to call."""


# ---------------------------------------------------------------------- deciding


def execution_of(classifier: ClassifierLike, seen: tuple[Any, ...] | None = None) -> Execution:
    """The path of this classifier's network as it is now; looked at once for each structure.

    Args:
        classifier: Remembers it.
        seen: The `fingerprint` of its network, if it was just taken.

    Raises:
        ModelContractError: If the network does not behave as a classifier, see `Classifier.wrap`.
    """
    if isinstance(classifier.module, BlackBox):
        # It was looked at when it was made, and does not change: each further look costs calls.
        return Execution(reason="a black box", draws=classifier.module.draws)
    known = classifier._executions
    key = fingerprint(classifier.module) if seen is None else seen
    execution = known.get(key)
    if execution is None:
        execution = decide(classifier, run_trial(classifier))
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


def decide(classifier: ClassifierLike, seen: Trial) -> Execution:
    """The path of a network that was looked at."""
    module = classifier.module
    plain = Execution(reason="", draws=seen.draws, rows=seen.rows)
    if seen.draws:
        return replace(plain, reason="it draws random numbers")
    if classifier.device.type != "cpu" or classifier.dtype != torch.float32:
        words = f"{str(classifier.dtype).removeprefix('torch.')} on {classifier.device.type}"
        return replace(plain, reason=words)
    doubt = _doubt_about(module, (*OURS, *LIBRARIES))
    if doubt is not None:
        return replace(plain, reason=doubt)
    try:
        with EmptyPadding() as padding:
            folds = _folds(classifier, plain)
    except Exception as error:
        return replace(plain, reason=f"it could not be tried: {type(error).__name__}")
    proposed = replace(
        plain,
        reason="every module is torch's or a library's",
        channels_last=not may_crash_channels_last(module),
        folds=folds,
        skips_empty_padding=padding.met > 0,
    )
    if _doubt_about(module, OURS) is None:
        proposed = replace(
            proposed,
            reason="every module is torch's or ours",
            exchanges=_pairs_in_sequences(module),
            narrow=tuple(name for name, child in module.named_modules() if is_narrow(child)),
        )
    return _checked(classifier, plain, proposed)


def may_crash_channels_last(module: nn.Module) -> bool:
    """Whether a gradient in channels-last order may end the process, which no trial can catch.

    Convolutions in groups with another number of channels behind them do so in torch 2.14
    (fastvit_t8 of timm).
    """
    return any(
        isinstance(layer, nn.Conv2d)
        and layer.groups > 1
        and layer.in_channels != layer.out_channels
        for layer in module.modules()
    )


def _checked(classifier: ClassifierLike, plain: Execution, proposed: Execution) -> Execution:
    """`proposed` if a small batch shows the same logits and gradients, else plain execution.

    Where folding or channels-last is what fails, as in networks that need another layout, the
    other tricks are tried without it.
    """
    try:
        expected = _sample(classifier, plain)
    except Exception as error:
        return replace(plain, reason=f"it could not be tried: {type(error).__name__}")
    why = proposed.reason
    attempts = [
        proposed,
        replace(proposed, folds=()),
        replace(proposed, channels_last=False),
        replace(proposed, channels_last=False, folds=()),
        replace(proposed, channels_last=False, folds=(), skips_empty_padding=False),
    ]
    for attempt in dict.fromkeys(attempts):
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


def _sample(classifier: ClassifierLike, execution: Execution) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of two random images with and without a graph, and the gradient of a random mix."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    runner = Runner(classifier, execution)
    x = random_images(2, classifier.input_shape)
    with torch.inference_mode(False), without_autocast(classifier.device):
        with torch.no_grad():
            plain = runner.to_logits(runner(runner.prepare(x)), 2).clone()
        with torch.enable_grad():
            x = x.requires_grad_(True)
            logits = runner.to_logits(runner(runner.prepare(x)), 2)
            mix = torch.randn(logits.shape, generator=generator, dtype=logits.dtype, device="cpu")
            (gradient,) = torch.autograd.grad((logits * mix.to(logits.device)).sum(), x)
    return plain, logits.detach(), gradient


# ---------------------------------------------------------------------- structure


class ById:
    """An object that is equal to itself only, kept alive so that no other takes its identity."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ById) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def fingerprint(module: nn.Module) -> tuple[Any, ...]:
    """Everything plain that a forward may branch on, to compare: classes, settings, hooks, names.

    Other objects are compared by identity; what they hold is the matter of `snapshot`.
    """
    rows: list[Any] = [ById(item) for item in global_hooks()]
    ways: dict[type, tuple[ById, ...]] = {}
    for path, child in nn.Module.named_modules(module):
        if isinstance(child, torch.jit.ScriptModule):
            rows.append(ById(child))
            continue
        kind = type(child)
        if kind not in ways:
            ways[kind] = tuple(ById(getattr(kind, way, None)) for way in WAYS)
        rows.append((path, kind, *ways[kind]))
        for name, value in list(vars(child).items()):
            held_in = type(value)
            if name == "training":
                continue
            if held_in in PLAIN or (held_in is tuple and PLAIN.issuperset(map(type, value))):
                rows.append((name, held_in, value))
            elif name in HOOKS:
                if value:
                    rows.extend((name, ById(hook)) for hook in list(value.values()))
            elif name not in MODULE_STATE and not isinstance(value, MODULES_AND_TENSORS):
                rows.append((name, ById(value)))
        for held in (child._parameters, child._buffers):
            for name, tensor in list(held.items()):
                if tensor is not None:
                    rows.append((name, tensor.dtype, tensor.device, tensor.shape))
    return tuple(rows)


PLAIN = frozenset((bool, int, float, str, bytes, type(None)))
WAYS = ("forward", "_conv_forward", "__call__")
"""What of a module's class decides what running it does."""
MODULES_AND_TENSORS = (nn.Module, Tensor)
HOOKS = frozenset(name for name in vars(nn.Module()) if name.endswith("_hooks"))
MODULE_STATE = frozenset(vars(nn.Module()))


def global_hooks() -> list[Any]:
    """Hooks on every module of the process."""
    found = []
    for name in ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks",
                 "_global_backward_pre_hooks"):  # fmt: skip
        found += list(getattr(module_file, name, {}).values())
    return found


OURS = ("torch.nn.modules.", "convscope.models.")
LIBRARIES = ("transformers.models.", "transformers.activations", "timm.", "torchvision.")
"""Libraries of networks whose modules do what they say, whatever the layout of their inputs."""


def _doubt_about(root: nn.Module, known: tuple[str, ...]) -> str | None:
    """Why nothing is known about how a network is run, or ``None``."""
    found = (_doubt(child, known) for child in nn.Module.modules(root))
    return next((words for words in found if words), None)


def _doubt(module: nn.Module, known: tuple[str, ...]) -> str | None:
    """Why nothing is known about how this module is run, or ``None``.

    Args:
        module: One module of a network.
        known: Beginnings of the names of Python modules whose classes are known.
    """
    kind = type(module)
    if not kind.__module__.startswith(known):
        return f"{kind.__name__} is neither torch's nor ours"
    if "forward" in vars(module) or "_modules" not in vars(module):
        return f"{kind.__name__} has a forward of its own"
    for name in ("forward", "_conv_forward", "__call__"):
        function = getattr(kind, name, None)
        if function is not None and not str(function.__module__).startswith(
            (*known, "torch.nn.modules")
        ):
            return f"{kind.__name__}.{name} was replaced"
    if any(bool(vars(module).get(name)) for name in HOOKS if "state_dict" not in name):
        return f"{kind.__name__} has hooks"
    return "there are hooks on every module" if global_hooks() else None


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


def _folds(classifier: ClassifierLike, plain: Execution) -> tuple[Fold, ...]:
    """Batch normalizations that see a convolution's output, which no other module sees.

    Found in one run: both are called once, and what goes into one is what came out of the other,
    unchanged.
    """
    runner = Runner(classifier, plain)
    modules = {id(child): name for name, child in nn.Module.named_modules(runner.module)}
    made: dict[int, tuple[str, Tensor, int]] = {}
    shown: dict[int, list[str]] = {}
    readers: dict[int, list[str]] = {}
    calls: Counter[str] = Counter()

    def before(child: nn.Module, inputs: tuple[Any, ...]) -> None:
        for value in inputs:
            known = made.get(id(value))
            if known is not None and value is known[1]:
                same = value._version == known[2]
                readers.setdefault(id(value), []).append(modules[id(child)] if same else "")

    def after(child: nn.Module, inputs: object, output: object) -> None:
        path = modules[id(child)]
        calls[path] += 1
        if isinstance(output, Tensor):
            if type(child) is nn.Conv2d and id(output) not in made:
                made[id(output)] = (path, output, output._version)
            if id(output) in made:
                shown.setdefault(id(output), []).append(path)

    for child in nn.Module.modules(runner.module):
        child.register_forward_pre_hook(before)
        child.register_forward_hook(after)
    images = random_images(2, classifier.input_shape)
    with torch.inference_mode(False), torch.no_grad(), without_autocast(classifier.device):
        runner.run_with_hooks(runner.prepare(images))
    found = []
    for key, (path, _, _) in made.items():
        seen_by = readers.get(key, [])
        norm = seen_by[0] if len(seen_by) == 1 else ""
        foldable = norm and _normalizes(runner.module.get_submodule(norm))
        if foldable and calls[path] == calls[norm] == 1 and norm not in shown[key]:
            found.append(Fold(path, norm, tuple(shown[key])))
    return tuple(found)


def _normalizes(module: nn.Module) -> bool:
    return type(module) is nn.BatchNorm2d and module.running_var is not None
