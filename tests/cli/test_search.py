"""``convscope search`` and the newer options of ``convscope train``, as people type them."""

import json
import shlex

import pytest

from convscope.cli import main
from convscope.cli._train import LOGS
from convscope.training import WRITERS, read_history

SPACE = """
learning_rate = [0.001, 0.01]
augment.shift = { low = 0, high = 1 }
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.toml").write_text(SPACE)
    return tmp_path


GRID = "search mnist-conv1 --data digits --space space.toml --method grid --storage grid --epochs 1"


def test_a_grid_from_the_command_line(here, capsys):
    assert main(shlex.split(f"{GRID} --out page.html")) == 0
    said = capsys.readouterr()
    assert "4 complete, 0 pruned, 0 failed" in said.out
    assert said.err.count("trial ") >= 4
    page = (here / "page.html").read_text()
    assert page.count("<svg") >= 4 and "Parallel coordinates" in page
    assert "test images" in page

    assert main(shlex.split(f"{GRID} --out folder --format svg --json")) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert [row["trial"] for row in found["trials"]] == [0, 1, 2, 3]
    assert found["trials"][found["best"]]["validation_accuracy"] == found["value"]
    assert {p.name for p in (here / "folder").iterdir()} == {
        "trials.csv", "best.toml", "result", "figure.svg", "trials.svg", "curves.svg",
        "importance.svg", "parallel-coordinates.svg",
    }  # fmt: skip
    assert not list(here.rglob("checkpoints"))

    command = next(line for line in said.err.splitlines() if line.startswith("next: "))
    words = shlex.split(command.removeprefix("next: convscope "))
    assert found["command"] == command.removeprefix("next: ")
    assert main([*words, "--out", "best"]) == 0
    assert read_history(here / "best")[-1].validation_accuracy == found["value"]
    assert main(["train", "--config", "folder/best.toml", "--out", "again"]) == 0
    same = [(here / name / "model.safetensors").read_bytes() for name in ("best", "again")]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("--space none.toml --trials 2 --storage s", 2, "no such file"),
        ("--space space.toml --trials 0 --storage s", 2, "at least 1"),
        ("--space space.toml --method random --storage s", 2, "how many trials?"),
        ("--space space.toml --trials 2 --method random --storage s --lr 0.1", 2, "varies it"),
        ("--space space.toml --trials 2 --method random --storage sqlite:///x", 2, "in a folder"),
        ("--space space.toml --trials 2 --method random --storage space.toml", 2, "a file"),
        ("--space bad.toml --trials 2 --storage s", 2, "line 1: unknown setting"),
        ("--space space.toml --trials 2 --storage s --out x.png", 2, "writes no .png"),
    ],
)
def test_wrong_searches_are_refused_and_leave_nothing(here, capsys, words, code, says):
    (here / "bad.toml").write_text("learning_rat = [1]")
    before = sorted(here.iterdir())
    assert main(["search", "mnist-conv1", "--data", "digits", *shlex.split(words)]) == code
    assert says in capsys.readouterr().err
    assert sorted(here.iterdir()) == before


def test_a_learning_rate_is_found_and_drawn(here, capsys):
    line = "train mnist-conv1 --data digits --find-learning-rate rates.png --json"
    assert main(shlex.split(line)) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert f"--learning-rate {found['suggested']}" in said.err
    assert (here / "rates.png").read_bytes()[:4] == b"\x89PNG"
    assert not (here / "runs").exists()
    assert main(shlex.split(line)) == 2
    assert main(shlex.split("train mnist-conv1 --find-learning-rate rates.txt")) == 2


def test_names_of_logs_are_those_of_the_writers(here, capsys):
    assert tuple(WRITERS) == LOGS
    assert main(shlex.split("train mnist-conv1 --data digits --log tensorbord")) == 2
    assert "did you mean tensorboard" in capsys.readouterr().err


def test_early_stopping_from_the_command_line(here, capsys):
    line = (
        "train mnist-conv1 --data digits --epochs 40 --patience 1 --schedule constant --ema 0 "
        "--learning-rate 0.05 --out run --cutout 4 --mixup 0.2 --microbatches 2"
    )
    assert main(shlex.split(line)) == 0
    rows = [row for row in read_history(here / "run") if row.epoch == round(row.epoch)]
    best = min(rows, key=lambda row: row.validation_loss)
    assert len(rows) < 40 and rows[-1].epoch - best.epoch == 1
    assert (
        f"{best.validation_accuracy:.2%} after {best.epoch:.3g} epochs" in capsys.readouterr().out
    )
