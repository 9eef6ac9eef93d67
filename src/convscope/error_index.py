"""The index of error codes, derived from the source: what ``convscope explain U11`` prints.

Nothing is imported but `convscope.errors`, so that the command line need not wait for torch. The
general sentences on each code stand in `convscope.error_codes`; `convscope._raise_sites` finds
where codes are raised, with the templates of the messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from convscope._raise_sites import CLASSES, Site, sites
from convscope.error_codes import CODES, FAMILIES, Code
from convscope.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Everything on one code.

    Attributes:
        code: Such as ``"U11"``.
        words: What kind of situation it is, and what to do.
        sites: Where it is raised, in the order of the files.
    """

    code: str
    words: Code
    sites: tuple[Site, ...]

    @property
    def family(self) -> str:
        """What the first letter says."""
        return FAMILIES[self.code[0]]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the classes of errors, in the order of the source; without notes."""
        return tuple(dict.fromkeys(site.kind for site in self.sites if site.kind in CLASSES))

    @property
    def exit_codes(self) -> tuple[int, ...]:
        """Exit codes of the command line, smallest first; none if the code only marks notes."""
        return tuple(sorted({CLASSES[kind].exit_code for kind in self.kinds}))

    def messages(self) -> dict[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], list[str]]:
        """Message, expectation and fix of each error, with the places that raise it."""
        found: dict[Any, list[str]] = {}
        for site in self.sites:
            key = site.what, site.expected, site.fix
            found.setdefault(key, []).append(f"{site.file}:{site.line} {site.function}")
        return {key: list(dict.fromkeys(places)) for key, places in found.items()}


@cache
def error_index() -> dict[str, Entry]:
    """Every code of the source, sorted.

    Example:
        >>> entry = error_index()["U15"]
        >>> entry.kinds, entry.exit_codes, entry.sites[0].what
        (('UsageError',), (2,), ('size must be odd and positive, got {size}',))
    """
    found: dict[str, list[Site]] = {}
    for site in sites():
        found.setdefault(site.code, []).append(site)
    return {
        code: Entry(code=code, words=CODES.get(code, Code("", "")), sites=tuple(found[code]))
        for code in sorted(found)
    }


def explain(code: str) -> Entry:
    """The entry of a code, however it is written: ``u11``, ``error[U11]``.

    Raises:
        UsageError: U01 for a code that does not exist, with the closest ones of its letter.

    Example:
        >>> explain("error[m25]").code
        'M25'
    """
    index = error_index()
    wanted = re.sub(r"^error\[(.*)\]:?$", r"\1", code.strip(), flags=re.I).upper()
    if wanted in index:
        return index[wanted]
    family = [known for known in index if known[:1] == wanted[:1]]
    close = get_close_matches(wanted, family, n=3, cutoff=0.3)
    raise UsageError(
        f"unknown error code {code!r}",
        code="U01",
        expected=f"one of the letters {', '.join(FAMILIES)} and two digits, such as U11",
        hint=f"did you mean {' or '.join(close)}?" if close else "convscope explain lists all",
    )
