"""Results of attacking and judging: a page or a folder, tables, and words for people."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from convscope import results
from convscope.attacks import AttackResult
from convscope.errors import ResourceError
from convscope.figures import (
    budget,
    difference_tile,
    difference_words,
    draw,
    has_figure,
    likeliest,
    nothing_to_fool,
    percent,
    png,
    svg,
    tone_of,
    verdict,
)
from convscope.files import plain_json
from convscope.pages._write import (
    fresh_folder,
    keep_image,
    levels_of,
    name_of,
    save_figure,
    screen_scale,
    shown_name,
    write_csv,
    write_page,
)
from convscope.reports import Report

MOST_ON_PAGE = 32
"""Images shown on one page; the table and the folder have all of them."""


def write_result(
    result: Any,
    names: tuple[str, ...],
    out: Path,
    *,
    force: bool = False,
    known: bool = True,
    formats: Sequence[str] = ("png",),
) -> None:
    """A page if `out` ends in ``.html``, else a folder.

    Args:
        result: Of an attack, or of judging.
        names: One per image.
        out: Where to.
        force: Write over what is there.
        known: Whether the labels are true classes; else they are predictions, and called so.
        formats: Of the figure in a folder: ``png``, ``svg``, ``pdf``.

    Raises:
        UsageError: U13 if `out` is taken.
        ResourceError: If the disk refuses.
    """
    page = out.suffix.lower() == ".html"
    if isinstance(result, AttackResult):
        if page:
            _write_attack_page(result, names, out, force=force, known=known)
        else:
            _write_attack_folder(result, names, out, force=force, known=known, formats=formats)
    elif page:
        _write_plain_page(result, out, force=force)
    else:
        _write_plain_folder(result, out, force=force, formats=formats)


def spoken(result: Any) -> dict[str, str]:
    """The numbers of a result for people: words instead of names of fields, shares in percent.

    Every share says of what, every count how many of how many; `summary` is for machines.
    """
    if isinstance(result, AttackResult):
        return _spoken_attack(result)
    told = {}
    for key, value in result.summary().items():
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        words = WORDS.get(key, key.replace("_", " "))
        if isinstance(value, float) and key in SHARES:
            told[words] = _percent(value)
        else:
            told[words] = f"{value:,}" if isinstance(value, int) else _plain(value)
    return told


WORDS = {
    "success_rate": "predicted as the target, of held-out images of other classes "
    "(mean of all classes)",
    "forwards_per_image": "forward passes per image",
    "backwards_per_image": "backward passes per image",
    "clean_accuracy": "accuracy without an attack",
    "robust_accuracy": "accuracy under all attacks",
    "nonfinite": "images with NaN or infinite logits",
}
"""What people are told instead of the names of fields; other names lose their underscores."""

SHARES = ("success_rate", "clean_accuracy", "robust_accuracy")


FEW = 4
"""So many images or fewer are told one by one."""


def _spoken_attack(result: AttackResult) -> dict[str, str]:
    s = result.summary()
    count, task = len(result), int((~result.already_misclassified).sum())

    def of(hits: int, among: int, what: str) -> str:
        return f"{_percent(hits / among if among else float('nan'))} ({hits:,} of {among:,} {what})"

    tasks = ~result.already_misclassified
    hit, quantized = result.success & tasks, result.success_quantized & tasks
    if result.targets is None:
        among, why = "images that were classified correctly before", "misclassified before"
    else:
        among, why = "images that were not the target already", "of, or at, the target before"
    told = {"images": f"{count:,}"}
    if result.targets is not None and count and bool((result.targets == result.targets[0]).all()):
        target = int(result.targets[0])
        told["target"] = f"{target} {name_of(result.class_names, target)!r}"
    told |= {
        "fooled": of(int(hit.sum()), task, among),
        "fooled as 8-bit images": of(int(quantized.sum()), task, among),
        "nothing to fool": f"{s['already_misclassified']:,} of {count:,} images ({why})",
        "wrong before the attack": of(int(result.wrong_before.sum()), count, "images"),
        "wrong after the attack": of(int(result.wrong_after.sum()), count, "images"),
    }
    if count <= FEW:
        for row in range(count):
            which = "prediction" if count == 1 else f"prediction of image {row + 1}"
            told[which] = " -> ".join(
                _prediction(logits[row], result.class_names)
                for logits in (result.logits_before, result.logits_after)
            )
    if s["nonfinite"]:
        told["NaN or infinite logits"] = f"{s['nonfinite']:,} of {count:,} images"
    if s["target_probability"] is not None:
        told["probability of the target"] = f"{_percent(s['target_probability'])} (median)"
    sign = {"linf": "L∞", "l2": "L2"}.get(result.norm or "", "")
    told["budget"] = "none" if result.epsilon is None else f"{sign} ≤ {budget(result.epsilon)}"
    for words, ending in (("", ""), (" as 8-bit images", "_quantized")):
        linf, l2 = s[f"median_linf{ending}"], s[f"median_l2{ending}"]
        if linf is not None:
            told[f"distance of fooled images{words}"] = f"L∞ {linf:.4g}, L2 {l2:.4g} (medians)"
    told["steps"] = f"{s['mean_steps']:.1f} per image (mean)"
    told["work"] = (
        f"{s['forwards_per_image']:.1f} forward and {s['backwards_per_image']:.1f} backward passes "
        f"per image, {s['seconds']:.1f} s"
    )
    return told


def _prediction(logits: Tensor, names: Sequence[str]) -> str:
    number = int(logits.argmax())
    return f"{name_of(tuple(names), number)!r} {_percent(float(logits.softmax(dim=0).max()))}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share == share else "no images to count"


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def attack_rows(
    result: AttackResult, names: tuple[str, ...], *, known: bool
) -> list[dict[str, Any]]:
    """One line per image: predicted as what, before and after, and at what distance.

    An image with nothing to fool (``"no task"``) is never ``"fooled"``: the column adds up to what
    `spoken` and the success rate count. Without `known` labels there is no column of true classes:
    a prediction is none.
    """
    before, after = result.logits_before.softmax(1), result.logits_after.softmax(1)
    linf, l2 = result.distance("linf"), result.distance("l2")
    linf_quantized, l2_quantized = (
        result.distance_quantized("linf"),
        result.distance_quantized("l2"),
    )
    already = result.already_misclassified
    fooled, quantized = result.success & ~already, result.success_quantized & ~already
    rows = []
    for i, name in enumerate(names):
        was, now = int(before[i].argmax()), int(after[i].argmax())
        row: dict[str, Any] = {"image": name}
        if known:
            row["true"] = name_of(result.class_names, int(result.labels[i]))
        if result.targets is not None:
            row["target"] = name_of(result.class_names, int(result.targets[i]))
        row |= {
            "before": name_of(result.class_names, was),
            "probability before": float(before[i, was]),
            "after": name_of(result.class_names, now),
            "probability after": float(after[i, now]),
            "fooled": bool(fooled[i]),
            "fooled as 8 bits": bool(quantized[i]),
            "no task": bool(already[i]),
            "linf": float(linf[i]),
            "l2": float(l2[i]),
            "linf as 8 bits": float(linf_quantized[i]),
            "l2 as 8 bits": float(l2_quantized[i]),
            "steps": int(result.steps[i]),
        }
        rows.append(row)
    return rows


def _write_attack_folder(
    result: AttackResult,
    names: tuple[str, ...],
    out: Path,
    *,
    force: bool,
    known: bool,
    formats: Sequence[str],
) -> None:
    """Pictures (``adversarial-0000.png``), a figure, a table and the whole result."""
    with fresh_folder(out, force=force) as folder:
        save_adversarials(result, folder)
        save_figure(draw(result), folder / "figure", formats)
        write_csv(folder / "images.csv", attack_rows(result, names, known=known))
        results.save(result, folder / "result", force=force)


def save_adversarials(result: AttackResult, folder: Path, name: str = "adversarial") -> None:
    """Pictures ``adversarial-0000.png``: the 8-bit images that were judged; each is read again.

    Raises:
        ResourceError: If one is not what was judged.
    """
    for row, image in enumerate(result.quantized):
        levels = levels_of(image)
        path = folder / f"{name}-{row:04d}.png"
        Image.fromarray(levels).save(path)
        with Image.open(path) as file:
            if not np.array_equal(np.asarray(file), levels):
                raise ResourceError("was not written as it should be", where=path)


def _write_attack_page(
    result: AttackResult, names: tuple[str, ...], out: Path, *, force: bool, known: bool
) -> None:
    """Images before and after, differences, and a table."""
    names = tuple(map(shown_name, names))
    report = Report(title=f"Adversarial examples by {result.method}")
    section = report.section(
        "images", "Before and after", "Pictures are the 8-bit images, as they were judged again."
    )
    section.finding = _finding(result)
    if not known:
        section.note("True classes are not known: the predictions before stand for them.")
    for flag in result.flags:
        section.note(str(flag), level="warning")
    rows = []
    for row in range(min(len(result), MOST_ON_PAGE)):
        before, after, tone = verdict(result, row, 40)
        before, after = before.replace("\\$", "$"), after.replace("\\$", "$")
        original = keep_image(section, f"original-{row}", result.originals[row])
        saved = keep_image(section, f"adversarial-{row}", result.quantized[row])
        cells: list[dict[str, Any]] = [
            {"file": original, "alt": f"{names[row]} before", "detail": before},
            {
                "file": saved,
                "alt": f"{names[row]} after",
                "detail": after,
                "tone": tone,
            },
        ]
        change = section.image(f"difference-{row}", png(difference_tile(result, row)))
        words = difference_words(result, row)
        cells.insert(1, {"file": change, "alt": "what was added", "detail": words})
        cells.append(probability_bars(result, row))
        rows.append({"title": names[row], "cells": cells})
    why = nothing_to_fool(result, MOST_ON_PAGE)
    section.grid(
        ["before", "what was added", "after", "likeliest classes"],
        rows,
        scale=screen_scale(max(result.originals.shape[2:])),
        caption="What was added is magnified by the factor written below it: "
        + (
            "orange is brighter, blue darker"
            if result.originals.shape[1] == 1
            else "gray is no change"
        )
        + ". Bars: probability before the attack (upper) and after it (lower), orange where the "
        + f"network was fooled{f', gray: {why}' if why else ''}.",
    )
    section.facts(spoken(result))
    table = attack_rows(result, names, known=known)
    if table:
        section.table(list(table[0]), [list(line.values()) for line in table], name="images")
    write_page(report, out, force=force)


def _finding(result: AttackResult) -> str:
    """How many images are fooled, of those that could be, within which budget."""
    tasks = ~result.already_misclassified
    count, hits, others = int(tasks.sum()), int((result.success & tasks).sum()), int((~tasks).sum())
    why = "misclassified" if result.targets is None else "of the target class, or predicted as it,"
    if not count:
        images = "the image was" if others == 1 else f"all {others:,} images were"
        return f"`{result.method}` had nothing to fool: {images} {why} before."
    within = "without a budget"
    if result.epsilon is not None:
        norm = {"linf": "L∞", "l2": "L2"}.get(result.norm or "", "")
        within = f"within {norm} ≤ {budget(result.epsilon)}"
    return (
        f"`{result.method}` fools {hits:,} of {count:,} {'image' if count == 1 else 'images'} "
        f"({percent(hits / count)}) {within}."
        + (f" {others:,} more {'was' if others == 1 else 'were'} {why} before." if others else "")
    )


def probability_bars(result: AttackResult, row: int) -> dict[str, Any]:
    """The cell of a grid with the likeliest classes before and after, in the colors of `draw`."""
    names = result.class_names
    found = likeliest(result, row)
    told = (f"{name_of(names, k)} {percent(was)}, then {percent(now)}" for k, was, now in found)
    bars = [
        {"label": name_of(names, k), "shares": [share if share == share else 0.0 for share in both]}
        for k, *both in found
    ]
    return {
        "bars": bars,
        "alt": f"Probabilities: {'; '.join(told)}",
        "tone": tone_of(result, row),
    }


def _write_plain_folder(result: Any, out: Path, *, force: bool, formats: Sequence[str]) -> None:
    with fresh_folder(out, force=force) as folder:
        if has_figure(result):
            save_figure(draw(result), folder / "figure", formats)
        text = json.dumps(plain_json(result.summary()), indent=1, ensure_ascii=False)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        results.save(result, folder / "result", force=force)


def _write_plain_page(result: Any, out: Path, *, force: bool) -> None:
    # "ModelTransfer" becomes "Model transfer".
    title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(result).__name__).capitalize()
    report = Report(title=title)
    section = report.section("result", "Result", "")
    summary = result.summary()
    section.facts(spoken(result))
    for flag in summary.get("flags", ()):
        section.note(str(flag), level="warning")
    if has_figure(result):
        section.figure("result", svg(draw(result)), alt=title)
    for key, value in summary.items():
        if isinstance(value, dict) and all(isinstance(v, int | float) for v in value.values()):
            section.text(key.replace("_", " "))
            section.table(["", "value"], [[str(k), v] for k, v in value.items()], name=key)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            section.text(key)
            section.table(list(value[0]), [list(line.values()) for line in value], name=key)
    write_page(report, out, force=force)
