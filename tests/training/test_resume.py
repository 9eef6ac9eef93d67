"""A stopped run that goes on ends with the same bits as one that was left alone."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from convscope.data import Augmentation, Dataset
from convscope.errors import CheckpointError, DataError, UsageError
from convscope.models import build
from convscope.training import Warned, train
from convscope.training._batches import Normalize
from convscope.training._checkpoints import Checkpoints, State, read_checkpoint
from convscope.training._objective import build_objective
from convscope.training._run_folder import history_text, parse_history


@pytest.fixture(scope="module")
def without_autocast(dataset, tmp_path_factory):
    """Folders of runs that nobody stopped, by settings."""
    done = {}

    def of(settings):
        if settings not in done:
            done[settings] = tmp_path_factory.mktemp("undisturbed") / "run"
            train(settings, dataset, out=done[settings])
        return done[settings]

    return of


def crash(settings, dataset, folder, on_event):
    with pytest.raises(RuntimeError, match="crash"):
        train(settings, dataset, out=folder, resume=True, on_event=on_event)


VARIANTS = {
    "adamw": {},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05},
    "muon": {"optimizer": "muon", "learning_rate": 0.05, "nonfilter_lr": 0.01},
    "bf16": {"precision": "bf16"},
    "no-average": {"ema": 0.0},
    "pgd": {"adversary": "pgd", "epsilon": 0.05, "adversary_steps": 2},
    "fgsm-rs": {"adversary": "fgsm-rs", "epsilon": 0.05, "adversary_steps": 2},
    "noise": {"noise_std": 0.1, "max_grad_norm": 1.0},
    "consistency": {"noise_std": 0.1, "consistency": 5.0},
    "mixup": {"mixup": 0.4, "label_smoothing": 0.1},
    "cutmix": {"cutmix": 1.0, "mixup": 0.2, "cutout": 4},
    "microbatches": {"microbatches": 4, "class_weights": "balanced", "mixup": 0.4},
    "patience": {"patience": 1, "epochs": 3},
    "whitening": {
        "model": "cifar-best-quick",
        "optimizer": "muon",
        "precision": "bf16",
        "learning_rate": 0.05,
        "augment": Augmentation(flip="alternating", shift=2, padding="reflection"),
        "train_split": "train+validation",
        "schedule": "step",
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_resume_is_bitwise(
    tmp_path, dataset, settings, without_autocast, crash_after, digest, variant
):
    settings = replace(settings, **VARIANTS[variant])
    for step in (3, 7, 11):
        crash(settings, dataset, tmp_path / "run", crash_after(step))
    train(settings, dataset, out=tmp_path / "run", resume=True)
    assert digest(tmp_path / "run") == digest(without_autocast(settings))


def test_a_run_with_former_names_in_its_config_goes_on(
    tmp_path, dataset, settings, without_autocast, crash_after, digest
):
    crash(settings, dataset, tmp_path / "run", crash_after(7))
    config = tmp_path / "run" / "config.toml"
    former = config.read_text().replace("max_grad_norm", "clip").replace("noise_std", "noise")
    former = former.replace("evals_per_epoch", "points_per_epoch")
    config.write_text(former.replace("microbatches", "accumulate"))
    train(settings, dataset, out=tmp_path / "run", resume=True)
    assert digest(tmp_path / "run") == digest(without_autocast(settings))


@pytest.mark.parametrize(
    "stop",
    [pytest.param(x, marks=[] if x % 3 == 1 else [pytest.mark.slow]) for x in range(1, 13)],
)
def test_resume_after_any_step(
    tmp_path, dataset, settings, without_autocast, crash_after, digest, stop
):
    crash(settings, dataset, tmp_path / "run", crash_after(stop))
    train(settings, dataset, out=tmp_path / "run", resume=True)
    assert digest(tmp_path / "run") == digest(without_autocast(settings))


def test_same_seed_same_bytes_in_every_file_but_env(
    tmp_path, dataset, settings, without_autocast, digest
):
    train(settings, dataset, out=tmp_path / "run")
    mine, other = tmp_path / "run", without_autocast(settings)
    names = sorted(p.relative_to(mine) for p in mine.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(other) for p in other.rglob("*") if p.is_file())
    for name in names:
        if name.name != "env.json":
            assert (mine / name).read_bytes() == (other / name).read_bytes(), name
    train(replace(settings, seed=1), dataset, out=tmp_path / "other")
    assert digest(tmp_path / "other") != digest(mine)


def test_a_finished_run_resumes_to_itself(tmp_path, dataset, settings, digest):
    first = train(settings, dataset, out=tmp_path / "run")
    before = digest(tmp_path / "run")
    env = json.loads((tmp_path / "run" / "env.json").read_text())
    env["sessions"][-1]["threads"] = 64
    (tmp_path / "run" / "env.json").write_text(json.dumps(env))
    again = train(settings, dataset, out=tmp_path / "run", resume=True)
    assert digest(tmp_path / "run") == before
    assert again.history == first.history
    assert json.loads((tmp_path / "run" / "env.json").read_text()) == env


SAVED = [
    "weights",
    "batch-norm",
    "momentum",
    "optimizer-steps",
    "average",
    "average-updates",
    "tally",
    "metrics",
    "step",
]


def fresh_instead(snapshot, item, settings):
    """`snapshot` as if `item` had not been saved: its value is that of a run that begins."""
    module = build(settings.model, num_classes=4, input_shape=(1, 12, 12))
    objective = build_objective(settings, Normalize((0.0,), (1.0,)), steps_per_epoch=6)
    fresh = State.fresh(module, settings, objective).capture()
    tensors, numbers = snapshot.tensors, snapshot.numbers
    if item in ("weights", "batch-norm"):
        chosen = [n for n in tensors["model"] if ("running" in n) == (item == "batch-norm")]
        for name in chosen:
            tensors["model"][name] = fresh.tensors["model"][name]
    elif item in ("momentum", "optimizer-steps"):
        for name, value in tensors["optimizer"].items():
            if (".steps." in name) == (item == "optimizer-steps"):
                tensors["optimizer"][name] = torch.zeros_like(value)
    elif item == "average":
        tensors["average"] = fresh.tensors["average"]
    elif item == "average-updates":
        numbers["average_updates"] = 0
    elif item == "tally":
        numbers["tally"] = [0.0, 0.0, 0]
    elif item == "metrics":
        snapshot.metrics = history_text(list(parse_history(snapshot.metrics))[:-1])
    elif item == "step":
        snapshot.step -= 1
    return snapshot


@pytest.mark.parametrize("item", [None, *SAVED])
def test_leaving_out_any_saved_item_changes_the_end(
    tmp_path, dataset, settings, without_autocast, crash_after, digest, item
):
    folder = tmp_path / "run"
    crash(settings, dataset, folder, crash_after(6))
    store = Checkpoints(folder / "checkpoints")
    snapshot = read_checkpoint(folder / "checkpoints" / "step-00000005")
    shutil.rmtree(folder / "checkpoints")
    store.save(fresh_instead(snapshot, item, settings))
    train(settings, dataset, out=folder, resume=True)
    assert (digest(folder) == digest(without_autocast(settings))) == (item is None)


def test_a_damaged_newest_checkpoint_costs_one_interval_only(
    tmp_path, dataset, settings, without_autocast, crash_after, digest
):
    folder = tmp_path / "run"
    crash(settings, dataset, folder, crash_after(11))
    newest = max((folder / "checkpoints").iterdir())
    (newest / "model.safetensors").write_bytes(b"")
    heard = []
    train(settings, dataset, out=folder, resume=True, on_event=heard.append)
    assert any(isinstance(e, Warned) and "is damaged" in e.text for e in heard)
    assert digest(folder) == digest(without_autocast(settings))


def test_damaged_metrics_are_restored(
    tmp_path, dataset, settings, without_autocast, crash_after, digest
):
    folder = tmp_path / "run"
    crash(settings, dataset, folder, crash_after(8))
    (folder / "metrics.csv").write_text("step,epo\x00ch\n1,,,")
    train(settings, dataset, out=folder, resume=True)
    assert digest(folder) == digest(without_autocast(settings))


def test_a_run_folder_may_be_moved(
    tmp_path, dataset, settings, without_autocast, crash_after, digest
):
    crash(settings, dataset, tmp_path / "run", crash_after(8))
    (tmp_path / "a b").mkdir()
    moved = (tmp_path / "run").rename(tmp_path / "a b" / "ö")
    train(settings, dataset, out=moved, resume=True)
    assert digest(moved) == digest(without_autocast(settings))


def test_changed_settings_are_refused_by_name(tmp_path, dataset, settings, crash_after):
    crash(settings, dataset, tmp_path / "run", crash_after(6))
    changed = replace(settings, learning_rate=0.02, seed=4)
    with pytest.raises(CheckpointError, match=r"seed = 0 -> 4; learning_rate = 0.01 -> 0.02") as e:
        train(changed, dataset, out=tmp_path / "run", resume=True)
    assert e.value.code == "C16"


def test_changed_data_are_refused(tmp_path, dataset, settings, crash_after):
    crash(settings, dataset, tmp_path / "run", crash_after(6))
    labels = dataset.train.labels.clone()
    labels[0] = 1 - labels[0]
    fields = {name: getattr(dataset, name) for name in ("validation", "test", "class_names")}
    other = Dataset(
        name="stripes",
        train=replace(dataset.train, labels=labels),
        source="generated stripes",
        hashes={},
        **fields,
    )
    with pytest.raises(DataError, match="changed since this run began") as caught:
        train(settings, other, out=tmp_path / "run", resume=True)
    assert caught.value.code == "D24"


def test_other_software_is_said_and_recorded(tmp_path, dataset, settings, crash_after):
    folder = tmp_path / "run"
    crash(settings, dataset, folder, crash_after(6))
    path = folder / "env.json"
    env = json.loads(path.read_text())
    env["sessions"][-1].update(torch="1.0", threads=64)
    path.write_text(json.dumps(env))
    heard = []
    train(settings, dataset, out=folder, resume=True, on_event=heard.append)
    said = [event.text for event in heard if isinstance(event, Warned)]
    assert any("threads 64 -> " in text and "not bit-exact" in text for text in said)
    env = json.loads(path.read_text())
    assert not env["bit_exact"]
    assert len(env["sessions"][-1]["drift"]) == 2
    assert "no: see env.json" in (folder / "README.md").read_text()


def test_a_run_is_not_overwritten(tmp_path, dataset, settings, crash_after):
    folder = tmp_path / "run"
    crash(settings, dataset, folder, crash_after(6))
    with pytest.raises(UsageError, match="there is a run in this folder") as caught:
        train(settings, dataset, out=folder)
    assert caught.value.code == "U13"
