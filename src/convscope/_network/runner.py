"""A private copy of a network, the path it runs on, and what a path changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from convscope._float32 import whole_float32
from convscope._network.frozen_copy import FrozenCopy
from convscope._random import Draws

IN_ORDER = "applies_children_in_order"
"""Class attribute of sequences with a forward of their own that still is a plain sequence."""


SWITCH = "CONVSCOPE_FAST_PATHS"
"""Environment variable: ``0`` or ``off`` runs every network plainly."""


@runtime_checkable
class ClassifierLike(Protocol):
    """What running a network takes: a `convscope.classifier.Classifier`, seen from below."""

    @property
    def _executions(self) -> dict[Any, Any]: ...
    @property
    def module(self) -> nn.Module: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def input_shape(self) -> tuple[int, int, int]: ...
    @property
    def preprocess(self) -> Callable[[Tensor], Tensor] | None: ...
    @property
    def output(self) -> Callable[[object], Tensor] | None: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def prepare(self, images: Tensor) -> Tensor: ...
    def to_logits(self, returned: object, count: int) -> Tensor: ...
    def raw_scores(self, returned: object, count: int) -> Tensor: ...


_allowed: ContextVar[bool | None] = ContextVar("fast paths", default=None)


@contextmanager
def fast_paths(on: bool) -> Iterator[None]:
    """Within this context (and thread), allow or forbid every speed trick.

    Args:
        on: ``False`` runs all networks plainly; ``True`` overrules the environment variable
            ``CONVSCOPE_FAST_PATHS=0``.

    Example:
        >>> import convscope
        >>> with convscope.fast_paths(False):
        ...     convscope.load("mnist-conv1").describe()["execution"]
        'plain (fast paths are switched off)'
    """
    token = _allowed.set(on)
    try:
        yield
    finally:
        _allowed.reset(token)


def fast_paths_allowed() -> bool:
    """Whether speed tricks may be used at all."""
    chosen = _allowed.get()
    if chosen is not None:
        return chosen
    return os.environ.get(SWITCH, "").strip().lower() not in ("0", "off", "no", "false")


class Fold(NamedTuple):
    """A convolution that does the work of the batch normalization behind it.

    Attributes:
        convolution: Name of the module.
        normalization: Name of the batch normalization that alone sees its output.
        shows: Names of the modules whose output is the convolution's: itself, and what hands it on.
    """

    convolution: str
    normalization: str
    shows: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a `Probe` runs one network.

    Attributes:
        reason: Why it may run fast, or why it runs plainly.
        channels_last: Images and convolution weights are laid out channels-last.
        exchanges: Pairs of module names, a ReLU and the max-pooling after it, that change places.
        narrow: Names of convolutions with the faster gradient.
        folds: Batch normalizations that are part of the convolution before them.
        skips_empty_padding: Padding by nothing, which copies its input, hands it on.
        draws: Whether the network draws random numbers in evaluation mode.
        rows: The largest batch that it takes at once, if that is less than a usual chunk.
    """

    reason: str
    channels_last: bool = False
    exchanges: tuple[tuple[str, str], ...] = ()
    narrow: tuple[str, ...] = ()
    folds: tuple[Fold, ...] = ()
    skips_empty_padding: bool = False
    draws: bool = False
    rows: int | None = None

    @property
    def fast(self) -> bool:
        """Whether any trick is used."""
        return bool(
            self.channels_last
            or self.exchanges
            or self.narrow
            or self.folds
            or self.skips_empty_padding
        )

    def __str__(self) -> str:
        """Such as ``"fast: channels-last (every module is torch's or ours)"``."""
        if not self.fast:
            return f"plain ({self.reason})"
        tricks = ["channels-last"] if self.channels_last else []
        if self.exchanges:
            tricks.append(f"{len(self.exchanges)} x ReLU after max-pooling")
        if self.folds:
            tricks.append(f"{len(self.folds)} x batch normalization folded")
        if self.skips_empty_padding:
            tricks.append("padding by nothing skipped")
        if self.narrow:
            tricks.append(f"{len(self.narrow)} x fast gradient of a narrow convolution")
        return f"fast: {', '.join(tricks)} ({self.reason})"


class Runner:
    """A private copy of a classifier's network, and how to run it.

    Attributes:
        module: The copy; it may be hooked, and dies with the runner.
        execution: The path it runs on.
        originals: Names of the user's own parameters and buffers, by identity.
        parts: Names of the user's own modules, by identity.
    """

    def __init__(self, classifier: ClassifierLike, execution: Execution) -> None:
        copied = FrozenCopy(classifier.module, (classifier.preprocess, classifier.output))
        preprocess, output = copied.extras
        self.execution = execution
        self.module = copied.module
        self.originals, self.parts = copied.originals, copied.parts
        self._private: ClassifierLike = replace(
            cast(Any, classifier), module=copied.module, preprocess=preprocess, output=output
        )
        self._private._executions["place"] = (classifier.device, classifier.dtype)
        self._whole = _Switch()
        self._draws = Draws() if execution.draws else nullcontext()
        self._padding = EmptyPadding if execution.skips_empty_padding else nullcontext
        with torch.inference_mode(False), torch.no_grad():
            _install(self.module, execution, self._whole)
        self._versions = [
            (name, buffer, buffer._version)
            for name, buffer in nn.Module.named_buffers(self.module)
            if not buffer.is_inference()
        ]

    def prepare(self, images: Tensor) -> Tensor:
        """Pixels to the network's input, in memory that the network may write to."""
        if self.execution.channels_last and images.ndim == 4:
            images = channels_last(images)
        return self.prepare_default_layout(images)

    def prepare_default_layout(self, images: Tensor) -> Tensor:
        """As `prepare`, in torch's default layout."""
        with self._draws:
            return self._private.prepare(images)

    def to_logits(self, returned: object, count: int) -> Tensor:
        """The logits in what the network returned; see `Classifier.to_logits`."""
        with self._draws:
            return self._private.to_logits(returned, count)

    def written(self) -> list[str]:
        """Names of the copy's buffers that the network has written to; none once it is closed."""
        return [name for name, buffer, version in self._versions if buffer._version != version]

    def close(self) -> None:
        """Take the copy apart: networks with circular references would wait for the collector."""
        self._versions = []
        self._whole.folded.clear()
        for child in list(nn.Module.modules(self.module)):
            if not isinstance(child, torch.jit.ScriptModule):
                for held in ("_parameters", "_buffers", "_modules"):
                    child.__dict__[held] = {}

    def raw_scores(self, returned: object, count: int) -> Tensor:
        """As `to_logits`, for any number of classes; see `Classifier.raw_scores`."""
        return self._private.raw_scores(returned, count)

    def __call__(self, prepared: Tensor) -> object:
        """What the whole network returns."""
        self._whole.on = True
        try:
            with self._padding():
                return self.run_with_hooks(prepared)
        finally:
            self._whole.on = False

    def run_with_hooks(self, prepared: Tensor) -> object:
        """What the network returns while somebody listens to its layers: nothing is exchanged."""
        with self._draws:
            return self.module(prepared)

    def heard_at(self, paths: Iterable[str]) -> Callable[[Tensor], object]:
        """As `run_with_hooks`, for listeners at the outputs of these modules and of no others.

        Batch normalization stays folded wherever they do not hear it.
        """
        heard = frozenset(paths)

        def run(prepared: Tensor) -> object:
            self._whole.heard = heard
            try:
                with self._padding():
                    return self.run_with_hooks(prepared)
            finally:
                self._whole.heard = None

        return run


class EmptyPadding(TorchFunctionMode):
    """Where it is entered, padding by nothing hands its input on instead of copying it.

    Networks that compute their padding from the size of the image pad by nothing before most of
    their convolutions.

    Attributes:
        met: How many such paddings there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.met = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        if func in _PADDING:
            sides = named["pad"] if "pad" in named else args[1] if len(args) > 1 else (1,)
            image = named["input"] if "input" in named else args[0] if args else None
            if isinstance(image, Tensor) and all(type(n) is int and n == 0 for n in sides):
                self.met += 1
                return image
        return func(*args, **named)


_PADDING = frozenset((functional.pad, torch._C._nn.pad))


class _Weights(NamedTuple):
    """Weight and bias of a convolution."""

    weight: Tensor
    bias: Tensor | None


class _Switch:
    """What may be exchanged now.

    Attributes:
        on: The network runs as a whole, and nobody listens inside.
        heard: If not, the modules whose outputs are listened to; ``None``: perhaps all.
        folded: Weight and bias of convolutions that do the work of a batch normalization, by name.
    """

    def __init__(self) -> None:
        self.on = False
        self.heard: frozenset[str] | None = None
        self.folded: dict[str, _Weights] = {}

    def folds(self, fold: Fold) -> bool:
        """Whether this batch normalization is folded now."""
        return self.on or (self.heard is not None and self.heard.isdisjoint(fold.shows))


def channels_last(x: Tensor) -> Tensor:
    """`x` in channels-last layout, also where it has one channel; differentiable.

    With one channel both layouts are the same bytes, and torch takes the strides of the other:
    a network of gray images would then run its first layers, and pools ten times slower. So the
    strides are spelled out.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    if x.shape[1] != 1:
        return x
    _, _, height, width = x.shape
    return x.as_strided(x.shape, (height * width, 1, width, 1))


def _install(root: nn.Module, execution: Execution, whole: _Switch) -> None:
    """Give the copy's modules the forward methods of the fast path."""
    if execution.channels_last:
        for child in root.modules():
            for name, value in child._parameters.items():
                if value is not None and value.ndim == 4:
                    child._parameters[name] = nn.Parameter(
                        channels_last(value.detach()), requires_grad=False
                    )
    for before, after in execution.exchanges:
        relu, pool = _at(root, before), _at(root, after)
        relu.__dict__["forward"] = _skipped(relu, whole)
        pool.__dict__["forward"] = _rectified(pool, whole)
    for name in execution.narrow:
        layer = _at(root, name)
        layer.__dict__["forward"] = lambda input, layer=layer: narrow_convolution(input, layer)
    for fold in execution.folds:
        layer, norm = _at(root, fold.convolution), _at(root, fold.normalization)
        assert isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        whole.folded[fold.convolution] = _folded(layer, norm)
        narrow = fold.convolution in execution.narrow
        layer.__dict__["forward"] = _with_normalization(layer, fold, whole, narrow=narrow)
        norm.__dict__["forward"] = _without_work(norm, fold, whole)


def _at(root: nn.Module, path: str) -> nn.Module:
    """The module at a path such as ``"layer1.0.conv1"``."""
    found = root
    for name in path.split(".") if path else ():
        found = cast(nn.Module, found._modules[name])
    return found


def _folded(layer: nn.Conv2d, norm: nn.BatchNorm2d) -> _Weights:
    """Weights with which the convolution computes ``norm(layer(x))`` in evaluation mode."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.affine:
        scale = scale * norm.weight
    shift = -norm.running_mean if layer.bias is None else layer.bias - norm.running_mean
    bias = shift * scale + norm.bias if norm.affine else shift * scale
    return _Weights(layer.weight * scale[:, None, None, None], bias)


def _with_normalization(layer: nn.Conv2d, fold: Fold, whole: _Switch, *, narrow: bool) -> Any:
    def forward(input: Tensor) -> Tensor:
        used = whole.folded[fold.convolution] if whole.folds(fold) else None
        if narrow:
            return narrow_convolution(input, layer, used)
        weight, bias = used or (layer.weight, layer.bias)
        return layer._conv_forward(input, weight, bias)

    return forward


def _without_work(norm: nn.BatchNorm2d, fold: Fold, whole: _Switch) -> Any:
    def forward(input: Tensor) -> Tensor:
        return input if whole.folds(fold) else nn.BatchNorm2d.forward(norm, input)

    return forward


def _skipped(relu: nn.Module, whole: _Switch) -> Any:
    def forward(input: Tensor) -> Tensor:
        return input if whole.on else nn.ReLU.forward(relu, input)  # type: ignore[arg-type]

    return forward


def _rectified(pool: nn.Module, whole: _Switch) -> Any:
    def forward(input: Tensor) -> Tensor:
        pooled: Tensor = nn.MaxPool2d.forward(pool, input)  # type: ignore[arg-type]
        return torch.relu_(pooled) if whole.on else pooled

    return forward


@contextmanager
def without_autocast(device: torch.device) -> Iterator[None]:
    """Without the caller's autocast, which would change what the network computes."""
    kind = device.type
    with ExitStack() as calm:
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            calm.enter_context(torch.autocast(kind, enabled=False))
        if kind != "cpu":
            calm.enter_context(whole_float32())
        yield


# ---------------------------------------------------------------------- narrow convolutions

MOST_CHANNELS = 4
LARGEST_KERNEL = 7


def is_narrow(layer: nn.Module) -> bool:
    """Whether `layer` is a convolution whose gradient `narrow_convolution` computes faster."""
    return (
        type(layer) is nn.Conv2d
        and layer.groups == 1
        and layer.in_channels <= MOST_CHANNELS
        and max(layer.kernel_size) <= LARGEST_KERNEL
        and layer.stride == (1, 1)
        and layer.dilation == (1, 1)
        and isinstance(layer.padding, tuple)
        and layer.padding_mode == "zeros"
        and layer.weight.dtype == torch.float32
        and layer.weight.device.type == "cpu"
    )


def narrow_convolution(x: Tensor, layer: nn.Conv2d, weights: _Weights | None = None) -> Tensor:
    """What ``layer(x)`` computes, with the fast gradient where one is asked for.

    A network's first convolution sees one or three channels. Its gradient with respect to the
    image is what every method here wants, and the library routine is slow at it: a matrix product
    and one shifted sum per kernel position gives the same numbers several times faster on a CPU.

    Args:
        x: ``(batch, channel, height, width)``.
        layer: A convolution for which `is_narrow` is true, with a frozen weight.
        weights: Used in place of the layer's own.
    """
    assert isinstance(layer.padding, tuple)
    down, right = layer.padding
    weight, bias = weights or (layer.weight, layer.bias)
    fits = x.requires_grad and torch.is_grad_enabled() and x.ndim == 4 and x.dtype == weight.dtype
    if not fits or weight.requires_grad or (bias is not None and bias.requires_grad):
        return torch.conv2d(x, weight, bias, 1, (down, right))
    return _Narrow.apply(x, weight, bias, down, right)  # type: ignore[no-untyped-call]


class _Narrow(torch.autograd.Function):
    """``conv2d`` with stride 1 and a constant weight."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, down: int, right: int
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.place = (down, right, *x.shape[2:])  # type: ignore[attr-defined]
        return torch.conv2d(x, weight, bias, 1, (down, right))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (weight,) = ctx.saved_tensors
        down, right, height, width = ctx.place
        out_channels, channels, tall, wide = weight.shape
        count, _, rows, columns = gradient.shape
        flat = gradient.permute(0, 2, 3, 1).reshape(-1, out_channels)
        parts = torch.mm(weight.reshape(out_channels, -1).t(), flat.t())
        parts = parts.view(channels, tall, wide, count, rows, columns)
        total = gradient.new_zeros(channels, count, rows + tall - 1, columns + wide - 1)
        for i in range(tall):
            for j in range(wide):
                total[:, :, i : i + rows, j : j + columns] += parts[:, i, j]
        inside = total[:, :, down : down + height, right : right + width]
        return inside.transpose(0, 1), None, None, None, None
