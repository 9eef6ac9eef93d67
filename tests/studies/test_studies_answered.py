"""Every study answers its document: every row, every snippet, on a page that is not too large."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from convscope.studies import STUDIES, StudyContent, run_study
from convscope.studies._snippets import code_of, first_cell
from convscope.training import read_settings, train
from tests.studies.cells import CELLS, numbers_of, table_of

ROOT = Path(__file__).parents[2]
LARGEST = 1_000_000
"""Bytes of a fast page."""

NAMES = list(STUDIES)

pytestmark = pytest.mark.filterwarnings(  # Of Keras, when it reads torch's tensors.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


@pytest.mark.parametrize("name", NAMES)
def test_questions_cover_the_rows_of_the_document(name):
    content, spec = STUDIES[name], STUDIES.spec(name)
    assert isinstance(content, StudyContent)
    rows = [row for question in content.questions for row in question.rows]
    # A row may ask for several things, such as three kinds of pictures, each with its heading.
    assert set(rows) == {f"{spec.document}.{n}" for n in spec.cited.rows}


@pytest.mark.parametrize("name", NAMES)
def test_headings_carry_the_numbers_of_the_document_in_its_order(name):
    questions, document = STUDIES[name].questions, STUDIES.spec(name).cited
    asked = [int(row.partition(".")[2]) for question in questions for row in question.rows[:1]]
    assert asked == sorted(asked), "the document's order"
    for row in document.rows:
        found = [q for q, first in zip(questions, asked, strict=True) if first == row]
        number = document.number(row)
        numbers = [number] if len(found) == 1 else [f"{number}.{i + 1}" for i in range(len(found))]
        assert [question.number for question in found] == numbers
        assert all(q.heading == f"{q.number} {q.title}".strip() for q in found)


def test_the_homework_has_its_problems_and_parts():
    headings = [question.heading for question in STUDIES["homework-2"].questions]
    assert "Problem 4 Part 2 Do the fooled photos survive a transformation?" in headings
    assert [heading.split()[0] for heading in headings[:-1]] == ["Problem"] * 9


@pytest.mark.parametrize("name", NAMES)
def test_questions_have_names_of_their_own_and_leads(name):
    content = STUDIES[name]
    names = [question.name for question in content.questions]
    assert len(set(names)) == len(names)
    assert not {"overview", "deviations", "code"} & set(names)
    for question in content.questions:
        assert re.fullmatch(r"[a-z][a-z0-9-]*", question.name)
        assert question.lead.endswith(".") and question.snippet is not None


@pytest.mark.parametrize("name", NAMES)
def test_minutes_of_the_questions_add_up_to_those_of_the_study(name):
    spec, questions = STUDIES.spec(name), STUDIES[name].questions
    for i in range(2):
        total = sum(question.minutes[i] for question in questions)
        assert 0.6 * spec.minutes[i] <= total <= 1.4 * spec.minutes[i], total


@pytest.mark.parametrize("name", NAMES)
def test_snippets_are_short_and_take_what_the_notebook_has(name):
    content = STUDIES[name]
    nodes = ast.walk(ast.parse(code_of(content.setup)))
    known = {"data", "data_dir", "seed", "fast"} | {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    for question in content.questions:
        code = question.snippet.__code__
        taken = set(code.co_varnames[: code.co_argcount])
        assert taken <= known, question.name
        lines = [line for line in code_of(question.snippet).splitlines() if line.strip()]
        assert len(lines) <= 16, (question.name, len(lines))


@pytest.mark.parametrize("name", NAMES)
def test_the_cell_of_every_question_is_compared_with_the_page(name):
    assert set(CELLS[name]) == {question.name for question in STUDIES[name].questions}


def test_the_table_in_the_documentation_is_that_of_the_records():
    page = (ROOT / "docs" / "studies.md").read_text()
    for name, spec in STUDIES.specs().items():
        assert f"| `{name}` | {spec.cited.citation} | {spec.about} |" in page


@pytest.fixture(scope="module", params=NAMES)
def answered(request, tmp_path_factory):
    """A fast run, once for the tests that look at it."""
    return run_study(request.param, tmp_path_factory.mktemp("study") / "s", fast=True)


@pytest.mark.slow
def test_every_row_has_a_figure_or_a_table_that_is_there(answered):
    assert answered.failed == ()
    found = json.loads((answered.folder / "result.json").read_text())
    spec = STUDIES.spec(answered.name)
    assert set(found["rows"]) == {f"{spec.document}.{n}" for n in spec.cited.rows}
    page = answered.page.read_text()
    for row in found["rows"].values():
        files = row["figures"] + row["tables"]
        assert files, row
        assert all((answered.folder / file).is_file() for file in files)
        assert f'id="{row["question"]}"' in page
    assert all(question["finding"] and question["discussion"] for question in found["questions"])
    assert answered.page.stat().st_size <= LARGEST


@pytest.mark.slow
def test_every_cell_of_the_notebook_makes_the_numbers_of_the_page(answered, tmp_path, monkeypatch):
    assert answered.failed == ()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("convscope.training.train", taken_from(answered.folder / "runs"))
    notebook = json.loads((answered.folder / "notebook.ipynb").read_text())
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    questions = STUDIES[answered.name].questions
    assert cells[0] == first_cell(fast=True, seed=0, data=STUDIES.spec(answered.name).data[0])
    scope = {}
    for cell in cells[:2]:
        exec(compile(cell, "notebook", "exec"), scope)
    unlike = {}
    for question, cell in zip(questions, cells[2:], strict=True):
        names = dict(scope)
        exec(compile(cell, question.name, "exec"), names)
        numbers = next(q for q in answered.numbers["questions"] if q["name"] == question.name)
        table = table_of(answered.folder, question.name)
        pairs = CELLS[answered.name][question.name](names, numbers["numbers"], table)
        assert pairs, question.name
        for made, shown in pairs:
            made, shown = numbers_of(made), numbers_of(shown)
            if not made or not alike(made, shown):
                unlike[question.name] = (made, shown)
    assert unlike == {}


def alike(made, shown):
    """Equal to the digits that batches of another size leave equal."""
    if any(isinstance(one, str) for one in made):
        return made == shown
    return made == pytest.approx(shown, rel=1e-3, abs=1e-5)


def taken_from(folder):
    """`train` that takes a network of the study, and refuses what the study did not train."""
    kept = [(read_settings(run / "config.toml"), run) for run in sorted(folder.iterdir())]

    def take(settings, dataset, *, out, resume):
        wanted = replace(settings, device="cpu")
        found = [(own, run) for own, run in kept if replace(own, device="cpu") == wanted]
        assert found, f"the study has no training for {out}: {settings.summary()}"
        return train(found[0][0], dataset, out=found[0][1], resume=True)

    return take


@pytest.mark.slow
def test_the_notebook_executes_in_a_kernel_with_figures_inline(answered, tmp_path):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(answered.folder / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    kinds = [
        kind
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        for kind in output.get("data", {})
    ]
    assert kinds.count("image/png") >= len(STUDIES[answered.name].questions) - 2
