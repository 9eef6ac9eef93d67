"""APGD, accuracy curves and minimal perturbations against published implementations.

    python benchmarks/fooling_peers.py --model runs/m [--robust-model runs/r] --data-dir DIR

Sections: `apgd` (APGD-CE-100, 1,000 images, against torchattacks), `apgd_robust` (the same on an
adversarially trained network), `curve` (ten epsilons, against Foolbox with the same ten) and
`minimal` (DDN-100 and DeepFool on 256 images, against adv-lib and Foolbox).
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fooling_pgd import Normalized, last_layer, passes
from record import interleaved, record
from torch import Tensor

from convscope import attacks
from convscope.data import open_dataset
from convscope.models import load
from convscope.robustness import curve
from convscope.training import tune_allocator

EPSILON = 0.3
GRID = [0.03 * k for k in range(1, 11)]


def accuracy(classifier: Any, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        logits = torch.cat([classifier.logits(part) for part in images.split(250)])
    return float((logits.argmax(1) == labels).double().mean())


def apgd(classifier: Any, images: Tensor, labels: Tensor, repeats: int) -> dict[str, Any]:
    import torchattacks

    net = Normalized(classifier).eval()
    theirs = torchattacks.APGD(net, norm="Linf", eps=EPSILON, steps=100, n_restarts=1, loss="ce")
    run: dict[str, Callable[[], Tensor]] = {
        "convscope": lambda: (
            attacks.apgd(classifier, images, labels, epsilon=EPSILON, steps=100).adversarials
        ),
        "torchattacks": lambda: theirs(images, labels),
    }
    figures: dict[str, Any] = {}
    last = last_layer(classifier.module)
    for name, attack in run.items():
        forwards, backwards = passes(last, attack, len(images))
        figures[name] = {
            "forwards_per_image": forwards,
            "backwards_per_image": backwards,
            "robust_accuracy": accuracy(classifier, attack(), labels),
        }
    for name, time in interleaved(run, repeats=repeats, warmup=0).items():
        figures[name] |= time
    figures["times_faster"] = figures["torchattacks"]["seconds"] / figures["convscope"]["seconds"]
    return figures


def curves(classifier: Any, images: Tensor, labels: Tensor, repeats: int) -> dict[str, Any]:
    import foolbox

    net = Normalized(classifier).eval()
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / 40, steps=40, random_start=False)
    criterion = foolbox.criteria.Misclassification(labels)
    kept: dict[str, Any] = {}

    def ours() -> Tensor:
        kept["convscope"] = curve(classifier, images, labels, epsilons=GRID, steps=40).accuracies[
            1:
        ]
        return images

    def theirs() -> Tensor:
        fooled = attack(model, images, criterion, epsilons=GRID)[2]
        kept["foolbox"] = 1 - fooled.double().mean(dim=1)
        return images

    figures: dict[str, Any] = {}
    last = last_layer(classifier.module)
    run = {"convscope": ours, "foolbox": theirs}
    for name, one in run.items():
        forwards, backwards = passes(last, one, len(images))
        figures[name] = {
            "forwards_per_image": forwards,
            "backwards_per_image": backwards,
            "accuracies": kept[name].tolist(),
        }
    for name, time in interleaved(run, repeats=repeats, warmup=0).items():
        figures[name] |= time
    figures["times_faster"] = figures["foolbox"]["seconds"] / figures["convscope"]["seconds"]
    figures["largest_difference"] = float((kept["convscope"] - kept["foolbox"]).abs().max())
    return figures


def adv_lib_ddn() -> Callable[..., Tensor]:
    """adv-lib's DDN; what it imports along and does not use may be missing."""
    missing = [name for name in ("torchvision", "visdom") if importlib.util.find_spec(name) is None]
    for library in missing:
        for name in (library, f"{library}.models"):
            sys.modules[name] = types.ModuleType(name)
            vars(sys.modules[name])["__getattr__"] = lambda attribute: object
    from adv_lib.attacks import ddn

    return ddn


def minimal(classifier: Any, images: Tensor, labels: Tensor, repeats: int) -> dict[str, Any]:
    ddn = adv_lib_ddn()
    import foolbox

    net = Normalized(classifier).eval()
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.Misclassification(labels)
    run: dict[str, Callable[[], Tensor]] = {
        "ddn convscope": lambda: attacks.ddn(classifier, images, labels).adversarials,
        "ddn adv-lib": lambda: ddn(net, images, labels, steps=100),
        "ddn foolbox": lambda: foolbox.attacks.DDNAttack(steps=100)(
            model, images, criterion, epsilons=None
        )[1],
        "deepfool convscope": lambda: attacks.deepfool(classifier, images, labels).adversarials,
        "deepfool foolbox": lambda: foolbox.attacks.L2DeepFoolAttack(steps=50)(
            model, images, criterion, epsilons=None
        )[1],
        "carlini-wagner convscope": lambda: (
            attacks.carlini_wagner(classifier, images[:32], labels[:32]).adversarials
        ),
    }
    figures: dict[str, Any] = {}
    last = last_layer(classifier.module)
    for name, attack in run.items():
        found: list[Tensor] = []
        count = min(32, len(images)) if "wagner" in name else len(images)
        forwards, backwards = passes(last, lambda a=attack, f=found: f.append(a()), count)
        moved = (found[0].double() - images[:count].double()).flatten(1).norm(dim=1)
        with torch.no_grad():
            wrong = classifier.logits(found[0]).argmax(1) != labels[:count]
        figures[name] = {
            "forwards_per_image": forwards,
            "backwards_per_image": backwards,
            "success": float(wrong.double().mean()),
            "median_l2": float(torch.where(wrong, moved, torch.inf).quantile(0.5)),
        }
    run.pop("carlini-wagner convscope")
    for name, time in interleaved(run, repeats=repeats, warmup=0).items():
        figures[name] |= time
    best = min(figures[name]["median_l2"] for name in ("ddn adv-lib", "ddn foolbox"))
    figures["ddn_median_over_best_peer"] = figures["ddn convscope"]["median_l2"] / best
    figures["deepfool_median_over_foolbox"] = (
        figures["deepfool convscope"]["median_l2"] / figures["deepfool foolbox"]["median_l2"]
    )
    return figures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--robust-model")
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--images", type=int, default=1000)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--sections", default="apgd,apgd_robust,curve,minimal")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    tune_allocator()  # As the command line does; it serves all contestants alike.
    classifier = load(given.model)
    classifier.module.eval()
    split = open_dataset("mnist", data_dir=given.data_dir).test
    images, labels = split.floats(range(given.images)), split.labels[: given.images]
    few = min(256, given.images)
    sections = given.sections.split(",")
    for section in sections:
        if section == "apgd":
            figures = apgd(classifier, images, labels, given.repeats)
        elif section == "apgd_robust":
            if not given.robust_model:
                continue
            robust = load(given.robust_model)
            robust.module.eval()
            figures = apgd(robust, images, labels, given.repeats)
        elif section == "curve":
            figures = curves(classifier, images, labels, given.repeats)
        else:
            figures = minimal(classifier, images[:few], labels[:few], given.repeats)
        record(
            f"fooling_{section}",
            figures,
            peers=("foolbox", "torchattacks", "adv-lib"),
            n=few if section == "minimal" else given.images,
            threads=given.threads,
            model=given.robust_model if section == "apgd_robust" else classifier.source,
        )


if __name__ == "__main__":
    main()
