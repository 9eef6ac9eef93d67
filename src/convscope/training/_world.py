"""One process, or several that share every batch (``torchrun --nproc-per-node 2``)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class World:
    """Who this process is among how many.

    Args:
        rank: 0, 1, ...; process 0 writes files and speaks.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def speaks(self) -> bool:
        """Whether this process writes files and events."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """The rows of a global batch of `count` images that are this process's work."""
        return slice(self.rank, count, self.size)

    def average(self, tensors: list[Tensor]) -> None:
        """Replace the tensors by their mean over all processes, in one message."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        for tensor, mean in zip(
            tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True
        ):
            tensor.detach().copy_(mean.view(tensor.shape))

    def wait(self) -> None:
        """Go on when every process is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The world that ``torchrun`` announced in the environment, or a world of one."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        yield World()
        return
    ours = not dist.is_initialized()
    if ours:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(rank=dist.get_rank(), size=dist.get_world_size())
    finally:
        if ours:
            dist.destroy_process_group()
