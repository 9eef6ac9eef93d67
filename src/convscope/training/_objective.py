"""Training objectives, optionally on adversarially perturbed or noisy inputs."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.training._batches import Normalize, stream
from convscope.training._checkpoints import State
from convscope.training._process import World
from convscope.training._settings import COPIES, TrainSettings

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


GUARD_CHECKS_PER_EPOCH = 4
GUARD_GAP = 0.15
GUARD_STEPS = 7


class Adversary:
    """The loss of one batch, with or without somebody who changes the images first.

    Examples are made with the network in evaluation mode (batch-norm statistics stay as they are)
    and learned from in training mode.

    Args:
        settings: Kind, epsilon, steps, ramp.
        normalize: Pixels to network input; epsilon means pixels.
        steps_per_epoch: For the ramp and for how often the guard looks.
    """

    def __init__(self, settings: TrainSettings, normalize: Normalize, steps_per_epoch: int) -> None:
        self.settings, self.normalize = settings, normalize
        self.steps_per_epoch = steps_per_epoch
        self._examined: tuple[Tensor, Tensor, float] | None = None

    def loss(
        self, state: State, images: Tensor, labels: Tensor, epoch: int, position: int, world: World
    ) -> tuple[Tensor, Tensor]:
        """The loss to step on, and the logits behind the training error."""
        settings, module = self.settings, state.module
        if settings.consistency:
            logits = module(self.normalize(images)).float()
            return consistency_loss(logits, labels, settings.consistency), logits[: len(labels)]
        if settings.adversary == "none":
            logits = module(self.normalize(images)).float()
            return self._cross_entropy(logits, labels), logits
        epsilon = self.budget(epoch + position / self.steps_per_epoch)
        start = _random_start(images, epsilon, settings.seed, epoch, position, world)
        self._examined = (images, labels, epsilon)
        if settings.adversary == "trades":
            return self._trades(module, images, labels, start, epsilon)
        once = settings.adversary == "fgsm-rs" and state.step >= state.guard
        steps = 1 if once else settings.adversary_steps
        size = self._step_size(epsilon, once=once)
        worst = self._ascend(
            module, images, start, epsilon, steps, size, lambda z: F.cross_entropy(z, labels)
        )
        logits = module(self.normalize(worst)).float()
        return self._cross_entropy(logits, labels), logits

    def budget(self, epochs: float) -> float:
        """Epsilon after so many epochs: it grows in a straight line over the ramp."""
        ramp = self.settings.adversary_ramp
        return self.settings.epsilon * (min(1.0, epochs / ramp) if ramp else 1.0)

    def look(self, state: State, epoch: int, position: int) -> str:
        """Now and then, see whether one-step training fools itself; a sentence if it does.

        A network can learn to break the one step it is trained with. It then reads one-step
        examples well and many-step examples badly. Until the next look, training uses many steps.
        """
        if self.settings.adversary != "fgsm-rs" or self._examined is None:
            return ""
        interval = max(1, self.steps_per_epoch // GUARD_CHECKS_PER_EPOCH)
        if (position + 1) % interval or state.step < state.guard:
            return ""
        images, labels, epsilon = self._examined
        if epsilon == 0:
            return ""

        def robust(steps: int, size: float) -> float:
            worst = self._ascend(
                state.module, images, images, epsilon, steps, size,
                lambda z: F.cross_entropy(z, labels),
            )  # fmt: skip
            with evaluating(state.module), torch.no_grad():
                return float(
                    (state.module(self.normalize(worst)).argmax(1) == labels).float().mean()
                )

        once, often = robust(1, epsilon), robust(GUARD_STEPS, epsilon / 3)
        if once - often < GUARD_GAP:
            return ""
        state.guard = state.step + interval
        return (
            f"one-step training overfits at step {state.step} (accuracy {once:.0%} under one step, "
            f"{often:.0%} under {GUARD_STEPS}): {self.settings.adversary_steps} steps for a while"
        )

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)

    def _step_size(self, epsilon: float, *, once: bool) -> float:
        if self.settings.adversary_step and epsilon:
            return self.settings.adversary_step * epsilon / self.settings.epsilon
        return 1.25 * epsilon if once else epsilon / 3

    def _trades(
        self, module: nn.Module, images: Tensor, labels: Tensor, start: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy on clean images plus the divergence between clean and worst answers."""
        with evaluating(module), torch.no_grad():
            calm = module(self.normalize(images)).float().softmax(1)
        worst = self._ascend(
            module,
            images,
            start,
            epsilon,
            self.settings.adversary_steps,
            self._step_size(epsilon, once=False),
            lambda z: F.kl_div(z.log_softmax(1), calm, reduction="batchmean"),
        )
        both = module(self.normalize(torch.cat([images, worst]))).float()
        clean, moved = both.chunk(2)
        divergence = F.kl_div(moved.log_softmax(1), clean.softmax(1), reduction="batchmean")
        loss = self._cross_entropy(clean, labels) + self.settings.trades_weight * divergence
        return loss, moved

    def _ascend(
        self,
        module: nn.Module,
        images: Tensor,
        start: Tensor,
        epsilon: float,
        steps: int,
        size: float,
        objective: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Signed gradient steps from `start`, kept within epsilon of `images` and in [0, 1]."""
        low, high = (images - epsilon).clamp_(0, 1), (images + epsilon).clamp_(0, 1)
        x = start
        with evaluating(module):
            for _ in range(steps):
                x = x.detach().requires_grad_(True)
                value = objective(module(self.normalize(x)).float())
                (gradient,) = torch.autograd.grad(value, x)
                x = torch.clamp(x.detach() + size * gradient.sign(), low, high)
        return x.detach()


def _random_start(
    images: Tensor, epsilon: float, seed: int, epoch: int, position: int, world: World
) -> Tensor:
    """A uniform point of the ball around each image, drawn for the whole batch of all processes."""
    shape = (len(images) * world.size, *images.shape[1:])
    numbers = torch.rand(shape, generator=stream(seed, "adversary", epoch, position))
    mine = numbers[world.share(len(numbers))].to(images.device)
    return (images + epsilon * (2 * mine - 1)).clamp_(0, 1)


class evaluating:
    """The network in evaluation mode, without gradients of its weights, for a block."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.modes = [part.training for part in module.modules()]
        self.wanted = [parameter.requires_grad for parameter in module.parameters()]

    def __enter__(self) -> None:
        self.module.eval().requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for part, mode in zip(self.module.modules(), self.modes, strict=True):
            part.training = mode
        for parameter, wanted in zip(self.module.parameters(), self.wanted, strict=True):
            parameter.requires_grad_(wanted)
