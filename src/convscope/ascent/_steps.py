"""Steps of gradient ascent, and filters of the gradient before a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.ascent._regions import column, l2_norm

Size = float | Tensor | Callable[[int], float]
"""A length in pixel units: one for all, one per row, or a function of the step number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """Where some rows are at a step of an ascent, and what was found there.

    Attributes:
        k: Number of the step, from 0.
        rows: ``(row,)``, their positions in the whole batch.
        x: ``(row, ...)``, images or latents; not to be written to.
        values: ``(row,)``, the objective.
        gradients: Shaped as `x`; of the fallback where the objective's is zero.
        samples: ``(row * num_samples, ...)``, what the network returned.
        num_samples: Images per row that the network saw.
    """

    k: int
    rows: Tensor
    x: Tensor
    values: Tensor
    gradients: Tensor
    samples: Tensor
    num_samples: int = 1

    @property
    def outputs(self) -> Tensor:
        """``(row, ...)``: the output of each row's first sample."""
        return self.samples[:: self.num_samples] if self.num_samples > 1 else self.samples

    def of(self, mask: Tensor) -> Point:
        """The rows where `mask` is true; all of them need no copy."""
        if bool(mask.all()):
            return self
        each = mask.repeat_interleave(self.num_samples)
        return replace(
            self, rows=self.rows[mask], x=self.x[mask], values=self.values[mask],
            gradients=self.gradients[mask], samples=self.samples[each],
        )  # fmt: skip


@runtime_checkable
class Step(Protocol):
    """A rule that turns gradients into updates."""

    def start(self, x: Tensor) -> None:
        """Reset the state for a batch shaped like `x` (all rows)."""
        ...

    def __call__(self, gradient: Tensor, k: int, rows: Tensor) -> Tensor:
        """The update at step `k` for `rows` of the batch."""
        ...


@runtime_checkable
class StatefulStep(Step, Protocol):
    """A step whose rule needs feedback: it is shown each point before it is asked to move."""

    def observe(self, point: Point) -> None:
        """Update the state with the points of the rows that go on."""
        ...


class Stateless:
    """A step that is a function of the gradient alone."""

    def __init__(self, rule: Callable[[Tensor, int, Tensor], Tensor]) -> None:
        self.rule = rule

    def start(self, x: Tensor) -> None:
        """Nothing to prepare."""

    def __call__(self, gradient: Tensor, k: int, rows: Tensor) -> Tensor:
        """The rule's update."""
        return self.rule(gradient, k, rows)


def plain_step(size: Size) -> Step:
    """Move along the gradient itself, times `size`."""
    return Stateless(lambda gradient, k, rows: _sized(size, k, rows, gradient) * gradient)


def sign_step(size: Size) -> Step:
    """Move every pixel by `size` in the direction of its gradient's sign."""
    return Stateless(lambda gradient, k, rows: _sized(size, k, rows, gradient) * gradient.sign())


def l2_step(size: Size) -> Step:
    """Move every image an L2 distance of `size` along its gradient; a zero gradient: nowhere."""

    def rule(gradient: Tensor, k: int, rows: Tensor) -> Tensor:
        return _sized(size, k, rows, gradient) * _unit(gradient, l2_norm(gradient))

    return Stateless(rule)


def std_step(size: Size) -> Step:
    """Scale each image's gradient to a standard deviation of `size`; constant ones: nowhere."""

    def rule(gradient: Tensor, k: int, rows: Tensor) -> Tensor:
        spread = column(gradient.flatten(1).std(dim=1), gradient)
        return _sized(size, k, rows, gradient) * _unit(gradient, spread)

    return Stateless(rule)


class Momentum:
    """Accumulate gradients, each scaled to a mean absolute value of 1, before stepping."""

    def __init__(self, then: Step, decay: float) -> None:
        self.then = then
        self.decay = decay
        self.velocity = torch.empty(0)

    def start(self, x: Tensor) -> None:
        """No velocity yet."""
        self.velocity = torch.zeros_like(x)
        self.then.start(x)

    def __call__(self, gradient: Tensor, k: int, rows: Tensor) -> Tensor:
        """Accumulate, then let the inner step see the velocity."""
        size = column(gradient.flatten(1).abs().mean(dim=1), gradient)
        velocity = self.decay * self.velocity[rows] + _unit(gradient, size)
        self.velocity[rows] = velocity
        return self.then(velocity, k, rows)


def momentum_step(then: Step, decay: float = 1.0) -> Step:
    """Let `then` see an accumulated gradient.

    Source:
        Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, eq. 6: gradients
        are divided by their L1 norm; ours by their mean absolute value, which gives the same
        direction and does not depend on the number of pixels.
    """
    return Momentum(then, decay)


class Adam:
    """Adam (Kingma and Ba, ICLR 2015, algorithm 1), uphill, with moments per row."""

    def __init__(self, size: Size, betas: tuple[float, float], eps: float) -> None:
        self.size = size
        self.betas = betas
        self.eps = eps
        self.first = self.second = torch.empty(0)

    def start(self, x: Tensor) -> None:
        """Moments are zero."""
        self.first, self.second = torch.zeros_like(x), torch.zeros_like(x)

    def __call__(self, gradient: Tensor, k: int, rows: Tensor) -> Tensor:
        """Update both moments and move by their bias-corrected ratio."""
        b1, b2 = self.betas
        first, second = self.first, self.second
        everyone = len(rows) == len(first)
        if not everyone:
            first, second = first[rows], second[rows]
        first.mul_(b1).add_(gradient, alpha=1 - b1)
        second.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        if not everyone:
            self.first[rows], self.second[rows] = first, second
        root = (second / (1 - b2 ** (k + 1))).sqrt_().add_(self.eps)
        return _sized(self.size, k, rows, gradient) * (first / (1 - b1 ** (k + 1))) / root


def adam_step(size: Size, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> Step:
    """Adam's update with step size `size`; all rows count the same steps."""
    return Adam(size, betas, eps)


def _unit(gradient: Tensor, size: Tensor) -> Tensor:
    """``gradient / size``, and zero where the size is zero or the quotient has no meaning."""
    usable = size > 0
    return torch.where(usable, gradient / torch.where(usable, size, 1), 0)


def _sized(size: Size, k: int, rows: Tensor, like: Tensor) -> float | Tensor:
    if isinstance(size, Tensor):
        return column(size.to(like)[rows], like) if size.ndim else size.to(like)
    return size(k) if callable(size) else size


class Filtered:
    """A step behind a filter."""

    def __init__(self, then: Step, rule: Callable[[Tensor, int], Tensor]) -> None:
        self.then = then
        self.rule = rule

    def start(self, x: Tensor) -> None:
        """Reset the step behind the filter."""
        self.then.start(x)

    def __call__(self, gradient: Tensor, k: int, rows: Tensor) -> Tensor:
        """The update for the filtered gradient."""
        return self.then(self.rule(gradient, k), k, rows)


def blurred(then: Step, std: Callable[[int], float]) -> Step:
    """Let `then` see the gradient through a Gaussian of ``std(k)`` pixels."""
    return Filtered(then, lambda gradient, k: gaussian_blur(gradient, std(k)))


def normalized(then: Step) -> Step:
    """Let `then` see gradients of unit L2 norm per image; zero stays zero."""

    def rule(gradient: Tensor, k: int) -> Tensor:
        return _unit(gradient, l2_norm(gradient))

    return Filtered(then, rule)


def gaussian_blur(images: Tensor, std: float) -> Tensor:
    """Blur images with a Gaussian of `std` pixels, borders reflected.

    A `std` so small that the kernel's neighbors underflow is the identity, never NaN.

    Args:
        images: ``(batch, channel, height, width)``.
        std: Standard deviation in pixels, at least 0.

    Example:
        >>> import torch
        >>> x = torch.rand(1, 1, 5, 5)
        >>> torch.equal(gaussian_blur(x, 0.0), x)
        True
    """
    if std < 1e-2:
        return images
    channels = images.shape[1]
    for axis in (3, 2):
        # Reflection needs a radius below the side; a longer kernel would add nothing but cost.
        radius = min(max(1, round(3 * std)), images.shape[axis] - 1)
        if radius < 1:
            continue
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
        kernel = torch.exp(-offsets.square() / (2 * std**2))
        kernel = (kernel / kernel.sum()).to(images)
        shape = (1, 1, 1, -1) if axis == 3 else (1, 1, -1, 1)
        pad = (radius, radius, 0, 0) if axis == 3 else (0, 0, radius, radius)
        weight = kernel.view(shape).expand(channels, 1, *kernel.view(shape).shape[2:])
        images = F.conv2d(F.pad(images, pad, mode="reflect"), weight, groups=channels)
    return images
