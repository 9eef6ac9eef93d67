import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from convscope.figures import accuracy_curve, draw, draw_history, loss_curve, run_curves, svg
from convscope.figures._curve import MOST, decimated
from convscope.robustness import RobustnessCurve

from .results import COST, measured


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "nothing was measured"),
        ([math.nan], "no finite value"),
        ([math.inf, -math.inf], "no finite value"),
        ([0.5], None),
        ([0.5, math.nan, 0.4], "2 values (NaN or infinite) left out"),
        ([0.0, 0.0], None),
        ([0.0, 0.5], None),
    ],
)
def test_whatever_was_measured_is_drawn_with_a_note(values, words):
    points = [measured(i + 1, loss=value, error=0.1) for i, value in enumerate(values)]
    text = svg(loss_curve(points))
    assert words is None or words in text
    assert " nan" not in text and ">nan" not in text


@pytest.mark.parametrize("error", [0.0, 0.1, math.nan])
def test_errors_of_zero_and_nan_are_drawn(error):
    points = [measured(1, error=0.2), measured(2, error=error)]
    assert "nan" not in svg(accuracy_curve(points))
    assert "nan" not in svg(draw_history(points))


def of_two_kinds():
    """An easy part of the images inside the epochs, all of them at the ends."""
    points = [replace(measured(step, loss=0.1 * step), epoch=step / 2) for step in range(1, 7)]
    few = {"validation_loss": 0.01, "validation_images": 10}
    return [replace(p, **few) if p.epoch % 1 else replace(p, validation_images=100) for p in points]


@pytest.mark.parametrize("of", [lambda p: run_curves({"a": p}, "loss"), loss_curve])
def test_no_line_joins_validations_on_a_part_of_the_images_with_those_on_all(of):
    lines = of(of_two_kinds()).axes[0].lines
    joined = [np.round(np.transpose(line.get_data()), 3).tolist() for line in lines]
    assert [[1.0, 0.2], [2.0, 0.4], [3.0, 0.6]] in joined
    assert [[0.5, 0.01], [1.5, 0.01], [2.5, 0.01]] in joined
    assert any("10 of the images" in str(line.get_label()) for line in lines)


def test_equal_validations_are_one_line_and_nothing_is_pale():
    points = [replace(measured(step), epoch=step / 2) for step in range(1, 7)]
    lines = run_curves({"a": points}, "loss").axes[0].lines
    assert [len(line.get_xdata()) for line in lines] == [6]


def test_a_million_points_are_drawn_quickly_and_small():
    x = np.arange(1_000_000)
    start = time.perf_counter()
    few, values = decimated(x, np.sin(x / 1000) + (x == 777_777) * 9, MOST)
    assert time.perf_counter() - start < 2
    assert len(few) <= MOST + 2 and values.max() > 8
    assert few[0] == 0 and few[-1] == 999_999


def test_gaps_survive_decimation():
    y = np.ones(100_000)
    y[30_000:60_000] = np.nan
    _, values = decimated(np.arange(100_000), y, 1000)
    assert 0.15 < np.isnan(values).mean() < 0.45


def test_a_long_run_stays_small_as_svg():
    generator = np.random.default_rng(0)
    points = [measured(i + 1, loss=float(v)) for i, v in enumerate(generator.random(50_000))]
    assert len(svg(loss_curve(points))) < 60_000


def test_a_curve_of_no_images_says_so():
    nothing = torch.zeros(0)
    result = RobustnessCurve(
        attack="a",
        norm="linf",
        epsilons=torch.zeros(1),
        accuracies=torch.full((1,), math.nan),
        smallest=nothing,
        distances=nothing,
        labels=nothing.long(),
        cost=COST,
        settings={},
        flags=(),
        class_names=("a",),
    )
    assert "no images" in svg(draw(result))


def test_no_line_lies_below_the_legend_of_a_curve_with_a_pale_one():
    drawn = run_curves({"a": of_two_kinds(), "b": of_two_kinds()}, "loss")
    drawn.canvas.draw()
    panel = drawn.axes[0]
    legend = panel.get_legend().get_window_extent().ymin
    for line in panel.lines:
        if len(line.get_xdata()):
            assert panel.transData.transform(line.get_xydata())[:, 1].max() < legend
