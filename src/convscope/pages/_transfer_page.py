"""Transfer learning: a page or a folder with classes, confusions and the worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscope import results
from convscope.data import address_of
from convscope.figures import (
    confusion_matrix,
    cross_validation_curve,
    draw,
    per_class_bars,
    percent,
    svg,
)
from convscope.pages._write import (
    fresh_folder,
    keep_image,
    name_of,
    save_figure,
    screen_scale,
    write_csv,
    write_page,
)
from convscope.reports import Report
from convscope.stats import wilson
from convscope.transfer import TransferResult

LARGEST = 24
"""Classes up to which a page has the confusion matrix cell by cell."""


def class_table(result: TransferResult) -> list[dict[str, Any]]:
    """One line per class: images, accuracy with its interval, what it is most mistaken for."""
    rows = []
    for label, name in enumerate(result.class_names):
        counts = result.confusion[label].clone()
        images, right = int(counts.sum()), int(counts[label])
        counts[label] = 0
        mixed = int(counts.argmax())
        low, high = wilson(right, images)
        rows.append(
            {
                "class": name,
                "test images": images,
                "correct": right / images if images else None,
                "from": low,
                "to": high,
                "most often mistaken for": f"{name_of(result.class_names, mixed)}"
                f" ({int(counts[mixed])})"
                if counts.any()
                else "",
            }
        )
    return rows


def mistake_rows(result: TransferResult) -> list[dict[str, Any]]:
    """One line per mistake, the worst first."""
    found, names = result.mistakes, result.class_names
    return [
        {
            "image": name,
            "true": name_of(names, label),
            "predicted": name_of(names, predicted),
            "margin": margin,
        }
        for name, label, predicted, margin in zip(
            found.names,
            found.labels.tolist(),
            found.predicted.tolist(),
            found.margins.tolist(),
            strict=True,
        )
    ]


def write_transfer(
    result: TransferResult,
    out: Path,
    *,
    force: bool = False,
    formats: Sequence[str] = ("png",),
) -> None:
    """A page if `out` ends in ``.html``, else a folder of a figure, tables and the result.

    Args:
        result: From `convscope.transfer.transfer`.
        out: Where to.
        force: Write over what is there.
        formats: Of the figure in a folder: ``png``, ``svg``, ``pdf``.

    Raises:
        UsageError: U13 if `out` is taken.
        ResourceError: If the disk refuses.
    """
    if out.suffix.lower() == ".html":
        _write_page(result, out, force=force)
        return
    with fresh_folder(out, force=force) as folder:
        save_figure(draw(result), folder / "figure", formats)
        write_csv(folder / "classes.csv", class_table(result))
        write_csv(folder / "mistakes.csv", mistake_rows(result))
        results.save(result, folder / "result", force=force)


def _write_page(result: TransferResult, out: Path, *, force: bool) -> None:
    data = result.data.rpartition("/")[2] if address_of(result.data) else result.data
    report = Report(title=f"Transfer learning: {data}", subtitle=result.source)
    low, high = result.mean_per_class_interval
    report.tile(
        "mean per class", percent(result.mean_per_class),
        detail=f"95 % interval {percent(low)} to {percent(high)}",
    )  # fmt: skip
    low, high = result.interval
    report.tile(
        "accuracy", percent(result.accuracy),
        detail=f"{percent(low)} to {percent(high)} of {result.n:,} test images",
    )  # fmt: skip
    _classes(report, result)
    _choice(report, result)
    _mistakes(report, result)
    write_page(report, out, force=force)


def _classes(report: Report, result: TransferResult) -> None:
    section = report.section("classes", "Classes", "How the test images of each class fare.")
    worst = result.per_class.nan_to_num(2.0).argmin()
    section.finding = (
        f"Of {len(result.class_names)} classes, {name_of(result.class_names, int(worst))} has the "
        f"lowest accuracy, {percent(float(result.per_class[worst]))}."
    )
    for note in result.notes:
        section.note(f"{note[:1].upper()}{note[1:]}.")
    if result.refused:
        section.note(f"{len(result.refused)} images were left out.", level="warning")
    names = result.class_names
    if len(names) <= LARGEST:
        section.matrix(
            result.confusion.tolist(), rows=names, columns=names, row_title="true class",
            column_title="predicted as", kind="confusion", name="confusion",
            caption="Test images by true class (down) and predicted class (across).",
        )  # fmt: skip
    else:
        section.figure("confusions", svg(confusion_matrix(result)), alt="Most frequent confusions")
    section.figure(
        "accuracy", svg(per_class_bars(result)), alt="Accuracy of each class with its interval",
        caption="Accuracy on the test images of each class, with its 95 % interval.",
    )  # fmt: skip
    shares = [{"title": title, "kind": "percent"} for title in ("correct", "from", "to")]
    section.table(
        ["class", {"title": "test images", "kind": "number"}, *shares, "most often mistaken for"],
        [list(row.values()) for row in class_table(result)],
        caption="Correct, with its 95 % interval.",
        name="classes",
    )


def _choice(report: Report, result: TransferResult) -> None:
    section = report.section(
        "classifier", "Classifier", "How it was made. The test images had no part in it."
    )
    scores = result.fold_scores.mean(dim=1)
    best = float(scores[result.values.index(result.value)])
    section.finding = (
        f"Cross-validation on the {result.training_images:,} training images chose "
        f"{result.parameter} = {result.value:g} with a mean per class of {percent(best)}."
    )
    section.facts(
        {
            "features": result.features,
            "classifier": result.classifier,
            "training images": result.training_images,
            "folds": result.fold_scores.shape[1],
            "images run": result.computed,
        }
    )
    section.figure(
        "cross-validation", svg(cross_validation_curve(result)),
        alt=f"Mean-per-class accuracy of each fold against {result.parameter}",
        caption="Mean-per-class accuracy on the images left out: a dot per fold, the line through "
        "their means.",
    )  # fmt: skip


def _mistakes(report: Report, result: TransferResult) -> None:
    found = result.mistakes
    section = report.section(
        "mistakes", "Worst mistakes",
        "Test images whose true class is furthest behind the predicted one.",
    )  # fmt: skip
    wrong = int((result.predicted != result.labels).sum())
    section.finding = f"{wrong:,} of {result.n:,} test images are misclassified."
    rows = mistake_rows(result)
    if not rows:
        return
    section.gallery(
        [
            {
                "file": keep_image(section, f"mistake-{i}", found.images[i]),
                "alt": row["image"],
                "title": row["predicted"],
                "detail": f"true: {row['true']}",
                "tone": "bad",
            }
            for i, row in enumerate(rows)
        ],
        caption="Below each image: predicted class, true class.",
        scale=screen_scale(max(found.images.shape[2:])),
    )
    section.table(list(rows[0]), [list(row.values()) for row in rows], name="mistakes")
