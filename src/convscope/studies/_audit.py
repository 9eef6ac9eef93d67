"""An audit of one classifier: all sections computed and written as one report."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from convscope._readable import readable
from convscope._registry import Effort
from convscope.classifier import Classifier
from convscope.data import Dataset, absent_sentence, match_classes, match_dataset
from convscope.errors import ConvscopeError, ModelContractError, UsageError, choose
from convscope.figures import percent
from convscope.pages import framed_report
from convscope.progress import announce, stage
from convscope.reports import Report, refuse_taken
from convscope.sharding import Record, judged_here
from convscope.studies import AUDIT_SECTIONS
from convscope.studies._audit_judging import WHOLE, AuditJudging, head_of
from convscope.studies._context import ATTACKED, Audit, default_epsilon, has_large_images
from convscope.studies._playground import compare_playable
from convscope.studies._stages import DamagedPiece, Found, JudgedSection, is_missing_part

LONGEST_NAME = 60
"""Characters of a network's name in a heading."""


@readable
@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """What an audit found. A notebook shows its page.

    Attributes:
        folder: The report folder; `convscope.reports.render` makes it a page.
        numbers: Headline numbers by name: ``accuracy``, ``robust``, ...
        alerts: Sentences worth reading first.
        failed: Titles of the sections that stopped; the report says why.
        seconds: Of all blocks together, whoever judged them.
        split: The split that was judged.
        absent: Classes of the data without an image in it.
        epsilon: L-infinity budget of ``robust``, in pixel units.
        left_out: Classes of the data that the network does not have, and why.
    """

    folder: Path
    numbers: dict[str, float]
    alerts: tuple[str, ...]
    failed: tuple[str, ...]
    seconds: float
    split: str = "test"
    absent: tuple[str, ...] = ()
    epsilon: float | None = None
    left_out: tuple[tuple[str, str], ...] = ()

    def summary(self) -> dict[str, Any]:
        """For machines."""
        return {
            **self.numbers,
            "split": self.split,
            "absent_classes": list(self.absent),
            "classes_left_out": dict(self.left_out),
            "alerts": list(self.alerts),
            "failed_sections": list(self.failed),
            "seconds": self.seconds,
        }

    def headline(self) -> str:
        """How much there is to read first, and what stopped."""
        stopped = f", {len(self.failed)} stopped sections" if self.failed else ""
        return f"{len(self.alerts)} alerts{stopped}"

    def _repr_html_(self) -> str | None:
        """The report in a sandboxed frame; ``None`` if it is gone or too large."""
        with suppress(ConvscopeError, OSError):
            return framed_report(self.folder)
        return None


def audit(
    classifier: Classifier,
    dataset: Dataset,
    *,
    out_folder: Path | str,
    images_per_section: int = 8,
    attacked_images: int | None = None,
    epsilon: float | None = None,
    effort: Effort = "quick",
    run_folder: Path | str | None = None,
    judge: Classifier | None = None,
    certify_sigma: float | None = None,
    sections: Sequence[str] | None = None,
    split: str | None = None,
    seed: int = 0,
    command: str = "",
    title: str = "",
    about: dict[str, Any] | None = None,
    force: bool = False,
    playable: bool = False,
) -> AuditResult:
    """Judge, look into and attack a classifier, and write all of it to a report folder.

    A section that cannot be computed says why; the others go on. Where a part of convscope itself
    cannot be imported, the audit stops.

    Args:
        classifier: Any classifier.
        dataset: Test images judge it, training images serve as reference. Classes are matched by
            name (`convscope.data.match_classes`).
        out_folder: New folder for the report.
        images_per_section: How many images to show where images are shown.
        attacked_images: How many test images attacks are measured on; by default 200, of large
            images (from 128 x 128 pixels) 24. Other samples of large images are smaller, too.
        epsilon: L-infinity budget of the headline number, in pixel units; by default 0.1 for gray
            images, 8/255 for color.
        effort: How hard the attacks of the final judgment try: ``"quick"``, ``"standard"`` or
            ``"full"``.
        run_folder: Where it was trained, for curves and settings.
        judge: An independently trained classifier of the same classes that predicts optimized
            images.
        certify_sigma: Also certify the vote of copies with Gaussian noise of this standard
            deviation (randomized smoothing), which takes thousands of passes per image.
        sections: Names from `AUDIT_SECTIONS`; all by default.
        split: ``"train"``, ``"validation"``, ``"test"`` or ``"all"``, to judge on; by default
            what suits (`Dataset.split_to_judge`).
        seed: Of every random choice.
        command: The command line, for the reader who wants to do it again.
        title: Heading of the report; by default the name of the network, as its source has it, and
            that of the data.
        about: Further facts for the last section.
        force: Replace an earlier report in `out_folder`.
        playable: Put the network itself into the page, where it runs, explains itself and is
            fooled without a server.

    Returns:
        Where the report is, and its headline numbers.

    Raises:
        UsageError: U13 if the folder is taken, U01 for an unknown section, U03 for a bad epsilon,
            M21 if the judge numbers the classes otherwise.
        ModelContractError: M14 if the network takes images of another size; if it is to be
            playable, M26 for a black box, M27 if a page cannot run it, M28 if it is too large.
        DataError: M21 if no class of the data is one of the network, D11 if the split is empty.
        ResourceError: If the disk refuses.
        ImportError: If a part of convscope is missing.

    Example:
        >>> import tempfile, torch
        >>> from convscope.data import open_dataset
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 28, 28))
        >>> result = audit(classifier, open_dataset("digits"), sections=["architecture"],
        ...     out_folder=Path(tempfile.mkdtemp()) / "audit")
        >>> result.numbers["parameters"]
        7850
    """
    folder = Path(out_folder)
    refuse_taken(folder, force=force)
    judging = audit_judging(
        classifier,
        dataset,
        images_per_section=images_per_section,
        attacked_images=attacked_images,
        epsilon=epsilon,
        effort=effort,
        run_folder=run_folder,
        judge=judge,
        certify_sigma=certify_sigma,
        sections=sections,
        split=split,
        seed=seed,
        command=command,
        title=title,
        about=about,
        playable=playable,
    )
    head, records = judged_here(judging)
    announce(1.0, "writing")
    found = audit_of(judging.settings, judging.facts, head, records)
    found.report.write(folder, force=force)
    return found.result(folder)


def audit_judging(
    classifier: Classifier,
    dataset: Dataset,
    *,
    images_per_section: int = 8,
    attacked_images: int | None = None,
    epsilon: float | None = None,
    effort: Effort = "quick",
    run_folder: Path | str | None = None,
    judge: Classifier | None = None,
    certify_sigma: float | None = None,
    sections: Sequence[str] | None = None,
    split: str | None = None,
    seed: int = 0,
    command: str = "",
    title: str = "",
    about: dict[str, Any] | None = None,
    playable: bool = False,
) -> AuditJudging:
    """The judging of `audit`, block by block: a `convscope.sharding.Judging`.

    Args:
        classifier: As for `audit`; so is all that follows.
        dataset: Images.
        images_per_section: Images shown.
        attacked_images: Images attacked.
        epsilon: Budget.
        effort: Of the attacks.
        run_folder: Where the network was trained.
        judge: Another network.
        certify_sigma: Noise to certify for.
        sections: Names of sections.
        split: To judge on.
        seed: Of every random choice.
        command: The command line.
        title: Of the report.
        about: Further facts.
        playable: Put the network itself into the page.

    Returns:
        Blocks, the settings that decide what they find, and `facts` for `audit_of`.

    Raises:
        UsageError: U01 for an unknown section, U03 for a bad epsilon, M21 for a judge of other
            classes.
        ModelContractError: M14, the network takes images of another size; M26, M27, M28, it cannot
            be in a page.
        DataError: M21, no class of the data is one of the network.

    Example:
        >>> import torch
        >>> from convscope.data import open_dataset
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 28, 28))
        >>> audit_judging(classifier, open_dataset("digits"),
        ...     sections=["architecture", "filters"]).addresses
        ['architecture', 'filters']
    """
    _check(classifier, dataset, epsilon)
    if certify_sigma is not None and not 0 < certify_sigma < float("inf"):
        raise UsageError(f"sigma must be positive and finite, got {certify_sigma}", code="U06")
    theirs = dataset.class_names
    dataset, match = match_dataset(dataset, classifier)
    if match.how == "order":  # the data's names stand in for those that nobody gave
        classifier = replace(classifier, class_names=dataset.class_names)
    judge = None if judge is None else _with_classes_of(classifier, judge)
    split, note = (split, "") if split else dataset.split_to_judge(classifier.source)
    absent = match.absent(theirs, dataset.split(split).labels)
    said = [note] if note else []
    if absent:
        said.append(absent_sentence(absent, len(dataset.split(split))))
    dataset = replace(dataset, warnings=(*dataset.warnings, *said))
    names = [choose("section", name, AUDIT_SECTIONS) for name in sections or AUDIT_SECTIONS]
    playable = playable or "playground" in (sections or ())
    names = _with_asked(names, playable)
    work = Audit(
        classifier=classifier,
        dataset=dataset,
        report=Report(title=""),
        count=max(1, images_per_section),
        attacked=_attacked(classifier, attacked_images),
        epsilon=epsilon if epsilon is not None else default_epsilon(classifier),
        seed=seed,
        effort=effort,
        run_folder=None if run_folder is None else Path(run_folder),
        about=about or {},
        command=command,
        judge=judge,
        sigma=certify_sigma,
        split=split,
        match=match,
        absent=absent,
    )
    if playable:  # Before hours of other work: it may be refused. Takes seconds.
        with stage(0.0, 0.0, "comparing the network in the page"):
            compare_playable(work)
    small = (
        f"Images are large ({_by(classifier.input_shape)}): attacks are measured on "
        f"{min(work.attacked, len(work.test)):,} of them, and other samples are small, too. "
        "Intervals are wide."
    )
    facts = {
        "title": title or f"{network_name(classifier)} on {dataset.name}",
        "generator": f"convscope {_version()}",
        "small samples": small if has_large_images(classifier) else "",
        "images": len(work.test),
        "split": split,
        "absent": list(absent),
        "left out": [list(pair) for pair in match.left_out],
    }
    return AuditJudging(work, names, facts)


@dataclass(eq=False)
class AuditFound:
    """A report in memory, and what gates and machines ask for: what sections are shown to.

    Attributes:
        report: The report.
        epsilon: L-infinity budget of the headline, pixel units.
        sigma: Noise that was certified for.
        numbers: Headline numbers by name.
        seconds: Of all blocks together.
        facts: What `audit_judging` said.
    """

    report: Report
    epsilon: float
    sigma: float | None
    numbers: dict[str, float]
    seconds: float
    facts: Mapping[str, Any]

    def result(self, folder: Path) -> AuditResult:
        """What `audit` gives back.

        Args:
            folder: Where the report was written.
        """
        return AuditResult(
            folder=folder,
            numbers=dict(self.numbers),
            alerts=tuple(alert["text"] for alert in self.report.alerts),
            failed=tuple(one.title for one in self.report.sections if one.status != "ok"),
            seconds=self.seconds,
            split=self.facts["split"],
            absent=tuple(self.facts["absent"]),
            epsilon=self.epsilon,
            left_out=tuple((str(name), str(why)) for name, why in self.facts["left out"]),
        )


def audit_of(
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
    head: Record,
    records: Sequence[Record],
) -> AuditFound:
    """The report of all blocks together: neither network nor data are needed.

    Args:
        settings: Of the `AuditJudging`.
        facts: Of it.
        head: Of it.
        records: Of all blocks, in order.
    """
    report = Report(title=facts["title"], generator=facts["generator"])
    took = [one.numbers["took"] for one in (head, *records)]
    found = AuditFound(
        report=report,
        epsilon=settings["epsilon"],
        sigma=settings["std"],
        numbers={},
        seconds=sum(took),
        facts=facts,
    )
    if facts["small samples"]:
        report.alert(facts["small samples"], section="limits", code="small-samples")
    stages: dict[str, dict[str, Found]] = {name: {} for name, _, _ in settings["sections"]}
    place = 0
    for number, (name, part, blocks, own) in enumerate(settings["stages"]):
        some = records[place : place + blocks]
        stages[name][part] = Found(own, head_of(head, number), some)
        place += blocks
    for name, title, about in settings["sections"]:
        section = report.section(name, title, about)
        try:
            if list(stages[name]) == [WHOLE]:
                stages[name][WHOLE].put(found, section)
            else:
                cast(JudgedSection, AUDIT_SECTIONS[name]).show(found, section, stages[name])
        except Exception as error:
            if is_missing_part(error) or isinstance(error, DamagedPiece):
                raise
            report.fail(section, error)
    _finish(found)
    report.subtitle = _subtitle(found)
    report.created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return found


def _with_asked(names: list[str], playable: bool) -> list[str]:
    """The sections, with those that are there only if somebody asks, in their place."""
    usual = [name for name in names if not AUDIT_SECTIONS.spec(name).asked]
    if not playable:
        return usual
    asked = {name for name in AUDIT_SECTIONS if AUDIT_SECTIONS.spec(name).asked}
    return [name for name in AUDIT_SECTIONS if name in asked.union(usual)]


def _attacked(classifier: Classifier, asked: int | None) -> int:
    """Images that attacks are measured on."""
    return ATTACKED[has_large_images(classifier)] if asked is None else max(1, asked)


def network_name(classifier: Classifier) -> str:
    """What to call a network in a heading: its source without training, file and checksum.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
        >>> network_name(Classifier.wrap(net, input_shape=(1, 28, 28)))
        'Sequential'
        >>> network_name(Classifier.wrap(net, input_shape=(1, 28, 28),
        ...     source="mnist-conv1, fast preset, seed 0 (shipped, sha256 0123)"))
        'mnist-conv1'
    """
    return re.split(r" trained on | in memory| \(|, ", classifier.source)[0][:LONGEST_NAME]


def _check(classifier: Classifier, dataset: Dataset, epsilon: float | None) -> None:
    if epsilon is not None and not 0 < epsilon <= 1:
        raise UsageError(
            f"epsilon is {epsilon}",
            code="U03",
            expected="above 0 and at most 1: images have pixels in [0, 1]",
            hint=f"did you mean {epsilon:g}/255?" if epsilon > 1 else "",
        )
    if dataset.input_shape != classifier.input_shape:
        raise ModelContractError(
            f"{dataset.name} has images of {_by(dataset.input_shape)}, the network takes "
            f"{_by(classifier.input_shape)}",
            code="M14",
            hint="choose data of that size, or folder:DIRECTORY, which is resized",
        )


def _with_classes_of(classifier: Classifier, judge: Classifier) -> Classifier:
    """The judge, if it has the same classes in the same order; names that it lacks are lent.

    Raises:
        UsageError: M21 if it numbers them otherwise.
    """
    match = match_classes(judge.class_names, classifier.class_names, where=judge.source)
    if match.numbers != tuple(range(classifier.num_classes)):
        raise UsageError(
            "the judge numbers the classes otherwise",
            code="M21",
            where=judge.source,
            expected=", ".join(classifier.class_names[:10]),
        )
    return replace(judge, class_names=classifier.class_names)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _subtitle(found: AuditFound) -> str:
    parts = []
    if "parameters" in found.numbers:
        parts.append(f"{int(found.numbers['parameters']):,} parameters")
    split = found.facts["split"]
    parts.append(f"{found.facts['images']:,} {'images' if split == 'all' else f'{split} images'}")
    parts.append(f"audited in {found.seconds:.0f} s")
    return " · ".join(parts)


def _finish(found: AuditFound) -> None:
    """Good news last, and only if there is any; then the most serious alerts first."""
    report, numbers = found.report, found.numbers
    if "accuracy" in numbers and numbers["calibration-error"] < 0.02:
        report.alert(
            f"Well calibrated: expected calibration error "
            f"{percent(numbers['calibration-error'], 1)}.",
            level="good",
            section="performance",
        )
    order = {"warning": 0, "notice": 1, "good": 2}
    report.alerts.sort(key=lambda alert: order[alert["level"]])


def _version() -> str:
    try:
        return version("convscope")
    except PackageNotFoundError:
        return "(not installed)"
