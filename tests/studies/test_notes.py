"""Notes of the reader, merged into the page of a study: nothing of them is lost or run."""

import json

import pytest

from convscope.cli import main
from convscope.errors import DataError
from convscope.studies import STUDIES, run_study
from convscope.studies._notes import read_notes

QUESTIONS = STUDIES["homework-2"].questions
NUMBERED = STUDIES["assignment-2-report"].questions


@pytest.fixture
def notes(tmp_path):
    def read(text, questions=NUMBERED):
        path = tmp_path / "notes.md"
        path.write_text(text)
        return read_notes(path, questions)

    return read


def test_notes_go_to_questions_by_number_heading_and_name(notes):
    found = notes(
        "All.\n\n## 4.2\nA.\n\n# Problem 1 Part 1\nB.\n\n## adder\nC.\n\n##### 4.2\nD.",
        QUESTIONS,
    )
    assert found.about == {"transformations": "A.\n\nD.", "peppers": "B.", "adder": "C."}
    assert notes("## 6\nx").whole == ""


def test_a_title_that_is_no_question_is_the_title_of_notes_to_the_whole_study(notes):
    found = notes("\n# My notes\n\nA paragraph.\n\n## 6\nSix.\n")
    assert (found.title, found.whole, found.stray) == ("My notes", "A paragraph.", ())
    assert found.about == {"occlusion": "Six."}
    assert notes("# 6\nSix.").title == "", "a question's heading is no title"
    assert notes("On all.\n\n# My notes\nx").stray == ("My notes",)


def test_notes_below_an_unknown_heading_are_shown_with_it(notes):
    found = notes("## 1\nOne.\n\n## 17 Elsewhere\nOdd.\n\n## 6\nSix.\n")
    assert found.stray == ("17 Elsewhere",)
    assert found.whole.split() == ["##", "17", "Elsewhere", "Odd."]
    assert found.about == {"training": "One.", "occlusion": "Six."}


def test_a_heading_inside_the_notes_of_a_question_stays_there(notes):
    found = notes("## 6\nSix.\n\n### Why\nBecause.\n\n## Why\nWhole.\n")
    assert found.about == {"occlusion": "Six.\n\n### Why\nBecause."}
    assert found.stray == ("Why",)


def test_a_comment_in_code_is_no_heading(notes):
    found = notes("## 6\n```python\n# 7 of them\n```\n")
    assert found.about == {"occlusion": "```python\n# 7 of them\n```"} and found.stray == ()


def test_lists_code_and_headings_of_notes_are_set_as_such(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "notes.md").write_text(
        "# <b>Mine</b>\nFirst:\n- item `one`\n- item <i>two</i>\n  goes on\n\n3. three\n4. four\n"
        "\n```\nx < y  # no heading\n```\n* [a](javascript:alert(1))\n"
        "\n## parameters\n+ counted\n### Below\n"
    )
    page = run_study("assignment-2-report", folder, fast=True, only=["parameters"]).page.read_text()
    assert "&lt;b&gt;Mine&lt;/b&gt;</h3>" in page and "<p>First:</p>" in page
    assert "<li>item <code>one</code></li>" in page
    assert "<li>item &lt;i&gt;two&lt;/i&gt;\ngoes on</li>" in page
    assert '<ol class="bullets" start="3"' in page and "<li>four</li>" in page
    assert "<code>x &lt; y  # no heading</code>" in page and ">Below</h3>" in page
    assert "<li>[a](javascript:alert(1))</li>" in page and "<li>counted</li>" in page
    assert json.loads((folder / "report.json").read_text())["alerts"][1:] == []


def test_the_terminal_names_headings_that_are_no_question(tmp_path, capsys):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "notes.md").write_text("## 17 Else\x1bwhere\nOdd.\n")
    words = ["study", "002", "--fast", "--only", "parameters", "--out", str(tmp_path / "s")]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "notes.md: no question is called 17 Else\\x1bwhere" in said and "\x1b" not in said
    page = (tmp_path / "s" / "report.html").read_text()
    assert "no question is called 17 Else" in page and "<p>Odd.</p>" in page


def test_notes_that_are_no_text_are_refused_before_the_work(tmp_path, capsys):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "notes.md").write_bytes("Größe".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        run_study("002", tmp_path / "s", fast=True, only=["parameters"])
    assert not (tmp_path / "s" / "questions").exists()
    assert main(["study", "002", "--fast", "--out", str(tmp_path / "s")]) == 3
    assert "fix: save it as UTF-8" in capsys.readouterr().err
