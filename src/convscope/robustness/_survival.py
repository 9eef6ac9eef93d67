"""Do adversarials survive being mirrored, cropped, turned or bleached?"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from convscope._arguments import checked
from convscope.attacks import AttackResult
from convscope.attacks._goal import finite
from convscope.attacks._views import Transformation, cropped, greyscale, mirrored, rotated
from convscope.classifier import Classifier
from convscope.robustness._results import Survival

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
        >>> from convscope.attacks import until_fooled
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> survival(classifier, until_fooled(classifier, images, labels)).names[:2]
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
