"""Adversarial examples, perturbations and patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.attacks import AdversarialPatch, AttackResult, UniversalPerturbation
from convscope.figures._curve import curve, remark
from convscope.figures._mosaic import Pixels, change_tile, pixels, to_numpy
from convscope.figures._theme import (
    GREEN,
    INK,
    MUTED,
    NARROW,
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

TONES = {"bad": RED, "good": GREEN, "": MUTED}
"""The color of an image after an attack, by `verdict`."""
MOST = 8
NAMED = 3
"""Most probable classes, before and after, that have a bar."""


def draw_attack(result: AttackResult) -> Figure:
    """Rows of original, change at full range, adversarial, and the likeliest classes."""
    rows = min(len(result), MOST)
    with look():
        drawn = figure(7.4, 1.62 * max(rows, 1) + 0.9)
        drawn.suptitle(label(attack_title(result), 90), fontsize=10, fontweight="bold")
        drawn.supxlabel(_legend(result), fontsize=SMALL)
        grid = drawn.add_gridspec(max(rows, 1), 4, width_ratios=(1, 1, 1, 1.15))
        for row in range(rows):
            before, after, tone = verdict(result, row)
            color = TONES[tone]
            tiles = (
                (pixels(result.originals[row]), before, None),
                (difference_tile(result, row), difference_words(result, row), None),
                (pixels(result.adversarials[row]), after, color),
            )
            for column, (tile, title, frame) in enumerate(tiles):
                made = axes(drawn, grid[row, column])
                made.imshow(tile, cmap="gray", vmin=0, vmax=255)
                bare(made)
                made.set_title(title, fontsize=SMALL, fontweight="normal", loc="center", pad=3)
                if frame:
                    made.title.set_color(frame)
                    made.spines[:].set(color=frame, linewidth=1.4)
            _bars(axes(drawn, grid[row, 3]), result, row, color, last=row == rows - 1)
    return drawn


def _bars(made: Axes, result: AttackResult, row: int, color: str, *, last: bool) -> None:
    """Probabilities of the likeliest classes, before the attack above and after it below."""
    found = likeliest(result, row)
    places = np.arange(len(found))
    made.barh(places - 0.2, [100 * was for _, was, _ in found], 0.36, color=SKY)
    made.barh(places + 0.2, [100 * now for _, _, now in found], 0.36, color=color)
    made.set_yticks(places, [class_label(result.class_names, k, 10) for k, _, _ in found])
    made.invert_yaxis()
    made.set_xlim(0, 100)
    made.set_xticks([0, 50, 100])
    made.tick_params(axis="y", length=0)
    if last:
        made.set_xlabel("probability, %")


def likeliest(result: AttackResult, row: int) -> list[tuple[int, float, float]]:
    """The classes most probable before or after: class, probability before, probability after."""
    before, after = result.logits_before[row].softmax(0), result.logits_after[row].softmax(0)
    top = min(NAMED, len(before))
    order = torch.maximum(before, after).argsort(descending=True, stable=True)[:top].tolist()
    return [(k, float(before[k]), float(after[k])) for k in order]


def _legend(result: AttackResult) -> str:
    """How to read a row."""
    gray = result.originals.shape[1] == 1
    colors = "orange is brighter, blue is darker" if gray else "gray is no change"
    left = f"\n{len(result) - MOST} more images are not shown" if len(result) > MOST else ""
    why = nothing_to_fool(result, MOST)
    return (
        f"before; what was added, magnified as written ({colors}); after (orange frame: fooled);"
        f"\nlikeliest classes, upper bars before, lower bars after"
        f"{f'; gray frame: {why}' if why else ''}{left}"
    )


def nothing_to_fool(result: AttackResult, shown: int) -> str:
    """Why some of the first `shown` images count neither as fooled nor as not; empty: none does."""
    if not bool(result.already_misclassified[:shown].any()):
        return ""
    return "misclassified before" if result.targets is None else "of, or at, the target before"


def difference_tile(result: AttackResult, row: int) -> Pixels:
    """What was added, magnified by `difference_factor`: the largest change has the strongest color.

    Of gray images: orange is brighter, blue is darker. Of color images: gray is no change.
    """
    change = result.perturbations[row]
    return change_tile(change, limit=float(change.nan_to_num(0.0, 0.0, 0.0).abs().max()))


def difference_factor(result: AttackResult, row: int) -> float:
    """How much a difference is magnified, so that its largest value gets the strongest color.

    That is a change of 1 for gray images, and of 0.5 for color images, whose zero is mid-gray.
    """
    change = result.perturbations[row]
    largest = float(change.nan_to_num(0.0, 0.0, 0.0).abs().max())
    return (1.0 if len(change) == 1 else 0.5) / largest if largest > 0 else 1.0


def difference_words(result: AttackResult, row: int) -> str:
    """The factor of a difference, to be written under it, or that there is none."""
    if not bool((result.perturbations[row] != 0).any()):
        return "no change"
    factor = difference_factor(result, row)
    return f"{factor:,.0f} ×" if factor >= 100 else f"{factor:.3g} ×"


def verdict(result: AttackResult, row: int, limit: int = 14) -> tuple[str, str, str]:
    """Predictions before and after, and the tone of what came of it.

    That is ``"bad"`` where the attack fooled the network, ``"good"`` where it did not, and empty
    where there was nothing to fool: the image was misclassified, or at the target, before.
    """
    before, after = result.logits_before[row], result.logits_after[row]
    texts = [
        f"{class_label(result.class_names, int(logits.argmax()), limit)}"
        f" {percent(float(logits.softmax(dim=0).max()))}"
        for logits in (before, after)
    ]
    return texts[0], texts[1], tone_of(result, row)


def tone_of(result: AttackResult, row: int) -> str:
    """``"bad"``, ``"good"`` or empty, as for `verdict`."""
    if bool(result.already_misclassified[row]):
        return ""
    return "bad" if bool(result.success[row]) else "good"


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
        drawn = figure(NARROW, 2.9)
        _errors(drawn, 111, result)
    return drawn


def noise_success_curve(result: UniversalPerturbation) -> Figure:
    """Share of held-out images predicted as the target, per class and on average."""
    with look():
        drawn = figure(NARROW, 2.9)
        _rates(drawn, 111, result)
    return drawn


def noise_tile(result: UniversalPerturbation, target: int) -> Pixels:
    """A noise as native pixels: signed colors for one channel, gray as zero for color."""
    return change_tile(result.noises[target], limit=float(result.noises.abs().max()))


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
    made = axes(drawn, where, title="Predicted as the target, %", x="step", grid="y")
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
