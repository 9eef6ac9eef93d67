"""Defenses around and through, the full ladder on a robust network, and certified accuracy.

    python benchmarks/fooling_defenses.py --model runs/m --data-dir DIR
        [--robust-model runs/r [--official DIR --official-images 1000]] [--smooth-model runs/s]

`--robust-model`: adversarially trained at L-infinity 0.3; `--smooth-model`: trained on Gaussian
noise of sigma 0.5. `--official` is a folder that holds the package `autoattack` of its authors
(github.com/fra31/auto-attack): its standard version then attacks the same images, and the record
says image by image whom only one of the two broke. Our own warnings are printed with the number.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from peers import PixelsIn
from record import interval, record
from torch import Tensor

from convscope import defenses
from convscope.data import open_dataset
from convscope.models import load
from convscope.robustness import certify, compare_defenses, evaluate

EPSILON = 0.3

PUBLISHED = {
    "source": "Jeong and Shin, Consistency Regularization for Certified Robustness of Smoothed "
    "Classifiers, NeurIPS 2020: the authors' logs, MNIST, sigma 0.5, lambda 5, 100,000 draws, mean "
    "of 5 seeds, the same 500 test images",
    "certified_accuracy": {"0": 0.983, "0.75": 0.946, "1": 0.918, "1.25": 0.873, "1.5": 0.770},
    "Gaussian noise alone (Cohen et al., 2019)": {
        "0": 0.984, "0.75": 0.933, "1": 0.890, "1.25": 0.816, "1.5": 0.656
    },
}  # fmt: skip


def dry(name: str, figures: dict[str, Any], **context: Any) -> None:
    print(name, figures, context)


def warnings(found: Any) -> list[str]:
    """What the evaluation itself warns of, as sentences."""
    return [f"{check.name}: {check.sentence}" for check in found.checks if check.verdict == "warn"]


def official(
    robust: Any, images: Tensor, labels: Tensor, folder: Path, figures: dict[str, Any]
) -> Tensor:
    """AutoAttack (standard) by its authors: who still stands, and accuracies into the figures."""
    sys.path.insert(0, str(folder))
    from autoattack import AutoAttack

    attack = AutoAttack(
        PixelsIn(robust).eval(), norm="Linf", eps=EPSILON, version="standard", device="cpu", seed=0,
        verbose=False,
    )  # fmt: skip
    start = time.perf_counter()
    with torch.no_grad():
        standing = robust.logits(images).argmax(1) == labels
    accuracies = {"clean": int(standing.sum()) / len(images)}
    broken: dict[str, int] = {}
    for name in list(attack.attacks_to_run):
        rows = standing.nonzero()[:, 0]
        if not len(rows):
            break
        attack.attacks_to_run = [name]
        found = attack.run_standard_evaluation(images[rows], labels[rows].long(), bs=250)
        # Judged by one forward pass on what lies inside the ball to a rounding error of float32.
        with torch.no_grad():
            fell = robust.logits(found).argmax(1) != labels[rows]
        fell &= (found - images[rows]).abs().flatten(1).amax(dim=1) <= EPSILON + 1e-6
        standing[rows[fell]] = False
        broken[name] = int(fell.sum())
        accuracies[name] = int(standing.sum()) / len(images)
        print(
            "official", name, accuracies[name], f"{time.perf_counter() - start:.0f} s", flush=True
        )
    figures["official AutoAttack"] = {
        "images": len(images),
        "accuracy_after": accuracies,
        "broken": broken,
        "robust_accuracy": int(standing.sum()) / len(images),
        "interval": interval(int(standing.sum()), len(images)),
        "seconds": round(time.perf_counter() - start, 1),
    }
    return standing


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
    arguments.add_argument("--official", type=Path, help="folder of the authors' autoattack")
    arguments.add_argument("--official-images", type=int, default=1000)
    arguments.add_argument("--dry", action="store_true", help="do not write result files")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    save = dry if given.dry else record
    test = open_dataset("mnist", data_dir=given.data_dir).test
    images, labels = test.to_float(range(given.images)), test.labels[: given.images]
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
        save("fooling_defenses", tables, n=given.images, model=classifier.source, **context)
    if given.robust_model:
        robust = load(given.robust_model)
        found = evaluate(
            robust,
            images,
            labels,
            epsilon=EPSILON,
            effort=given.effort,
            generator=torch.Generator().manual_seed(0),
            on_rung=print,
        )
        figures = found.summary() | {"warnings": warnings(found)}
        if given.official:
            count = min(given.official_images, given.images)
            robust.module.eval().requires_grad_(False)
            standing = official(robust, images[:count], labels[:count], given.official, figures)
            mine = found.broken_by[:count] == -1
            figures["official AutoAttack"] |= {
                "ours_on_the_same_images": int(mine.sum()) / count,
                "broken_by_ours_alone": int((standing & ~mine).sum()),
                "broken_by_official_alone": int((mine & ~standing).sum()),
                "standing_after_both": int((mine & standing).sum()) / count,
                "interval_after_both": interval(int((mine & standing).sum()), count),
            }
        save("fooling_robust", figures, n=given.images, model=robust.source, **context)
        for line in figures["warnings"]:
            print("warning:", line)
    if given.smooth_model:
        smooth = load(given.smooth_model)
        # Every twentieth image, as is usual for certificates: the whole test set is covered.
        rows = range(0, len(test), max(1, len(test) // given.certified_images))
        certified = certify(
            smooth,
            test.to_float(rows),
            test.labels[list(rows)],
            sigma=0.5,
            draws=given.draws,
            generator=torch.Generator().manual_seed(0),
        )
        figures = certified.summary()
        figures["intervals"] = {
            radius: interval(round(share * len(rows)), len(rows))
            for radius, share in figures["certified_accuracy"].items()
        }
        figures["published"] = PUBLISHED
        save("fooling_smoothing", figures, n=len(rows), model=smooth.source, **context)


if __name__ == "__main__":
    main()
