"""Room for the images of a data set: in memory, or in a file without a name on the disk.

Images are kept decoded, at the size that they are used in. What does not fit into memory lies in a
file that is mapped into it: it is read and indexed like memory, and the system keeps in memory what
is used. The file has no name, so that it goes with the process, however that ends.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from convscope.data import _file
from convscope.data._download import cache_folder
from convscope.errors import ResourceError

Item = TypeVar("Item")
Result = TypeVar("Result")

SHARE_OF_FREE = 0.5
"""Data sets up to this share of the free memory are kept in memory; batches need some, too."""

MARGIN = 1 << 30
"""Bytes of the disk that stay free."""


def make_room(shape: tuple[int, ...], what: str, *, where: object = "") -> Tensor:
    """A tensor of bytes for images or masks.

    Args:
        shape: Its shape.
        what: What it is for, for the error text.
        where: Likewise.

    Returns:
        A tensor of uint8, in memory if it takes at most half of what is free, else on the disk, in
        the user's cache folder (``$XDG_CACHE_HOME`` moves it).

    Raises:
        ResourceError: It fits into neither; the text has the sizes.

    Example:
        >>> make_room((2, 1, 4, 4), "two images").shape
        torch.Size([2, 1, 4, 4])
    """
    size = math.prod(shape)
    free = _file.free_memory()
    if free is None or size <= SHARE_OF_FREE * free:
        return torch.empty(shape, dtype=torch.uint8)
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        left = shutil.disk_usage(folder).free - MARGIN
        if size > left:
            raise _too_large(what, size, free, left, where)
        with tempfile.TemporaryFile(dir=folder, prefix="images-") as file:
            # Reserved now: a disk that fills up later would end the process without a word.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            mapped: np.memmap[tuple[int, ...], np.dtype[np.uint8]] = np.memmap(
                file, dtype=np.uint8, mode="r+", shape=shape
            )
    except OSError as error:
        raise ResourceError(
            f"no room for {what}: {error.strerror or error}", where=folder
        ) from error
    return torch.from_numpy(mapped)


AHEAD = 4
"""Results per thread that may wait to be taken."""


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int = 0
) -> Iterator[Result]:
    """`work` for every item, in order, in a few threads: decoding leaves Python's lock.

    A few results at a time wait to be taken, however many items there are, and nothing is left
    running when the iteration is given up.

    Args:
        work: What to do.
        items: With what.
        threads: How many; by default as many as there are cores, at most eight.

    Example:
        >>> list(in_threads(abs, [-1, 2, -3]))
        [1, 2, 3]
    """
    count = threads or min(8, os.cpu_count() or 1)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(count) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= AHEAD * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _too_large(what: str, size: int, free: int, left: int, where: object) -> ResourceError:
    return ResourceError(
        f"{what} need {size / 1e9:,.1f} GB, {free / 1e9:,.1f} GB of memory and "
        f"{max(left, 0) / 1e9:,.1f} GB of the disk are free",
        where=where,
        hint="use fewer or smaller images",
    )
