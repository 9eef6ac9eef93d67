"""Targets of explanations, and the result types of explanation methods and layer views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from convscope._network.hooks import layer_label
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.probe import Cost
from convscope.types import ClassHeatmaps, Images, Logits

Targets = int | Tensor | Literal["all"] | None
"""``None``: each image's predicted class; an int; one per image; or ``"all"`` classes."""


def known_targets(classifier: Classifier, images: Images, targets: Targets) -> Tensor | None:
    """The classes of each image, ``(batch, target)``, or ``None`` if they are to be predicted.

    Raises:
        ImageError: If `images` is not a batch of the classifier's images.
        UsageError: U08 if one is not a class, U10 if there is not one per image.
    """
    classifier.check_images(images)
    count = len(images)
    if count == 0:
        raise UsageError("no images given", code="U10", expected="a batch of at least one")
    if targets is None:
        return None
    if isinstance(targets, Tensor) and targets.ndim == 0:
        targets = int(targets)
    if isinstance(targets, int) and not isinstance(targets, bool):
        targets = torch.full((count,), targets)
    if isinstance(targets, str) and targets == "all":
        return torch.arange(classifier.num_classes).expand(count, -1).clone()
    if isinstance(targets, Tensor) and targets.ndim == 1:
        return classifier.check_labels(targets, count, "targets")[:, None]
    if isinstance(targets, Tensor) and targets.ndim == 2 and len(targets) == count:
        flat = classifier.check_labels(targets.reshape(-1), targets.numel(), "targets")
        return flat.view(count, -1)
    shown = f"of shape {tuple(targets.shape)}" if isinstance(targets, Tensor) else repr(targets)
    raise UsageError(
        f"targets are {shown}",
        code="U10",
        expected="None (predicted), a class, one class per image, or 'all'",
    )


def targets_of(known: Tensor | None, logits: Logits) -> Tensor:
    """`known` targets, or the predicted ones."""
    return logits.argmax(dim=1, keepdim=True) if known is None else known.to(logits.device)


def picked(values: Tensor, targets: Tensor) -> Tensor:
    """The entries of the last axis (class) of `values` that `targets` ask for.

    Args:
        values: ``(batch, ..., class)``.
        targets: ``(batch, target)``.

    Returns:
        ``(batch, ..., target)``.
    """
    shape = (len(targets), *[1] * (values.ndim - 2), targets.shape[1])
    index = targets.view(shape).expand(*values.shape[:-1], targets.shape[1])
    return values.gather(-1, index)


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class OcclusionTable:
    """Predictions with the window of occlusion at every position.

    Attributes:
        windows: ``(position, 4)``: top, left, bottom, right in pixels (bottom and right are one
            past the window); left to right, then top to bottom.
        probabilities: ``(batch, position, class)``, softmax with the window occluded.
        clean: ``(batch, class)``, softmax of the whole images.
        labels: ``(batch,)``, the class that `of_label` follows: the first target.
        window: Height and width of the window in pixels.
        stride: How far the window moves, in pixels.
        fill: What the window is filled with, in words.
    """

    windows: Int[Tensor, "position 4"]
    probabilities: Float[Tensor, "batch position class"]
    clean: Float[Tensor, "batch class"]
    labels: Int[Tensor, " batch"]
    window: tuple[int, int]
    stride: tuple[int, int]
    fill: str

    @property
    def of_label(self) -> Float[Tensor, "batch position"]:
        """Probability of each image's label at every position."""
        index = self.labels[:, None, None].expand(-1, self.probabilities.shape[1], 1)
        return self.probabilities.gather(2, index)[:, :, 0]

    @property
    def predicted(self) -> Int[Tensor, "batch position"]:
        """The most probable class at every position."""
        return self.probabilities.argmax(dim=2)


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Explanation maps: one per image and target.

    Maps of other libraries are welcome: see `wrap`.

    Attributes:
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        maps: ``(batch, target, height, width)``, raw: signed where the method is, never scaled.
        targets: ``(batch, target)``, the class that each map is about.
        method: Name of the method, such as ``"grad-cam"`` or ``"captum.LRP"``.
        class_names: One name per class.
        signed: Whether the method has values for and against a class, on both sides of zero; it
            decides the colors of figures, whatever values these maps have.
        logits: ``(batch, class)`` of the images, where the method saw them.
        layer: The layer that was looked at, for methods that look at one.
        layer_kind: Class of that module.
        settings: What the method was asked for, for captions.
        evidence: What the method knows beyond the map, by name: ``"completeness"`` (relative
            error, ``(batch, target)``), ``"steps"`` ``(batch, target)``, ``"coarse"`` (maps at
            the layer's own size).
        table: Per-position probabilities, for occlusion.
        cost: Forwards, backwards, seconds.
        remarks: What the method found out: ``"axes-unverified"`` if it could not follow which axes
            of the layer are rows and columns.
    """

    images: Images
    maps: ClassHeatmaps
    targets: Int[Tensor, "batch target"]
    method: str
    class_names: tuple[str, ...]
    signed: bool = True
    logits: Logits | None = None
    layer: str | None = None
    settings: dict[str, float | int | str | bool] = field(default_factory=dict)
    evidence: dict[str, Tensor] = field(default_factory=dict)
    table: OcclusionTable | None = None
    cost: Cost | None = None
    remarks: tuple[str, ...] = ()
    layer_kind: str = ""

    @property
    def layer_label(self) -> str:
        """The layer as people are shown it: ``"7 (ReLU)"`` where it has a number for a name."""
        return layer_label(self.layer or "", self.layer_kind)

    def headline(self) -> str:
        """Such as ``"grad-cam at 'pool2', 3 images x 10 classes"``."""
        where = f" at {self.layer!r}" if self.layer else ""
        images, classes = self.maps.shape[:2]
        return f"{self.method}{where}, {images:,} images x {classes} class{'es' * (classes > 1)}"

    @property
    def flags(self) -> tuple[str, ...]:
        """`remarks`, and how many images have maps or logits that are not finite, or zero maps.

        A network that rounds inside has no gradient, and a map of zeros says nothing.
        """
        flags = []
        for what, values in (("maps", self.maps), ("logits", self.logits)):
            if values is not None:
                bad = int((~values.flatten(1).isfinite().all(dim=1)).sum())
                if bad:
                    flags.append(f"nonfinite-{what}: of {bad} of {len(values)} images")
        zero = int((self.maps.flatten(1) == 0).all(dim=1).sum())
        if zero:
            flags.append(f"zero-maps: of {zero} of {len(self.maps)} images")
        return (*self.remarks, *flags)

    @classmethod
    def wrap(
        cls,
        classifier: Classifier,
        images: Images,
        maps: object,
        *,
        method: str,
        targets: Targets = None,
        signed: bool = True,
    ) -> Explanation:
        """Take maps that another library made, so that they can be drawn and judged.

        Args:
            classifier: The classifier that they are about.
            images: ``(batch, channel, height, width)``.
            maps: An array or tensor ``(batch, height, width)``, or with a target or channel axis
                before the last two. With one target, several channels are added up.
            method: What to call it, such as ``"captum.LRP"``.
            targets: Which classes the maps explain, as for the methods of this package.
            signed: Whether the method has values below zero, which speak against a class.

        Raises:
            UsageError: U11 if shapes do not fit or maps hold NaN.

        Example:
            >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
            >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
            >>> images = torch.rand(3, 1, 2, 2)
            >>> external = Explanation.wrap(classifier, images, images[:, 0], method="own")
            >>> external.maps.shape
            torch.Size([3, 1, 2, 2])
        """
        known = known_targets(classifier, images, targets)
        with classifier.probe() as probe:
            logits = probe.logits(images)
        classes = targets_of(known, logits)
        tensor = torch.as_tensor(maps, dtype=torch.float32).detach()
        if tensor.ndim == 3:
            tensor = tensor[:, None]
        if tensor.ndim == 4 and classes.shape[1] == 1 and tensor.shape[1] == images.shape[1]:
            tensor = tensor.sum(dim=1, keepdim=True)
        expected = (*classes.shape, *images.shape[2:])
        if tuple(tensor.shape) != expected or not bool(tensor.isfinite().all()):
            raise UsageError(
                f"maps have shape {tuple(tensor.shape)}"
                + ("" if bool(tensor.isfinite().all()) else " and hold NaN or infinity"),
                code="U11",
                expected=f"finite numbers of shape {expected}: (image, target, height, width)",
            )
        return cls(
            images=images,
            maps=tensor,
            targets=classes,
            method=method,
            class_names=classifier.class_names,
            signed=signed,
            logits=logits,
        )


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Filters:
    """The weights of one convolution as small pictures.

    Attributes:
        layer: Name of the convolution.
        weights: ``(filter, channel, height, width)``, the raw weights that are shown.
        pictures: ``(filter, 1 or 3, height, width)``, each stretched to [0, 1] by itself.
        low: ``(filter,)``, the weight that is black.
        high: ``(filter,)``, the weight that is white.
        seen_map: The input map whose weights are shown, for layers that are not seen in color.
        columns: Pictures per row that make a pleasant grid, such as 16 for 64 filters.
        layer_kind: Class of the module.
    """

    layer: str
    weights: Float[Tensor, "filter channel height width"]
    pictures: Float[Tensor, "filter color height width"]
    low: Float[Tensor, " filter"]
    high: Float[Tensor, " filter"]
    seen_map: int | None
    columns: int
    layer_kind: str = ""

    @property
    def layer_label(self) -> str:
        """The layer as people are shown it: ``"7 (ReLU)"`` where it has a number for a name."""
        return layer_label(self.layer, self.layer_kind)


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class LayerMaps:
    """Feature maps of one layer for a batch of images.

    Attributes:
        layer: Name of the layer.
        maps: ``(batch, map, height, width)``, raw activations.
        low: ``(map,)``, smallest activation over the batch.
        high: ``(map,)``, largest.
        dead: ``(map,)``, True where a map is the same number everywhere for every image.
        selectivity: ``(map,)``, between -1 and 1: (m - r) / (|m| + |r|), with m the largest mean
            activation for an image and r the mean for the others; 0 for a dead map or a single
            image.
        most_selective: ``(map,)``, indices of maps from most to least selective.
        layer_kind: Class of the module.
    """

    layer: str
    maps: Float[Tensor, "batch map height width"]
    low: Float[Tensor, " map"]
    high: Float[Tensor, " map"]
    dead: Bool[Tensor, " map"]
    selectivity: Float[Tensor, " map"]
    most_selective: Int[Tensor, " map"]
    layer_kind: str = ""

    @property
    def layer_label(self) -> str:
        """The layer as people are shown it: ``"7 (ReLU)"`` where it has a number for a name."""
        return layer_label(self.layer, self.layer_kind)


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureMaps:
    """Feature maps of several layers for a batch of images.

    Attributes:
        images: ``(batch, channel, height, width)``.
        layers: One entry per layer, in the order of the network.
        cost: Forwards, backwards, seconds.
    """

    images: Images
    layers: tuple[LayerMaps, ...]
    cost: Cost | None = None

    def named(self) -> Mapping[str, LayerMaps]:
        """The layers by name."""
        return {entry.layer: entry for entry in self.layers}
