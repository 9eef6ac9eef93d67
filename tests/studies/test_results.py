"""``benchmarks/study_results.py``: docs/results.md from the numbers of studies that ran."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from convscope.errors import UsageError
from convscope.studies import STUDIES, all_rows, run_study

ROOT = Path(__file__).parents[2]


def module_of(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = module_of(ROOT / "benchmarks" / "study_results.py")


def comparison(row, what, document, here, *, met=None, note="", n=3):
    return {
        "row": row, "what": what, "document": document, "here": here, "met": met, "note": note,
        "unit": "share", "n": n,
    }  # fmt: skip


def question(name, number, title, row, comparisons=(), *, error=""):
    return {
        "name": name, "number": number, "title": title, "rows": [row],
        "status": "failed" if error else "ok", "error": error, "finding": "Found <it>.",
        "comparisons": list(comparisons), "shown": {row: [f"figures/{name}-a.svg"]}, "seconds": 90,
    }  # fmt: skip


def made_up(*questions, fast=False):
    """What a study of document 002 leaves behind."""
    rows = {key: {"figures": files, "tables": []} for q in questions
            for key, files in q["shown"].items()}  # fmt: skip
    return {
        "study": "assignment-2-report", "fast": fast, "seed": 0, "data": "mnist",
        "convscope": "9.9", "machine": {"processor": "Abacus 2", "threads": 2},
        "questions": list(questions), "rows": rows,
    }  # fmt: skip


def chapter(page, key):
    return page.partition(f"## {key}: ")[2].partition("\n## ")[0]


def test_a_line_says_the_documents_number_ours_and_where():
    found = made_up(
        question("training", "1", "MNIST classification", "002.1", [
            comparison("002.1", "test accuracy", "98.92 %", "99.01 % (sd 0.05 %, n = 3)",
                       met=True, note="5 epochs"),
            comparison("002.1", "error", "a | b", "0.1 %", met=False, n=1),
        ]),
        question("parameters", "2", "Number of parameters and neurons", "002.2"),
    )  # fmt: skip
    page, missing = script.page_of({"assignment-2-report": found})
    text = chapter(page, "002")
    assert "A full run on mnist, seed 0; 3.0 minutes on Abacus 2, 2 threads; convscope 9.9." in text
    assert text.splitlines()[4:10] == [
        "| row | asked for | the document | measured here | met | where |",
        "|---|---|---|---|---|---|",
        "| 002.1 | training: losses over the iterations, test images, 98.92 % "
        "| test accuracy: 98.92 % | 99.01 % (sd 0.05 %, n = 3) (5 epochs) | yes "
        "| 1 MNIST classification: `figures/training-a.svg` |",
        "|  |  | error: a \\| b | 0.1 % (n = 1) | **no** |  |",
        "| 002.2 | 799,078 parameters, 2,654 neurons |  | Found &lt;it>. |  "
        "| 2 Number of parameters and neurons: `figures/parameters-a.svg` |",
        "| 002.3 | batch normalization: losses, accuracy with and without, 99.05 % | "
        "| **missing**: the study assignment-2-report did not answer all of it | | |",
    ]
    assert "2 of 44 rows are answered; of 2 values of which more is better, 1 are met" in page
    assert [one.row for one in missing] == [
        row for row in all_rows() if row not in ("002.1", "002.2")
    ]


def test_every_row_is_there_or_is_named_as_missing():
    for results in ({}, {"assignment-2-report": made_up()}):
        page, missing = script.page_of(results)
        assert [one.row for one in missing] == list(all_rows())
        for row in all_rows():
            assert len(re.findall(rf"^\| {re.escape(row)} \|.*\*\*missing\*\*", page, re.M)) == 1
            assert f"\n- {row}: " in page


def test_a_question_that_stopped_is_missing_with_its_reason():
    found = made_up(question("training", "1", "MNIST", "002.1", error="mnist is not here"))
    page, _ = script.page_of({"assignment-2-report": found})
    assert "\n- 002.1: 1 MNIST stopped: mnist is not here\n" in page


def test_a_row_without_a_figure_or_table_is_missing():
    one = question("training", "1", "MNIST", "002.1") | {"shown": {}}
    page, _ = script.page_of({"assignment-2-report": made_up(one)})
    assert "- 002.1: the study assignment-2-report has no figure or table of it" in page


def test_a_fast_run_is_marked_and_its_values_are_not_counted():
    entry = comparison("002.1", "test accuracy", "98.92 %", "93 %", met=False)
    found = made_up(question("training", "1", "MNIST", "002.1", [entry]), fast=True)
    page, _ = script.page_of({"assignment-2-report": found})
    assert "**A fast run on mnist**" in page and "are met or beaten" not in page


def test_real_numbers_in_a_folder_of_studies_become_the_page(tmp_path, capsys):
    run_study("homework-2", tmp_path / "all" / "homework-2", fast=True, only=["adder", "paper"])
    out = tmp_path / "results.md"
    assert script.main([str(tmp_path / "all"), "--out", str(out)]) == 1
    text = chapter(out.read_text(), "003")
    assert "| 4,096 of 4,096 | yes |" in text and "`tables/adder-matrices.csv`" in text
    assert "| Problem 5 A recurrent network that adds: " in text
    said = capsys.readouterr().err
    assert "missing 003.8: the study homework-2 did not answer all of it" in said
    assert "missing 003.9" not in said and "missing 003.10" not in said
    machine = json.loads((tmp_path / "all" / "homework-2" / "result.json").read_text())["machine"]
    assert machine["processor"] in text and machine["threads"] >= 1


def test_folders_of_nothing_and_two_of_one_study_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"no result\.json"):
        script.results_in([tmp_path])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text('{"study": "homework-2"}')
    with pytest.raises(UsageError, match="given twice"):
        script.results_in([tmp_path])
    (tmp_path / "b" / "result.json").write_text('{"study": "astrology"}')
    with pytest.raises(UsageError, match="unknown study"):
        script.results_in([tmp_path])


def test_the_page_in_the_documentation_has_every_row():
    page = (ROOT / "docs" / "results.md").read_text()
    assert all(f"\n| {row} |" in page for row in all_rows())
    assert all(f"`{name}`" in page for name in STUDIES)
