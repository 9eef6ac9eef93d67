"""Transfer between networks, and robustness of adversarial examples to image transformations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from convscope._arguments import checked
from convscope.attacks import ATTACKS, AttackResult, NoiseTransfer, apply_noise
from convscope.attacks._criteria import correct, finite
from convscope.attacks._transforms import Transformation, cropped, greyscale, mirrored, rotated
from convscope.classifier import Classifier
from convscope.errors import UsageError, choose
from convscope.progress import stage
from convscope.robustness._results import ModelTransfer, Survival
from convscope.types import Images, Labels


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
        What every image is read as with every noise.

    Example:
        >>> from convscope.attacks import l2_gradient_ascent
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
        >>> made = l2_gradient_ascent(classifier, images, labels)
        >>> noise_transfer(classifier, images, labels, made=made).predicted.shape
        torch.Size([2, 2])

    Source:
        Two course reports on MNIST: the noise of one image added to test images.
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
        A matrix: row = made on, column = shown to; shares among images both read rightly.

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
    run = ATTACKS[choose("attack", attack, ATTACKS)]
    nets = list(classifiers.values())
    if len({net.num_classes for net in nets}) > 1:
        raise UsageError("the networks have different numbers of classes", code="M21")
    right = []
    for net in nets:
        with net.probe() as probe:
            right.append(correct(probe.logits(images), labels))
    rates = torch.zeros(len(nets), len(nets), dtype=torch.float64)
    counts = torch.zeros(len(nets), len(nets), dtype=torch.int64)
    lost = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    epsilon: float | None = None
    norm: str | None = None
    for i, maker in enumerate(nets):
        with stage(i / len(nets), (i + 1) / len(nets)):
            result = run(maker, images, labels, **settings)
        epsilon, norm = result.epsilon, result.norm
        for j, reader in enumerate(nets):
            with reader.probe() as probe:
                logits = probe.logits(result.adversarials)
            lost |= ~finite(logits)
            task = right[i] & right[j]
            wrong = ~correct(logits, labels) & task
            counts[i, j] = int(task.sum())
            rates[i, j] = float(wrong.sum()) / max(int(task.sum()), 1)
    return ModelTransfer(
        names=names,
        attack=attack,
        norm=norm,
        epsilon=epsilon,
        rates=rates,
        counts=counts,
        clean=torch.stack([mask.double().mean() for mask in right]),
        images=len(images),
        flags=(
            f"NaN or infinite logits for {int(lost.sum())} of {len(images)} images under attack: "
            "counted as not correct",
        )
        if bool(lost.any())
        else (),
    )


TRANSFORMATIONS: dict[str, Transformation] = {
    "mirror": mirrored,
    "crop 80 %": lambda images: cropped(images, 0.8),
    "rotate 30": lambda images: rotated(images, 30.0),
    "greyscale": greyscale,
}


@checked
def survival(
    classifier: Classifier,
    result: AttackResult,
    *,
    transformations: Mapping[str, Transformation] | None = None,
) -> Survival:
    """Read originals and adversarials after each transformation.

    Args:
        classifier: The network.
        result: Of any attack.
        transformations: Name to function; by default mirror, 80 % crop, rotation by 30 degrees
            and greyscale.

    Returns:
        Classes and probabilities before and after, for originals and adversarials. Images are
        the 8-bit ones.

    Example:
        >>> from convscope.attacks import l2_gradient_ascent
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> survival(classifier, l2_gradient_ascent(classifier, images, labels)).names[:2]
        ('none', 'mirror')

    Source:
        A course assignment on fooling ImageNet networks: horizontal flip, random crop, rotation
        and greyscale of adversarial images.
    """
    table = {
        "none": _unchanged,
        **(TRANSFORMATIONS if transformations is None else transformations),
    }
    saved = result.saved.to(result.originals.dtype) / 255
    rows = {"originals": result.originals, "adversarials": saved}
    read: dict[str, list[torch.Tensor]] = {name: [] for name in rows}
    views = []
    with classifier.probe() as probe:
        for change in table.values():
            for name, images in rows.items():
                seen = change(images)
                logits = probe.logits(seen)
                # NaN marks what is no prediction; see `finite`.
                shares = logits.softmax(dim=1).where(finite(logits)[:, None], torch.nan)
                read[name].append(shares)
                if name == "adversarials":
                    views.append(seen)
    lost = sum(int(part.isnan().any(dim=1).sum()) for parts in read.values() for part in parts)
    before, after = torch.stack(read["originals"]), torch.stack(read["adversarials"])
    aims = result.labels if result.targets is None else result.targets
    return Survival(
        names=tuple(table),
        originals=result.originals,
        adversarials=saved,
        labels=result.labels,
        targets=result.targets,
        originals_predicted=before.argmax(2),
        originals_probabilities=before.amax(2),
        adversarials_predicted=after.argmax(2),
        adversarials_probabilities=after.amax(2),
        label_probabilities=_of(after, result.labels),
        target_probabilities=_of(after, aims),
        views_batch=torch.stack(views),
        class_names=classifier.class_names,
        flags=(f"NaN or infinite logits for {lost} of the views: not counted as fooled",)
        if lost
        else (),
    )


def _of(probabilities: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    index = classes.expand(len(probabilities), -1)[..., None]
    return probabilities.gather(2, index)[..., 0]


def _unchanged(images: torch.Tensor) -> torch.Tensor:
    return images
