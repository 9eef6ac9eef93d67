"""``convscope inspect MODEL --units``: images that maximize units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convscope.cli._opened import opened_network
from convscope.cli._options import Common, Output, check_number
from convscope.cli._output import (
    SCREENFUL,
    emit,
    say,
    showing_progress,
    table,
    warn,
    watching,
    wrote,
)
from convscope.cli._setting_values import values_of
from convscope.cli._settings import Setting, settings_of
from convscope.errors import UsageError, choose

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.classifier import Classifier


MOST_REFERENCES = 5000
"""Training images that serve as reference."""

STEPS = {"steps": Setting(name="steps", kinds=("int",), default=200, meaning="Number of steps.")}
"""What every recipe takes."""


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
