"""``convscope search``: which settings do best on the validation images."""

from __future__ import annotations

import math
import shlex
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from convscope.cli._opened import opened_training_data, raise_if_refused
from convscope.cli._options import (
    COMMON,
    NOTHING,
    NOWHERE,
    AcceptModified,
    DataDir,
    DataName,
    Json,
    ModelOptions,
    Offline,
    OutputOptions,
    OwnNetwork,
    SkipBad,
    check_number,
    check_seed,
)
from convscope.cli._output import (
    SCREENFUL,
    data_place,
    emit,
    next_step,
    not_kept,
    say,
    table,
    warn,
    wrote,
)
from convscope.cli._train_settings import (
    NONE,
    SETTINGS,
    Overrides,
    batch_is_given,
    check_run_options,
    choose_settings,
    fitted,
    refuse_description,
    trained_from_the_start,
)
from convscope.devices import resolve_device
from convscope.errors import UsageError
from convscope.files import checked_path

if TYPE_CHECKING:
    from convscope.training import Event, SearchResult, TrainSettings, Trial

SearchSeed = Annotated[
    int,
    cyclopts.Parameter(
        group=COMMON, help="Decides what is tried; --seed is that of the runs themselves."
    ),
]


def search_settings(
    model: str,
    /,
    *,
    data: DataName,
    space: Path,
    storage: str,
    trials: int | None = None,
    method: Literal["tpe", "random", "grid"] = "tpe",
    objective: Literal["accuracy", "loss"] = "accuracy",
    pruner: Literal["median", "halving", "none"] = "median",
    search_seed: SearchSeed = 0,
    preset: str | None = None,
    config: Path | None = None,
    data_dir: DataDir | None = None,
    offline: Offline = False,
    accept_modified: AcceptModified = False,
    skip_bad: SkipBad = False,
    as_json: Json = False,
    output: OutputOptions = NOWHERE,
    network: OwnNetwork = NOTHING,
    overrides: Annotated[Overrides, cyclopts.Parameter(name="*", group=SETTINGS)] = NONE,
) -> None:
    """Train with many settings, and find those that do best on the validation images.

    Started several times with the same words, on one machine or several, it shares the work. Killed
    and started again, it loses no trial and runs none twice. The test images are never looked at.

    Args:
        model: Name of a network, or a MODEL that comes with weights, as for `convscope train`.
        data: The data set.
        space: TOML file of what to vary: learning_rate = { low = 0.001, high = 0.1, log = true },
            batch_size = [32, 64, 128], and so on for every setting of `convscope train`.
        storage: Where the processes meet: a folder for random and grid; for tpe a FILE, or the URL
            of a database such as sqlite:///search.db.
        trials: How many, by all processes together; grid: all combinations by default.
        method: tpe (Optuna proposes, bad trials end early), random or grid (which need nothing
            installed, and give the same table twice).
        objective: What is best at the end of a trial: accuracy or loss on the validation images.
        pruner: tpe: which trials end early, at the end of an epoch: median (worse than the median
            of the others), halving (successive halving) or none.
        search_seed: Decides what is tried.
        preset: As for `convscope train`: what stays the same.
        config: TOML file with settings that stay the same. Flags win over it.
        data_dir: Folder that holds the data files.
        offline: Never download.
        accept_modified: Go on with data files whose checksum is not the known one.
        skip_bad: Leave images out that cannot be read; exit with 8 if there were any.
        as_json: Print the result as JSON.
        output: What to write: a page or a folder with table and pictures.
        network: What the files of MODEL do not say.
        overrides: Settings that stay the same.
    """
    check_run_options(model, data, preset, config, None, resume=False)
    check_number("--trials", trials)
    check_seed(search_seed)
    output.check()
    if "://" not in storage:
        checked_path(storage)
    from convscope.training import check_space, read_space, search, tune_allocator

    dimensions = read_space(space)
    settings = choose_settings(model, data, preset, config, overrides.table(), None)
    refuse_twice(overrides, {dimension.name for dimension in dimensions})
    check_space(dimensions, settings, images=2**62)
    resolve_device(settings.device)
    tune_allocator()
    base = None if trained_from_the_start(settings.model) else network.load(settings.model)
    if base is None:
        refuse_description(network)
    dataset = opened_training_data(
        settings.data,
        base,
        data_dir=data_dir,
        offline=offline,
        accept_modified=accept_modified,
        skip_bad=skip_bad,
    )
    for warning in dataset.warnings:
        warn(warning)
    settings = fitted(settings, len(dataset.train), given=batch_is_given(overrides, config))
    shown = _Shown(objective, trials)
    result = search(
        settings if base is None else base,
        dataset,
        space=dimensions,
        storage=storage,
        trials=trials,
        method=method,
        objective=objective,
        pruner=pruner,
        seed=search_seed,
        settings=None if base is None else settings,
        spec="" if base is None else settings.model,
        on_trial=shown.on_trial,
        on_event=shown.on_event,
    )
    command = best_command(result, network, data_dir)
    _print(result, command, as_json=as_json, kept=output.out is not None)
    if output.out is not None:
        from convscope.pages import write_search

        write_search(result, output.out, command=command, force=output.force, formats=output.kinds)
        wrote(output.out)
    else:
        not_kept("the pictures are", None, name="search")
    if command:
        next_step(*command)
    raise_if_refused(dataset)


def refuse_twice(overrides: Overrides, searched: set[str]) -> None:
    """Refuse flags for what is searched: they would change nothing.

    Raises:
        UsageError: U11.
    """
    given = overrides.table()
    names = {f"augment.{name}" for name in given.pop("augment", {})} | set(given)
    if twice := sorted(names & searched):
        raise UsageError(
            f"--{twice[0].replace('_', '-')} would change nothing: the search varies it",
            code="U11",
            hint="leave the flag out, or the line in the file of --space",
        )


class _Shown:
    """What is said of trials while they run."""

    def __init__(self, objective: str, trials: int | None) -> None:
        self.objective = objective
        self.total = f" of {trials}" if trials else ""

    def on_trial(self, trial: Trial) -> None:
        value = _value(trial.value, self.objective)
        ended = {"complete": value, "pruned": f"pruned at {value}", "failed": trial.reason}
        say(f"trial {trial.number}{self.total}: {ended[trial.state]} with {_words(trial)}")

    def on_event(self, event: Event) -> None:
        from convscope.training import Warned

        if isinstance(event, Warned) and "lock was taken over" not in event.text:
            warn(event.text)


def _value(value: float, objective: str) -> str:
    if value != value:
        return "no value"
    return f"accuracy {value:.2%}" if objective == "accuracy" else f"loss {value:.4f}"


def _words(trial: Trial) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in trial.parameters.items()
    )


def best_command(result: SearchResult, network: ModelOptions, data_dir: Path | None) -> list[str]:
    """The words of a command that trains the best trial again; none if there is no best trial."""
    from convscope.training import overrides_of, recipe

    settings = result.best_settings
    if settings is None:
        return []
    usual = recipe(settings.model, data=settings.data, preset=settings.preset)
    words = [settings.model, *network.again(), "--data", settings.data, *data_place(data_dir)]
    if settings.preset != _usual_preset(settings):
        words += ["--preset", settings.preset]
    for name, value in overrides_of(settings, usual).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return ["convscope train", *words]


def _usual_preset(settings: TrainSettings) -> str:
    return "fast" if trained_from_the_start(settings.model) else "finetune"


def _print(result: SearchResult, command: list[str], *, as_json: bool, kept: bool) -> None:
    best = result.best
    if as_json:
        facts: dict[str, Any] = {
            field.name: getattr(result, field.name)
            for field in fields(result)
            if field.name not in ("trials", "space", "settings")
        }
        facts["trials"] = result.table()
        facts["best"] = None if best is None else best.number
        facts["value"] = None if best is None else best.value
        facts["parameters"] = {} if best is None else best.parameters
        facts["command"] = f"{command[0]} {shlex.join(command[1:])}" if command else ""
        emit(facts, as_json=True)
        return
    count = {state: result.count(state) for state in ("complete", "pruned", "failed")}
    facts = {
        "trials": f"{len(result.trials)}: {count['complete']} complete, {count['pruned']} pruned, "
        f"{count['failed']} failed"
    }
    if best is not None:
        facts[f"best {result.objective}"] = (
            f"{_value(best.value, result.objective).partition(' ')[2]} on the validation images, "
            f"trial {best.number}"
        )
    emit(facts)
    names = [dimension.name for dimension in result.space]
    table(
        ["trial", "state", result.objective, *names, "epochs"],
        [
            [
                trial.number,
                trial.state,
                trial.value if math.isfinite(trial.value) else "-",
                *(trial.parameters.get(name, "-") for name in names),
                round(trial.curve[-1].epoch) if trial.curve else 0,
            ]
            for trial in result.ranked()
        ],
        title="trials, the best first",
        most=SCREENFUL,
        written=kept,
    )


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(search_settings, name="search")
