"""What a result was found with: hashes of network and data, and the machine."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor


class LabeledImages(Protocol):
    """What is hashed of a split."""

    @property
    def labels(self) -> Tensor: ...
    def parts(self) -> Iterator[Tensor]:
        """Its images, as bytes, a part at a time."""


def network_digest(classifier: Any, *more: object) -> str:
    """A hash of weights and preprocessing.

    The code of a network cannot be hashed. Whoever trusts this hash asks the network for the
    logits of a few images, too.

    Args:
        classifier: A `convscope.classifier.Classifier`.
        more: What else shall be part of it, by its ``repr``.
    """
    digest = hashlib.sha256()
    about = (
        *more,
        classifier.input_shape,
        classifier.mean,
        classifier.std,
        classifier.resize,
        str(classifier.dtype),
        [(path, type(child).__qualname__) for path, child in classifier.module.named_modules()],
    )
    digest.update(repr(about).encode("utf-8", "backslashreplace"))
    tensors = (*classifier.module.named_parameters(), *classifier.module.named_buffers())
    for name, tensor in tensors:
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        plain = tensor.detach().cpu().contiguous().flatten()
        digest.update(plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return digest.hexdigest()


def images_digest(*splits: LabeledImages) -> str:
    """SHA-256 over the pixels and labels of some splits."""
    digest = hashlib.sha256()
    for split in splits:
        for part in chain(split.parts(), [split.labels]):
            digest.update(part.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def machine() -> dict[str, str | int]:
    """What the last bits of float arithmetic depend on."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
    }
