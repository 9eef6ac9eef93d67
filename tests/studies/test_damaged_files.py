"""What audits read of a run folder, and studies of their own, from damaged files."""

import pytest

from convscope.reports import Section
from convscope.studies import QuestionSpec, Study, StudySpec
from convscope.studies._kept import keep, read_kept
from convscope.studies._network import _environment, _settings
from convscope.studies._notes import read_notes
from convscope.studies._question import Question
from tests.fuzz.damage import check_reader, data_file, needs_alarm, run_file

READERS = {
    "config.toml in a report": run_file("config.toml", _settings),
    "env.json in a report": run_file("env.json", _environment),
}


def kept_question(folder):
    """A finished question with a table."""
    spec = QuestionSpec(name="one", number="1", title="One", answer=print, rows=("002.1",))
    question = Question(spec=spec, section=Section("one", "One"))
    question.table("drawn", ["n"], [[1]])
    question.compare("n", document="1", measured=1.0)
    keep(Study(name="toy", spec=StudySpec(""), out=folder), question, key="k", seconds=1.0)
    path = folder / "questions" / "one.json"
    return path, lambda: read_kept(path)


OWN = {
    "a finished question": kept_question,
    "notes.md": data_file("notes.md", b"On all.\n\n## 1\nOne.\n" * 5, read_notes),
}


@needs_alarm
@pytest.mark.parametrize("name", OWN)
def test_damage_to_files_of_a_study_is_refused_in_the_family(name, tmp_path):
    check_reader(name, OWN[name], tmp_path)


@needs_alarm
@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_in_the_family_and_nothing_hangs(name, tmp_path):
    check_reader(name, READERS[name], tmp_path, refuses=False)  # the section says what is wrong
