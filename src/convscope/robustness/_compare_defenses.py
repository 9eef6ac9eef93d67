"""Defenses under attacks that know them, and under attacks that do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from convscope._arguments import checked
from convscope.attacks import ATTACKS
from convscope.attacks._criteria import correct, finite
from convscope.classifier import Classifier
from convscope.errors import choose
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
    """Accuracy of defended networks around and through the defense.

    *Around*: adversarials are made for the bare network and then shown to the defended one. Such
    figures look good and prove nothing, because an attacker can know the defense. *Through*: the
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
    run = ATTACKS[choose("attack", attack, ATTACKS)]
    bare = run(classifier, images, labels, epsilon=epsilon, norm=norm, **settings)
    rows, flags = [], []
    for name, network in {"none": classifier, **defended}.items():
        own = (
            bare
            if network is classifier
            else run(network, images, labels, epsilon=epsilon, norm=norm, **settings)
        )
        clean, failed = _correct(network, images, labels)
        around, failed_around = _correct(network, bare.adversarials, labels)
        through, failed_through = _correct(network, own.adversarials, labels)
        lost = int((failed | failed_around | failed_through | own.unreadable).sum())
        if lost:
            flags.append(
                f"{name}: NaN or infinite logits for {lost} of {len(images)} images: counted as "
                "not correct"
            )
        rows.append(
            DefenseRow(
                defense=name,
                clean=_share(clean),
                around=_share(around),
                through=_share(through & ~own.unreadable),
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
    return correct(logits, labels), ~finite(logits)


def _share(mask: Tensor) -> float:
    return float(mask.double().mean()) if len(mask) else float("nan")
