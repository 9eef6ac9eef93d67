"""Exponential moving average of the weights, batch-norm statistics included."""

import copy

import torch
from torch import Tensor, nn

EVERY = 5


class Average:
    """A slow copy of a network, moved a little every few steps.

    The average is what a run delivers: it reaches the accuracy of a decayed learning rate earlier.
    The decay starts small, as (1 + n) / (10 + n) after n updates, so the random initial weights are
    forgotten quickly.

    Args:
        module: The network that is trained.
        decay: Share of the average kept per training step; it is applied every 5 steps as decay^5.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> average = Average(layer, decay=0.99)
        >>> with torch.no_grad():
        ...     _ = layer.weight.fill_(2.0), average.module.weight.fill_(1.0)
        >>> average.after_step(layer, 5)
        >>> round(average.module.weight.item(), 4)
        1.9
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def after_step(self, module: nn.Module, step: int) -> None:
        """Follow `module`, which has just taken its `step`-th step (1, 2, ...)."""
        if step % EVERY:
            return
        kept = min(self.decay**EVERY, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        slow: list[Tensor] = list(self.module.parameters())
        fast: list[Tensor] = list(module.parameters())
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            if mine.is_floating_point():
                slow.append(mine)
                fast.append(theirs)
            else:
                mine.copy_(theirs)
        torch._foreach_lerp_(slow, fast, 1 - kept)
