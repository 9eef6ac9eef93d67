"""Success criteria of attacks, and the objectives that attacks ascend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope._arguments import checked
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.errors import UsageError, choose
from convscope.probe import Objective
from convscope.types import Labels


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Criterion:
    """When an image is adversarial: it is misclassified or, with targets, predicted as its target.

    Its methods take logits and the rows (positions in the attacked batch) that they belong to.

    Attributes:
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach; ``None``: any class but the label.
    """

    labels: Tensor
    targets: Tensor | None = None

    @property
    def target_or_label(self) -> Tensor:
        """The target of each row or, without targets, its label."""
        return self.labels if self.targets is None else self.targets

    @property
    def sign(self) -> float:
        """+1 if the score of `target_or_label` is to rise, -1 if it is to fall."""
        return -1.0 if self.targets is None else 1.0

    def margin(self, logits: Tensor, rows: Tensor) -> Tensor:
        """By how much the criterion is met: positive where the image is adversarial."""
        aim = self.target_or_label[rows][:, None]
        own = logits.gather(1, aim)[:, 0]
        others = logits.scatter(1, aim, -torch.inf).amax(dim=1)
        return self.sign * (own - others)

    def is_adversarial(self, logits: Tensor, rows: Tensor) -> Tensor:
        """True where the criterion is met; NaN, infinity and ties do not meet it."""
        return (self.margin(logits, rows) > 0) & is_finite(logits)

    def cross_entropy(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Minus log-probability of the label, or log-probability of the target: to be raised."""
        return -self.sign * F.cross_entropy(logits, self.target_or_label[rows], reduction="none")

    def of(self, rows: Tensor) -> Criterion:
        """The criterion of some rows."""
        targets = None if self.targets is None else self.targets[rows]
        return Criterion(labels=self.labels[rows], targets=targets)


def is_finite(logits: Tensor) -> Tensor:
    """Rows whose logits are all finite: the others are no predictions.

    One rule holds everywhere: an image with a NaN or infinite logit is not classified correctly,
    not adversarial and not robust.

    Example:
        >>> is_finite(torch.tensor([[0.0, 1.0], [torch.nan, 1.0], [-torch.inf, 1.0]]))
        tensor([ True, False, False])
    """
    return logits.isfinite().all(dim=1)


def is_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Rows whose largest logit is the label's, and whose logits are all finite.

    Example:
        >>> is_correct(torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]), torch.tensor([1, 1]))
        tensor([ True, False])
    """
    return (logits.argmax(dim=1) == labels) & is_finite(logits)


@checked
def success_criterion(
    classifier: Classifier, images: Tensor, labels: Labels, targets: Labels | None
) -> Criterion:
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
        raise UsageError("a network with one class has no adversarial images", code="U08")
    return Criterion(labels=labels, targets=targets)


def objective_of(name: str, criterion: Criterion) -> Objective:
    """The objective called `name` for `criterion`.

    Raises:
        UsageError: U01 for another name.
    """
    rule = OBJECTIVES[choose("objective", name, OBJECTIVES)]
    return lambda x, logits, rows: rule(criterion, logits, rows)


def direction_of(name: str, criterion: Criterion) -> Objective:
    """As `objective_of`, for attacks that use only the direction of gradients and compare values.

    They climb `log_odds` for ``"cross-entropy"``: the same directions and the same order.
    """
    if name == "cross-entropy":
        return lambda x, logits, rows: log_odds(criterion, logits, rows)
    return objective_of(name, criterion)


LEAST_SPAN, MOST_SPAN = 10.0, 30.0
"""Ranges of logits within which `log_odds` leaves their scale alone: those of ordinary networks."""


def usual_scale(logits: Tensor) -> Tensor:
    """What brings each row of logits to a usual range, ``(batch,)``; 1 where it has one.

    Odd ranges, beyond all that training leads to, become the ordinary one: multiplying all logits
    by 10,000 or dividing them by it makes no difference.
    """
    span = _span(logits)
    usual = torch.where(_odd(span), ORDINARY_SPAN, span.clamp(LEAST_SPAN, MOST_SPAN))
    return usual / span


TINY_SPAN, ORDINARY_SPAN, HUGE_SPAN = 0.1, 20.0, 1000.0
"""Ranges of logits below the first and above the last are odd: there the size of a gradient of
cross-entropy says nothing. Networks that were trained here have 15 to 30 on their own data."""


def _span(logits: Tensor) -> Tensor:
    span = logits.detach().amax(dim=1) - logits.detach().amin(dim=1)
    return span.clamp_min(torch.finfo(logits.dtype).tiny)


def _odd(span: Tensor) -> Tensor:
    return (span < TINY_SPAN) | (span > HUGE_SPAN)


def measured_entropy(criterion: Criterion, logits: Tensor, rows: Tensor) -> Tensor:
    """Cross-entropy, to be raised, of logits that were brought to a usual range if theirs is odd.

    For attacks whose steps are as long as the gradient. With logits between `TINY_SPAN` and
    `HUGE_SPAN` it is cross-entropy itself; beyond, the gradient would be next to nothing or, where
    the network is sure, exactly zero.
    """
    return criterion.cross_entropy(logits * odd_scale(logits)[:, None], rows)


def odd_scale(logits: Tensor) -> Tensor:
    """What brings rows of an odd range to the ordinary one, ``(batch,)``; 1 for all others."""
    span = _span(logits)
    return torch.where(_odd(span), ORDINARY_SPAN / span, torch.ones_like(span))


def log_odds(criterion: Criterion, logits: Tensor, rows: Tensor) -> Tensor:
    """Logarithm of the odds against the label, or for the target.

    Cross-entropy is ``softplus`` of it, a rising function, so both lead the same way; but softplus
    is flat in float32 where a network is sure, and then neither gradients nor the order of values
    say anything. Logits whose range is unusual are scaled to the nearest usual one: with tiny
    logits every class counts equally, with huge ones only the best.
    """
    usual = logits * usual_scale(logits)[:, None]
    aim = criterion.target_or_label[rows][:, None]
    others = usual.scatter(1, aim, -torch.inf).logsumexp(dim=1)
    return criterion.sign * (usual.gather(1, aim)[:, 0] - others)


def cross_entropy(criterion: Criterion, logits: Tensor, rows: Tensor) -> Tensor:
    """Minus log p(label), or log p(target); see `measured_entropy`."""
    return measured_entropy(criterion, logits, rows)


def margin(criterion: Criterion, logits: Tensor, rows: Tensor) -> Tensor:
    """Best other logit minus the label's, or the target's minus the best other."""
    return criterion.margin(logits, rows)


def logit(criterion: Criterion, logits: Tensor, rows: Tensor) -> Tensor:
    """Minus the label's logit, or the target's."""
    return criterion.sign * logits.gather(1, criterion.target_or_label[rows][:, None])[:, 0]


def probability(criterion: Criterion, logits: Tensor, rows: Tensor) -> Tensor:
    """Minus p(label), or p(target). Its gradient vanishes where the network is sure."""
    return (
        criterion.sign
        * logits.softmax(dim=1).gather(1, criterion.target_or_label[rows][:, None])[:, 0]
    )


def logit_ratio(criterion: Criterion, logits: Tensor, rows: Tensor) -> Tensor:
    """The difference of logits ratio, which does not change when logits are scaled or shifted.

    Untargeted ``(max_other - z_label) / (z_1 - z_3)``; targeted
    ``(z_target - z_label) / (z_1 - (z_3 + z_4) / 2)``, with logits sorted downwards.

    Source:
        Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of
        Diverse Parameter-free Attacks", ICML 2020, equations 6 and 7. With fewer than three
        (four) classes the smallest logits stand in for the missing ones.
    """
    ordered = logits.sort(dim=1, descending=True).values
    third = ordered[:, min(2, logits.shape[1] - 1)]
    if criterion.targets is None:
        spread = ordered[:, 0] - third
        return criterion.margin(logits, rows) / spread.clamp_min(torch.finfo(logits.dtype).tiny)
    fourth = ordered[:, min(3, logits.shape[1] - 1)]
    own = logits.gather(1, criterion.labels[rows][:, None])[:, 0]
    aim = logits.gather(1, criterion.targets[rows][:, None])[:, 0]
    spread = ordered[:, 0] - (third + fourth) / 2
    return (aim - own) / spread.clamp_min(torch.finfo(logits.dtype).tiny)


OBJECTIVES: dict[str, Callable[[Criterion, Tensor, Tensor], Tensor]] = {
    "cross-entropy": cross_entropy,
    "margin": margin,
    "logit": logit,
    "probability": probability,
    "dlr": logit_ratio,
}
