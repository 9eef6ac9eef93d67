"""`convscope transfer` with several workers, and after a kill: what one process learns."""

import json

import pytest

from convscope.cli import main
from convscope.transfer import FeaturesJudging

# 32 numbers per image are learned from at once; those of the last layer are 6,272.
TRANSFER = ["transfer", "mnist-conv1", "--data", "digits", "--layer", "pool1", "--classifier",
            "ridge", "--quiet"]  # fmt: skip


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    for name in ("RANK", "WORLD_SIZE", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def run(capsys, *words):
    code = main([*words, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return {k: v for k, v in json.loads(out).items() if k != "seconds"} if out else None


def arrays_of(folder):
    (path,) = folder.rglob("arrays.npz")
    return path.read_bytes()


def test_three_workers_one_killed_learn_what_one_process_learns(capsys, monkeypatch, tmp_path):
    alone = run(capsys, *TRANSFER, "--out", "alone")
    words = [*TRANSFER, "--part", "p", "--out", "out"]
    judge, judged = FeaturesJudging.judge, []

    def dying(self, rows, head):
        judged.append(rows.start)
        if len(judged) == 3:
            raise KeyboardInterrupt
        return judge(self, rows, head)

    monkeypatch.setattr(FeaturesJudging, "judge", dying)
    assert main([*words, "--shard", "3/3"]) == 130
    capsys.readouterr()
    said = [run(capsys, *words, "--shard", shard) for shard in ("3/3", "1/3", "2/3")]
    assert said == [None, None, alone]
    assert judged[:4] == [2, 5, 8, 8] and sorted(set(judged)) == list(range(len(judged) - 1))
    assert arrays_of(tmp_path / "out") == arrays_of(tmp_path / "alone")


def test_a_part_of_features_is_finished_by_the_command_and_not_by_merge(capsys, tmp_path):
    assert main([*TRANSFER[:-1], "--part", "p", "--shard", "1/2"]) == 0
    assert "--classifier ridge --layer pool1 --part p" in capsys.readouterr().err
    assert main(["merge", "p"]) == 2
    assert "the command itself" in capsys.readouterr().err
    assert main([*TRANSFER, "--part", "p", "--cache", "c"]) == 2
    assert "error[U11]" in capsys.readouterr().err
