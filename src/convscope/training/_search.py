"""search(): settings, data and a space in; the trials of all processes and the best of them out."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from convscope.classifier import Classifier
from convscope.data import Dataset, Split
from convscope.errors import NumericalError, RunBusyError, UsageError, choose
from convscope.training._batches import require_validation, training_data
from convscope.training._environment import data_digest
from convscope.training._events import Event, Measured, Stepped
from convscope.training._process import Interrupted
from convscope.training._run_folder import read_history
from convscope.training._search_folder import FolderLedger
from convscope.training._search_space import (
    Space,
    check_space,
    described,
    grid_of,
    random_parameters,
    space_from_table,
    with_parameters,
)
from convscope.training._search_study import Pruner, StudyLedger
from convscope.training._search_trials import (
    Claim,
    Ledger,
    Objective,
    SearchResult,
    Trial,
    TrialState,
    value_of,
)
from convscope.training._settings import TrainSettings, settings_to_toml
from convscope.training._setup import network_and_settings
from convscope.training._stopping import epoch_rows, exported_row
from convscope.training._train import train

Method = Literal["tpe", "random", "grid"]
METHODS = ("tpe", "random", "grid")
OBJECTIVES = ("accuracy", "loss")
PRUNERS = ("median", "halving", "none")
MOST_TRIALS = 100_000

SENSELESS = ("T19", "U03", "U07", "U11")
"""Codes of settings that make no sense together or with the images: the trial failed, no more."""


def search(
    what: TrainSettings | Classifier | nn.Module,
    dataset: Dataset,
    *,
    space: Mapping[str, Any] | Space,
    storage: str | Path,
    trials: int | None = None,
    method: Method = "tpe",
    objective: Objective = "accuracy",
    pruner: Pruner = "median",
    seed: int = 0,
    settings: TrainSettings | None = None,
    spec: str = "",
    on_trial: Callable[[Trial], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> SearchResult:
    """Train a network with many settings and find those that do best on the validation images.

    Several processes that are called with the same arguments share the work; so does one that is
    called again after it was killed. No trial is lost or counted twice: the run of a killed process
    goes on from its last checkpoint in the next process that asks for work, and ends as if nobody
    had disturbed it. The test split is never used.

    Args:
        what: Settings or a network, as for `convscope.training.train`.
        dataset: Training and validation images.
        space: What to vary: by name of a field of `TrainSettings`, a list of values, or a table
            with ``low``, ``high`` and, if wanted, ``log`` and ``points``.
        storage: Where the processes meet. Random and grid search: a folder. ``"tpe"``: a file, or
            the URL of a database, such as ``"sqlite:///search.db"``.
        trials: How many, by all processes together. For a grid, all of it by default.
        method: ``"tpe"`` (Optuna proposes what did well, and trials that do badly end early),
            ``"random"`` or ``"grid"``. Equal searches by the last two have equal tables, whoever
            ran what; so has one by ``"tpe"`` in one process at a time.
        objective: What is judged at the end of a trial, on all validation images: ``"accuracy"`` or
            ``"loss"``.
        pruner: For ``"tpe"``, which trials end early: ``"median"`` (worse than the median of
            others at the end of the same epoch, from the second epoch and the sixth trial on),
            ``"halving"`` (asynchronous successive halving) or ``"none"``.
        seed: Decides what is tried. What a trial does with it is decided by the seed of its
            settings.
        settings: With a network: what stays the same.
        spec: With a network: the MODEL that it was loaded as.
        on_trial: Called after every trial that this process ends.
        on_event: Called with the events of every run; see `convscope.training.train`.

    Returns:
        The trials of all processes, and the best one.

    Raises:
        UsageError: A name or a range makes no sense (U11, U03), the storage holds something else
            (U13), Optuna is not installed (M22).
        CheckpointError: The storage holds another search (T21).
        ResourceError: The storage cannot be used (T22, T04).
        Interrupted: SIGINT or SIGTERM came; the trial goes on when the search is called again.

    Example:
        >>> import tempfile
        >>> from convscope.data import open_dataset
        >>> from convscope.training import recipe, search
        >>> settings = recipe("mnist-conv1", data="digits", epochs=1)
        >>> found = search(settings, open_dataset("digits"), method="grid",
        ...     space={"learning_rate": [0.001, 0.01]}, storage=tempfile.mkdtemp())
        >>> sorted(trial.parameters["learning_rate"] for trial in found.trials)
        [0.001, 0.01]

    Source: T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama, "Optuna: A Next-generation
    Hyperparameter Optimization Framework" (KDD 2019); random search: Bergstra and Bengio, "Random
    Search for Hyper-Parameter Optimization" (JMLR 2012).
    """
    choose("method", method, METHODS)
    choose("objective", objective, OBJECTIVES)
    choose("pruner", pruner, PRUNERS)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "a search does not run under torchrun",
            code="U11",
            expected="the same command several times, each a process of its own",
        )
    if isinstance(space, Mapping):
        space = space_from_table(space)
    dataset.check_trainable()
    base, settings = network_and_settings(what, dataset, settings)
    dataset = training_data(dataset, settings)
    require_validation(dataset, settings, "nothing to choose by")
    check_space(space, settings, images=len(dataset.train))
    grid = grid_of(space, seed=seed) if method == "grid" else []
    count = _count(trials, grid, method)
    ledger = _ledger(
        storage, settings, dataset, space, grid, count, method, objective, pruner, seed
    )
    # Whatever happens, nobody can have looked at the test images.
    blind = replace(dataset, test=_without_images(dataset.test))
    while (claim := ledger.claim()) is not None:
        trial = _run(claim, base or settings, blind, settings, spec, objective, on_event)
        if on_trial is not None and trial is not None:
            on_trial(trial)
    found = ledger.trials()
    ledger.close()
    return SearchResult(
        model=settings.model,
        data=settings.data,
        method=method,
        objective=objective,
        seed=seed,
        space=space,
        settings=settings_to_toml(settings),
        trials=found,
    )


def _without_images(split: Split) -> Split:
    return Split(name=split.name, images=split.pixels([]), labels=split.labels[:0])


def _count(trials: int | None, grid: list[dict[str, Any]], method: Method) -> int:
    if trials is None and method != "grid":
        raise UsageError("how many trials?", code="U01", expected="a number such as --trials 20")
    if trials is not None and not 1 <= trials <= MOST_TRIALS:
        raise UsageError(f"trials is {trials}", code="U05", expected=f"1 to {MOST_TRIALS:,}")
    if method == "grid":
        return min(trials or len(grid), len(grid))
    assert trials is not None
    return trials


def _ledger(
    storage: str | Path,
    settings: TrainSettings,
    dataset: Dataset,
    space: Space,
    grid: list[dict[str, Any]],
    count: int,
    method: Method,
    objective: Objective,
    pruner: Pruner,
    seed: int,
) -> Ledger:
    about: dict[str, Any] = {
        "schema": 1,
        "model": settings.model,
        "data": settings.data,
        "method": method,
        "objective": objective,
        "seed": seed,
        "space": described(space),
        "settings": settings_to_toml(settings),
        "images": data_digest(dataset),
    }
    if method == "tpe":
        return StudyLedger(
            storage,
            about | {"pruner": pruner},
            space=space,
            trials=count,
            objective=objective,
            seed=seed,
            pruner=pruner,
        )
    if "://" in str(storage):
        raise UsageError(
            f"{method} search keeps its trials in a folder",
            code="U11",
            where=storage,
            hint="--storage FOLDER, or --method tpe",
        )
    return FolderLedger(
        Path(storage),
        about,
        trials=count,
        parameters=(
            grid.__getitem__
            if method == "grid"
            else lambda trial: random_parameters(space, seed=seed, trial=trial)
        ),
    )


class _Pruned(Exception):
    """The trial shall end here."""


def _run(
    claim: Claim,
    what: TrainSettings | Classifier,
    dataset: Dataset,
    settings: TrainSettings,
    spec: str,
    objective: Objective,
    on_event: Callable[[Event], None] | None,
) -> Trial | None:
    """Train one trial to its end, whichever that is, and record it; else give it back."""
    point: Measured | None = None

    def listen(event: Event) -> None:
        nonlocal point
        if on_event is not None:
            on_event(event)
        if isinstance(event, Measured):
            point = event
        elif isinstance(event, Stepped) and event.epoch_ended and not event.stopping:
            # As many digits as metrics.csv has: a run that goes on reports the same.
            value = float(f"{value_of(point, objective):.7g}") if point else math.nan
            epoch = round(event.epoch)
            if epoch < settings_now.epochs and claim.should_prune(epoch, value):
                raise _Pruned

    state: TrialState = "complete"
    reason = ""
    try:
        try:
            settings_now = with_parameters(settings, claim.parameters)
            _train(claim, what, dataset, settings_now, spec, listen)
        except _Pruned:
            state = "pruned"
        except (NumericalError, UsageError) as error:
            if isinstance(error, UsageError) and error.code not in SENSELESS:
                raise
            state, reason = "failed", f"{error.what} ({error.code})" if error.code else error.what
        history = epoch_rows(read_history(claim.folder))
        exported = exported_row(history, settings.patience)
        value = value_of(exported, objective) if exported else math.nan
        if state == "complete" and not math.isfinite(value):
            state, reason = "failed", f"the {objective} on validation images is {value}"
        trial = Trial(
            number=claim.number,
            state=state,
            parameters=dict(claim.parameters),
            value=value,
            curve=tuple(history),
            attempts=claim.attempts,
            reason=reason,
        )
    except BaseException as error:
        # Whoever took us for dead may have removed the run from under us.
        if isinstance(error, Exception) and claim.is_lost():
            claim.release()
            return None
        claim.release()
        raise
    return trial if claim.finish(trial) else None


def _train(
    claim: Claim,
    what: TrainSettings | Classifier,
    dataset: Dataset,
    settings: TrainSettings,
    spec: str,
    listen: Callable[[Event], None],
) -> None:
    for again in (True, False):
        try:
            if isinstance(what, TrainSettings):
                train(settings, dataset, out=claim.folder, resume=True, on_event=listen)
            else:
                train(
                    what,
                    dataset,
                    out=claim.folder,
                    settings=settings,
                    spec=spec,
                    resume=True,
                    on_event=listen,
                )
            return
        except Interrupted as stop:
            raise type(stop)(
                f"stopped in trial {claim.number}; everything is saved",
                hint="the same command goes on, and runs no trial twice",
            ) from None
        except RunBusyError:
            if not again:
                raise
            claim.elsewhere()


def overrides_of(settings: TrainSettings, usual: TrainSettings) -> dict[str, Any]:
    """The fields in which `settings` differ from `usual`, those of tables as ``table.field``.

    Example:
        >>> from convscope.training import recipe
        >>> usual = recipe("mnist-conv1")
        >>> overrides_of(replace(usual, epochs=9), usual)
        {'epochs': 9}
    """
    found: dict[str, Any] = {}
    for name, value in asdict(settings).items():
        before = asdict(usual)[name]
        if isinstance(value, dict):
            found |= {f"{name}.{key}": v for key, v in value.items() if v != before[key]}
        elif value != before:
            found[name] = value
    return found
