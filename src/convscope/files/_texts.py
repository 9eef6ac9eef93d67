"""JSON, TOML and XML: bounded before anything is built from them; values as plain JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from convscope.files._door import Kind, decoded, read_bytes, read_text

LONGEST_WHOLE_NUMBER = 40
"""Digits. Python needs quadratic time for more, and refuses 4,300."""

LONGEST_NUMBER = 400
"""Characters of a number with a fraction or an exponent."""

# Each starts at a quote and always matches, so that unfinished strings cost no second look.
_JSON_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_TOML_QUIET = re.compile(
    r'"""[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*+(?:"""|\\?\Z)'
    r"|'''[^']*+(?:'(?!'')[^']*+)*+(?:'''|\Z)"
    r'|"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"?'
    r"|'[^'\n]*+'?"
    r"|\#[^\n]*+"
    r"|\s+",
    re.DOTALL,
)


def parse_json(data: bytes | str, kind: Kind, *, where: object) -> Any:
    """JSON with no key twice, no numbers of thousands of digits, no bottomless nesting.

    Args:
        data: The text.
        kind: Says how deep it may be, and which error to raise.
        where: The file, for the error text.

    Raises:
        ConvscopeError: Of the kind's class: not JSON, or one of the above.

    Example:
        >>> from convscope.files import REPORT
        >>> parse_json('{"a": [1, 2.5]}', REPORT, where="report.json")
        {'a': [1, 2.5]}
        >>> parse_json("[" * 5000, REPORT, where="report.json")
        Traceback (most recent call last):
        convscope.errors.DataError: report.json: is damaged, not JSON: nested deeper than 64 levels
    """
    try:
        return loads_json(data, deepest=kind.deepest, not_finite=kind.not_finite)
    except ValueError as error:
        raise kind.error(
            f"is damaged, not JSON: {error}", code=kind.damaged, where=where, hint=kind.hint
        ) from None


def read_json(path: Path | str, kind: Kind) -> Any:
    """The JSON in a file.

    Raises:
        ConvscopeError: See `opened` and `parse_json`.
    """
    return parse_json(read_bytes(path, kind), kind, where=path)


def read_json_table(path: Path | str, kind: Kind) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ConvscopeError: See `read_json`; also for a list, a number or a text.
    """
    tree = read_json(path, kind)
    if not isinstance(tree, dict):
        raise kind.error(
            f"holds a {type(tree).__name__}, not a table", code=kind.damaged, where=path
        )
    return tree


def loads_json(data: bytes | str, *, deepest: int = 64, not_finite: bool = False) -> Any:
    """`json.loads` that raises nothing but ValueError, whatever comes.

    Raises:
        ValueError: Not JSON (a `json.JSONDecodeError`, with the position), or out of bounds.
    """
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    if _json_depth(text, deepest) > deepest:
        raise ValueError(f"nested deeper than {deepest} levels")
    try:
        return json.loads(
            text,
            object_pairs_hook=_once,
            parse_int=_whole,
            parse_float=_any_fraction if not_finite else _fraction,
            parse_constant=float if not_finite else _not_a_number,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def plain_json(value: Any, *, text: Callable[[str], str] | None = None) -> Any:
    """`value` as what JSON knows: always valid, whatever library its numbers are of.

    Dataclasses become tables, tuples lists, tensors and arrays lists of Python numbers, NaN and
    infinity None, and what JSON does not know (a path, say) its text.

    Args:
        value: A tree of any of these.
        text: Changes every text of the tree, such as one that hides paths; keys stay as they are.

    Example:
        >>> plain_json({"a": (1, float("nan")), 2: Path("x")})
        {'a': [1, None], '2': 'x'}
        >>> plain_json(["a", {"b": "c"}], text=str.upper)
        ['A', {'b': 'C'}]
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value if text is None else text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain_json(entry, text=text) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(entry, text=text) for entry in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {name: plain_json(getattr(value, name), text=text) for name in names}
    if hasattr(value, "tolist"):  # a tensor or array; neither torch nor NumPy is imported for it
        return plain_json(value.tolist(), text=text)
    return plain_json(str(value), text=text)


def parse_toml(text: str, kind: Kind, *, where: object) -> dict[str, Any]:
    """TOML with bounded nesting (tables, arrays and dotted keys) and 64-bit whole numbers.

    Raises:
        ConvscopeError: Of the kind's class: not TOML, or out of bounds.

    Example:
        >>> from convscope.files import SETTINGS
        >>> parse_toml("epochs = 3", SETTINGS, where="config.toml")
        {'epochs': 3}
    """
    try:
        if _toml_depth(text) > kind.deepest:
            raise ValueError(f"nested deeper than {kind.deepest} levels")
        table = tomllib.loads(text)
        _check_values(table, kind.deepest)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"
        if "integer string conversion" in reason:
            reason = "a whole number of thousands of digits"
        raise kind.error(f"not valid TOML: {reason}", code=kind.damaged, where=where) from None
    return table


def read_toml(path: Path | str, kind: Kind) -> dict[str, Any]:
    """The TOML in a file.

    Raises:
        ConvscopeError: See `opened` and `parse_toml`.
    """
    return parse_toml(read_text(path, kind), kind, where=path)


def parse_xml(text: str, *, deepest: int) -> ElementTree.Element:
    """The root of an XML text without entities, at most `deepest` elements inside each other.

    Raises:
        ValueError: Not well-formed, nested too deeply, or with declarations of entities.

    Example:
        >>> parse_xml("<a><b/></a>", deepest=2).tag
        'a'
    """
    depth = 0

    def start(name: str, attributes: object) -> None:
        nonlocal depth
        depth += 1
        if depth > deepest:
            raise ValueError(f"nested deeper than {deepest} levels")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def entity(*described: object) -> None:
        raise ValueError("entity declarations are refused")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(text, True)
        return ElementTree.fromstring(text)
    except (expat.ExpatError, ElementTree.ParseError) as error:
        raise ValueError(f"not well-formed: {error}") from None


def parse_lines(data: bytes, kind: Kind, *, where: object) -> tuple[str, ...]:
    """The lines of a text that hold something, without the spaces around them."""
    lines = (line.strip() for line in decoded(data, kind, where=where).splitlines())
    return tuple(line for line in lines if line)


def _json_depth(text: str, deepest: int) -> int:
    """How deep brackets outside of strings are nested; any bound up to `deepest` will do."""
    brackets = text.count("[") + text.count("{")
    return brackets if brackets <= deepest else _brackets(_JSON_STRING.sub("", text))


def _brackets(bare: str) -> int:
    deepest = depth = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _toml_depth(text: str) -> int:
    """How deep arrays, tables and dotted keys are nested."""
    bare = _TOML_QUIET.sub("", text)
    # A piece may end with the fraction of a number and begin the key of the next line.
    dots = max((piece.count(".") - 1 for piece in re.split(r"[,=\[\]{}]", bare)), default=0)
    return max(_brackets(bare), dots)


def _check_values(table: dict[str, Any], deepest: int) -> None:
    waiting: list[tuple[Any, int]] = [(table, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > deepest:
            raise ValueError(f"nested deeper than {deepest} levels")
        if isinstance(value, dict):
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in value]
        elif type(value) is int and not -(2**63) <= value < 2**63:
            raise ValueError("a whole number beyond 64 bits")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:40]!r} occurs twice")
    return table


def _whole(text: str) -> int:
    if len(text) > LONGEST_WHOLE_NUMBER:
        raise ValueError(f"a whole number of {len(text):,} digits")
    return int(text)


def _any_fraction(text: str) -> float:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text):,} characters")
    return float(text)


def _fraction(text: str) -> float:
    value = _any_fraction(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _not_a_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number in JSON")
