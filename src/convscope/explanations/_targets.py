"""Targets of explanations: predicted classes, one class, one per image, or all."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.types import Images, Logits

Targets = int | Tensor | Literal["all"] | None
"""``None``: each image's predicted class; an int; one per image; or ``"all"`` classes."""


def known_targets(classifier: Classifier, images: Images, targets: Targets) -> Tensor | None:
    """The classes of each image, ``(batch, target)``, or ``None`` if they are to be predicted.

    Raises:
        ImageError: If `images` is not a batch of the classifier's images.
        UsageError: U08 if one is not a class, U10 if there is not one per image.
    """
    classifier.check_images(images)
    count = len(images)
    if count == 0:
        raise UsageError("no images given", code="U10", expected="a batch of at least one")
    if targets is None:
        return None
    if isinstance(targets, Tensor) and targets.ndim == 0:
        targets = int(targets)
    if isinstance(targets, int) and not isinstance(targets, bool):
        targets = torch.full((count,), targets)
    if isinstance(targets, str) and targets == "all":
        return torch.arange(classifier.num_classes).expand(count, -1).clone()
    if isinstance(targets, Tensor) and targets.ndim == 1:
        return classifier.check_labels(targets, count, "targets")[:, None]
    if isinstance(targets, Tensor) and targets.ndim == 2 and len(targets) == count:
        flat = classifier.check_labels(targets.reshape(-1), targets.numel(), "targets")
        return flat.view(count, -1)
    shown = f"of shape {tuple(targets.shape)}" if isinstance(targets, Tensor) else repr(targets)
    raise UsageError(
        f"targets are {shown}",
        code="U10",
        expected="None (predicted), a class, one class per image, or 'all'",
    )


def targets_of(known: Tensor | None, logits: Logits) -> Tensor:
    """`known` targets, or the predicted ones."""
    return logits.argmax(dim=1, keepdim=True) if known is None else known.to(logits.device)


def picked(values: Tensor, targets: Tensor) -> Tensor:
    """The entries of the last axis (class) of `values` that `targets` ask for.

    Args:
        values: ``(batch, ..., class)``.
        targets: ``(batch, target)``.

    Returns:
        ``(batch, ..., target)``.
    """
    shape = (len(targets), *[1] * (values.ndim - 2), targets.shape[1])
    index = targets.view(shape).expand(*values.shape[:-1], targets.shape[1])
    return values.gather(-1, index)
