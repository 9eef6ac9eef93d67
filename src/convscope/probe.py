"""The only code that runs a network for a method: frozen, chunked, counted, tapped, traceless.

A `Probe` runs a private copy of the network, made when it opens, in evaluation mode. The user's
own module is only read. So nothing has to be put back: neither a method nor the network itself
can leave a trace on it, whatever ends the work - an exception, a signal at any instant, a second
thread, a forgotten probe. A network that draws from a global random state gets a stream of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from convscope._network.black_box import refuse_black_box
from convscope._network.chunks import RowBuffer, chunks, rows_per_chunk
from convscope._network.execution import execution_of, fingerprint, remember
from convscope._network.gradients import (
    Cost,
    Decode,
    Gradient,
    LayerGradient,
    Objective,
    gradient_of,
    scores_of,
)
from convscope._network.hooks import LayerHooks, LayerInfo, convolves_after, find_layer, plain_name
from convscope._network.maps import Maps, default_layer, maps_of, order_of, require_maps
from convscope._network.runner import (
    ClassifierLike,
    Execution,
    Runner,
    fast_paths,
    without_autocast,
)
from convscope._network.snapshot import snapshot
from convscope._network.trial_run import failed
from convscope.errors import ConvscopeError, UsageError
from convscope.progress import within_step
from convscope.types import Activations, Images, Logits

__all__ = [
    "Cost",
    "Decode",
    "Execution",
    "Gradient",
    "LayerGradient",
    "LayerInfo",
    "Objective",
    "Probe",
    "counting",
    "fast_paths",
    "rows_per_chunk",
]


SMALL = 32 * 32
"""Pixels of an image for which a batch of copies is faster than one way back for each class:
half the time for 10 classes of a network of two layers at 28 x 28, nothing at 224 x 224."""


_counted: ContextVar[list[Probe] | None] = ContextVar("counted", default=None)


@contextmanager
def counting() -> Iterator[Callable[[], Cost]]:
    """What all probes that are opened inside the block have run, whoever opens them.

    Yields:
        To be called for passes and seconds so far.

    Example:
        >>> from convscope.classifier import Classifier
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> with counting() as cost:
        ...     _ = Classifier.wrap(net, input_shape=(1, 2, 2)).predict(torch.rand(5, 1, 2, 2))
        >>> cost().forwards
        5
    """
    probes: list[Probe] = []
    started = time.perf_counter()
    outer = _counted.set(probes)
    try:
        yield lambda: Cost(
            forwards=sum(probe.forwards for probe in probes),
            backwards=sum(probe.backwards for probe in probes),
            seconds=time.perf_counter() - started,
        )
    finally:
        _counted.reset(outer)


class Probe:
    """Run a classifier's network without leaving a trace.

    Use it as a context manager; the counters stay readable afterwards. What it runs is a copy
    of the network as it is when the context is entered: changes while it is open are not seen, and
    several probes of one network, also in several threads, do not disturb each other. A probe
    itself belongs to the thread that opened it.

    Args:
        classifier: The classifier whose network is run.
        execution: How to run it; by default fast where that is proven for this network, see
            `Classifier.describe`.

    Attributes:
        forwards: Images run through the network so far; copies of one image for its classes count
            once, so that a method's cost does not depend on how many images it was given.
        backwards: Images whose gradient was computed so far.
        notes: What the network tried to change in its buffers, known when the probe has closed:
            ``"stateful: bn.running_mean"``.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> from convscope.classifier import Classifier
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> with classifier.probe() as probe:
        ...     _ = probe.logits(torch.rand(5, 1, 2, 2))
        >>> probe.forwards, net.training
        (5, True)
    """

    def __init__(self, classifier: ClassifierLike, *, execution: Execution | None = None) -> None:
        self.classifier = classifier
        self.forwards = 0
        self.backwards = 0
        self.notes: tuple[str, ...] = ()
        self._execution = execution
        self._runner: Runner | None = None
        self._thread = 0
        self._started = time.perf_counter()
        self._elapsed: float | None = None
        self._structure: tuple[Any, ...] | None = None
        self._looked: dict[str, Any] = {}
        self._known: dict[Any, Any] = {}

    def __enter__(self) -> Probe:
        """Copy the network.

        Raises:
            UsageError: If the probe is open already.
        """
        if self._runner is not None:
            raise UsageError(
                "this probe is open already",
                code="U13",
                hint="open another one: `with classifier.probe() as probe:`",
            )
        seen = fingerprint(self.classifier.module)
        runner = Runner(self.classifier, self._execution or execution_of(self.classifier, seen))
        self._structure = seen
        self._thread = threading.get_ident()
        self._started = time.perf_counter()
        self._elapsed = None
        self._runner = runner
        if (counted := _counted.get()) is not None:
            counted.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the copy go."""
        runner, self._runner = self._runner, None
        self._elapsed = time.perf_counter() - self._started
        if runner is None:
            return
        self.notes = tuple(f"stateful: {name}" for name in runner.written())
        runner.close()

    @property
    def execution(self) -> Execution:
        """The path that the network runs on."""
        return self._open.execution

    @property
    def _open(self) -> Runner:
        """The running copy.

        Raises:
            UsageError: If the probe is not open, or was opened by another thread.
        """
        if self._runner is None:
            raise UsageError("use the probe inside `with classifier.probe() as probe:`", code="U13")
        if threading.get_ident() != self._thread:
            raise UsageError(
                "this probe was opened by another thread",
                code="U13",
                hint="open one per thread: several probes of one network do not disturb each other",
            )
        return self._runner

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
        found = RowBuffer(len(images))
        with torch.inference_mode(False), torch.no_grad():
            for rows in self.chunks(len(images)):
                found.add(rows, self.forward(images[rows]).to(images.device))
                within_step(rows.stop / len(images))
        if len(images) == 0:
            return images.new_zeros(0, self.classifier.num_classes)
        return found.whole

    def forward(self, images: Images, stop_at: str | None = None) -> Tensor:
        """One chunk through the network, or through its part up to layer `stop_at`.

        Differentiable with respect to `images` where the caller has gradients switched on. The
        caller decides how many images to give: `logits`, `activations` and `gradient` cut chunks.

        Raises:
            ModelContractError: If the network's output has another shape than logits; M14 if it
                fails on images of this size, or on this many.
            UnknownLayer: If there is no layer `stop_at`.
        """
        runner = self._open
        self.forwards += len(images)
        with without_autocast(self.classifier.device):
            prepared = runner.prepare(images)
            try:
                if stop_at is None:
                    out = runner.to_logits(runner(prepared), len(images))
                    # A network may hand out a tensor that it keeps and overwrites next time.
                    return out.to(images.dtype, copy=True)
                calls = self._calls([stop_at])
                with LayerHooks(runner.module, calls, stop=True) as taps:
                    taps.run(prepared, runner.heard_at(path for path, _ in calls.values()))
            except ConvscopeError:
                raise
            except (RuntimeError, ValueError, IndexError, AssertionError) as error:
                raise failed(self.classifier, images, error) from error
        return taps.seen[stop_at].to(images.dtype)

    def activations(self, layer: str, images: Images) -> Activations:
        """Activations of one layer, without a graph. The network stops there.

        Args:
            layer: A name as in `layers`; ``"relu#1"`` is the second call of a shared ``relu``.
            images: ``(batch, channel, height, width)``.

        Returns:
            Copies of the layer's output, ``(batch, ...)``.
        """
        return self.activations_of([layer], images)[layer]

    def activations_of(
        self, layers: Sequence[str], images: Images, *, inputs: bool = False
    ) -> dict[str, Activations]:
        """Activations of several layers from one pass that stops at the deepest.

        Args:
            layers: Names as in `layers`.
            images: ``(batch, channel, height, width)``.
            inputs: Give what each layer is given (its first argument), not what it returns.
        """
        runner = self._open
        _require_some(images)
        calls = self._calls(layers)
        run = runner.heard_at(path for path, _ in calls.values())
        parts = {name: RowBuffer(len(images)) for name in layers}
        with torch.inference_mode(False), torch.no_grad():
            for rows in self.chunks(len(images)):
                chunk = images[rows]
                self.forwards += len(chunk)
                calm = without_autocast(self.classifier.device)
                hooks = LayerHooks(runner.module, calls, stop=True, inputs=inputs)
                with calm, hooks as taps:
                    taps.run(runner.prepare(chunk), run)
                for name in layers:
                    parts[name].add(rows, taps.seen[name].to(images.device, images.dtype))
        return {name: found.whole for name, found in parts.items()}

    # ------------------------------------------------------------------ gradients

    def gradient(
        self,
        x: Tensor,
        objective: Objective,
        *,
        decode: Decode | None = None,
        stop_at: str | None = None,
        num_samples: int = 1,
        active: Callable[[Tensor, Tensor], Tensor] | None = None,
        allow_unused: bool = False,
    ) -> Gradient:
        """Values and gradients of an objective, chunk by chunk.

        Args:
            x: ``(batch, ...)``, what to differentiate by: images, or latents if `decode` is given.
            objective: ``(x, outputs, rows) -> (n,)`` values of a chunk.
            decode: ``(x, rows) -> images`` when `x` is not the image itself. It may give
                `num_samples` images per row; the objective reduces them.
            stop_at: Stop at this layer and hand its output to the objective.
            num_samples: Images that the network sees per row, to cut chunks accordingly.
            active: ``(outputs, rows) -> (n,) bool``: rows whose gradient is needed. A chunk
                without any skips the backward pass; unwanted rows get zeros.
            allow_unused: Give zeros, instead of an error, where the output does not depend
                differentiably on the input.

        Returns:
            Values, gradients and outputs of all rows.

        Raises:
            ModelContractError: M10 if the output does not depend differentiably on `x`; M26 for a
                black box.
        """
        _ = self._open
        refuse_black_box(self.classifier.module, "gradients")
        values, gradients, outputs = [], [], []
        device = x.device
        if len(x) == 0:
            nothing = x.new_zeros(0, self.classifier.num_classes)
            return Gradient(values=x.new_zeros(0), gradients=x.clone(), outputs=nothing)
        with torch.inference_mode(False), torch.enable_grad():
            for rows in self.chunks(len(x), num_samples=num_samples):
                part = x[rows].detach().clone().requires_grad_(True)
                index = torch.arange(rows.start, rows.stop, device=device)
                images = part if decode is None else decode(part, index)
                out = self.forward(images, stop_at)
                value = objective(part, out.to(device), index)
                keep = None if active is None else active(out.detach().to(device), index)
                if keep is not None and not bool(keep.any()):
                    gradient = torch.zeros_like(part)
                else:
                    total = value if keep is None else value[keep]
                    gradient = self._gradient(
                        total.sum(), part, len(images), allow_unused=allow_unused
                    )
                values.append(value.detach())
                gradients.append(gradient)
                outputs.append(out.detach().to(device))
                within_step(rows.stop / len(x))
        whole = gradients[0] if len(gradients) == 1 else torch.cat(gradients)
        return Gradient(values=torch.cat(values), gradients=whole, outputs=torch.cat(outputs))

    def class_gradients(
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
        _ = self._open
        refuse_black_box(self.classifier.module, "gradients")
        _require_some(images)
        gradients, logits = RowBuffer(len(images)), RowBuffer(len(images))
        with torch.inference_mode(False), torch.enable_grad():
            for rows in self.chunks(len(images)):
                copies = self._copies(images[rows], classes)
                part = images[rows].detach().repeat(copies, 1, 1, 1).requires_grad_(True)
                out = self.forward(part)
                self.forwards += len(part) // copies - len(part)
                logits.add(rows, out[: len(part) // copies].detach().to(images.device))
                gradients.add(rows, self._each_class(out, part, classes, rows, reduce, copies))
                within_step(rows.stop / len(images))
        return gradients.whole, logits.whole

    def layer_gradients(
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
            reduce: ``(activations, gradient) -> (n, ...)``, as for `class_gradients`.
        """
        runner = self._open
        _require_some(images)
        calls = self._calls([layer])
        run = runner.heard_at(path for path, _ in calls.values())
        dense = runner.execution.channels_last and not convolves_after(self.layers(), layer)
        order = order_of(self.maps(), plain_name(layer))
        in_rows = order is not None and order.layout == "maps"
        activations, gradients, logits = (RowBuffer(len(images)) for _ in range(3))
        with torch.inference_mode(False), torch.enable_grad():
            for rows in self.chunks(len(images)):
                count = len(images[rows])
                copies = self._copies(images[rows], classes) if in_rows else 1
                chunk = images[rows].repeat(copies, 1, 1, 1) if copies > 1 else images[rows]
                self.forwards += count
                # Nothing requires a gradient until the hook puts a leaf in: there the graph starts.
                taps = LayerHooks(runner.module, calls, cut=True, contiguous=dense)
                with without_autocast(self.classifier.device), taps:
                    returned = taps.run(runner.prepare(chunk.detach()), run)
                    leaf = taps.leaves[layer]
                    out = runner.to_logits(returned, len(chunk))
                    found = self._each_class(out, leaf, classes, rows, reduce, copies)
                seen = leaf.detach()[: len(leaf) // copies]
                gradients.add(rows, found.to(images.device, images.dtype))
                activations.add(rows, seen.to(images.device, images.dtype))
                logits.add(rows, out[:count].detach().to(images.device, images.dtype))
        return LayerGradient(
            activations=activations.whole, gradients=gradients.whole, logits=logits.whole
        )

    # ------------------------------------------------------------------ layers

    def layers(self) -> tuple[LayerInfo, ...]:
        """Every module call in order: name, kind, output shape, own parameters.

        Counts as one forward pass of a probe, also where an earlier probe has looked.
        """
        if "layers" not in self._looked:
            _ = self._open
            refuse_black_box(self.classifier.module, "layers")
            self.forwards += 1
        listed: tuple[LayerInfo, ...] = self._remembered("layers", self._list_layers)
        return listed

    def _list_layers(self) -> tuple[LayerInfo, ...]:
        runner = self._open
        # Two images: some networks cannot take one.
        shape = (2, *self.classifier.input_shape)
        blank = torch.full(shape, 0.5, dtype=torch.float32, device="cpu")
        calm, taps = without_autocast(self.classifier.device), LayerHooks(runner.module, {})
        with torch.inference_mode(False), torch.no_grad(), calm, taps:
            return taps.survey(runner.prepare(blank), runner.run_with_hooks)

    def last_spatial_layer(self) -> str:
        """The last layer with maps that everything the logits know of the image passes through.

        Raises:
            ModelContractError: M15 if the network has none late enough, with those it has.
        """
        return default_layer(self.maps(), {info.name: info.label for info in self.layers()})

    def require_maps(self, layer: str) -> str:
        """Refuse a layer whose outputs have no places: channels, rows and columns, or tokens.

        Returns:
            A remark: empty, or ``"axes-unverified"`` where the axes could not be followed.

        Raises:
            UnknownLayer: If there is no such layer.
            ModelContractError: M15 if its outputs are known to be something else.
        """
        find_layer(self.layers(), layer)
        labels = {info.name: info.label for info in self.layers()}
        return require_maps(self.maps(), plain_name(layer), labels)

    def places(self, layer: str) -> str:
        """How `as_maps` makes maps of a layer's outputs, in words; empty if they are maps."""
        order = order_of(self.maps(), plain_name(layer))
        return "" if order is None or order.layout == "maps" else order.words()

    def as_maps(self, layer: str, values: Tensor) -> Tensor:
        """Activations of `layer`, or their gradient, as ``(batch, channel, row, column)``.

        Channels-last maps are permuted, and tokens put in their places; tokens without a place,
        such as a class token, are left out. What cannot be followed is handed back as it is.
        """
        order = order_of(self.maps(), plain_name(layer))
        return values if order is None else order.maps(values)

    def weight(self, layer: str) -> Tensor:
        """A copy of the weight of module `layer` as the network uses it, float32 on the CPU.

        The network is run once before: pruned, normalized and otherwise parametrized layers
        compute their weight.
        """
        runner = self._open
        self.layers()
        weight: Tensor = runner.module.get_submodule(plain_name(layer)).weight  # type: ignore[assignment]
        return weight.detach().float().cpu().clone()

    def kind(self, layer: str) -> str:
        """The class of the module that `layer` names, such as ``"Conv2d"``."""
        path, number = find_layer(self.layers(), layer)
        names = (path, f"{path}#{number}")
        return next(info.kind for info in self.layers() if info.name in names)

    def maps(self) -> Maps:
        """What the axes of each layer's output are, and which layers all information passes."""
        _ = self._open
        refuse_black_box(self.classifier.module, "layers")
        found: Maps = self._remembered(
            "maps of a probe", lambda: maps_of(self.classifier, self._open, self._known)
        )
        return found

    def chunks(self, count: int, *, num_samples: int = 1) -> list[slice]:
        """The rows of each chunk in which this network runs best, in order.

        A network that takes only few images at once gets few; no row is left alone, as some
        networks cannot take one image.

        Args:
            count: How many rows there are.
            num_samples: Images that are made of each row; they stay together.
        """
        usual = rows_per_chunk(self.classifier.input_shape, self.classifier.device)
        size = max(1, (self._open.execution.rows or usual) // num_samples)
        return chunks(count, size, avoid_single=num_samples == 1)

    # ------------------------------------------------------------------ inside

    def _remembered(self, what: str, look: Callable[[], Any]) -> Any:
        """What `look` finds in the copy: looked for once, also for later probes of the network.

        For those only where nothing in the network can have changed unseen.
        """
        if what not in self._looked:
            if "snapshot" not in self._looked:
                self._looked["snapshot"] = snapshot(self.classifier)
            held, known = self._looked["snapshot"], self.classifier._executions
            key = (what, self._structure, held)
            found = None if held is None else known.get(key)
            if found is None:
                found = look()
                if held is not None:
                    remember(known, key, found)
            self._looked[what] = found
        return self._looked[what]

    def _calls(self, names: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Layer names to (module path, which call)."""
        return {name: find_layer(self.layers(), name) for name in names}

    def _each_class(
        self,
        out: Tensor,
        x: Tensor,
        classes: Sequence[int] | Tensor | None,
        rows: slice,
        reduce: Callable[[Tensor, Tensor], Tensor] | None,
        copies: int,
    ) -> Tensor:
        """Gradients of the chosen logits of a chunk, ``(n, K, ...)``.

        Args:
            out: Logits of the chunk, `copies` times.
            x: With respect to what.
            classes: As for `class_gradients`.
            rows: Where the chunk lies.
            reduce: As for `class_gradients`.
            copies: How often the network saw an image: once for each class, or once for all.
        """
        asked = classes[rows] if isinstance(classes, Tensor) else classes
        if copies > 1:
            each = torch.as_tensor(asked, device=out.device).flatten()
            own = out[torch.arange(copies, device=out.device), each]
            gradient = self._gradient(own.sum(), x, copies)
            return (gradient if reduce is None else reduce(x.detach(), gradient))[None]
        scores, found = scores_of(out, asked), []
        for left, score in zip(reversed(range(len(scores))), scores, strict=True):
            gradient = self._gradient(score.sum(), x, len(x), keep_graph=left > 0)
            found.append(gradient if reduce is None else reduce(x.detach(), gradient))
        return torch.stack(found, dim=1)

    def _copies(self, images: Tensor, classes: Sequence[int] | Tensor | None) -> int:
        """How often a network is shown each image of a chunk for the gradients of its classes.

        For one small image, a batch of its copies is faster than one way back after the other.
        """
        if classes is None or len(images) != 1 or not self._open.execution.fast:
            return 1
        count = classes.shape[1] if isinstance(classes, Tensor) else len(classes)
        fits = count > 2 and images.shape[-2] * images.shape[-1] <= SMALL
        return count if fits and len(self.chunks(count)) == 1 else 1

    def _gradient(self, total: Tensor, x: Tensor, count: int, **options: bool) -> Tensor:
        """What `gradient_of` gives for a sum over `count` images that the network saw."""
        self.backwards += count
        with without_autocast(self.classifier.device):
            return gradient_of(total, x, **options)


def _require_some(images: Tensor) -> None:
    if len(images) == 0:
        raise UsageError("no images given", code="U10", expected="a batch of at least one")
