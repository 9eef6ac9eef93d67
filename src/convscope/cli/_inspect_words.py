"""What the words of ``convscope inspect`` mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope._registry import Registry
from convscope.cli._attack_settings import arguments_of
from convscope.cli._opened import said_class
from convscope.cli._output import fraction, say, showing_progress, warn
from convscope.errors import UsageError, choose
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.classifier import Classifier

MOST_REFERENCES = 5000


def method_names(text: str, known: Iterable[str]) -> list[str]:
    """Comma-separated names, each of them known, by whatever name they are known elsewhere.

    Example:
        >>> method_names("gradcam, ig", ["grad-cam", "integrated-gradients"])
        ['grad-cam', 'integrated-gradients']
    """
    names = list(known)
    found = []
    for typed in (part.strip() for part in text.split(",")):
        if not typed:
            raise UsageError(f"--show {text!r}", code="U01", expected="names with commas between")
        meant = typed.lower().replace("_", "-")
        meant = meant if meant in names else EXPLANATIONS.known(typed)
        found.append(choose("explanation", meant if meant in names else typed, names))
    return list(dict.fromkeys(found))


def registry_of(name: str) -> Registry[Any, Any]:
    """Where a name of ``--show`` is registered."""
    return EXPLANATIONS if name in EXPLANATIONS else LAYER_VIEWS


def options_of_methods(methods: Sequence[str], given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings by method, from options that were given.

    Args:
        methods: What is shown.
        given: Option to value; ``None`` where it was not given.

    Raises:
        UsageError: U11 for an option that none of the methods has, with those that have it.
    """
    settings: dict[str, dict[str, Any]] = {name: {} for name in methods}
    takes = {name: arguments_of(registry_of(name), name) for name in (*LAYER_VIEWS, *EXPLANATIONS)}
    for option, value in given.items():
        if value is None:
            continue
        mine = [name for name in methods if option in takes[name]]
        if not mine:
            others = [name for name, has in takes.items() if option in has]
            raise UsageError(
                f"{' and '.join(methods)} {'have' if len(methods) > 1 else 'has'} no "
                f"--{option.replace('_', '-')}",
                code="U11",
                expected=f"--show with one of {', '.join(others)}",
            )
        for name in mine:
            settings[name][option] = value
    return settings


def refuse_others(mode: str, given: dict[str, object], homes: dict[str, str]) -> None:
    """Refuse options that have no meaning for what is inspected.

    Args:
        mode: What is inspected: ``"IMAGES"``, ``"--units"`` or ``"--trust"``.
        given: Options that were given and do not belong to it.
        homes: Option to what it belongs to.

    Raises:
        UsageError: U11.
    """
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise UsageError(
            f"{mode} takes no {' or '.join(f'--{name}' for name in wrong)}",
            code="U11",
            expected="; ".join(f"--{name} belongs to {homes[name]}" for name in wrong),
        )


def duration(seconds: float) -> str:
    """Roughly.

    Example:
        >>> duration(40), duration(400), duration(10000)
        ('40 seconds', '7 minutes', '3 hours')
    """
    if seconds < 90:
        return f"{max(1, round(seconds / 10)) * 10} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{round(seconds / 3600)} hours"


def counted(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def reference_of(
    classifier: Classifier,
    data: str | None,
    data_dir: Path | None,
    offline: bool,
    seed: int,
    skip_bad: bool = False,
) -> Tensor | None:
    if data is None:
        return None
    from convscope.data import open_dataset, sample_rows

    with showing_progress("reading images") as step:
        dataset = open_dataset(
            data,
            data_dir=data_dir,
            offline=offline,
            skip_bad=skip_bad,
            input_shape=classifier.input_shape,
            resize=classifier.resize,
            progress=step,
        )
    for reason in dataset.refused:
        warn(reason)
    part = dataset.train if len(dataset.train) else dataset.split("all")
    return part.floats(sample_rows(part.labels, MOST_REFERENCES, seed=seed))


def targets_of(classifier: Classifier, text: str, labels: Tensor | None) -> Any:
    if text == "all":
        return "all"
    if text == "predicted" or (text == "true" and labels is None):
        return None
    if text == "true":
        return labels
    from convscope.data import class_number

    try:
        number = class_number(text, classifier.class_names)
    except UsageError as error:
        if error.hint.startswith("give the class") or error.what.startswith("no class"):
            raise
        names = ["true", "predicted", "all", *classifier.class_names]
        return choose("target", text, names, code="U08")
    found = said_class(number, classifier.class_names, typed=text)
    say(f"target: {found['number']} {found['name']!r}")
    return number


def place_in_map(text: str) -> Any:
    row, comma, column = text.partition(",")
    if text == "ROW,COLUMN":
        raise UsageError("--at ROW,COLUMN", code="U03", expected="two numbers, such as --at 3,4")
    if comma and row.strip().isdecimal() and column.strip().isdecimal():
        return int(row), int(column)
    return choose("place", text, ("center", "mean", "ROW,COLUMN"))


def fill_of(text: str | None) -> Any:
    """``mean``, ``blur``, or a grey level.

    Raises:
        UsageError: U03 for anything else.
    """
    if text is None or text in ("mean", "blur"):
        return text
    if not any(character.isdigit() for character in text):
        return choose("fill", text, ("mean", "blur", "a grey level such as 0.5"))
    level = fraction(text)
    if not 0 <= level <= 1:
        meant = f"did you mean {level:g}/255?" if 1 < level <= 255 else ""
        raise UsageError(
            f"--fill {text}", code="U03", expected="a grey level from 0 to 1", hint=meant
        )
    return level
