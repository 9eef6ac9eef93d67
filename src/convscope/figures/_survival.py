"""Fooled photos as they were saved, and what is left of them after transformations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from convscope.attacks import AttackResult
from convscope.figures._attacks import (
    MOST,
    TONES,
    attack_title,
    difference_tile,
    difference_words,
    verdict,
)
from convscope.figures._mosaic import pixels, to_numpy
from convscope.figures._theme import NARROW, RED, SKY, SMALL, axes, bare, figure, label, look, note
from convscope.robustness import Survival


def draw_fooled(result: AttackResult) -> Figure:
    """Rows of image, what was added, and their sum as saved: each with class and probability.

    Everything is that of the 8-bit images. The factor by which the change is magnified stands
    above it.
    """
    result = as_saved(result)
    rows = min(len(result), MOST)
    with look():
        drawn = figure(5.8, 1.85 * max(rows, 1) + 0.7)
        drawn.suptitle(label(attack_title(result), 60), fontsize=10, fontweight="bold")
        left = f"; {len(result) - MOST} more are not shown" if len(result) > MOST else ""
        drawn.supxlabel(f"image, what was added (magnified), sum as saved in 8 bits{left}",
                        fontsize=SMALL)  # fmt: skip
        grid = drawn.add_gridspec(max(rows, 1), 3)
        for row in range(rows):
            before, after, tone = verdict(result, row, 20)
            tiles = (
                (pixels(result.originals[row]), before, None),
                (difference_tile(result, row), difference_words(result, row), None),
                (pixels(result.adversarials[row]), after, TONES[tone]),
            )
            for column, (tile, title, frame) in enumerate(tiles):
                made = axes(drawn, grid[row, column])
                made.imshow(tile, cmap="gray", vmin=0, vmax=255)
                bare(made)
                made.set_title(title, fontsize=SMALL, fontweight="normal", loc="center", pad=3)
                if frame:
                    made.title.set_color(frame)
                    made.spines[:].set(color=frame, linewidth=1.4)
    return drawn


def draw_survival(result: Survival) -> Figure:
    """Probability of the target after each transformation: plain against made to survive."""
    names = result.plain_transformed.names
    with look():
        drawn = figure(NARROW, 3.2)
        made = axes(drawn, y="probability of the target, %", grid="y", title=_title(result))
        if not len(result.plain):
            note(made, "no images")
            return drawn
        places = np.arange(len(names))
        for offset, found, color, name in (
            (-0.2, result.plain_transformed, SKY, "plain"),
            (0.2, result.eot_transformed, RED, "over transformations"),
        ):
            shares = 100 * to_numpy(found.target_probabilities.double())
            made.bar(places + offset, shares.mean(axis=1), 0.38, color=color, label=name)
            for i, values in enumerate(shares):
                at = np.full(len(values), places[i] + offset)
                made.scatter(at, values, s=9, color="black", alpha=0.6, linewidths=0)
        made.set_xticks(places, [label(name, 12) for name in names])
        made.set_ylim(0, 105)
        made.tick_params(axis="x", length=0)
        made.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)
        drawn.supxlabel("bars: means, dots: images", fontsize=SMALL)
    return drawn


def as_saved(result: AttackResult) -> AttackResult:
    """The same with the 8-bit images, and what the network says of them, in place of floats."""
    return replace(
        result,
        adversarials=result.quantized.to(result.originals.dtype) / 255,
        logits_after=result.logits_quantized,
    )


def _title(result: Survival) -> str:
    plain, eot = result.mean_probabilities
    return f"mean {100 * plain:.1f} %, made to survive {100 * eot:.1f} %"
