"""The conv2 network in NumPy alone: accuracy on digits and after one epoch of MNIST, and seconds.

    python benchmarks/scratch_training.py --data-dir DIR [--seeds 3]

DIR holds ``mnist/*.gz``; without it, only the built-in digits. Also: the logits of the trained
networks computed by the torch engine, and the largest difference.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from record import record  # noqa: E402

from convscope import models, open_dataset, scratch  # noqa: E402

RUNS = {
    "digits": {"epochs": 10, "batch_size": 32},
    "mnist": {"epochs": 1, "batch_size": 64},
}


def train(dataset, seed: int, *, epochs: int, batch_size: int) -> dict[str, float]:
    generator = np.random.default_rng(seed)
    mean, std = dataset.mean_std()
    network = scratch.build_network("mnist-conv2", generator=generator, mean=mean, std=std)
    wall, cpu = time.perf_counter(), time.process_time()
    scratch.fit(
        network,
        dataset.train.images.numpy(),
        dataset.train.labels.numpy(),
        optimizer=scratch.Adam(0.005),
        epochs=epochs,
        batch_size=batch_size,
        generator=generator,
        warm_up=0.3,
    )
    seconds = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }
    images, labels = dataset.test.images.numpy(), dataset.test.labels.numpy()
    return {
        "test_accuracy": scratch.accuracy(network, images, labels),
        **seconds,
        "logits_difference": difference_to_torch(network, dataset.test.images[:1000], mean, std),
    }


def difference_to_torch(network, images, mean, std) -> float:
    """The largest difference between our logits and those of torch with the same weights."""
    module = models.build("mnist-conv2").eval()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in network.parameters.items()})
    pixels = images.to(torch.float32) / 255
    shift, scale = (torch.tensor(v).reshape(1, -1, 1, 1) for v in (mean, std))
    with torch.no_grad():
        expected = module((pixels - shift) / scale).numpy()
    return float(np.abs(scratch.predict(network, images.numpy()) - expected).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures = {}
    for name in ("digits", "mnist") if arguments.data_dir else ("digits",):
        dataset = open_dataset(name, data_dir=arguments.data_dir, offline=True)
        runs = [train(dataset, seed, **RUNS[name]) for seed in range(arguments.seeds)]
        figures[name] = {
            "training images": len(dataset.train),
            "test images": len(dataset.test),
            **RUNS[name],
            "test accuracy, mean": round(statistics.mean(r["test_accuracy"] for r in runs), 4),
            "test accuracy, worst": round(min(r["test_accuracy"] for r in runs), 4),
            "median seconds": round(statistics.median(r["seconds"] for r in runs), 1),
            "median CPU seconds": round(statistics.median(r["cpu_seconds"] for r in runs), 1),
            "logits: largest difference to torch": max(r["logits_difference"] for r in runs),
            "runs": runs,
        }
    record(
        "scratch_training",
        figures,
        setting={
            "network": "mnist-conv2 (25,258 parameters), NumPy",
            "recipe": "Adam 0.005, one cycle with 30 % warm-up",
            "seeds": arguments.seeds,
            "threads": 1,
        },
    )


if __name__ == "__main__":
    main()
