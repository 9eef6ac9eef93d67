"""A share that nobody could compute, NaN, has no bar and is no number in a figure."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from convscope.attacks import AdversarialPatch, AttackResult
from convscope.figures import draw, svg
from convscope.robustness import DefenseComparison, ModelTransfer, RobustnessEvaluation

from .results import all_results

RESULTS = {type(result): result for result in all_results()}


def first_missing(values):
    """The same values without the first one."""
    return torch.cat([torch.full_like(values[:1], torch.nan), values[1:]])


def undefended(result):
    """A comparison whose first row was not measured."""
    first = replace(result.rows[0], clean=math.nan, transfer=math.nan, adaptive=math.nan)
    return replace(result, rows=(first, *result.rows[1:]))


CASES = {
    AttackResult: (lambda r: replace(r, logits_after=first_missing(r.logits_after)), 3),
    AdversarialPatch: (lambda r: replace(r, rates=first_missing(r.rates)), 1),
    RobustnessEvaluation: (lambda r: replace(r, clean_accuracy=math.nan), 1),
    DefenseComparison: (undefended, 3),
}
"""Results with NaN in what their bars show, and how many bars that takes."""


def bars(drawn):
    """The lengths of all bars of a figure."""
    return np.concatenate([b.datavalues for made in drawn.axes for b in made.containers])


@pytest.mark.parametrize("kind", CASES)
def test_a_missing_share_has_no_bar_and_the_others_keep_theirs(kind):
    change, gone = CASES[kind]
    whole, drawn = bars(draw(RESULTS[kind])), draw(change(RESULTS[kind]))
    left = bars(drawn)
    assert len(left) == len(whole) and np.isnan(left).sum() == gone + np.isnan(whole).sum()
    assert "nan" not in svg(drawn)


def texts(drawn):
    """What is written into the axes of a figure, without titles and names of axes."""
    return [text.get_text() for made in drawn.axes for text in made.texts]


def test_a_missing_share_is_written_as_a_dash():
    evaluation = RESULTS[RobustnessEvaluation]
    assert "–" not in texts(draw(evaluation))
    said = texts(draw(replace(evaluation, clean_accuracy=math.nan)))
    assert said[0] == "–" and said[1:] == texts(draw(evaluation))[1:]
    assert texts(draw(RESULTS[ModelTransfer])) == ["100", "50", "–", "20"]
