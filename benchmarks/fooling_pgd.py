"""PGD-40 on MNIST against five libraries and plain torch, undefended and robust network in one row.

    python benchmarks/fooling_pgd.py --model runs/m --robust-model runs/r --data-dir DIR
        [--images 1000] [--threads 2]

All attack the same images with epsilon 0.3, step 0.01, 40 steps and no random start. The network
is frozen and peers are called on chunks of `--rows` images, which stay in the cache. Passes per
image are counted by a hook on the last layer and another on its output's gradient, the same for
everyone; success is judged by the same forward pass on what each returns. Pixels outside the ball
are counted in float64, with the largest distance by which they leave it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import PixelsIn, in_rows, torch_pgd, unused_may_be_missing
from record import interleaved, interval, record, times_faster
from torch import Tensor, nn

from convscope.attacks import pgd
from convscope.data import open_dataset
from convscope.models import load
from convscope.training import tune_allocator

EPSILON, STEP, STEPS = 0.3, 0.01, 40
Attack = Callable[[Tensor, Tensor], Tensor]


def by_convscope(classifier: Any) -> Attack:
    def run(images: Tensor, labels: Tensor) -> Tensor:
        return pgd(
            classifier, images, labels, epsilon=EPSILON, step_size=STEP, steps=STEPS
        ).adversarials

    return run


def by_torch(classifier: Any, rows: int) -> Attack:
    return lambda images, labels: torch_pgd(
        classifier, images, labels, epsilon=EPSILON, step=STEP, steps=STEPS, rows=rows
    )


def by_advlib(net: nn.Module) -> Attack:
    with unused_may_be_missing():
        from adv_lib.attacks import pgd_linf

    return lambda images, labels: pgd_linf(
        net, images, labels, EPSILON, steps=STEPS, random_init=False, absolute_step_size=STEP
    )


def by_secml(net: nn.Module, rows: int) -> Attack:
    from secmlt.adv.evasion.pgd import PGDNative
    from secmlt.models.pytorch.base_pytorch_nn import BasePyTorchClassifier
    from torch.utils.data import DataLoader, TensorDataset

    attack = PGDNative("linf", EPSILON, STEPS, STEP, random_start=False)

    def run(images: Tensor, labels: Tensor) -> Tensor:
        loader = DataLoader(TensorDataset(images, labels), batch_size=rows)
        found = attack(BasePyTorchClassifier(net), loader)
        return torch.cat([batch[0] for batch in found]).detach()

    return run


def by_torchattack(net: nn.Module) -> Attack:
    with unused_may_be_missing():
        from torchattack import PGD

    attack = PGD(
        net, normalize=lambda x: x, device=torch.device("cpu"),
        eps=EPSILON, steps=STEPS, alpha=STEP, random_start=False,
    )  # fmt: skip
    return lambda images, labels: attack(images, labels).detach()


def by_foolbox(net: nn.Module) -> Attack:
    import foolbox

    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=STEPS, random_start=False)
    return lambda images, labels: attack(
        model, images, foolbox.criteria.Misclassification(labels), epsilons=EPSILON
    )[1]


def by_torchattacks(net: nn.Module) -> Attack:
    import torchattacks

    attack = torchattacks.PGD(net, eps=EPSILON, alpha=STEP, steps=STEPS, random_start=False)
    return lambda images, labels: attack(images, labels)


def by_art(net: nn.Module, rows: int) -> Attack:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    estimator = PyTorchClassifier(
        net, nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = ProjectedGradientDescentPyTorch(
        estimator, eps=EPSILON, eps_step=STEP, max_iter=STEPS, batch_size=rows, verbose=False
    )
    return lambda images, labels: torch.from_numpy(
        attack.generate(images.numpy(), np.eye(10, dtype=np.float32)[labels.numpy()])
    )


def passes(last: nn.Module, run: Callable[[], Tensor], count: int) -> tuple[float, float, Tensor]:
    """Rows through the last layer and rows of gradient out of it, per image; and what came out."""
    rows = [0, 0]

    def forward(module: nn.Module, inputs: Any, output: Tensor) -> None:
        rows[0] += len(output)
        if output.requires_grad:
            output.register_hook(lambda gradient: rows.__setitem__(1, rows[1] + len(gradient)))

    handle = last.register_forward_hook(forward)
    try:
        found = run()
    finally:
        handle.remove()
    return rows[0] / count, rows[1] / count, found


def last_layer(module: nn.Module) -> nn.Module:
    return [child for child in module.modules() if isinstance(child, nn.Linear | nn.Conv2d)][-1]


def frozen(name: str) -> Any:
    """The classifier, evaluating and frozen: no library computes gradients of weights."""
    classifier = load(name)
    classifier.module.eval().requires_grad_(False)
    return classifier


def measure(
    classifier: Any, images: Tensor, labels: Tensor, rows: int, repeats: int
) -> dict[str, Any]:
    """All contestants on one network."""
    net = PixelsIn(classifier).eval()
    attacks = {
        "convscope": by_convscope(classifier),
        "torch, whole chunks stop": by_torch(classifier, rows),
        "adv-lib": in_rows(by_advlib(net), rows),
        "secml-torch": by_secml(net, rows),
        "torchattack": in_rows(by_torchattack(net), rows),
        "foolbox": in_rows(by_foolbox(net), rows),
        "torchattacks": in_rows(by_torchattacks(net), rows),
        "art": by_art(net, rows),
    }
    last = last_layer(classifier.module)
    found: dict[str, Any] = {}
    for name, attack in attacks.items():
        # This run also warms up.
        forwards, backwards, adversarials = passes(
            last, lambda a=attack: a(images, labels), len(images)
        )
        with torch.no_grad():
            right = int((classifier.logits(adversarials).argmax(1) == labels).sum())
        beyond = (adversarials.double() - images.double()).abs() - EPSILON
        found[name] = {
            "forwards_per_image": round(forwards, 3),
            "backwards_per_image": round(backwards, 3),
            "accuracy_after": right / len(images),
            "interval": interval(right, len(images)),
            "pixels_outside": int((beyond > 0).sum()),
            "outside_by_at_most": max(0.0, float(beyond.max())),
        }
        print(name, found[name], flush=True)
    if repeats:
        times = interleaved(
            {name: (lambda a=attack: a(images, labels)) for name, attack in attacks.items()},
            repeats=repeats,
            warmup=0,
        )
        for name, time in times.items():
            found[name] |= time
        found["times_faster"] = times_faster(times, "convscope")
        seconds = {name: time["seconds"] for name, time in times.items() if name != "convscope"}
        found["fastest_peer_wall_clock / ours"] = round(
            min(seconds.values()) / times["convscope"]["seconds"], 3
        )
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--robust-model", required=True)
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--images", type=int, default=1000)
    arguments.add_argument("--rows", type=int, default=128, help="images per call of a peer")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--repeats", type=int, default=3, help="0 counts passes only")
    arguments.add_argument("--dry", action="store_true", help="do not write the result file")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    tune_allocator()  # As the command line does; it serves all contestants alike.
    split = open_dataset("mnist", data_dir=given.data_dir).test
    images, labels = split.to_float(range(given.images)), split.labels[: given.images].long()
    figures, models = {}, {}
    for kind, name in (("undefended", given.model), ("robust", given.robust_model)):
        classifier = frozen(name)
        models[kind] = classifier.source
        print(kind)
        figures[kind] = measure(classifier, images, labels, given.rows, given.repeats)
    if not given.dry:
        record(
            "fooling_pgd",
            figures,
            peers=("adv-lib", "secml-torch", "torchattack", "foolbox", "torchattacks",
                   "adversarial-robustness-toolbox"),
            n=given.images,
            threads=given.threads,
            rows=given.rows,
            models=models,
            settings={"epsilon": EPSILON, "step_size": STEP, "steps": STEPS, "random_start": False},
        )  # fmt: skip


if __name__ == "__main__":
    main()
