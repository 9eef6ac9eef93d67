"""Peak memory of methods over 10,000 and 60,000 MNIST images, each in a process of its own.

    python benchmarks/streaming.py --data-dir DIR [--model mnist-conv2-fc] [--only pgd-10,pgd-40]

Command lines run over 10,000 and 50,000 training images; `eval` over 10,000 and all 70,000.

Peak memory is the largest resident set of the whole process, Python and torch included, as the
kernel counts it. 60,000 float images are 188 MB, so images before and after are 376 MB. What a
result keeps of each image grows with the images, nothing else may: `growth_per_image` says by how
many bytes, `image_copies` how many float images that is.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from record import RESULTS, record

CASES: dict[str, Callable[[Any, Any, Any], Any]] = {}
COUNTS = (10_000, 60_000)
IMAGE_BYTES = 28 * 28 * 4


def case(run: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """Name a case after its function."""
    CASES[run.__name__.replace("_", "-")] = run
    return run


@case
def nothing(classifier: Any, images: Any, labels: Any) -> None:
    """Torch, the network and the images."""


@case
def pgd_10(classifier: Any, images: Any, labels: Any) -> Any:
    from convscope.attacks import pgd

    return pgd(classifier, images, labels, epsilon=0.3, steps=10)


@case
def pgd_40(classifier: Any, images: Any, labels: Any) -> Any:
    from convscope.attacks import pgd

    return pgd(classifier, images, labels, epsilon=0.3, step_size=0.01, steps=40)


@case
def robustness_evaluate(classifier: Any, images: Any, labels: Any) -> Any:
    from convscope.robustness import evaluate

    return evaluate(classifier, images, labels, epsilon=0.1, effort="quick")


@case
def robustness_curve(classifier: Any, images: Any, labels: Any) -> Any:
    from convscope.robustness import curve

    return curve(classifier, images, labels, steps=10)


@case
def occlusion_all(classifier: Any, images: Any, labels: Any) -> Any:
    from convscope.explanations import occlusion

    return occlusion(classifier, images, "all", preset="14/7")


@case
def grad_cam(classifier: Any, images: Any, labels: Any) -> Any:
    from convscope.explanations import grad_cam

    return grad_cam(classifier, images, labels)


@case
def saliency_all(classifier: Any, images: Any, labels: Any) -> Any:
    from convscope.explanations import saliency

    return saliency(classifier, images, "all")


COMMANDS: dict[str, tuple[str, ...]] = {
    "command-eval": ("eval", "MODEL", "--data", "mnist", "--split", "SPLIT"),
    "command-attack": ("attack", "fgsm", "MODEL", "IMAGES", "--epsilon", "0.1"),
    "command-attack-json": (
        "attack", "fgsm", "MODEL", "IMAGES", "--epsilon", "0.1", "--json",
    ),
    "command-attack-out": (
        "attack", "fgsm", "MODEL", "IMAGES", "--epsilon", "0.1", "--out", "OUT",
    ),
    "command-evaluate": (
        "attack", "evaluate", "MODEL", "--data", "mnist", "--split", "train", "--epsilon", "0.1",
        "--effort", "quick", "--count", "COUNT",
    ),
    "command-inspect": ("inspect", "MODEL", "IMAGES", "--show", "grad-cam", "--out", "OUT"),
}  # fmt: skip
"""Command lines; what they run is counted as the kernel counts it for the child process."""


def run_command(name: str, count: int, given: argparse.Namespace) -> None:
    """Run one command line and print seconds and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        words = {
            "MODEL": given.model,
            "IMAGES": f"mnist:train/0-{min(count, 50_000) - 1}",
            "SPLIT": "test" if count <= 10_000 else "all",
            "COUNT": str(min(count, 50_000)),
            "OUT": str(Path(folder) / "out"),
        }
        line = [sys.executable, "-m", "convscope", *(words.get(w, w) for w in COMMANDS[name])]
        line += ["--data-dir", str(given.data_dir)] if given.data_dir else []
        begin = time.perf_counter()
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    if done.returncode:
        sys.exit(done.stderr[-300:])
    print(json.dumps({"seconds": seconds, "peak_bytes": peak, "success_rate": None}))


def measure(name: str, count: int, given: argparse.Namespace) -> None:
    """Run one case and print seconds and peak memory."""
    import torch

    from convscope.data import open_dataset
    from convscope.models import load

    torch.set_num_threads(given.threads)
    classifier = load(given.model)
    data = open_dataset("mnist", data_dir=given.data_dir)
    images = torch.empty(count, 1, 28, 28)
    labels = torch.empty(count, dtype=torch.int64)
    done = 0
    for split in (data.train, data.validation, data.test):
        few = min(count - done, len(split))
        for start in range(0, few, 1000):
            rows = range(start, min(start + 1000, few))
            images[done + start : done + start + len(rows)] = split.to_float(rows)
        labels[done : done + few] = split.labels[:few]
        done += few
    del data, split
    begin = time.perf_counter()
    result = CASES[name](classifier, images, labels)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    fooled = getattr(result, "success_rate", None)
    print(json.dumps({"seconds": seconds, "peak_bytes": peak, "success_rate": fooled}))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", default="mnist-conv2-fc")
    arguments.add_argument("--data-dir", type=Path)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--only", default="", help="cases by commas; others stay as recorded")
    arguments.add_argument("--case")
    arguments.add_argument("--count", type=int)
    given = arguments.parse_args()
    if given.case is not None:
        run = run_command if given.case in COMMANDS else measure
        run(given.case, given.count, given)
        return
    earlier = RESULTS / "streaming.json"
    figures: dict[str, Any] = (
        json.loads(earlier.read_text())["figures"] if earlier.exists() and given.only else {}
    )
    for name in given.only.split(",") if given.only else [*CASES, *COMMANDS]:
        for count in COUNTS:
            command = [sys.executable, __file__, *sys.argv[1:], "--case", name]
            done = subprocess.run(
                [*command, "--count", str(count)], capture_output=True, text=True, check=False
            )
            if done.returncode:  # Killed for memory, most likely: that is a finding, too.
                figures.setdefault(name, {})[str(count)] = {"exit_status": done.returncode}
                print(name, count, done.returncode, done.stderr[-300:], flush=True)
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            figures.setdefault(name, {})[str(count)] = {
                "seconds": round(found["seconds"], 2),
                "peak_megabytes": round(found["peak_bytes"] / 1e6, 1),
                "success_rate": found["success_rate"],
            }
            print(name, count, figures[name][str(count)], flush=True)
        # After every case: a machine that gives up has not measured in vain.
        record("streaming", figures, threads=given.threads, model=given.model)
        peaks = [figures[name][str(count)].get("peak_megabytes") for count in COUNTS]
        if None in peaks:
            continue
        few, many = peaks
        growth = (many - few) * 1e6 / (COUNTS[1] - COUNTS[0])
        figures[name]["growth_bytes_per_image"] = round(growth)
        figures[name]["growth_in_float_images"] = round(growth / IMAGE_BYTES, 2)
    record("streaming", figures, threads=given.threads, model=given.model)


if __name__ == "__main__":
    main()
