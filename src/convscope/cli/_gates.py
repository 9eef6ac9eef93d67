"""Gates of scripts: ``--fail-under NAME=NUMBER``, the same names and grammar in every command."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from convscope._metrics import METRICS, Command, gates_of
from convscope.cli._output import fraction, say
from convscope.errors import UsageError, choose


def gates_help(command: Command, example: str, *, bare: str = "") -> str:
    """What ``--fail-under`` of a command takes, for its help page.

    Args:
        command: The command.
        example: Gates to show.
        bare: The gate that a number alone means, if one is obvious.

    Example:
        >>> print(gates_help("attack evaluate", "robust=0.4"))
        Exit with 1 unless reached, such as robust=0.4. Lower limits: accuracy, robust.
    """
    names = gates_of(command)
    least = [name for name in names if METRICS[name].better == "higher"]
    most = [name for name in names if METRICS[name].better == "lower"]
    text = f"Exit with 1 unless reached, such as {example}. Lower limits: {', '.join(least)}."
    text += f" Upper limits: {', '.join(most)}." if most else ""
    return text + (f" A number alone means {bare}." if bare else "")


def read_gates(texts: Sequence[str], known: Sequence[str], *, bare: str = "") -> dict[str, float]:
    """``["accuracy=0.98,top3=0.99"]`` as limits by name.

    Args:
        texts: What was given, each NAME=NUMBER or several with commas.
        known: The gates that this command has.
        bare: The gate that a number alone means, if one is obvious.

    Raises:
        UsageError: U01 for a name that is no metric; U03 for a metric that this command does not
            compute, with the commands that do, for a gate given twice and a limit that cannot be.

    Example:
        >>> read_gates(["acc=0.98,ece=0.02"], ["accuracy", "calibration-error"])
        {'accuracy': 0.98, 'calibration-error': 0.02}
    """
    gates: dict[str, float] = {}
    for part in (p.strip() for text in texts for p in text.split(",") if p.strip()):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and bare and _is_number(part):
            name, value = bare, part
            say(f"gate: {bare}={part}")
        elif not equals or not name or not value:
            raise UsageError(
                f"--fail-under {part!r}",
                code="U03",
                expected=f"NAME=NUMBER, as {known[0]}=0.9; names: {', '.join(known)}",
            )
        name = name.lower().replace("_", "-")
        meant = {alias: spec.name for spec in METRICS.values() for alias in spec.aliases}
        name = meant.get(name, name)
        if name in METRICS and name not in known:
            others = " or ".join(f"convscope {command}" for command in METRICS[name].gate)
            raise UsageError(
                f"--fail-under {name}: this command does not compute it",
                code="U03",
                expected=f"one of {', '.join(known)}",
                hint=f"{others} computes {name}",
            )
        name = choose("gate", name, known)
        if name in gates:
            raise UsageError(f"--fail-under {name} is given twice", code="U03")
        gates[name] = _limit(name, value)
    return gates


def _limit(name: str, text: str) -> float:
    limit, is_share = fraction(text), METRICS[name].unit == "share"
    if not math.isfinite(limit) or limit < 0 or (is_share and limit > 1):
        percent = is_share and 5 <= limit <= 100
        raise UsageError(
            f"--fail-under {name}={text}",
            code="U03",
            expected="a share from 0 to 1" if is_share else "a number of at least 0",
            hint=f"did you mean {name}={limit / 100:g}?" if percent else "",
        )
    return limit


def _is_number(text: str) -> bool:
    try:
        fraction(text)
    except UsageError:
        return False
    return True


def failed_gates(
    gates: Mapping[str, float], found: Mapping[str, float], absent: Sequence[str] = ()
) -> list[str]:
    """One sentence per gate that was not reached, or cannot be judged without some classes.

    Args:
        gates: Limits by name.
        found: What was measured.
        absent: Classes without an image.

    Example:
        >>> failed_gates({"accuracy": 0.98, "loss": 0.1}, {"accuracy": 0.97, "loss": 0.05})
        ['accuracy is 0.97, under 0.98']
    """
    failed = []
    for name, limit in gates.items():
        value, spec = found.get(name), METRICS[name]
        at_most = spec.better == "lower"
        if absent and spec.over_classes:
            few = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            failed.append(f"{name} cannot be judged: {len(absent)} classes have no image ({few})")
        elif value is None:
            failed.append(f"{name} was not measured")
        elif not (value <= limit if at_most else value >= limit):
            word = "above" if at_most else "under"
            failed.append(f"{name} is {value:.4g}, {word} {limit:g}")
    return failed
