"""What ``convscope attack --out`` writes: a folder of 8-bit images and numbers, or one page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import ResourceError

if TYPE_CHECKING:
    from convscope.attacks import AttackResult

MOST = 32


def write(result: Any, names: tuple[str, ...], out: Path, *, force: bool) -> None:
    """A page if `out` ends in ``.html``, else a folder."""
    from convscope.attacks import AttackResult

    page = out.suffix.lower() == ".html"
    if isinstance(result, AttackResult):
        write_attack_page(result, names, out, force=force) if page else write_attack_folder(
            result, names, out, force=force
        )
    elif page:
        _write_plain_page(result, out, force=force)
    else:
        _write_plain_folder(result, out, force=force)


def attack_rows(result: AttackResult, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """One line per image: read as what, before and after, and at what distance."""
    before, after = result.logits_before.softmax(1), result.logits_after.softmax(1)
    linf, l2 = result.distance("linf"), result.distance("l2")
    linf_saved, l2_saved = result.distance_saved("linf"), result.distance_saved("l2")
    trivial, fooled, saved = result.trivial, result.fooled, result.fooled_saved
    rows = []
    for i, name in enumerate(names):
        was, now = int(before[i].argmax()), int(after[i].argmax())
        row: dict[str, Any] = {"image": name, "true": _name(result, int(result.labels[i]))}
        if result.targets is not None:
            row["target"] = _name(result, int(result.targets[i]))
        row |= {
            "before": _name(result, was),
            "probability before": float(before[i, was]),
            "after": _name(result, now),
            "probability after": float(after[i, now]),
            "fooled": bool(fooled[i]),
            "fooled as 8 bits": bool(saved[i]),
            "no task": bool(trivial[i]),
            "linf": float(linf[i]),
            "l2": float(l2[i]),
            "linf as 8 bits": float(linf_saved[i]),
            "l2 as 8 bits": float(l2_saved[i]),
            "steps": int(result.steps[i]),
        }
        rows.append(row)
    return rows


def write_attack_folder(
    result: AttackResult, names: tuple[str, ...], out: Path, *, force: bool
) -> None:
    """Pictures (``adversarial-0000.png``), a figure, a table and the whole result.

    Every picture is read back: it must be the 8-bit image that was judged.
    """
    import numpy as np
    from PIL import Image

    from convscope import results
    from convscope.figures import draw
    from convscope.studies._inspection import fresh_folder
    from convscope.studies._inspection_tables import write_csv

    with fresh_folder(out, force=force) as folder:
        for row, image in enumerate(result.saved):
            levels = image.movedim(0, -1).cpu().numpy()
            levels = levels[..., 0] if levels.shape[-1] == 1 else levels
            path = folder / f"adversarial-{row:04d}.png"
            Image.fromarray(levels).save(path)
            with Image.open(path) as file:
                if not np.array_equal(np.asarray(file), levels):
                    raise ResourceError("was not written as it should be", where=path)
        draw(result).savefig(folder / "figure.png", dpi=150)
        write_csv(folder / "images.csv", attack_rows(result, names))
        results.save(result, folder / "result", force=force)


def write_attack_page(
    result: AttackResult, names: tuple[str, ...], out: Path, *, force: bool
) -> None:
    """Images before and after, differences, and a table."""
    from convscope.figures import difference_tile, png, verdict
    from convscope.reports import Report
    from convscope.studies._context import keep_image, screen_scale
    from convscope.studies._inspection import write_page

    report = Report(title=f"Fooling by {result.method}")
    section = report.section(
        "images", "Before and after", "Pictures are the 8-bit images, as they were judged again."
    )
    section.facts({k: v for k, v in result.summary().items() if isinstance(v, int | float | str)})
    for flag in result.flags:
        section.note(flag, level="warning")
    rows = []
    for row in range(min(len(result), MOST)):
        before, after, fooled = verdict(result, row, 40)
        original = keep_image(section, f"original-{row}", result.originals[row])
        saved = keep_image(section, f"adversarial-{row}", result.saved[row].float() / 255)
        cells: list[dict[str, Any]] = [
            {"file": original, "alt": f"{names[row]} before", "detail": before},
            {
                "file": saved,
                "alt": f"{names[row]} after",
                "detail": after,
                "tone": "bad" if fooled else "good",
            },
        ]
        for times in (1.0, 10.0):
            tile = png(difference_tile(result, row, times))
            path = section.image(f"difference-{row}-{times:g}", tile)
            cells.append({"file": path, "alt": "difference", "detail": f"{times:g} x"})
        rows.append({"title": names[row], "cells": cells})
    section.grid(
        ["before", "after", "difference", "10 times the difference"],
        rows,
        scale=screen_scale(max(result.originals.shape[2:])),
    )
    table = attack_rows(result, names)
    if table:
        section.table(list(table[0]), [list(line.values()) for line in table], name="images")
    write_page(report, out, force=force)


def _write_plain_folder(result: Any, out: Path, *, force: bool) -> None:
    import json

    from convscope import results
    from convscope.figures import FIGURES, draw
    from convscope.studies._inspection import fresh_folder

    with fresh_folder(out, force=force) as folder:
        if type(result) in FIGURES:
            draw(result).savefig(folder / "figure.png", dpi=150)
        text = json.dumps(results.finite_json(result.summary()), indent=1, ensure_ascii=False)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        results.save(result, folder / "result", force=force)


def _write_plain_page(result: Any, out: Path, *, force: bool) -> None:
    from convscope.figures import FIGURES, draw, svg
    from convscope.reports import Report
    from convscope.studies._inspection import write_page

    # "ModelTransfer" is read as "Model transfer".
    title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(result).__name__).capitalize()
    report = Report(title=title)
    section = report.section("result", "Result", "")
    summary = result.summary()
    section.facts({k: v for k, v in summary.items() if isinstance(v, int | float | str)})
    if type(result) in FIGURES:
        section.figure("result", svg(draw(result)), alt=title)
    for key, value in summary.items():
        if isinstance(value, dict) and all(isinstance(v, int | float) for v in value.values()):
            section.text(key.replace("_", " "))
            section.table(["", "value"], [[str(k), v] for k, v in value.items()], name=key)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            section.text(key)
            section.table(list(value[0]), [list(line.values()) for line in value], name=key)
    write_page(report, out, force=force)


def _name(result: AttackResult, index: int) -> str:
    names = result.class_names
    return names[index] if 0 <= index < len(names) else f"class {index}"
