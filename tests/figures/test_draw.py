import warnings

import matplotlib
import pytest

from convscope.errors import UsageError
from convscope.figures import FIGURES, draw, svg

from .results import all_results

HOSTILE = (
    "$\\frac{1}{$",
    "cost $5 to $6_x",
    "猫\u202eمرحبا🐈",
    "x" * 500,
    "<img src=x onerror=alert(1)>\n\x00",
    "",
)
RESULTS = all_results()
KINDS = [f"{i}-{type(result).__name__}" for i, result in enumerate(RESULTS)]


def test_every_kind_of_result_is_drawn_here():
    assert {type(result) for result in RESULTS} >= set(FIGURES)


@pytest.mark.parametrize("result", RESULTS, ids=KINDS)
def test_a_result_becomes_a_figure_that_belongs_to_no_window(result):
    before = dict(matplotlib.rcParams)
    figure = draw(result)
    assert figure.axes and figure.canvas.manager is None
    text = svg(figure, alt="what it shows")
    assert text.startswith("<svg") and "<script" not in text and "<title>what it shows" in text
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("result", RESULTS[:3] + RESULTS[-4:])
def test_the_same_result_gives_the_same_svg(result):
    assert svg(draw(result)) == svg(draw(result))


@pytest.mark.parametrize("result", all_results(HOSTILE), ids=KINDS)
def test_hostile_names_neither_stop_nor_warn(result):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = svg(draw(result))
    assert "x" * 60 not in text and "<img" not in text


def test_dollars_are_printed_as_dollars():
    result = next(r for r in all_results(HOSTILE) if type(r).__name__ == "Evaluation")
    text = svg(draw(result))
    assert "$\\frac{1}{$" in text and "cost $5" in text


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(UsageError, match="no figure for a dict"):
        draw({})


def test_a_network_without_weights_is_drawn():
    from torch import nn

    from convscope.models import summarize

    assert draw(summarize(nn.Sequential(nn.ReLU()), (1, 4, 4))).axes
