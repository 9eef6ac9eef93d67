import json
import time

import pytest

from convscope.cli._gates import failed_gates, read_gates
from convscope.cli._output import VOICE, emit, fraction, progress, say, table, watching
from convscope.errors import UsageError
from convscope.progress import announce


@pytest.fixture(autouse=True)
def loud(monkeypatch):
    """As a command without --quiet leaves it."""
    monkeypatch.setattr(VOICE, "quiet", False)


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
    known = ["accuracy", "robust", "loss"]
    assert read_gates(["acc=0.98,robust=1/2"], known) == {"accuracy": 0.98, "robust": 0.5}
    assert read_gates(["0.4"], known, bare="robust") == {"robust": 0.4}
    for text, says in [
        ("accuracy", "NAME=NUMBER"), ("0.4", "NAME=NUMBER"), ("accuracy=", "NAME=NUMBER"),
        ("acuracy=0.9", "did you mean accuracy"), ("accuracy=98", "did you mean accuracy=0.98"),
        ("accuracy=nan", "0 to 1"), ("loss=-1", "at least 0"), ("acc=0.1,accuracy=0.2", "twice"),
    ]:  # fmt: skip
        with pytest.raises(UsageError) as error:
            read_gates([text], known)
        assert says in str(error.value)


def test_upper_and_lower_limits():
    gates = {"accuracy": 0.9, "loss": 0.1, "worst-class": 0.5, "robust": 0.1}
    found = {"accuracy": float("nan"), "loss": 0.2, "worst-class": 1.0}
    sentences = failed_gates(gates, found, absent=("cat",))
    assert sentences == [
        "accuracy is nan, under 0.9",
        "loss is 0.2, above 0.1",
        "worst-class cannot be judged: 1 classes have no image (cat)",
        "robust was not measured",
    ]


def test_a_bar_on_a_terminal_says_how_long_it_takes(monkeypatch):
    """What is known is shown: percent and time left, or only time gone."""
    import io

    import rich.console

    made = io.StringIO()
    monkeypatch.setattr("convscope.cli._output._is_terminal", lambda: True)
    monkeypatch.setattr(VOICE, "quiet", False)
    monkeypatch.setattr(VOICE, "progress", True)
    plain = rich.console.Console
    monkeypatch.setattr(
        rich.console, "Console",
        lambda **_: plain(file=made, force_terminal=True, width=100, color_system=None),
    )  # fmt: skip
    with watching("attacking 3 images"):
        time.sleep(0.02)
        announce(0.25)
        time.sleep(0.6)
    with progress("reading", total=None) as bar:
        bar.advance(1)
    text = made.getvalue()
    assert " 25 %" in text and "about 0:0" in text and " left" in text
    assert "/?" not in text and "-:--" not in text


def test_tables_are_a_screenful_with_a_word_on_the_rest(capsys):
    table(["n"], [[n] for n in range(64)], most=16)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 17 and "16 of 64 rows" in err and "--json" in err
