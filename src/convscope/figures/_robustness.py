"""How much it takes to fool a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.figures._attacks import budget
from convscope.figures._curve import curve
from convscope.figures._mosaic import change_tile, pixels, to_numpy
from convscope.figures._theme import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    NARROW,
    ON_DARK,
    ON_LIGHT,
    PAPER,
    RED,
    SHARES,
    SKY,
    SMALL,
    axes,
    bare,
    class_label,
    figure,
    label,
    look,
    note,
    percent,
)
from convscope.robustness import (
    Certification,
    DefenseComparison,
    ModelTransfer,
    NoiseTransfer,
    RobustnessCurve,
    RobustnessEvaluation,
    TransformationRobustness,
)
from convscope.stats import wilson

SIGNS = {"linf": "L∞", "l2": "L2"}
OTHERS = 2
"""Other images that are shown with each noise."""

WORST = 24
"""Rows or columns up to which a matrix is drawn cell by cell."""


def draw_robustness_curve(result: RobustnessCurve) -> Figure:
    """Accuracy against the size of the perturbation, with its 95 % interval."""
    with look():
        drawn = figure(NARROW, 3.0)
        x = f"largest change of a pixel, {SIGNS.get(result.norm, '')} ε"
        if result.norm == "l2":
            x = "size of the change, L2 ε"
        title = label(result.attack, 60)
        made = axes(drawn, x=x, y="classified correctly, %", grid="y", title=title)
        n = len(result.labels)
        if not n:
            note(made, "no images")
            return drawn
        values = to_numpy(result.epsilons.double())
        shares = to_numpy(result.accuracies.double())
        bounds = np.array([wilson(round(share * n), n) for share in shares])
        made.fill_between(
            values, 100 * bounds[:, 0], 100 * bounds[:, 1], color=SKY, alpha=0.3, lw=0
        )
        curve(made, values, 100 * shares, markers=True, name=f"{n:,} images, 95 % interval")
        made.set_ylim(-2, 102)
        made.legend()
    return drawn


def draw_robustness_evaluation(result: RobustnessEvaluation) -> Figure:
    """Robust accuracy after each attack of the suite."""
    with look():
        drawn = figure(NARROW, max(3.0, 0.34 * (len(result.suite) + 1) + 1.1))
        sign = SIGNS.get(result.norm, "")
        title = f"{sign} ≤ {budget(result.epsilon)}, effort {label(result.effort)}"
        made = axes(drawn, title=title, x="images still classified correctly, %", grid="x")
        names = ["no attack", *(label(stage.attack, 26) for stage in result.suite)]
        shares = [result.clean_accuracy, *(stage.robust for stage in result.suite)]
        places = range(len(names))
        made.barh(places, [100 * s for s in shares], height=0.62, color=[SKY] + [BLUE] * 99)
        last = len(names) - 1
        made.hlines(last, 100 * result.low, 100 * result.high, color=INK, linewidth=1.4)
        for place, share in zip(places, shares, strict=True):
            made.text(101, place, percent(share), va="center", fontsize=SMALL)
        made.set_yticks(places, names)
        made.invert_yaxis()
        made.set_xlim(0, 112)
        made.set_xticks([0, 20, 40, 60, 80, 100])
        made.tick_params(axis="y", length=0)
    return drawn


def draw_transformation_robustness(result: TransformationRobustness) -> Figure:
    """Do adversarials still fool when the image is mirrored, cropped, turned, grayed?"""
    rows = min(len(result.labels), 4)
    columns = len(result.names)
    with look():
        drawn = figure(1.35 * columns + 0.4, 1.6 * rows + 2.3)
        grid = drawn.add_gridspec(rows + 1, columns, height_ratios=[1.0] * rows + [1.3])
        for row in range(rows):
            for column, name in enumerate(result.names):
                made = axes(drawn, grid[row, column])
                made.imshow(pixels(result.transformed[column, row]), cmap="gray", vmin=0, vmax=255)
                bare(made)
                read = class_label(
                    result.class_names, int(result.adversarials_predicted[column, row]), 12
                )
                share = percent(float(result.adversarials_probabilities[column, row]), 0)
                head = f"{label(name, 16)}\n" if row == 0 else ""
                made.set_title(
                    f"{head}{read} {share}", fontsize=SMALL, fontweight="normal", pad=3,
                    loc="center",
                    color=RED if bool(result.still_adversarial[column, row]) else GREEN,
                )  # fmt: skip
        made = axes(drawn, grid[rows, :], y="still fooled, %", grid="y")
        made.bar(range(columns), 100 * to_numpy(result.rates), width=0.6, color=RED)
        made.set_xticks(range(columns), [label(name, 16) for name in result.names])
        made.set_ylim(0, 105)
        made.tick_params(axis="x", length=0)
    return drawn


def draw_noise_transfer(result: NoiseTransfer) -> Figure:
    """Each noise, two other images with it, and how often it works."""
    count = min(len(result.noises), 12)
    others = min(len(result.labels), OTHERS)
    with look():
        drawn = figure(max(4.5, 1.05 * count + 0.6), 2.9 + 1.25 * (others + 1))
        if not count:
            note(axes(drawn), "no noises")
            return drawn
        grid = drawn.add_gridspec(others + 2, count, height_ratios=[1.0] * (others + 1) + [1.5])
        top = float(result.noises.abs().max())
        for i in range(count):
            target = int(result.noise_targets[i])
            name = "away" if target < 0 else f"to {class_label(result.class_names, target, 9)}"
            _small(axes(drawn, grid[0, i]), change_tile(result.noises[i], limit=top), name, INK)
            for k in range(others):
                row = (i + 1 + k) % len(result.labels)
                carried = (result.images[row] + result.noises[i]).clamp(0, 1)
                true, read = int(result.labels[row]), int(result.predicted[i, row])
                names = [class_label(result.class_names, c, 7) for c in (true, read)]
                color = RED if read != true else GREEN
                _small(axes(drawn, grid[1 + k, i]), pixels(carried), "\n→ ".join(names), color)
        made = axes(drawn, grid[others + 1, :], y="images, %", grid="y")
        places = np.arange(count)
        made.bar(places - 0.2, 100 * to_numpy(result.target_rates[:count]), 0.38, color=RED,
                 label="predicted as the target")  # fmt: skip
        made.bar(places + 0.2, 100 * to_numpy(result.error_rates[:count]), 0.38, color=SKY,
                 label="misclassified")  # fmt: skip
        made.set_xticks([])
        made.set_ylim(0, 105)
        made.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2)
        gray = result.noises.shape[1] == 1
        colors = "orange is brighter, blue is darker" if gray else "gray is no change"
        drawn.supxlabel(f"noises ({colors});\nother images with them: true → predicted as",
                        fontsize=SMALL)  # fmt: skip
    return drawn


def _small(made: Axes, tile: Any, title: str, color: str) -> None:
    made.imshow(tile, cmap="gray", vmin=0, vmax=255)
    bare(made)
    made.set_title(title, fontsize=SMALL, fontweight="normal", loc="center", pad=3, color=color)


def draw_model_transfer(result: ModelTransfer) -> Figure:
    """Made on one network, shown to another: the share fooled."""
    with look():
        size = len(result.names)
        drawn = figure(max(4.6, min(9.0, 2.6 + 0.75 * size)), min(8.0, 1.6 + 0.6 * size))
        parts = [f"% fooled by {result.attack}"]
        if result.epsilon is not None:
            parts.append(f"{SIGNS.get(result.norm or '', '')} ≤ {budget(result.epsilon)}")
        title = label(", ".join([*parts, f"{result.images:,} images"]), 60)
        made = axes(drawn, title=title, x="shown to", y="made on")
        if size > WORST:
            note(made, f"{size} networks are too many to draw")
            return drawn
        _shares(made, result.rates, [label(n, 18) for n in result.names],
                [label(n, 18) for n in result.names])  # fmt: skip
    return drawn


def draw_certification(result: Certification) -> Figure:
    """Certified accuracy: the share that provably keeps its right answer within a radius."""
    with look():
        drawn = figure(NARROW, 3.0)
        title = f"noise σ = {result.std:g}, n = {result.draws:,}, α = {result.alpha:g}"
        made = axes(drawn, title=title, x="radius, L2", y="certified and right, %", grid="y")
        if not len(result.labels):
            note(made, "no images")
            return drawn
        top = float(result.radii.max()) or 1.0
        radii = torch.linspace(0, 1.02 * top, 160, dtype=torch.float64)
        curve(made, to_numpy(radii), 100 * to_numpy(result.curve(radii).double()),
              name=f"{len(result.labels):,} images", drawstyle="steps-post")  # fmt: skip
        made.set_ylim(-2, 102)
        made.legend()
    return drawn


def draw_defenses(result: DefenseComparison) -> Figure:
    """Defenses side by side: without attack, under transferred and under adaptive attacks."""
    with look():
        count = len(result.rows)
        drawn = figure(max(NARROW, 0.85 * count), 3.4)
        title = (
            f"{label(result.attack, 30)}, {SIGNS.get(result.norm, '')} ≤ {budget(result.epsilon)}"
        )
        made = axes(drawn, title=title, y="classified correctly, %", grid="y")
        places = np.arange(count)
        bars = (
            ("no attack", [r.clean for r in result.rows], SKY, SKY),
            ("transferred attack (do not trust)", [r.transfer for r in result.rows], PAPER, MUTED),
            ("adaptive attack", [r.adaptive for r in result.rows], BLUE, BLUE),
        )
        for i, (name, values, color, edge) in enumerate(bars):
            made.bar(
                places + 0.27 * (i - 1),
                [100 * v for v in values],
                0.24,
                color=color,
                edgecolor=edge,
                linestyle="--" if edge == MUTED else "-",
                label=name,
            )
        names = [label(r.defense, 22) for r in result.rows]
        turned = max(map(len, names), default=0) > 10
        made.set_xticks(places, names, rotation=30 if turned else 0,
                        ha="right" if turned else "center", rotation_mode="anchor")  # fmt: skip
        made.set_ylim(0, 105)
        made.tick_params(axis="x", length=0)
        drawn.legend(loc="outside lower center", fontsize=SMALL)
    return drawn


def _shares(made: Axes, values: Any, rows: list[str], columns: list[str]) -> None:
    """Cells shaded by a share between 0 and 1, with its percent."""
    array = to_numpy(values).astype(float)
    made.imshow(np.nan_to_num(array), cmap=SHARES, vmin=0, vmax=1, aspect="auto")
    for (i, j), share in np.ndenumerate(array):
        text = "–" if np.isnan(share) else f"{100 * share:.0f}"
        color = ON_DARK if share > 0.6 else ON_LIGHT
        made.text(j, i, text, ha="center", va="center", fontsize=SMALL, color=color)
    made.set_xticks(range(len(columns)), columns, rotation=30, ha="right", rotation_mode="anchor")
    made.set_yticks(range(len(rows)), rows)
    made.tick_params(length=0)
    made.spines[:].set_visible(False)
