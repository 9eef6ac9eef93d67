"""DDN, decoupled direction and norm: a minimal-norm L2 attack."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from convscope._arguments import checked
from convscope._inputs import check_positive, check_steps
from convscope.ascent import Point, Stop, l2_norm
from convscope.attacks._base import attack_by_ascent
from convscope.attacks._blocks import streamed
from convscope.attacks._criteria import direction_of, success_criterion
from convscope.attacks._result import AttackResult
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.types import Images, Labels, ObjectiveName


@checked
@streamed
def ddn(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    steps: int = 100,
    first_radius: float = 1.0,
    change: float = 0.05,
    objective: ObjectiveName = "cross-entropy",
) -> AttackResult:
    """Find a minimal-norm (L2) adversarial example: the default where no epsilon is given.

    Each step moves along the unit gradient, then puts the perturbation on a sphere whose radius
    shrinks where the image is adversarial and grows where it is not. The nearest adversarial image
    is kept. Every row takes all steps.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        steps: Number of steps.
        first_radius: First radius, L2 in pixel units.
        change: Factor of growth and decay per step (gamma): 0.05 is 5 %.
        objective: What gives the direction of the steps.

    Returns:
        Images before and after; rows that were never adversarial are left as they were.

    Raises:
        UsageError: U05, U06, U08.

    Example:
        A linear network: the nearest adversarial lies across the boundary, at the distance
        ``(w x + b) / ||w||``, here 0.5.

        >>> linear = torch.nn.Linear(4, 2)
        >>> linear.weight.data = torch.tensor([[-0.25] * 4, [0.25] * 4])
        >>> linear.bias.data = torch.tensor([0.5, -0.5])
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), linear)
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.75), torch.tensor([1])
        >>> round(ddn(classifier, images, labels).distance().item(), 2)
        0.5

    Source:
        Rony et al., "Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial
        Attacks and Defenses", CVPR 2019, algorithm 1: the step length falls from 1 to 0.01 along
        a cosine. Ours looks at the last point, too.
    """
    criterion = success_criterion(classifier, images, labels, targets)
    radius = check_positive("first_radius", first_radius)

    def nearness(x: Tensor, values: Tensor, outputs: Tensor, rows: Tensor) -> Tensor:
        moved = torch.linalg.vector_norm((x - images[rows]).flatten(1), dim=1)
        return torch.where(criterion.is_adversarial(outputs, rows), -moved, -torch.inf)

    return attack_by_ascent(
        classifier,
        images,
        criterion,
        method="ddn",
        objective=direction_of(objective, criterion),
        step=OnSphere(images, criterion.is_adversarial, radius, _below_one(change), steps),
        steps=check_steps(steps),
        keep=nearness,
        stop=False,
        settings={
            "steps": steps,
            "first_radius": first_radius,
            "change": change,
            "objective": objective,
        },
    )


def _below_one(change: float) -> float:
    """A factor by which a radius can shrink.

    Raises:
        UsageError: U06 otherwise.
    """
    if not 0 < change < 1:
        raise UsageError(f"change must be above 0 and below 1, got {change}", code="U06")
    return change


class OnSphere:
    """The update of DDN; one radius per row."""

    def __init__(
        self, images: Tensor, is_adversarial: Stop, radius: float, change: float, steps: int
    ) -> None:
        self.images = images
        self.is_adversarial = is_adversarial
        self.first = radius
        self.change = change
        self.steps = steps

    def start(self, x: Tensor) -> None:
        """All radii are equal."""
        self.radius = x.new_full((len(x),), self.first)
        self.at = x.clone()

    def observe(self, point: Point) -> None:
        """Shrink the sphere of rows that are adversarial, grow the others."""
        adversarial = self.is_adversarial(point.outputs, point.rows)
        factor = torch.where(adversarial, 1 - self.change, 1 + self.change)
        self.radius[point.rows] *= factor.to(point.x)
        self.at[point.rows] = point.x

    def __call__(self, gradient: Tensor, k: int, rows: Tensor) -> Tensor:
        """One step along the unit gradient, then onto the sphere."""
        length = 0.01 + 0.99 * (1 + math.cos(math.pi * k / max(self.steps, 1))) / 2
        x, center = self.at[rows], self.images[rows]
        delta = x - center + length * gradient / l2_norm(gradient).clamp_min(1e-30)
        scale = self.radius[rows].view(-1, 1, 1, 1) / l2_norm(delta).clamp_min(1e-30)
        return center + scale * delta - x
