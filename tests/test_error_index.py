"""The index of error codes is complete, true, and reaches people."""

import ast
import json
import re
from pathlib import Path

import pytest

import convscope
from convscope._raise_sites import CLASSES, _File, _Source
from convscope.cli import main
from convscope.defenses import median
from convscope.error_codes import CODES, FAMILIES
from convscope.error_index import error_index, explain
from convscope.errors import ConvscopeError, UsageError, choose

SOURCE = Path(convscope.__file__).parent


def codes_given_to_errors():
    """Found by text, where the index walks syntax trees."""
    return {
        code
        for path in SOURCE.rglob("*.py")
        for code in re.findall(r'\bcode(?:: str)?\s*=\s*"([A-Z]\d\d)"', path.read_text())
    }


def test_every_code_that_is_raised_is_in_the_index():
    raised = codes_given_to_errors()
    assert len(raised) > 80
    for code in raised:
        assert error_index()[code].sites, code


def test_every_code_has_words_and_every_word_a_code():
    assert list(CODES) == list(error_index())
    for code, entry in error_index().items():
        assert code[0] in FAMILIES
        for text in entry.words:
            assert text.endswith(".") and text[0].isupper() and len(text) < 200, code


def test_exit_codes_are_those_of_the_classes():
    assert error_index()["U11"].exit_codes == (2,)
    assert error_index()["C13"].exit_codes == (5,)
    assert error_index()["I14"].exit_codes == ()
    assert error_index()["D21"].exit_codes == (3, 8)


def test_a_site_says_where_it_is():
    for site in (site for entry in error_index().values() for site in entry.sites):
        lines = (SOURCE / site.file).read_text().splitlines()
        assert 1 <= site.line <= len(lines)
    (site,) = error_index()["U15"].sites
    assert "raise UsageError" in (SOURCE / site.file).read_text().splitlines()[site.line - 1]


def test_words_of_a_site_are_those_of_its_own_function():
    text = """
def one():
    said = "no such file"
    raise UsageError(said, code="U01")

def two():
    said = "no such folder"
    raise UsageError(said, code="U02")
"""
    found = _Source([_File("x.py", ast.parse(text))]).sites()
    assert [(site.function, site.what) for site in found] == [
        ("one", ("no such file",)),
        ("two", ("no such folder",)),
    ]


def as_pattern(template):
    parts = re.split(r"\{[^}]*\}", template)
    return ".*".join(re.escape(part) for part in parts)


def raised_by(call):
    with pytest.raises(ConvscopeError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(
    "call",
    [
        lambda: median(convscope.load("mnist-conv1"), size=2),
        lambda: convscope.open_dataset("nonsense"),
        lambda: convscope.load("no-such-network"),
        lambda: convscope.load("mnist-conv1").predict([[1.0]]),
        lambda: choose("attack", "x", ["ddn"], code="U11"),
        lambda: convscope.data.read_image("no-such-file.png", channels=3),
    ],
)
def test_real_errors_match_a_template_of_their_code(call):
    error = raised_by(call)
    entry = error_index()[error.code]
    fitting = [
        site
        for site in entry.sites
        if any(re.fullmatch(as_pattern(what), error.what) for what in site.what)
        and re.search(r"[a-z]{3}", re.sub(r"\{.*?\}", "", site.what[0]))
    ]
    assert fitting and isinstance(error, tuple(CLASSES[site.kind] for site in fitting))


@pytest.mark.parametrize("written", ["U11", "u11", " error[U11] ", "error[U11]:"])
def test_a_code_is_found_however_it_is_written(written):
    assert explain(written).code == "U11"


def test_an_unknown_code_gets_the_closest_ones():
    with pytest.raises(UsageError, match="unknown error code 'U99'") as caught:
        explain("U99")
    assert "did you mean U19" in caught.value.hint


def test_a_letter_that_no_code_has_gets_no_suggestion():
    with pytest.raises(UsageError, match="unknown error code 'X99'") as caught:
        explain("X99")
    assert (
        caught.value.expected == "one of the letters C, D, I, M, T, U and two digits, such as U11"
    )
    assert caught.value.hint == "convscope explain lists all"


def test_explain_prints_what_the_words_and_the_source_say(capsys):
    assert main(["explain", "M03"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("M03: networks (ModelContractError; exit code 4)")
    assert "the network has one output per image, not one per class" in said
    assert CODES["M03"].advice in said and "raised in: _network/outputs.py:" in said


def test_explain_lists_all_codes(capsys):
    assert main(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == list(CODES)


def test_explain_speaks_json(capsys):
    assert main(["explain", "--json", "D24"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["exit_codes"] == [3, 6] and found["raised"][0]["message"]
    assert main(["explain", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(CODES)


def test_an_error_on_the_command_line_leads_to_its_explanation(capsys):
    assert main(["eval", "no-such-network", "--data", "digits"]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error[C11]: ") and lines[-1] == "  more: convscope explain C11"
    assert main(["explain", "X99"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "  more: convscope explain U01"
