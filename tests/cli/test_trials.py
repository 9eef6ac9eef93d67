"""`--dry-run`: every command that shares its work has it; jobs whose blocks differ are tried."""

import json
import time
import typing

import pytest

from convscope.cli import main
from convscope.cli._app import build_app
from convscope.cli._large import Large
from convscope.cli._merge import COMMANDS as MERGED
from convscope.cli._plan import lengths
from convscope.cli._trials import LEAST, known_before, tried
from convscope.progress import announce, at_step
from convscope.sharding import Record

MODEL, SOME = "mnist-conv1", ["--data", "digits", "--count", "6"]
JOBS = {
    "attack": ["attack", "fgsm", MODEL, "digits:test/0-5", "--epsilon", "0.1"],
    "attack evaluate": ["attack", "evaluate", MODEL, *SOME, "--effort", "quick"],
    "attack certify": ["attack", "certify", MODEL, *SOME, "--std", "0.1", "--draws", "30"],
    "audit": ["audit", MODEL, *SOME, "--shown", "2", "--only", "performance,architecture,fooling"],
    "eval": ["eval", MODEL, *SOME],
    "inspect": ["inspect", MODEL, "--trust", *SOME, "--show", "saliency,grad-cam"],
    "transfer": ["transfer", MODEL, "--data", "digits"],
}


def sharing(app, words=()):
    """Commands whose work many processes may share, by their words."""
    for name in app:
        if name.startswith("-") or name in app.help_flags:
            continue
        inner = app[name]
        if inner.default_command is not None:
            hints = typing.get_type_hints(inner.default_command)
            if hints.get("large") is Large:
                yield " ".join((*words, name))
        yield from sharing(inner, (*words, name))


def planned(capsys, *words):
    code = main([*words, "--dry-run", "--json", "--quiet"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    for name in ("RANK", "WORLD_SIZE", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_every_command_that_shares_its_work_is_planned_here():
    assert set(sharing(build_app())) == set(JOBS)
    assert {kind.removesuffix(" --trust") for kind in MERGED} <= set(JOBS)


@pytest.mark.parametrize("job", JOBS)
def test_a_plan_says_what_a_job_takes_and_keeps_nothing(job, capsys, tmp_path):
    plan = planned(capsys, *JOBS[job], "--shard", "1/2")
    assert plan["forwards"] > 0 and plan["flops"] > 0 and plan["memory"] > 0
    assert 0 < plan["shard_seconds"] <= plan["seconds"] and plan["device"] == "cpu"
    assert plan["images"] > 0 and plan["blocks"] > 0 and plan["rehearsal_seconds"] > 0
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in left if "matplotlib" not in path.parts] == []


def test_what_a_gpu_takes_is_not_made_up(capsys):
    assert main([*JOBS["inspect"], "--dry-run", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "on a GPU" in said and "--device cuda" in said and "on cpu at the pace of now" in said


def test_the_passes_of_a_plan_are_those_of_the_job(capsys):
    from convscope.probe import counting

    plan = planned(capsys, *JOBS["inspect"])
    with counting() as cost:
        assert main([*JOBS["inspect"], "--quiet"]) == 0
    # The job also measures how long a pass takes, on at most eight images there and back.
    assert plan["forwards"] == pytest.approx(cost().forwards, rel=0.1)
    assert plan["backwards"] == pytest.approx(cost().backwards, rel=0.1)


def test_a_method_for_all_images_is_planned_too(capsys):
    plan = planned(capsys, "attack", "uap", MODEL, "digits:test/0-5", "--epsilon", "0.1")
    assert plan["blocks"] == 1 and plan["images"] == 6 and plan["forwards"] > 0


def test_a_call_that_takes_long_is_stopped_and_foretold():
    steps = []

    def work():
        for step in range(1000):
            at_step(step, 1000)
            steps.append(step)
            time.sleep(0.002)

    trial, result = tried(work, longest=0.1)
    assert result is None and 1000 * LEAST <= len(steps) < 900
    assert trial.seconds >= 2.0


def test_a_call_that_says_nothing_is_run_to_its_end():
    trial, result = tried(lambda: time.sleep(0.05) or "through", longest=0.0)
    assert result == "through" and trial.seconds >= 0.05


def test_no_handler_of_a_method_takes_the_stop_for_an_error():
    def work():
        for share in (0.1, 0.5):
            try:
                time.sleep(0.01)
                announce(share)
            except Exception:
                return "an error was seen"
        return "through"

    assert tried(work, longest=0.0)[1] is None


class Slow:
    """A judging, before which comes another one; the first call of all is slow."""

    size, calls = 1, 0

    def __init__(self, rows, before=None):
        self.rows, self.before = rows, before

    def head(self):
        return Record()

    def head_after(self, records):
        return Record({"seen": len(records)})

    def judge(self, rows, head):
        Slow.calls += 1
        time.sleep(0.3 if Slow.calls == 1 else 0.0)
        return Record()

    def inputs(self, rows):
        return {}


def test_a_slow_first_call_is_not_multiplied_by_the_images():
    Slow.calls = 0
    trial, head = known_before(Slow(1, Slow(1000)), Slow(1, Slow(10)))
    assert 0.3 <= trial.seconds < 3.0 and head.numbers == {"seen": 10}


def test_blocks_take_a_time_of_their_own_and_one_for_each_image():
    assert lengths([10, 100], [1, 3], [3.0, 5.0]) == [12.0, 102.0]
    # Times that contradict each other: in proportion to the images.
    assert lengths([10], [1, 3], [3.0, 1.0]) == [10.0]
