"""The tests of `trust`, one method after the other: by one process or many, with one table."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from convscope._random import stream
from convscope._random_weights import weighted_layers
from convscope.classifier import Classifier
from convscope.data import sample_rows
from convscope.errors import ModelContractError, UsageError
from convscope.explanations._faithfulness import CURVE_STEPS, area, deletion_insertion
from convscope.explanations._pointing import (
    MOSAICS,
    Mosaics,
    grid_pointing_game,
    localization,
    mosaics,
)
from convscope.explanations._result import Explanation
from convscope.explanations._sanity import (
    MOST_STAGES,
    NOISY_COPIES,
    stability,
    weight_randomization,
)
from convscope.explanations._trust import Trust, TrustRow
from convscope.progress import announce, stage
from convscope.sharding import Record, joined
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


@dataclass(frozen=True, kw_only=True, eq=False)
class TrustJudging:
    """The judging of `trust`, method by method: a `convscope.sharding.Judging`.

    A block is a method with all its tests, the maps of another library, or the random map. All
    methods see the same random weights, noise, mosaics and order of equal pixels.

    Args:
        classifier: The network that is explained.
        images: ``(batch, channel, height, width)``; some dozens.
        given_labels: ``(batch,)``, true classes; ``None``: maps are about the predicted ones.
        methods: Functions by name.
        masks: ``(batch, height, width)``, True on the object, where they are known.
        external: Maps of other libraries for the same images.
        seed: Of every draw.
    """

    classifier: Classifier
    images: Images
    given_labels: Labels | None
    methods: Mapping[str, Method]
    masks: Tensor | None = None
    external: Sequence[Explanation] = ()
    seed: int = 0
    kind: str = "inspect --trust"
    size: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        if len(self.images) == 0:
            raise UsageError("no images given", code="U10", expected="some dozens to judge on")
        if self.given_labels is not None:
            self.classifier.check_labels(self.given_labels, len(self.images))
        for given in self.external:
            if given.images.shape != self.images.shape:
                raise UsageError(f"the maps of {given.method} are about other images", code="U11")

    @property
    def rows(self) -> int:
        """How many methods, foreign maps and random maps there are."""
        return len(self.addresses)

    @cached_property
    def addresses(self) -> list[str]:
        """What is judged, in the order of the table."""
        return [*self.methods, *(given.method for given in self.external), RANDOM]

    @property
    def alike(self) -> list[str]:
        """No two blocks take as long."""
        return self.addresses

    @property
    def counts(self) -> list[int]:
        """A block is no block of images."""
        return [1] * self.rows

    @cached_property
    def weights(self) -> list[float]:
        """About how many passes each takes."""
        work = trust_passes(self.classifier, len(self.images), list(self.methods))
        each = work[CURVES] / (len(self.methods) + 1)
        own = [work.get(name, 0) for name in self.methods]
        return [passes + each for passes in own] + [each] * (len(self.external) + 1)

    @property
    def settings(self) -> dict[str, Any]:
        """What the result depends on besides network and images."""
        masks = None
        if self.masks is not None:
            masks = hashlib.sha256(self.masks.cpu().numpy().tobytes()).hexdigest()
        return {
            "methods": list(self.methods),
            "external": [given.method for given in self.external],
            "labels": "predicted" if self.given_labels is None else "true",
            "masks": masks,
            "seed": self.seed,
            "classes": list(self.classifier.class_names),
        }

    @cached_property
    def labels(self) -> Labels:
        """The classes that maps are about."""
        if self.given_labels is None:
            return self.classifier.predict(self.images, top=1).labels[:, 0]
        return self.classifier.check_labels(self.given_labels, len(self.images))

    @cached_property
    def tiles(self) -> Mosaics | UsageError:
        """The mosaics of the grid pointing game, or why there are none."""
        try:
            return mosaics(
                self.classifier, self.images, self.labels, generator=self.stream("mosaics")
            )
        except UsageError as error:
            return error

    def stream(self, purpose: str) -> Generator:
        """Random numbers for one purpose: the same for every method."""
        return stream(self.seed, purpose)

    def head(self) -> Record:
        """What the table says of all methods."""
        notes = []
        if self.given_labels is None:
            notes.append(
                "the data have other classes than the network: maps are about predicted ones"
            )
        tiles = self.tiles
        if isinstance(tiles, UsageError):
            notes.append(f"no mosaics: {tiles.what}")
        return Record(
            {
                "notes": notes,
                "images": len(self.images),
                "area": None if self.masks is None else float(self.masks.float().mean()),
                "shrunk": isinstance(tiles, Mosaics) and tiles.shrunk,
            }
        )

    def judge(self, rows: slice, head: Record) -> Record:
        """One method; a record without a row if it cannot explain this network."""
        number, name = rows.start, self.addresses[rows.start]
        each = self.weights[-1] / self.weights[number]
        with stage(0.0, 1.0, name):
            external = number - len(self.methods)
            if 0 <= external < len(self.external):
                judged = _Judged(maps=self.external[external])
            else:
                method = self.methods[name] if external < 0 else random_maps(self.stream(RANDOM))
                with stage(0.0, max(0.05, 1.0 - each)):
                    judged = _Judging(self, method).judged()
            if judged.maps is None:
                return Record({"row": None, "notes": [f"{name}: {why}" for why in judged.notes]})
            with stage(max(0.05, 1.0 - each), 1.0):
                return self._record(name, judged, judged.maps)

    def _record(self, name: str, judged: _Judged, maps: Explanation) -> Record:
        curves = deletion_insertion(self.classifier, maps, generator=self.stream(CURVES))
        announce(1.0)
        errors = maps.evidence.get("completeness")
        place = None if self.masks is None else localization(maps, self.masks)
        row = TrustRow(
            method=name,
            deletion=float(area(curves.deletion).mean()),
            insertion=float(area(curves.insertion).mean()),
            insertion_minus_deletion=curves.insertion_minus_deletion,
            randomized=judged.randomized,
            completeness=None if errors is None else float(errors.abs().max()),
            grid_pointing_game=judged.pointing,
            relevance_mass=None if place is None else float(place.relevance_mass.mean()),
            pointing_accuracy=None if place is None else float(place.pointing_hit.float().mean()),
            stability=judged.stability,
            seconds=judged.seconds,
        )
        return Record(
            {
                "row": asdict(row),
                "stages": list(judged.stages),
                "notes": [f"{name}: {why}" for why in judged.notes],
            },
            {
                "fractions": curves.fractions.cpu().numpy(),
                "deletion": curves.deletion.mean(dim=0, keepdim=True).cpu().numpy(),
                "insertion": curves.insertion.mean(dim=0, keepdim=True).cpu().numpy(),
                "similarity": judged.similarity.cpu().numpy(),
            },
        )

    def inputs(self, rows: slice) -> Mapping[str, NDArray[Any]]:
        """Nothing: the table holds no images."""
        return {}


def trust_of(head: Record, records: Sequence[Record]) -> Trust:
    """The table of all methods.

    Args:
        head: Of a `TrustJudging`.
        records: Of it, in order.
    """
    judged = [record for record in records if record.numbers["row"] is not None]
    stages: list[str] = next((r.numbers["stages"] for r in judged if r.numbers["stages"]), [])
    unknown = torch.full((len(stages),), torch.nan)
    similar = [torch.from_numpy(record.arrays["similarity"]) for record in judged]
    every = [note for record in (head, *records) for note in record.numbers["notes"]]
    return Trust(
        rows=tuple(TrustRow(**record.numbers["row"]) for record in judged),
        fractions=torch.from_numpy(judged[0].arrays["fractions"]),
        deletion=torch.from_numpy(joined(judged, "deletion")),
        insertion=torch.from_numpy(joined(judged, "insertion")),
        stages=tuple(stages),
        similarity=torch.stack([one if len(one) else unknown for one in similar]),
        images=head.numbers["images"],
        area=head.numbers["area"],
        shrunk=head.numbers["shrunk"],
        notes=tuple(dict.fromkeys(every)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judged:
    """What the tests that run a method have found."""

    maps: Explanation | None
    seconds: float | None = None
    stability: float | None = None
    randomized: float | None = None
    stages: tuple[str, ...] = ()
    similarity: Tensor = field(default_factory=lambda: torch.empty(0))
    pointing: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Judging:
    """The tests that need to run a method."""

    of: TrustJudging
    method: Method

    def judged(self) -> _Judged:
        """The scores of the method; no maps if it cannot explain this network."""
        of = self.of
        explain = _announcing(self.method, self.total_pixels())
        start = time.perf_counter()
        try:
            maps = explain(of.classifier, of.images, of.labels)
        except ModelContractError as error:
            return _Judged(maps=None, notes=(error.what,))
        seconds = time.perf_counter() - start
        few = sample_rows(of.labels, FEW)
        images, labels = of.images[few], of.labels[few]
        pointing = None
        if isinstance(of.tiles, Mosaics):
            on_mosaics = explain(of.classifier, of.tiles.images, of.tiles.targets)
            pointing = float(grid_pointing_game(on_mosaics).mean())
        notes, random = [], None
        try:
            random = weight_randomization(
                of.classifier, explain, images, labels, generator=of.stream("weights")
            )
        except ModelContractError as error:
            notes.append(error.what)
        changes = stability(of.classifier, explain, images, labels, generator=of.stream("noise"))
        return _Judged(
            maps=maps,
            seconds=seconds,
            stability=float(changes.mean()),
            randomized=None if random is None else random.final,
            stages=() if random is None else random.stages,
            similarity=torch.empty(0) if random is None else random.similarity.mean(dim=1),
            pointing=pointing,
            notes=tuple(notes),
        )

    def total_pixels(self) -> int:
        """About how many pixels a method explains in all tests together."""
        of = self.of
        single = total_images(of.classifier, len(of.images)) - MOSAICS
        on_mosaics = of.tiles.images.numel() if isinstance(of.tiles, Mosaics) else 0
        return single * of.images[0].numel() + on_mosaics


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
