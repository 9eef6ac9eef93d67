"""What visualizations give back: pictures of units, and what is needed to believe them."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Bool, Float, Int
from torch import Tensor

from convscope.probe import Cost


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """What an independently trained classifier reads in the pictures.

    Attributes:
        source: Where the judge came from.
        probabilities: ``(unit,)``, its probability of the unit's class.
        labels: ``(unit,)``, its most probable class.
        right: How many of them are the unit's class.
    """

    source: str
    probabilities: Float[Tensor, " unit"]
    labels: Int[Tensor, " unit"]
    right: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """The same recipe on the network with random weights: what the recipe draws by itself.

    Attributes:
        images: ``(unit, channel, height, width)``.
        judgement: What the judge reads in them, for logits.
    """

    images: Float[Tensor, "unit channel height width"]
    judgement: Judgement | None = None


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Visualization:
    """Images that make units of a network as active as possible.

    Attributes:
        images: ``(unit, channel, height, width)``, pixels in [0, 1].
        units: Names: a class name for a logit, ``"pool2:3 (center)"`` for a neuron.
        layer: ``"logits"``, or the layer that the units belong to.
        channels: ``(unit,)``, which class, or which map of the layer.
        recipe: Name of the recipe.
        history: ``(step + 1, unit)``, objective before each step and at the end.
        activations: ``(unit,)``, activation that the shown image reaches.
        logits: ``(unit, class)``, what the network says of the shown image.
        class_names: One name per class.
        stuck: ``(unit,)``, True where no step found a gradient: a dead unit.
        natural: ``(unit,)``, largest activation on the reference images.
        natural_images: The reference images that reach it.
        effect: ``(unit, class)``, logits of the image minus mean logits of the reference images
            (or of plain mid-grey): which classes maximizing the unit raises and lowers.
        judgement: What an independent network reads, for logits.
        nearest: Nearest reference images.
        control: The same recipe on random weights.
        settings: What the recipe was, for captions.
        cost: Forwards, backwards, seconds.
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
    stuck: Bool[Tensor, " unit"] | None = None
    natural: Float[Tensor, " unit"] | None = None
    natural_images: Float[Tensor, "unit channel height width"] | None = None
    effect: Float[Tensor, "unit class"] | None = None
    judgement: Judgement | None = None
    nearest: Nearest | None = None
    control: Control | None = None
    settings: dict[str, float | int | str | bool] = field(default_factory=dict)
    cost: Cost | None = None
