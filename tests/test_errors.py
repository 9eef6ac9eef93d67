import pickle

import pytest

from convscope.errors import (
    ConvscopeError,
    DataError,
    PartlyRefused,
    UnknownLayer,
    UsageError,
    choose,
    printable,
)


def test_text_has_at_most_three_lines_and_names_the_place():
    error = DataError("is cut\nshort", where="a\nb", expected="16 bytes", hint="fetch it again")
    lines = str(error).splitlines()
    assert lines == ["a\\nb: is cut\\nshort", "  expected: 16 bytes", "  fix: fetch it again"]


def test_exit_codes_are_the_documented_ones():
    def all_kinds(kind):
        return {kind, *(k for sub in kind.__subclasses__() for k in all_kinds(sub))}

    codes = {k.__name__: k.exit_code for k in all_kinds(ConvscopeError)}
    expected = {
        "GateFailed": 1, "UsageError": 2, "DataError": 3, "ImageError": 3,
        "ModelContractError": 4, "UnknownLayer": 4, "CheckpointError": 4, "NumericalError": 5,
        "ResourceError": 6, "RunBusyError": 7, "PartlyRefused": 8,
    }  # fmt: skip
    assert expected.items() <= codes.items()


def test_errors_survive_pickling_between_processes():
    error = PartlyRefused("3 of 9 refused", code="D21", where="x", expected="y", hint="z")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.code == "D21" and type(again) is PartlyRefused


def test_unknown_layer_is_a_key_error_that_prints_plainly():
    assert str(UnknownLayer("no layer named 'x'")) == "no layer named 'x'"
    assert isinstance(UnknownLayer("x"), KeyError)


@pytest.mark.parametrize("text", ["\x1b[2J", "a\u202eb", "\ud800", "\x00", "a\r\nb"])
def test_hostile_text_is_escaped(text):
    line = printable(text)
    assert line.isascii() and line.isprintable()


def test_emoji_and_accents_stay():
    assert printable("café 猫 🐈") == "café 猫 🐈"


def test_typo_gets_the_closest_names():
    with pytest.raises(UsageError, match=r"unknown attack 'fabb'") as caught:
        choose("attack", "fabb", ["fab", "ddn"])
    assert "did you mean fab?" in str(caught.value)
    assert choose("attack", "ddn", ["fab", "ddn"]) == "ddn"
