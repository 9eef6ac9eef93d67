"""How commands talk: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import cyclopts

from convscope._durations import clock, time_left
from convscope.errors import UsageError, printable
from convscope.files import plain_json


@dataclass
class Voice:
    """How this process talks, by the options that every command takes, and what it was asked for.

    Attributes:
        quiet: Only results, warnings and errors.
        progress: Whether to draw progress bars.
        debug: Whether errors come with their traceback.
        words: The command as typed, without these options.
    """

    quiet: bool = False
    progress: bool = True
    debug: bool = False
    words: tuple[str, ...] = ()


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


def next_step(command: str, *words: str) -> None:
    """Suggest what to run now: a command that can be pasted as it stands.

    Args:
        command: Its beginning, as typed.
        words: The rest; each is quoted where a shell needs it.
    """
    say(f"next: {command} {shlex.join(words)}".rstrip())


def not_kept(what: str, out: Path | None, *, name: str) -> None:
    """Without ``--out``, say that pictures are not written, and the command that writes them."""
    if out is not None:
        return
    say(f"{what} not written: --out {name}.html makes a page of them, --out {name} a folder")
    if VOICE.words:
        next_step("convscope", *VOICE.words, "--out", fresh_name(f"{name}.html"))


def fresh_name(wish: str) -> str:
    """`wish`, or the first of ``wish-2``, ``wish-3``... that is not taken."""
    path, number = Path(wish), 1
    while path.exists():
        number += 1
        path = Path(wish).with_stem(f"{Path(wish).stem}-{number}")
    return str(path)


def data_place(data_dir: Path | None) -> list[str]:
    """The words that make the next command find the same data.

    Example:
        >>> from pathlib import Path
        >>> data_place(None), data_place(Path("my data"))
        ([], ['--data-dir', 'my data'])
    """
    return [] if data_dir is None else ["--data-dir", str(data_dir)]


def counted(count: int) -> str:
    """A number of images, in words."""
    return "1 image" if count == 1 else f"{count} images"


def emit(value: Any, *, as_json: bool = False, text: str | None = None) -> None:
    """The result of a command, on stdout.

    Args:
        value: What machines get: JSON with NaN as null.
        as_json: True for machines.
        text: What people get; by default the plain entries of `value`, a line each.
    """
    if as_json:
        print(json.dumps(plain_json(value), ensure_ascii=False, allow_nan=False))
    elif text is not None:
        print(text)
    elif isinstance(value, dict):
        width = max((len(str(k)) for k in value), default=0)
        for key, entry in value.items():
            print(f"{key!s:<{width}}  {_plain(entry)}")
    else:
        print(value)


SCREENFUL = 16
"""Rows of a table of results that are shown; all of them are in JSON and in what --out names."""


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    title: str = "",
    *,
    most: int | None = None,
    written: bool = False,
) -> None:
    """A table on stdout: drawn for a terminal, tab-separated for a pipe.

    Args:
        headers: One per column.
        rows: The cells.
        title: Above the table, on a terminal.
        most: Show only so many rows, and say where all of them are.
        written: Whether the command also writes them to its ``--out``.
    """
    more = 0 if most is None else len(rows) - most
    if most is not None and more > 0:
        place = "what --out names" if written else "--json, and --out NAME writes them"
        say(f"the first {most} of {len(rows):,} rows; all are in {place}")
        rows = rows[:most]
    if not sys.stdout.isatty():
        print("\t".join(headers))
        for row in rows:
            print("\t".join(printable(_plain(cell), limit=2000) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(printable(title)) if title else None, title_justify="left")
    for header in headers:
        drawn.add_column(header)
    for row in rows:
        drawn.add_row(*(Text(printable(_plain(cell))) for cell in row))
    if more > 0:
        drawn.add_row(f"... {more:,} more")
    Console().print(drawn)


class Progress(NamedTuple):
    """One running task of a display: how to move it on, and how to say what is being done."""

    advance: Callable[[float], None]
    describe: Callable[[str], None]


@contextmanager
def progress(
    description: str, total: float | None, *, transient: bool = False
) -> Iterator[Progress]:
    """A progress bar with an estimate of the time left, on stderr.

    Where stderr is no terminal, a plain line about every ten seconds takes its place.

    Args:
        description: What is done.
        total: How much `Progress.advance` will add up to; ``None`` if nobody knows yet.
        transient: Leave no trace on a terminal, and nothing elsewhere.

    Example:
        >>> with progress("reading", total=3) as bar:
        ...     for _ in range(3):
        ...         bar.advance(1)
    """
    if VOICE.quiet or not VOICE.progress:
        yield Progress(lambda amount: None, lambda text: None)
    elif _is_terminal():
        with _rich_bar(description, total, transient) as bar:
            yield bar
    else:
        yield _plain_lines(description, total)


@contextmanager
def watching(description: str) -> Iterator[Progress]:
    """A progress bar that hears how far the method inside the block is.

    Example:
        >>> from convscope.progress import announce
        >>> with watching("attacking"):
        ...     announce(0.5)
    """
    from convscope.progress import watch

    with progress(description, total=100) as bar:
        said = 0.0

        def on_progress(share: float, what: str) -> None:
            nonlocal said
            bar.describe(f"{description}: {what}" if what else description)
            if share > said:
                bar.advance(100 * (share - said))
                said = share

        with watch(on_progress):
            yield bar


@contextmanager
def showing_progress(title: str) -> Iterator[None]:
    """A progress bar for whatever the block downloads or decodes.

    Nothing is shown before there is something to do.
    """
    from convscope.progress import watch

    with ExitStack() as stack:
        bars: list[Progress] = []
        said, file = 0.0, ""

        def on_progress(share: float, what: str) -> None:
            nonlocal said, file
            words = f"{title}: {what}" if what else title
            if not bars:
                bars.append(stack.enter_context(progress(words, total=100)))
            elif what != file:
                bars[0].describe(words)
            bars[0].advance(100 * (share - said))
            said, file = share, what

        with watch(on_progress):
            yield


@contextmanager
def _rich_bar(description: str, total: float | None, transient: bool) -> Iterator[Progress]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Time(ProgressColumn):
        """Time gone, and left where that can be said."""

        max_refresh = 0.5

        def render(self, task: Task) -> Text:
            gone = task.finished_time if task.finished else task.elapsed
            words = clock(gone or 0.0)
            done = task.completed / task.total if task.total else 0.0
            if task.finished or not gone:
                return Text(words)
            return Text(words + time_left(gone, done))

    class Share(ProgressColumn):
        """Percent, where the whole is known."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.percentage:3.0f} %" if task.total else "")

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20),
               Share(), Time())  # fmt: skip
    with Bars(*columns, console=Console(stderr=True), transient=transient) as bars:
        task = bars.add_task(escape(printable(description)), total=total)
        yield Progress(
            lambda amount: bars.advance(task, amount),
            lambda text: bars.update(task, description=escape(printable(text))),
        )


def _plain_lines(description: str, total: float | None) -> Progress:
    state = {"done": 0.0, "said": time.monotonic(), "started": time.monotonic()}
    words = [description]
    whole = [total]

    def advance(amount: float) -> None:
        state["done"] += amount
        now = time.monotonic()
        if now - state["said"] < 10:
            return
        state["said"] = now
        if whole[0]:
            share = min(state["done"] / whole[0], 1.0)
            say(f"{words[0]}: {share:.0%}{time_left(now - state['started'], share)}")
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


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    return str(value)
