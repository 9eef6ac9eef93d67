"""``convscope inspect MODEL IMAGES``: where a network looks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli._attack_settings import arguments_of
from convscope.cli._inspect_words import counted, registry_of, targets_of
from convscope.cli._output import SCREENFUL, emit, showing_progress, table, warn, watching, wrote
from convscope.errors import PartlyRefused

if TYPE_CHECKING:
    from convscope.classifier import Classifier


def look_at_images(
    classifier: Classifier,
    specs: list[str],
    methods: list[str],
    targets: str,
    settings: dict[str, dict[str, Any]],
    seed: int,
    data_dir: Path | None,
    skip_bad: bool,
    offline: bool,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    import torch

    from convscope.data import select_images
    from convscope.studies._inspection import inspect_images, write_images
    from convscope.studies._inspection_tables import occlusion_rows, prediction_rows

    for name in methods:
        if "generator" in arguments_of(registry_of(name), name):
            settings[name]["generator"] = torch.Generator().manual_seed(seed)
    with showing_progress("reading images") as step:
        chosen = select_images(
            specs, like=classifier, data_dir=data_dir, offline=offline, skip_bad=skip_bad,
            progress=step,
        )  # fmt: skip
    for note in chosen.notes:
        warn(note)
    aims = targets_of(classifier, targets, chosen.labels)
    with watching(f"explaining {counted(len(chosen))}"):
        work = inspect_images(
            classifier,
            chosen.images,
            show=methods,
            names=chosen.names,
            labels=chosen.labels,
            targets=aims,
            settings=settings,
        )
    rows = prediction_rows(work)
    tables = {
        name: occlusion_rows(found.table, classifier.class_names, chosen.names)
        for name, found in work.found.items()
        if getattr(found, "table", None) is not None
    }
    flags = {name: list(getattr(found, "flags", ())) for name, found in work.found.items()}
    for name, several in flags.items():
        for flag in several:
            warn(f"{name}: {flag}")
    if as_json:
        costs = {n: f.cost for n, f in work.found.items() if getattr(f, "cost", None) is not None}
        found = {"images": rows, "tables": tables, "cost": costs, "notes": list(chosen.notes)}
        found |= {"flags": flags, "execution": classifier.describe()["execution"]}
        if isinstance(aims, int):
            found["target"] = {"number": aims, "name": classifier.class_names[aims]}
        emit(found, as_json=True)
    else:
        kept = out is not None
        cells = [list(row.values()) for row in rows]
        table(list(rows[0]), cells, most=SCREENFUL, written=kept)
        for name, lines in tables.items():
            if len(chosen) == 1:
                lines = sorted(lines, key=lambda line: line["probability"])
                cells = [list(line.values()) for line in lines]
                title = f"{name}: what hiding each window leaves of the class, lowest first"
                table(list(lines[0]), cells, title, most=SCREENFUL, written=kept)
    if out is not None:
        title = chosen.names[0] if len(chosen) == 1 else counted(len(chosen))
        write_images(work, out, title=f"Looking at {title}", force=force)
        wrote(out)
    if chosen.refused:
        for reason in chosen.refused:
            warn(reason)
        raise PartlyRefused(f"{len(chosen.refused)} images could not be read; the rest is done")
