"""What ``convscope inspect`` does: explain images, maximize units, evaluate explanations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convscope.cli._methods import registry_of
from convscope.cli._opened import opened_data, opened_images, opened_network, said_class
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

SMALL = 112
"""Sides in pixels up to which every method is evaluated without being asked."""

MOST_PASSES_IF_LARGE = 50
"""Methods with more passes per image are evaluated on larger images only if asked."""

COUNT, COUNT_IF_LARGE = 32, 16

WORTH_SAYING = 20
"""Seconds."""


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


def usual_methods(large: bool) -> tuple[list[str], list[str]]:
    """Explanation methods that are evaluated without being asked, and those that are not.

    Example:
        >>> usual_methods(large=False)[1], usual_methods(large=True)[1]
        ([], ['integrated-gradients', 'rise'])
    """
    from convscope.explanations import EXPLANATIONS, passes_per_map

    most = MOST_PASSES_IF_LARGE if large else math.inf
    usual = [name for name in EXPLANATIONS if passes_per_map(name) <= most]
    return usual, [name for name in EXPLANATIONS if name not in usual]


def judge_methods(
    classifier: Classifier,
    chosen: list[str] | None,
    data: str,
    split: str | None,
    count: int | None,
    common: Common,
    output: Output,
) -> None:
    """Put explanation methods to tests on a sample of a data set.

    Args:
        classifier: The network.
        chosen: The methods; by default all that are quick enough for images of this size.
        data: The data set.
        split: Of the data.
        count: At most this many images.
        common: Where data are, and the seed.
        output: What to write.
    """
    import torch

    from convscope.explanations import EXPLANATIONS, passes_per_map, trust_passes
    from convscope.pages import seconds_per_pass, trust_on, trust_rows, write_trust

    large = min(classifier.input_shape[1:]) > SMALL
    usual, left_out = usual_methods(large)
    if left_out and chosen is None:
        parts = [f"{name} ({passes_per_map(name)} passes per map)" for name in left_out]
        say(f"for images of this size without {' and '.join(parts)}; --show adds them")
    names = usual if chosen is None else chosen
    methods = {name: EXPLANATIONS[name] for name in names}
    most = count if count is not None else COUNT_IF_LARGE if large else COUNT
    opened = opened_data(
        classifier, data, split=split, count=most, common=common, labels_needed=False
    )
    sample, dataset = opened.split, opened.dataset
    generator = torch.Generator().manual_seed(common.seed)
    work = trust_passes(classifier, len(sample), methods)
    seconds = sum(work.values()) * seconds_per_pass(classifier, sample.to_float())
    if seconds > WORTH_SAYING:
        say(f"about {duration(seconds)} for {counted(len(sample))}; --count and --show change that")
    with watching("evaluating explanations"):
        found = trust_on(
            classifier,
            sample,
            methods,
            classes=classifier.num_classes if opened.labeled else 0,
            generator=generator,
        )
    lines = trust_rows(found)
    if common.as_json:
        facts = {"data": data, **opened.facts()}
        emit(facts | {"images": found.images, "methods": lines, "notes": found.notes}, as_json=True)
    else:
        applied = [key for key in lines[0] if any(line[key] is not None for line in lines)]
        shown = [["" if line[key] is None else line[key] for key in applied] for line in lines]
        table(applied, shown, title="which explanations to trust")
    for text in found.notes:
        warn(text)
    if output.out is not None:
        title = f"Which explanations to trust: {dataset.name}"
        write_trust(found, output.out, title=title, force=output.force, formats=output.kinds)
        wrote(output.out)
    opened.raise_if_refused()


def duration(seconds: float) -> str:
    """Roughly.

    Example:
        >>> duration(40), duration(400), duration(10000)
        ('40 seconds', '7 minutes', '3 hours')
    """
    if seconds < 90:
        return f"{max(1, round(seconds / 10)) * 10} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{round(seconds / 3600)} hours"
