"""RISE: scores of random soft pieces of the image, credited to their pixels."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope.classifier import Classifier
from convscope.errors import UsageError, choose
from convscope.explanations._result import Explanation, Targets, known_targets, picked, targets_of
from convscope.explanations._streamed import Fill, blank, check_fill, lazy_logits, part_of, streamed
from convscope.types import Images


@checked
def rise(
    classifier: Classifier,
    images: Images,
    targets: Targets = None,
    *,
    masks: int = 500,
    cells: int | None = None,
    keep: float = 0.5,
    fill: Fill = "mean",
    score: Literal["logit", "probability"] = "probability",
    generator: Generator | None = None,
) -> Explanation:
    """Show random soft pieces of the image and credit the pixels that were visible.

    Needs no gradients. All images and classes share the masks.

    Args:
        classifier: The classifier to explain.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        targets: ``None``: the predicted class; a class; one per image; or ``"all"``, for the
            same number of passes.
        masks: How many pieces.
        cells: Cells of the random grid along a side; by default 6 up to 32 pixels, else 7.
        keep: Probability that a cell is visible.
        fill: What hidden pixels show, as for `occlusion`.
        score: What is credited: logits or probabilities.
        generator: Source of the masks; by default one with seed 0.

    Returns:
        Signed maps ``(batch, target, height, width)``: mean score while a pixel is visible
        minus mean score while it is hidden.

    Raises:
        UsageError: If a setting makes no sense.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 4, 4))
        >>> rise(classifier, torch.rand(3, 1, 4, 4), "all", masks=20).maps.shape
        torch.Size([3, 2, 4, 4])

    Source:
        Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box
        Models", 2018. We subtract the score while hidden, which centers the maps, and fill with
        the mean color where the paper multiplies by zero after normalization.
    """
    if masks < 1 or not 0 < keep < 1 or (cells is not None and cells < 1):
        raise UsageError(
            f"masks={masks}, cells={cells}, keep={keep}",
            code="U05",
            expected="at least one mask and cell, and 0 < keep < 1",
        )
    choose("score", score, ("logit", "probability"))
    known = known_targets(classifier, images, targets)
    height, width = images.shape[2:]
    grid = cells if cells is not None else (6 if min(height, width) <= 32 else 7)
    visible = random_masks((height, width), masks, grid, keep, source(generator)).to(images)
    check_fill(fill, images)
    settings: dict[str, float | int | str | bool] = {"masks": masks, "cells": grid, "keep": keep}

    def explain(some: Images, targets: Tensor | None, rows: slice) -> Explanation:
        fills = part_of(fill, rows, len(images))
        return _explain(classifier, some, targets, visible, fills, score, settings)

    return streamed(images, known, explain)


def _explain(
    classifier: Classifier,
    images: Images,
    known: Tensor | None,
    visible: Tensor,
    fill: Fill,
    score: Literal["logit", "probability"],
    settings: dict[str, float | int | str | bool],
) -> Explanation:
    """One block of images; `visible` are the masks, ``(mask, height, width)``."""
    masks, (height, width) = len(visible), images.shape[2:]
    blanks, words = blank(fill, images)

    def decode(numbers: Tensor) -> Tensor:
        rows, which = numbers // masks, numbers % masks
        return torch.lerp(blanks[rows].expand_as(images[rows]), images[rows], visible[which, None])

    with classifier.probe() as probe:
        logits = probe.logits(images)
        masked = lazy_logits(probe, len(images) * masks, decode).view(len(images), masks, -1)
    classes = targets_of(known, logits)
    scores = picked(masked if score == "logit" else masked.softmax(dim=2), classes)
    flat = visible.flatten(1)
    # (image n, mask m, class k) x (mask m, pixel p): mean score weighted by how visible p was.
    shown = torch.einsum("nmk,mp->nkp", scores, flat) / flat.sum(dim=0).clamp_min(1e-6)
    hidden = torch.einsum("nmk,mp->nkp", scores, 1 - flat) / (1 - flat).sum(dim=0).clamp_min(1e-6)
    return Explanation(
        images=images,
        maps=(shown - hidden).view(*classes.shape, height, width),
        targets=classes,
        method="rise",
        signed=True,
        class_names=classifier.class_names,
        logits=logits,
        settings={**settings, "fill": words},
        cost=probe.cost(),
    )


def random_masks(
    size: tuple[int, int], count: int, cells: int, keep: float, generator: Generator
) -> Tensor:
    """Smooth random masks ``(count, height, width)`` in [0, 1], each shifted independently."""
    steps = [math.ceil(side / cells) for side in size]
    coarse = (
        torch.rand(count, 1, cells + 1, cells + 1, generator=generator, dtype=torch.float32) < keep
    ).float()
    large = [(cells + 1) * step for step in steps]
    fine = F.interpolate(coarse, size=large, mode="bilinear", align_corners=False)[:, 0]
    tops = torch.randint(steps[0], (count,), generator=generator).tolist()
    lefts = torch.randint(steps[1], (count,), generator=generator).tolist()
    return torch.stack(
        [
            mask[top : top + size[0], left : left + size[1]]
            for mask, top, left in zip(fine, tops, lefts, strict=True)
        ]
    )
