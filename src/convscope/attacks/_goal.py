"""What it means that an image fools a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.classifier import Classifier
from convscope.errors import UsageError


@dataclass(frozen=True, kw_only=True, eq=False)
class Goal:
    """Away from the labels or, if there are targets, to them.

    Its methods take logits and the rows (positions in the attacked batch) that they belong to.

    Attributes:
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach; ``None``: any class but the label.
    """

    labels: Tensor
    targets: Tensor | None = None

    @property
    def aims(self) -> Tensor:
        """The class that each row is about: its target or, without one, its label."""
        return self.labels if self.targets is None else self.targets

    @property
    def sign(self) -> float:
        """+1 if the score of `aims` is to rise, -1 if it is to fall."""
        return -1.0 if self.targets is None else 1.0

    def margin(self, logits: Tensor, rows: Tensor) -> Tensor:
        """By how much the goal is reached: positive where the image fools."""
        aim = self.aims[rows][:, None]
        own = logits.gather(1, aim)[:, 0]
        others = logits.scatter(1, aim, -torch.inf).amax(dim=1)
        return self.sign * (own - others)

    def reached(self, logits: Tensor, rows: Tensor) -> Tensor:
        """True where the image fools. NaN, infinity and ties do not."""
        return (self.margin(logits, rows) > 0) & finite(logits)

    def cross_entropy(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Minus log-probability of the label, or log-probability of the target: to be raised."""
        return -self.sign * F.cross_entropy(logits, self.aims[rows], reduction="none")

    def of(self, rows: Tensor) -> Goal:
        """The goal of some rows."""
        targets = None if self.targets is None else self.targets[rows]
        return Goal(labels=self.labels[rows], targets=targets)


def finite(logits: Tensor) -> Tensor:
    """Rows whose logits are all numbers: the others are predictions of nothing.

    One rule holds everywhere: an image with a NaN or infinite logit is not classified correctly,
    it does not fool, and it does not stand.

    Example:
        >>> finite(torch.tensor([[0.0, 1.0], [torch.nan, 1.0], [-torch.inf, 1.0]]))
        tensor([ True, False, False])
    """
    return logits.isfinite().all(dim=1)


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Rows whose largest logit is the label's, and whose logits are all numbers.

    Example:
        >>> correct(torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]), torch.tensor([1, 1]))
        tensor([ True, False])
    """
    return (logits.argmax(dim=1) == labels) & finite(logits)


def goal_of(classifier: Classifier, images: Tensor, labels: Tensor, targets: Tensor | None) -> Goal:
    """Check images, labels and targets, and put them together.

    Raises:
        ImageError: I24 or M14 if `images` are not a batch of pixels in [0, 1].
        UsageError: U08 for an unknown class, U10 for a wrong number of labels or targets.
    """
    classifier.check_images(images)
    labels = classifier.check_labels(labels, len(images)).to(images.device)
    if targets is not None:
        targets = classifier.check_labels(targets, len(images), "targets").to(images.device)
    if classifier.num_classes < 2:
        raise UsageError("a network with one class cannot be fooled", code="U08")
    return Goal(labels=labels, targets=targets)
