"""What a search varies: ranges and choices of settings, and their TOML file."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from convscope import files
from convscope.errors import UsageError, choose
from convscope.training._batches import number
from convscope.training._settings import (
    TrainSettings,
    checked_table,
    place_of,
    read_text,
    with_values,
)

Value = bool | int | float | str

FIXED = ("model", "data", "preset", "train_split")
"""Settings that cannot be searched: what the command names, and what trials are measured on."""

MOST_COMBINATIONS = 100_000
LARGEST = 2**63
"""No end of a range is beyond this."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One setting that a search varies.

    Attributes:
        name: Of the setting; of one in a table, with the table: ``augment.degrees``.
        choices: The values, if it is a choice among these.
        low: Smallest value of a range.
        high: Largest value, which is included.
        log: Whether ratios count, not differences.
        whole: Whether values are whole numbers.
        points: Into how many evenly spaced values the range is divided; 0: not at all.

    Example:
        >>> rate = Dimension(name="learning_rate", low=0.001, high=0.1, log=True, points=3)
        >>> rate.values(), rate.at(0.99)
        ((0.001, 0.01, 0.1), 0.1)
    """

    name: str
    choices: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    points: int = 0

    @property
    def is_discrete(self) -> bool:
        """Whether only certain values are tried."""
        return bool(self.choices or self.points)

    def values(self) -> tuple[Value, ...]:
        """All values, in order.

        Raises:
            UsageError: A range of fractions has no end of them.
        """
        if self.choices:
            return self.choices
        if self.points:
            steps = [i / (self.points - 1) for i in range(self.points)]
            return tuple(dict.fromkeys(self._within(step) for step in steps))
        if self.whole and self.high - self.low < MOST_COMBINATIONS:
            return tuple(range(int(self.low), int(self.high) + 1))
        raise UsageError(
            f"a grid needs to know which values of {self.name} to try",
            code="U11",
            expected=f"{self.name} = {{ low = {self.low:g}, high = {self.high:g}, points = 5 }}, "
            "or a list of values",
        )

    def at(self, share: float) -> Value:
        """The value at a share from 0 (included) to 1 of the range or of the list of choices."""
        if self.is_discrete:
            values = self.values()
            return values[min(int(share * len(values)), len(values) - 1)]
        if self.whole and not self.log:
            count = int(self.high) - int(self.low) + 1
            return int(self.low) + min(int(share * count), count - 1)
        return self._within(share)

    def place(self, value: Value) -> float:
        """Where a value lies, from 0 to 1: the inverse of `at`, for pictures and regressions."""
        if self.choices:
            last = len(self.choices) - 1
            return self.choices.index(value) / last if last and value in self.choices else 0.5
        assert not isinstance(value, str)
        low, high, at = self.low, self.high, float(value)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low)

    def _within(self, share: float) -> Value:
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            value = math.exp(low + share * (high - low))
        else:
            value = self.low + share * (self.high - self.low)
        # Six digits: enough to try, and short enough to type again.
        value = min(max(float(f"{value:.6g}"), self.low), self.high)
        return round(value) if self.whole else value


Space = tuple[Dimension, ...]


def space_from_table(
    table: Mapping[str, Any], *, text: str = "", where: object = ""
) -> tuple[Dimension, ...]:
    """The dimensions that a table describes.

    Args:
        table: By setting, a list of values or a table of ``low``, ``high`` and, if wanted,
            ``log`` and ``points``; settings of a table such as ``augment`` in a table of its name.
        text: The TOML text that it came from, for the line in error messages.
        where: The file's name, likewise.

    Raises:
        UsageError: U11 or U03: an unknown setting (with the closest), a value of the wrong kind, an
            impossible range; the text names the line.

    Example:
        >>> space = space_from_table({"learning_rate": {"low": 1e-3, "high": 0.1, "log": True},
        ...     "augment": {"shift": [0, 1, 2]}})
        >>> [dimension.name for dimension in space]
        ['learning_rate', 'augment.shift']
    """
    found = _dimensions(table, TrainSettings, "", text, where)
    if not found:
        raise UsageError(
            "names nothing to vary",
            code="U11",
            where=where,
            expected="lines such as learning_rate = { low = 0.001, high = 0.1, log = true }",
        )
    return tuple(found)


def read_space(path: Path) -> tuple[Dimension, ...]:
    """The dimensions in a TOML file.

    Raises:
        UsageError: As `space_from_table`; or the file is missing, no text, or not TOML.
        ResourceError: It may not be read.
    """
    if not path.exists():
        raise UsageError(
            "no such file",
            code="U02",
            where=path,
            expected="a TOML file of what to vary",
            hint="such as: echo "
            + shlex.quote("learning_rate = { low = 0.001, high = 0.1, log = true }")
            + f" > {shlex.quote(str(path))}",
        )
    text = read_text(path)
    table = files.parse_toml(text, files.SETTINGS, where=path)
    return space_from_table(table, text=text, where=path)


def _dimensions(
    table: Mapping[str, Any], kind: Any, above: str, text: str, where: object
) -> list[Dimension]:
    hints = get_type_hints(kind)
    found = []
    for key, value in table.items():
        place = place_of(where, text, key)
        try:
            choose("setting", key, hints, code="U11")
        except UsageError as error:
            raise UsageError(
                f"unknown setting {above + key!r}", code="U11", where=place, hint=error.hint
            ) from None
        if not above and key in FIXED:
            raise UsageError(
                f"{key} is what the search is about, not what it varies", code="U11", where=place
            )
        if not is_dataclass(hints[key]):
            found.append(_dimension(f"{above}{key}", key, value, kind, hints[key], place))
        elif isinstance(value, Mapping):
            found += _dimensions(value, hints[key], f"{key}.", text, where)
        else:
            raise UsageError(
                f"{key} is {value!r}", code="U11", where=place, expected=f"[{key}] table"
            )
    return found


RANGE = ("low", "high", "log", "points")


def _dimension(name: str, key: str, value: Any, kind: Any, wanted: Any, place: str) -> Dimension:
    """One line of the file, checked."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        choices = tuple(checked_table({key: one}, kind, where=place)[key] for one in value)
        if not choices or len(set(choices)) < len(choices):
            raise UsageError(
                f"{name} = {list(value)!r}",
                code="U11",
                where=place,
                expected="one or more values, each once",
            )
        return Dimension(name=name, choices=choices)
    if not isinstance(value, Mapping):
        raise UsageError(
            f"{name} is {value!r}, which is nothing to vary",
            code="U11",
            where=place,
            expected="a list of values, or a range { low = ..., high = ... }",
            hint="give settings that stay the same as flags: convscope search MODEL --epochs 3 ...",
        )
    if get_origin(wanted) is Literal or wanted not in (int, float):
        options = f": {', '.join(map(str, get_args(wanted)))}" if get_args(wanted) else ""
        raise UsageError(
            f"{name} has no range",
            code="U11",
            where=place,
            expected=f"a list of values{options}",
        )
    for option in value:
        try:
            choose("part of a range", option, RANGE, code="U11")
        except UsageError as error:
            error.where = place
            raise
    if "low" not in value or "high" not in value:
        raise UsageError(
            f"the range of {name} lacks {'low' if 'low' not in value else 'high'}",
            code="U11",
            where=place,
            expected="{ low = ..., high = ... }, and log = true or points = 5 if wanted",
        )
    low, high = (
        checked_table({key: value[end]}, kind, where=place)[key] for end in ("low", "high")
    )
    log, points = value.get("log", False), value.get("points", 0)
    if type(log) is not bool or type(points) is not int or points == 1 or points < 0:
        raise UsageError(
            f"the range of {name} has log = {log!r} and points = {points!r}",
            code="U11",
            where=place,
            expected="log is true or false, points a whole number from 2",
        )
    if not -LARGEST < low < high < LARGEST:
        raise UsageError(
            f"the range of {name} goes from {low} to {high}",
            code="U03",
            where=place,
            expected="two finite numbers, low below high",
        )
    if log and low <= 0:
        raise UsageError(
            f"the range of {name} begins at {low} and is logarithmic",
            code="U03",
            where=place,
            expected="low above 0 with log = true",
        )
    if points > MOST_COMBINATIONS:
        raise UsageError(
            f"points is {points:,}", code="U03", where=place, expected=f"2 to {MOST_COMBINATIONS:,}"
        )
    return Dimension(name=name, low=low, high=high, log=log, whole=wanted is int, points=points)


def with_parameters(settings: TrainSettings, parameters: Mapping[str, Value]) -> TrainSettings:
    """`settings` with the values of a trial put in.

    Raises:
        UsageError: They contradict each other.

    Example:
        >>> settings = TrainSettings(model="mnist-conv1", data="digits")
        >>> with_parameters(settings, {"augment.shift": 2}).augment.shift
        2
    """
    table: dict[str, Any] = {}
    for name, value in parameters.items():
        outer, dot, inner = name.partition(".")
        if dot:
            table.setdefault(outer, {})[inner] = value
        else:
            table[name] = value
    return with_values(settings, checked_table(table, TrainSettings))


def check_space(space: Space, settings: TrainSettings, *, images: int) -> None:
    """Try the ends of every range and every choice, each alone, before anything is trained.

    Raises:
        UsageError: One of them is no value of its setting, or a batch is larger than the data.
    """
    for dimension in space:
        ends = dimension.choices or (dimension._within(0.0), dimension._within(1.0))
        for value in ends:
            if dimension.name == "batch_size" and int(value) > images:
                raise UsageError(
                    f"batch_size goes up to {value}, the training split has {images} images",
                    code="T19",
                    expected=f"1 to {images}",
                )
            try:
                with_parameters(settings, {dimension.name: value})
            except UsageError as error:
                # What two settings must agree on is known only in a trial.
                if error.what == f"{dimension.name.rpartition('.')[2]} is {value}":
                    raise


def random_parameters(space: Space, *, seed: int, trial: int) -> dict[str, Value]:
    """What random search tries in a trial: a function of seed, trial and name, of nothing else.

    Example:
        >>> space = space_from_table({"epochs": [1, 2, 3]})
        >>> random_parameters(space, seed=0, trial=4) == random_parameters(space, seed=0, trial=4)
        True
    """
    return {d.name: d.at(number(seed, f"search/{d.name}", trial) / 2**63) for d in space}


def grid_of(space: Space, *, seed: int) -> list[dict[str, Value]]:
    """All combinations of the values, in an order that the seed decides: a part of it is spread.

    Raises:
        UsageError: A range of fractions has no ``points``, or there are too many combinations.
    """
    axes = [dimension.values() for dimension in space]
    count = math.prod(map(len, axes))
    if count > MOST_COMBINATIONS:
        raise UsageError(
            f"the grid has {count:,} combinations",
            code="U03",
            expected=f"at most {MOST_COMBINATIONS:,}",
            hint="--method random tries as many of them as you say",
        )
    names = [dimension.name for dimension in space]
    every = [dict(zip(names, row, strict=True)) for row in itertools.product(*axes)]
    places = sorted(range(count), key=lambda place: number(seed, "search/grid", place))
    return [every[place] for place in places]


def described(space: Space) -> list[dict[str, Any]]:
    """The dimensions as JSON can hold them."""
    return [{**asdict(dimension), "choices": list(dimension.choices)} for dimension in space]
