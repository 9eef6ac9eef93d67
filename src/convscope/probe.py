"""The only code that runs a network for a method: frozen, chunked, counted, tapped, traceless.

While a `Probe` is open, the network's weights are stood in for by constant copies of them (laid
out for speed) and its buffers by copies, and every module is in evaluation mode. On the way out,
whatever happened, the original tensors are put back, the modes restored, our hooks removed and
the global random state rewound. So neither a method nor the network itself can leave a trace.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import Tensor, nn

from convscope._narrow import NarrowConvolutions
from convscope._pool_first import pool_first
from convscope._taps import LayerInfo, Taps, find_layer
from convscope._traceless import Traceless, channels_last
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UsageError
from convscope.types import Activations, Images, Logits

__all__ = ["Cost", "Gradient", "LayerGradient", "LayerInfo", "Objective", "Probe", "rows_per_chunk"]

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``objective(x, outputs, rows) -> values``, one value per image of the chunk.

`rows` holds the chunk's positions in the batch given to the Probe: pick labels by ``labels[rows]``.
"""

Paint = Callable[[Tensor, Tensor], Tensor]
"""``paint(x, rows) -> images``: from what is moved to what the network sees, differentiable."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method cost.

    Attributes:
        forwards: Images run through the network (or through its part up to a layer).
        backwards: Images whose gradient was computed.
        seconds: Wall-clock time since the probe was opened.
    """

    forwards: int
    backwards: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """Values of an objective, and their gradients.

    Attributes:
        values: ``(batch,)``.
        gradients: Shaped as the input.
        outputs: What the network returned: ``(batch, class)``, or activations of a layer.
    """

    values: Tensor
    gradients: Tensor
    outputs: Tensor


@dataclass(frozen=True, kw_only=True)
class LayerGradient:
    """Activations of a layer and what the logits owe to them.

    Attributes:
        activations: ``(batch, ...)``, outputs of the layer.
        gradients: ``(batch, target, ...)``, d logit / d activation.
        logits: ``(batch, class)``.
    """

    activations: Tensor
    gradients: Tensor
    logits: Logits


def rows_per_chunk(shape: Sequence[int], device: torch.device) -> int:
    """How many images run through the network at once: a rule, never a timing.

    On a CPU, small chunks stay in the cache and larger ones keep two threads busy; on an
    accelerator, large ones fill it. The rule depends on the image's shape and the kind of device
    alone, so a result never depends on how busy the machine was. Measured by
    ``benchmarks/chunk_rule.py``.

    Example:
        >>> rows_per_chunk((1, 28, 28), torch.device("cpu"))
        128
        >>> rows_per_chunk((3, 32, 32), torch.device("cpu"))
        32
        >>> rows_per_chunk((3, 224, 224), torch.device("cpu"))
        4
    """
    values = max(1, math.prod(shape))
    if device.type == "cpu":
        return max(4, min(128, _power_of_two(128 * 28 * 28 // values)))
    return max(16, min(1024, _power_of_two(1024 * 3 * 32 * 32 // values)))


def _power_of_two(value: int) -> int:
    """The largest power of two that is not larger than `value`; 1 for less."""
    return int(2 ** max(0, value.bit_length() - 1))


class Probe:
    """Run a classifier's network without leaving a trace.

    Use it as a context manager; the counters stay readable afterwards.

    Attributes:
        forwards: Images run through the network so far.
        backwards: Images whose gradient was computed so far.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> with classifier.probe() as probe:
        ...     _ = probe.logits(torch.rand(5, 1, 2, 2))
        >>> probe.forwards, net.training
        (5, True)
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.forwards = 0
        self.backwards = 0
        self.notes: tuple[str, ...] = ()
        self._open = False
        self._started = time.perf_counter()
        self._elapsed: float | None = None
        self._traceless = Traceless(classifier.module, channels_last=True)
        self._layers: tuple[LayerInfo, ...] | None = None

    def __enter__(self) -> Probe:
        """Freeze the network."""
        self._traceless.enter()
        self._open = True
        self._started = time.perf_counter()
        self._elapsed = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put everything back."""
        self._open = False
        self._elapsed = time.perf_counter() - self._started
        self.notes = self._traceless.leave()

    def cost(self) -> Cost:
        """Forwards, backwards and seconds since the probe was opened."""
        seconds = self._elapsed
        if seconds is None:
            seconds = time.perf_counter() - self._started
        return Cost(forwards=self.forwards, backwards=self.backwards, seconds=seconds)

    # ------------------------------------------------------------------ plain runs

    def logits(self, images: Images) -> Logits:
        """Logits of any number of images, without a graph.

        Args:
            images: ``(batch, channel, height, width)``, pixels in [0, 1].

        Returns:
            ``(batch, class)``, on the images' device.
        """
        chunks = []
        with torch.inference_mode(False), torch.no_grad():
            for rows in self._chunks(images):
                chunks.append(self.run(images[rows]).to(images.device))
        if not chunks:
            return images.new_zeros(0, self.classifier.num_classes)
        return torch.cat(chunks)

    def run(self, images: Images, until: str | None = None) -> Tensor:
        """One chunk through the network, or through its part up to layer `until`.

        Differentiable with respect to `images` where the caller has gradients switched on. The
        caller decides how many images to give: `logits`, `at` and `gradient` cut chunks.

        Raises:
            ModelContractError: If the network's output has another shape than logits.
            UnknownLayer: If there is no layer `until`.
        """
        self._require_open()
        images = _layout(images)
        self.forwards += len(images)
        device = self.classifier.device.type
        # Entering the context costs as much as a small layer; mostly nobody has autocast on.
        on = torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False) if on else nullcontext():
            prepared = self.classifier.prepare(images)
            if until is None:
                with NarrowConvolutions(), pool_first(self.classifier.module):
                    returned = self.classifier.module(prepared)
                return self.classifier.read(returned, len(images)).to(images.dtype)
            with Taps(self.classifier.module, self._calls([until]), stop=True) as taps:
                taps.run(prepared)
        return taps.seen[until].to(images.dtype)

    def returned(self, images: Images) -> tuple[object, tuple[str, ...]]:
        """Whatever the network returns for one chunk, and what was noticed on the way.

        Raises:
            ModelContractError: M14 if the network cannot take images of this shape.
        """
        self._require_open()
        self.forwards += len(images)
        was_training = self._traceless.was_training
        try:
            with torch.no_grad():
                out = self.classifier.module(self.classifier.prepare(_layout(images)))
        except (RuntimeError, ValueError, IndexError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelContractError(
                f"the network failed on images of shape {tuple(images.shape)}: {first}",
                code="M14",
                expected=_first_layer(self.classifier.module),
                hint="check input_shape=(channel, height, width)",
            ) from error
        return out, (("train-mode",) if was_training else ())

    def at(self, layer: str, images: Images) -> Activations:
        """Activations of one layer, without a graph. The network stops there.

        Args:
            layer: A name as in `layers`; ``"relu#1"`` is the second call of a shared ``relu``.
            images: ``(batch, channel, height, width)``.

        Returns:
            Copies of the layer's output, ``(batch, ...)``.
        """
        return self.at_many([layer], images)[layer]

    def at_many(self, layers: Sequence[str], images: Images) -> dict[str, Activations]:
        """Activations of several layers from one pass that stops at the deepest."""
        self._require_open()
        calls = self._calls(layers)
        parts: dict[str, list[Tensor]] = {name: [] for name in layers}
        with torch.inference_mode(False), torch.no_grad():
            for rows in self._chunks(images):
                chunk = _layout(images[rows])
                self.forwards += len(chunk)
                with Taps(self.classifier.module, calls, stop=True) as taps:
                    taps.run(self.classifier.prepare(chunk))
                for name in layers:
                    parts[name].append(taps.seen[name].to(images.device, images.dtype))
        return {name: torch.cat(chunks) for name, chunks in parts.items()}

    # ------------------------------------------------------------------ gradients

    def gradient(
        self,
        x: Tensor,
        objective: Objective,
        *,
        paint: Paint | None = None,
        until: str | None = None,
        copies: int = 1,
        wanted: Callable[[Tensor, Tensor], Tensor] | None = None,
        missing: str = "error",
    ) -> Gradient:
        """Values and gradients of an objective, chunk by chunk.

        Args:
            x: ``(batch, ...)``, what to differentiate by: images, or latents if `paint` is given.
            objective: ``(x, outputs, rows) -> (n,)`` values of a chunk.
            paint: ``(x, rows) -> images`` when `x` is not the image itself. It may give `copies`
                images per row (several views); the objective reduces them.
            until: Stop at this layer and hand its output to the objective.
            copies: Images that the network sees per row, to cut chunks accordingly.
            wanted: ``(outputs, rows) -> (n,) bool``: rows whose gradient is needed. A chunk
                without any skips the backward pass; unwanted rows get zeros.
            missing: ``"error"`` or ``"zero"``: what to do if the output does not depend
                differentiably on the input.

        Returns:
            Values, gradients and outputs of all rows.

        Raises:
            ModelContractError: M10 if the output does not depend differentiably on `x`.
        """
        self._require_open()
        values, gradients, outputs = [], [], []
        device = x.device
        if len(x) == 0:
            nothing = x.new_zeros(0, self.classifier.num_classes)
            return Gradient(values=x.new_zeros(0), gradients=x.clone(), outputs=nothing)
        with torch.inference_mode(False), torch.enable_grad():
            for rows in self._chunks(x, copies):
                part = x[rows].detach().clone().requires_grad_(True)
                index = torch.arange(rows.start, rows.stop, device=device)
                images = part if paint is None else paint(part, index)
                out = self.run(images, until)
                value = objective(part, out.to(device), index)
                keep = None if wanted is None else wanted(out.detach().to(device), index)
                if keep is not None and not bool(keep.any()):
                    gradient = torch.zeros_like(part)
                else:
                    total = value if keep is None else value[keep]
                    gradient = self._grad(total.sum(), part, missing, len(images))
                values.append(value.detach())
                gradients.append(gradient)
                outputs.append(out.detach().to(device))
        whole = gradients[0] if len(gradients) == 1 else torch.cat(gradients)
        return Gradient(values=torch.cat(values), gradients=whole, outputs=torch.cat(outputs))

    def gradients_of_classes(
        self,
        images: Images,
        classes: Sequence[int] | Tensor | None,
        *,
        reduce: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Logits]:
        """Gradients of several logits from one forward pass.

        Args:
            images: ``(batch, channel, height, width)``.
            classes: Indices of K logits for all images, a tensor ``(batch, K)`` of each image's
                own, or ``None``: each image's largest logit (K = 1).
            reduce: ``(images, gradient) -> (n, ...)``, applied to each class's gradient of a
                chunk before the next is computed: what is not kept costs no memory.

        Returns:
            Gradients ``(batch, K, channel, height, width)``, or what `reduce` made of them,
            and logits ``(batch, class)``.
        """
        self._require_open()
        gradients, logits = [], []
        with torch.inference_mode(False), torch.enable_grad():
            for rows in self._chunks(images):
                part = images[rows].detach().clone().requires_grad_(True)
                out = self.run(part)
                logits.append(out.detach().to(images.device))
                mine = classes[rows] if isinstance(classes, Tensor) else classes
                gradients.append(self._each_class(out, part, mine, reduce))
        return torch.cat(gradients), torch.cat(logits)

    def from_layer(
        self,
        layer: str,
        images: Images,
        classes: Sequence[int] | Tensor | None,
        *,
        reduce: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> LayerGradient:
        """Activations of `layer`, and gradients of logits with respect to them.

        The graph starts at the layer: nothing before it is recorded.

        Args:
            layer: A name as in `layers`.
            images: ``(batch, channel, height, width)``.
            classes: Indices of K logits for all images, a tensor ``(batch, K)`` of each image's
                own, or ``None``: each image's largest logit (K = 1).
            reduce: ``(activations, gradient) -> (n, ...)``, as for `gradients_of_classes`.
        """
        self._require_open()
        calls = self._calls([layer])
        dense = not self._convolves_after(layer)
        activations, gradients, logits = [], [], []
        with torch.inference_mode(False), torch.enable_grad():
            for rows in self._chunks(images):
                chunk = _layout(images[rows])
                self.forwards += len(chunk)
                # The hook that cuts the graph switches gradients on from there.
                taps = Taps(self.classifier.module, calls, cut=True, contiguous=dense)
                with torch.no_grad(), taps:
                    returned = taps.run(self.classifier.prepare(chunk))
                leaf = taps.leaves[layer]
                out = self.classifier.read(returned, len(chunk))
                mine = classes[rows] if isinstance(classes, Tensor) else classes
                found = self._each_class(out, leaf, mine, reduce)
                gradients.append(found.to(images.device, images.dtype))
                activations.append(leaf.detach().to(images.device, images.dtype))
                logits.append(out.detach().to(images.device, images.dtype))
        return LayerGradient(
            activations=torch.cat(activations),
            gradients=torch.cat(gradients),
            logits=torch.cat(logits),
        )

    # ------------------------------------------------------------------ layers

    def layers(self) -> tuple[LayerInfo, ...]:
        """Every module call in order: name, kind, output shape, own parameters."""
        if self._layers is None:
            self._require_open()
            shape = self.classifier.input_shape
            self.forwards += 1
            with torch.no_grad(), Taps(self.classifier.module, {}) as taps:
                self._layers = taps.survey(self.classifier.prepare(torch.full((1, *shape), 0.5)))
        return self._layers

    def last_spatial_layer(self) -> str:
        """The last layer whose output is ``(batch, channel, height, width)``, larger than 1 x 1.

        Raises:
            ModelContractError: M15 if the network has none.
        """
        for info in reversed(self.layers()):
            if info.is_leaf and len(info.output_shape) == 3 and max(info.output_shape[1:]) > 1:
                return info.name
        raise ModelContractError("the network has no layer with a spatial output", code="M15")

    # ------------------------------------------------------------------ inside

    def _calls(self, names: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Layer names to (module path, which call)."""
        return {name: find_layer(self.layers(), name) for name in names}

    def _convolves_after(self, layer: str) -> bool:
        """Whether channels-last pays off behind a layer: dense layers want no copies."""
        names = [info.name for info in self.layers()]
        start = names.index(layer) if layer in names else 0
        return any("Conv" in info.kind for info in self.layers()[start + 1 :])

    def _chunks(self, x: Tensor, copies: int = 1) -> list[slice]:
        size = max(1, rows_per_chunk(self.classifier.input_shape, self.classifier.device) // copies)
        return [slice(start, min(start + size, len(x))) for start in range(0, len(x), size)]

    def _each_class(
        self,
        out: Tensor,
        x: Tensor,
        classes: Sequence[int] | Tensor | None,
        reduce: Callable[[Tensor, Tensor], Tensor] | None,
    ) -> Tensor:
        if classes is None:
            classes = out.detach().argmax(dim=1, keepdim=True)
        picks: list[int | Tensor]
        if isinstance(classes, Tensor):
            picks = list(classes.to(out.device).unbind(1))
        else:
            picks = list(classes)
        if not picks:
            raise UsageError("no classes given", code="U08")
        found = []
        for number, pick in enumerate(picks):
            score = out[:, pick] if isinstance(pick, int) else out.gather(1, pick[:, None])[:, 0]
            last = number == len(picks) - 1
            gradient = self._grad(score.sum(), x, "error", len(x), keep_graph=not last)
            found.append(gradient if reduce is None else reduce(x.detach(), gradient))
        return torch.stack(found, dim=1)

    def _grad(
        self, total: Tensor, x: Tensor, missing: str, count: int, keep_graph: bool = False
    ) -> Tensor:
        self.backwards += count
        gradient = None
        if total.requires_grad:
            (gradient,) = torch.autograd.grad(total, x, retain_graph=keep_graph, allow_unused=True)
        if gradient is None:
            if missing == "zero":
                return torch.zeros_like(x)
            raise ModelContractError(
                "the output does not depend differentiably on the input",
                code="M10",
                expected="a network without no_grad, detach, argmax or rounding inside",
                hint="use a gradient-free method: occlusion, rise, square",
            )
        return gradient

    def _require_open(self) -> None:
        if not self._open:
            raise UsageError("use the probe inside `with classifier.probe() as probe:`")


def _layout(images: Tensor) -> Tensor:
    """Channels last on a CPU, where it is up to twice as fast; differentiable."""
    if images.device.type == "cpu" and images.ndim == 4:
        return channels_last(images)
    return images


def _first_layer(module: nn.Module) -> str:
    for name, child in module.named_modules():
        if isinstance(child, nn.Conv2d):
            return f"{child.in_channels} channels: first convolution {name!r}"
        if isinstance(child, nn.Linear):
            return f"{child.in_features} values: first linear layer {name!r}"
    return "an input that the network accepts"
