"""``convscope inspect MODEL IMAGES``: where a network looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from convscope.cli._methods import registry_of
from convscope.cli._opened import said_class
from convscope.cli._options import Common, Output
from convscope.cli._output import (
    SCREENFUL,
    counted,
    emit,
    say,
    showing_progress,
    table,
    warn,
    watching,
    wrote,
)
from convscope.cli._settings import arguments_of
from convscope.errors import PartlyRefused, UsageError, choose

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.classifier import Classifier


def look_at_images(
    classifier: Classifier,
    specs: list[str],
    settings: Mapping[str, dict[str, Any]],
    targets: str,
    common: Common,
    output: Output,
) -> None:
    """Run methods on images and show what they found.

    Args:
        classifier: The network.
        specs: Images as typed.
        settings: The methods, in order, each with its keyword arguments.
        targets: Classes to explain: ``true``, ``predicted``, ``all`` or a class.
        common: Where data are, and the seed.
        output: What to write.
    """
    import torch

    from convscope.data import select_images
    from convscope.pages import inspect_images, occlusion_rows, prediction_rows, write_images

    methods = list(settings)
    for name in methods:
        if "generator" in arguments_of(registry_of(name), name):
            settings[name]["generator"] = torch.Generator().manual_seed(common.seed)
    with showing_progress("reading images"):
        chosen = select_images(
            specs, like=classifier, data_dir=common.data_dir, offline=common.offline,
            skip_bad=common.skip_bad,
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
    if common.as_json:
        costs = {n: f.cost for n, f in work.found.items() if getattr(f, "cost", None) is not None}
        found = {"images": rows, "tables": tables, "cost": costs, "notes": list(chosen.notes)}
        found |= {"flags": flags, "execution": classifier.describe()["execution"]}
        if isinstance(aims, int):
            found["target"] = {"number": aims, "name": classifier.class_names[aims]}
        emit(found, as_json=True)
    else:
        kept = output.out is not None
        cells = [list(row.values()) for row in rows]
        table(list(rows[0]), cells, most=SCREENFUL, written=kept)
        for name, lines in tables.items():
            if len(chosen) == 1:
                lines = sorted(lines, key=lambda line: line["probability"])
                cells = [list(line.values()) for line in lines]
                title = f"{name}: what hiding each window leaves of the class, lowest first"
                table(list(lines[0]), cells, title, most=SCREENFUL, written=kept)
    if output.out is not None:
        title = chosen.names[0] if len(chosen) == 1 else counted(len(chosen))
        write_images(
            work, output.out, title=f"Explanations of {title}", force=output.force,
            formats=output.kinds,
        )  # fmt: skip
        wrote(output.out)
    if chosen.refused:
        for reason in chosen.refused:
            warn(reason)
        raise PartlyRefused(f"{len(chosen.refused)} images could not be read; the rest is done")


def targets_of(classifier: Classifier, text: str, labels: Tensor | None) -> Any:
    """Targets as explanations take them.

    Args:
        classifier: The network.
        text: ``true``, ``predicted``, ``all``, or a class by name or number.
        labels: True classes, if they are known.

    Raises:
        UsageError: U08 for a class that there is not.
    """
    if text == "all":
        return "all"
    if text == "predicted" or (text == "true" and labels is None):
        return None
    if text == "true":
        return labels
    from convscope.data import class_number

    try:
        number = class_number(text, classifier.class_names)
    except UsageError as error:
        if error.hint.startswith("give the class") or error.what.startswith("no class"):
            raise
        names = ["true", "predicted", "all", *classifier.class_names]
        return choose("target", text, names, code="U08")
    found = said_class(number, classifier.class_names, typed=text)
    say(f"target: {found['number']} {found['name']!r}")
    return number
