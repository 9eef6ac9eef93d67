"""TrainSettings as TOML: strict on the way in, complete on the way out."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from convscope import files
from convscope.errors import UsageError, choose
from convscope.training._settings import TrainSettings


def settings_to_toml(settings: TrainSettings) -> str:
    """Every field, in the order of the class; `settings_from_toml` gives back an equal object.

    Example:
        >>> text = settings_to_toml(TrainSettings(model="mnist-conv1", data="mnist"))
        >>> text.splitlines()[:2]
        ['model = "mnist-conv1"', 'data = "mnist"']
    """
    return "\n".join(_lines(settings)) + "\n"


def _lines(settings: Any) -> list[str]:
    hints = get_type_hints(type(settings))
    plain, tables = [], []
    for name, kind in hints.items():
        value = getattr(settings, name)
        if is_dataclass(kind):
            tables += ["", f"[{name}]", *_lines(value)]
        else:
            plain.append(f"{name} = {_written(float(value) if kind is float else value)}")
    return plain + tables


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def table_from_toml(text: str, *, where: object = "") -> dict[str, Any]:
    """The checked keys of a TOML text; keys that it does not name are not in the result.

    Args:
        text: TOML with the fields of `TrainSettings`, all or some.
        where: The file's name, for the error text.

    Raises:
        UsageError: Not TOML, an unknown key (with the closest), or a value of the wrong kind; the
            text names the line.
    """
    table = files.parse_toml(text, files.SETTINGS, where=where)
    return checked_table(table, TrainSettings, text=text, where=where)


def checked_table(
    table: Mapping[str, Any], kind: Any, *, text: str = "", where: object = "", above: str = ""
) -> dict[str, Any]:
    """The entries of `table`, each of the kind that the dataclass `kind` declares."""
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    checked: dict[str, Any] = {}
    for key, value in table.items():
        place = _place(where, text, key)
        try:
            choose("setting", key, known, code="U11")
        except UsageError as error:
            hint = f"{error.hint}"
            raise UsageError(
                f"unknown setting {above + key!r}", code="U11", where=place, hint=hint
            ) from None
        wanted = hints[key]
        if is_dataclass(wanted):
            if not isinstance(value, Mapping):
                raise UsageError(
                    f"{above}{key} is {value!r}", code="U11", where=place, expected=f"[{key}] table"
                )
            checked[key] = checked_table(value, wanted, text=text, where=where, above=f"{key}.")
        else:
            checked[key] = _converted(value, wanted, f"{above}{key}", place)
    return checked


def with_values(settings: TrainSettings, table: Mapping[str, Any]) -> TrainSettings:
    """`settings` with the entries of a checked table put in, nested tables field by field."""
    changes = {
        key: replace(getattr(settings, key), **value) if isinstance(value, Mapping) else value
        for key, value in table.items()
    }
    return replace(settings, **changes)


def settings_from_toml(text: str, *, where: object = "") -> TrainSettings:
    r"""The settings that a complete TOML text describes.

    Raises:
        UsageError: As `table_from_toml`; also when ``model`` or ``data`` is missing.

    Example:
        >>> settings_from_toml('model = "mnist-conv1"\ndata = "mnist"\nepochs = 3').epochs
        3
        >>> settings_from_toml('model = "m"\ndata = "d"\nepoch = 3')
        Traceback (most recent call last):
        convscope.errors.UsageError: line 3: unknown setting 'epoch'
          fix: did you mean epochs?
    """
    table = table_from_toml(text, where=where)
    for name in ("model", "data"):
        if name not in table:
            raise UsageError(f"no {name} = ...", code="U11", where=where)
    base = TrainSettings(model=table["model"], data=table["data"])
    return with_values(base, table)


def read_settings(path: Path) -> TrainSettings:
    """The settings in a TOML file, such as the ``config.toml`` of a run folder."""
    return settings_from_toml(read_text(path), where=path)


def read_text(path: Path) -> str:
    """The text of a config file.

    Raises:
        UsageError: The file is missing, is a folder, a pipe or a device, is too large, or is not
            UTF-8.
        ResourceError: It may not be read.
    """
    return files.read_text(files.usable_path(path), files.SETTINGS)


def _converted(value: Any, wanted: Any, name: str, place: str) -> Any:
    if get_origin(wanted) is Literal:
        if value in get_args(wanted):
            return value
        expected = "one of " + ", ".join(map(str, get_args(wanted)))
    elif wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is wanted:
        return value
    else:
        expected = {int: "a whole number", float: "a number", str: "text in quotes"}.get(
            wanted, str(wanted)
        )
    raise UsageError(f"{name} is {value!r}", code="U11", where=place, expected=expected)


def _place(where: object, text: str, key: str) -> str:
    line = next(
        (
            i
            for i, line in enumerate(text.splitlines(), 1)
            if re.match(rf'\s*"?{re.escape(key)}\b', line)
        ),
        None,
    )
    return ", ".join(filter(None, [str(where), f"line {line}" if line else ""]))
