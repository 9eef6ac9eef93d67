"""Training objectives: cross-entropy, consistency, adversarial training (PGD, FGSM-RS, TRADES)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.training._batches import Normalize, stream
from convscope.training._process import World
from convscope.training._settings import COPIES, TrainSettings

ENTROPY_WEIGHT = 0.5


def consistency_loss(logits: Tensor, labels: Tensor, weight: float) -> Tensor:
    """Cross-entropy of two noisy copies, plus their divergence from the mean prediction.

    Args:
        logits: ``(2 * batch, class)``: first copies of all images, then second copies.
        labels: ``(batch,)``.
        weight: Of the divergence between the mean prediction and each copy's.

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

    Source: Jeong and Shin, "Consistency Regularization for Certified Robustness of Smoothed
    Classifiers" (NeurIPS 2020), equation 7, with two copies.
    """
    log_probs = logits.log_softmax(dim=1).view(COPIES, len(labels), -1)
    mean = log_probs.exp().mean(dim=0)
    log_mean = log_probs.logsumexp(dim=0) - math.log(COPIES)
    divergence = (mean * (log_mean - log_probs)).sum(dim=-1).mean()
    entropy = -(mean * log_mean).sum(dim=-1).mean()
    cross_entropy = F.nll_loss(log_probs.flatten(0, 1), labels.repeat(COPIES))
    return cross_entropy + weight * divergence + ENTROPY_WEIGHT * entropy


GUARD_CHECKS_PER_EPOCH = 4
GUARD_GAP = 0.15
GUARD_STEPS = 7


class Objective:
    """Cross-entropy of clean images; the objectives below change what it asks for.

    A training step calls `perturb`, the forward pass, `loss`, and after the update `after_step`.

    Args:
        settings: Label smoothing; kind, epsilon, steps and ramp of the adversary.
        normalize: Pixels to network input; epsilon means pixels.
        steps_per_epoch: For the ramp of epsilon and the checks of one-step training.
        world: This process takes every `size`-th row of a random start.
        class_weights: ``(class,)``, the weight of each class in the loss; ``None``: all the same.

    Example:
        >>> from convscope.training import TrainSettings
        >>> settings = TrainSettings(model="mnist-conv1", data="digits")
        >>> objective = build_objective(settings, Normalize((0.0,), (1.0,)), steps_per_epoch=10)
        >>> loss = objective.loss(torch.zeros(2, 10), torch.tensor([3, 4]))
        >>> round(loss.item(), 4), round(math.log(10), 4)
        (2.3026, 2.3026)
    """

    def __init__(
        self,
        settings: TrainSettings,
        normalize: Normalize,
        *,
        steps_per_epoch: int,
        world: World | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        self.settings, self.normalize = settings, normalize
        self.steps_per_epoch = steps_per_epoch
        self.class_weights = class_weights
        self.world = World() if world is None else world

    @property
    def passes(self) -> int:
        """Forward and backward passes of the network per training image."""
        return 1

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, *, step: int) -> Tensor:
        """The images to train on, ``(n, channel, height, width)`` in [0, 1].

        Args:
            model: The network, unchanged on return.
            images: ``(batch, channel, height, width)``.
            labels: ``(batch,)``.
            step: Updates done before.
        """
        return images

    def loss(self, logits: Tensor, labels: Tensor, *, over: float | None = None) -> Tensor:
        """The scalar to minimize.

        Args:
            logits: ``(n, class)``, of the images that `perturb` returned.
            labels: ``(batch,)``.
            over: Divide the weighted sum of losses by this, because these images are only a part
                of a batch; by default by the `weight` of `labels`, which makes it their mean.
        """
        loss = F.cross_entropy(
            logits,
            labels,
            weight=self.class_weights,
            label_smoothing=self.settings.label_smoothing,
        )
        return loss if over is None else loss * (self.weight(labels) / over)

    def weight(self, labels: Tensor) -> float:
        """What the loss of these images weighs in the mean over a batch."""
        if self.class_weights is None:
            return float(len(labels))
        return float(self.class_weights[labels].sum())

    def counted(self, logits: Tensor, labels: Tensor) -> Tensor:
        """``(batch, class)``: the logits behind the training error."""
        return logits

    def after_step(self, model: nn.Module, *, step: int) -> str:
        """A warning about the training so far, or nothing; called after update number `step`."""
        return ""

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps of the objective."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave; other entries are ignored."""


class ConsistencyObjective(Objective):
    """`consistency_loss` on two noisy copies of each image."""

    @property
    def passes(self) -> int:
        """One per copy."""
        return COPIES

    def loss(self, logits: Tensor, labels: Tensor, *, over: float | None = None) -> Tensor:
        """The scalar to minimize; `logits` has first copies, then second copies."""
        assert over is None, "TrainSettings refuses class weights and parts with consistency"
        return consistency_loss(logits, labels, self.settings.consistency)

    def counted(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The logits of the first copies."""
        return logits[: len(labels)]


class PGDObjective(Objective):
    """Cross-entropy of adversarial examples.

    They are made with the network in evaluation mode (batch-norm statistics stay as they are) and
    trained on in training mode.

    Source: Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to
    Adversarial Attacks" (ICLR 2018), with an epsilon that grows from 0.
    """

    @property
    def passes(self) -> int:
        """One per step of the adversary, and that of the training step."""
        return 1 + self.settings.adversary_steps

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, *, step: int) -> Tensor:
        """Adversarial examples from a random start."""
        epsilon = self.epsilon_at(step)
        return self.ascend(
            model,
            images,
            self.random_start(images, epsilon, step),
            epsilon=epsilon,
            steps=self.settings.adversary_steps,
            step_size=self.step_size(epsilon),
            objective=lambda logits: F.cross_entropy(logits, labels),
        )

    def epsilon_at(self, step: int) -> float:
        """Epsilon after `step` updates: it grows in a straight line over the ramp."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        epochs, ramp = epoch + batch / self.steps_per_epoch, self.settings.adversary_ramp
        return self.settings.epsilon * (min(1.0, epochs / ramp) if ramp else 1.0)

    def step_size(self, epsilon: float, *, one_step: bool = False) -> float:
        """Size of a gradient step, in pixel units."""
        if self.settings.adversary_step and epsilon:
            return self.settings.adversary_step * epsilon / self.settings.epsilon
        return 1.25 * epsilon if one_step else epsilon / 3

    def random_start(self, images: Tensor, epsilon: float, step: int) -> Tensor:
        """A uniform point of the ball around each image, drawn for the batch of all processes."""
        shape = (len(images) * self.world.size, *images.shape[1:])
        position = divmod(step, self.steps_per_epoch)
        generator = stream(self.settings.seed, "adversary", *position)
        uniform = torch.rand(shape, generator=generator)
        shard = uniform[self.world.shard(len(uniform))].to(images.device)
        return (images + epsilon * (2 * shard - 1)).clamp_(0, 1)

    def ascend(
        self,
        model: nn.Module,
        images: Tensor,
        start: Tensor,
        *,
        epsilon: float,
        steps: int,
        step_size: float,
        objective: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Signed gradient steps from `start`, kept within epsilon of `images` and in [0, 1]."""
        low, high = (images - epsilon).clamp_(0, 1), (images + epsilon).clamp_(0, 1)
        x = start
        with evaluation_mode(model):
            for _ in range(steps):
                x = x.detach().requires_grad_(True)
                value = objective(model(self.normalize(x)).float())
                (gradient,) = torch.autograd.grad(value, x)
                x = torch.clamp(x.detach() + step_size * gradient.sign(), low, high)
        return x.detach()


class FGSMObjective(PGDObjective):
    """One gradient step from a random start, watched for catastrophic overfitting.

    A network can learn to resist the one step that it is trained with: its accuracy is then high
    under one step and low under many. Where that happens, training uses many steps until the next
    check.

    Source: Wong, Rice, Kolter, "Fast is Better than Free: Revisiting Adversarial Training" (ICLR
    2020), which stops the run instead.
    """

    def __init__(
        self,
        settings: TrainSettings,
        normalize: Normalize,
        *,
        steps_per_epoch: int,
        world: World | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__(
            settings,
            normalize,
            steps_per_epoch=steps_per_epoch,
            world=world,
            class_weights=class_weights,
        )
        self.multi_step_until = 0
        self._last_batch: tuple[Tensor, Tensor, float] | None = None

    @property
    def passes(self) -> int:
        """That of the one step and that of the training step; checks come on top."""
        return 2

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, *, step: int) -> Tensor:
        """Adversarial examples of one step, or of many after overfitting."""
        epsilon = self.epsilon_at(step)
        self._last_batch = (images, labels, epsilon)
        one_step = step >= self.multi_step_until
        return self.ascend(
            model,
            images,
            self.random_start(images, epsilon, step),
            epsilon=epsilon,
            steps=1 if one_step else self.settings.adversary_steps,
            step_size=self.step_size(epsilon, one_step=one_step),
            objective=lambda logits: F.cross_entropy(logits, labels),
        )

    def after_step(self, model: nn.Module, *, step: int) -> str:
        """Now and then, compare accuracy under one step and under many; a warning if they part."""
        interval = max(1, self.steps_per_epoch // GUARD_CHECKS_PER_EPOCH)
        # Intervals are counted within the epoch, whose length need not be a multiple of them.
        batch = (step - 1) % self.steps_per_epoch
        if self._last_batch is None or (batch + 1) % interval or step < self.multi_step_until:
            return ""
        images, labels, epsilon = self._last_batch
        if epsilon == 0:
            return ""

        def accuracy_under(steps: int, step_size: float) -> float:
            worst = self.ascend(
                model,
                images,
                images,
                epsilon=epsilon,
                steps=steps,
                step_size=step_size,
                objective=lambda logits: F.cross_entropy(logits, labels),
            )
            with evaluation_mode(model), torch.no_grad():
                return float((model(self.normalize(worst)).argmax(1) == labels).float().mean())

        # Every process looks at images of its own, and all have to decide alike.
        pair = torch.tensor([accuracy_under(1, epsilon), accuracy_under(GUARD_STEPS, epsilon / 3)])
        pair = pair.to(images.device)
        self.world.all_reduce_mean([pair])
        one, many = pair.tolist()
        if one - many < GUARD_GAP:
            return ""
        self.multi_step_until = step + interval
        return (
            f"one-step training overfits at step {step} (accuracy {one:.0%} under one step, "
            f"{many:.0%} under {GUARD_STEPS}): {self.settings.adversary_steps} steps for a while"
        )

    def state_dict(self) -> dict[str, int]:
        """The step until which many gradient steps are used."""
        return {"guard": self.multi_step_until}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.multi_step_until = int(state["guard"])


class TRADESObjective(PGDObjective):
    """Cross-entropy of clean images plus the divergence of adversarial from clean predictions.

    Source: Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan, "Theoretically Principled Trade-off between
    Robustness and Accuracy" (ICML 2019), equation 5.
    """

    @property
    def passes(self) -> int:
        """One per step of the adversary, and the training step's of both copies."""
        return 2 + self.settings.adversary_steps

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor, *, step: int) -> Tensor:
        """``(2 * batch, channel, height, width)``: clean images, then adversarial examples."""
        epsilon = self.epsilon_at(step)
        start = self.random_start(images, epsilon, step)
        with evaluation_mode(model), torch.no_grad():
            clean = model(self.normalize(images)).float().softmax(1)
        worst = self.ascend(
            model,
            images,
            start,
            epsilon=epsilon,
            steps=self.settings.adversary_steps,
            step_size=self.step_size(epsilon),
            objective=lambda logits: F.kl_div(logits.log_softmax(1), clean, reduction="batchmean"),
        )
        return torch.cat([images, worst])

    def loss(self, logits: Tensor, labels: Tensor, *, over: float | None = None) -> Tensor:
        """The scalar to minimize; `logits` has clean rows, then adversarial ones."""
        clean, adversarial = logits.chunk(2)
        divergence = F.kl_div(adversarial.log_softmax(1), clean.softmax(1), reduction="batchmean")
        return super().loss(clean, labels, over=over) + self.settings.trades_weight * divergence

    def counted(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The logits of the adversarial examples."""
        return logits.chunk(2)[1]


OBJECTIVES: dict[str, type[Objective]] = {
    "none": Objective,
    "pgd": PGDObjective,
    "fgsm-rs": FGSMObjective,
    "trades": TRADESObjective,
}
"""By `TrainSettings.adversary`."""


def build_objective(
    settings: TrainSettings,
    normalize: Normalize,
    *,
    steps_per_epoch: int,
    world: World | None = None,
    class_weights: Tensor | None = None,
) -> Objective:
    """The objective that `settings` ask for; the arguments are those of `Objective`."""
    kind = ConsistencyObjective if settings.consistency else OBJECTIVES[settings.adversary]
    return kind(
        settings,
        normalize,
        steps_per_epoch=steps_per_epoch,
        world=world,
        class_weights=class_weights,
    )


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients of the parameters; modes and flags come back on exit."""
    modes = [module.training for module in model.modules()]
    flags = [parameter.requires_grad for parameter in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in zip(model.modules(), modes, strict=True):
            module.training = mode
        for parameter, flag in zip(model.parameters(), flags, strict=True):
            parameter.requires_grad_(flag)
