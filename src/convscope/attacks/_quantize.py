"""Quantization to 8 bits that keeps adversarial images adversarial."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.ascent import L2Ball, Region
from convscope.attacks._criteria import Criterion
from convscope.probe import Probe
from convscope.types import ByteImages, Images, Logits

ROUNDS = 10
"""Times that pixels may move by one gray level."""

MORE = 2.0
"""How much more than the missing margin is asked for, because networks are not linear."""


def quantize(
    probe: Probe,
    region: Region,
    originals: Images,
    adversarials: Images,
    criterion: Criterion,
    logits: Logits,
    *,
    gradients: bool = True,
) -> tuple[ByteImages, Logits]:
    """The 8-bit images of a result, and what the network says of them.

    Attacks stop just across the boundary, and rounding to the nearest gray level moves about one
    image in twenty back. In such rows a few pixels move on by one level, those that raise the
    margin most for the least distance, until the bytes fool, too. They never leave the region.

    Args:
        probe: The open probe of the attack.
        region: Where images may be.
        originals: Distance is measured from them.
        adversarials: The float images.
        criterion: Labels and targets.
        logits: Of `adversarials`.
        gradients: False for attacks that must not use any.
    """
    everyone = torch.arange(len(originals), device=originals.device)
    levels = region.nearest_bytes(adversarials).to(originals.dtype)
    logits_quantized = probe.logits(levels / 255)
    if not gradients:
        return levels.to(torch.uint8), logits_quantized
    fooled = criterion.is_adversarial(logits, everyone)
    lost = fooled & ~criterion.is_adversarial(logits_quantized, everyone)
    rows = everyone[lost & region.contains(levels / 255)]
    for _ in range(ROUNDS):
        if len(rows) == 0:
            break

        def margin(x: Tensor, outputs: Tensor, part: Tensor, now: Tensor = rows) -> Tensor:
            return criterion.margin(outputs, now[part])

        before = levels[rows]
        at_levels = probe.gradient(before / 255, margin, allow_unused=True)
        missing = (-at_levels.values).clamp_min(1e-6 * at_levels.outputs.abs().amax(dim=1))
        moved = _moved(before, at_levels.gradients, MORE * missing, originals[rows], region, rows)
        trial = levels.clone()
        trial[rows] = moved
        usable = (moved != before).flatten(1).any(dim=1) & region.contains(trial / 255)[rows]
        rows, moved = rows[usable], moved[usable]
        levels[rows] = moved
        logits_quantized[rows] = probe.logits(moved / 255)
        rows = rows[~criterion.is_adversarial(logits_quantized[rows], rows)]
    return levels.to(torch.uint8), logits_quantized


def _moved(
    levels: Tensor, gradient: Tensor, active: Tensor, center: Tensor, region: Region, rows: Tensor
) -> Tensor:
    """`levels` after the moves by one level that promise to raise the margin by `active`.

    As few pixels as possible move, those of the steepest gradients: cheaper sums of many faint
    gradients exist, but they are not to be trusted where rounding has made neighbors equal.
    """
    ahead = gradient.nan_to_num(0.0).sign()
    level = levels + ahead
    legal = (level >= 0) & (level <= 255)
    if not isinstance(region, L2Ball):
        legal &= region.project(level / 255, rows) == level / 255
    gain = (gradient.nan_to_num(0.0).abs() / 255 * legal).flatten(1)
    order = gain.argsort(dim=1, descending=True)
    sorted_gain = gain.gather(1, order)
    before = sorted_gain.cumsum(1) - sorted_gain
    chosen = (before < active[:, None]) & (sorted_gain > 0)
    picked = torch.zeros_like(chosen).scatter(1, order, chosen).view_as(levels)
    moved = levels + ahead * picked
    if isinstance(region, L2Ball):
        moved = _paid(moved, gradient, picked, center, region.radius[rows])
    return moved


def _paid(
    levels: Tensor, gradient: Tensor, picked: Tensor, center: Tensor, radius: Tensor
) -> Tensor:
    """`levels` with just enough other pixels a level nearer to the center to fit the radius.

    Those go first that give most room for the margin they cost.
    """
    away = levels.double() / 255 - center.double()
    inward = -(away * 255).round().sign()
    nearer = away + inward / 255
    room = (away.square() - nearer.square()).flatten(1)
    loss = (-gradient.double() * inward / 255).flatten(1)
    free = ~picked.flatten(1) & (room > 0)
    least = 1e-9 * loss.abs().amax(dim=1, keepdim=True).clamp_min(1e-300)
    worth = torch.where(free, room / torch.maximum(loss, least), -1.0)
    order = worth.argsort(dim=1, descending=True)
    gained = torch.where(free, room, 0.0).gather(1, order)
    # A little is kept back: exact arithmetic has the last word.
    short = away.flatten(1).square().sum(1) - radius**2 * (1 - 1e-12)
    chosen = (gained.cumsum(1) - gained < short[:, None]) & (gained > 0)
    back = torch.zeros_like(chosen).scatter(1, order, chosen).view_as(levels)
    return levels + (inward * back).to(levels.dtype)
