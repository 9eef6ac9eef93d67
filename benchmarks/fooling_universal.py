"""Universal noises: share of unseen test images read as the target, per class.

    python benchmarks/fooling_universal.py --model runs/m --data-dir DIR

One noise per class from 4,000 training images, judged on 2,000 test images of other classes, once
within L-infinity 0.3 and once without a limit.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from record import record

from convscope.attacks import uap
from convscope.data import open_dataset
from convscope.models import load


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--images", type=int, default=4000)
    arguments.add_argument("--test-images", type=int, default=2000)
    arguments.add_argument("--threads", type=int, default=2)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    classifier = load(given.model)
    dataset = open_dataset("mnist", data_dir=given.data_dir)
    images, labels = (
        dataset.train.to_float(range(given.images)),
        dataset.train.labels[: given.images],
    )
    test = dataset.test.to_float(range(given.test_images))
    unseen = (test, dataset.test.labels[: given.test_images])
    figures: dict[str, Any] = {}
    for name, epsilon in (("linf 0.3", 0.3), ("unconstrained", None)):
        found = uap(
            classifier,
            images,
            labels,
            validation=unseen,
            epsilon=epsilon,
            generator=torch.Generator().manual_seed(0),
        )
        summary = found.summary()
        figures[name] = {
            "mean": summary["fooled"],
            "per_class": summary["rates"],
            "seconds": summary["seconds"],
            "forwards": found.cost.forwards,
            "backwards": found.cost.backwards,
        }
    record(
        "fooling_universal",
        figures,
        n=given.test_images,
        threads=given.threads,
        model=classifier.source,
    )


if __name__ == "__main__":
    main()
