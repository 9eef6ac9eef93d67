"""Trust scores of explanation methods: faithfulness, localization, randomization, stability."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope._random_weights import weighted_layers
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.data import sample_rows
from convscope.errors import ModelContractError, UsageError, choose
from convscope.explanations._faithfulness import (
    Faithfulness,
    area,
    deletion_insertion,
)
from convscope.explanations._pointing import (
    MOSAICS,
    Localization,
    Mosaics,
    localization,
    mosaics,
    pointing,
)
from convscope.explanations._result import Explanation
from convscope.explanations._sanity import (
    MOST_STAGES,
    NOISY_COPIES,
    Randomization,
    stability,
    weight_randomization,
)
from convscope.progress import watch
from convscope.types import Images, Labels

FEW = 8
"""Images for the tests that run a method many times over."""


def images_in_all(classifier: Classifier, count: int) -> int:
    """About how many images a method is asked to explain when `trust` judges it on `count`."""
    stages = min(MOST_STAGES, len(weighted_layers(classifier.module)))
    return count + min(FEW, count) * (1 + stages + 1 + NOISY_COPIES) + MOSAICS


def pixels_in_all(classifier: Classifier, images: Images, tiles: Mosaics | None) -> int:
    """About how many pixels a method will be asked to explain, in all tests together."""
    single = images_in_all(classifier, len(images)) - MOSAICS
    return single * images[0].numel() + (0 if tiles is None else tiles.images.numel())


def heard_as(
    method: Callable[..., Explanation], tell: Callable[[float], None], in_all: int
) -> Callable[..., Explanation]:
    """`method`, which tells the share of all its pixels that it has explained."""
    done = 0

    def wrapped(classifier: Classifier, images: Images, targets: Tensor) -> Explanation:
        nonlocal done
        with watch(lambda share, what: tell(min(1.0, (done + share * images.numel()) / in_all))):
            found = method(classifier, images, targets)
        done += images.numel()
        tell(min(1.0, done / in_all))
        return found

    return wrapped


def tell_curve(
    on_progress: Callable[[str, float], None] | None,
    done: int,
    in_all: int,
    share: float,
    what: str,
) -> None:
    if on_progress is not None:
        on_progress("curves", (done + share) / in_all)


RANDOM = "random map"


@dataclass(frozen=True, kw_only=True)
class TrustRow:
    """How one method fares; ``None`` where a test does not apply.

    Attributes:
        method: Its name.
        deletion: Mean area under the deletion curve; small is good.
        insertion: Mean area under the insertion curve; large is good.
        gap: Insertion minus deletion.
        randomized: Mean rank correlation with the maps of the same network with random weights;
            near 0 is good.
        completeness: Largest relative error of the sum of a map, for methods that promise one.
        pointing: Mean share of positive relevance in the right quarter of 2 x 2 mosaics; chance
            is 0.25.
        inside: Mean share of positive relevance on the true mask of the object.
        hit: Share of images whose largest value lies on the object.
        stability: Mean of the largest relative change under noise of 0.02; small is good.
        seconds: For the maps of all images.
    """

    method: str
    deletion: float
    insertion: float
    gap: float
    randomized: float | None
    completeness: float | None
    pointing: float | None
    inside: float | None
    hit: float | None
    stability: float | None
    seconds: float | None


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Trust:
    """Whom to believe, with the curves behind it. The last row is a random map.

    Attributes:
        rows: One per method.
        fractions: ``(point,)``, share of pixels changed.
        deletion: ``(method, point)``, mean probability of the target.
        insertion: ``(method, point)``.
        stages: Layers up to which weights were randomized.
        similarity: ``(method, stage)``, mean rank correlation; NaN where not computed.
        images: How many images were judged.
        area: Mean share of pixels on the true mask: what chance gives for `inside`.
        shrunk: Whether mosaics were shrunk to the size of one image.
        notes: Sentences on what could not be done.
    """

    rows: tuple[TrustRow, ...]
    fractions: Float[Tensor, " point"]
    deletion: Float[Tensor, "method point"]
    insertion: Float[Tensor, "method point"]
    stages: tuple[str, ...]
    similarity: Float[Tensor, "method stage"]
    images: int
    area: float | None
    shrunk: bool
    notes: tuple[str, ...]


@checked
def trust(
    classifier: Classifier,
    images: Images,
    labels: Labels | None,
    methods: dict[str, Callable[..., Explanation]] | Sequence[str],
    *,
    masks: Tensor | None = None,
    foreign: Sequence[Explanation] = (),
    generator: Generator | None = None,
    on_progress: Callable[[str, float], None] | None = None,
) -> Trust:
    """Put methods to every test that applies.

    Args:
        classifier: The network that is explained.
        images: ``(batch, channel, height, width)``; some dozens.
        labels: ``(batch,)``, true classes: the targets of all maps. ``None``: the predicted
            classes, for images of things that the network has no class for.
        methods: Names in `EXPLANATIONS`, or functions by name.
        masks: ``(batch, height, width)``, True on the object, where they are known.
        foreign: Maps of other libraries for the same images; tests that need to run the method
            again are left out.
        generator: Source of every draw; by default one with seed 0.
        on_progress: Called with the name of a method and the share of its tests that is done; at
            last with ``"curves"``, for deletion and insertion of all methods.

    Raises:
        UsageError: If foreign maps are about other images.

    Example:
        >>> from convscope.explanations import saliency
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 4, 4))
        >>> found = trust(classifier, torch.rand(4, 1, 4, 4), torch.tensor([0, 1, 0, 1]),
        ...               {"saliency": saliency})
        >>> [row.method for row in found.rows]
        ['saliency', 'random map']
    """
    if not isinstance(methods, dict):
        from convscope.explanations import EXPLANATIONS

        methods = {
            name: EXPLANATIONS[choose("explanation", name, EXPLANATIONS)] for name in methods
        }
    if len(images) == 0:
        raise UsageError("no images given", code="U10", expected="some dozens to judge on")
    notes: list[str] = []
    if labels is None:
        labels = classifier.predict(images, top=1).labels[:, 0]
        notes.append("the data have other classes than the network: maps are about predicted ones")
    labels = classifier.check_labels(labels, len(images))
    for given in foreign:
        if given.images.shape != images.shape:
            raise UsageError(f"the maps of {given.method} are about other images", code="U11")
    drawn = source(generator)
    tiles = None
    try:
        tiles = mosaics(classifier, images, labels, generator=drawn)
    except UsageError as error:
        notes.append(f"no mosaics: {error.what}")
    found = []
    for name, method in methods.items():
        heard = method
        if on_progress is not None:
            heard = heard_as(
                method, partial(on_progress, name), pixels_in_all(classifier, images, tiles)
            )
        judged = _judge(classifier, name, heard, images, labels, tiles, drawn, notes)
        found += [judged] if judged is not None else []
    found += [_Judged(name=given.method, maps=given) for given in foreign]
    blind = _judge(classifier, RANDOM, random_maps(drawn), images, labels, tiles, drawn, notes)
    found += [blind] if blind is not None else []
    stages = next((x.random.stages for x in found if x.random is not None), ())
    curves = []
    for i, each in enumerate(found):
        with watch(partial(tell_curve, on_progress, i, len(found))):
            curves.append(deletion_insertion(classifier, each.maps, generator=drawn))
    places = [None if masks is None else localization(x.maps, masks) for x in found]
    unknown = torch.full((len(stages),), torch.nan)
    return Trust(
        rows=tuple(_row(*each) for each in zip(found, curves, places, strict=True)),
        fractions=curves[0].fractions,
        deletion=torch.stack([x.deletion.mean(dim=0) for x in curves]),
        insertion=torch.stack([x.insertion.mean(dim=0) for x in curves]),
        stages=stages,
        similarity=torch.stack(
            [unknown if x.random is None else x.random.similarity.mean(dim=1) for x in found]
        ),
        images=len(images),
        area=None if masks is None else float(masks.float().mean()),
        shrunk=tiles is not None and tiles.shrunk,
        notes=tuple(dict.fromkeys(notes)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judged:
    """What was computed for one method before the table."""

    name: str
    maps: Explanation
    seconds: float | None = None
    shaken: float | None = None
    random: Randomization | None = None
    quarters: Tensor | None = None


def _judge(
    classifier: Classifier,
    name: str,
    method: Callable[..., Explanation],
    images: Images,
    labels: Labels,
    tiles: Mosaics | None,
    generator: Generator,
    notes: list[str],
) -> _Judged | None:
    """Everything that needs to run the method; ``None`` if it cannot explain this network."""
    start = time.perf_counter()
    try:
        maps = method(classifier, images, labels)
    except ModelContractError as error:
        notes.append(f"{name}: {error.what}")
        return None
    seconds = time.perf_counter() - start
    rows = sample_rows(labels, FEW)
    few, whom = images[rows], labels[rows]
    quarters = None
    if tiles is not None:
        quarters = pointing(method(classifier, tiles.images, tiles.targets))
    random = None
    try:
        random = weight_randomization(classifier, method, few, whom, generator=generator)
    except ModelContractError as error:
        notes.append(f"{name}: {error.what}")
    return _Judged(
        name=name,
        maps=maps,
        seconds=seconds,
        shaken=float(stability(classifier, method, few, whom, generator=generator).mean()),
        random=random,
        quarters=quarters,
    )


def _row(found: _Judged, curves: Faithfulness, place: Localization | None) -> TrustRow:
    sums = found.maps.evidence.get("completeness")
    return TrustRow(
        method=found.name,
        deletion=float(area(curves.deletion).mean()),
        insertion=float(area(curves.insertion).mean()),
        gap=curves.gap,
        randomized=None if found.random is None else found.random.final,
        completeness=None if sums is None else float(sums.abs().max()),
        pointing=None if found.quarters is None else float(found.quarters.mean()),
        inside=None if place is None else float(place.inside.mean()),
        hit=None if place is None else float(place.hit.float().mean()),
        stability=found.shaken,
        seconds=found.seconds,
    )


def random_maps(generator: Generator) -> Callable[..., Explanation]:
    """A method that knows nothing: what every curve must be compared with."""

    def random_map(classifier: Classifier, images: Images, targets: Tensor) -> Explanation:
        chosen = targets[:, None] if targets.ndim == 1 else targets
        shape = (*chosen.shape, *images.shape[2:])
        return Explanation(
            images=images,
            maps=torch.rand(shape, generator=generator, dtype=torch.float32).to(images),
            targets=chosen,
            method=RANDOM,
            class_names=classifier.class_names,
        )

    return random_map
