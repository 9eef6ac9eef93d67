"""What test_world.py trains, alone and under torchrun: ``worlds.py FOLDER VARIANT ...``."""

import hashlib
import importlib.util
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from convscope.data import Augmentation
from convscope.training import TrainSettings, _train, train
from convscope.training._batches import Batches
from convscope.training._process import init_distributed
from convscope.training._train import _Run

SETTINGS = TrainSettings(
    model="mnist-conv1",
    data="stripes",
    epochs=2,
    batch_size=32,
    optimizer="sgd",
    learning_rate=0.05,
    ema=0.9,
    augment=Augmentation(shift=1),
    noise_std=0.05,
    precision="fp32",
    evals_per_epoch=2,
    validation_images=20,
    checkpoint_seconds=1e9,
    checkpoint_steps=5,
)
"""No batch norm, whose statistics are those of each process; no Adam, which magnifies rounding."""

VARIANTS = {
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0, "mixup": 0.2},
    "cutout": {"cutout": 4},
    "label-smoothing": {"label_smoothing": 0.1},
    "microbatches": {"microbatches": 4, "mixup": 0.4},
    "patience": {
        "patience": 2, "epochs": 12, "learning_rate": 0.3, "ema": 0.0, "schedule": "constant",
        "evals_per_epoch": 1,
    },
    "all-images": {"train_split": "train+validation", "class_weights": "balanced"},
    "fgsm-rs": {"adversary": "fgsm-rs", "epsilon": 0.05, "adversary_steps": 2, "noise_std": 0.0},
    "whitening": {
        "model": "cifar-best-quick", "train_split": "train+validation", "learning_rate": 0.01,
        "epochs": 1,
    },
}  # fmt: skip


def stripes():
    """The data set of conftest.py, with one class rarer than the others."""
    place = Path(__file__).with_name("conftest.py")
    spec = importlib.util.spec_from_file_location("stripes", place)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    dataset = made.dataset.__wrapped__()
    kept = (dataset.train.labels != 3) | (torch.arange(len(dataset.train)) % 8 == 7)
    split = dataset.train
    return replace(
        dataset, train=replace(split, images=split.images[kept], labels=split.labels[kept])
    )


def run(folder, name):
    """Train a variant; what is to be the same in all processes, some of it for any number."""
    order, ends = hashlib.sha256(), []
    load, go, fill = Batches.load, _Run.go, _train.fill_whitening

    def noting(self, epoch, batch, positions=None):
        order.update(self.rows(epoch, batch).numpy().tobytes())
        return load(self, epoch, batch, positions)

    def going(self):
        go(self)
        states = [self.state.model.state_dict(), self.best]
        states += [self.state.ema.module.state_dict()] if self.state.ema else []
        ends.append([value.clone() for state in states for value in state.values()])

    def another_machine(network, state, dataset):
        fill(network, state, dataset)
        if network.whitening and int(os.environ.get("RANK", "0")):
            state.model.get_submodule(network.whitening).weight.data += 0.1

    Batches.load, _Run.go, _train.fill_whitening = noting, going, another_machine
    try:
        settings = replace(SETTINGS, **VARIANTS[name])
        result = train(settings, stripes(), out=folder / name, resume=True)
    finally:
        Batches.load, _Run.go, _train.fill_whitening = load, go, fill
    whole = b"".join(value.contiguous().numpy().tobytes() for value in ends[0])
    first = next(iter(result.classifier.module.parameters()))
    return {
        "order": order.hexdigest(),
        "steps": [row.step for row in result.history],
        "exported": result.exported.step,
        "state": hashlib.sha256(whole).hexdigest(),
        "filters": hashlib.sha256(first.detach().numpy().tobytes()).hexdigest(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    with init_distributed(torch.device("cpu")) as world:
        for variant in sys.argv[2:]:
            found = run(place, variant)
            (place / f"{variant}-{world.rank}.json").write_text(json.dumps(found))
