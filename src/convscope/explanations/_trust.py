"""Trust scores of explanation methods: faithfulness, localization, randomization, stability."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

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
    CURVE_STEPS,
    Faithfulness,
    area,
    deletion_insertion,
)
from convscope.explanations._pointing import (
    MOSAICS,
    Localization,
    Mosaics,
    grid_pointing_game,
    localization,
    mosaics,
)
from convscope.explanations._result import Explanation
from convscope.explanations._sanity import (
    MOST_STAGES,
    NOISY_COPIES,
    Randomization,
    stability,
    weight_randomization,
)
from convscope.progress import announce, stage
from convscope.types import Images, Labels

Method = Callable[..., Explanation]

FEW = 8
"""Images for the tests that run a method many times over."""

RANDOM = "random map"

CURVES = "curves"


def total_images(classifier: Classifier, count: int) -> int:
    """About how many images a method explains in all tests of `trust` on `count` images.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> total_images(Classifier.wrap(net, input_shape=(1, 4, 4)), 32)
        160
    """
    stages = min(MOST_STAGES, len(weighted_layers(classifier.module)))
    return count + min(FEW, count) * (1 + stages + 1 + NOISY_COPIES) + MOSAICS


def trust_passes(classifier: Classifier, count: int, methods: Iterable[str]) -> dict[str, int]:
    """About how many passes `trust` needs for each method and, as ``"curves"``, for all curves.

    Args:
        classifier: The network that is explained.
        count: Images that methods are judged on.
        methods: Their names; the record in `EXPLANATIONS` knows the passes of one map.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> trust_passes(Classifier.wrap(net, input_shape=(1, 4, 4)), 32, ["saliency"])
        {'saliency': 320, 'curves': 2176}
    """
    from convscope.explanations import passes_per_map

    names = list(methods)
    images = total_images(classifier, count)
    curves = 2 * (CURVE_STEPS + 1) * count * (len(names) + 1)
    return {name: passes_per_map(name) * images for name in names} | {CURVES: curves}


@dataclass(frozen=True, kw_only=True)
class TrustRow:
    """Scores of one method; ``None`` where a test does not apply.

    Attributes:
        method: Its name.
        deletion: Mean area under the deletion curve; small is good.
        insertion: Mean area under the insertion curve; large is good.
        insertion_minus_deletion: Their difference; large is good.
        randomized: Mean rank correlation with the maps of the same network with random weights;
            near 0 is good.
        completeness: Largest relative error of the sum of a map, for methods that promise one.
        grid_pointing_game: Mean share of positive relevance in the right quarter of 2 x 2
            mosaics; chance is 0.25.
        relevance_mass: Mean share of positive relevance on the true mask of the object.
        pointing_accuracy: Share of images whose largest value lies on the object.
        stability: Mean of the largest relative change under noise of 0.02; small is good.
        seconds: For the maps of all images.
    """

    method: str
    deletion: float
    insertion: float
    insertion_minus_deletion: float
    randomized: float | None
    completeness: float | None
    grid_pointing_game: float | None
    relevance_mass: float | None
    pointing_accuracy: float | None
    stability: float | None
    seconds: float | None


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Trust:
    """Trust scores of explanation methods, with their curves. The last row is a random map.

    Attributes:
        rows: One per method.
        fractions: ``(point,)``, share of pixels changed.
        deletion: ``(method, point)``, mean probability of the target.
        insertion: ``(method, point)``.
        stages: Layers up to which weights were randomized.
        similarity: ``(method, stage)``, mean rank correlation; NaN where not computed.
        images: How many images methods were judged on.
        area: Mean share of pixels on the true mask: what chance gives for `relevance_mass`.
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
    external: Sequence[Explanation] = (),
    generator: Generator | None = None,
) -> Trust:
    """Put methods to every test that applies.

    Says how far it is to whoever listens by `convscope.progress.watch`.

    Args:
        classifier: The network that is explained.
        images: ``(batch, channel, height, width)``; some dozens.
        labels: ``(batch,)``, true classes: the targets of all maps. ``None``: the predicted
            classes, for images of things that the network has no class for.
        methods: Names in `EXPLANATIONS`, or functions by name.
        masks: ``(batch, height, width)``, True on the object, where they are known.
        external: Maps of other libraries for the same images; tests that need to run the method
            again are left out.
        generator: Source of every draw; by default one with seed 0.

    Returns:
        One row per method that can explain the network, in order; then the external maps, then a
        random map.

    Raises:
        UsageError: U10 without images; U11 if external maps are about other images.

    Example:
        >>> from convscope.explanations import saliency
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 4, 4))
        >>> scores = trust(classifier, torch.rand(4, 1, 4, 4), torch.tensor([0, 1, 0, 1]),
        ...                {"saliency": saliency})
        >>> [row.method for row in scores.rows]
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
    for given in external:
        if given.images.shape != images.shape:
            raise UsageError(f"the maps of {given.method} are about other images", code="U11")
    generator = source(generator)
    tiles = None
    try:
        tiles = mosaics(classifier, images, labels, generator=generator)
    except UsageError as error:
        notes.append(f"no mosaics: {error.what}")
    tests = _Tests(classifier, images, labels, tiles, generator, notes)
    judged: list[_Judged] = []
    spans = _spans(trust_passes(classifier, len(images), methods))
    for name, method in methods.items():
        with stage(*spans[name], name):
            judged += tests.of(name, method)
    judged += [_Judged(name=given.method, maps=given) for given in external]
    with stage(*spans[CURVES], CURVES):
        with stage(0.0, 0.05):
            judged += tests.of(RANDOM, random_maps(generator))
        with stage(0.05, 1.0):
            curves = _curves(classifier, [each.maps for each in judged], generator)
    stages = next((each.random.stages for each in judged if each.random is not None), ())
    places = [None if masks is None else localization(each.maps, masks) for each in judged]
    unknown = torch.full((len(stages),), torch.nan)
    return Trust(
        rows=tuple(_row(*parts) for parts in zip(judged, curves, places, strict=True)),
        fractions=curves[0].fractions,
        deletion=torch.stack([curve.deletion.mean(dim=0) for curve in curves]),
        insertion=torch.stack([curve.insertion.mean(dim=0) for curve in curves]),
        stages=stages,
        similarity=torch.stack(
            [
                unknown if each.random is None else each.random.similarity.mean(dim=1)
                for each in judged
            ]
        ),
        images=len(images),
        area=None if masks is None else float(masks.float().mean()),
        shrunk=tiles is not None and tiles.shrunk,
        notes=tuple(dict.fromkeys(notes)),
    )


def _spans(work: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """Where in the whole each piece of work begins and ends, as shares."""
    spans, done, total = {}, 0, sum(work.values())
    for name, passes in work.items():
        spans[name] = (done / total, (done + passes) / total)
        done += passes
    return spans


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judged:
    """What was computed for one method before the table."""

    name: str
    maps: Explanation
    seconds: float | None = None
    stability: float | None = None
    random: Randomization | None = None
    quarters: Tensor | None = None


@dataclass(frozen=True, eq=False)
class _Tests:
    """The tests that need to run a method, and what is the same for all methods."""

    classifier: Classifier
    images: Images
    labels: Labels
    tiles: Mosaics | None
    generator: Generator
    notes: list[str]

    def of(self, name: str, method: Method) -> list[_Judged]:
        """The scores of one method; none if it cannot explain this network, which is noted."""
        explain = _announcing(method, self.total_pixels())
        start = time.perf_counter()
        try:
            maps = explain(self.classifier, self.images, self.labels)
        except ModelContractError as error:
            self.notes.append(f"{name}: {error.what}")
            return []
        seconds = time.perf_counter() - start
        few = sample_rows(self.labels, FEW)
        images, labels = self.images[few], self.labels[few]
        quarters = None
        if self.tiles is not None:
            on_mosaics = explain(self.classifier, self.tiles.images, self.tiles.targets)
            quarters = grid_pointing_game(on_mosaics)
        random = None
        try:
            random = weight_randomization(
                self.classifier, explain, images, labels, generator=self.generator
            )
        except ModelContractError as error:
            self.notes.append(f"{name}: {error.what}")
        changes = stability(self.classifier, explain, images, labels, generator=self.generator)
        return [
            _Judged(
                name=name,
                maps=maps,
                seconds=seconds,
                stability=float(changes.mean()),
                random=random,
                quarters=quarters,
            )
        ]

    def total_pixels(self) -> int:
        """About how many pixels a method explains in all tests together."""
        single = total_images(self.classifier, len(self.images)) - MOSAICS
        on_mosaics = 0 if self.tiles is None else self.tiles.images.numel()
        return single * self.images[0].numel() + on_mosaics


def _announcing(method: Method, total: int) -> Method:
    """`method`, which says the share of all its `total` pixels that it has explained."""
    done = 0

    def share(pixels: int) -> float:
        return min(1.0, pixels / total)

    def explain(classifier: Classifier, images: Images, targets: Tensor) -> Explanation:
        nonlocal done
        with stage(share(done), share(done + images.numel())):
            explanation = method(classifier, images, targets)
        done += images.numel()
        announce(share(done))
        return explanation

    return explain


def _curves(
    classifier: Classifier, explanations: Sequence[Explanation], generator: Generator
) -> list[Faithfulness]:
    curves, count = [], len(explanations)
    for i, explanation in enumerate(explanations):
        with stage(i / count, (i + 1) / count):
            curves.append(deletion_insertion(classifier, explanation, generator=generator))
    return curves


def _row(judged: _Judged, curves: Faithfulness, place: Localization | None) -> TrustRow:
    errors = judged.maps.evidence.get("completeness")
    return TrustRow(
        method=judged.name,
        deletion=float(area(curves.deletion).mean()),
        insertion=float(area(curves.insertion).mean()),
        insertion_minus_deletion=curves.insertion_minus_deletion,
        randomized=None if judged.random is None else judged.random.final,
        completeness=None if errors is None else float(errors.abs().max()),
        grid_pointing_game=None if judged.quarters is None else float(judged.quarters.mean()),
        relevance_mass=None if place is None else float(place.relevance_mass.mean()),
        pointing_accuracy=None if place is None else float(place.pointing_hit.float().mean()),
        stability=judged.stability,
        seconds=judged.seconds,
    )


def random_maps(generator: Generator) -> Method:
    """A method whose maps are noise: what every curve must be compared with."""

    def random_map(classifier: Classifier, images: Images, targets: Tensor) -> Explanation:
        chosen = targets[:, None] if targets.ndim == 1 else targets
        shape = (*chosen.shape, *images.shape[2:])
        return Explanation(
            images=images,
            maps=torch.rand(shape, generator=generator, dtype=torch.float32).to(images),
            targets=chosen,
            method=RANDOM,
            signed=False,
            class_names=classifier.class_names,
        )

    return random_map
