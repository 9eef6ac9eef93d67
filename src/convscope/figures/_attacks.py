"""Images before and after an attack, and what was added."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from convscope.attacks import AttackResult
from convscope.figures._curve import curve, remark
from convscope.figures._mosaic import Pixels, heat, pixels
from convscope.figures._text import class_label, label, percent
from convscope.figures._theme import GREEN, RED, axes, bare, figure, look

MOST = 8
MAGNIFIED = 10.0
"""How much differences are enlarged beside their true size."""


def draw_attack(result: AttackResult) -> Figure:
    """Rows of original, adversarial, difference, and the difference ten times as strong."""
    rows = min(len(result), MOST)
    with look():
        drawn = figure(6.2, 1.62 * max(rows, 1) + 0.7)
        drawn.suptitle(label(attack_title(result), 90), fontsize=10, fontweight="bold")
        drawn.supxlabel(_legend(result), fontsize=7.5)
        grid = drawn.add_gridspec(max(rows, 1), 4)
        for row in range(rows):
            before, after, fooled = verdict(result, row)
            tiles = (
                (pixels(result.originals[row]), before, None),
                (pixels(result.adversarials[row]), after, RED if fooled else GREEN),
                (difference_tile(result, row, 1.0), "difference", None),
                (difference_tile(result, row, MAGNIFIED), f"{MAGNIFIED:g} x", None),
            )
            for column, (tile, title, color) in enumerate(tiles):
                made = axes(drawn, grid[row, column])
                made.imshow(tile, cmap="gray", vmin=0, vmax=255)
                bare(made)
                made.set_title(title, fontsize=7.5, fontweight="normal", loc="center", pad=3)
                if color:
                    made.title.set_color(color)
                    made.spines[:].set(color=color, linewidth=1.4)
    return drawn


def _legend(result: AttackResult) -> str:
    """How to read a row."""
    gray = result.originals.shape[1] == 1
    colors = "red is brighter, blue is darker" if gray else "gray is no change"
    left = f"\n{len(result) - MOST} more images are not shown" if len(result) > MOST else ""
    return f"before, after (red: fooled), what was added ({colors}), ten times as strong{left}"


def objective_curve(result: AttackResult) -> Figure:
    """The objective of the attacked images over the steps: median, and the middle half."""
    with look():
        drawn = figure(5.2, 3.0)
        made = axes(drawn, title="Objective", x="step", y="objective", grid="y")
        history = result.history.double().numpy()
        if history.size:
            # A row that is done leaves: its last value stands for it from then on.
            filled = _carried(history)
            middle = np.nanmedian(filled, axis=1)
            low, high = np.nanquantile(filled, (0.25, 0.75), axis=1)
            made.fill_between(range(len(middle)), low, high, color="#0068ad", alpha=0.18, lw=0)
            missing = [curve(made, range(len(middle)), middle, name="median")]
            made.legend()
            remark(made, missing, len(middle))
        else:
            remark(made, [], 0)
    return drawn


def difference_tile(result: AttackResult, row: int, times: float) -> Pixels:
    """What was added, `times` as strong: gray stays, brighter is more, darker is less."""
    moved = result.perturbations[row] * times
    if moved.shape[0] == 1:
        return heat(moved[0], signed=True, limit=1.0)
    return pixels(moved / 2 + 0.5)


def verdict(result: AttackResult, row: int, limit: int = 14) -> tuple[str, str, bool]:
    """What the image was read as before and after, and whether that is a success of the attack."""
    before, after = result.logits_before[row], result.logits_after[row]
    texts = [
        f"{class_label(result.class_names, int(logits.argmax()), limit)}"
        f" {percent(float(logits.softmax(dim=0).max()))}"
        for logits in (before, after)
    ]
    return texts[0], texts[1], bool(result.fooled[row])


def attack_title(result: AttackResult) -> str:
    """Method, budget and success in one line."""
    parts = [result.method]
    if result.epsilon is not None:
        sign = {"linf": "L∞", "l2": "L2"}.get(result.norm or "", "")
        parts.append(f"{sign} ≤ {budget(result.epsilon)}")
    rate = result.success_rate
    if rate == rate:
        parts.append(f"{percent(rate)} of {int((~result.trivial).sum())} fooled")
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


def _carried(history: np.ndarray) -> np.ndarray:
    """NaN replaced by the last number before it in the same column."""
    rows = np.where(~np.isnan(history), np.arange(len(history))[:, None], 0)
    np.maximum.accumulate(rows, axis=0, out=rows)
    return np.take_along_axis(history, rows, axis=0)
