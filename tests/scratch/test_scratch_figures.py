import numpy as np
import pytest

from convscope.figures import draw_addition, draw_gradient_checks, draw_training_curve
from convscope.scratch import GradientCheck, TrainingCurve, addition


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_every_bit_of_an_addition_is_drawn():
    found = addition("100111", "110010")
    (axes,) = draw_addition(found).axes
    assert axes.get_title(loc="left") == "100111 + 110010 = 1011001"
    bits = [text for text in texts(axes) if text]
    assert len(axes.patches) == len(bits) == 7 * 7
    assert "".join(bits[-7:][::-1]) == "1011001"


def test_of_a_long_addition_the_lowest_places_are_drawn():
    (axes,) = draw_addition(addition("1" * 1000, "1")).axes
    assert axes.get_title(loc="left") == "The lowest 48 of 1,001 places of a sum"
    assert len(axes.patches) == 7 * 48


@pytest.mark.parametrize("error", [1e-9, 0.0, 0.5, float("nan"), float("inf")])
def test_every_check_is_a_point(error):
    check = GradientCheck(name="a layer", quantity="inputs", numbers=3, error=error)
    (axes,) = draw_gradient_checks([check]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a layer"]
    assert len(axes.lines) == 2


def test_no_checks_are_no_error():
    (axes,) = draw_gradient_checks([]).axes
    assert "nothing was checked" in texts(axes)


@pytest.mark.parametrize("accuracies", [np.zeros(0), np.array([0.5, 0.75])])
def test_a_training_has_a_loss_and_an_error(accuracies, tmp_path):
    curve = TrainingCurve(
        losses=np.array([2.0, 1.0, 0.5, 0.2]),
        errors=np.array([0.9, 0.5, 0.2, 0.1]),
        accuracies=accuracies,
        steps_per_epoch=2,
    )
    figure = draw_training_curve(curve)
    figure.savefig(tmp_path / "curve.png")
    loss, error = figure.axes
    assert loss.get_yscale() == "log"
    assert len(error.lines) == (2 if len(accuracies) else 1)
