"""Defenses: a classifier in, a defended classifier out.

They sit in front of the network, and gradients go through them (straight through, where they
round), so an attack on a defended classifier is adaptive without further ado. To see what a
defense is worth, use `convscope.robustness.compare_defenses`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from convscope._arguments import checked
from convscope.ascent import gaussian_blur
from convscope.classifier import Classifier
from convscope.errors import UsageError

__all__ = ["DEFENSES", "bit_depth", "blur", "median", "threshold"]


def in_front(classifier: Classifier, change: Callable[[Tensor], Tensor], name: str) -> Classifier:
    """`classifier` with `change` applied to its images first; the network is shared.

    Args:
        classifier: What is to be defended.
        change: Images to images; its gradient is what attacks see.
        name: For reports.
    """
    before = classifier.preprocess

    def preprocess(images: Tensor) -> Tensor:
        changed = change(images)
        return changed if before is None else before(changed)

    return replace(classifier, preprocess=preprocess, source=f"{name} before {classifier.source}")


def straight_through(images: Tensor, changed: Tensor) -> Tensor:
    """`changed`, with the gradient of the identity.

    Source:
        Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML
        2018, section 4.1 (BPDA with the identity).
    """
    return images + (changed - images).detach()


@checked
def bit_depth(classifier: Classifier, *, bits: int = 3) -> Classifier:
    """Classify images of ``2 ** bits`` gray levels.

    Args:
        classifier: What is to be defended.
        bits: 1 to 8.

    Returns:
        A classifier; its gradient goes straight through the rounding.

    Raises:
        UsageError: If `bits` is not 1 to 8.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> x = torch.full((1, 1, 2, 2), 0.4)
        >>> bit_depth(classifier, bits=1).prepare(x).max().item()
        0.0

    Source:
        Xu, Evans, Qi, "Feature Squeezing", NDSS 2018.
    """
    if isinstance(bits, bool) or bits not in range(1, 9):
        raise UsageError(f"bits must be 1 to 8, got {bits}", code="U11")
    levels = 2**bits - 1
    return in_front(
        classifier,
        lambda images: straight_through(images, (images * levels).round() / levels),
        f"{bits} bits",
    )


@checked
def blur(classifier: Classifier, *, std: float = 1.0) -> Classifier:
    """Classify images that went through a Gaussian.

    Args:
        classifier: What is to be defended.
        std: Standard deviation in pixels; 0 is the identity.

    Returns:
        A classifier; attacks on it differentiate the blur, too.

    Raises:
        UsageError: U16 for a negative or infinite deviation.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> blur(classifier, std=1.0).predict(torch.rand(1, 1, 2, 2)).labels.shape
        torch.Size([1, 2])

    Source:
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated proposes it. It falls to attacks that know it.
    """
    if not (math.isfinite(std) and std >= 0):
        raise UsageError(f"std must be at least 0 and finite, got {std}", code="U16")
    return in_front(classifier, lambda images: gaussian_blur(images, std), f"blur {std:g}")


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
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated proposes it. On digits it does help a little
        against small perturbations; against attacks that know it, less than it seems.
    """
    if not math.isfinite(level):
        raise UsageError(f"level must be finite, got {level}", code="U11")
    return in_front(
        classifier,
        lambda images: straight_through(images, (images > level).to(images.dtype)),
        f"threshold {level:g}",
    )


DEFENSES: dict[str, Callable[..., Classifier]] = {
    "blur": blur,
    "bit-depth": bit_depth,
    "threshold": threshold,
    "median": median,
}
