"""Round images to few grey levels before they are classified."""

from __future__ import annotations

from convscope._arguments import checked
from convscope.classifier import Classifier
from convscope.defenses._input import in_front, straight_through
from convscope.errors import UsageError


@checked
def bit_depth(classifier: Classifier, *, bits: int = 3) -> Classifier:
    """Classify images of ``2 ** bits`` grey levels.

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
