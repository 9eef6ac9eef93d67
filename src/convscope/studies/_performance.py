"""Performance section: accuracy, confusions, classes, calibration, mistakes."""

from __future__ import annotations

import statistics
import time

import torch

from convscope._metrics import gates_of
from convscope.data import absent_sentence
from convscope.figures import calibration_diagram, per_class_bars, percent, svg, top_confusions
from convscope.pages import keep_image, name_of, show_confusions, some_are
from convscope.reports import LARGEST_MATRIX, Section
from convscope.stats import wilson
from convscope.studies._context import Audit
from convscope.training import Evaluation, Examples


def performance(audit: Audit, section: Section) -> None:
    """Accuracy with its interval, confusions, classes, calibration, mistakes, a random sample."""
    found = audit.evaluation
    _tiles(audit, found)
    section.finding = (
        f"{some_are(int(found.confusion.diagonal().sum()), found.n, 'image')} classified correctly "
        f"(`{audit.source}`): {percent(found.accuracy, 2)}, 95 % confidence interval "
        f"{percent(found.interval[0], 2)} to {percent(found.interval[1], 2)}."
    ) + "".join(
        f" Top {k}: {percent(share, 2)}."
        for k, share in zip(found.top, found.top_accuracy, strict=True)
        if k > 1
    )
    confusions(audit, section, found)
    section.figure("classes", svg(per_class_bars(found)), alt="Accuracy of each class with its "
                   "95 % interval", caption="Accuracy of each class, with 95 % "
                   "intervals.")  # fmt: skip
    section.figure(
        "calibration",
        svg(calibration_diagram(found)),
        alt="Accuracy against confidence",
        caption="Dots on the diagonal: confidence equals accuracy; larger "
        "dots are more images (above 2 and 20 %). The calibration error is the mean distance.",
    )
    _classes(audit, section, found)
    _mistakes(audit, section, found)
    _sample(audit, section, found)
    _alerts(audit, found)


def confusions(audit: Audit, section: Section, found: Evaluation) -> None:
    """The matrix, or the most frequent confusions of many classes."""
    names = found.class_names
    if len(names) <= LARGEST_MATRIX:
        show_confusions(
            section,
            found.confusion,
            names,
            labels=audit.test.labels,
            predicted=found.predicted,
            images=audit.test.to_float,
            confidences=found.confidences,
            source=audit.split,
            position=audit.test.position,
        )
        return
    rows = [
        [name_of(names, true), name_of(names, read), count]
        for true, read, count in top_confusions(found, 10_000)
    ]
    section.table(
        ["true class", "predicted class", {"title": "images", "kind": "number"}],
        rows[:50],
        caption=f"The {min(50, len(rows))} most frequent confusions of {len(names):,} classes.",
        name="confusions",
    )


def _tiles(audit: Audit, found: Evaluation) -> None:
    low, high = found.interval
    audit.numbers.update(
        {name: value for name, value in found.metrics().items() if name in gates_of("audit")}
    )
    audit.report.tile(
        "Test accuracy",
        percent(found.accuracy, 2),
        detail=f"95 % interval {100 * low:.2f} to {100 * high:.2f}, n = {found.n:,}",
    )
    known = found.per_class.nan_to_num(2.0)
    worst = int(known.argmin())
    audit.report.tile(
        "Mean per class",
        percent(found.mean_per_class, 2),
        detail=f"least: {name_of(found.class_names, worst)}, {percent(float(known[worst]), 1)}",
    )
    audit.report.tile(
        "Calibration error",
        percent(found.calibration_error, 2),
        detail="mean distance of confidence and accuracy",
    )
    seconds, spread = time_per_image(audit)
    audit.numbers["seconds-per-image"] = seconds
    threads = torch.get_num_threads()
    audit.report.tile(
        "Time per image",
        f"{1000 * seconds:.2g} ms",
        detail=f"one at a time, median of 30, up to {1000 * spread:.2g} ms; "
        f"{threads} {'thread' if threads == 1 else 'threads'}",
    )


def time_per_image(audit: Audit) -> tuple[float, float]:
    """Median and ninth-decile seconds of one forward pass of one image."""
    image = audit.test.to_float([0])
    taken = []
    with audit.classifier.probe() as probe:
        for _ in range(35):
            start = time.perf_counter()
            probe.logits(image)
            taken.append(time.perf_counter() - start)
    taken = sorted(taken[5:])
    return statistics.median(taken), taken[int(0.9 * len(taken))]


def _classes(audit: Audit, section: Section, found: Evaluation) -> None:
    totals, hits = found.confusion.sum(dim=1), found.confusion.diagonal()
    order = (totals > 0).nonzero()[:, 0].tolist()
    if len(totals) > LARGEST_MATRIX:
        order = sorted(order, key=lambda label: float(found.per_class[label]))
    favorite = dict[int, tuple[int, int]]()
    for true, read, count in top_confusions(found, 10**7):
        favorite.setdefault(true, (read, count))
    rows = []
    for i in order:
        total, hit = int(totals[i]), int(hits[i])
        low, high = wilson(hit, total) if total else (float("nan"), float("nan"))
        most = favorite.get(i)
        rows.append(
            [
                name_of(found.class_names, i),
                total,
                hit / total if total else None,
                f"{100 * low:.1f} to {100 * high:.1f}" if total else "–",
                f"{name_of(found.class_names, most[0])} ({most[1]})" if most else "–",
            ]
        )
    number, share = {"kind": "number"}, {"kind": "percent"}
    with section.details("Every class in numbers"):
        section.table(
            [
                "class",
                number | {"title": "images"},
                share | {"title": "accuracy"},
                number | {"title": "95 % interval, %"},
                "most often mistaken for",
            ],
            rows,
            name="classes",
        )


def _mistakes(audit: Audit, section: Section, found: Evaluation) -> None:
    wrong = found.n - int(found.confusion.diagonal().sum())
    if not wrong:
        section.text("No test image was misclassified.")
        return
    items = _images(audit, section, "mistake", found.mistakes, found)
    section.gallery(
        items,
        scale=audit.scale,
        caption=f"The most confident of {wrong:,} mistakes: true and predicted class, confidence.",
    )


def _sample(audit: Audit, section: Section, found: Evaluation) -> None:
    items = _images(audit, section, "sample", found.sample, found)
    section.gallery(
        items,
        scale=audit.scale,
        caption="Random test images: true class, predicted class if another, confidence.",
    )


def _images(
    audit: Audit, section: Section, name: str, chosen: Examples, found: Evaluation
) -> list[dict[str, str]]:
    images = audit.test.to_float(chosen.rows)
    items = []
    for i, row in enumerate(chosen.rows.tolist()):
        true = name_of(found.class_names, int(chosen.labels[i]))
        read = name_of(found.class_names, int(chosen.predicted[i]))
        items.append(
            {
                "file": keep_image(section, f"{name}-{i}", images[i]),
                "alt": f"{audit.source}/{audit.test.position(row)}: {true}, predicted {read}",
                "title": true if true == read else f"{true} → {read}",
                "detail": percent(float(chosen.confidences[i]), 1),
                "tone": "" if true == read else "bad",
                "address": f"image/{audit.test.position(row)}",
            }
        )
    return items


def _alerts(audit: Audit, found: Evaluation) -> None:
    totals, hits = found.confusion.sum(dim=1), found.confusion.diagonal()
    weak = []
    for i, (total, hit) in enumerate(zip(totals.tolist(), hits.tolist(), strict=True)):
        if total and wilson(hit, total)[1] < found.interval[0]:
            weak.append((hit / total, i))
    for share, i in sorted(weak)[:3]:
        audit.report.alert(
            f"Accuracy on class {name_of(found.class_names, i)} is {percent(share, 1)}, "
            "significantly below average.",
            section="performance",
        )
    if len(weak) > 3:
        audit.report.alert(f"{len(weak) - 3} more classes are weaker than average.",
                           section="performance")  # fmt: skip
    gap = float(found.confidences.double().mean()) - found.accuracy
    error = found.calibration_error
    if error > 0.03:
        word = "overconfident" if gap > 0 else "underconfident"
        audit.report.alert(
            f"The network is {word}: confidence and accuracy differ by {percent(error, 1)} "
            "on average.",
            level="warning",
            section="performance",
        )
    if audit.absent:
        audit.report.alert(absent_sentence(audit.absent, found.n) + ".", section="performance")
