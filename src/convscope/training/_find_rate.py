"""Finding a learning rate: the loss while the rate climbs from far too small to far too large."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from convscope._float32 import whole_float32
from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.data import Dataset
from convscope.errors import NumericalError, UsageError
from convscope.progress import announce
from convscope.training._batches import training_data
from convscope.training._loop import NotFinite
from convscope.training._process import World
from convscope.training._settings import TrainSettings
from convscope.training._setup import (
    engine_and_state,
    fill_whitening,
    network_and_settings,
    network_for,
)

SMOOTHING = 0.95
"""Share of the average of losses that is kept per step, as in fastai."""

DIVERGED = 4.0
"""The search ends when the smoothed loss is so many times its lowest value, as in fastai."""


@readable
@dataclass(frozen=True, kw_only=True)
class LearningRateCurve:
    """Loss against learning rate.

    Attributes:
        rates: Learning rate of each update, climbing.
        losses: Mean loss of each batch.
        smoothed: Their moving average, without the bias of its beginning.
        steepest: The rate at which `smoothed` falls fastest over the logarithm of the rate.
        lowest: The rate at which it is lowest.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float
    lowest: float

    @property
    def suggested(self) -> float:
        """A maximum learning rate to begin with: a tenth of `lowest`, or `steepest` if larger.

        Two digits: the curve says no more.
        """
        return float(f"{max(self.steepest, self.lowest / 10):.2g}")


def find_learning_rate(
    what: TrainSettings | Classifier | nn.Module,
    dataset: Dataset,
    *,
    settings: TrainSettings | None = None,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
) -> LearningRateCurve:
    """Train a copy for a moment, at a learning rate that grows from update to update.

    Nothing is written, and no validation or test image is looked at.

    Args:
        what: Settings or a network, as for `convscope.training.train`.
        dataset: Training images.
        settings: With a network: what to compute.
        low: First learning rate.
        high: Last one, if the loss does not diverge before.
        steps: Updates.

    Returns:
        Equal settings give equal numbers on the same machine.

    Raises:
        UsageError: U03, the rates are no range; U05, too few steps.
        NumericalError: T01, the loss is not finite from the start.

    Example:
        >>> from convscope.data import open_dataset
        >>> from convscope.training import find_learning_rate, recipe
        >>> curve = find_learning_rate(recipe("mnist-conv1", data="digits"), open_dataset("digits"))
        >>> 1e-4 < curve.suggested < 1
        True

    Source: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks" (WACV 2017), section
    3.3, with a rate that grows by a factor instead of a summand.
    """
    if not 0 < low < high < math.inf:
        raise UsageError(f"rates from {low:g} to {high:g}", code="U03", expected="0 < low < high")
    if steps < 10:
        raise UsageError(f"steps is {steps}", code="U05", expected="at least 10")
    dataset.check_trainable()
    base, settings = network_and_settings(what, dataset, settings)
    dataset = training_data(dataset, settings)
    network = network_for(base, settings, dataset)
    engine, state = engine_and_state(settings, dataset, network, World(), stop=lambda: False)
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    devices = [engine.device] if engine.device.type == "cuda" else []
    with whole_float32(), torch.random.fork_rng(devices=devices):
        fill_whitening(network, state, dataset)
        for step in range(steps):
            rate = low * (high / low) ** (step / (steps - 1))
            try:
                loss = engine.update(state, rate / state.optimizers[0].max_lr)[0]
            except NotFinite:
                break
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            rates.append(rate)
            losses.append(loss)
            smoothed.append(average / (1 - SMOOTHING ** (step + 1)))
            announce((step + 1) / steps, "learning rates")
            if smoothed[-1] > DIVERGED * min(smoothed):
                break
    if len(rates) < 3:
        raise NumericalError(
            "the loss is not finite from the first learning rates on",
            code="T01",
            hint=f"begin below {low:g}, or train in precision = 'fp32'",
        )
    # The first average is that of one batch: it says nothing about a slope.
    slopes = [
        (smoothed[i + 1] - smoothed[i - 1]) / math.log(rates[i + 1] / rates[i - 1])
        for i in range(1, len(rates) - 1)
    ]
    lowest = min(range(len(rates)), key=smoothed.__getitem__)
    before = slopes[: max(1, lowest)]
    return LearningRateCurve(
        rates=tuple(rates),
        losses=tuple(losses),
        smoothed=tuple(smoothed),
        steepest=rates[1 + min(range(len(before)), key=before.__getitem__)],
        lowest=rates[lowest],
    )
