"""Result types of robustness evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from convscope._readable import readable
from convscope.flags import Flag
from convscope.probe import Cost
from convscope.types import Images, Labels, Values


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class RobustnessCurve:
    """Accuracy against the size of the perturbation.

    Attributes:
        attack: Name of the attack.
        norm: ``"linf"`` or ``"l2"``.
        epsilons: ``(point,)``, rising, in pixel units; the first is 0: clean accuracy.
        accuracies: ``(point,)``, share of images for which no perturbation of that size was found.
        smallest: ``(batch,)``, the smallest epsilon of the grid that fools each image; 0 where
            it was wrong before, infinity where none did.
        distances: ``(batch,)``, how far the nearest adversarial found is; infinity without one.
        labels: The true classes.
        cost: Of all runs together.
        settings: Of the attack.
        flags: What a reader must know.
        class_names: One name per class.
    """

    attack: str
    norm: str
    epsilons: Tensor
    accuracies: Tensor
    smallest: Values
    distances: Values
    labels: Labels
    cost: Cost
    settings: dict[str, Any]
    flags: tuple[Flag, ...]
    class_names: tuple[str, ...]

    @property
    def median_epsilon(self) -> float:
        """The smallest epsilon of the grid that half of the images do not withstand."""
        return float(self.smallest.double().sort().values[(len(self.smallest) - 1) // 2])

    def summary(self) -> dict[str, Any]:
        """Numbers for tables and JSON."""
        return {
            "attack": self.attack,
            "norm": self.norm,
            "images": len(self.labels),
            "epsilons": self.epsilons.tolist(),
            "accuracies": self.accuracies.tolist(),
            "forwards_per_image": self.cost.forwards / max(len(self.labels), 1),
            "backwards_per_image": self.cost.backwards / max(len(self.labels), 1),
            "seconds": self.cost.seconds,
            "flags": list(self.flags),
        }


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One attack of the suite.

    Attributes:
        attack: Its name.
        attacked: How many images it was run on.
        broken: How many of these it fooled, or led to where the network returns NaN or infinity.
        accuracy: Share of all images that are classified correctly under this attack; NaN if it
            was run only on images that withstood the others.
        robust: Share of all images that are robust to this attack and all before it.
        forwards: Images run through the network.
        backwards: Images whose gradient was computed.
        seconds: Wall-clock time.
    """

    attack: str
    attacked: int
    broken: int
    accuracy: float
    robust: float
    forwards: int
    backwards: int
    seconds: float


Verdict = Literal["ok", "warn", "n.a."]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One automatic check of an evaluation.

    Attributes:
        name: Short, such as ``"zero-gradient"``.
        verdict: ``"ok"``, ``"warn"`` or ``"n.a."``.
        number: What was measured.
        sentence: What it means.
    """

    name: str
    verdict: Verdict
    number: float | None
    sentence: str


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class RobustnessEvaluation:
    """Worst-case robust accuracy, with what it rests on.

    Attributes:
        norm: ``"linf"`` or ``"l2"``.
        epsilon: Radius in pixel units.
        effort: ``"quick"``, ``"standard"`` or ``"full"``.
        clean_accuracy: Without an attack.
        robust_accuracy: Share of images that are classified correctly under all attacks.
        low: Lower end of its 95 % Wilson interval.
        high: Upper end.
        suite: The attacks from weak to strong.
        checks: Signs that the figure is not to be trusted.
        labels: ``(batch,)``.
        broken_by: ``(batch,)``, position in `suite` of the first attack that broke the image;
            -1: none, -2: wrong (or NaN or infinite logits) without an attack.
        originals: The images, ``(batch, channel, height, width)``.
        adversarials: For each image the first adversarial found, else the original.
        nonfinite: How many images the network returned NaN or infinity for, as they are or under
            attack; none of them counts as robust.
        cost: Of everything, checks included.
        class_names: One name per class.
    """

    norm: str
    epsilon: float
    effort: str
    clean_accuracy: float
    robust_accuracy: float
    low: float
    high: float
    suite: tuple[Stage, ...]
    checks: tuple[Check, ...]
    labels: Labels
    broken_by: Labels
    originals: Images
    adversarials: Images
    cost: Cost
    class_names: tuple[str, ...]
    nonfinite: int = 0

    @property
    def flags(self) -> tuple[Flag, ...]:
        """The checks that warn; the codes are their names."""
        return tuple(
            Flag(check.name, "warning", 0, 0, check.sentence)
            for check in self.checks
            if check.verdict == "warn"
        )

    def summary(self) -> dict[str, Any]:
        """Numbers for tables and JSON."""
        return {
            "images": len(self.labels),
            "norm": self.norm,
            "epsilon": self.epsilon,
            "effort": self.effort,
            "clean_accuracy": self.clean_accuracy,
            "robust_accuracy": self.robust_accuracy,
            "interval": [self.low, self.high],
            "nonfinite": self.nonfinite,
            "suite": [vars(stage) for stage in self.suite],
            "checks": [vars(check) for check in self.checks],
            "flags": list(self.flags),
            "forwards": self.cost.forwards,
            "backwards": self.cost.backwards,
            "seconds": self.cost.seconds,
        }


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class TransformationRobustness:
    """Robustness of adversarial examples to image transformations.

    Attributes:
        names: One per transformation; the first is ``"none"``.
        originals: ``(batch, channel, height, width)``.
        adversarials: Likewise.
        labels: The true classes.
        targets: The classes that were to be reached, or ``None``.
        originals_predicted: ``(transformation, batch)``, classes of the transformed originals.
        originals_probabilities: Their probabilities; NaN where a logit is NaN or infinite.
        adversarials_predicted: ``(transformation, batch)``.
        adversarials_probabilities: Their probabilities.
        label_probabilities: ``(transformation, batch)``, of the true class, adversarials.
        target_probabilities: Of the target (true class without one), adversarials.
        transformed: The transformed adversarials, ``(transformation, batch, channel, height,
            width)``, for figures.
        class_names: One name per class.
        flags: What a reader must know.
    """

    names: tuple[str, ...]
    originals: Images
    adversarials: Images
    labels: Labels
    targets: Labels | None
    originals_predicted: Tensor
    originals_probabilities: Tensor
    adversarials_predicted: Tensor
    adversarials_probabilities: Tensor
    label_probabilities: Tensor
    target_probabilities: Tensor
    transformed: Tensor
    class_names: tuple[str, ...]
    flags: tuple[Flag, ...] = ()

    @property
    def still_adversarial(self) -> Tensor:
        """``(transformation, batch)``: predicted as the target or, untargeted, not as the label.

        NaN or infinite logits are no prediction: there it is False.
        """
        usable = self.adversarials_probabilities.isfinite()
        if self.targets is None:
            return (self.adversarials_predicted != self.labels) & usable
        return (self.adversarials_predicted == self.targets) & usable

    @property
    def rates(self) -> Tensor:
        """``(transformation,)``: share that still fools among images that fool untransformed."""
        first = self.still_adversarial[0]
        return (self.still_adversarial & first).float().sum(1) / first.sum().clamp_min(1)

    def summary(self) -> dict[str, Any]:
        """Numbers for tables and JSON."""
        usable = self.originals_probabilities.isfinite()
        right = ((self.originals_predicted == self.labels) & usable).float().mean(1)
        return {
            "images": len(self.labels),
            "still_adversarial": dict(zip(self.names, self.rates.tolist(), strict=True)),
            "originals_right": dict(zip(self.names, right.tolist(), strict=True)),
            "flags": list(self.flags),
        }


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class ModelTransfer:
    """Adversarials made on one network, shown to others.

    Attributes:
        names: One per network.
        attack: Name of the attack.
        norm: ``"linf"`` or ``"l2"``.
        epsilon: Radius in pixel units.
        rates: ``(made on, shown to)``: share misclassified among images that both networks classify
            correctly.
        counts: ``(made on, shown to)``: how many images those are.
        clean: ``(network,)``: accuracies without an attack.
        images: How many images were used.
        flags: What a reader must know.
    """

    names: tuple[str, ...]
    attack: str
    norm: str | None
    epsilon: float | None
    rates: Tensor
    counts: Tensor
    clean: Tensor
    images: int
    flags: tuple[Flag, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Numbers for tables and JSON."""
        return {
            "names": list(self.names),
            "attack": self.attack,
            "epsilon": self.epsilon,
            "images": self.images,
            "rates": self.rates.tolist(),
            "clean": self.clean.tolist(),
            "flags": list(self.flags),
        }


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Certification:
    """Radii within which the smoothed classifier provably keeps its prediction.

    Attributes:
        std: Standard deviation of the Gaussian noise, pixel units.
        draws: Noise draws per image for the bound.
        alpha: Each certificate is wrong with at most this probability.
        labels: ``(batch,)``.
        predicted: ``(batch,)``, the smoothed class; -1: abstained.
        radii: ``(batch,)``, certified L2 radius; 0 where it abstained.
        votes: ``(batch,)``, how many draws went to the class.
        forwards: Images run through the network.
        seconds: Wall-clock time.
        class_names: One name per class.
        flags: What a reader must know.
    """

    std: float
    draws: int
    alpha: float
    labels: Labels
    predicted: Labels
    radii: Values
    votes: Labels
    forwards: int
    seconds: float
    class_names: tuple[str, ...]
    flags: tuple[Flag, ...] = ()

    def accuracy_at(self, radius: float) -> float:
        """Certified accuracy: share of images that are right with a radius of at least this."""
        if len(self.labels) == 0:
            return float("nan")
        held = (self.predicted == self.labels) & (self.radii >= radius)
        return float(held.double().mean())

    def curve(self, radii: Tensor) -> Tensor:
        """`accuracy_at` for many radii."""
        return torch.tensor([self.accuracy_at(float(radius)) for radius in radii])

    def summary(self) -> dict[str, Any]:
        """Numbers for tables and JSON."""
        points = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
        return {
            "images": len(self.labels),
            "std": self.std,
            "draws": self.draws,
            "alpha": self.alpha,
            "abstained": int((self.predicted < 0).sum()),
            "certified_accuracy": {f"{radius:g}": self.accuracy_at(radius) for radius in points},
            "forwards": self.forwards,
            "seconds": self.seconds,
            "flags": list(self.flags),
        }


@dataclass(frozen=True, kw_only=True)
class DefenseRow:
    """One defense under attack.

    Attributes:
        defense: Its name; ``"none"`` for the bare network.
        clean: Accuracy without an attack.
        transfer: Accuracy on adversarials made for the bare network: a loose upper bound.
        adaptive: Accuracy on adversarials made for the defended network: what counts.
    """

    defense: str
    clean: float
    transfer: float
    adaptive: float


@readable
@dataclass(frozen=True, kw_only=True)
class DefenseComparison:
    """Defenses side by side.

    Attributes:
        attack: Name of the attack.
        norm: ``"linf"`` or ``"l2"``.
        epsilon: Radius in pixel units.
        images: How many.
        rows: One per defense, the bare network first.
        flags: What a reader must know.
    """

    attack: str
    norm: str
    epsilon: float
    images: int
    rows: tuple[DefenseRow, ...]
    flags: tuple[Flag, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Numbers for tables and JSON."""
        return {
            "attack": self.attack,
            "norm": self.norm,
            "epsilon": self.epsilon,
            "images": self.images,
            "rows": [vars(row) for row in self.rows],
            "flags": list(self.flags),
        }
