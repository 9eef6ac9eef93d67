import json

import pytest

from convscope.cli._output import emit, fraction, parse_gates, progress, say, table
from convscope.errors import UsageError


def test_fractions_are_numbers():
    assert fraction("8/255") == 8 / 255 and fraction("0.3") == 0.3 and fraction("1e-3") == 1e-3


@pytest.mark.parametrize("text", ["", "eight", "1/0", "1/2/3", "/"])
def test_u03_other_texts_are_refused(text):
    with pytest.raises(UsageError, match="is not a number"):
        fraction(text)


def test_json_has_null_for_nan(capsys):
    emit({"a": float("nan"), "b": (1, 2)}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1, 2]}


def test_people_get_a_line_per_entry(capsys):
    emit({"accuracy": 0.98765, "n": 3})
    assert capsys.readouterr().out == "accuracy  0.9877\nn         3\n"


def test_tables_in_pipes_are_tab_separated_and_escaped(capsys):
    table(["name", "n"], [["a\x1b[2J\tb", 1]])
    assert capsys.readouterr().out == "name\tn\na\\x1b[2J\\tb\t1\n"


def test_words_go_to_stderr(capsys):
    say("hello\x1b")
    out, err = capsys.readouterr()
    assert out == "" and err == "hello\\x1b\n"


def test_progress_without_a_terminal_is_silent_when_short(capsys):
    with progress("reading", total=3) as bar:
        for _ in range(3):
            bar.advance(1)
    assert capsys.readouterr() == ("", "")


def test_gates():
    assert parse_gates(["accuracy=0.98,robust=1/2"]) == {"accuracy": 0.98, "robust": 0.5}
    with pytest.raises(UsageError, match="NAME=NUMBER"):
        parse_gates(["accuracy"])
