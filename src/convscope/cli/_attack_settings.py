"""Settings of a method on the command line, read from its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from convscope.cli._output import fraction
from convscope.errors import UsageError, choose

HANDLED = ("targets", "generator", "validation", "start")
"""Arguments that no plain text can give."""


def settings_of(method: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Name as typed (``step-size``) to parameter, for everything that text can set."""
    parameters = inspect.signature(method).parameters.values()
    return {
        p.name.replace("_", "-"): p
        for p in parameters
        if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name not in HANDLED
    }


def read_settings(name: str, method: Callable[..., Any], words: Sequence[str]) -> dict[str, Any]:
    """``["--steps", "40", "--random-start"]`` as keyword arguments of `method`.

    Args:
        name: Of the method, for messages.
        method: What the settings are for.
        words: Options and their values.

    Raises:
        UsageError: U01 for a setting the method does not have, with the closest names; U11 for a
            value of another type or a setting given twice.

    Example:
        >>> def method(a, *, steps: int = 4, epsilon: float = 0.1, fast: bool = False): ...
        >>> read_settings("method", method, ["--epsilon=8/255", "--fast"])["fast"]
        True
    """
    known = settings_of(method)
    given: dict[str, Any] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        option, equals, value = word.removeprefix("--").partition("=")
        negated = option.startswith("no-") and option not in known
        option = choose(f"setting of {name}", option.removeprefix("no-") if negated else option,
                        known, code="U11")  # fmt: skip
        parameter = known[option]
        if parameter.name in given:
            raise UsageError(f"--{option} is given twice", code="U11")
        kind = str(parameter.annotation)
        if kind == "bool" and not equals:
            given[parameter.name] = not negated
            continue
        if not equals:
            if not queue:
                raise UsageError(f"--{option} needs a value", code="U11")
            value = queue.pop(0)
        given[parameter.name] = _converted(option, kind, value)
    return given


def without_budget(
    method: Callable[..., Any], words: Sequence[str]
) -> tuple[list[str], float | None]:
    """Take ``--epsilon`` out of the options of a method that has none; the words left, and it.

    Example:
        >>> def method(a, *, steps: int = 4): ...
        >>> without_budget(method, ["--epsilon", "8/255", "--steps=2"])
        (['--steps=2'], 0.03137254901960784)
    """
    if "epsilon" in settings_of(method):
        return list(words), None
    left, found = list(words), None
    for place, word in enumerate(left):
        option, equals, value = word.partition("=")
        if option != "--epsilon":
            continue
        if not equals and place + 1 == len(left):
            raise UsageError("--epsilon needs a value", code="U11")
        found = fraction(value if equals else left[place + 1])
        if not 0 <= found < float("inf"):
            raise UsageError(
                f"epsilon must be at least 0 and finite, got {found}",
                code="U03",
                expected="a radius in pixel units, such as 8/255",
            )
        del left[place : place + (1 if equals else 2)]
        break
    return left, found


def _converted(option: str, kind: str, text: str) -> Any:
    if text.lower() == "none" and "None" in kind:
        return None
    if "View" in kind:
        return named_views(text)
    if kind == "bool":
        if text.lower() not in ("true", "false"):
            raise UsageError(f"--{option} {text!r}", code="U11", expected="true or false")
        return text.lower() == "true"
    if "int" in kind and "float" not in kind:
        try:
            return int(text)
        except ValueError:
            raise UsageError(
                f"--{option} {text!r}", code="U11", expected="a whole number"
            ) from None
    if "Sequence[float]" in kind or "tuple[float" in kind:
        return tuple(fraction(part) for part in text.split(","))
    return fraction(text) if "float" in kind else text


def named_views(text: str) -> Any:
    """``"rotation,crop"``: at every draw one of these views, or the image as it is.

    Raises:
        UsageError: U01 for a view that there is not.
    """
    from convscope.attacks import VIEWS, either

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--views is empty", code="U11", expected=", ".join(VIEWS))
    return either(*(VIEWS[choose("view", name, VIEWS)] for name in names))
