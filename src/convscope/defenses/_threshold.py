"""Make images black and white before they are classified."""

from __future__ import annotations

import math

from convscope._arguments import checked
from convscope.classifier import Classifier
from convscope.defenses._input import in_front, straight_through
from convscope.errors import UsageError


@checked
def threshold(classifier: Classifier, *, level: float = 0.5) -> Classifier:
    """Classify images whose pixels became 0 or 1.

    Args:
        classifier: What is to be defended.
        level: Pixels above it become 1.

    Returns:
        A classifier; its gradient goes straight through the step.

    Raises:
        UsageError: If `level` is no number.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> threshold(classifier).prepare(torch.full((1, 1, 2, 2), 0.75)).min().item()
        1.0

    Source:
        A course report on MNIST proposes it. On digits it does help a little against small
        perturbations; against attacks that know it, less than it seems.
    """
    if not math.isfinite(level):
        raise UsageError(f"level must be finite, got {level}", code="U11")
    return in_front(
        classifier,
        lambda images: straight_through(images, (images > level).to(images.dtype)),
        f"threshold {level:g}",
    )
