"""How commands talk: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from convscope.errors import UsageError, printable


@dataclass
class Voice:
    """How loud this process is: set once by ``--quiet`` and ``--no-progress``."""

    quiet: bool = False
    progress: bool = True


VOICE = Voice()


def say(text: str) -> None:
    """A line for people, on stderr."""
    if not VOICE.quiet:
        print(printable(text, limit=2000), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """A warning for people, on stderr, also with ``--quiet``."""
    print(f"warning: {printable(text, limit=2000)}", file=sys.stderr, flush=True)


def wrote(path: Path | str) -> None:
    """Say which file or folder a command has written."""
    path = Path(path)
    size = f" ({path.stat().st_size / 1024:,.0f} KB)" if path.is_file() else ""
    say(f"wrote {path}{size}")


def next_step(command: str) -> None:
    """Suggest what to run now."""
    say(f"next: {command}")


def data_place(data_dir: Path | None) -> str:
    """The words that make the next command find the same data.

    Example:
        >>> from pathlib import Path
        >>> data_place(None), data_place(Path("my data"))
        ('', " --data-dir 'my data'")
    """
    return "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"


def emit(value: Any, *, as_json: bool = False, text: str | None = None) -> None:
    """The result of a command, on stdout.

    Args:
        value: What machines get: JSON with NaN as null.
        as_json: True for machines.
        text: What people get; by default the plain entries of `value`, a line each.
    """
    if as_json:
        from convscope.results import finite_json

        print(json.dumps(finite_json(value), ensure_ascii=False, allow_nan=False))
    elif text is not None:
        print(text)
    elif isinstance(value, dict):
        width = max((len(str(k)) for k in value), default=0)
        for key, entry in value.items():
            print(f"{key!s:<{width}}  {_plain(entry)}")
    else:
        print(value)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """A table on stdout: drawn for a terminal, tab-separated for a pipe."""
    if not sys.stdout.isatty():
        print("\t".join(headers))
        for row in rows:
            print("\t".join(printable(_plain(cell)) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(printable(title)) if title else None, title_justify="left")
    for header in headers:
        drawn.add_column(header)
    for row in rows:
        drawn.add_row(*(Text(printable(_plain(cell))) for cell in row))
    Console().print(drawn)


Advance = Callable[[float], None]
"""Tell a progress display that so much more is done."""


class Progress:
    """One running task of a display."""

    def __init__(self, advance: Callable[[float], None], describe: Callable[[str], None]) -> None:
        self.advance = advance
        self.describe = describe


@contextmanager
def progress(description: str, total: float | None) -> Iterator[Progress]:
    """A progress bar with an estimate of the time left, on stderr.

    Where stderr is no terminal, a plain line about every ten seconds takes its place.

    Example:
        >>> with progress("reading", total=3) as bar:
        ...     for _ in range(3):
        ...         bar.advance(1)
    """
    if VOICE.quiet or not VOICE.progress:
        yield Progress(lambda amount: None, lambda text: None)
    elif _is_terminal():
        with _rich_bar(description, total) as bar:
            yield bar
    else:
        yield _plain_lines(description, total)


@contextmanager
def _rich_bar(description: str, total: float | None) -> Iterator[Progress]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=False) as bars:
        task = bars.add_task(escape(printable(description)), total=total)
        yield Progress(
            lambda amount: bars.advance(task, amount),
            lambda text: bars.update(task, description=escape(printable(text))),
        )


def _plain_lines(description: str, total: float | None) -> Progress:
    state = {"done": 0.0, "said": time.monotonic(), "started": time.monotonic()}
    words = [description]

    def advance(amount: float) -> None:
        state["done"] += amount
        now = time.monotonic()
        if now - state["said"] < 10:
            return
        state["said"] = now
        if total:
            share = min(state["done"] / total, 1.0)
            left = (now - state["started"]) * (1 - share) / max(share, 1e-9)
            say(f"{words[0]}: {share:.0%}, about {left:.0f} s left")
        else:
            say(f"{words[0]}: {state['done']:.0f}")

    def describe(text: str) -> None:
        words[0] = text

    return Progress(advance, describe)


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def fraction(text: str) -> float:
    """``"8/255"`` and ``"0.03"`` alike, as a number.

    Raises:
        UsageError: U03 if it is neither.

    Example:
        >>> fraction("8/255") == 8 / 255
        True
    """
    try:
        above, slash, below = text.partition("/")
        return float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        raise UsageError(
            f"{text!r} is not a number", code="U03", expected="a number such as 0.3 or 8/255"
        ) from None


def _convert_fraction(hint: Any, tokens: Sequence[Any]) -> float:
    return fraction(tokens[0].value)


Fraction = Annotated[float, cyclopts.Parameter(converter=_convert_fraction)]
"""Annotation of options that accept ``8/255``."""


def parse_gates(texts: Sequence[str]) -> dict[str, float]:
    """``["accuracy=0.98", "robust=0.4"]`` as a dict of least values.

    Raises:
        UsageError: If an entry is not NAME=NUMBER.
    """
    gates = {}
    for part in (p for text in texts for p in text.split(",") if p):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise UsageError(f"--fail-under {part!r}", expected="NAME=NUMBER, as accuracy=0.98")
        gates[name.strip()] = fraction(value)
    return gates


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return str(value)
