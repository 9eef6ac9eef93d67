"""Successes that saving as 8-bit images loses, for every attack: by nearest rounding, and as saved.

    python benchmarks/fooling_saved.py --data-dir DIR [--mnist runs/m] [--cifar10 runs/c]

*Nearest* is the float image rounded to the nearest gray levels inside the ball; *saved* is what a
result holds, after `convscope.attacks` has moved the gray levels that win the success back. Both
are judged by the network on the bytes. Distances are medians over fooled rows.
"""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

import torch
from record import record
from torch import Tensor

from convscope.ascent import box, l2_ball, linf_ball
from convscope.attacks import ATTACKS, AttackResult
from convscope.classifier import Classifier
from convscope.data import open_dataset
from convscope.models import load

SETTINGS: dict[str, dict[str, Any]] = {
    "square": {"queries": 500},
    "carlini-wagner": {"steps": 50, "search_steps": 4},
    "fab": {"steps": 30, "classes": 3},
    "apgd-targeted": {"steps": 30, "classes": 3},
    "auto-attack": {"steps": 30, "classes": 3, "queries": 500},
}
RADII = {"mnist": {"linf": 0.3, "l2": 2.0}, "cifar10": {"linf": 8 / 255, "l2": 0.5}}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--cifar10-dir", type=Path)
    arguments.add_argument("--mnist")
    arguments.add_argument("--cifar10")
    arguments.add_argument("--images", type=int, default=500)
    arguments.add_argument("--cifar10-images", type=int, default=200)
    arguments.add_argument("--threads", type=int, default=1)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    folders = {"mnist": given.data_dir, "cifar10": given.cifar10_dir or given.data_dir}
    counts = {"mnist": given.images, "cifar10": given.cifar10_images}
    figures: dict[str, Any] = {}
    for data, model in (("mnist", given.mnist), ("cifar10", given.cifar10)):
        if model is None:
            continue
        classifier = load(model)
        split = open_dataset(data, data_dir=folders[data]).test
        images, labels = split.to_float(range(counts[data])), split.labels[: counts[data]]
        figures[data] = {"images": counts[data], "model": classifier.source} | {
            f"{name} {norm}".strip(): row
            for name in ATTACKS
            for norm, row in judged(name, classifier, images, labels, RADII[data]).items()
        }
    record("fooling_saved", figures, n=counts, threads=given.threads)


def judged(
    name: str, classifier: Classifier, images: Tensor, labels: Tensor, radii: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """One row for each norm of a bounded attack, one for others."""
    attack = ATTACKS[name]
    parameters = inspect.signature(attack).parameters
    more = dict(SETTINGS.get(name, {}))
    if "generator" in parameters:
        more["generator"] = torch.Generator().manual_seed(0)
    if "targets" in parameters and parameters["targets"].default is inspect.Parameter.empty:
        more["targets"] = (labels + 1) % classifier.num_classes
    if "epsilon" not in parameters:
        return {"": row_of(classifier, attack(classifier, images, labels, **more), None)}
    rows = {}
    for norm, radius in radii.items():
        if norm == "linf" or "norm" in parameters:
            bound = {"norm": norm} if "norm" in parameters else {}
            result = attack(classifier, images, labels, epsilon=radius, **bound, **more)
            rows[norm] = row_of(classifier, result, radius)
    return rows


def row_of(classifier: Classifier, result: AttackResult, radius: float | None) -> dict[str, Any]:
    region = box()
    if radius is not None:
        region = (linf_ball if result.norm == "linf" else l2_ball)(result.originals, radius)
    nearest = region.nearest_bytes(result.adversarials)
    with classifier.probe() as probe:
        read = probe.logits(nearest.float() / 255)
    task = ~result.already_misclassified
    rows = torch.arange(len(result))
    success = result.success & task
    lost = success & ~result.criterion.is_adversarial(read, rows)
    still = success & ~result.success_quantized
    bytes_before = (result.originals * 255).round().long()
    moved = (result.quantized.long() - bytes_before).double() / 255
    outside = 0
    if radius is not None and result.norm == "linf":
        outside = int((moved.abs() > radius + 1e-12).sum())
    elif radius is not None:
        outside = int((moved.flatten(1).norm(dim=1) > radius + 1e-12).sum())
    count = max(int(success.sum()), 1)
    return {
        "fooled": int(success.sum()),
        "lost_nearest": int(lost.sum()),
        "share_lost_nearest": round(int(lost.sum()) / count, 4),
        "lost_saved": int(still.sum()),
        "share_lost_saved": round(int(still.sum()) / count, 4),
        "saved_outside": outside,
        "median_l2": _median(result.distance("l2")[success]),
        "median_l2_saved": _median(moved.flatten(1).norm(dim=1)[success]),
        "forwards_per_image": round(result.cost.forwards / len(result), 3),
        "backwards_per_image": round(result.cost.backwards / len(result), 3),
    }


def _median(values: Tensor) -> float | None:
    return round(float(values.double().median()), 5) if len(values) else None


if __name__ == "__main__":
    main()
