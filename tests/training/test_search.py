"""Searching settings: spaces, trials that are neither lost nor doubled, tables that repeat."""

import os
import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from convscope.errors import CheckpointError, ResourceError, UsageError
from convscope.training import (
    Interrupted,
    Stepped,
    TrainSettings,
    _faults,
    _search,
    _search_study,
    check_space,
    importance,
    overrides_of,
    read_space,
    recipe,
    search,
    space_from_table,
    train,
    with_parameters,
)

SPACE = {
    "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "augment": {"shift": [0, 1]},
}
GRID = {"learning_rate": [0.001, 0.01], "augment": {"shift": [0, 1]}}

needs_optuna = pytest.mark.skipif(
    not __import__("importlib.util", fromlist=["util"]).find_spec("optuna"),
    reason="needs Optuna",
)
METHODS = ["random", pytest.param("tpe", marks=needs_optuna)]
forks = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")


@pytest.fixture
def quick(settings):
    return replace(settings, model="mnist-conv1", evals_per_epoch=1, checkpoint_steps=4)


@pytest.fixture
def run(dataset, quick, tmp_path):
    """A search of four trials by default, in a storage of that name."""

    def go(storage="storage", **changes):
        words = {"space": SPACE, "trials": 4, "method": "random"} | changes
        return search(quick, dataset, storage=tmp_path / storage, **words)

    return go


def in_a_child(work, fault=""):
    """Call `work` in a process of its own, and do not wait for its end: its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            _faults.arm(fault)
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def end_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


WRONG = [
    ("learning_rat = [1, 2]", "line 1: unknown setting 'learning_rat'\n  fix: did you mean learn"),
    ("augment = [1]", r"augment is \[1\]\n  expected: \[augment\] table"),
    ("[augment]\ndegree = [1, 2]", "line 2: unknown setting 'augment.degree'"),
    ("model = ['a', 'b']", "model is what the search is about"),
    ("epochs = 3", "epochs is 3, which is nothing to vary"),
    ("epochs = [1, 2.5]", "epochs is 2.5\n  expected: a whole number"),
    ("epochs = []", "expected: one or more values"),
    ("epochs = [2, 2]", "expected: one or more values, each once"),
    ("epochs = {low = 1}", "the range of epochs lacks high"),
    ("epochs = {low = 1, hight = 2}", "unknown part of a range 'hight'.*did you mean high"),
    ("epochs = {low = 3, high = 3}", "goes from 3 to 3"),
    ("learning_rate = {low = 0, high = 1, log = true}", "begins at 0.0 and is logarithmic"),
    ("learning_rate = {low = 0.1, high = inf}", "goes from 0.1 to inf"),
    ("learning_rate = {low = nan, high = 1}", "goes from nan to 1.0"),
    ("seed = {low = 0, high = 99999999999999999999}", "beyond 64 bits"),
    ("learning_rate = {low = 0.1, high = 1, log = 1}", "log is true or false"),
    ("learning_rate = {low = 0.1, high = 1, points = 1}", "points a whole number from 2"),
    ("learning_rate = {low = 0.1, high = 1, points = 999999999}", "points is 999,999,999"),
    ("optimizer = {low = 1, high = 2}", "optimizer has no range\n  expected: a list of values: ad"),
    ("optimizer = ['adamw', 'adan']", "optimizer is 'adan'\n  expected: one of adamw"),
    ("", "names nothing to vary"),
    ("epochs = [1", "not valid TOML"),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_a_wrong_space_is_one_clear_error(tmp_path, text, words):
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=f"(?s){words}") as caught:
        read_space(file)
    assert str(tmp_path) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize("content", [b"epochs = '\xff'", b"a" * (1 << 21), b"[" * 5000])
def test_a_hostile_space_is_refused(tmp_path, content):
    (tmp_path / "space.toml").write_bytes(content)
    with pytest.raises(UsageError):
        read_space(tmp_path / "space.toml")


def test_a_missing_space_file_comes_with_the_line_that_makes_one(tmp_path):
    file = tmp_path / "what; to vary.toml"
    with pytest.raises(UsageError, match="no such file") as caught:
        read_space(file)
    subprocess.run(["sh", "-c", caught.value.hint.partition(": ")[2]], check=True, cwd=tmp_path)
    assert [dimension.name for dimension in read_space(file)] == ["learning_rate"]


def test_the_space_in_the_examples_can_be_searched():
    space = read_space(Path(__file__).parents[2] / "examples" / "space.toml")
    check_space(space, recipe("mnist-conv2-fc-bn", data="digits"), images=1000)


def test_values_that_no_run_takes_are_refused_before_any_is_trained(run, tmp_path):
    with pytest.raises(UsageError, match=r"ema is 1\.0"):
        run(space={"ema": {"low": 0.5, "high": 1.0}})
    with pytest.raises(UsageError, match="batch_size goes up to 512, the training split has 200"):
        run(space={"batch_size": [32, 512]})
    with pytest.raises(UsageError, match="which values of learning_rate"):
        run(method="grid", space={"learning_rate": {"low": 0.1, "high": 1.0}})
    assert not (tmp_path / "storage").exists()


def test_values_are_spread_over_the_range():
    (rate, width) = space_from_table(
        {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "epochs": {"low": 2, "high": 4}}
    )
    assert rate.at(0.5) == 0.01
    assert [width.at(share) for share in (0.0, 0.34, 0.67, 0.9999)] == [2, 3, 4, 4]
    assert rate.place(0.01) == pytest.approx(0.5)
    assert width.values() == (2, 3, 4)


def test_a_grid_tries_every_combination_once_and_the_same_table_comes_twice(run):
    first, again = (run(name, method="grid", space=GRID, trials=None) for name in "ab")
    tried = {tuple(trial.parameters.values()) for trial in first.trials}
    assert tried == {(0.001, 0), (0.001, 1), (0.01, 0), (0.01, 1)}
    assert first == again
    other = run("c", method="grid", space=GRID, trials=2, seed=5)
    assert len(other.trials) == 2


@pytest.mark.parametrize("method", METHODS)
def test_equal_searches_have_equal_tables(run, method):
    first, again = (run(name, method=method) for name in "ab")
    assert first.table() == again.table()
    other = run("c", method=method, seed=1)
    assert first.table() != other.table()
    assert all(0.001 <= trial.parameters["learning_rate"] <= 0.1 for trial in first.trials)


def test_a_search_that_is_done_runs_nothing_again(run, monkeypatch):
    first = run()
    monkeypatch.setattr("convscope.training._search.train", None)
    assert run() == first
    assert len(run(trials=2).trials) == 2


@pytest.mark.parametrize("method", METHODS)
def test_more_trials_go_on_where_fewer_ended(run, method):
    assert len(run(method=method, trials=2).trials) == 2
    assert run(method=method).table() == run("whole", method=method).table()


def test_the_best_trial_can_be_trained_again(run, dataset, tmp_path):
    found = run(objective="loss")
    assert found.best.value == min(trial.value for trial in found.trials)
    result = train(found.best_settings, dataset, out=tmp_path / "again")
    assert result.history == found.best.curve


def test_nobody_looks_at_the_test_images(run, monkeypatch):
    seen = []

    def spy(settings, dataset, **more):
        seen.append(len(dataset.test))
        return train(settings, dataset, **more)

    monkeypatch.setattr("convscope.training._search.train", spy)
    run(trials=1)
    assert seen == [0]


def test_a_trial_that_diverges_fails_and_the_search_goes_on(run):
    found = run(method="grid", space={"learning_rate": [0.01, 1e30]}, trials=None)
    by_rate = {trial.parameters["learning_rate"]: trial for trial in found.trials}
    assert by_rate[0.01].state == "complete"
    assert by_rate[1e30].state == "failed" and "not finite" in by_rate[1e30].reason
    assert found.best is by_rate[0.01]


def test_settings_that_contradict_each_other_fail_in_their_trial(run):
    space = {"adversary": ["none", "pgd"], "epsilon": [0.0, 0.1]}
    found = run(method="grid", space=space, trials=None)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert [t.parameters for t in failed] == [{"adversary": "pgd", "epsilon": 0.0}]


@pytest.mark.parametrize("method", METHODS)
def test_another_search_is_refused_by_what_differs(run, dataset, quick, tmp_path, method):
    run(method=method, trials=1)
    for changes in ({"seed": 1}, {"space": {"epochs": [1, 2]}}, {"objective": "loss"}):
        with pytest.raises(CheckpointError, match="holds another search") as caught:
            run(method=method, **changes)
        assert caught.value.code == "T21"
    with pytest.raises(CheckpointError, match="epochs = 2 -> 3"):
        search(
            replace(quick, epochs=3),
            dataset,
            space=SPACE,
            storage=tmp_path / "storage",
            trials=6,
            method=method,
        )


def test_storages_that_are_something_else_are_refused(run, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("x")
    for name in ("file", "folder"):
        with pytest.raises(UsageError) as caught:
            run(name)
        assert caught.value.code == "U13"
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "x"


@needs_optuna
def test_storages_that_optuna_cannot_use_are_refused(run, tmp_path, dataset, quick):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder"):
        with pytest.raises(UsageError) as caught:
            run(name, method="tpe")
        assert caught.value.code == "U13"
    with pytest.raises(ResourceError) as caught:
        search(quick, dataset, space=SPACE, storage="nosuch://u:secret@server/x", trials=1)
    assert caught.value.code == "T22" and "secret" not in str(caught.value)


def test_without_optuna_tpe_says_how_to_get_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match="not installed") as caught:
        run(method="tpe")
    assert "convscope[search]" in caught.value.hint


@forks
@pytest.mark.parametrize("method", METHODS)
def test_a_killed_search_goes_on_with_the_same_table(run, method, tmp_path):
    undisturbed = run("calm", method=method)
    for fault in ("step.update:15:kill9", "ckpt.rename:5:kill9"):
        assert end_of(in_a_child(lambda: run(method=method), fault)) == -signal.SIGKILL
    found = run(method=method)
    assert found.table() == undisturbed.table()
    assert max(trial.attempts for trial in found.trials) > 1
    left = [path for path in tmp_path.rglob("*.safetensors") if "calm" not in str(path)]
    assert not left


@forks
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_share_the_trials_and_one_is_killed(run, method, tmp_path):
    def noting(name):
        def on_trial(trial):
            with (tmp_path / name).open("a") as file:
                file.write(f"{trial.number}\n")

        return lambda: run(method=method, trials=5, on_trial=on_trial)

    children = [
        in_a_child(noting("first"), "step.update:20:kill9"),
        in_a_child(noting("second")),
    ]
    assert [end_of(child) for child in children] == [-signal.SIGKILL, 0]
    found = run(method=method, trials=5)
    assert [trial.number for trial in found.trials] == list(range(5))
    ended = "".join(
        (tmp_path / name).read_text() for name in ("first", "second") if (tmp_path / name).exists()
    )
    assert sorted(map(int, ended.split())) == list(range(5))
    if method == "random":
        assert found.table() == run("calm", trials=5).table()


def test_a_search_without_validation_images_is_refused_before_it_trains(dataset, quick, tmp_path):
    settings = replace(quick, train_split="train+validation")
    with pytest.raises(UsageError, match="no validation images") as caught:
        search(settings, dataset, space=SPACE, storage=tmp_path / "s", trials=1, method="random")
    assert caught.value.code == "T19" and "train_split" in caught.value.hint
    assert not (tmp_path / "s").exists()
    with pytest.raises(UsageError, match="train_split is what the search is about"):
        space_from_table({"train_split": ["train", "train+validation"]})


def test_a_folder_that_another_process_begins_at_the_same_moment_is_joined(
    run, tmp_path, monkeypatch
):
    calm = run("calm")
    listed = Path.iterdir

    def while_another_begins(place):
        if place.name == "late" and not (place / "search.json").exists():
            shutil.copy(tmp_path / "calm" / "search.json", place)
        return listed(place)

    (tmp_path / "late").mkdir()
    monkeypatch.setattr(Path, "iterdir", while_another_begins)
    assert run("late").table() == calm.table()


def test_an_interrupted_search_says_that_the_same_command_goes_on(run, monkeypatch):
    def stopped(*args, **settings):
        raise Interrupted("stopped after step 3 of 4", hint="the same command with --resume")

    monkeypatch.setattr(_search, "train", stopped)
    with pytest.raises(Interrupted, match="stopped in trial 0") as caught:
        run()
    assert "--resume" not in str(caught.value) and "the same command" in str(caught.value)


def test_an_interrupted_trial_goes_on(run):
    calm = run("calm")

    def crash(event):
        if isinstance(event, Stepped) and event.step == 7:
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        run(on_event=crash)
    found = run()
    assert found.table() == calm.table()
    assert found.trials[0].attempts == 2


@needs_optuna
def test_an_interrupted_trial_is_free_at_once(run, monkeypatch):
    monkeypatch.setattr(_search_study, "machine", lambda: "")

    def crash(event):
        if isinstance(event, Stepped) and event.step == 7:
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        run(method="tpe", trials=2, on_event=crash)
    assert len(run(method="tpe", trials=2).trials) == 2


@forks
@needs_optuna
def test_a_process_on_another_machine_is_lost_after_a_while(run, monkeypatch):
    """Where processes cannot be looked at, only the lack of signs of life tells."""
    monkeypatch.setattr(_search_study, "machine", lambda: "")
    monkeypatch.setattr(_search_study, "GRACE", 0.2)
    assert end_of(in_a_child(lambda: run(method="tpe"), "step.update:9:kill9")) < 0
    assert run(method="tpe").table() == run("calm", method="tpe").table()


@forks
@needs_optuna
def test_a_process_taken_for_lost_does_not_count_twice(run, monkeypatch, tmp_path):
    """It was only slow: its result comes after another has ended the trial."""
    monkeypatch.setattr(_search_study, "machine", lambda: "")
    monkeypatch.setattr(_search_study, "GRACE", 0.2)
    monkeypatch.setattr(_search_study, "POLL", 0.1)
    waited = []

    def slow(event):
        if isinstance(event, Stepped) and event.step == 7 and not waited:
            waited.append(1)
            assert end_of(in_a_child(lambda: run(method="tpe", trials=2))) == 0

    found = run(method="tpe", trials=2, on_event=slow)
    assert [trial.number for trial in found.trials] == [0, 1]


@needs_optuna
def test_bad_trials_are_pruned_at_the_end_of_an_epoch(dataset, quick, tmp_path):
    found = search(
        replace(quick, epochs=3, ema=0.0),
        dataset,
        space={"learning_rate": {"low": 1e-7, "high": 0.05, "log": True}},
        storage=tmp_path / "s",
        trials=10,
        objective="loss",
    )
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned
    assert all(2 <= trial.curve[-1].epoch < 3 for trial in pruned)
    assert found.best.value < min(trial.value for trial in pruned)


@needs_optuna
def test_a_database_serves_as_well(dataset, quick, tmp_path):
    url = f"sqlite:///{tmp_path}/search.db"
    words = {"space": SPACE, "trials": 3}
    found = search(quick, dataset, storage=url, **words)
    assert found.table() == search(quick, dataset, storage=tmp_path / "j", **words).table()
    assert found.table() == search(quick, dataset, storage=url, **words).table()


@needs_optuna
def test_a_torn_line_of_the_journal_costs_nothing(run, tmp_path):
    run(method="tpe", trials=2)
    with (tmp_path / "storage").open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"x","tri')
    assert run(method="tpe").table() == run("calm", method="tpe").table()


def test_a_damaged_record_is_named(run, tmp_path):
    run(trials=2)
    path = tmp_path / "storage" / "trials" / "0001" / "trial.json"
    path.write_text('{"state": "complete"}')
    with pytest.raises(CheckpointError, match="the record of trial 1 is damaged") as caught:
        run(trials=2)
    assert "trial.json" in caught.value.where


def test_importance_finds_the_setting_that_matters(run):
    space = {
        "learning_rate": {"low": 1e-7, "high": 0.05, "log": True},
        "seed": {"low": 0, "high": 1000},
    }
    found = run(trials=10, space=space, objective="loss")
    shares = importance(found).shares
    assert shares["learning_rate"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert importance(replace(found, trials=found.trials[:3])).shares == {}


def test_overrides_are_what_differs():
    usual = TrainSettings(model="m", data="d")
    changed = with_parameters(usual, {"epochs": 7, "augment.shift": 2})
    assert overrides_of(changed, usual) == {"epochs": 7, "augment.shift": 2}
    assert with_parameters(usual, overrides_of(changed, usual)) == changed
