"""What does safety cost? Three headline ratios before and after a change, and what proofs cost.

Run: python benchmarks/safety_cost.py --before DIRECTORY_OF_OLD_SRC --data-dir DATA [--rounds 5]

Ours runs on the own network mnist-conv2-fc (shipped), each peer at its best in the same process:
PGD-40 against an expert's loop (frozen network, chunks of 128, rows that fool leave their chunk's
loop only together), occlusion of all classes against Captum with the target left out (one call,
perturbations_per_eval tuned), ten class images against a plain batch of ten. The old and the new
source run in turns in fresh processes; the ratio is peer by ours, and the change compares ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

EPSILON, STEP, STEPS, GROWN = 0.3, 0.01, 40, 100


def pair(ours: Callable[[], Any], peer: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median CPU seconds of both, in turns after one warm-up."""
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for turn in range(repeats + 1):
        for name, run in (("ours", ours), ("peer", peer)):
            start = time.process_time()
            run()
            if turn:
                seconds[name].append(time.process_time() - start)
    ours_, peer_ = (statistics.median(seconds[k]) for k in ("ours", "peer"))
    return {"ours": ours_, "peer": peer_, "ratio": peer_ / ours_}


def expert_pgd(classifier: Any, images: Tensor, labels: Tensor) -> Tensor:
    """The loop of somebody who knows: frozen, chunked, stopped once all of a chunk are fooled."""
    module = classifier.module
    done = []
    for start in range(0, len(images), 128):
        x0, y = images[start : start + 128], labels[start : start + 128]
        low, high = (x0 - EPSILON).clamp(0, 1), (x0 + EPSILON).clamp(0, 1)
        x = x0.clone()
        for _ in range(STEPS):
            x.requires_grad_(True)
            logits = module(classifier.prepare(x))
            if bool((logits.argmax(1) != y).all()):
                break
            loss = nn.functional.cross_entropy(logits, y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x)
            x = torch.min(torch.max(x.detach() + STEP * gradient.sign(), low), high)
        done.append(x.detach())
    return torch.cat(done)


def plain_batch(classifier: Any) -> Tensor:
    """Ten class images as one batch: Adam on the pixels, gradients of the pixels alone."""
    image = (0.5 + 0.05 * torch.randn(10, *classifier.input_shape)).clamp(0, 1).requires_grad_(True)
    optimizer = torch.optim.Adam([image], lr=0.05)
    pick = torch.arange(10)
    for _ in range(GROWN):
        loss = -classifier.module(classifier.prepare(image))[pick, pick].sum()
        (image.grad,) = torch.autograd.grad(loss, image)
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    return image.detach()


def measure(data_dir: str, repeats: int) -> dict[str, Any]:
    """The three ratios with whichever convscope is imported."""
    from captum.attr import Occlusion

    import convscope
    from convscope.attacks import pgd
    from convscope.explanations import occlusion
    from convscope.visualizations import VISUALIZATION_RECIPES, class_images

    torch.set_num_threads(1)
    classifier = convscope.load("mnist-conv2-fc")
    classifier.module.eval().requires_grad_(False)
    data = convscope.open_dataset("mnist", data_dir=data_dir, offline=True)
    images, labels = data.test.to_float(range(1000)), data.test.labels[:1000].long()
    few = images[:16]
    found: dict[str, Any] = {
        "PGD-40, 1,000 images, against an expert's loop": pair(
            lambda: pgd(classifier, images, labels, epsilon=EPSILON, step_size=STEP, steps=STEPS),
            lambda: expert_pgd(classifier, images, labels),
            repeats,
        )
    }
    captum = Occlusion(classifier.logits)
    for window, stride in ((12, 4), (14, 7)):
        given = {
            "sliding_window_shapes": (1, window, window), "strides": (1, stride, stride),
            "baselines": 0.5, "perturbations_per_eval": 8,
        }  # fmt: skip
        found[f"occlusion {window}/{stride}, all classes, against Captum's one call"] = pair(
            lambda w=window, s=stride: occlusion(
                classifier, few, "all", window=w, stride=s, fill=0.5
            ),
            lambda g=given: captum.attribute(few, **g),
            repeats,
        )
    recipe = VISUALIZATION_RECIPES["noise-adam"](steps=GROWN)
    found["ten class images, 100 steps, against a plain batch"] = pair(
        lambda: class_images(classifier, recipe=recipe, control=False),
        lambda: plain_batch(classifier),
        repeats,
    )
    return found


def proofs(hub: str | None) -> dict[str, Any]:
    """What a foreign network pays: wrapping with and without proof, and opening a Probe."""
    import convscope
    from convscope import Classifier, fast_paths

    class Tutorial(nn.Module):
        """The network of many tutorials."""

        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
            self.fc1, self.fc2 = nn.Linear(1600, 128), nn.Linear(128, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
            x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
            return self.fc2(torch.relu(self.fc1(x.flatten(1))))

    torch.set_num_threads(1)
    cases: dict[str, Any] = {"tutorial network, 28 px": (Tutorial(), (1, 28, 28), {})}
    if hub:
        loaded = convscope.load(f"hf:{hub}")
        cases["MobileNetV2, 224 px"] = (
            loaded.module, loaded.input_shape,
            {"mean": loaded.mean, "std": loaded.std, "output": loaded.output},
        )  # fmt: skip
    rows = {}
    for name, (module, shape, given) in cases.items():
        count = 64 if shape[1] < 64 else 8
        images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
        wraps: dict[bool, list[float]] = {True: [], False: []}
        runs: dict[bool, list[float]] = {True: [], False: []}
        opens: list[float] = []
        for _ in range(7):
            for on in (True, False):
                with fast_paths(on):
                    start = time.process_time()
                    classifier = Classifier.wrap(module, input_shape=shape, **given)
                    wraps[on].append(time.process_time() - start)
                    with classifier.probe() as probe:
                        start = time.process_time()
                        probe.gradient(images, lambda x, z, rows: z[:, 0])
                        runs[on].append(time.process_time() - start)
            start = time.process_time()
            with classifier.probe():
                opens.append(time.process_time() - start)
        rows[name] = {
            "path": classifier.describe()["execution"],
            "wrap, seconds": _late(wraps[True]),
            "wrap without proof, seconds": _late(wraps[False]),
            "opening a Probe, seconds": _late(opens),
            f"gradient of {count} images, seconds": _late(runs[True]),
            f"gradient of {count} images on the plain path, seconds": _late(runs[False]),
        }
    return rows


def _late(values: list[float]) -> float:
    """The median without the first two, which warm up."""
    return statistics.median(values[2:])


def main() -> None:
    """Run old and new in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--hub", help="folder of an image classifier in transformers' format")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", action="store_true")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.data_dir, options.repeats)))
        return
    from record import record

    import convscope

    sources = {"after": str(Path(convscope.__file__).parents[1])}
    if options.before:
        sources = {"before": options.before, **sources}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in sources}
    for _ in range(options.rounds):
        for name, source in sources.items():
            environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, "--child", "--data-dir", options.data_dir]
            command += ["--repeats", str(options.repeats)]
            done = subprocess.run(command, env=environment, capture_output=True, check=True)
            rounds[name].append(json.loads(done.stdout.splitlines()[-1]))
    figures: dict[str, Any] = {}
    for title in rounds["after"][0]:
        entry: dict[str, Any] = {}
        for name, found in rounds.items():
            ratios = sorted(row[title]["ratio"] for row in found)
            entry[name] = {
                "peer / ours": statistics.median(ratios),
                "smallest": ratios[0],
                "largest": ratios[-1],
                "seconds, ours": statistics.median(row[title]["ours"] for row in found),
                "seconds, peer": statistics.median(row[title]["peer"] for row in found),
            }
        if "before" in entry:
            entry["after / before"] = entry["after"]["peer / ours"] / entry["before"]["peer / ours"]
        figures[title] = entry
    figures["foreign networks"] = proofs(options.hub)
    record(
        "safety_cost", figures, peers=("captum",), threads=1, rounds=options.rounds,
        repeats=options.repeats, seconds="CPU time of the process",
    )  # fmt: skip


if __name__ == "__main__":
    main()
