"""Flags of results: codes for programs, sentences for people."""

import ast
import json
import re
from pathlib import Path

import torch

import convscope
from convscope import results, robustness
from convscope.attacks import AttackResult, pgd
from convscope.classifier import Classifier
from convscope.files import plain_json
from convscope.flags import Flag, codes_of, count_of

net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
classifier = Classifier.wrap(net, input_shape=(1, 4, 4))
images = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
labels = classifier.predict(images, top=1).labels[:, 0]


def test_a_flag_is_saved_whole_and_read_back(tmp_path):
    found = pgd(classifier, images, labels, targets=labels, epsilon=0.1, steps=2)
    assert codes_of(found.flags) == {"target-predicted", "target-is-label"}
    results.save(found, tmp_path / "r")
    assert results.load(AttackResult, tmp_path / "r").flags == found.flags


def test_a_result_says_when_there_was_nothing_to_fool():
    wrong = (labels + 1) % 3
    found = pgd(classifier, images, wrong, epsilon=0.1, steps=2)
    assert str(found.flags[0]) == "no image was classified correctly before: nothing to fool"
    assert count_of(found.flags, "nothing-to-fool") == len(images)
    some = pgd(classifier, images, torch.cat([labels[:1], wrong[1:]]), epsilon=0.1, steps=2)
    assert "nothing-to-fool" not in codes_of(some.flags)


def test_json_holds_code_severity_count_and_sentence():
    found = pgd(classifier, images, labels, targets=labels, epsilon=0.1, steps=2)
    first = json.loads(json.dumps(plain_json(found.summary())))["flags"][0]
    assert first == {
        "code": "target-predicted", "severity": "note", "count": 6, "of": 6,
        "text": "target==prediction in 6 rows: not counted",
    }  # fmt: skip
    assert str(found.flags[0]) == first["text"]


def test_counts_are_those_of_one_code():
    flags = (Flag("a", "note", 2, 9, "two"), Flag("b", "error", 3, 9, "three"))
    assert count_of(flags, "b") == 3 and count_of(flags, "c") == 0


def test_every_result_of_attacks_and_robustness_has_flags_of_that_kind():
    made = pgd(classifier, images, labels, epsilon=0.1, steps=2, step_size=0.2)
    judged = robustness.evaluate(classifier, images, labels, epsilon=0.9, effort="quick")
    for found in (made, judged):
        assert all(isinstance(flag, Flag) for flag in found.flags)
    assert codes_of(made.flags) == {"step-above-epsilon"}


# ---- Codes: what one part writes, another compares ---------------------------------------------

SOURCE = Path(convscope.__file__).parent
OF_METHODS = {"short-walk", "step-above-epsilon"}
OF_ROWS = {
    "zero-gradient", "zero-gradient-helped", "saturated", "nonfinite", "nonfinite-gradient",
    "target-predicted", "target-is-label", "nothing-to-fool", "budget-exceeded", "no-8-bit-image",
}  # fmt: skip


def texts_in(node):
    return {
        one.value
        for one in ast.walk(node)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    }


def codes_of_calls(names, place):
    """Texts in the argument at `place` of calls to such functions of attacks and robustness."""
    files = [
        file for folder in ("attacks", "robustness") for file in (SOURCE / folder).glob("*.py")
    ]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    return {
        text
        for node in nodes
        if isinstance(node, ast.Call)
        and len(node.args) > place
        and names & set(re.findall(r"\w+", ast.unparse(node.func)))
        for text in texts_in(node.args[place])
    }


def test_the_codes_are_those_that_programs_know():
    """A code that changes in one place only would be compared with what no flag has any more."""
    assert codes_of_calls({"Flag", "note", "_note"}, 0) == OF_METHODS | OF_ROWS


def test_codes_that_are_compared_are_codes_that_are_given():
    compared = codes_of_calls({"count_of"}, 1)
    assert len(compared) >= 4 and compared <= OF_ROWS
    lists = {}
    for file in ("attacks/_result.py", "studies/_fooling.py"):
        for node in ast.parse((SOURCE / file).read_text()).body:
            if isinstance(node, ast.Assign):
                lists[ast.unparse(node.targets[0])] = texts_in(node.value)
    assert lists["COUNTED"] == OF_ROWS and lists["NOT_COUNTED"] <= OF_ROWS


def test_every_check_of_robustness_is_in_the_table_of_its_page():
    page = (Path(__file__).parents[1] / "docs" / "fooling.md").read_text()
    table = page.split("| check | warns when |")[1].split("\n\n")[0]
    assert codes_of_calls({"warn"}, 0) == set(re.findall(r"^\| ([a-z-]+) \|", table, re.M))
