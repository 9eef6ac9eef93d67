"""What ``convscope inspect`` does: explain images, maximize units, evaluate explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convscope.cli._methods import registry_of
from convscope.cli._opened import opened_images, opened_network, said_class
from convscope.cli._options import Common, Output, check_number
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
from convscope.cli._settings import Setting, arguments_of, settings_of
from convscope.cli._words import values_of
from convscope.errors import PartlyRefused, UsageError, choose

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.classifier import Classifier

MOST_REFERENCES = 5000
"""Training images that serve as reference."""

STEPS = {"steps": Setting(name="steps", kinds=("int",), default=200, meaning="Number of steps.")}
"""What every recipe takes."""


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

    from convscope.pages import (
        inspect_images,
        occlusion_rows,
        prediction_rows,
        shown_name,
        write_images,
    )

    methods = list(settings)
    for name in methods:
        if "generator" in arguments_of(registry_of(name), name):
            settings[name]["generator"] = torch.Generator().manual_seed(common.seed)
    chosen = opened_images(classifier, specs, common)
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
        title = shown_name(chosen.names[0]) if len(chosen) == 1 else counted(len(chosen))
        write_images(
            work, output.out, title=f"Explanations of {title}", force=output.force,
            formats=output.kinds,
        )  # fmt: skip
        wrote(output.out)
    if chosen.refused:
        for reason in chosen.refused:
            warn(reason)
        raise PartlyRefused(f"{counted(len(chosen.refused))} could not be read; the rest is done")


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


@dataclass(frozen=True)
class Units:
    """What is maximized, and how.

    Attributes:
        names: As typed, such as ``logits:3`` or ``pool2:0-9``.
        at: Where in a map: ``"center"``, ``"mean"`` or (row, column).
        recipe: A name in `VISUALIZATION_RECIPES`; by default the best that the data allow.
        options: Settings of the recipe, as typed.
        data: Data set of reference images, if any.
        judge: An independently trained model, if any.
    """

    names: str
    at: Any = "center"
    recipe: str | None = None
    options: Sequence[str] = ()
    data: str | None = None
    judge: str | None = None


def look_at_units(classifier: Classifier, wish: Units, common: Common, output: Output) -> None:
    """Synthesize images for units and show how active they are.

    Args:
        classifier: The network.
        wish: The units, and how to maximize them.
        common: Where data are, and the seed.
        output: What to write.
    """
    import torch

    from convscope.pages import effect_rows, unit_rows, write_units
    from convscope.visualizations import VISUALIZATION_RECIPES, chosen_recipe, neuron_images

    known = STEPS
    if wish.recipe is not None:
        recipes = VISUALIZATION_RECIPES
        known = settings_of(recipes[choose("recipe", wish.recipe, recipes)])
    settings = values_of(wish.recipe or "--units without --recipe", known, wish.options)
    check_number("--steps", settings.get("steps"))
    reference = reference_of(classifier, wish.data, common)
    evaluator = None
    if wish.judge is not None:
        evaluator = opened_network(wish.judge, named=True, device=common.device)
    made = chosen_recipe(wish.recipe, reference, **settings)
    with watching(f"optimizing images of {wish.names}"):
        found = neuron_images(
            classifier,
            wish.names,
            at=wish.at,
            recipe=made,
            reference=reference,
            evaluator=evaluator,
            generator=torch.Generator().manual_seed(common.seed),
        )
    rows = unit_rows(found)
    if found.layer == "logits":
        for row, number in zip(rows, found.channels.tolist(), strict=True):
            row["unit"] = f"{number} {found.class_names[number]!r}"
    if common.as_json:
        emit({"recipe": found.recipe, "units": rows, "effect": effect_rows(found)}, as_json=True)
    else:
        kept = output.out is not None
        cells = [list(row.values()) for row in rows]
        table(list(rows[0]), cells, found.recipe, most=SCREENFUL, written=kept)
        if found.layer != "logits":
            effects = effect_rows(found)
            cells = [list(row.values()) for row in effects]
            table(list(effects[0]), cells, "logits change", most=SCREENFUL, written=kept)
    for flag in found.flags:
        warn(flag)
    if found.held_out is not None:
        correct = found.held_out.correct
        say(f"a held-out evaluator classifies {correct} of {len(found.units)} as intended")
    if output.out is not None:
        title = f"Units of {wish.names.partition(':')[0]}"
        write_units(found, output.out, title=title, force=output.force, formats=output.kinds)
        wrote(output.out)


def reference_of(classifier: Classifier, data: str | None, common: Common) -> Tensor | None:
    """Training images of a data set, for priors and comparisons."""
    if data is None:
        return None
    from convscope.data import open_dataset, sample_rows

    with showing_progress("reading images"):
        dataset = open_dataset(
            data,
            data_dir=common.data_dir,
            offline=common.offline,
            skip_bad=common.skip_bad,
            accept_modified=common.accept_modified,
            input_shape=classifier.input_shape,
            resize=classifier.resize,
        )
    for reason in dataset.refused:
        warn(reason)
    part = dataset.train if len(dataset.train) else dataset.split("all")
    return part.to_float(sample_rows(part.labels, MOST_REFERENCES, seed=common.seed))


def place_in_map(text: str) -> Any:
    """``center``, ``mean``, or a row and a column.

    Raises:
        UsageError: U01 or U03 for anything else.

    Example:
        >>> place_in_map("3,4"), place_in_map("mean")
        ((3, 4), 'mean')
    """
    row, comma, column = text.partition(",")
    if text == "ROW,COLUMN":
        raise UsageError("--at ROW,COLUMN", code="U03", expected="two numbers, such as --at 3,4")
    if comma and row.strip().isdecimal() and column.strip().isdecimal():
        return int(row), int(column)
    return choose("place", text, ("center", "mean", "ROW,COLUMN"))
