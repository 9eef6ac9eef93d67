"""Defenses under transferred and under adaptive attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from convscope._arguments import checked
from convscope.attacks import ATTACKS, is_correct, is_finite
from convscope.classifier import Classifier
from convscope.flags import Flag
from convscope.robustness._results import DefenseComparison, DefenseRow
from convscope.types import Images, Labels, Norm


@checked
def compare_defenses(
    classifier: Classifier,
    defended: Mapping[str, Classifier],
    images: Images,
    labels: Labels,
    *,
    epsilon: float,
    norm: Norm = "linf",
    attack: str = "apgd",
    **settings: Any,
) -> DefenseComparison:
    """Accuracy of defended networks under transferred and adaptive attacks.

    *Transfer*: adversarials are made for the bare network and then shown to the defended one. Such
    figures look good and prove nothing, because an attacker can know the defense. *Adaptive*: the
    attack differentiates the defense, too.

    Args:
        classifier: The bare network.
        defended: Name to the same network behind a defense, as `convscope.defenses` makes them.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        epsilon: Radius in pixel units.
        norm: ``"linf"`` or ``"l2"``.
        attack: Name in `ATTACKS`.
        **settings: Further settings of the attack.

    Returns:
        One row per defense, the bare network first.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])
        >>> found = compare_defenses(classifier, {}, images, labels, epsilon=0.1, steps=3)
        >>> found.rows[0].defense
        'none'

    Source:
        Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018.
    """
    run = ATTACKS.chosen("attack", attack)
    bare = run(classifier, images, labels, epsilon=epsilon, norm=norm, **settings)
    rows: list[DefenseRow] = []
    flags: list[Flag] = []
    for name, network in {"none": classifier, **defended}.items():
        own = (
            bare
            if network is classifier
            else run(network, images, labels, epsilon=epsilon, norm=norm, **settings)
        )
        clean, failed = _correct(network, images, labels)
        transfer, failed_around = _correct(network, bare.adversarials, labels)
        adaptive, failed_through = _correct(network, own.adversarials, labels)
        lost = int((failed | failed_around | failed_through | own.unreadable).sum())
        if lost:
            words = (
                f"{name}: NaN or infinite logits for {lost} of {len(images)} images: counted as "
                "not correct"
            )
            flags.append(Flag("nonfinite", "warning", lost, len(images), words))
        rows.append(
            DefenseRow(
                defense=name,
                clean=_share(clean),
                transfer=_share(transfer),
                adaptive=_share(adaptive & ~own.unreadable),
            )
        )
    return DefenseComparison(
        attack=attack,
        norm=norm,
        epsilon=float(epsilon),
        images=len(images),
        rows=tuple(rows),
        flags=tuple(flags),
    )


def _correct(classifier: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Images predicted as their labels, and images without a prediction."""
    with classifier.probe() as probe:
        logits = probe.logits(images)
    return is_correct(logits, labels), ~is_finite(logits)


def _share(mask: Tensor) -> float:
    return float(mask.double().mean()) if len(mask) else float("nan")
