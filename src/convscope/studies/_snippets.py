"""Python that a reader can run, taken from functions of the study itself: it cannot rot.

A snippet is an ordinary function. Its body is what the page shows and what the notebook runs; a
type checker and a test run see it like any other code. Its parameters are names that the notebook
has: ``data``, ``data_dir``, ``seed``, ``fast`` from the first cell, and what the body of the
study's `setup` assigns. ``return x`` at the end becomes ``x``, which a notebook shows.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from convscope.errors import UsageError


def code_of(snippet: Callable[..., Any]) -> str:
    """The body of a function as code of its own, without what only a formatter reads.

    Args:
        snippet: Defined in a file.

    Raises:
        UsageError: If it returns anywhere but at the end.
    """
    source = textwrap.dedent(inspect.getsource(snippet))
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    early = [node for inner in body for node in ast.walk(inner) if isinstance(node, ast.Return)]
    last = body[-1]
    if any(node is not last for node in early):
        raise UsageError(f"the snippet {function.name} returns before its end")
    lines = source.splitlines()[body[0].lineno - 1 : last.end_lineno]
    if isinstance(last, ast.Return):
        place = last.lineno - body[0].lineno
        lines[place] = lines[place].replace("return ", "", 1)
    return textwrap.dedent("\n".join(lines)).replace("  # fmt: skip", "")


def first_cell(*, fast: bool, seed: int, data: str) -> str:
    """What the notebook calls its settings: names that snippets may take."""
    return (
        f"data, data_dir = {data!r}, None  # data_dir: the folder that holds the data files\n"
        f"seed, fast = {seed}, {fast}"
    )
