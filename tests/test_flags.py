"""Flags of results: codes for programs, sentences for people."""

import json

import torch

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
