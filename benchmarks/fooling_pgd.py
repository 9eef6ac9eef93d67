"""PGD-40 on MNIST against Foolbox, torchattacks and ART, in one process.

    python benchmarks/fooling_pgd.py --model runs/m --data-dir DIR [--images 1000] [--threads 2]

All four attack the same images with epsilon 0.3, step 0.01, 40 steps and no random start. Passes
per image are counted by a hook on the last layer and another on its output's gradient, the same
for everyone; success is judged by the same forward pass on what each returns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import interleaved, record
from torch import Tensor, nn

from convscope.attacks import pgd
from convscope.data import open_dataset
from convscope.models import load
from convscope.training import tune_allocator

EPSILON, STEP, STEPS = 0.3, 0.01, 40
Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


class Normalized(nn.Module):
    """The plain module that other libraries attack: pixels in, logits out."""

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier, self.module = classifier, classifier.module

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.classifier.logits(images)


def by_convscope(classifier: Any) -> Callable[[Tensor, Tensor], Tensor]:
    def run(images: Tensor, labels: Tensor) -> Tensor:
        return pgd(
            classifier, images, labels, epsilon=EPSILON, step_size=STEP, steps=STEPS
        ).adversarials

    return run


def by_foolbox(net: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    import foolbox

    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=False)
    return lambda images, labels: attack(
        model, images, foolbox.criteria.Misclassification(labels), epsilons=EPSILON
    )[1]


def by_torchattacks(net: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    import torchattacks

    attack = torchattacks.PGD(net, eps=EPSILON, alpha=STEP, steps=STEPS, random_start=False)
    return lambda images, labels: attack(images, labels)


def by_art(net: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    estimator = PyTorchClassifier(
        net, nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = ProjectedGradientDescentPyTorch(
        estimator, eps=EPSILON, eps_step=STEP, max_iter=STEPS, batch_size=1000, verbose=False
    )
    return lambda images, labels: torch.from_numpy(
        attack.generate(images.numpy(), np.eye(10, dtype=np.float32)[labels.numpy()])
    )


def passes(last: nn.Module, run: Callable[[], Tensor], count: int) -> tuple[float, float]:
    """Rows through the last layer and rows of gradient out of it, per image."""
    rows = [0, 0]

    def forward(module: nn.Module, inputs: Any, output: Tensor) -> None:
        rows[0] += len(output)
        if output.requires_grad:
            output.register_hook(lambda gradient: rows.__setitem__(1, rows[1] + len(gradient)))

    handle = last.register_forward_hook(forward)
    try:
        run()
    finally:
        handle.remove()
    return rows[0] / count, rows[1] / count


def last_layer(module: nn.Module) -> nn.Module:
    return [child for child in module.modules() if isinstance(child, nn.Linear | nn.Conv2d)][-1]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--images", type=int, default=1000)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--tuned-allocator", action="store_true")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    if given.tuned_allocator:  # As the command line does; it serves all contestants alike.
        tune_allocator()
    classifier = load(given.model)
    split = open_dataset("mnist", data_dir=given.data_dir).test
    images, labels = split.floats(range(given.images)), split.labels[: given.images]
    classifier.module.eval()
    net = Normalized(classifier).eval()
    attacks = {
        "convscope": by_convscope(classifier),
        "foolbox": by_foolbox(net),
        "torchattacks": by_torchattacks(net),
        "art": by_art(net),
    }
    last = last_layer(classifier.module)
    figures: dict[str, Any] = {}
    for name, attack in attacks.items():
        forwards, backwards = passes(last, lambda a=attack: a(images, labels), len(images))
        adversarials = attack(images, labels)
        with torch.no_grad():
            wrong = classifier.logits(adversarials).argmax(1) != labels
        outside = ((adversarials.double() - images.double()).abs() > EPSILON).sum()
        figures[name] = {
            "forwards_per_image": forwards,
            "backwards_per_image": backwards,
            "wrong_after": float(wrong.double().mean()),
            "pixels_outside": int(outside),
        }
    times = interleaved(
        {name: (lambda a=attack: a(images, labels)) for name, attack in attacks.items()},
        repeats=given.repeats,
    )
    for name, time in times.items():
        figures[name] |= time
    peers = [name for name in attacks if name != "convscope"]
    for unit in ("seconds", "cpu_seconds"):
        fastest = min(figures[name][unit] for name in peers)
        figures[f"times_faster_than_fastest_peer_{unit}"] = fastest / figures["convscope"][unit]
    record(
        "fooling_pgd",
        figures,
        peers=("foolbox", "torchattacks", "adversarial-robustness-toolbox"),
        n=given.images,
        threads=given.threads,
        model=classifier.source,
        settings={"epsilon": EPSILON, "step_size": STEP, "steps": STEPS, "random_start": False},
    )


if __name__ == "__main__":
    main()
