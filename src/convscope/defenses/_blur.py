"""Blur images before they are classified."""

from __future__ import annotations

import math

from convscope._arguments import checked
from convscope.ascent import gaussian_blur
from convscope.classifier import Classifier
from convscope.defenses._input import in_front
from convscope.errors import UsageError


@checked
def blur(classifier: Classifier, *, sigma: float = 1.0) -> Classifier:
    """Classify images that went through a Gaussian.

    Args:
        classifier: What is to be defended.
        sigma: Standard deviation in pixels; 0 is the identity.

    Returns:
        A classifier; attacks on it differentiate the blur, too.

    Raises:
        UsageError: U16 for a negative or infinite sigma.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> blur(classifier, sigma=1.0).predict(torch.rand(1, 1, 2, 2)).labels.shape
        torch.Size([1, 2])

    Source:
        A course report on MNIST proposes it. It falls to attacks that know it.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise UsageError(f"sigma must be at least 0 and finite, got {sigma}", code="U16")
    return in_front(classifier, lambda images: gaussian_blur(images, sigma), f"blur {sigma:g}")
