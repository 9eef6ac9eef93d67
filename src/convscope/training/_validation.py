"""Loss and errors on validation images, in float32."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.data import Split
from convscope.training._batches import CPU, Normalize
from convscope.training._streams import stream

CHUNK = 500


class Validation:
    """The validation split, as the loop looks at it.

    Args:
        split: Validation images.
        normalize: As in training.
        seed: Chooses the fixed subset that points inside an epoch use.
        subset: Size of that subset.
        device: Where the network is.
    """

    def __init__(
        self,
        split: Split,
        normalize: Normalize,
        *,
        seed: int,
        subset: int,
        device: torch.device = CPU,
    ) -> None:
        self.split, self.normalize, self.device = split, normalize, device
        shuffled = torch.randperm(len(split), generator=stream(seed, "validation"))
        self.subset = shuffled[:subset].sort().values
        self.everything = torch.arange(len(split))

    @torch.no_grad()
    def measure(self, module: nn.Module, *, everything: bool) -> tuple[float, float, int]:
        """Mean cross-entropy, share read wrongly, number of images (NaN for none)."""
        rows = self.everything if everything else self.subset
        was_training = module.training
        module.eval()
        loss = wrong = 0.0
        for chunk in torch.split(rows, CHUNK):
            images = self.split.images[chunk].to(self.device).float().div_(255)
            logits, labels = (
                module(self.normalize(images)),
                self.split.labels[chunk].to(self.device),
            )
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            wrong += count_wrong(logits, labels)
        module.train(was_training)
        count = len(rows)
        return (loss / count, wrong / count, count) if count else (math.nan, math.nan, 0)


def count_wrong(logits: Tensor, labels: Tensor) -> int:
    """How many rows are read wrongly; NaN logits count as wrong."""
    right = (logits.argmax(1) == labels) & logits.isfinite().all(1)
    return len(labels) - int(right.sum())
