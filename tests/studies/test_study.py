"""The framework of studies, on a study of three questions that take no time."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from convscope.cli import main
from convscope.errors import DataError, ResourceError, UsageError
from convscope.figures import line_chart
from convscope.models import load
from convscope.progress import announce, watch
from convscope.studies import (
    DOCUMENTS,
    STUDIES,
    Picture,
    QuestionSpec,
    Study,
    StudyContent,
    StudySpec,
    all_rows,
    missing_materials,
    row_text,
    run_study,
    write_index,
)
from convscope.studies._comparison import Comparison
from convscope.studies._kept import read_kept
from convscope.studies._snippets import code_of
from convscope.studies._tables import latex_table
from convscope.training import Interrupted

CALLS = []


def setup(data, data_dir):
    import convscope

    dataset = convscope.open_dataset(data, data_dir=data_dir)  # noqa: F841


def snippet(dataset):
    """Not shown."""
    from convscope.figures import line_chart

    # How many images there are of each class.
    return line_chart({"images": dataset.test.labels.bincount()}, title="t", x="class", y="images")


def counted(study, question):
    CALLS.append("counted")
    labels = study.dataset().test.labels
    drawn = torch.randint(0, 100, (3,), generator=study.generator(1)).tolist()
    question.table("drawn", ["which", {"title": "n", "kind": "number"}], [["a_b", drawn[0]]])
    question.number("drawn", drawn)
    question.find(f"{len(labels)} images <b>and</b> $x_1$.")
    question.compare("images", document="10,000", measured=len(labels), unit="count", at_least=9e9)
    question.compare("accuracy", document="98 %", measured=[0.5, 0.6], unit="share", at_least=0.5)
    question.deviate("MNIST", "digits", "They are here. " * 20)
    question.discuss("There are few.")
    question.tile("images", "359")


def drawn(study, question):
    CALLS.append("drawn")
    question.figure(
        "curve", line_chart({"a": [1, 2]}, title="t", x="step", y="cost"), alt="A curve"
    )
    tile = np.zeros((4, 4), np.uint8)
    question.pictures(
        "pair", ["left", "right"], [("row", [Picture(image=tile, title="7", tone="good"), None])],
        caption="A pair.", row="002.5",
    )  # fmt: skip


def failing(study, question):
    CALLS.append("failing")
    raise DataError("no luck", hint="try again")


def toy_network(study):
    CALLS.append("network")
    return load("mnist-conv1")


def content(*answers):
    rows = {counted: ("002.1",), drawn: ("002.4", "002.5"), failing: ("002.6",)}
    return StudyContent(
        setup=setup,
        network=toy_network,
        questions=tuple(
            QuestionSpec(
                name=answer.__name__, number=str(i + 1), title=f"Question {i + 1}", answer=answer,
                rows=rows.get(answer, ("002.9",)), snippet=snippet if answer is counted else None,
                left_out="what is <drawn>" if answer is counted else "",
            )
            for i, answer in enumerate(answers)
        ),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def toy():
    """A study that is registered for the time of a test."""
    CALLS.clear()
    register(counted, drawn)
    yield
    del STUDIES["toy"]


def register(*answers):
    STUDIES["toy"] = StudySpec(
        content(*answers), "A toy.", title="A toy", document="002", data=("digits", "digits")
    )


def test_a_study_writes_page_figures_tables_numbers_and_notebook(tmp_path):
    found = run_study("toy", tmp_path / "s", fast=True)
    folder = found.folder
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {
        "report.html", "result.json", "notebook.ipynb", "tables/counted-drawn.csv",
        "tables/counted-drawn.tex", "figures/drawn-curve.svg", "figures/drawn-curve.png",
        "figures/drawn-pair.svg", "figures/drawn-pair.png",
    } <= names  # fmt: skip
    page = (folder / "report.html").read_text()
    assert "1 Question 1" in page and "S. Sahoo" in page
    assert "55.00 % (sd 7.07 %, n = 2)" in page
    assert "images &lt;b&gt;and&lt;/b&gt; $x_1$." in page
    assert ("They are here. " * 20).strip() in page, "a reason is not cut"
    assert "How many images there are" not in code_of(setup) and "bincount()" in page
    assert 'class=" good"' in page and 'class=" warn"' in page


def test_what_a_cell_leaves_out_is_said_beside_it_on_the_page_and_in_the_notebook(tmp_path):
    folder = run_study("toy", tmp_path / "s", fast=True).folder
    said = "as on this page, without what is &lt;drawn&gt;"
    assert (folder / "report.html").read_text().count(said) == 1
    cells = json.loads((folder / "notebook.ipynb").read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    place = next(i for i, text in enumerate(texts) if "without what is <drawn>" in text)
    assert texts[place + 1] == code_of(snippet)


def test_result_json_knows_rows_figures_and_comparisons(tmp_path):
    run_study("toy", tmp_path / "s", fast=True)
    found = json.loads((tmp_path / "s" / "result.json").read_text())
    assert found["rows"]["002.4"]["figures"] == ["figures/drawn-curve.svg"]
    assert found["rows"]["002.5"]["figures"] == [
        "figures/drawn-curve.svg",
        "figures/drawn-pair.svg",
    ]
    assert found["rows"]["002.1"]["tables"] == ["tables/counted-drawn.csv"]
    assert found["rows"]["002.1"]["page"] == "report.html#counted"
    first, second = found["questions"][0]["comparisons"]
    assert first["met"] is False and second["met"] is True
    assert second["mean"] == pytest.approx(0.55) and second["n"] == 2


def test_networks_of_earlier_runs_count_with_the_time_that_they_took(tmp_path):
    def study():
        return Study("toy", STUDIES.spec("toy"), tmp_path / "s")

    run = study().trained("mnist-conv1", preset="fast", epochs=1)
    later = study()
    for _ in range(2):
        again = later.trained("mnist-conv1", preset="fast", epochs=1)
    assert run.seconds - 0.01 < again.seconds + later.earlier_seconds < run.seconds + 1


def test_finished_questions_are_not_answered_again(tmp_path):
    first = run_study("toy", tmp_path / "s", fast=True)
    second = run_study("toy", tmp_path / "s", fast=True)
    assert CALLS == ["counted", "drawn"] and (first.recalled, second.recalled) == (0, 2)
    assert _without_seconds(first.numbers) == _without_seconds(second.numbers)
    run_study("toy", tmp_path / "s", fast=True, again=True)
    assert CALLS == ["counted", "drawn"] * 2


def _without_seconds(numbers):
    return json.loads(re.sub(r'"seconds": [^,}]+', '"seconds": 0', json.dumps(numbers)))


@pytest.mark.parametrize("change", [{"seed": 1}, {"fast": False}])
def test_other_settings_are_another_answer(tmp_path, change):
    run_study("toy", tmp_path / "s", **{"fast": True, "seed": 0})
    run_study("toy", tmp_path / "s", **{"fast": True, "seed": 0} | change)
    assert CALLS == ["counted", "drawn"] * 2


def test_other_code_and_other_inputs_are_another_answer(tmp_path, monkeypatch):
    run_study("toy", tmp_path / "s", fast=True)
    with monkeypatch.context() as patched:
        patched.setattr("convscope.studies._run_study.code_of_study", lambda content: "changed")
        run_study("toy", tmp_path / "s", fast=True)
    assert CALLS == ["counted", "drawn"] * 2
    with monkeypatch.context() as patched:
        import convscope.data

        real = convscope.data.open_dataset
        patched.setattr(
            convscope.data, "open_dataset",
            lambda *given, **more: replace(real(*given, **more), hashes={"digits": "others"}),
        )  # fmt: skip
        run_study("toy", tmp_path / "s", fast=True)
    assert CALLS[4:] == ["counted", "drawn"], "code is again that of the first run, kept are others"


def test_one_seed_twice_gives_the_same_tables_and_figures(tmp_path):
    for name in ("a", "b"):
        run_study("toy", tmp_path / name, fast=True, seed=3)
    files = sorted((tmp_path / "a").glob("[ft]*/*"))
    assert len(files) >= 8
    for file in files:
        other = tmp_path / "b" / file.relative_to(tmp_path / "a")
        assert file.read_bytes() == other.read_bytes(), file.name


def test_a_killed_study_goes_on_at_the_question_where_it_was(tmp_path):
    def killed(study, question):
        CALLS.append("killed")
        raise KeyboardInterrupt

    register(counted, killed, drawn)
    with pytest.raises(KeyboardInterrupt):
        run_study("toy", tmp_path / "s", fast=True)
    assert CALLS == ["counted", "killed"]
    assert (
        "Not answered yet: 2 Question 2, 3 Question 3"
        in (tmp_path / "s" / "report.html").read_text()
    )
    register(counted, drawn)
    assert run_study("toy", tmp_path / "s", fast=True).recalled == 1
    assert CALLS == ["counted", "killed", "drawn"]


def test_a_training_that_is_stopped_stops_the_study_and_says_how_to_go_on(tmp_path):
    def stopped(study, question):
        raise Interrupted("stopped after step 3", hint="--resume")

    register(stopped)
    with pytest.raises(Interrupted, match="the same command goes on"):
        run_study("toy", tmp_path / "s", fast=True)


def test_a_failed_question_is_a_remark_and_the_others_are_there(tmp_path, capsys):
    register(counted, failing, drawn)
    words = ["study", "toy", "--fast", "--out", str(tmp_path / "s")]
    assert main(words) == 8
    assert "2 Question 2" in capsys.readouterr().err
    page = (tmp_path / "s" / "report.html").read_text()
    assert "This section stopped: no luck" in page and "A curve" in page
    found = json.loads((tmp_path / "s" / "result.json").read_text())
    assert [q["status"] for q in found["questions"]] == ["ok", "failed", "ok"]
    assert main(words) == 8 and CALLS.count("failing") == 2 and CALLS.count("drawn") == 1


def test_only_some_questions(tmp_path):
    run_study("toy", tmp_path / "s", fast=True, only=["drawn"])
    assert CALLS == ["drawn"]
    with pytest.raises(UsageError, match="did you mean drawn"):
        run_study("toy", tmp_path / "s", fast=True, only=["drown"])


def test_missing_data_stop_the_questions_that_need_them_and_no_others(tmp_path, capsys):
    spec = STUDIES.spec("toy")
    del STUDIES["toy"]
    STUDIES["toy"] = replace(spec, data=("mnist", "cifar10"))
    words = ["study", "toy", "--offline", "--data-dir", str(tmp_path / "empty")]
    assert main([*words, "--fast", "--out", str(tmp_path / "a")]) == 8
    said = capsys.readouterr().err
    assert "warning: toy: mnist is not on this machine" in said
    assert "fix: convscope data download mnist" in said and "1 Question 1" in said
    page = (tmp_path / "a" / "report.html").read_text()
    assert "This section stopped" in page and "convscope data download mnist" in page
    assert "A curve" in page and CALLS == ["counted", "drawn"]
    page = page.split('<section id="code">')[0]
    assert f"looked for in {tmp_path / 'empty'}" in said and "or --data" not in said + page
    assert "or --fast" not in said + page, "it is given already"
    assert main([*words, "--out", str(tmp_path / "b")]) == 8
    said = capsys.readouterr().err
    assert "or --fast, which needs no files" in said and "or --data" not in said
    assert "cifar10" in (tmp_path / "b" / "report.html").read_text()


def test_the_end_counts_the_questions_that_it_does_not_name(tmp_path, capsys):
    register(*[failing] * 5)
    assert main(["study", "toy", "--fast", "--out", str(tmp_path / "s")]) == 8
    said = capsys.readouterr().err
    assert "5 questions stopped: " in said and "Question 5; and 2 more" in said
    register(failing)
    assert main(["study", "toy", "--fast", "--out", str(tmp_path / "t")]) == 8
    said = capsys.readouterr().err
    assert "1 question stopped: toy: 1 Question 1\n" in said


def test_data_that_are_there_again_answer_what_was_left_open(tmp_path):
    spec = STUDIES.spec("toy")
    del STUDIES["toy"]
    STUDIES["toy"] = replace(spec, data=("mnist", "digits"))
    place = {"data_dir": tmp_path / "empty", "offline": True}
    assert run_study("toy", tmp_path / "s", fast=True, **place).failed == ("1 Question 1",)
    assert run_study("toy", tmp_path / "s", fast=False, **place).failed == ()


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "toy"])
def test_what_a_full_study_needs_is_said_before_hours_of_work(name, tmp_path):
    missing = missing_materials(name, data_dir=tmp_path, offline=True)
    assert STUDIES.spec(name).data[1] in missing[0].what
    assert all(isinstance(error, ResourceError) and error.hint for error in missing)
    if name == "homework-2":
        words = " ".join(error.what for error in missing)
        assert all(part in words for part in ("ImageNet network", "photos of peppers", "pets"))
    assert missing_materials(name, fast=True, data_dir=tmp_path, offline=True) == ()


def test_a_study_that_was_killed_as_it_claimed_its_folder_goes_on(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.json").write_text('{"study": "toy"}')
    assert run_study("toy", tmp_path / "s", fast=True, only=["drawn"]).page.is_file()


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="is no study"):
        run_study("toy", tmp_path, fast=True)
    run_study("toy", tmp_path / "s", fast=True, only=["drawn"])
    with pytest.raises(UsageError, match="holds the study toy"):
        run_study("assignment-2-report", tmp_path / "s", fast=True)


def test_notes_are_merged_into_the_page(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "notes.md").write_text("On all.\n\n## 1 Mine\nAs <i>expected</i>.\n\n# drawn\nOdd.\n")
    run_study("toy", folder, fast=True)
    page = (folder / "report.html").read_text()
    assert all(text in page for text in ("On all.", "As &lt;i&gt;expected&lt;/i&gt;.", "Odd."))
    assert json.loads((folder / "report.json").read_text())["alerts"] == []


def test_progress_reaches_the_end_and_never_falls(tmp_path):
    heard = []
    with watch(lambda share, what: heard.append((share, what))):
        run_study("toy", tmp_path / "s", fast=True)
    shares = [share for share, _ in heard]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert any("Question 2" in what for _, what in heard)


def test_parts_of_a_question_share_its_stretch_of_the_progress(tmp_path):
    def parts(study, question):
        for _ in study.each("ab"):
            announce(0.5)

    register(parts)
    heard = []
    with watch(lambda share, what: heard.append(share)):
        run_study("toy", tmp_path / "s", fast=True)
    assert 0.25 in heard and 0.75 in heard


def test_the_notebook_runs_and_its_last_lines_are_figures(tmp_path):
    run_study("toy", tmp_path / "s", fast=True)
    notebook = json.loads((tmp_path / "s" / "notebook.ipynb").read_text())
    assert notebook["nbformat"] == 4 and len({cell["id"] for cell in notebook["cells"]}) == len(
        notebook["cells"]
    )
    scope = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), scope)
    last = "".join(notebook["cells"][4]["source"])
    assert last.splitlines()[-1].startswith("line_chart(")
    assert len(scope["dataset"].test) == 359
    words = "".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown")
    assert "| accuracy | 98 % | 55.00 % (sd 7.07 %, n = 2) |" in words


def test_a_snippet_that_returns_early_is_refused():
    def early(x):
        if x:
            return 1
        return 2

    with pytest.raises(UsageError, match="returns before its end"):
        code_of(early)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("359", "360"),
        lambda text: "{}",
        lambda text: "[" * 100_000,
        lambda text: text.replace("tables/counted", "../../counted"),
    ],
)
def test_a_damaged_kept_question_is_answered_again(tmp_path, damage):
    run_study("toy", tmp_path / "s", fast=True)
    file = tmp_path / "s" / "questions" / "counted.json"
    file.write_text(damage(file.read_text()))
    with pytest.raises(DataError):
        read_kept(file)
    run_study("toy", tmp_path / "s", fast=True)
    assert CALLS == ["counted", "drawn", "counted"]
    assert not (tmp_path / "counted").exists() and read_kept(file)["seconds"] >= 0


def test_a_comparison_says_mean_and_deviation_and_whether_it_is_met():
    one = Comparison(row="002.1", what="x", document="9", measured=(10.0,), at_least=9.0)
    assert one.here == "10" and one.met is True and one.sd is None
    assert replace(one, measured=(8.0, 9.0)).met is False
    assert replace(one, measured=(), words="no number").here == "no number"
    assert replace(one, at_least=None).met is None


def test_latex_escapes_what_latex_would_take_for_commands():
    text = latex_table(["100 %"], [[r"a\b & c_d"]])
    assert r"100 \%" in text and r"a\textbackslash{}b \& c\_d" in text


def test_the_five_documents_have_44_rows():
    assert len(all_rows()) == 44 and len(set(all_rows())) == 44
    assert row_text("003.10") == "a PDF with the code in it"
    for document in DOCUMENTS.values():
        assert document.title in document.citation and document.year in document.citation


def test_the_index_leads_to_the_studies(tmp_path):
    register(counted, failing)
    found = run_study("toy", tmp_path / "toy", fast=True)
    page = write_index([found], tmp_path).read_text()
    assert 'href="toy/report.html"' in page and 'href="toy/notebook.ipynb"' in page
    assert "toy: 2 Question 2 is incomplete" in page


def test_the_list_says_what_each_study_does_and_how_long_it_takes(capsys):
    assert main(["study"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    for name, spec in STUDIES.specs().items():
        (line,) = [line for line in lines if line.startswith(f"{name}\t")]
        assert spec.about in line and f"{spec.minutes[0]:g} min" in line
    assert "with --fast on two free cores, in full on one core beside other jobs" in printed.err
    assert main(["study", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["document"]


def test_a_study_is_found_by_the_number_of_its_document_and_typos_are_answered(capsys):
    assert STUDIES.known("002") == "assignment-2-report"
    assert main(["study", "asignment-2-report"]) == 2
    assert "did you mean assignment-2-report" in capsys.readouterr().err
    assert main(["study", "all", "--only", "x"]) == 2


def test_pictures_in_many_columns_fit_into_a_page(tmp_path):
    def many(study, question):
        tile = np.zeros((32, 32, 3), np.uint8)
        for columns in (5, 10):
            cells = [Picture(image=tile, title="7")] * columns
            question.pictures(f"n{columns}", ["x"] * columns, [("row", cells)], caption="c.")

    register(many)
    run_study("toy", tmp_path / "s", fast=True)
    blocks = json.loads((tmp_path / "s" / "report.json").read_text())["sections"][1]["blocks"]
    few, all_ten = (block for block in blocks if block["type"] == "grid")
    assert few["scale"] == 3
    assert 74 + 10 * (32 * all_ten["scale"] + 10) <= 1000


def test_why_a_question_stopped_stands_before_its_code(tmp_path):
    def half(study, question):
        question.discuss("There are few.")
        raise DataError("no luck", hint="try again")

    register(half)
    one = STUDIES["toy"].questions[0]
    del STUDIES["toy"]
    STUDIES["toy"] = StudySpec(
        StudyContent(
            setup=setup, network=toy_network, questions=(replace(one, snippet=snippet),)
        ),
        "A toy.", title="A toy", document="002", data=("digits", "digits"),
    )  # fmt: skip
    page = run_study("toy", tmp_path / "s", fast=True).page.read_text()
    assert page.index("This section stopped: no luck") < page.index("How many images there are")


def test_the_list_is_no_more_hopeful_than_the_measured_runs():
    """Full runs of `docs/results.md`, on one core beside other jobs."""
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text("utf-8")
    measured = re.findall(
        r"^## \d+: `([\w-]+)`.*?A full run [^;]*; ([\d.]+) minutes", text, re.M | re.S
    )
    assert len(measured) >= 4
    for name, minutes in measured:
        assert 0.8 * float(minutes) <= STUDIES.spec(name).minutes[1] <= 3 * float(minutes), name
