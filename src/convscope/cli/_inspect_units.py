"""``convscope inspect MODEL --units``: what units like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli._output import SCREENFUL, emit, say, table, warn, watching, wrote

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.classifier import Classifier


def look_at_units(
    classifier: Classifier,
    units: str,
    place: Any,
    recipe: str | None,
    steps: int | None,
    reference: Tensor | None,
    judge: Classifier | None,
    seed: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    import torch

    from convscope.studies._inspection import write_units
    from convscope.studies._inspection_tables import effect_rows, unit_rows
    from convscope.visualizations import chosen_recipe, neuron_images

    made = chosen_recipe(recipe, reference, **({} if steps is None else {"steps": steps}))
    with watching(f"optimizing images of {units}"):
        found = neuron_images(
            classifier,
            units,
            at=place,
            recipe=made,
            reference=reference,
            evaluator=judge,
            generator=torch.Generator().manual_seed(seed),
        )
    rows = unit_rows(found)
    if found.layer == "logits":
        for row, number in zip(rows, found.channels.tolist(), strict=True):
            row["unit"] = f"{number} {found.class_names[number]!r}"
    if as_json:
        emit({"recipe": found.recipe, "units": rows, "effect": effect_rows(found)}, as_json=True)
    else:
        kept = out is not None
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
    if out is not None:
        write_units(found, out, title=f"Units of {units.partition(':')[0]}", force=force)
        wrote(out)
