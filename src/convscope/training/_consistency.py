"""Agreement between noisy copies of an image: what a smoothed classifier needs.

Randomized smoothing certifies how far the vote of noisy copies is from changing. Cross-entropy on
one noisy copy per image asks each copy to be right; this loss also asks the copies to agree.

Source: J. Jeong and J. Shin, "Consistency Regularization for Certified Robustness of Smoothed
Classifiers" (arXiv 2006.04062), with two copies; their entropy weight of 0.5 is kept.
"""

import math

import torch.nn.functional as F
from torch import Tensor

COPIES = 2
ENTROPY_WEIGHT = 0.5


def consistency_loss(logits: Tensor, labels: Tensor, weight: float) -> Tensor:
    """Cross-entropy of two noisy copies, plus how far they are from their mean answer.

    Args:
        logits: ``(2 * batch, class)``: first copies of all images, then second copies.
        labels: ``(batch,)``.
        weight: Of the divergence between the mean answer and each copy's.

    Returns:
        A scalar.

    Example:
        >>> import torch
        >>> same = torch.tensor([[9.0, 0.0], [9.0, 0.0]]).double()
        >>> torch.allclose(
        ...     consistency_loss(same, torch.tensor([0]), 5.0),
        ...     consistency_loss(same, torch.tensor([0]), 50.0),
        ... )
        True
    """
    answers = logits.log_softmax(dim=1).view(COPIES, len(labels), -1)
    mean = answers.exp().mean(dim=0)
    log_mean = answers.logsumexp(dim=0) - math.log(COPIES)
    divergence = (mean * (log_mean - answers)).sum(dim=-1).mean()
    entropy = -(mean * log_mean).sum(dim=-1).mean()
    right = F.nll_loss(answers.flatten(0, 1), labels.repeat(COPIES))
    return right + weight * divergence + ENTROPY_WEIGHT * entropy
