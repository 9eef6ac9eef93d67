"""Checkpoints: whole or not at all, every byte checked, the one before as a net."""

import json
import random

import pytest
import torch

from convscope.errors import CheckpointError, ResourceError
from convscope.training import _faults
from convscope.training._checkpoints import Checkpoints, Snapshot, read_checkpoint

WRITES = [
    "ckpt.mkdir",
    "ckpt.write.model",
    "ckpt.write.optimizer",
    "ckpt.write.state",
    "ckpt.write.metrics",
    "ckpt.write.manifest",
    "ckpt.fsync",
    "ckpt.rename",
]


def snapshot(step):
    generator = torch.Generator().manual_seed(step)
    weights = torch.randn(3, 4, generator=generator)
    weights[0, 0], weights[0, 1], weights[0, 2] = float("nan"), -0.0, 1e-42
    return Snapshot(
        step=step,
        tensors={
            "model": {"w": weights.to(memory_format=torch.contiguous_format), "n": torch.tensor(3)},
            "optimizer": {"0.0.exp_avg": torch.randn(2, 2, 3, 3, generator=generator)},
        },
        numbers={"tally": [0.1, 0.2, 3]},
        metrics="step\n1\n",
    )


def same(a, b):
    return (
        (a.step, a.numbers, a.metrics) == (b.step, b.numbers, b.metrics)
        and a.tensors.keys() == b.tensors.keys()
        and all(
            x.view(torch.uint8).tolist() == b.tensors[f][n].view(torch.uint8).tolist()
            for f, tensors in a.tensors.items()
            for n, x in tensors.items()
            if x.ndim
        )
    )


def test_round_trip_keeps_every_bit(tmp_path):
    path = Checkpoints(tmp_path).save(snapshot(7))
    assert path.name == "step-00000007"
    assert same(read_checkpoint(path), snapshot(7))


def test_two_generations_are_kept(tmp_path):
    store = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        store.save(snapshot(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_no_checkpoint_is_not_an_error(tmp_path):
    assert Checkpoints(tmp_path / "none").newest() == (None, [])


def test_every_flipped_bit_is_noticed(tmp_path):
    path = Checkpoints(tmp_path).save(snapshot(1))
    files = sorted(path.iterdir())
    generator = random.Random(0)
    for _ in range(300):
        file = generator.choice(files)
        whole = file.read_bytes()
        broken = bytearray(whole)
        broken[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        file.write_bytes(broken)
        try:
            found = read_checkpoint(path)
        except CheckpointError:
            pass
        else:
            # A flip in white space or in a number's name of the manifest changes nothing.
            assert file.name == "MANIFEST.json"
            assert same(found, snapshot(1))
        file.write_bytes(whole)


def test_every_cut_is_noticed(tmp_path):
    path = Checkpoints(tmp_path).save(snapshot(1))
    for file in path.iterdir():
        whole = file.read_bytes()
        for share in range(10):
            file.write_bytes(whole[: len(whole) * share // 10])
            with pytest.raises(CheckpointError):
                read_checkpoint(path)
        file.unlink()
        with pytest.raises(CheckpointError, match="no such file"):
            read_checkpoint(path)
        file.write_bytes(whole)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path):
    store = Checkpoints(tmp_path)
    store.save(snapshot(1))
    broken = store.save(snapshot(2)) / "model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-1])
    found, notes = store.newest()
    assert same(found, snapshot(1))
    assert len(notes) == 1
    assert "step-00000002 is damaged (model.safetensors does not match" in notes[0]
    store.save(snapshot(2))
    assert same(store.newest()[0], snapshot(2))
    assert (tmp_path / "damaged-step-00000002-0").is_dir()


def test_all_damaged_is_an_error_and_nothing_is_touched(tmp_path):
    store = Checkpoints(tmp_path)
    for step in (1, 2):
        (store.save(snapshot(step)) / "state.json").write_text("{}")
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match="no usable checkpoint") as caught:
        store.newest()
    assert caught.value.code == "C20"
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("action", ["enospc", "eacces"])
@pytest.mark.parametrize("point", WRITES)
def test_a_full_disk_leaves_the_checkpoint_before_intact(tmp_path, point, action):
    store = Checkpoints(tmp_path)
    store.save(snapshot(1))
    _faults.arm(f"{point}:1:{action}")
    with pytest.raises(ResourceError) as caught:
        store.save(snapshot(2))
    assert caught.value.exit_code == 6
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    assert same(store.newest()[0], snapshot(1))
    store.save(snapshot(2))
    assert same(store.newest()[0], snapshot(2))


def test_clean_up_removes_half_written_ones_only(tmp_path):
    store = Checkpoints(tmp_path)
    store.save(snapshot(1))
    (tmp_path / ".tmp-step-00000002-77").mkdir()
    store.clean_up()
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b.json", "A.json", "x.pkl"])
def test_a_manifest_cannot_point_elsewhere(tmp_path, name):
    path = Checkpoints(tmp_path).save(snapshot(1))
    manifest = json.loads((path / "MANIFEST.json").read_text())
    manifest["files"][name] = "0" * 64
    (path / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="manifest names") as caught:
        read_checkpoint(path)
    assert caught.value.code == "C19"


def test_a_newer_schema_says_so(tmp_path):
    path = Checkpoints(tmp_path).save(snapshot(1))
    manifest = json.loads((path / "MANIFEST.json").read_text())
    (path / "MANIFEST.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(CheckpointError, match="newer convscope"):
        read_checkpoint(path)
