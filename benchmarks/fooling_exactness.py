"""Pixels outside the declared ball or box, in exact arithmetic, and successes lost by saving.

    python benchmarks/fooling_exactness.py [--pixels 100000000] [--model runs/m --data-dir DIR]

Differences of float32 pixels are compared with epsilon exactly: the float64 difference and its
rounding error (Knuth's two-sum) together are the real number. 8-bit images are checked as
integers. Whether a pixel stays inside does not depend on the network, so most pixels are counted
with a small linear one on random images (half of them 8-bit) and random radii; with ``--model``,
MNIST images and a real network are counted, too, and the share of successes that saving loses.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from record import record
from torch import Tensor, nn

from convscope import attacks
from convscope.classifier import Classifier

SETTINGS: dict[str, dict[str, Any]] = {
    "fgsm": {},
    "pgd": {"steps": 4, "keep": "best"},
    "mi-fgsm": {"steps": 4},
    "apgd": {"steps": 4, "random_start": True},
    "square": {"queries": 4},
    "linf-gradient-ascent": {"steps": 3},
}


def outside_ball(x: Tensor, center: Tensor, epsilon: float) -> int:
    """Pixels whose real distance to `center` is larger than `epsilon`."""
    a, b = x.double(), -center.double()
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    size = total.abs()
    beyond = (size > epsilon) | ((size == epsilon) & (error * total.sign() > 0))
    return int(beyond.sum())


def outside_box(x: Tensor) -> int:
    return int((~((x >= 0) & (x <= 1))).sum())


def outside_bytes(saved: Tensor, center: Tensor, epsilon: float) -> int:
    """8-bit pixels that moved by more than ``epsilon`` of 255 levels; `center` is 8-bit, too."""
    levels = (center * 255).round().long()
    moved = (saved.long() - levels).abs()
    return int((moved.double() / 255 > epsilon).sum())


def count(
    classifier: Classifier, images: Tensor, labels: Tensor, epsilon: float, eight_bit: bool
) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    totals = {"pixels": 0, "outside_ball": 0, "outside_box": 0, "saved_outside_ball": 0}
    kept: dict[str, tuple[int, int]] = {}
    for name, settings in SETTINGS.items():
        result = attacks.ATTACKS[name](classifier, images, labels, epsilon=epsilon, **settings)
        totals["pixels"] += result.adversarials.numel()
        totals["outside_ball"] += outside_ball(result.adversarials, images, epsilon)
        totals["outside_box"] += outside_box(result.adversarials)
        if eight_bit:
            totals["saved_outside_ball"] += outside_bytes(result.saved, images, epsilon)
        kept[name] = (int((result.fooled & ~result.trivial).sum()), result.lost_by_saving)
    return totals, kept


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--pixels", type=int, default=100_000_000)
    arguments.add_argument("--model")
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--threads", type=int, default=2)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(784, 10)
    layer.weight.data = torch.randn(10, 784, generator=generator)
    classifier = Classifier.wrap(nn.Sequential(nn.Flatten(), layer), input_shape=(1, 28, 28))
    figures: dict[str, Any] = {"pixels": 0, "outside_ball": 0, "outside_box": 0}
    figures["saved_outside_ball"] = 0
    start, batch = time.perf_counter(), 0
    while figures["pixels"] < given.pixels:
        images = torch.rand(500, 1, 28, 28, generator=generator)
        eight_bit = batch % 2 == 0
        if eight_bit:
            images = (images * 255).round() / 255
        labels = torch.randint(0, 10, (500,), generator=generator)
        drawn = float(torch.rand((), generator=generator, dtype=torch.float64))
        epsilon = int(1 + 64 * drawn) / 255 if batch % 3 == 0 else drawn / 2
        totals, _ = count(classifier, images, labels, epsilon, eight_bit)
        for key, value in totals.items():
            figures[key] += value
        batch += 1
    if given.model:
        figures["mnist"] = on_mnist(given.model, given.data_dir)
    figures["seconds"] = time.perf_counter() - start
    record("fooling_exactness", figures, n=figures["pixels"], threads=given.threads)


def on_mnist(model: str, data_dir: Path | None) -> dict[str, Any]:
    from convscope.data import open_dataset
    from convscope.models import load

    network = load(model)
    split = open_dataset("mnist", data_dir=data_dir).test
    images, labels = split.to_float(range(500)), split.labels[:500]
    shares: dict[str, Any] = {}
    for epsilon in (0.1, 0.3, 32 / 255):
        totals, kept = count(network, images, labels, epsilon, True)
        shares[f"epsilon {epsilon:.4g}"] = totals | {
            name: {"fooled": fooled, "lost_by_saving": lost}
            for name, (fooled, lost) in kept.items()
        }
    return shares


if __name__ == "__main__":
    main()
