"""`convscope inspect --trust` with several workers, and after a kill: the table of one process."""

import json

import pytest

from convscope.cli import main
from convscope.explanations import TrustJudging

TRUST = ["inspect", "mnist-conv1", "--trust", "--data", "digits", "--count", "6", "--show",
         "saliency,grad-cam,input-times-gradient", "--quiet"]  # fmt: skip


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
    if not out:
        return None
    found = json.loads(out)
    for row in found["methods"]:
        del row["seconds"]
    return found


def test_the_table_is_that_of_one_process_whoever_judges(capsys, tmp_path):
    alone = run(capsys, *TRUST)
    methods = [row["method"] for row in alone["methods"]]
    assert methods == ["saliency", "grad-cam", "input-times-gradient", "random map"]
    for count in (2, 3):
        words = [*TRUST, "--part", f"p{count}"]
        said = [run(capsys, *words, "--shard", f"{i}/{count}") for i in range(1, count + 1)]
        assert said == [None] * (count - 1) + [alone]
        assert run(capsys, "merge", f"p{count}", "--out", f"m{count}", "--quiet") == alone
        arrays = (tmp_path / f"m{count}" / "results" / "trust" / "arrays.npz").read_bytes()
        assert arrays == (tmp_path / "m2" / "results" / "trust" / "arrays.npz").read_bytes()


def test_methods_that_are_through_are_not_judged_again(capsys, monkeypatch):
    alone, judge, judged = run(capsys, *TRUST), TrustJudging.judge, []

    def dying(self, rows, head):
        judged.append(rows.start)
        if len(judged) == 3:
            raise KeyboardInterrupt
        return judge(self, rows, head)

    monkeypatch.setattr(TrustJudging, "judge", dying)
    assert main([*TRUST, "--resume"]) == 130
    capsys.readouterr()
    assert run(capsys, *TRUST, "--resume") == alone
    assert judged == [0, 1, 2, 2, 3]


def test_a_method_changes_nothing_for_the_others(capsys):
    """Draws are those of the seed, not what the methods before have left."""
    both = run(capsys, *TRUST)["methods"]
    words = [word.replace("saliency,", "") for word in TRUST]
    assert run(capsys, *words)["methods"] == both[1:]


def test_other_looks_have_no_workers(capsys):
    assert main(["inspect", "mnist-conv1", "digits:test/0", "--resume"]) == 2
    assert "--resume belongs to --trust" in capsys.readouterr().err
    assert main([*TRUST, "--shard", "0/2"]) == 2
