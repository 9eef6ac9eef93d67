"""Adversarial examples, perturbations and patches."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from convscope.attacks import AdversarialPatch, AttackResult, UniversalPerturbation
from convscope.figures._curve import curve, remark
from convscope.figures._mosaic import Pixels, heat, pixels, to_numpy
from convscope.figures._theme import (
    GREEN,
    INK,
    RED,
    SKY,
    SMALL,
    axes,
    bare,
    class_label,
    figure,
    label,
    look,
    percent,
)

MOST = 8
MAGNIFIED = 10.0
"""How much differences are enlarged beside their true size."""


def draw_attack(result: AttackResult) -> Figure:
    """Rows of original, adversarial, difference, and the difference ten times as strong."""
    rows = min(len(result), MOST)
    with look():
        drawn = figure(6.2, 1.62 * max(rows, 1) + 0.7)
        drawn.suptitle(label(attack_title(result), 90), fontsize=10, fontweight="bold")
        drawn.supxlabel(_legend(result), fontsize=SMALL)
        grid = drawn.add_gridspec(max(rows, 1), 4)
        for row in range(rows):
            before, after, success = verdict(result, row)
            tiles = (
                (pixels(result.originals[row]), before, None),
                (pixels(result.adversarials[row]), after, RED if success else GREEN),
                (difference_tile(result, row, 1.0), "difference", None),
                (difference_tile(result, row, MAGNIFIED), f"{MAGNIFIED:g} x", None),
            )
            for column, (tile, title, color) in enumerate(tiles):
                made = axes(drawn, grid[row, column])
                made.imshow(tile, cmap="gray", vmin=0, vmax=255)
                bare(made)
                made.set_title(title, fontsize=SMALL, fontweight="normal", loc="center", pad=3)
                if color:
                    made.title.set_color(color)
                    made.spines[:].set(color=color, linewidth=1.4)
    return drawn


def _legend(result: AttackResult) -> str:
    """How to read a row."""
    gray = result.originals.shape[1] == 1
    colors = "red is brighter, blue is darker" if gray else "gray is no change"
    left = f"\n{len(result) - MOST} more images are not shown" if len(result) > MOST else ""
    words = f"before, after (red: fooled), what was added ({colors}),"
    return f"{words}\nand the same ten times as strong{left}"


def difference_tile(result: AttackResult, row: int, times: float) -> Pixels:
    """What was added, `times` as strong: gray stays, brighter is more, darker is less."""
    moved = result.perturbations[row] * times
    if moved.shape[0] == 1:
        return heat(moved[0], signed=True, limit=1.0)
    return pixels(moved / 2 + 0.5)


def verdict(result: AttackResult, row: int, limit: int = 14) -> tuple[str, str, bool]:
    """Predictions before and after, and whether that is a success of the attack."""
    before, after = result.logits_before[row], result.logits_after[row]
    texts = [
        f"{class_label(result.class_names, int(logits.argmax()), limit)}"
        f" {percent(float(logits.softmax(dim=0).max()))}"
        for logits in (before, after)
    ]
    return texts[0], texts[1], bool(result.success[row])


def attack_title(result: AttackResult) -> str:
    """Method, budget and success in one line."""
    parts = [result.method]
    if result.epsilon is not None:
        sign = {"linf": "L∞", "l2": "L2"}.get(result.norm or "", "")
        parts.append(f"{sign} ≤ {budget(result.epsilon)}")
    rate = result.success_rate
    if rate == rate:
        parts.append(f"{percent(rate)} of {int((~result.already_misclassified).sum())} fooled")
    return ", ".join(parts)


def budget(epsilon: float) -> str:
    """``8/255`` where epsilon is a whole number of gray levels below 32, else decimals.

    Example:
        >>> budget(8 / 255), budget(0.3)
        ('8/255', '0.3')
    """
    levels = epsilon * 255
    if 0 < round(levels) < 32 and abs(levels - round(levels)) < 1e-4:
        return f"{round(levels)}/255"
    return f"{epsilon:.4g}"


COLUMNS = 10
MOST_CURVES = 12


def draw_universal_noise(result: UniversalPerturbation) -> Figure:
    """The noise of each class with its success, and error and success over the steps."""
    count = len(result.noises)
    columns = min(count, COLUMNS)
    lines = -(-count // columns)
    with look():
        drawn = figure(max(7.0, 0.98 * columns), 1.25 * lines + 3.0)
        title = "noise" if result.epsilon is None else f"noise, L∞ ≤ {budget(result.epsilon)}"
        drawn.suptitle(
            f"{title}: {percent(float(result.rates.mean()))} predicted as the target",
            fontsize=10,
            fontweight="bold",
        )
        grid = drawn.add_gridspec(lines + 1, 1, height_ratios=[1.0] * lines + [2.3])
        for line in range(lines):
            row = grid[line].subgridspec(1, columns)
            for column in range(min(columns, count - line * columns)):
                i = line * columns + column
                made = axes(drawn, row[column])
                made.imshow(noise_tile(result, i), cmap="gray", vmin=0, vmax=255)
                bare(made)
                name = class_label(result.class_names, int(result.targets[i]), 9)
                made.set_title(
                    f"{name}\n{percent(float(result.rates[i]), 0)}",
                    fontsize=SMALL,
                    fontweight="normal",
                    loc="center",
                    pad=3,
                )
        curves = grid[lines].subgridspec(1, 2)
        _errors(drawn, curves[0], result)
        _rates(drawn, curves[1], result)
    return drawn


def noise_error_curve(result: UniversalPerturbation) -> Figure:
    """Mean error on training and held-out images over the steps."""
    with look():
        drawn = figure(5.2, 3.0)
        _errors(drawn, 111, result)
    return drawn


def noise_success_curve(result: UniversalPerturbation) -> Figure:
    """Share of held-out images predicted as the target, per class and on average."""
    with look():
        drawn = figure(5.2, 3.0)
        _rates(drawn, 111, result)
    return drawn


def noise_tile(result: UniversalPerturbation, target: int) -> Pixels:
    """A noise as native pixels: signed colors for one channel, gray as zero for color."""
    noise = result.noises[target]
    top = float(result.noises.abs().max()) or 1.0
    if noise.shape[0] == 1:
        return heat(noise[0], signed=True, limit=top)
    return pixels(noise / (2 * top) + 0.5)


def draw_patch(result: AdversarialPatch) -> Figure:
    """Patches, an image with each, and how often they work against a gray square."""
    count = min(len(result.patches), COLUMNS)
    with look():
        drawn = figure(max(5.0, 1.0 * count + 0.4), 4.4)
        grid = drawn.add_gridspec(3, count, height_ratios=(1, 1, 1.5))
        for i in range(count):
            for line, images in enumerate((result.patches, result.examples)):
                made = axes(drawn, grid[line, i])
                made.imshow(pixels(images[i]), cmap="gray", vmin=0, vmax=255)
                bare(made)
                if line == 0:
                    name = class_label(result.class_names, int(result.targets[i]), 9)
                    made.set_title(name, fontsize=SMALL, fontweight="normal", loc="center", pad=3)
        made = axes(drawn, grid[2, :], y="predicted as the target, %", grid="y")
        places = np.arange(count)
        made.bar(places - 0.2, 100 * to_numpy(result.rates[:count]), 0.38, color=RED, label="patch")
        made.bar(places + 0.2, 100 * to_numpy(result.plain_rates[:count]), 0.38, color=SKY,
                 label="gray square")  # fmt: skip
        made.set_xticks([])
        made.set_ylim(0, 105)
        made.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2)
    return drawn


def _errors(drawn: Figure, where: Any, result: UniversalPerturbation) -> None:
    made = axes(drawn, where, title="Error", x="step", y="mean −log p(target)", grid="y")
    training = to_numpy(result.training_error.double())
    held = to_numpy(result.validation_error.double())
    missing = [
        curve(made, range(len(training)), _mean(training), name="training"),
        curve(made, to_numpy(result.validation_steps), _mean(held), series=1, markers=True,
              name="held out"),
    ]  # fmt: skip
    made.legend()
    remark(made, missing, len(training) + len(held))


def _rates(drawn: Figure, where: Any, result: UniversalPerturbation) -> None:
    made = axes(drawn, where, title="Read as the target, %", x="step", grid="y")
    steps = to_numpy(result.validation_steps)
    rates = 100 * to_numpy(result.validation_rates.double())
    for i in range(min(rates.shape[1], MOST_CURVES)):
        curve(made, steps, rates[:, i], series=i, alpha=0.55,
              name=class_label(result.class_names, int(result.targets[i]), 12))  # fmt: skip
    made.plot(steps, _mean(rates), color=INK, linewidth=2.4, label="mean")
    made.set_ylim(-2, 102)
    if rates.shape[1] <= MOST_CURVES:
        made.legend(fontsize=SMALL, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _mean(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
