"""torchrun starts lost workers again, and joins several machines: the weights are the same."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

WORKER = Path(__file__).with_name("elastic.py")
RUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals of Unix"),
]


def started(words):
    return subprocess.Popen(
        [*RUN, *words], env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(*programs):
    said = [program.communicate(timeout=300)[1] for program in programs]
    assert not any(program.returncode for program in programs), said


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """Weights of two processes that nothing happened to."""
    folder = tmp_path_factory.mktemp("calm")
    ended(started(["2", "--standalone", str(WORKER), str(folder)]))
    return load_file(folder / "run" / "model.safetensors")


def equal(folder, weights):
    found = load_file(folder / "run" / "model.safetensors")
    return all(torch.equal(value, weights[name]) for name, value in found.items())


@pytest.mark.parametrize("lost", ["0", "1"])
def test_a_worker_that_is_lost_is_started_again_and_goes_on(lost, calm, tmp_path):
    """Killed in its eighth update; torchrun starts all again, and they go on at the checkpoint."""
    words = ["2", "--standalone", "--max-restarts", "1", str(WORKER), str(tmp_path), lost]
    ended(started(words))
    assert [(tmp_path / f"began-{n}").read_text() for n in (0, 1)] == ["0", "5"]
    assert equal(tmp_path, calm)


def test_two_machines_train_as_two_processes_of_one(calm, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = ["1", "--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    ended(*(started([*shared, "--node-rank", rank, str(WORKER), str(tmp_path)]) for rank in "01"))
    assert equal(tmp_path, calm)
