"""Fooled photos under transformations: a page, or a folder of pictures and tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscope import results
from convscope.attacks import AttackResult
from convscope.figures import (
    draw_fooled,
    draw_survival,
    draw_transformation_robustness,
    percent,
    svg,
)
from convscope.files import plain_json
from convscope.pages._attack_page import attack_rows, save_adversarials
from convscope.pages._write import (
    fresh_folder,
    name_of,
    save_figure,
    shown_name,
    write_csv,
    write_page,
)
from convscope.reports import Report
from convscope.robustness import Survival, TransformationRobustness

KINDS = ("plain", "eot")
"""The two attacks; also the beginnings of the names of their files."""


def write_survival(
    result: Survival,
    names: tuple[str, ...],
    out: Path,
    *,
    force: bool = False,
    known: bool = True,
    formats: Sequence[str] = ("png",),
) -> None:
    """A page if `out` ends in ``.html``, else a folder.

    A folder holds ``plain-0000.png`` and ``eot-0000.png``, the images that were judged; figures of
    both attacks (``fooled``, ``fooled-eot``), of their images transformed (``transformed``,
    ``transformed-eot``) and of what survives (``survival``); tables and the results.

    Args:
        result: Both attacks and their images under transformations.
        names: One per image.
        out: Where to.
        force: Write over what is there.
        known: Whether the labels are true classes; else they are predictions, and called so.
        formats: Of the figures in a folder.

    Raises:
        UsageError: U13 if `out` is taken.
        ResourceError: If the disk refuses.
    """
    if out.suffix.lower() == ".html":
        _write_survival_page(result, names, out, force=force, known=known)
        return
    with fresh_folder(out, force=force) as folder:
        for kind, made, transformed in _both(result):
            ending = "" if kind == "plain" else f"-{kind}"
            save_adversarials(made, folder, kind)
            save_figure(draw_fooled(made), folder / f"fooled{ending}", formats)
            drawn = draw_transformation_robustness(transformed)
            save_figure(drawn, folder / f"transformed{ending}", formats)
            write_csv(folder / f"images{ending}.csv", attack_rows(made, names, known=known))
            results.save(made, folder / f"result{ending}", force=force)
        save_figure(draw_survival(result), folder / "survival", formats)
        write_csv(folder / "survival.csv", survival_rows(result, names))
        text = json.dumps(plain_json(result.summary()), indent=1, ensure_ascii=False)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")


def survival_rows(result: Survival, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """One line per image, attack and transformation: class, probability, that of the target."""
    rows = []
    for i, name in enumerate(names):
        for kind, made, found in _both(result):
            classes = found.class_names
            for t, transformation in enumerate(found.names):
                row: dict[str, Any] = {
                    "image": name,
                    "attack": kind,
                    "transformation": transformation,
                    "predicted": name_of(classes, int(found.adversarials_predicted[t, i])),
                    "probability": float(found.adversarials_probabilities[t, i]),
                    "probability of the target": float(found.target_probabilities[t, i]),
                    "original predicted": name_of(classes, int(found.originals_predicted[t, i])),
                    "original's probability": float(found.originals_probabilities[t, i]),
                    "linf": float(made.distance_quantized("linf")[i]),
                }
                rows.append(row)
    return rows


def survival_table(result: Survival, names: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
    """Headers, and a line per image and attack: class and probability after each transformation.

    The last lines are means of the target's probability.
    """
    headers = ["image", "attack", *result.plain_transformed.names]
    lines = []
    for i, name in enumerate(names):
        for kind, _, found in _both(result):
            predicted = zip(
                found.adversarials_predicted[:, i].tolist(),
                found.adversarials_probabilities[:, i].tolist(),
                strict=True,
            )
            cells = (f"{name_of(found.class_names, k)} {percent(share)}" for k, share in predicted)
            lines.append([name, kind, *cells])
    for kind, _, found in _both(result):
        means = found.target_probabilities.double().mean(dim=1).tolist()
        lines.append(["mean probability of the target", kind, *map(percent, means)])
    return headers, lines


def _write_survival_page(
    result: Survival, names: tuple[str, ...], out: Path, *, force: bool, known: bool
) -> None:
    names = tuple(map(shown_name, names))
    report = Report(title="Fooled images under transformations")
    section = report.section(
        "survival", "What survives", "Pictures are the 8-bit images, as they were judged again."
    )
    plain, eot = result.mean_probabilities
    section.finding = (
        f"After transformations the target has a mean probability of {percent(plain)}; of images "
        f"that were made to survive them, {percent(eot)}."
    )
    if not known:
        section.note("True classes are not known: the predictions before stand for them.")
    for flag in dict.fromkeys(map(str, result.summary()["flags"])):
        section.note(flag, level="warning")
    figures = {
        "fooled": (draw_fooled(result.plain), "Images, what was added, and their sums"),
        "transformed": (
            draw_transformation_robustness(result.plain_transformed),
            "The sums after transformations",
        ),
        "fooled-eot": (
            draw_fooled(result.eot),
            "The same, with an attack over random transformations",
        ),
        "transformed-eot": (
            draw_transformation_robustness(result.eot_transformed),
            "Those sums after transformations",
        ),
        "bars": (draw_survival(result), "Probability of the target after each transformation"),
    }
    for name, (drawn, words) in figures.items():
        section.figure(name, svg(drawn), alt=words, caption=f"{words}.")
    headers, lines = survival_table(result, names)
    section.table(headers, lines, name="survival")
    write_page(report, out, force=force)


def _both(result: Survival) -> list[tuple[str, AttackResult, TransformationRobustness]]:
    made = (result.plain, result.eot)
    transformed = (result.plain_transformed, result.eot_transformed)
    return list(zip(KINDS, made, transformed, strict=True))
