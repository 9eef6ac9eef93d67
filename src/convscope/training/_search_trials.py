"""Trials of a search: what is known of each, and how processes share them out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from math import isfinite, nan
from pathlib import Path
from typing import Any, Literal, Protocol

from convscope._readable import readable
from convscope.errors import CheckpointError
from convscope.training._events import Measured
from convscope.training._search_space import Dimension, Value, with_parameters
from convscope.training._settings import TrainSettings, settings_from_toml

Objective = Literal["accuracy", "loss"]
TrialState = Literal["complete", "pruned", "failed"]


@readable
@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training run of a search.

    Attributes:
        number: 0, 1, 2, ...; as in the table.
        state: ``"complete"``; ``"pruned"``, stopped at the end of an epoch because it was worse
            than others at that time; or ``"failed"``, with the `reason`.
        parameters: What the search chose, by name of the setting.
        value: What the search goes by, accuracy or loss on all validation images: at the end of the
            last epoch, or with `TrainSettings.patience` of the best one. NaN if there was none.
        curve: A row per epoch.
        attempts: How many processes worked on it: more than 1 if one was killed or stopped.
        reason: Why it failed.
    """

    number: int
    state: TrialState
    parameters: dict[str, Any]
    value: float = nan
    curve: tuple[Measured, ...] = ()
    attempts: int = 1
    reason: str = ""


@readable
@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search found so far, by all processes together.

    Attributes:
        model: Name of the network.
        data: Name of the data set.
        method: ``"tpe"``, ``"random"`` or ``"grid"``.
        objective: ``"accuracy"`` (the highest is best) or ``"loss"`` (the lowest is).
        seed: Of the search.
        space: What it varied.
        settings: What stayed the same, as TOML.
        trials: In the order of their numbers.
    """

    model: str
    data: str
    method: str
    objective: Objective
    seed: int
    space: tuple[Dimension, ...]
    settings: str
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial | None:
        """The trial with the best value among those that were trained to the end; the first one."""
        whole = [trial for trial in self.trials if trial.state == "complete"]
        return best_of(whole, self.objective)

    @property
    def best_settings(self) -> TrainSettings | None:
        """Everything to train the best trial again, with the same bits: ``train(best_settings)``.

        Raises:
            UsageError: The settings of this result are damaged.
        """
        best = self.best
        if best is None:
            return None
        return with_parameters(settings_from_toml(self.settings), best.parameters)

    def count(self, state: TrialState) -> int:
        """How many trials ended so."""
        return sum(trial.state == state for trial in self.trials)

    def ranked(self) -> list[Trial]:
        """The trials, the best first; then pruned ones, by their last value, and failed ones."""
        order = {"complete": 0, "pruned": 1, "failed": 2}
        sign = -1 if self.objective == "accuracy" else 1
        return sorted(
            self.trials,
            key=lambda t: (order[t.state], sign * t.value if isfinite(t.value) else 0.0, t.number),
        )

    def table(self) -> list[dict[str, Any]]:
        """A row per trial, in the order of their numbers; equal searches give equal rows."""
        rows = []
        for trial in self.trials:
            last = trial.curve[-1] if trial.curve else None
            rows.append(
                {
                    "trial": trial.number,
                    "state": trial.state,
                    **{d.name: trial.parameters.get(d.name, "") for d in self.space},
                    "epochs": last.epoch if last else 0.0,
                    "train_loss": last.train_loss if last else nan,
                    "validation_loss": last.validation_loss if last else nan,
                    "validation_accuracy": last.validation_accuracy if last else nan,
                    "reason": trial.reason,
                }
            )
        return rows


def best_of(trials: Sequence[Trial], objective: Objective) -> Trial | None:
    """The one with the best finite value, the first of equals."""
    known = [trial for trial in trials if isfinite(trial.value)]
    sign = -1 if objective == "accuracy" else 1
    return min(known, key=lambda trial: (sign * trial.value, trial.number), default=None)


def value_of(point: Measured, objective: Objective) -> float:
    """What a search goes by."""
    return point.validation_accuracy if objective == "accuracy" else point.validation_loss


def trial_table(trial: Trial) -> dict[str, Any]:
    """A trial as JSON can hold it: numbers without end have no place there."""
    return {
        "state": trial.state,
        "value": trial.value if isfinite(trial.value) else None,
        "parameters": trial.parameters,
        "curve": [[v if isfinite(v) else None for v in astuple(point)] for point in trial.curve],
        "attempts": trial.attempts,
        "reason": trial.reason,
    }


COLUMNS = len(fields(Measured))


def trial_from_table(table: Mapping[str, Any], *, number: int) -> Trial:
    """The trial that `trial_table` wrote.

    Raises:
        CheckpointError: C08, it is not of that form.
    """
    try:
        curve = tuple(
            Measured(
                **{  # type: ignore[arg-type]
                    field.name: int(v) if field.type == "int" else nan if v is None else float(v)
                    for field, v in zip(fields(Measured), row, strict=True)
                }
            )
            for row in table["curve"]
        )
        state, parameters = table["state"], dict(table["parameters"])
        if state not in ("complete", "pruned", "failed"):
            raise ValueError(f"state {state!r}")
        return Trial(
            number=number,
            state=state,
            parameters=parameters,
            value=nan if table["value"] is None else float(table["value"]),
            curve=curve,
            attempts=int(table["attempts"]),
            reason=str(table["reason"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"the record of trial {number} is damaged: {error}",
            code="C08",
            hint="delete it, and the trial is run again",
        ) from None


class Claim(Protocol):
    """A trial that this process has taken, and nobody else.

    Attributes:
        number: Of the trial.
        parameters: What to try.
        folder: Its run folder: it holds a run if a process was killed in the middle of it.
        attempts: How many processes worked on it, this one included.
    """

    number: int
    parameters: dict[str, Value]
    folder: Path
    attempts: int

    @abstractmethod
    def should_prune(self, epoch: int, value: float) -> bool:
        """Take note of the value after an epoch (1, 2, ...); whether to end the trial with it."""

    @abstractmethod
    def is_lost(self) -> bool:
        """Whether another process has run and ended it meanwhile."""

    @abstractmethod
    def finish(self, trial: Trial) -> bool:
        """Record how it ended, and remove its run folder; false if it was lost meanwhile."""

    @abstractmethod
    def elsewhere(self) -> None:
        """Choose another folder: another process is in this one."""

    @abstractmethod
    def release(self) -> None:
        """Give it back, not finished: the next process that asks goes on with it."""


class Ledger(Protocol):
    """Where the processes of a search agree on who runs what."""

    @abstractmethod
    def claim(self) -> Claim | None:
        """A trial to run; waits while others run the last ones; ``None`` when all are finished."""

    @abstractmethod
    def trials(self) -> tuple[Trial, ...]:
        """All trials that are finished."""

    @abstractmethod
    def close(self) -> None:
        """Tidy up."""
