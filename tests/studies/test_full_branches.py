"""What only a full study does, on few images that are built in: it runs, and answers its rows.

Files of other people (an ImageNet network, photos, pets) are not needed by these questions.
"""

import math
from dataclasses import replace

import pytest

from convscope.data import open_dataset, sample_rows
from convscope.studies import STUDIES, Study, run_study

STAND_INS = {"mnist": "digits", "cifar10": "shapes", "digits": "digits"}
MOST = {"train": 1300, "validation": 200, "test": 400}
CIFAR_QUESTIONS = {
    "homework-2": ("network-11x11", "batch-normalization", "deeper-network", "adder", "paper"),
    "snu-assignment-2": ("by-hand", "convolution", "cifar-10", "inception", "notebooks"),
}


def few(name):
    """A built-in data set under the name of one that has to be downloaded."""
    found = open_dataset(STAND_INS[name])
    parts = {}
    for split in found.splits:
        rows = sample_rows(split.labels, min(MOST[split.name], len(split)))
        parts[split.name] = split.subset(rows)
    return replace(found, name=name, **parts)


@pytest.mark.slow
@pytest.mark.filterwarnings(  # Of Keras, when it reads torch's tensors.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
@pytest.mark.parametrize("name", STUDIES)
def test_the_full_branches_answer_their_rows(name, tmp_path, monkeypatch):
    real, most = Study.trained, 1 if name in CIFAR_QUESTIONS else 3

    def shortly(study, model, **more):
        return real(study, model, **more | {"epochs": min(more.get("epochs", math.inf), most)})

    monkeypatch.setattr(Study, "trained", shortly)
    monkeypatch.setattr("convscope.data.open_dataset", lambda name, **more: few(name))
    only = CIFAR_QUESTIONS.get(name, ())
    found = run_study(name, tmp_path / "s", fast=False, only=only)
    assert {q["name"]: q["error"] for q in found.numbers["questions"] if q["error"]} == {}
    answered = [q for q in STUDIES[name].questions if not only or q.name in only]
    assert set(found.numbers["rows"]) == {row for question in answered for row in question.rows}
