"""``convscope study``: a course document answered, question by question, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from convscope.cli._options import (
    AcceptModified,
    DataDir,
    Device,
    Flag,
    Json,
    Offline,
    Seed,
    check_out,
    check_seed,
)
from convscope.cli._output import emit, say, showing_progress, table, warn, watching, wrote
from convscope.errors import PartlyRefused, ResourceError, UsageError, choose
from convscope.studies import STUDIES

if TYPE_CHECKING:
    from convscope.studies import StudyResult

ALL = "all"
FOLDER = Path("runs/study")
PACE = ("on two free cores", "on one core beside other jobs, less on free ones")
"""What the minutes of a study are for: with ``--fast``, and in full."""

StudyName = Annotated[
    str, cyclopts.Parameter(help=f"{', '.join(STUDIES)}, or all; without one, they are listed.")
]
QuestionNames = Annotated[
    list[str],
    cyclopts.Parameter(
        help="Only these questions, with commas: names as in the addresses of the page."
    ),
]


def study(
    name: StudyName | None = None,
    /,
    *,
    fast: Flag = False,
    out: Path | None = None,
    pdf: Flag = False,
    only: QuestionNames | None = None,
    again: Flag = False,
    playable: Flag = False,
    data_dir: DataDir | None = None,
    seed: Seed = 0,
    accept_modified: AcceptModified = False,
    device: Device = "cpu",
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Answer a course document: every question with its figure or table, on one page.

    A study that was stopped goes on where it was when the same command runs again. In its folder
    are report.html, figures, tables, result.json and notebook.ipynb; notes.md, if you write one
    there, is merged into the page.

    Args:
        name: The study.
        fast: Small data that come with the package, small budgets: two minutes on two cores.
        out: Its folder; by default runs/study/NAME, with --fast runs/study-fast/NAME.
        pdf: Also print a PDF, with the code as an appendix.
        only: Only these questions.
        again: Answer questions again that are finished.
        playable: Put the document's own network into the page, where it can be played with
            offline: draw, explain, attack. Up to 1.5 MB of network.
        data_dir: Folder that holds the data files.
        seed: Seed of every random choice.
        accept_modified: Go on with data files whose checksum is not the known one.
        device: Where networks are trained and run.
        offline: Never download.
        as_json: Print JSON.
    """
    if name is None:
        _list(as_json=as_json)
        return
    name = choose("study", STUDIES.known(name), [*STUDIES, ALL], aliases=STUDIES.aliases)
    check_seed(seed)
    questions = [part.strip() for text in only or [] for part in text.split(",") if part.strip()]
    if questions and name == ALL:
        raise UsageError("--only with all", code="U11", expected="the name of one study")
    place = FOLDER.with_name("study-fast") if fast else FOLDER
    root = (out or place) if name == ALL else (out or place / name)
    check_out(root, force=True, page=False)
    from convscope.studies import missing_materials, run_study, write_index
    from convscope.training import tune_allocator

    tune_allocator()
    results = []
    for one in STUDIES if name == ALL else (name,):
        minutes = STUDIES.spec(one).minutes[0 if fast else 1]
        say(f"{one}: about {_spoken(minutes)} {PACE[0 if fast else 1]}")
        given: dict[str, Any] = {
            "fast": fast, "data_dir": data_dir, "offline": offline,
            "accept_modified": accept_modified,
        }  # fmt: skip
        with showing_progress(f"{one}: data"):
            missing = () if questions else missing_materials(one, **given)
        for lack in missing:
            sought = f" (looked for in {lack.where})" if lack.where else ""
            warn(
                f"{one}: {lack.what}{sought}; questions that need it say so, "
                "the others are answered"
            )
            say(f"  fix: {lack.hint}")
        with watching(one):
            found = run_study(
                one,
                root / one if name == ALL else root,
                seed=seed,
                only=questions,
                again=again,
                device=device,
                playable=playable,
                **given,
            )
        results.append(found)
        if pdf:
            _print(found)
        if found.recalled:
            say(f"{found.recalled} questions were finished before")
        if found.unplayable:
            warn(f"{one}: the network is not in the page: {found.unplayable}")
        if found.stray_notes:
            warn(f"{one}: {found.stray_notes}")
            say("  fix: begin notes with the number or the name of a question, such as ## 6")
        wrote(found.page)
        if name == ALL:
            write_index(results, root)
    page = root / "index.html" if name == ALL else results[0].page
    if as_json:
        emit([found.numbers for found in results], as_json=True)
    else:
        for found in results:
            emit(_headline(found))
    say(f"open {page} in a browser")
    failed = [f"{found.name}: {heading}" for found in results for heading in found.failed]
    if failed:
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise PartlyRefused(
            f"{len(failed)} question{'s' if len(failed) > 1 else ''} stopped: "
            f"{'; '.join(failed[:3])}{more}",
            hint="the page says why; the same command tries them again",
        )
    still = [found.name for found in results if found.unplayable]
    if still:
        raise PartlyRefused(
            f"no playground in {', '.join(still)}",
            hint="the page says why; everything else is in it",
        )


def _list(*, as_json: bool) -> None:
    """The studies with what they are about, and the minutes to expect."""
    specs = STUDIES.specs()
    if as_json:
        emit(
            [
                {
                    "name": name,
                    "about": spec.about,
                    "document": spec.cited.citation,
                    "data": list(spec.data),
                    "minutes": list(spec.minutes),
                }
                for name, spec in specs.items()
            ],
            as_json=True,
        )
        return
    table(
        ["study", "with --fast", "in full", "data", "what it does"],
        [
            [name, *map(_spoken, spec.minutes), spec.data[1], spec.about]
            for name, spec in specs.items()
        ],
    )
    say(f"minutes: with --fast {PACE[0]}, in full {PACE[1]}")
    say("next: convscope study NAME --fast, or convscope study all --fast")


def _spoken(minutes: float) -> str:
    """A duration.

    Example:
        >>> _spoken(1), _spoken(1.5), _spoken(90)
        ('1 min', '1.5 min', '1.5 h')
    """
    return f"{minutes:g} min" if minutes < 60 else f"{minutes / 60:.2g} h"


def _print(found: StudyResult) -> None:
    from convscope.reports import print_pdf

    paper = found.folder / "report.pdf"
    try:
        print_pdf(found.folder, paper)
        wrote(paper)
    except ResourceError as error:
        warn(f"no PDF: {error.what}. {error.hint}")


def _headline(found: StudyResult) -> dict[str, object]:
    """What the document reports and what is measured here, line by line."""
    lines: dict[str, object] = {"study": found.name}
    for question in found.numbers["questions"]:
        for entry in question["comparisons"]:
            words = f"{question['number']} {entry['what']}".strip()
            lines[words] = f"{entry['here']}   (document: {entry['document']})"
    return lines


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(study, name="study")
