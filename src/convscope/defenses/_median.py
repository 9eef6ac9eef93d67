"""Median-filter images before they are classified."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from convscope._arguments import checked
from convscope.classifier import Classifier
from convscope.defenses._input import in_front
from convscope.errors import UsageError


@checked
def median(classifier: Classifier, *, size: int = 3) -> Classifier:
    """Classify images whose pixels became the median of their neighborhoods.

    Args:
        classifier: What is to be defended.
        size: Side of the neighborhood in pixels, odd.

    Returns:
        A classifier; its gradient goes to the pixel that was the median.

    Raises:
        UsageError: If `size` is even or not positive.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 3, 3))
        >>> x = torch.zeros(1, 1, 3, 3)
        >>> x[0, 0, 1, 1] = 1.0
        >>> median(classifier).prepare(x).max().item()
        0.0

    Source:
        Xu, Evans, Qi, "Feature Squeezing", NDSS 2018. Borders are repeated.
    """
    if isinstance(size, bool) or size < 1 or size % 2 == 0:
        raise UsageError(f"size must be odd and positive, got {size}", code="U15")

    def change(images: Tensor) -> Tensor:
        reach = size // 2
        padded = F.pad(images, (reach,) * 4, mode="replicate")
        windows = padded.unfold(2, size, 1).unfold(3, size, 1).flatten(4)
        return windows.median(dim=4).values

    return in_front(classifier, change, f"median {size}")
