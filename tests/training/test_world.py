"""Several processes: the same code, the same order of data, the same right to be killed."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from convscope.errors import ResourceError, UsageError
from convscope.training import read_history
from convscope.training._batches import Batches
from convscope.training._process import World, init_distributed
from convscope.training._train import _Run

SCRIPT = Path(__file__).with_name("worlds.py")
_spec = importlib.util.spec_from_file_location("worlds", SCRIPT)
assert _spec is not None and _spec.loader is not None
worlds = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worlds)

FLAGS = ["--data", "digits", "--epochs", "1", "--precision", "fp32", "--checkpoint-steps", "3"]


def test_alone_is_a_world_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with init_distributed(torch.device("cpu")) as world:
        assert world == World(0, 1)
        assert world.is_main_process


class Silent(World):
    """One of several processes; its messages reach nobody."""

    def all_reduce_mean(self, tensors):
        pass

    def broadcast(self, tensors):
        pass

    def barrier(self):
        pass


def run_of(settings, folder, world):
    cpu = torch.device("cpu")
    never = type("Never", (), {"__bool__": lambda self: False})()
    dataset = worlds.stripes()
    return _Run(settings, dataset, folder, cpu, world, never, lambda event: None, None, "", [])


def gradients(settings, folder, world):
    run = run_of(settings, folder, world)
    run.engine._training_step(run.state)
    return [parameter.grad.clone() for parameter in run.state.model.parameters()]


@pytest.mark.parametrize(
    "changes",
    [
        {"noise_std": 0.2},
        {"label_smoothing": 0.1, "cutout": 3},
        {"mixup": 0.4},
        {"cutmix": 1.0, "microbatches": 2},
        {"class_weights": "balanced", "mixup": 0.4},
        {"class_weights": "balanced", "microbatches": 4},
        {"adversary": "pgd", "epsilon": 0.05, "adversary_steps": 2, "noise_std": 0.0},
        {
            "adversary": "trades", "epsilon": 0.05, "adversary_steps": 1, "noise_std": 0.0,
            "class_weights": "balanced",
        },
    ],
    ids=lambda changes: "+".join(changes),
)  # fmt: skip
def test_the_mean_of_the_gradients_of_two_processes_is_that_of_one(tmp_path, changes):
    settings = replace(worlds.SETTINGS, **changes)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    alone = gradients(settings, tmp_path / "one", World())
    shares = [gradients(settings, tmp_path / "two", Silent(rank, 2)) for rank in (0, 1)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert torch.allclose(whole, sum(parts) / 2, atol=1e-6)
        assert not torch.allclose(parts[0], parts[1], atol=1e-4)


def test_a_batch_that_cannot_be_divided_is_refused_with_one_that_can():
    settings = replace(worlds.SETTINGS, microbatches=4)
    with pytest.raises(UsageError, match="3 processes with 4 microbatches each") as caught:
        Batches(worlds.stripes().train, settings, World(0, 3))
    assert caught.value.expected == "a multiple of 12"


def test_a_process_that_does_not_see_the_run_folder_says_so(tmp_path):
    with pytest.raises(ResourceError, match="process 1 does not see the run folder") as caught:
        run_of(worlds.SETTINGS, tmp_path, Silent(1, 2))
    assert caught.value.code == "T11"


def launched(words, *, faults=""):
    """Run Python under torchrun with two processes; the exit code and what was said."""
    start = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "CONVSCOPE_FAULTS": faults, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *start, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stderr


def weights(folder):
    files = [folder / "model.safetensors", folder / "metrics.csv"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder in which two processes trained every variant."""
    folder = tmp_path_factory.mktemp("two")
    code, text = launched([str(SCRIPT), str(folder), *worlds.VARIANTS])
    assert code == 0, text
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("variant", worlds.VARIANTS)
def test_two_processes_train_as_one_does(two, tmp_path, variant):
    """Same images in the same order, same end, same exported epoch; the sums are rounded apart."""
    alone = worlds.run(tmp_path, variant)
    first, second = (json.loads((two / f"{variant}-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    for name in ("order", "steps", "exported"):
        assert first[name] == alone[name], name
    whitened = variant == "whitening"
    if whitened:
        assert first["filters"] == alone["filters"]
    if variant == "patience":
        assert len(alone["steps"]) < 12 and alone["exported"] < alone["steps"][-1]
    # Batch norm sees the images of its process only: such a network is another one.
    rel, near = (0.3, 0.1) if whitened else (1e-4, 1e-4)
    for one, other in zip(
        read_history(tmp_path / variant), read_history(two / variant), strict=True
    ):
        assert other.train_loss == pytest.approx(one.train_loss, rel=rel)
        assert other.train_error == pytest.approx(one.train_error, abs=0.2 if whitened else 0.01)
    ours, theirs = (load_file(place / variant / "model.safetensors") for place in (tmp_path, two))
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name], atol=near, rtol=rel), name


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "forward"), [("mixup", 8), ("patience", 20)])
def test_two_processes_killed_and_resumed_end_with_the_same_bits(two, tmp_path, variant, forward):
    words = [str(SCRIPT), str(tmp_path), variant]
    code, text = launched(words, faults=f"step.forward:{forward}:kill9")
    assert code != 0
    assert not (tmp_path / variant / "model.safetensors").exists(), text
    assert list((tmp_path / variant / "checkpoints").glob("step-*"))
    code, text = launched(words)
    assert code == 0, text
    assert weights(tmp_path / variant) == weights(two / variant)


@pytest.mark.slow
def test_the_command_line_under_torchrun_resumes_bitwise(tmp_path):
    def command(folder, *words, faults=""):
        line = ["-m", "convscope.cli", "train", "mnist-conv1-bn", *FLAGS, "--out", str(folder)]
        return launched([*line, *words], faults=faults)

    code, text = command(tmp_path / "calm")
    assert code == 0, text
    code, _ = command(tmp_path / "killed", faults="step.forward:8:kill9")
    assert code != 0
    code, text = command(tmp_path / "killed", "--resume")
    assert code == 0, text
    assert weights(tmp_path / "killed") == weights(tmp_path / "calm")
