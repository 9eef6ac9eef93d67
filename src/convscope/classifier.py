"""A classifier: pixels in, logits out.

Normalization is part of the classifier, so attacks and explanations all work on pixels in [0, 1]
and a perturbation size means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convscope.errors import ImageError, ModelContractError, UsageError
from convscope.resizing import Resize
from convscope.types import Images, Labels, Logits, Probabilities

if TYPE_CHECKING:
    from convscope.probe import LayerInfo, Probe

# A few units in the last place of float32: what decoding and resizing may leave outside [0, 1].
PIXEL_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The most probable classes of each image, most probable first.

    Attributes:
        labels: ``(batch, top)``, class indices.
        probabilities: ``(batch, top)``, softmax of the logits.
        class_names: One name per class.
    """

    labels: Tensor
    probabilities: Tensor
    class_names: tuple[str, ...]

    def names(self, row: int) -> tuple[str, ...]:
        """The class names of image `row`, most probable first."""
        return tuple(self.class_names[label] for label in self.labels[row].tolist())


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """A network together with everything needed to read its answers.

    Attributes:
        module: The network. Nothing in this package changes its weights, buffers or modes.
        class_names: One name per logit, in order.
        input_shape: ``(channel, height, width)`` of the images it expects.
        mean: Per-channel mean that is subtracted from pixels in [0, 1]; ``None``: nothing is.
        std: Per-channel divisor, in the same unit.
        preprocess: Any other differentiable map from pixels to the network's input, applied
            before `mean` and `std`.
        output: Picks the logits out of what the network returns, for networks that return a
            tuple, a dict or an object.
        probabilities: True if the network ends in a softmax; logarithms are then taken.
        source: Where the network came from; goes into every report.
        flags: What `wrap` noticed: ``"train-mode"``, ``"softmax-output"``, ``"randomized"``.
        resize: How image files are brought to `input_shape`; ``None``: by one antialiased bilinear
            resize of the largest center window of these proportions.
    """

    module: nn.Module
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    preprocess: Callable[[Tensor], Tensor] | None = None
    output: Callable[[object], Tensor] | None = None
    probabilities: bool = False
    source: str = "a network in memory"
    flags: tuple[str, ...] = ()
    resize: Resize | None = None

    def __post_init__(self) -> None:
        if not self.class_names:
            raise UsageError("class_names is empty; a classifier has at least one class")
        channels = self.input_shape[0]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, channels):
                raise UsageError(
                    f"{name} has {len(values)} values for {channels} channels",
                    expected=f"1 or {channels} values, in units of pixels in [0, 1]",
                )
        if self.std is not None and not all(value > 0 for value in self.std):
            raise UsageError(f"std must be positive, got {self.std}")
        if self.resize is not None and self.resize.output != tuple(self.input_shape[1:]):
            raise UsageError(
                f"resize makes images of {self.resize.output}",
                code="U10",
                expected=f"{tuple(self.input_shape[1:])}, as input_shape says",
            )

    @property
    def num_classes(self) -> int:
        """How many classes the network tells apart."""
        return len(self.class_names)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self._tensors()).device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type that the network computes in."""
        return next((t.dtype for t in self._tensors() if t.is_floating_point()), torch.float32)

    def _tensors(self) -> Iterator[Tensor]:
        yield from self.module.parameters()
        yield from self.module.buffers()
        yield torch.zeros(())

    def logits(self, images: Images) -> Logits:
        """Class scores before softmax, ``(batch, class)``, differentiable.

        The network runs as it is, in one batch and in its current modes. Methods use `probe`.

        Raises:
            ModelContractError: If the network does not return one row of scores per image.
        """
        return self.read(self.module(self.prepare(images)), len(images)).to(images.dtype)

    def prepare(self, images: Images) -> Tensor:
        """Pixels in [0, 1] to the network's input."""
        x = images if self.preprocess is None else self.preprocess(images)
        if x.dtype != self.dtype or x.device != self.device:
            x = x.to(device=self.device, dtype=self.dtype)
        if self.mean is not None:
            x = x - x.new_tensor(self.mean).view(1, -1, 1, 1)
        if self.std is not None:
            x = x / x.new_tensor(self.std).view(1, -1, 1, 1)
        return x

    def read(self, returned: object, count: int) -> Logits:
        """The logits in what the network returned for `count` images.

        Raises:
            ModelContractError: M01 for a tuple or dict without `output`, M02 for another shape.
        """
        if self.output is not None:
            returned = self.output(returned)
        if not isinstance(returned, Tensor):
            raise ModelContractError(
                f"the network returned {_describe(returned)}, not one tensor of logits",
                code="M01",
                hint=f"say which part holds the logits: wrap(..., output={_pick(returned)})",
            )
        expected = (count, self.num_classes)
        if tuple(returned.shape) != expected or not returned.is_floating_point():
            raise ModelContractError(
                f"the network returned {returned.dtype} of shape {tuple(returned.shape)}",
                code="M02",
                expected=f"floating-point logits of shape {expected}: (image, class)",
                hint="adapt it with wrap(..., output=lambda returned: ...)",
            )
        if self.probabilities:
            return returned.clamp_min(torch.finfo(returned.dtype).tiny).log()
        return returned

    def predict(self, images: Images, top: int = 3) -> Predictions:
        """The `top` most probable classes of each image.

        Args:
            images: ``(batch, channel, height, width)``, pixels in [0, 1].
            top: How many classes; at most all of them.
        """
        with self.probe() as probe:
            probabilities: Probabilities = probe.logits(images).softmax(dim=1)
        best = probabilities.topk(min(max(top, 1), self.num_classes), dim=1)
        return Predictions(
            labels=best.indices, probabilities=best.values, class_names=self.class_names
        )

    def probe(self) -> Probe:
        """A context in which methods may run the network; see `convscope.probe.Probe`."""
        from convscope.probe import Probe

        return Probe(self)

    def layers(self) -> tuple[LayerInfo, ...]:
        """Every layer in the order of its first call, with output shape and parameters."""
        with self.probe() as probe:
            return probe.layers()

    def check_images(self, images: Tensor) -> None:
        """Refuse what is not a batch of this classifier's images.

        Raises:
            ImageError: I24 if pixels are NaN or outside [0, 1], M14 if the shape is wrong.
        """
        if images.ndim != 4 or not images.is_floating_point():
            raise ImageError(
                f"images are {images.dtype} of shape {tuple(images.shape)}",
                code="I24",
                expected="float32 of shape (batch, channel, height, width), pixels in [0, 1]",
                hint="divide 8-bit images by 255; add a batch axis with images[None]",
            )
        if images.shape[1] != self.input_shape[0]:
            raise ImageError(
                f"images have {images.shape[1]} channels, not {self.input_shape[0]}",
                code="M14",
                hint="replicate a grey image with images.expand(-1, 3, -1, -1), or average colors",
            )
        if images.numel() == 0:
            return
        low, high = images.min().item(), images.max().item()
        if not (low >= -PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE):
            cause = (
                "they look like 8-bit images: divide by 255"
                if high > 2
                else (
                    "they look normalized: pass plain pixels, mean and std belong to the classifier"
                )
            )
            raise ImageError(
                f"pixels range from {low:.3g} to {high:.3g}",
                code="I24",
                expected="pixels in [0, 1]",
                hint=cause,
            )

    def check_labels(self, labels: Tensor, count: int, name: str = "labels") -> Labels:
        """`labels` as int64, one per image.

        Raises:
            UsageError: U08 if one is not a class, U10 if their number is not `count`.
        """
        if labels.ndim != 1 or len(labels) != count or labels.is_floating_point():
            raise UsageError(
                f"{name} have shape {tuple(labels.shape)} and type {labels.dtype}",
                code="U10",
                expected=f"{count} whole numbers, one per image",
            )
        if count and not (int(labels.min()) >= 0 and int(labels.max()) < self.num_classes):
            wrong = next(v for v in labels.tolist() if not 0 <= v < self.num_classes)
            raise UsageError(
                f"{name} contain {wrong}", code="U08", expected=f"0 to {self.num_classes - 1}"
            )
        return labels.long()

    @classmethod
    def wrap(
        cls,
        module: nn.Module,
        *,
        input_shape: tuple[int, int, int],
        class_names: tuple[str, ...] | list[str] | None = None,
        mean: tuple[float, ...] | list[float] | None = None,
        std: tuple[float, ...] | list[float] | None = None,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        output: Callable[[object], Tensor] | None = None,
        probabilities: bool = False,
        source: str = "",
    ) -> Classifier:
        """Turn any ``nn.Module`` into a `Classifier`, after running it once on two images.

        Args:
            module: The network; it is left as it was found.
            input_shape: ``(channel, height, width)`` of one image.
            class_names: One name per logit. By default ``"class 0", "class 1", ...``.
            mean: Per-channel mean of the training pixels, in [0, 1] units.
            std: Per-channel standard deviation, likewise.
            preprocess: Another differentiable map, applied before `mean` and `std`.
            output: Picks the logits out of a tuple, dict or object.
            probabilities: Say that the network ends in a softmax; logarithms are taken.
            source: A sentence on where the network came from.

        Raises:
            ModelContractError: M01 tuple or dict returned, M02 wrong shape, M14 wrong input
                shape, M21 number of names differs from the number of classes.

        Example:
            >>> import torch
            >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
            >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2), class_names=["a", "b"])
            >>> classifier.predict(torch.rand(3, 1, 2, 2), top=1).labels.shape
            torch.Size([3, 1])
        """
        from convscope.probe import Probe

        if not isinstance(module, nn.Module):
            raise ModelContractError(
                f"expected a torch.nn.Module, got {type(module).__name__}", code="M22"
            )
        draft = cls(
            module=module,
            class_names=("?",),
            input_shape=tuple(input_shape),  # type: ignore[arg-type]
            mean=None if mean is None else tuple(float(v) for v in mean),
            std=None if std is None else tuple(float(v) for v in std),
            preprocess=preprocess,
            output=output,
            probabilities=probabilities,
            source=source or f"{type(module).__name__} in memory",
        )
        images = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0))
        with Probe(draft) as probe:
            returned, notes = probe.returned(images)
            again, _ = probe.returned(images)
        scores, repeated = (r if output is None else output(r) for r in (returned, again))
        count = scores.shape[1] if isinstance(scores, Tensor) and scores.ndim == 2 else 1
        names = tuple(class_names) if class_names else numbered(count)
        if isinstance(scores, Tensor) and scores.ndim == 2 and len(names) != count:
            raise ModelContractError(
                f"the network has {count} classes, class_names has {len(names)}",
                code="M21",
                hint="give one name per logit, in order",
            )
        named = replace(draft, class_names=names)
        named.read(returned, 2)
        flags = list(notes)
        if not probabilities and isinstance(scores, Tensor) and _sums_to_one(scores):
            flags.append("softmax-output")
        if isinstance(scores, Tensor) and _differ(scores, repeated):
            flags.append("randomized")
        return replace(named, flags=tuple(flags))

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(x.name)}</td><td>{escape(x.kind)}</td>"
            f"<td>{escape(' x '.join(map(str, x.output_shape)))}</td><td>{x.parameters:,}</td></tr>"
            for x in self.layers()
        )
        return (
            f"<p><b>{escape(self.source)}</b>: {self.num_classes} classes, "
            f"input {' x '.join(map(str, self.input_shape))}</p><table><tr><th>layer</th>"
            f"<th>kind</th><th>output</th><th>parameters</th></tr>{rows}</table>"
        )


def numbered(count: int) -> tuple[str, ...]:
    """Names for classes that nobody named: ``"class 0"``, ``"class 1"``, ..."""
    return tuple(f"class {i}" for i in range(count))


def _differ(first: Tensor, second: object) -> bool:
    """More than threads and kernels explain, which may add up in another order."""
    if not isinstance(second, Tensor):
        return True
    a, b = first.detach().double(), second.detach().double()
    return bool(((a - b).abs() > 1e-4 * (1 + a.abs())).any())


def _describe(returned: object) -> str:
    if isinstance(returned, tuple | list):
        return f"a {type(returned).__name__} of {len(returned)}"
    if isinstance(returned, Mapping):
        keys = ", ".join(map(str, list(returned)[:5]))
        return f"a {type(returned).__name__} with keys {keys}"
    return f"a {type(returned).__name__}"


def _pick(returned: object) -> str:
    if isinstance(returned, tuple | list):
        return "lambda returned: returned[0]"
    if isinstance(returned, Mapping) and "logits" not in returned and returned:
        return f"lambda returned: returned[{next(iter(returned))!r}]"
    if isinstance(returned, Mapping):
        return "lambda returned: returned['logits']"
    return "lambda returned: returned.logits"


def _sums_to_one(scores: Tensor) -> bool:
    """True for rows that are probabilities; a single column is a lone sigmoid, not that."""
    values = scores.detach().double()
    if values.shape[1] < 2 or values.min() < 0 or values.max() > 1:
        return False
    return bool((values.sum(dim=1) - 1).abs().max() <= 1e-5)
