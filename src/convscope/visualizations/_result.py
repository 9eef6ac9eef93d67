"""Result types of visualizations: images of units, with controls and diagnostics."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from convscope._network.hooks import layer_label
from convscope._readable import readable
from convscope.probe import Cost
from convscope.visualizations._units import LOGITS

FELL = 0.05
"""Share of its rise that an objective may lose after its best step without being called falling."""


def ascents(history: Tensor) -> tuple[Tensor, Tensor]:
    """How far each unit rose above its start, and how much of that was gone at the end.

    Averages over a fortieth of the steps, because random views make single steps jump.

    Args:
        history: ``(step + 1, unit)``.

    Returns:
        Two tensors ``(unit,)``.

    Example:
        >>> rise, lost = ascents(torch.tensor([[0.0], [3.0], [2.0]]))
        >>> rise.item(), lost.item()
        (3.0, 1.0)
    """
    width = max(1, (len(history) - 1) // 40)
    known = history.nan_to_num(nan=-torch.inf)
    if not len(known):
        return known.new_zeros(history.shape[1]), known.new_zeros(history.shape[1])
    smooth = known.unfold(0, width, 1).mean(dim=2)
    best = smooth.amax(dim=0)
    rise = torch.maximum(best, known.amax(dim=0)) - known[0]
    return rise.nan_to_num(0.0), (best - smooth[-1]).nan_to_num(0.0)


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutEvaluation:
    """Predictions of an independently trained classifier for the images.

    Attributes:
        source: Where that classifier came from.
        probabilities: ``(unit,)``, its probability of the unit's class.
        labels: ``(unit,)``, its most probable class.
        correct: How many of them are the unit's class.
    """

    source: str
    probabilities: Float[Tensor, " unit"]
    labels: Int[Tensor, " unit"]
    correct: int


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """The same recipe on the network with random weights: what the recipe makes without training.

    Attributes:
        images: ``(unit, channel, height, width)``.
        held_out: Predictions of the held-out evaluator for them, for logits.
    """

    images: Float[Tensor, "unit channel height width"]
    held_out: HeldOutEvaluation | None = None


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Nearest:
    """The training images nearest (L2 over pixels) to each picture: a check on memorization.

    Attributes:
        images: ``(unit, channel, height, width)``.
        rows: ``(unit,)``, positions in the reference images.
        distances: ``(unit,)``, L2 distance in pixel units.
    """

    images: Float[Tensor, "unit channel height width"]
    rows: Int[Tensor, " unit"]
    distances: Float[Tensor, " unit"]


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Visualization:
    """Images that make units of a network as active as possible.

    Attributes:
        images: ``(unit, channel, height, width)``, pixels in [0, 1].
        units: Names: a class name for a logit, ``"pool2:3 (center)"`` for a neuron.
        layer: ``"logits"``, or the layer that the units belong to.
        layer_kind: Class of that module.
        channels: ``(unit,)``, which class, or which map of the layer.
        recipe: Name of the recipe.
        history: ``(step + 1, unit)``, objective before each step and at the end.
        activations: ``(unit,)``, activation that the shown image reaches.
        logits: ``(unit, class)``, logits of the network for the shown image.
        class_names: One name per class.
        dead: ``(unit,)``, True where no step found a gradient: a dead unit.
        max_dataset_activation: ``(unit,)``, largest activation on the reference images.
        max_dataset_images: The reference images that reach it.
        effect: ``(unit, class)``, logits of the image minus mean logits of the reference images
            (or of plain mid-gray): which classes maximizing the unit raises and lowers.
        held_out: Predictions of an independent network, for logits.
        nearest: Nearest reference images.
        control: The same recipe on random weights.
        settings: What the recipe was, for captions.
        cost: Forwards, backwards, seconds.
        kept: ``(unit,)``, the step whose image is shown: that of the highest objective.
        flags: What a reader must know: units that fell after their best step or never rose, and
            images that the network does not predict as the class they were optimized for.
    """

    images: Float[Tensor, "unit channel height width"]
    units: tuple[str, ...]
    layer: str
    channels: Int[Tensor, " unit"]
    recipe: str
    history: Float[Tensor, "step unit"]
    activations: Float[Tensor, " unit"]
    logits: Float[Tensor, "unit class"]
    class_names: tuple[str, ...]
    dead: Bool[Tensor, " unit"] | None = None
    max_dataset_activation: Float[Tensor, " unit"] | None = None
    max_dataset_images: Float[Tensor, "unit channel height width"] | None = None
    effect: Float[Tensor, "unit class"] | None = None
    held_out: HeldOutEvaluation | None = None
    nearest: Nearest | None = None
    control: Control | None = None
    settings: dict[str, float | int | str | bool] = field(default_factory=dict)
    cost: Cost | None = None
    kept: Int[Tensor, " unit"] | None = None
    flags: tuple[str, ...] = ()
    layer_kind: str = ""

    @property
    def layer_label(self) -> str:
        """The layer as people are shown it: ``"7 (ReLU)"`` where it has a number for a name."""
        return layer_label(self.layer, self.layer_kind)

    @property
    def predicted_as_intended(self) -> Bool[Tensor, " unit"] | None:
        """Whether images are predicted as what they were optimized for; ``None`` for neurons."""
        if self.layer != LOGITS:
            return None
        sound = self.logits.isfinite().all(dim=1)
        return (self.logits.argmax(dim=1) == self.channels.to(self.logits.device)) & sound

    def diagnostics(self) -> tuple[str, ...]:
        """The flags that follow from the images and their history."""
        count, flags = len(self.units), []
        rise, lost = ascents(self.history)
        fell = (rise > 0) & (lost > FELL * rise)
        if bool(fell.any()):
            under = int((lost > rise)[fell].sum())
            flags.append(
                f"the objective of {int(fell.sum())} of {count} units fell after its best step"
                + (f", of {under} below its start" if under else "")
                + ": the image of the best step is shown"
            )
        flat = int((~(rise > 0)).sum())
        if flat:
            flags.append(f"the objective of {flat} of {count} units never rose above its start")
        right = self.predicted_as_intended
        if right is not None and not bool(right.all()):
            flags.append(
                f"{int((~right).sum())} of {count} images are not predicted as the class they were "
                "optimized for"
            )
        return tuple(flags)
