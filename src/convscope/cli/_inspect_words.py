"""What the words of ``convscope inspect`` mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli._opened import said_class
from convscope.cli._output import Progress, say, warn
from convscope.errors import UsageError, choose

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.classifier import Classifier

MOST_REFERENCES = 5000


def shares_of_work(bar: Progress, work: dict[str, int], words: str) -> Callable[[str, float], None]:
    """Hand (task, share of it) on to a bar of 100, tasks weighted by their `work`."""
    in_all = sum(work.values())
    ends: dict[str, float] = {}
    end = said = 0.0
    for name, passes in work.items():
        end += 100 * passes / in_all
        ends[name] = end

    def on_progress(name: str, share: float) -> None:
        nonlocal said
        reached = ends[name] - (1 - share) * 100 * work[name] / in_all
        bar.describe(f"{words} {name}")
        bar.advance(max(0.0, reached - said))
        said = max(said, reached)

    return on_progress


def method_names(text: str, known: Iterable[str]) -> list[str]:
    """Comma-separated names, each of them known."""
    names = [name.strip().replace("_", "-") for name in text.split(",")]
    return [choose("explanation", name, known) for name in names]


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

    dataset = open_dataset(
        data,
        data_dir=data_dir,
        offline=offline,
        skip_bad=skip_bad,
        input_shape=classifier.input_shape,
        resize=classifier.resize,
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
        if error.hint.startswith("give the class"):
            raise
        names = ["true", "predicted", "all", *classifier.class_names]
        return choose("target", text, names, code="U08")
    found = said_class(number, classifier.class_names, typed=text)
    say(f"target: {found['number']} {found['name']!r}")
    return number


def place_in_map(text: str) -> Any:
    row, comma, column = text.partition(",")
    if comma and row.strip().isdecimal() and column.strip().isdecimal():
        return int(row), int(column)
    return choose("place", text, ("center", "mean"))


def fill_of(text: str | None) -> Any:
    if text is None or text in ("mean", "blur"):
        return text
    from convscope.cli._output import fraction

    return fraction(text)
