"""Makers of small data files; nothing here is read by the package itself."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


def idx_bytes(values: np.ndarray, *, kind: int = 8, big: bool = True) -> bytes:
    order = ">" if big else "<"
    head = struct.pack(f"{order}I", (kind << 8) | values.ndim)
    return head + struct.pack(f"{order}{values.ndim}I", *values.shape) + values.tobytes()


def write_mnist(folder: Path, *, train: int = 24, test: int = 10, gz: bool = True) -> Path:
    """A tiny data set with MNIST's file names, right in every respect but its pixels."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            data = idx_bytes(values)
            path = folder / f"{part}-{name}-ubyte{'.gz' if gz else ''}"
            path.write_bytes(gzip.compress(data, 1) if gz else data)
    return folder


@pytest.fixture
def small_mnist(tmp_path: Path) -> Path:
    write_mnist(tmp_path / "mnist")
    return tmp_path
