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
from convscope.attacks._uap import classes_of, flags_of, held_out, predicted_share
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.flags import Flag
from convscope.probe import Cost
from convscope.types import Images, Labels


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
    kept, held = held_out(images, criterion.labels, validation)
    chosen = classes_of(classifier, targets, images.device)
    if not 0 < share <= 1:
        raise UsageError(f"share must be in (0, 1], got {share}", code="U06")
    check_steps(steps)
    samples = min(check_count("samples", samples), len(kept))
    generator = source(generator)
    side = max(1, round(share * min(images.shape[2:])))
    height, width = images.shape[2] - side + 1, images.shape[3] - side + 1

    def places(count: int) -> list[tuple[int, int]]:
        tops = torch.randint(0, height, (count,), generator=generator).tolist()
        lefts = torch.randint(0, width, (count,), generator=generator).tolist()
        return list(zip(tops, lefts, strict=True))

    drawn = [
        (torch.randint(0, len(kept), (samples,), generator=generator), places(samples))
        for _ in range(steps + 1)
    ]
    rates = images.new_full((steps + 1, len(chosen)), torch.nan)

    def decode(patches: Tensor, k: int, rows: Tensor) -> Tensor:
        pick, where = drawn[k]
        return torch.stack(
            [
                pasted(kept[i], patch, place)
                for patch in patches
                for i, place in zip(pick, where, strict=True)
            ]
        )

    def objective(patches: Tensor, logits: Tensor, rows: Tensor) -> Tensor:
        aims = chosen[rows].repeat_interleave(samples)
        return logits.log_softmax(1).gather(1, aims[:, None])[:, 0].view(-1, samples).mean(dim=1)

    def observer(point: Point) -> None:
        rates[point.k, point.rows] = predicted_share(point, chosen[point.rows])

    with classifier.probe() as probe:
        ascent = ascend(
            images.new_full((len(chosen), images.shape[1], side, side), 0.5),
            probe,
            objective,
            step=adam_step(check_positive("step_size", step_size)),
            region=box(),
            steps=steps,
            keep="last",
            decode=decode,
            num_samples=samples,
            observer=observer,
        )
        where = places(len(held[0]))

        def share_won(patches: Tensor) -> tuple[Tensor, Tensor]:
            won, shown = [], []
            for patch, target in zip(patches, chosen.tolist(), strict=True):
                trial = torch.stack(
                    [pasted(x, patch, place) for x, place in zip(held[0], where, strict=True)]
                )
                others = held[1] != target
                hits = is_correct(probe.logits(trial), torch.full_like(held[1], target)) & others
                won.append(hits.sum().to(images) / others.sum().clamp_min(1))
                shown.append(trial[int(others.to(torch.int64).argmax())])
            return torch.stack(won), torch.stack(shown)

        plain, _ = share_won(torch.full_like(ascent.images, 0.5))
        learned, examples = share_won(ascent.images)
        cost = probe.cost()
    return AdversarialPatch(
        patches=ascent.images,
        targets=chosen,
        training_rates=rates,
        rates=learned,
        plain_rates=plain,
        examples=examples,
        cost=cost,
        settings={"share": share, "side": side, "steps": steps, "samples": samples},
        flags=flags_of(ascent, "patches"),
        class_names=classifier.class_names,
    )


def pasted(image: Tensor, patch: Tensor, place: tuple[int, int]) -> Tensor:
    """`image` with `patch` over it, its top left pixel at `place`; differentiable in the patch."""
    top, left = place
    out = image.clone()
    out[:, top : top + patch.shape[1], left : left + patch.shape[2]] = patch
    return out
