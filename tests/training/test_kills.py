"""SIGKILL at random places: every resume must end with the same bits."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kills.py"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")


def run(*words):
    command = [sys.executable, str(BENCHMARK), "--dry", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=1200)


def test_a_few_kills():
    done = run("--kills", "2", "--epochs", "1", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'unusable_folders': 0" in done.stdout


@pytest.mark.slow
def test_a_hundred_kills():
    done = run("--kills", "100")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'unusable_folders': 0" in done.stdout


@pytest.mark.slow
def test_kills_of_a_bfloat16_run_with_a_dense_layer():
    done = run("--kills", "20", "--model", "mnist-conv2-fc-bn", "--epochs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
