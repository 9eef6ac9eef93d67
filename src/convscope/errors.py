"""What can go wrong, in one family.

Every error that a user can cause is a `ConvscopeError`. Its text has at most three lines: what
happened (and where), why it matters or what was expected, and what to do. The command line prints
the text, never a traceback, and leaves with the `exit_code` of the class.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import ClassVar


class ConvscopeError(Exception):
    """Something that a user can understand and mend.

    Args:
        what: One line: what is wrong, with the value that came.
        code: Row of the catalogue of bad inputs, such as ``"D03"``.
        where: File, layer or option that the error is about. Control characters are escaped.
        expected: What would have been right.
        hint: What to do next.
    """

    exit_code: ClassVar[int] = 70

    def __init__(
        self, what: str, *, code: str = "", where: object = "", expected: str = "", hint: str = ""
    ) -> None:
        self.what = printable(what)
        self.code = code
        self.where = printable(str(where))
        self.expected = printable(expected)
        self.hint = printable(hint)
        super().__init__(self.what)

    def __str__(self) -> str:
        """Up to three lines: where and what, what was expected, what to do."""
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.hint:
            lines.append(f"  fix: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way between processes with every field."""
        return (_rebuild, (type(self), self.what, self.__dict__.copy()))


def _rebuild(kind: type[ConvscopeError], what: str, state: dict[str, str]) -> ConvscopeError:
    error = kind(what)
    error.__dict__.update(state)
    return error


class GateFailed(ConvscopeError):
    """A threshold given with ``--fail-under`` was not reached, or a check failed."""

    exit_code = 1


class UsageError(ConvscopeError, ValueError):
    """An option, a setting or an argument makes no sense."""

    exit_code = 2


class DataError(ConvscopeError):
    """A data file is missing, damaged, hostile or not what it says."""

    exit_code = 3


class ImageError(DataError):
    """An image cannot be read, or its pixels are not in [0, 1]."""


class ModelContractError(ConvscopeError):
    """A network does not behave as a classifier: shapes, outputs, layers."""

    exit_code = 4


class UnknownLayer(ModelContractError, KeyError):
    """No layer of that name; the text lists the closest ones."""

    def __str__(self) -> str:
        """The family's text: `KeyError` would print its argument quoted."""
        return ConvscopeError.__str__(self)


class CheckpointError(ConvscopeError):
    """A checkpoint or weight file is damaged, hostile or belongs to another network."""

    exit_code = 4


class NumericalError(ConvscopeError):
    """NaN or infinity where a number is needed."""

    exit_code = 5


class ResourceError(ConvscopeError):
    """Disk, memory, permission or network: the machine says no."""

    exit_code = 6


class RunBusyError(ConvscopeError):
    """Another process works in this run folder."""

    exit_code = 7


class PartlyRefused(ConvscopeError):
    """The work is done, but some items were refused; the text counts them."""

    exit_code = 8


def printable(text: str, limit: int = 400) -> str:
    r"""`text` on one line, with everything that could move a terminal's cursor escaped.

    Control characters, direction overrides and lone surrogates become ``\x1b``-style escapes;
    texts longer than `limit` characters are cut in the middle.

    Example:
        >>> printable("cat\n\x1b[31mdog")
        'cat\\n\\x1b[31mdog'
    """
    out = []
    for character in text:
        category = unicodedata.category(character)
        if category in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"):
            out.append(character.encode("unicode_escape").decode("ascii"))
        else:
            out.append(character)
    line = "".join(out)
    if len(line) > limit:
        line = f"{line[: limit // 2]} ... {line[-limit // 3 :]}"
    return line


def choose(
    kind: str,
    name: str,
    known: Iterable[str],
    *,
    code: str = "U01",
    aliases: Mapping[str, str] | None = None,
) -> str:
    """`name` if it is one of `known`; otherwise an error that names the closest.

    Args:
        kind: What the names are of.
        name: What was given.
        known: What there is.
        code: Of the error.
        aliases: Other names that people type, and what they mean: close ones are suggested by
            what they mean.

    Raises:
        UsageError: ``unknown attack 'pdg'``, with the closest names and all of them if few.

    Example:
        >>> choose("attack", "ddn", ["ddn", "fab"])
        'ddn'
    """
    names = list(known)
    if name in names:
        return name
    meant = {other: to for other, to in (aliases or {}).items() if to in names}
    near = get_close_matches(name, [*names, *meant], n=3, cutoff=0.55)
    close = list(dict.fromkeys(meant.get(other, other) for other in near))
    hint = f"did you mean {' or '.join(close)}?" if close else "use one of the names above"
    shown = names if len(names) <= 40 else [*names[:40], "..."]
    raise UsageError(
        f"unknown {kind} {name!r}", code=code, expected=f"one of {', '.join(shown)}", hint=hint
    )
