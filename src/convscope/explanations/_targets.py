"""Which classes a call is about: predicted, one, one per image, or all."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.probe import Probe
from convscope.types import Images, Logits

Targets = int | Tensor | Literal["all"] | None
"""``None``: each image's predicted class; an int; one per image; or ``"all"`` classes."""


def needs_logits(targets: Targets) -> bool:
    """True if the classes are only known once the images were classified."""
    return targets is None


def resolve_targets(
    classifier: Classifier, count: int, targets: Targets, logits: Logits | None = None
) -> Tensor:
    """The classes of each image, ``(batch, target)``, int64.

    Raises:
        UsageError: U08 if one is not a class, U10 if there is not one per image.
    """
    classes = classifier.num_classes
    if targets is None:
        if logits is None:
            raise UsageError("predicted targets need logits")
        return logits.argmax(dim=1, keepdim=True)
    if isinstance(targets, str):
        if targets != "all":
            raise UsageError(
                f"targets={targets!r}",
                code="U08",
                expected="None (predicted), a class, one class per image, or 'all'",
            )
        return torch.arange(classes).expand(count, classes).clone()
    if isinstance(targets, Tensor) and targets.ndim == 2 and len(targets) == count:
        return classifier.check_labels(targets.reshape(-1), targets.numel(), "targets").view(
            count, -1
        )
    if isinstance(targets, Tensor) and targets.ndim == 1:
        return classifier.check_labels(targets, count, "targets")[:, None]
    if isinstance(targets, Tensor) and targets.ndim == 0:
        targets = int(targets)
    if not isinstance(targets, int):
        raise UsageError(
            f"targets have shape {tuple(targets.shape)}", code="U10", expected=f"({count},)"
        )
    return classifier.check_labels(torch.full((count,), targets), count, "targets")[:, None]


def choose_targets(
    classifier: Classifier, images: Images, targets: Targets, probe: Probe | None = None
) -> tuple[Tensor, Logits | None, Probe | None]:
    """`resolve_targets`, classifying the images only if that is needed."""
    classifier.check_images(images)
    if not needs_logits(targets):
        return resolve_targets(classifier, len(images), targets), None, probe
    if probe is not None:
        logits = probe.logits(images)
    else:
        with classifier.probe() as opened:
            logits = opened.logits(images)
    return resolve_targets(classifier, len(images), targets, logits), logits, probe
