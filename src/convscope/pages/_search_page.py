"""A search: a page or a folder with the table of trials, curves, importance, and the best one."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from convscope import results
from convscope.data import address_of
from convscope.figures import (
    draw,
    importance_bars,
    parallel_coordinates,
    percent,
    svg,
    trial_curves,
    trial_values,
)
from convscope.pages._write import fresh_folder, save_figure, write_csv, write_page
from convscope.reports import Report, Section
from convscope.training import Dimension, SearchResult, importance, settings_to_toml

PANELS = {
    "trials": trial_values,
    "curves": trial_curves,
    "importance": importance_bars,
    "parallel-coordinates": parallel_coordinates,
}


def write_search(
    result: SearchResult,
    out: Path,
    *,
    command: Sequence[str] = (),
    force: bool = False,
    formats: Sequence[str] = ("png",),
) -> None:
    """A page if `out` ends in ``.html``, else a folder of figures, a table and the best settings.

    Args:
        result: From `convscope.training.search`.
        out: Where to.
        command: The words of a command that trains the best trial again.
        force: Write over what is there.
        formats: Of the figures in a folder: ``png``, ``svg``, ``pdf``.

    Raises:
        UsageError: U13 if `out` is taken.
        ResourceError: If the disk refuses.
    """
    if out.suffix.lower() == ".html":
        _write_page(result, out, command=command, force=force)
        return
    with fresh_folder(out, force=force) as folder:
        write_csv(folder / "trials.csv", result.table())
        save_figure(draw(result), folder / "figure", formats)
        for name, panel in PANELS.items():
            save_figure(panel(result), folder / name, formats)
        if (best := result.best_settings) is not None:
            text = settings_to_toml(best)
            (folder / "best.toml").write_text(text, encoding="utf-8", errors="backslashreplace")
        results.save(result, folder / "result", force=force)


def _write_page(result: SearchResult, out: Path, *, command: Sequence[str], force: bool) -> None:
    data = result.data.rpartition("/")[2] if address_of(result.data) else result.data
    report = Report(
        title=f"Search: {result.model} on {data}", subtitle=f"{result.method}, seed {result.seed}"
    )
    best, count = result.best, len(result.trials)
    if best is not None:
        report.tile(
            f"best {result.objective}", _value(best.value, result),
            detail=f"trial {best.number}, on the validation images",
        )  # fmt: skip
    report.tile(
        "trials", str(count),
        detail=f"{result.count('pruned')} pruned, {result.count('failed')} failed",
    )  # fmt: skip
    _best(report, result, command)
    _pictures(report, result)
    _table(report, result)
    write_page(report, out, force=force)


def _best(report: Report, result: SearchResult, command: Sequence[str]) -> None:
    section = report.section(
        "best", "Best trial",
        "Chosen by the validation images alone; nobody has looked at the test images.",
    )  # fmt: skip
    best = result.best
    if best is None:
        section.finding = "No trial was trained to the end."
        return
    section.finding = (
        f"Of {result.count('complete')} trials that were trained to the end, trial {best.number} "
        f"has the best {result.objective}: {_value(best.value, result)}."
    )
    section.note(
        f"It is the best of many on the same {best.curve[-1].validation_images:,} images, so its "
        "value there is somewhat too good. The test images tell how good it is."
    )
    section.facts(dict(best.parameters))
    if command:
        text = f"{command[0]} {shlex.join(command[1:])}"
        section.code(text, caption="Trains it again, with the same bits on this machine.")


def _pictures(report: Report, result: SearchResult) -> None:
    section = report.section(
        "settings", "Settings", "What the trials reached, and which of the settings mattered."
    )
    found = importance(result)
    if found.shares and found.explained > 0:
        first = max(found.shares, key=lambda name: found.shares[name])
        section.finding = (
            f"{first} mattered most: {percent(found.shares[first], 0)} of what a random forest "
            f"explains. It explains {percent(found.explained, 0)} of the variance of trials that "
            "it has not seen."
        )
    elif found.shares:
        section.finding = (
            "A random forest does not predict trials that it has not seen: importance says nothing "
            "here."
        )
    section.figure(
        "trials", svg(trial_values(result)), alt="Value of every trial, and the best so far",
        caption="What every trial reached on the validation images.",
    )  # fmt: skip
    section.figure(
        "curves", svg(trial_curves(result)), alt="Validation loss of every trial over its epochs",
        caption="Validation loss of all trials.",
    )  # fmt: skip
    section.figure(
        "importance", svg(importance_bars(result)), alt="Importance of the searched settings",
        caption=f"Shares of the decrease in variance in a forest fitted to {found.trials} trials.",
    )  # fmt: skip
    section.figure(
        "parallel-coordinates", svg(parallel_coordinates(result)), wide=True,
        alt="A line per trial through its settings to what it reached",
        caption="Trials that were trained to the end; yellow is better than blue-gray.",
    )  # fmt: skip


def _table(report: Report, result: SearchResult) -> None:
    section = report.section("trials", "Trials", "All of them, the best first.")
    rows = {row["trial"]: row for row in result.table()}
    ordered = [rows[trial.number] for trial in result.ranked()]
    titles = list(ordered[0]) if ordered else ["trial"]
    cells = [
        [None if isinstance(v, float) and math.isnan(v) else v for v in row.values()]
        for row in ordered
    ]
    section.table(
        [t.replace("_", " ") for t in titles], cells,
        caption="Losses and accuracy after the last epoch of the trial.", name="trials",
    )  # fmt: skip
    _space(section, result.space)


def _space(section: Section, space: Sequence[Dimension]) -> None:
    section.table(
        ["setting", "values"],
        [[dimension.name, _range(dimension)] for dimension in space],
        caption="What was varied.",
        name="space",
    )


def _range(dimension: Dimension) -> str:
    if dimension.choices:
        return ", ".join(map(str, dimension.choices))
    text = f"{dimension.low:g} to {dimension.high:g}"
    text += ", logarithmic" if dimension.log else ""
    return text + (f", {dimension.points} values" if dimension.points else "")


def _value(value: float, result: SearchResult) -> str:
    return percent(value, 2) if result.objective == "accuracy" else f"{value:.4f}"
