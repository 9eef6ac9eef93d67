"""Baselines written out in plain torch, and what other libraries import without using it.

Each baseline is what somebody who knows torch would write for the same numbers: ten to twenty
lines, network frozen, one forward pass where one is enough, chunks that fit the cache.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class PixelsIn(nn.Module):
    """The plain module that other libraries are given: pixels in [0, 1] in, logits out."""

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier, self.module = classifier, classifier.module

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.classifier.logits(images)


class Named(type):
    """Classes whose every attribute is the class itself: enough to be named in a signature."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class Nothing(metaclass=Named):
    """What an `Unused` module gives for any name."""


class Unused(types.ModuleType):
    """A module of which every name can be imported and nothing works."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing


@contextmanager
def unused_may_be_missing() -> Iterator[None]:
    """Import libraries here that import torchvision or visdom along and never use it.

    Only what cannot be imported on this machine is replaced, and only inside the block.
    """
    parts = {
        "torchvision": ("", ".transforms", ".transforms.functional", ".models"),
        "visdom": ("",),
    }
    placed = []
    for library, names in parts.items():
        try:
            importlib.import_module(library)
        except Exception:
            placed += [f"{library}{name}" for name in names]
    for name in placed:
        sys.modules[name] = Unused(name)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    try:
        yield
    finally:
        for name in placed:
            del sys.modules[name]


def torch_saliency(classifier: Any, images: Tensor, classes: Sequence[int]) -> Tensor:
    """One forward pass and one `torch.autograd.grad` per class: ``(N, K, H, W)``."""
    x = images.clone().requires_grad_(True)
    logits = classifier.logits(x)
    gradients = [torch.autograd.grad(logits[:, k].sum(), x, retain_graph=True)[0] for k in classes]
    return torch.stack([gradient.abs().amax(dim=1) for gradient in gradients], dim=1)


def torch_grad_cam(
    classifier: Any, layer: nn.Module, images: Tensor, classes: Sequence[int]
) -> Tensor:
    """One forward pass with a hook, one backward pass per class down to the layer; signed maps."""
    kept: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    try:
        logits = classifier.logits(images.clone().requires_grad_(True))
    finally:
        handle.remove()
    maps = []
    for k in classes:
        (gradient,) = torch.autograd.grad(logits[:, k].sum(), kept[0], retain_graph=True)
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        maps.append((weights * kept[0].detach()).sum(dim=1, keepdim=True))
    coarse = torch.cat(maps, dim=1)
    size = images.shape[-2:]
    return nn.functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)


@torch.no_grad()
def torch_occlusion(
    classifier: Any, images: Tensor, window: int, stride: int, *, fill: float, rows: int
) -> Tensor:
    """Several hidden windows per forward pass: ``(N, K, H, W)``, means over covering windows."""
    n, _, height, width = images.shape
    before = classifier.logits(images)
    sums = torch.zeros(n, before.shape[1], height, width)
    covered = torch.zeros(height, width)
    # As captum places them: the last window of a row may stick out of the image.
    tops, lefts = starts(height, window, stride), starts(width, window, stride)
    places = [(top, left) for top in tops for left in lefts]
    together = max(1, rows // n)
    for first in range(0, len(places), together):
        chosen = places[first : first + together]
        hidden = images.repeat(len(chosen), 1, 1, 1)
        for i, (top, left) in enumerate(chosen):
            hidden[i * n : (i + 1) * n, :, top : top + window, left : left + window] = fill
        after = classifier.logits(hidden).reshape(len(chosen), n, -1)
        for lost, (top, left) in zip(before - after, chosen, strict=True):
            sums[:, :, top : top + window, left : left + window] += lost[:, :, None, None]
            covered[top : top + window, left : left + window] += 1
    return sums / covered


def starts(size: int, window: int, stride: int) -> list[int]:
    """Where windows begin, until the last pixel is covered."""
    return list(range(0, max(size - window, 0) + stride, stride))


def torch_pgd(
    classifier: Any,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step: float,
    steps: int,
    rows: int,
) -> Tensor:
    """PGD on a frozen network in chunks, each of which stops once all its images are fooled.

    The ball is clamped to as in every tutorial; returns the last image of each.
    """
    done = []
    for x0, y in zip(images.split(rows), labels.split(rows), strict=True):
        low, high = (x0 - epsilon).clamp(0, 1), (x0 + epsilon).clamp(0, 1)
        x = x0.clone()
        for _ in range(steps):
            x.requires_grad_(True)
            logits = classifier.logits(x)
            if bool((logits.argmax(1) != y).all()):
                break
            loss = nn.functional.cross_entropy(logits, y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x)
            x = torch.min(torch.max(x.detach() + step * gradient.sign(), low), high)
        done.append(x.detach())
    return torch.cat(done)


def torch_class_images(classifier: Any, steps: int, *, together: bool) -> Tensor:
    """Ten class images by Adam on the pixels: one batch of ten, or one after the other."""
    classes = torch.arange(10)
    grown = []
    for chosen in [classes] if together else classes.split(1):
        x = (0.5 + 0.05 * torch.randn(len(chosen), *classifier.input_shape)).clamp(0, 1)
        x.requires_grad_(True)
        optimizer = torch.optim.Adam([x], lr=0.05)
        rows = torch.arange(len(chosen))
        for _ in range(steps):
            loss = -classifier.logits(x)[rows, chosen].sum()
            (x.grad,) = torch.autograd.grad(loss, x)
            optimizer.step()
            with torch.no_grad():
                x.clamp_(0, 1)
        grown.append(x.detach())
    return torch.cat(grown)


def in_rows(
    run: Callable[[Tensor, Tensor], Tensor], rows: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """Call `run` on chunks of `rows` images, as one does to stay in the cache."""

    def chunked(images: Tensor, labels: Tensor) -> Tensor:
        parts = zip(images.split(rows), labels.split(rows), strict=True)
        return torch.cat([run(x, y) for x, y in parts])

    return chunked
