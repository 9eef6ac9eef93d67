"""``convscope adder``: a recurrent network with hand-made weights adds two binary numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cyclopts

from convscope.cli._opened import words
from convscope.cli._options import Json
from convscope.cli._output import emit, next_step, say, wrote
from convscope.cli._scratch import need_picture_name, save_figure

if TYPE_CHECKING:
    from convscope.scratch import Addition

WIDEST = 64
"""Places up to which the hidden units are shown on the screen."""


def add_numbers(
    first: str,
    second: str,
    /,
    *,
    figure: Path | None = None,
    as_json: Json = False,
) -> None:
    """Add two binary numbers with a recurrent network, and show its hidden units bit by bit.

    Args:
        first: Binary digits, such as 100111.
        second: Binary digits, such as 110010.
        figure: Draw the hidden units into this file (.png, .svg or .pdf).
        as_json: Print the sum, the hidden units and the outputs as JSON.
    """
    need_picture_name(figure)
    from convscope.scratch import addition

    found = addition(first, second)
    if not as_json and len(found.outputs) <= WIDEST:
        for line in written_out(found):
            say(line)
    if figure is not None:
        from convscope.figures import draw_addition

        save_figure(draw_addition(found), figure)
    facts = {
        "first": found.first,
        "second": found.second,
        "total": found.total,
        "inputs": found.inputs.tolist(),
        "hidden": found.hidden.tolist(),
        "outputs": found.outputs.tolist(),
    }
    emit(facts, as_json=as_json, text=found.total)
    if figure is not None:
        wrote(figure)
    elif not as_json and len(found.outputs) <= WIDEST:
        again = words("convscope", "adder", first, second)
        next_step(f"{again} --figure adder.png")


def written_out(found: Addition) -> list[str]:
    """The addition as on paper, highest bit left, with the hidden units between."""
    rows = {
        "first": found.inputs[:, 0],
        "second": found.inputs[:, 1],
        "1 or more": found.hidden[:, 0],
        "2 or more": found.hidden[:, 1],
        "all 3": found.hidden[:, 2],
        "sum": found.outputs,
    }
    notes = {"2 or more": "   (the carry to the next place)"}
    return [
        f"{name:>9}  {' '.join(map(str, bits[::-1]))}{notes.get(name, '')}"
        for name, bits in rows.items()
    ]


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(add_numbers, name="adder")
