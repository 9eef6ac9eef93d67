"""Adversarial patches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_count, check_positive, check_steps
from convscope._random import source
from convscope._readable import readable
from convscope.ascent import Point, adam_step, ascend, box
from convscope.attacks._criteria import is_correct, success_criterion
from convscope.attacks._uap import (
    classes_of,
    flags_of,
    held_out,
    mean_log_probability,
    predicted_share,
)
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.flags import Flag
from convscope.probe import Cost, Probe
from convscope.types import Images, Labels

Place = tuple[int, int]
"""Row and column of a patch's top left pixel."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class AdversarialPatch:
    """Square patches, one per class.

    Attributes:
        patches: ``(target, channel, side, side)``.
        targets: ``(target,)``.
        training_rates: ``(step, target)``, share of the step's images predicted as the target.
        rates: ``(target,)``, share of held-out images of other classes predicted as the target with
            the patch at a random place.
        plain_rates: ``(target,)``, the same with a gray square in its place.
        examples: ``(target, channel, height, width)``, a held-out image with each patch.
        cost: Passes and seconds.
        settings: Plain values.
        flags: What a reader must know.
        class_names: One name per class.
    """

    patches: Tensor
    targets: Labels
    training_rates: Tensor
    rates: Tensor
    plain_rates: Tensor
    examples: Tensor
    cost: Cost
    settings: dict[str, Any]
    flags: tuple[Flag, ...]
    class_names: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Numbers for tables and JSON."""
        names = [self.class_names[target] for target in self.targets.tolist()]
        return {
            "success_rate": float(self.rates.mean()),
            "rates": dict(zip(names, self.rates.tolist(), strict=True)),
            "gray_square_rates": dict(zip(names, self.plain_rates.tolist(), strict=True)),
            "forwards": self.cost.forwards,
            "backwards": self.cost.backwards,
            "seconds": self.cost.seconds,
            "flags": list(self.flags),
            "settings": self.settings,
        }


@checked
def adversarial_patch(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Tensor | None = None,
    validation: tuple[Tensor, Tensor] | None = None,
    share: float = 0.35,
    steps: int = 100,
    samples: int = 32,
    step_size: float = 0.05,
    generator: Generator | None = None,
) -> AdversarialPatch:
    """Learn square patches that cause their class wherever they are pasted.

    Args:
        classifier: The network; it stays as it is.
        images: ``(batch, channel, height, width)``, training images.
        labels: ``(batch,)``, their true classes.
        targets: Classes to make patches for, each once; ``None``: all.
        validation: Images and labels to validate on. By default a fifth of `images` is held out.
        share: Side of the patch over the shorter side of the image.
        steps: Number of Adam steps.
        samples: Images (and places) per patch and step.
        step_size: Adam's step in pixel units.
        generator: Draws images and places; by default one with seed 0.

    Returns:
        Patches and how often they cause their class on held-out images.

    Raises:
        UsageError: U05, U06, U08.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 4, 4))
        >>> images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 2
        >>> adversarial_patch(classifier, images, labels, share=0.5, steps=2).patches.shape
        torch.Size([2, 1, 2, 2])

    Source:
        Brown et al., "Adversarial Patch", 2017: expectation over places; rotations and scales
        are left out.
    """
    criterion = success_criterion(classifier, images, labels, None)
    training, held = held_out(images, criterion.labels, validation)
    classes = classes_of(classifier, targets, images.device)
    if not 0 < share <= 1:
        raise UsageError(f"share must be in (0, 1], got {share}", code="U06")
    check_steps(steps)
    samples = min(check_count("samples", samples), len(training))
    generator = source(generator)
    side = max(1, round(share * min(images.shape[2:])))
    height, width = images.shape[2] - side + 1, images.shape[3] - side + 1

    def places(count: int) -> list[Place]:
        tops = torch.randint(0, height, (count,), generator=generator).tolist()
        lefts = torch.randint(0, width, (count,), generator=generator).tolist()
        return list(zip(tops, lefts, strict=True))

    picks = [
        (torch.randint(0, len(training), (samples,), generator=generator), places(samples))
        for _ in range(steps + 1)
    ]
    training_rates = images.new_full((steps + 1, len(classes)), torch.nan)

    def decode(patches: Tensor, k: int, rows: Tensor) -> Tensor:
        chosen, where = picks[k]
        return torch.cat([_all_pasted(training[chosen], patch, where) for patch in patches])

    def observer(point: Point) -> None:
        training_rates[point.k, point.rows] = predicted_share(point, classes[point.rows])

    with classifier.probe() as probe:
        ascent = ascend(
            images.new_full((len(classes), images.shape[1], side, side), 0.5),
            probe,
            mean_log_probability(classes, samples),
            step=adam_step(check_positive("step_size", step_size)),
            region=box(),
            steps=steps,
            keep="last",
            decode=decode,
            num_samples=samples,
            observer=observer,
        )
        where, gray = places(len(held[0])), torch.full_like(ascent.images, 0.5)
        plain_rates, _ = _on_held_out(probe, gray, classes, where, *held)
        rates, examples = _on_held_out(probe, ascent.images, classes, where, *held)
        cost = probe.cost()
    return AdversarialPatch(
        patches=ascent.images,
        targets=classes,
        training_rates=training_rates,
        rates=rates,
        plain_rates=plain_rates,
        examples=examples,
        cost=cost,
        settings={"share": share, "side": side, "steps": steps, "samples": samples},
        flags=flags_of(ascent, "patches"),
        class_names=classifier.class_names,
    )


def _on_held_out(
    probe: Probe,
    patches: Tensor,
    targets: Tensor,
    places: list[Place],
    images: Tensor,
    labels: Tensor,
) -> tuple[Tensor, Tensor]:
    """Share of images of other classes predicted as each patch's target, and one such image."""
    rates, examples = [], []
    for patch, target in zip(patches, targets.tolist(), strict=True):
        with_patch = _all_pasted(images, patch, places)
        others = labels != target
        hits = is_correct(probe.logits(with_patch), torch.full_like(labels, target)) & others
        rates.append(hits.sum().to(patches) / others.sum().clamp_min(1))
        examples.append(with_patch[int(others.to(torch.int64).argmax())])
    return torch.stack(rates), torch.stack(examples)


def _all_pasted(images: Tensor, patch: Tensor, places: list[Place]) -> Tensor:
    """Each image with the patch at its own place."""
    return torch.stack(
        [pasted(image, patch, place) for image, place in zip(images, places, strict=True)]
    )


def pasted(image: Tensor, patch: Tensor, place: Place) -> Tensor:
    """`image` with `patch` over it, its top left pixel at `place`; differentiable in the patch."""
    top, left = place
    out = image.clone()
    out[:, top : top + patch.shape[1], left : left + patch.shape[2]] = patch
    return out
