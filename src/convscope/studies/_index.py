"""The page that leads to the pages of several studies."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from convscope.reports import Report, render
from convscope.studies._run_study import StudyResult


def write_index(results: Sequence[StudyResult], out: Path | str) -> Path:
    """One page that leads to the pages of several studies in folders below it.

    Args:
        results: In order; their folders lie in `out`.
        out: The folder; ``index.html`` is replaced whole.

    Raises:
        ResourceError: The disk says no.
    """
    from convscope.studies import STUDIES

    out = Path(out)
    report = Report(
        title="Course documents, answered", generator=f"convscope {version('convscope')}"
    )
    done = sum(len(found.numbers["rows"]) for found in results)
    report.tile("documents", f"{len(results)}")
    report.tile("rows answered", f"{done}", detail="each with its figure or table")
    report.tile("failed questions", f"{sum(len(found.failed) for found in results)}")
    for found in results:
        spec = STUDIES.spec(found.name)
        section = report.section(found.name, spec.title, spec.cited.citation)
        for heading in found.failed:
            report.alert(f"{found.name}: {heading} is incomplete.", level="warning",
                         section=found.name)  # fmt: skip
        folder = found.folder.relative_to(out).as_posix()
        questions = found.numbers["questions"]
        section.links(
            [
                {
                    "href": f"{folder}/report.html",
                    "title": f"Open the study: {len(questions)} questions",
                    "detail": spec.about,
                }
            ]
        )
        compared = [entry for question in questions for entry in question["comparisons"]]
        if compared:
            section.table(
                ["what", f"the {spec.cited.kind}", "measured here"],
                [[entry["what"], entry["document"], entry["here"]] for entry in compared],
            )
        others = [(file, words) for file, words in BESIDE.items() if (found.folder / file).exists()]
        section.links(
            [{"href": f"{folder}/{file}", "title": file, "detail": words} for file, words in others]
        )
    page = out / "index.html"
    render(report, page, alone=True)
    return page


BESIDE = {
    "notebook.ipynb": "the same as an executable notebook",
    "result.json": "all numbers",
    "report.pdf": "the page on paper, with the code",
}
"""Files beside the page of a study."""
