"""Several processes: the same code, the same order of data, the same right to be killed."""

import hashlib
import os
import subprocess
import sys

import pytest
import torch

from convscope.training import read_history
from convscope.training._process import World, init_distributed

FLAGS = ["--data", "digits", "--epochs", "1", "--precision", "fp32", "--checkpoint-steps", "3"]


def test_alone_is_a_world_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with init_distributed(torch.device("cpu")) as world:
        assert world == World(0, 1)
        assert world.is_main_process


def train(folder, *words, processes=2, faults=""):
    """Run the command line under torchrun; the exit code."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    standalone = ["--standalone", "-m", "convscope.cli"] if processes > 1 else []
    start = [*launcher, *standalone] if processes > 1 else ["-m", "convscope.cli"]
    environment = {**os.environ, "CONVSCOPE_FAULTS": faults, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *start, "train", "mnist-conv1-bn", *FLAGS]
    done = subprocess.run(
        [*command, "--out", str(folder), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stderr


def weights(folder):
    files = [folder / "model.safetensors", folder / "metrics.csv"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@pytest.mark.slow
def test_two_processes_train_like_one_and_resume_bitwise(tmp_path):
    code, text = train(tmp_path / "one", processes=1)
    assert code == 0, text
    code, text = train(tmp_path / "two")
    assert code == 0, text
    one, two = read_history(tmp_path / "one"), read_history(tmp_path / "two")
    assert [p.step for p in one] == [p.step for p in two]
    # Same images in the same order; batch-norm statistics are per process, hence not equal.
    assert two[0].train_loss == pytest.approx(one[0].train_loss, rel=0.15)
    code, _ = train(tmp_path / "killed", faults="step.forward:8:kill9")
    assert code != 0
    code, text = train(tmp_path / "killed", "--resume")
    assert code == 0, text
    assert weights(tmp_path / "killed") == weights(tmp_path / "two")
