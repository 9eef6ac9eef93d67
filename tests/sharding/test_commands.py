"""Commands with several workers: the report of one process, byte for byte."""

import json
import os
from pathlib import Path

import pytest

from convscope.attacks import AttackJudging
from convscope.cli import main
from convscope.robustness import CertificationJudging, RobustnessJudging
from convscope.sharding import Part, Record
from convscope.training import AccuracyJudging

COMMANDS = {
    "attack evaluate": ["attack", "evaluate", "mnist-conv1", "--data", "digits", "--epsilon",
                        "0.05", "--effort", "quick", "--count", "7"],
    "attack certify": ["attack", "certify", "mnist-conv1", "--data", "digits", "--std", "0.1",
                       "--draws", "30", "--count", "7"],
    "attack": ["attack", "apgd", "mnist-conv1", "digits:test/0-6", "--epsilon", "0.1", "--steps",
               "5", "--random-start"],
    "eval": ["eval", "mnist-conv1", "--data", "digits", "--count", "7"],
}  # fmt: skip
SHARDS = [["1/1"], ["2/2", "1/2"], ["3/3", "1/3", "2/3"]]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch, tmp_path):
    """Blocks of three images; kept images go to a cache of the test."""
    for kind in (AttackJudging, RobustnessJudging, CertificationJudging, AccuracyJudging):
        monkeypatch.setattr(kind, "size", 3)
    for name in ("RANK", "WORLD_SIZE", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def without_times(tree):
    if isinstance(tree, dict):
        return {k: without_times(v) for k, v in tree.items() if k != "seconds"}
    if isinstance(tree, list):
        return [without_times(v) for v in tree]
    return tree


def contents(folder):
    """Every file of a folder of results: bytes, or JSON without times."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        whole = path.suffix != ".json"
        found[name] = path.read_bytes() if whole else without_times(json.loads(path.read_text()))
    return found


def run(capsys, *words):
    code = main([*words, "--quiet"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return without_times(json.loads(out)) if out else None


@pytest.mark.parametrize("command", COMMANDS)
def test_one_two_and_three_workers_give_the_same_bytes(command, capsys, tmp_path):
    words = [*COMMANDS[command], "--json"]
    out = [] if command == "eval" else ["--out", "alone"]
    alone = run(capsys, *words, *out)
    merged = None
    for number, shards in enumerate(SHARDS):
        said = [run(capsys, *words, "--part", f"part{number}", "--shard", s) for s in shards]
        assert said == [None] * (len(shards) - 1) + [alone]
        assert run(capsys, "merge", f"part{number}", "--json", "--out", f"out{number}") == alone
        now = contents(tmp_path / f"out{number}")
        assert {"figure.png", "result/arrays.npz"} <= set(now) and len(now) > 3
        assert merged is None or merged == now
        merged = now
    if out:
        assert contents(tmp_path / "alone") == merged


def test_the_same_command_goes_on_where_it_was_killed(capsys, monkeypatch, tmp_path):
    words = [*COMMANDS["eval"], "--json"]
    alone = run(capsys, *words)
    judge, judged = AccuracyJudging.judge, []

    def dying(self, rows, head):
        judged.append(rows.start)
        if len(judged) == 3:
            raise KeyboardInterrupt
        return judge(self, rows, head)

    monkeypatch.setattr(AccuracyJudging, "judge", dying)
    assert main([*words, "--resume"]) == 130
    capsys.readouterr()
    assert run(capsys, *words, "--resume") == alone
    assert judged == [0, 3, 6, 6]
    assert not list((tmp_path / "cache").rglob("block-*")), "what is reported is not kept"


def test_torchrun_and_an_array_are_heard(capsys, monkeypatch, tmp_path):
    words = [*COMMANDS["eval"], "--json"]
    alone = run(capsys, *words)
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        said.append(run(capsys, *words))
    assert said == [None, alone]
    monkeypatch.delenv("WORLD_SIZE")
    for name, value in {"ID": "1", "COUNT": "2", "MIN": "1", "MAX": "2"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    # An array may do anything: without a folder to share, each of its tasks is a job of its own.
    assert run(capsys, *words) == alone
    assert run(capsys, *words, "--part", "array") is None
    assert run(capsys, *words, "--part", "array", "--shard", "2/2") == alone


def test_parts_of_two_machines_are_merged_and_another_seed_is_refused(capsys, tmp_path):
    words = [*COMMANDS["eval"], "--json"]
    alone = run(capsys, *words)
    for node in ("1", "2"):
        assert run(capsys, *words, "--part", f"node{node}", "--shard", f"{node}/2") is None
    assert run(capsys, "merge", "node1", "node2", "--json") == alone
    assert run(capsys, "merge", ".", "--json") == alone
    assert main(["merge", "node1"]) == 2
    assert "error[T25]" in capsys.readouterr().err
    assert main([*words, "--part", "node1", "--seed", "1"]) == 2
    assert "error[T23]" in capsys.readouterr().err


def test_a_merge_has_the_gates_of_its_command(capsys):
    words = [*COMMANDS["eval"], "--json", "--part", "p"]
    run(capsys, *words)
    assert main(["merge", "p", "--json", "--fail-under", "1.01"]) == 2
    assert main(["merge", "p", "--json", "--fail-under", "loss=0"]) == 1
    assert main(["merge", "p", "--json", "--fail-under", "robust=0.1"]) == 2
    assert main([*words, "--fail-under", "loss=0"]) == 1
    assert "error: loss is" in capsys.readouterr().err


def test_records_that_are_none_are_damage(capsys):
    run(capsys, *COMMANDS["eval"], "--json", "--part", "p")
    part = Part.opened(Path("p"))
    part.write(1, Record({"hits": "many"}, part.read(1).arrays))
    assert main(["merge", "p"]) == 3
    assert "error[T24]" in capsys.readouterr().err


def test_what_makes_no_sense_is_refused_before_torch_is_asked(capsys):
    assert main(["eval", "mnist-conv1", "--data", "digits", "--shard", "3/2"]) == 2
    assert main(["merge"]) == 2
    assert main(["merge", os.curdir]) == 2
    assert main(["merge", "nowhere"]) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_dry_run_counts_the_passes_of_the_job_and_keeps_nothing(command, capsys, tmp_path):
    words = [*COMMANDS[command], "--json"]
    assert main([*words, "--dry-run", "--part", "p", "--shard", "1/2", "--quiet"]) == 0
    planned = json.loads(capsys.readouterr().out)
    true = run(capsys, *words)
    each = true.get("forwards_per_image", 1)
    forwards, rel = true.get("forwards", 7 * each), 0.1 * (command == "attack evaluate")
    assert planned["images"] == 7 and planned["blocks"] == 3
    # Seven images are all of them; only the checks round their shares.
    assert planned["forwards"] == pytest.approx(forwards, rel=rel)
    assert planned["flops"] > 0 and planned["memory"] > 0
    assert 0 < planned["shard_seconds"] < planned["seconds"] and not (tmp_path / "p").exists()


def test_a_dry_run_speaks_to_people(capsys):
    assert main([*COMMANDS["eval"], "--dry-run", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "7 in 3 blocks" in said and "about 7 forward, 0 backward" in said
