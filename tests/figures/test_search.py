"""Figures of searches: hostile names, no trials, one trial, pruned and failed ones."""

from dataclasses import replace
from math import nan

import pytest

from convscope.figures import draw, parallel_coordinates, svg, trial_curves, trial_values
from convscope.training import (
    LearningRateCurve,
    Measured,
    SearchResult,
    TrainSettings,
    Trial,
    settings_to_toml,
    space_from_table,
)

SPACE = space_from_table(
    {
        "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "freeze": ["$x$", "<b>\n", ""],
        "epochs": {"low": 1, "high": 9},
    }
)


def curve(loss, epochs=3):
    return tuple(
        Measured(
            step=e, epoch=float(e), learning_rate=0.1, train_loss=loss, train_error=0.1,
            train_accuracy=0.9, validation_loss=loss / e, validation_error=0.1,
            validation_accuracy=0.9, validation_images=10,
        )
        for e in range(1, epochs + 1)
    )  # fmt: skip


def trial(number, state="complete", value=0.9, **more):
    parameters = {"learning_rate": 0.001 * (number + 1), "freeze": "$x$", "epochs": 1 + number % 9}
    words = {"curve": curve(1.0 + number)} | more
    return Trial(number=number, state=state, value=value, parameters=parameters, **words)


def result(*trials):
    return SearchResult(
        model="m", data="d", method="random", objective="accuracy", seed=0, space=SPACE,
        settings=settings_to_toml(TrainSettings(model="m", data="d")), trials=trials,
    )  # fmt: skip


SOME = result(
    *(trial(i, value=0.9 + i / 1000) for i in range(12)),
    trial(12, "pruned", 0.4, curve=curve(9.0, 1)),
    trial(13, "failed", nan, curve=(), reason="no"),
    trial(14, "failed", nan, curve=curve(float("nan"))),
)


@pytest.mark.parametrize(
    "found", [SOME, result(), result(trial(0)), result(trial(0, "failed", nan, curve=()))]
)
def test_a_figure_for_every_search(found):
    assert len(draw(found).axes) == 4
    for panel in (trial_values, trial_curves, parallel_coordinates):
        assert svg(panel(found)).startswith("<svg")


def test_loss_is_best_when_low():
    found = replace(SOME, objective="loss")
    assert found.best.number == 0
    assert "best: trial 0" in svg(parallel_coordinates(found))
    assert "best: trial 11" in svg(parallel_coordinates(SOME))


def test_a_figure_of_learning_rates():
    found = LearningRateCurve(
        rates=(0.1, 1.0, 10.0), losses=(2.0, 1.0, 90.0), smoothed=(2.0, 1.5, 30.0),
        steepest=1.0, lowest=1.0,
    )  # fmt: skip
    assert "suggested: 1" in svg(draw(found))
