"""What an inspection found, as tables: rows for terminals, files and pages."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from convscope.classifier import Classifier
from convscope.explanations import (
    OcclusionTable,
    Trust,
)
from convscope.studies._context import name_of
from convscope.studies._trust import TRUST_COLUMNS
from convscope.types import Images
from convscope.visualizations import Visualization


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """What was found about some images.

    Attributes:
        classifier: The network.
        images: ``(batch, channel, height, width)``.
        names: One per image.
        labels: ``(batch,)`` true classes, if they are known.
        logits: ``(batch, class)``.
        found: Results by the name of the method, in the order asked for.
    """

    classifier: Classifier
    images: Images
    names: tuple[str, ...]
    labels: Tensor | None
    logits: Tensor
    found: Mapping[str, Any]


def prediction_rows(work: Inspection) -> list[dict[str, Any]]:
    """One line per image: what it is called, what it is, what the network reads."""
    shares = work.logits.softmax(dim=1)
    rows = []
    for i, name in enumerate(work.names):
        read = int(shares[i].argmax())
        classes = work.classifier.class_names
        row: dict[str, Any] = {"image": name}
        if work.labels is not None:
            row["true"] = name_of(classes, int(work.labels[i]))
        row |= {"predicted": name_of(classes, read), "probability": float(shares[i, read])}
        rows.append(row)
    return rows


def occlusion_rows(
    table: OcclusionTable, class_names: tuple[str, ...], names: Sequence[str]
) -> list[dict[str, Any]]:
    """The documents' table: position, probability of the label, class predicted there."""
    of_label, predicted = table.of_label.tolist(), table.predicted.tolist()
    rows = []
    for i, name in enumerate(names):
        label = name_of(class_names, int(table.labels[i]))
        for p, (top, left, bottom, right) in enumerate(table.windows.tolist()):
            rows.append(
                {
                    "image": name,
                    "top": top,
                    "left": left,
                    "bottom": bottom,
                    "right": right,
                    "class": label,
                    "probability": of_label[i][p],
                    "predicted": name_of(class_names, predicted[i][p]),
                }
            )
    return rows


def trust_rows(scores: Trust) -> list[dict[str, Any]]:
    """One line per method; tests that do not apply are ``None``, those of masks are left out."""
    of_masks = ("relevance_mass", "pointing_accuracy")
    columns = {
        key: title
        for key, title in TRUST_COLUMNS.items()
        if scores.area is not None or key not in of_masks
    }
    return [
        {"method": row.method, **{title: getattr(row, key) for key, title in columns.items()}}
        for row in scores.rows
    ]


def unit_rows(found: Visualization) -> list[dict[str, Any]]:
    """One line per unit: how active, compared with what, and who recognizes it."""
    shares = found.logits.softmax(dim=1)
    rows = []
    for i, unit in enumerate(found.units):
        read = int(shares[i].argmax())
        row: dict[str, Any] = {"unit": unit, "activation": float(found.activations[i])}
        if found.max_dataset_activation is not None:
            row["largest on real"] = float(found.max_dataset_activation[i])
        if found.kept is not None:
            row["best step"] = int(found.kept[i])
        row |= {
            "predicted as": name_of(found.class_names, read),
            "probability": float(shares[i, read]),
        }
        if found.held_out is not None:
            row["held-out prediction"] = name_of(found.class_names, int(found.held_out.labels[i]))
            row["held-out probability"] = float(found.held_out.probabilities[i])
        if found.nearest is not None:
            row["distance to nearest real"] = float(found.nearest.distances[i])
        if found.dead is not None and bool(found.dead[i]):
            row["predicted as"] = "no gradient: a dead unit"
        rows.append(row)
    return rows


def effect_rows(found: Visualization) -> list[dict[str, Any]]:
    """Which logits rise and fall when a unit is maximized: one line per unit."""
    if found.effect is None:
        return []
    return [
        {"unit": unit}
        | {name_of(found.class_names, k): value for k, value in enumerate(found.effect[i].tolist())}
        for i, unit in enumerate(found.units)
    ]


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Dicts as a table; columns in the order of first use."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
