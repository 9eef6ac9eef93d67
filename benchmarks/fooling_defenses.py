"""Defenses around and through, the full ladder on a robust network, and certified accuracy.

    python benchmarks/fooling_defenses.py --model runs/m --data-dir DIR
        [--robust-model runs/r] [--smooth-model runs/s]

`--robust-model`: adversarially trained at L-infinity 0.3; `--smooth-model`: trained on Gaussian
noise of sigma 0.5.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from record import record

from convscope import defenses
from convscope.data import open_dataset
from convscope.models import load
from convscope.robustness import certify, compare_defenses, evaluate


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model")
    arguments.add_argument("--robust-model")
    arguments.add_argument("--smooth-model")
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--images", type=int, default=500)
    arguments.add_argument("--certified-images", type=int, default=500)
    arguments.add_argument("--draws", type=int, default=10_000)
    arguments.add_argument("--effort", default="full")
    arguments.add_argument("--threads", type=int, default=2)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    test = open_dataset("mnist", data_dir=given.data_dir).test
    images, labels = test.floats(range(given.images)), test.labels[: given.images]
    context: dict[str, Any] = {"threads": given.threads}
    if given.model:
        classifier = load(given.model)
        defended = {
            "blur 1": defenses.blur(classifier, sigma=1.0),
            "3 bits": defenses.bit_depth(classifier, bits=3),
            "threshold 0.5": defenses.threshold(classifier, level=0.5),
            "median 3": defenses.median(classifier, size=3),
        }
        tables = {
            f"epsilon {epsilon}": compare_defenses(
                classifier, defended, images, labels, epsilon=epsilon, steps=50
            ).summary()["rows"]
            for epsilon in (0.1, 0.2, 0.3)
        }
        record("fooling_defenses", tables, n=given.images, model=classifier.source, **context)
    if given.robust_model:
        robust = load(given.robust_model)
        found = evaluate(
            robust,
            images,
            labels,
            epsilon=0.3,
            effort=given.effort,
            generator=torch.Generator().manual_seed(0),
            on_rung=print,
        )
        record("fooling_robust", found.summary(), n=given.images, model=robust.source, **context)
    if given.smooth_model:
        smooth = load(given.smooth_model)
        # Every twentieth image, as is usual for certificates: the whole test set is covered.
        rows = range(0, len(test), max(1, len(test) // given.certified_images))
        certified = certify(
            smooth,
            test.floats(rows),
            test.labels[list(rows)],
            sigma=0.5,
            draws=given.draws,
            generator=torch.Generator().manual_seed(0),
        )
        record(
            "fooling_smoothing", certified.summary(), n=len(rows), model=smooth.source, **context
        )


if __name__ == "__main__":
    main()
