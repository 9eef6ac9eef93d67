"""APGD, accuracy curves and minimal perturbations against published implementations.

    python benchmarks/fooling_peers.py --model runs/m --robust-model runs/r --data-dir DIR
        [--sections apgd,curve,minimal]

Undefended and adversarially trained network in one record. Sections: `apgd` (APGD-CE-100, against
torchattacks and adv-lib), `curve` (accuracy at ten epsilons, against one run of a minimum-norm
attack, FMN with 100 steps, of Foolbox and adv-lib, which gives the whole curve; and against ten
runs of Foolbox's PGD-40, counted and not timed) and `minimal` (DDN-100 and DeepFool on at most 256
images, against adv-lib and Foolbox). Networks are frozen; peers get chunks of `--rows` images.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fooling_pgd import Attack, frozen, last_layer, passes
from peers import PixelsIn, in_rows, unused_may_be_missing
from record import interleaved, interval, record, times_faster
from torch import Tensor

from convscope import attacks
from convscope.data import open_dataset
from convscope.robustness import curve
from convscope.training import tune_allocator

EPSILON = 0.3
GRID = [0.03 * k for k in range(1, 11)]


@torch.no_grad()
def right_after(classifier: Any, images: Tensor, labels: Tensor) -> Tensor:
    logits = torch.cat([classifier.logits(part) for part in images.split(250)])
    return logits.argmax(1) == labels


def timed(
    figures: dict[str, Any], run: dict[str, Callable[[], Any]], ours: str, repeats: int
) -> None:
    """Add times, and how many times faster ours is, to the figures."""
    if not repeats:
        return
    times = interleaved(run, repeats=repeats, warmup=0)
    for name, time in times.items():
        figures[name] |= time
    figures[f"times_faster, {ours}"] = times_faster(times, ours)


def apgd(classifier: Any, images: Tensor, labels: Tensor, rows: int, repeats: int) -> Any:
    import torchattacks

    with unused_may_be_missing():
        from adv_lib.attacks import apgd as advlib_apgd

    net = PixelsIn(classifier).eval()
    theirs = torchattacks.APGD(net, norm="Linf", eps=EPSILON, steps=100, n_restarts=1, loss="ce")

    def advlib(x: Tensor, y: Tensor) -> Tensor:
        return advlib_apgd(net, x, y, EPSILON, float("inf"), n_iter=100, loss_function="ce")

    def libraries(attack: Attack) -> Callable[[], Tensor]:
        return lambda: in_rows(attack, rows)(images, labels)

    run: dict[str, Callable[[], Tensor]] = {
        "convscope": lambda: (
            attacks.apgd(classifier, images, labels, epsilon=EPSILON, steps=100).adversarials
        ),
        "torchattacks": libraries(theirs),
        "adv-lib": libraries(advlib),
    }
    figures: dict[str, Any] = {}
    last = last_layer(classifier.module)
    for name, attack in run.items():
        forwards, backwards, found = passes(last, attack, len(images))
        right = int(right_after(classifier, found, labels).sum())
        figures[name] = {
            "forwards_per_image": round(forwards, 3),
            "backwards_per_image": round(backwards, 3),
            "robust_accuracy": right / len(images),
            "interval": interval(right, len(images)),
        }
        print(name, figures[name], flush=True)
    timed(figures, run, "convscope", repeats)
    return figures


def curves(classifier: Any, images: Tensor, labels: Tensor, rows: int, repeats: int) -> Any:
    import foolbox

    with unused_may_be_missing():
        from adv_lib.attacks import fmn

    net = PixelsIn(classifier).eval()
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    pgd = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / 40, steps=40, random_start=False)
    minimum = foolbox.attacks.LInfFMNAttack(steps=100)
    kept: dict[str, list[float]] = {}

    def ours() -> None:
        found = curve(classifier, images, labels, epsilons=GRID, steps=40)
        kept["convscope"] = found.accuracies[1:].tolist()

    def ten_runs() -> None:
        criterion = foolbox.criteria.Misclassification(labels)
        fooled = pgd(model, images, criterion, epsilons=GRID)[2]
        kept["foolbox, ten runs of PGD-40"] = (1 - fooled.double().mean(dim=1)).tolist()

    def from_distances(name: str, attack: Attack) -> Callable[[], None]:
        """Accuracy at epsilon: the share of images whose smallest change found is larger."""

        def run() -> None:
            found = in_rows(attack, rows)(images, labels)
            moved = (found.double() - images.double()).abs().flatten(1).amax(dim=1)
            smallest = torch.where(right_after(classifier, found, labels), torch.inf, moved)
            # Rounding of float32 is not held against anybody.
            accuracies = [float((smallest > epsilon + 1e-6).double().mean()) for epsilon in GRID]
            kept[name] = accuracies

        return run

    def by_foolbox(x: Tensor, y: Tensor) -> Tensor:
        return minimum(model, x, foolbox.criteria.Misclassification(y), epsilons=None)[1]

    def by_advlib(x: Tensor, y: Tensor) -> Tensor:
        return fmn(net, x, y, norm=float("inf"), steps=100)

    run: dict[str, Callable[[], None]] = {
        "convscope": ours,
        "foolbox, FMN-100": from_distances("foolbox, FMN-100", by_foolbox),
        "adv-lib, FMN-100": from_distances("adv-lib, FMN-100", by_advlib),
    }
    figures: dict[str, Any] = {"epsilons": [round(epsilon, 2) for epsilon in GRID]}
    last = last_layer(classifier.module)
    for name, one in (run | {"foolbox, ten runs of PGD-40": ten_runs}).items():
        forwards, backwards, _ = passes(last, one, len(images))  # type: ignore[arg-type]
        figures[name] = {
            "forwards_per_image": round(forwards, 3),
            "backwards_per_image": round(backwards, 3),
            "accuracies": [round(accuracy, 4) for accuracy in kept[name]],
        }
        print(name, figures[name], flush=True)
    timed(figures, run, "convscope", repeats)
    # Above 0: the other found adversarials that ours missed.
    mine = torch.tensor(kept["convscope"])
    figures["ours_minus_theirs_at_most"] = {
        name: round(float((mine - torch.tensor(theirs)).max()), 4)
        for name, theirs in kept.items()
        if name != "convscope"
    }
    figures["theirs_minus_ours_at_most"] = {
        name: round(float((torch.tensor(theirs) - mine).max()), 4)
        for name, theirs in kept.items()
        if name != "convscope"
    }
    return figures


def minimal(classifier: Any, images: Tensor, labels: Tensor, rows: int, repeats: int) -> Any:
    import foolbox

    with unused_may_be_missing():
        from adv_lib.attacks import ddn, df

    net = PixelsIn(classifier).eval()
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")

    def foolbox_attack(attack: Any) -> Callable[[], Tensor]:
        def run(x: Tensor, y: Tensor) -> Tensor:
            return attack(model, x, foolbox.criteria.Misclassification(y), epsilons=None)[1]

        return lambda: in_rows(run, rows)(images, labels)

    def advlib(attack: Any, **settings: Any) -> Callable[[], Tensor]:
        run = in_rows(lambda x, y: attack(net, x, y, **settings), rows)
        return lambda: run(images, labels).detach()

    families: dict[str, dict[str, Callable[[], Tensor]]] = {
        "ddn": {
            "ddn convscope": lambda: attacks.ddn(classifier, images, labels).adversarials,
            "ddn adv-lib": advlib(ddn, steps=100),
            "ddn foolbox": foolbox_attack(foolbox.attacks.DDNAttack(steps=100)),
        },
        "deepfool": {
            "deepfool convscope": lambda: attacks.deepfool(classifier, images, labels).adversarials,
            "deepfool adv-lib": advlib(df, steps=50),
            "deepfool foolbox": foolbox_attack(foolbox.attacks.L2DeepFoolAttack(steps=50)),
        },
    }
    figures: dict[str, Any] = {}
    last = last_layer(classifier.module)
    for family, run in families.items():
        for name, attack in run.items():
            forwards, backwards, found = passes(last, attack, len(images))
            moved = (found.double() - images.double()).flatten(1).norm(dim=1)
            wrong = ~right_after(classifier, found, labels)
            figures[name] = {
                "forwards_per_image": round(forwards, 3),
                "backwards_per_image": round(backwards, 3),
                "success": float(wrong.double().mean()),
                "median_l2": float(torch.where(wrong, moved, torch.inf).quantile(0.5)),
            }
            print(name, figures[name], flush=True)
        best = min(figures[name]["median_l2"] for name in run if "convscope" not in name)
        figures[f"{family}_median_over_best_peer"] = (
            figures[f"{family} convscope"]["median_l2"] / best
        )
        timed(figures, run, f"{family} convscope", repeats)
    return figures


SECTIONS = {"apgd": apgd, "curve": curves, "minimal": minimal}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--robust-model", required=True)
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--images", type=int, default=1000)
    arguments.add_argument("--rows", type=int, default=128, help="images per call of a peer")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--repeats", type=int, default=3, help="0 counts passes only")
    arguments.add_argument("--sections", default=",".join(SECTIONS))
    arguments.add_argument("--dry", action="store_true", help="do not write result files")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    tune_allocator()  # As the command line does; it serves all contestants alike.
    split = open_dataset("mnist", data_dir=given.data_dir).test
    for section in given.sections.split(","):
        count = min(256, given.images) if section == "minimal" else given.images
        images, labels = split.to_float(range(count)), split.labels[:count].long()
        figures, models = {}, {}
        for kind, name in (("undefended", given.model), ("robust", given.robust_model)):
            classifier = frozen(name)
            models[kind] = classifier.source
            print(section, kind)
            figures[kind] = SECTIONS[section](classifier, images, labels, given.rows, given.repeats)
        if not given.dry:
            record(
                f"fooling_{section}",
                figures,
                peers=("foolbox", "torchattacks", "adv-lib"),
                n=count,
                threads=given.threads,
                rows=given.rows,
                models=models,
            )


if __name__ == "__main__":
    main()
