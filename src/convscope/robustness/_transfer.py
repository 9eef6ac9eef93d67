"""Adversarial examples shown to other networks, behind defenses and after transformations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from convscope._arguments import checked
from convscope.attacks import (
    ATTACKS,
    AttackResult,
    NoiseTransfer,
    Transform,
    apply_noise,
    cropped,
    flipped,
    grayscale,
    is_correct,
    is_finite,
    rotated,
)
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.flags import Flag
from convscope.progress import stage
from convscope.robustness._results import (
    DefenseComparison,
    DefenseRow,
    ModelTransfer,
    TransformationRobustness,
)
from convscope.types import Images, Labels, Norm


@checked
def noise_transfer(
    classifier: Classifier, images: Images, labels: Labels, *, made: AttackResult
) -> NoiseTransfer:
    """Add the noise that each image of an attack got to all the other images given.

    Args:
        classifier: The network.
        images: ``(batch, channel, height, width)``, images that the noises were not made for.
        labels: ``(batch,)``, their true classes.
        made: Result of an attack.

    Returns:
        The prediction for every image with every noise.

    Example:
        >>> from convscope.attacks import l2_gradient_ascent
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
        >>> made = l2_gradient_ascent(classifier, images, labels)
        >>> noise_transfer(classifier, images, labels, made=made).predicted.shape
        torch.Size([2, 2])

    Source:
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated, and
        S. Sahoo, "EE6132 Assignment 2: Convolutional Neural Networks", IIT Madras, 24 September
        2019: the noise of one image added to test images.
    """
    return apply_noise(
        classifier, images, labels, noises=made.perturbations, noise_targets=made.targets
    )


@checked
def model_transfer(
    classifiers: Mapping[str, Classifier],
    images: Images,
    labels: Labels,
    *,
    attack: str = "mi-fgsm",
    **settings: Any,
) -> ModelTransfer:
    """Make adversarials on each network and show them to all.

    Args:
        classifiers: Name to network; all take the same images and tell the same classes apart.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        attack: Name in `ATTACKS`; `mi-fgsm` is made for transfer.
        **settings: Of the attack, such as ``epsilon=0.3``.

    Returns:
        A matrix: row = made on, column = shown to; shares of the images that both classify
        correctly.

    Raises:
        UsageError: If networks differ in their classes.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])
        >>> model_transfer({"a": classifier, "b": classifier}, images, labels).rates.shape
        torch.Size([2, 2])

    Source:
        Szegedy et al., "Intriguing properties of neural networks", ICLR 2014, section 4.2.
    """
    names = tuple(classifiers)
    run = ATTACKS.chosen("attack", attack)
    nets = list(classifiers.values())
    if len({net.num_classes for net in nets}) > 1:
        raise UsageError("the networks have different numbers of classes", code="M21")
    correct = [_correct(net, images, labels)[0] for net in nets]
    rates = torch.zeros(len(nets), len(nets), dtype=torch.float64)
    counts = torch.zeros(len(nets), len(nets), dtype=torch.int64)
    nonfinite = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    epsilon: float | None = None
    norm: str | None = None
    for i, source in enumerate(nets):
        with stage(i / len(nets), (i + 1) / len(nets)):
            result = run(source, images, labels, **settings)
        epsilon, norm = result.epsilon, result.norm
        for j, target in enumerate(nets):
            still_correct, without_prediction = _correct(target, result.adversarials, labels)
            nonfinite |= without_prediction
            both = correct[i] & correct[j]
            counts[i, j] = int(both.sum())
            rates[i, j] = float((both & ~still_correct).sum()) / max(int(both.sum()), 1)
    return ModelTransfer(
        names=names,
        attack=attack,
        norm=norm,
        epsilon=epsilon,
        rates=rates,
        counts=counts,
        clean=torch.stack([mask.double().mean() for mask in correct]),
        images=len(images),
        flags=_nonfinite(
            int(nonfinite.sum()), len(images), "of {of} images under attack: counted as not correct"
        ),
    )


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
        >>> comparison = compare_defenses(classifier, {}, images, labels, epsilon=0.1, steps=3)
        >>> comparison.rows[0].defense
        'none'

    Source:
        Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018.
    """
    run = ATTACKS.chosen("attack", attack)
    settings |= {"epsilon": epsilon, "norm": norm}
    count = 1 + len(defended)
    with stage(0.0, 1 / count):
        on_bare = run(classifier, images, labels, **settings)
    rows: list[DefenseRow] = []
    flags: list[Flag] = []
    for done, (name, network) in enumerate({"none": classifier, **defended}.items()):
        on_defended = on_bare
        if network is not classifier:
            with stage(done / count, (done + 1) / count):
                on_defended = run(network, images, labels, **settings)
        clean, nonfinite = _correct(network, images, labels)
        transfer, nonfinite_transfer = _correct(network, on_bare.adversarials, labels)
        adaptive, nonfinite_adaptive = _correct(network, on_defended.adversarials, labels)
        lost = nonfinite | nonfinite_transfer | nonfinite_adaptive | on_defended.unreadable
        flags += _nonfinite(
            int(lost.sum()), len(images), "of {of} images: counted as not correct", f"{name}: "
        )
        rows.append(
            DefenseRow(
                defense=name,
                clean=_share(clean),
                transfer=_share(transfer),
                adaptive=_share(adaptive & ~on_defended.unreadable),
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


TRANSFORMED: dict[str, Transform] = {
    "flip": flipped,
    "crop 80 %": lambda images: cropped(images, 0.8),
    "rotate 30": lambda images: rotated(images, 30.0),
    "grayscale": grayscale,
}


@checked
def transformation_robustness(
    classifier: Classifier,
    result: AttackResult,
    *,
    transformations: Mapping[str, Transform] | None = None,
) -> TransformationRobustness:
    """Classify originals and adversarials after each transformation.

    Args:
        classifier: The network.
        result: Of any attack.
        transformations: Name to function; by default horizontal flip, 80 % crop, rotation by
            30 degrees and grayscale.

    Returns:
        Classes and probabilities before and after, for originals and adversarials. Images are
        the 8-bit ones.

    Example:
        >>> from convscope.attacks import l2_gradient_ascent
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> made = l2_gradient_ascent(classifier, images, labels)
        >>> transformation_robustness(classifier, made).names[:2]
        ('none', 'flip')

    Source:
        "CS 5787 Deep Learning, Homework 2", Cornell Tech, Spring 2019: horizontal flip, random
        crop, rotation and grayscale of adversarial images.
    """
    table = {
        "none": _unchanged,
        **(TRANSFORMED if transformations is None else transformations),
    }
    quantized = result.quantized.to(result.originals.dtype) / 255
    of_originals, of_adversarials, transformed = [], [], []
    with classifier.probe() as probe:

        def probabilities(images: Tensor) -> Tensor:
            logits = probe.logits(images)
            # NaN marks what is no prediction; see `is_finite`.
            return logits.softmax(dim=1).where(is_finite(logits)[:, None], torch.nan)

        for change in table.values():
            of_originals.append(probabilities(change(result.originals)))
            transformed.append(change(quantized))
            of_adversarials.append(probabilities(transformed[-1]))
    before, after = torch.stack(of_originals), torch.stack(of_adversarials)
    lost = sum(int(shares.isnan().any(dim=2).sum()) for shares in (before, after))
    target_or_label = result.labels if result.targets is None else result.targets
    return TransformationRobustness(
        names=tuple(table),
        originals=result.originals,
        adversarials=quantized,
        labels=result.labels,
        targets=result.targets,
        originals_predicted=before.argmax(2),
        originals_probabilities=before.amax(2),
        adversarials_predicted=after.argmax(2),
        adversarials_probabilities=after.amax(2),
        label_probabilities=_of(after, result.labels),
        target_probabilities=_of(after, target_or_label),
        transformed=torch.stack(transformed),
        class_names=classifier.class_names,
        flags=_nonfinite(lost, before[..., 0].numel() * 2, "transformed images: not adversarial"),
    )


def _correct(classifier: Classifier, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Images predicted as their labels, and images without a prediction."""
    with classifier.probe() as probe:
        logits = probe.logits(images)
    return is_correct(logits, labels), ~is_finite(logits)


def _share(mask: Tensor) -> float:
    return float(mask.double().mean()) if len(mask) else float("nan")


def _nonfinite(count: int, of: int, words: str, prefix: str = "") -> tuple[Flag, ...]:
    """A flag if the network returned NaN or infinity for some images."""
    if not count:
        return ()
    text = f"{prefix}NaN or infinite logits for {count} {words.format(of=of)}"
    return (Flag("nonfinite", "warning", count, of, text),)


def _of(probabilities: Tensor, classes: Tensor) -> Tensor:
    index = classes.expand(len(probabilities), -1)[..., None]
    return probabilities.gather(2, index)[..., 0]


def _unchanged(images: Tensor) -> Tensor:
    return images
