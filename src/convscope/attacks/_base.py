"""What attacks are made of: task, budget, first-order loop, conclusion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor

from convscope._inputs import check_norm, check_radius
from convscope._readable import readable
from convscope.ascent import Ascent, Keep, Region, Step, Stop, ascend, ball, box, unconstrained
from convscope.attacks._criteria import Criterion, success_criterion
from convscope.attacks._quantize import quantize
from convscope.attacks._result import AttackResult, result_flags
from convscope.attacks._transforms import RandomTransform, fused
from convscope.classifier import Classifier
from convscope.flags import Flag
from convscope.probe import Objective, Probe
from convscope.types import Counts, Curves, Images, Labels, Logits, Mask, Norm


@dataclass(frozen=True, kw_only=True, eq=False)
class Budget:
    """The region that an attack promises not to leave, and the radius that it declares.

    Attributes:
        region: Where images may be.
        norm: Of the declared ball; ``None``: only the pixel range is a limit.
        radii: Of the declared balls, float64, ``()`` or ``(batch,)``; ``None`` without one.
    """

    region: Region
    norm: Norm | None = None
    radii: Tensor | None = None

    @property
    def epsilon(self) -> float | None:
        """The largest radius; ``None`` without one."""
        if self.radii is None:
            return None
        return float(self.radii.max()) if self.radii.numel() else 0.0


def within(images: Tensor, radii: Tensor, norm: Norm) -> Budget:
    """Balls of `radii` around `images`, inside [0, 1]."""
    return Budget(region=ball(images, radii, norm), norm=norm, radii=radii)


def unlimited() -> Budget:
    """Any image."""
    return Budget(region=box())


def of_rows(values: Tensor, rows: Tensor) -> Tensor:
    """The entries of some rows of ``(batch,)``; a number for all rows is itself."""
    return values[rows.to(values.device)] if values.ndim else values


def random_start(images: Tensor, radii: Tensor, norm: Norm, generator: Generator | None) -> Tensor:
    """A point of the ball around each image, put into [0, 1]; the same offset for all images.

    Uniform in the ball: for ``"linf"`` every pixel on its own, for ``"l2"`` a Gaussian direction
    and a length whose n-th power is uniform.

    Args:
        images: ``(batch, channel, height, width)``.
        radii: ``()`` or ``(batch,)``.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.
        generator: Source of randomness.
    """
    shape = (1, *images.shape[1:])
    if norm == "linf":
        offset = 2 * torch.rand(shape, generator=generator, dtype=torch.float32).to(images) - 1
    else:
        direction = torch.randn(shape, generator=generator, dtype=torch.float32).to(images)
        share = torch.rand((), generator=generator, dtype=torch.float32).item() ** (
            1 / max(direction.numel(), 1)
        )
        offset = share * direction / torch.linalg.vector_norm(direction).clamp_min(1e-30)
    lengths = radii.to(images).expand(len(images)).view(-1, 1, 1, 1)
    everyone = torch.arange(len(images), device=images.device)
    return ball(images, radii, norm).project(images + lengths * offset, everyone)


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What an attack within a radius is given.

    Attributes:
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        criterion: Their labels and targets.
        radii: In pixel units, float64, ``()`` or ``(batch,)``.
        norm: How distance is measured.
    """

    images: Tensor
    criterion: Criterion
    radii: Tensor
    norm: Norm

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        images: Images,
        labels: Labels,
        targets: Labels | None,
        epsilon: float | Tensor,
        norm: Norm,
    ) -> Task:
        """Check the arguments of an attack, and put them together.

        Raises:
            ImageError: I24 or M14 if `images` are not a batch of pixels in [0, 1].
            UsageError: U01 for an unknown norm, U03 for an impossible epsilon, U08 and U10 as
                `success_criterion`.
        """
        criterion = success_criterion(classifier, images, labels, targets)
        radii = check_radius(epsilon, check_norm(norm), images).to(images.device)
        return cls(images=images, criterion=criterion, radii=radii, norm=norm)

    def part(self, rows: Tensor) -> Task:
        """The task of some rows."""
        return Task(
            images=self.images[rows],
            criterion=self.criterion.of(rows),
            radii=of_rows(self.radii, rows),
            norm=self.norm,
        )

    @cached_property
    def budget(self) -> Budget:
        """The balls that the attack must not leave."""
        return within(self.images, self.radii, self.norm)

    def random_start(self, generator: Generator) -> Tensor:
        """A random point of each ball; see `random_start`."""
        return random_start(self.images, self.radii, self.norm, generator)


@dataclass(frozen=True, kw_only=True, eq=False)
class Expectation:
    """Expectation over transformation: the objective is a mean over random transforms.

    Attributes:
        transforms: Draws the transforms.
        samples: How many are drawn per step.
        generator: Source of randomness.
    """

    transforms: RandomTransform
    samples: int
    generator: Generator | None

    @classmethod
    def over(
        cls, transforms: RandomTransform | None, samples: int, generator: Generator
    ) -> Expectation | None:
        """The expectation over these transforms; ``None`` without any."""
        if transforms is None:
            return None
        return cls(transforms=transforms, samples=samples, generator=generator)


def attack_by_ascent(
    classifier: Classifier,
    images: Tensor,
    criterion: Criterion,
    *,
    method: str,
    objective: Objective,
    step: Step,
    steps: int,
    settings: dict[str, Any],
    budget: Budget | None = None,
    start: Tensor | None = None,
    keep: Keep = "first",
    stop: bool | Stop = True,
    expectation: Expectation | None = None,
    fallback: bool = True,
    flags: tuple[Flag, ...] = (),
) -> AttackResult:
    """Ascend from `start` and look at both ends with the classifier.

    Args:
        classifier: The network to fool.
        images: The images attacked; the first point of the ascent unless `start` is given.
        criterion: Labels and targets.
        method: Name of the attack.
        objective: What to raise.
        step: How to move.
        steps: How often.
        settings: Plain values for the result.
        budget: Where images may be; by default anywhere in [0, 1].
        start: Another first point.
        keep: See `ascend`.
        stop: Let rows leave as soon as they are adversarial, or when a function says so.
        expectation: Random transforms that the result has to survive.
        fallback: Rows without a gradient follow the margin.
        flags: What to say in the result.
    """
    budget = unlimited() if budget is None else budget
    plain = expectation is None
    helped = fallback and plain
    leave = stop if callable(stop) else criterion.is_adversarial
    score, decode, samples = objective, None, 1
    if expectation is not None:
        samples = expectation.samples
        score, decode = fused(objective, expectation.transforms, samples, expectation.generator)
    with classifier.probe() as probe:
        ascent = ascend(
            images if start is None else start,
            probe,
            score,
            step=step,
            region=budget.region,
            steps=steps,
            stop=leave if plain and stop is not False else None,
            keep=keep,
            decode=decode,
            num_samples=samples,
            fallback=(lambda x, z, rows: criterion.margin(z, rows)) if helped else None,
        )
        return build_result(
            probe,
            images,
            ascent.images,
            criterion,
            method=method,
            settings=settings,
            budget=budget,
            logits_before=ascent.first_outputs if plain and start is None else None,
            logits_after=ascent.outputs if plain else None,
            trajectory=Trajectory.of(ascent),
            helped=helped,
            flags=flags,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """How an attack goes, per row; loops write into its tensors.

    Attributes:
        steps: Steps that each row took.
        zero_gradients: At how many steps each row's gradient was exactly zero.
        nonfinite: Rows for which the network returned NaN or infinity on the way.
        history: The objective, ``(step + 1, batch)``.
        lost_gradients: Rows given up because a gradient was NaN or infinite.
    """

    steps: Counts
    zero_gradients: Counts
    nonfinite: Mask
    history: Curves
    lost_gradients: int = 0

    @classmethod
    def start(cls, images: Images) -> Trajectory:
        """Before the first step."""
        steps = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        return cls(
            steps=steps,
            zero_gradients=torch.zeros_like(steps),
            nonfinite=torch.zeros_like(steps, dtype=torch.bool),
            history=images.new_zeros(0, len(images)),
        )

    @classmethod
    def of(cls, ascent: Ascent) -> Trajectory:
        """The trajectory of an ascent."""
        return cls(
            steps=ascent.steps,
            zero_gradients=ascent.zero_gradients,
            nonfinite=ascent.unreadable,
            history=ascent.history,
            lost_gradients=int((ascent.nonfinite & ~ascent.unreadable).sum()),
        )


def build_result(
    probe: Probe,
    originals: Images,
    adversarials: Images,
    criterion: Criterion,
    *,
    method: str,
    settings: dict[str, Any],
    trajectory: Trajectory,
    budget: Budget | None = None,
    logits_before: Logits | None = None,
    logits_after: Logits | None = None,
    helped: bool = False,
    gradients: bool = True,
    flags: tuple[Flag, ...] = (),
) -> AttackResult:
    """Look at both ends and at the 8-bit images with the classifier, and say what was noticed.

    Args:
        probe: The open probe that the attack used: its counters become the cost.
        originals: The images attacked.
        adversarials: What became of them.
        criterion: Labels and targets.
        method: Name of the attack.
        settings: Its settings, plain values.
        trajectory: How it went.
        budget: Where the attack promised to stay; checked here. ``None``: it promised nothing.
        logits_before: Of `originals`, if they are known already.
        logits_after: Of `adversarials`, likewise.
        helped: Rows without a gradient followed the margin instead.
        gradients: False for attacks without gradients: then bytes are only rounded.
        flags: Flags of the method itself.
    """
    budget = Budget(region=unconstrained()) if budget is None else budget
    region = budget.region
    before = probe.logits(originals) if logits_before is None else logits_before
    after = probe.logits(adversarials) if logits_after is None else logits_after
    quantized, logits_quantized = quantize(
        probe, region, originals, adversarials, criterion, after, gradients=gradients
    )
    result = AttackResult(
        method=method,
        originals=originals,
        adversarials=adversarials,
        quantized=quantized,
        labels=criterion.labels,
        targets=criterion.targets,
        logits_before=before,
        logits_after=after,
        logits_quantized=logits_quantized,
        steps=trajectory.steps,
        history=trajectory.history,
        zero_gradients=trajectory.zero_gradients,
        cost=probe.cost(),
        norm=budget.norm,
        epsilon=budget.epsilon,
        settings=settings,
        flags=(),
        class_names=probe.classifier.class_names,
        nonfinite=trajectory.nonfinite,
    )
    noted = result_flags(
        result,
        outside=int((~region.contains(adversarials)).sum()),
        coarse=int((~region.contains(quantized.to(originals.dtype) / 255)).sum()),
        helped=helped,
        lost_gradients=trajectory.lost_gradients,
        notes=flags,
    )
    return replace(result, flags=noted)
