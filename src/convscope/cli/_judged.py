"""The frame of a command that judges in blocks: judge or plan, put together, show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convscope._metrics import Command
from convscope.cli._large import Large, judged
from convscope.cli._options import NOWHERE, Output
from convscope.cli._plan import FEW, MORE, show_plan
from convscope.cli._trials import show_trials
from convscope.sharding import Job, Judging, Record

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.cli._large import Subject

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class JudgedCommand:
    """A command whose work is blocks that many processes may share.

    Attributes:
        kind: Of its jobs; what `merge` finds it by.
        combine: ``combine(settings, facts, head, records)``: the result of all blocks, without
            network and data.
        show: ``show(result, facts, gates, *, as_json, output)`` prints and writes a result, whoever
            judged.
        knows: Whether facts that come from a file are those of such a job.
        gates: The command whose gates it has; None: it has none.
        bare: The gate that a number alone means.
        unit: What is counted, in words.
    """

    kind: str
    combine: Callable[[Settings, Settings, Record, Sequence[Record]], Any]
    show: Callable[..., None]
    knows: Callable[[Job], bool]
    gates: Command | None = None
    bare: str = ""
    unit: str = "images"


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """How ``--dry-run`` tries a job on a few images; see `show_plan`.

    Attributes:
        of: The judging of some images.
        copies: Floats that the job holds of each pixel.
        times: How much longer an image of the job takes.
        few: Images of the first try.
        more: Of the second one.
    """

    of: Callable[[Any], Judging]
    copies: int = 0
    times: float = 1.0
    few: int = FEW
    more: int = MORE


@dataclass(frozen=True, kw_only=True)
class Trials:
    """How ``--dry-run`` tries a job whose blocks differ; see `show_trials`.

    Attributes:
        of: The judging to try; None: the job itself.
    """

    of: Callable[[], Judging] | None = None


def run_judged(
    command: JudgedCommand,
    judging: Judging,
    *,
    title: str,
    classifier: Classifier,
    subject: Subject,
    facts: Settings,
    large: Large,
    gates: Mapping[str, float] | None = None,
    as_json: bool = False,
    output: Output = NOWHERE,
    rehearsal: Rehearsal | Trials,
) -> None:
    """Judge what this process is to judge; report where it is the one that sees the end.

    Args:
        command: What is done with the records.
        judging: What is found out.
        title: Of the progress bar.
        classifier: The network.
        subject: The images.
        facts: What the job says about itself.
        large: The options of the command.
        gates: Thresholds by name.
        as_json: For machines.
        output: What to write.
        rehearsal: For ``--dry-run``.

    Raises:
        ConvscopeError: Whatever judging and showing raise.
    """
    if large.dry_run and isinstance(rehearsal, Trials):
        show_trials(
            classifier, judging, judging if rehearsal.of is None else rehearsal.of(),
            large.chosen(), unit=command.unit, as_json=as_json,
        )  # fmt: skip
        return
    if large.dry_run and isinstance(rehearsal, Rehearsal):
        show_plan(
            classifier, subject, judging, rehearsal.of, large.chosen(), copies=rehearsal.copies,
            times=rehearsal.times, few=rehearsal.few, more=rehearsal.more, as_json=as_json,
        )  # fmt: skip
        return
    with judged(judging, large, title, classifier=classifier, subject=subject, facts=facts,
                unit=command.unit) as found:  # fmt: skip
        if found is not None:
            result = command.combine(judging.settings, facts, *found)
            command.show(result, facts, gates or {}, as_json=as_json, output=output)


def about_is_known(job: Job, *texts: str) -> bool:
    """Whether a job says about its data what commands on a split say, and some lists of texts."""
    about = job.facts.get("about")
    if not isinstance(about, dict):
        return False
    lists = (about.get("refused"), about.get("absent_classes"), *map(job.facts.get, texts))
    return all(are_texts(one) for one in lists)


def are_texts(value: Any) -> bool:
    """Whether it is a list of texts."""
    return isinstance(value, list) and _all_texts(value)


def _all_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
