"""Batches of the training images, validation, and their random streams."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from convscope.data import Dataset, Split, StoredImages, apply_augmentation, draw_augmentation
from convscope.errors import UsageError
from convscope.training._faults import failpoint
from convscope.training._process import World
from convscope.training._settings import COPIES, TrainSettings
from convscope.training._tta import Tta, averaged


def stream(seed: int, purpose: str, *position: int) -> Generator:
    """The generator of one purpose at one place of a run.

    Args:
        seed: The run's seed.
        purpose: What the numbers are for, such as ``"order"`` or ``"augment"``.
        position: Where in the run, such as the epoch and the step.

    Returns:
        A fresh CPU generator; equal arguments give equal numbers, on every machine.

    Example:
        >>> first, again = stream(0, "augment", 3, 7), stream(0, "augment", 3, 7)
        >>> torch.equal(torch.rand(4, generator=first), torch.rand(4, generator=again))
        True
        >>> torch.rand(1, generator=stream(0, "noise", 3, 7)) == torch.rand(1, generator=first)
        tensor([False])
    """
    return Generator().manual_seed(number(seed, purpose, *position))


def number(seed: int, purpose: str, *position: int) -> int:
    """The 63-bit number that `stream` starts from."""
    name = "/".join([str(seed), purpose, *map(str, position)])
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def order(seed: int, epoch: int, images: int) -> Tensor:
    """The order in which an epoch shows the training images: (images,) row numbers.

    It does not know how many processes share the work or how large a batch is.
    """
    return torch.randperm(images, generator=stream(seed, "order", epoch))


def balanced_order(seed: int, epoch: int, labels: Tensor) -> Tensor:
    """An order that shows every class equally often, within one: (images,) row numbers.

    Images of rare classes are repeated, each as often as the others of its class within one; of
    classes with many images another part is shown each epoch.

    Args:
        seed: The run's seed.
        epoch: Which epoch.
        labels: (images,) classes.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 0, 0, 1])
        >>> labels[balanced_order(0, 0, labels)].bincount()
        tensor([3, 3])
    """
    generator = stream(seed, "order", epoch)
    present = sorted(set(labels.tolist()))
    # Which classes get one image more when the shares are not whole changes from epoch to epoch.
    turn = torch.randperm(len(present), generator=generator).tolist()
    chosen = []
    for place, which in enumerate(turn):
        rows = (labels == present[which]).nonzero()[:, 0]
        wanted = (len(labels) + len(present) - 1 - place) // len(present)
        passes = [
            rows[torch.randperm(len(rows), generator=generator)]
            for _ in range(math.ceil(wanted / len(rows)))
        ]
        chosen.append(torch.cat([*passes, rows[:0]])[:wanted])
    whole = torch.cat(chosen)
    return whole[torch.randperm(len(whole), generator=generator)]


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """``(class,)``: images / (classes present * images of the class); 0 for absent classes.

    Example:
        >>> balanced_weights(torch.tensor([0, 0, 0, 1]), 3)
        tensor([0.6667, 2.0000, 0.0000])
    """
    counts = labels.bincount(minlength=classes)
    present = int((counts > 0).sum())
    weights = len(labels) / (present * counts.clamp_min(1).double())
    return torch.where(counts > 0, weights, torch.zeros_like(weights)).float()


CPU: torch.device = torch.device("cpu")


def fitting_batch(wanted: int, images: int) -> int:
    """A batch size that `images` training images allow.

    Args:
        wanted: The recipe's.
        images: How many there are.

    Returns:
        `wanted` if there are as many images; else a power of two that leaves four updates an epoch.

    Example:
        >>> fitting_batch(128, 5000), fitting_batch(128, 100), fitting_batch(128, 3)
        (128, 16, 2)
    """
    if images >= wanted:
        return wanted
    return max(1 << max(0, (images // 4).bit_length() - 1), min(2, images))


def training_data(dataset: Dataset, settings: TrainSettings) -> Dataset:
    """`dataset` with the training images that `settings.train_split` asks for.

    With ``"train+validation"`` all of them are training images and no validation images are left.

    Raises:
        UsageError: T19, `settings.cutout` covers whole images.
    """
    side = min(dataset.input_shape[1:])
    if settings.cutout >= side:
        raise UsageError(
            f"cutout is {settings.cutout}, and the images are {side} pixels wide or high",
            code="T19",
            expected=f"0 to {side - 1}; a quarter to a half of the image is usual",
        )
    if settings.train_split == "train" or not len(dataset.validation):
        return dataset
    return dataset.with_all_trained_on()


def require_validation(dataset: Dataset, settings: TrainSettings, why: str) -> None:
    """Refuse what goes by validation images where there are none.

    Args:
        dataset: As `training_data` gives it.
        settings: Those of the run.
        why: What cannot be done.

    Raises:
        UsageError: T19.
    """
    if len(dataset.validation):
        return
    all_trained_on = settings.train_split == "train+validation"
    raise UsageError(
        f"there are no validation images: {why}",
        code="T19",
        where=dataset.source,
        hint="train_split = 'train'" if all_trained_on else "",
    )


class Batches:
    """The training images in the order of a run.

    Batch `batch` of `epoch` is a function of (seed, epoch, batch) alone: it does not depend
    on what was drawn before, nor on how many processes share it.

    Args:
        split: The training images.
        settings: Seed, batch size, augmentation, noise.
        world: This process takes every `size`-th row of each batch.
        device: Where batches are needed.

    Raises:
        UsageError: The batch is larger than the data set, or does not divide among the processes.
    """

    def __init__(
        self, split: Split, settings: TrainSettings, world: World, device: torch.device = CPU
    ) -> None:
        size = settings.batch_size
        if size > len(split):
            raise UsageError(
                f"batch_size is {size}, the training split has {len(split)} images",
                code="T19",
                expected=f"1 to {len(split)}",
                hint=f"--batch-size {fitting_batch(size, len(split))} fits these images",
            )
        parts = settings.microbatches
        if size % (world.size * parts):
            raise UsageError(
                f"batch_size {size} does not divide among {world.size} processes"
                + (f" with {parts} microbatches each" if parts > 1 else ""),
                code="T19",
                expected=f"a multiple of {world.size * parts}",
            )
        self.split, self.settings, self.world, self.device = split, settings, world, device
        self.steps_per_epoch = len(split) // size
        self._orders: dict[int, Tensor] = {}
        self._ahead: Iterator[Tensor] = iter(())
        self._next: tuple[int, tuple[int, ...]] | None = None

    def rows(self, epoch: int, batch: int) -> Tensor:
        """``(batch_size,)`` row numbers of the whole batch."""
        if epoch not in self._orders:
            seed = self.settings.seed
            found = (
                balanced_order(seed, epoch, self.split.labels)
                if self.settings.sampling == "balanced"
                else order(seed, epoch, len(self.split))
            )
            # Who reads ahead asks for the next epoch while this one goes on.
            self._orders = {k: v for k, v in self._orders.items() if k == epoch - 1}
            self._orders[epoch] = found
        start = batch * self.settings.batch_size
        return self._orders[epoch][start : start + self.settings.batch_size]

    def _bytes(self, epoch: int, batch: int, shard: Tensor | slice) -> Tensor:
        """Pixels of some images of a batch.

        Images on the disk are read in the order of the run, a batch ahead. Whoever asks for another
        batch than the next one gets it, and the order goes on from there.
        """
        rows = self.rows(epoch, batch)
        if not isinstance(self.split.images, StoredImages):
            return self.split.images[rows[shard]]
        place = epoch * self.steps_per_epoch + batch
        wanted = tuple(torch.arange(len(rows))[shard].tolist())
        if self._next != (place, wanted):
            self._ahead = self.split.parts(self._upcoming(place, shard))
        # Not before it is there: what an error left is not the next batch.
        self._next = None
        pixels = next(self._ahead)
        self._next = (place + 1, wanted)
        return pixels

    def _upcoming(self, place: int, shard: Tensor | slice) -> Iterator[Tensor]:
        """The rows of the batches from `place` on, to the end of the run."""
        for following in range(place, max(place + 1, self.settings.epochs * self.steps_per_epoch)):
            yield self.rows(*divmod(following, self.steps_per_epoch))[shard]

    @failpoint("data.read")
    def load(
        self, epoch: int, batch: int, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Images of a batch, augmented, and their labels.

        What an image looks like does not depend on who loads it. Pixels are in [0, 1], noise apart.
        With `consistency` there are twice as many images as labels: all first noisy copies, then
        all second ones.

        Args:
            epoch: Epoch, from 0.
            batch: Batch within the epoch, from 0.
            positions: Which images of the whole batch; by default this process's share.
        """
        rows = self.rows(epoch, batch)
        shard = self.world.shard(len(rows)) if positions is None else positions
        images = self._bytes(epoch, batch, shard).to(self.device).float().div_(255)
        augment = self.settings.augment
        draws = draw_augmentation(
            augment,
            len(rows),
            generator=stream(self.settings.seed, "augment", epoch, batch),
            epoch=epoch,
            rows=rows,
            flip_seed=number(self.settings.seed, "flip") % 2**31,
        )
        images = apply_augmentation(images, augment, draws[shard])
        if self.settings.noise_std:
            copies = COPIES if self.settings.consistency else 1
            shape = (copies, len(rows), *images.shape[1:])
            generator = stream(self.settings.seed, "noise", epoch, batch)
            noise = torch.randn(shape, generator=generator)[:, shard]
            images = (images + self.settings.noise_std * noise.to(self.device)).flatten(0, 1)
        return images, self.split.labels[rows[shard]].to(self.device)


@dataclass(frozen=True)
class Normalize:
    """Pixels to network input: subtract the mean, divide by the standard deviation, channels last.

    Args:
        mean: Per channel, of the training images in [0, 1].
        std: Per channel.
        preprocess: Another map of pixels, applied before.
        memory_format: In which order the numbers lie in memory.
    """

    mean: Sequence[float]
    std: Sequence[float]
    preprocess: Callable[[Tensor], Tensor] | None = None
    memory_format: torch.memory_format = torch.channels_last

    def __call__(self, images: Tensor) -> Tensor:
        """``(batch, channel, height, width)`` in [0, 1] to the same shape, differentiable."""
        if self.preprocess is not None:
            images = self.preprocess(images.clone())
        mean = images.new_tensor(self.mean).view(1, -1, 1, 1)
        std = images.new_tensor(self.std).view(1, -1, 1, 1)
        return ((images - mean) / std).contiguous(memory_format=self.memory_format)


CHUNK = 500
"""Most images that are judged at once."""

CHUNK_VALUES = 1 << 22
"""Most pixels of them, times channels: 27 color images of 224 x 224."""


class Validation:
    """Loss and error on the validation split.

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
    def measure(
        self, module: nn.Module, *, everything: bool, tta: Tta = "none"
    ) -> tuple[float, float, int]:
        """Mean cross-entropy, share of misclassified images, their number (NaN for none).

        Args:
            module: Normalized images in, logits out.
            everything: Whether on all images, or on the fixed subset.
            tta: Test-time augmentation.
        """
        rows = self.everything if everything else self.subset
        was_training = module.training
        module.eval()
        loss = wrong = 0.0
        fitting = CHUNK_VALUES // math.prod(self.split.images.shape[1:])
        chunks = torch.split(rows, max(1, min(CHUNK, fitting)))
        for chunk, part in zip(chunks, self.split.parts(chunks), strict=True):
            images = part.to(self.device).float().div_(255)
            labels = self.split.labels[chunk].to(self.device)
            _, logits = averaged(lambda views: module(self.normalize(views)), images, tta)
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            wrong += count_wrong(logits, labels)
        module.train(was_training)
        count = len(rows)
        return (loss / count, wrong / count, count) if count else (math.nan, math.nan, 0)


def count_wrong(logits: Tensor, labels: Tensor) -> int:
    """Number of misclassified rows; NaN logits count as wrong."""
    right = (logits.argmax(1) == labels) & logits.isfinite().all(1)
    return len(labels) - int(right.sum())
