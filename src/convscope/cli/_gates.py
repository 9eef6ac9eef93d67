"""Gates of scripts: ``--fail-under NAME=NUMBER``, the same names and grammar in every command."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from convscope.cli._output import fraction, say
from convscope.errors import UsageError, choose

SHORT = {
    "acc": "accuracy",
    "clean": "accuracy",
    "clean-accuracy": "accuracy",
    "robust-accuracy": "robust",
    "balanced-accuracy": "mean-per-class",
    "ece": "calibration-error",
    "error": "calibration-error",
    "calibration": "calibration-error",
    "top-1": "top1",
    "top-3": "top3",
    "top-5": "top5",
}
"""Names that people type."""

SHARES = ("accuracy", "mean-per-class", "worst-class", "robust", "certified", "top1", "top3",
          "top5", "calibration-error")  # fmt: skip
AT_MOST = ("calibration-error", "loss", "seconds-per-image", "parameters")
"""Upper limits; all others are lower limits."""

OVER_CLASSES = ("mean-per-class", "worst-class")
"""What cannot be judged where classes have no image."""


def read_gates(texts: Sequence[str], known: Sequence[str], *, bare: str = "") -> dict[str, float]:
    """``["accuracy=0.98,top3=0.99"]`` as limits by name.

    Args:
        texts: What was given, each NAME=NUMBER or several with commas.
        known: The gates that this command has.
        bare: The gate that a number alone means, if one is obvious.

    Raises:
        UsageError: U03 if an entry is no gate, is given twice, or asks for what cannot be.

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
        name = choose("gate", SHORT.get(name, name), known)
        if name in gates:
            raise UsageError(f"--fail-under {name} is given twice", code="U03")
        gates[name] = _limit(name, value)
    return gates


def _limit(name: str, text: str) -> float:
    limit = fraction(text)
    if not math.isfinite(limit) or limit < 0 or (name in SHARES and limit > 1):
        percent = name in SHARES and 5 <= limit <= 100
        raise UsageError(
            f"--fail-under {name}={text}",
            code="U03",
            expected="a share from 0 to 1" if name in SHARES else "a number of at least 0",
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
        value = found.get(name)
        if absent and name in OVER_CLASSES:
            few = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            failed.append(f"{name} cannot be judged: {len(absent)} classes have no image ({few})")
        elif value is None:
            failed.append(f"{name} was not measured")
        elif not (value <= limit if name in AT_MOST else value >= limit):
            word = "above" if name in AT_MOST else "under"
            failed.append(f"{name} is {value:.4g}, {word} {limit:g}")
    return failed
