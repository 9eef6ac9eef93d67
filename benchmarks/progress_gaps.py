"""How long does a network of 224 pixels sit without a word of progress?

    python benchmarks/progress_gaps.py --shared DIRECTORY [--only audit]

Looks into one photo by every method, attacks four photos, and audits the network on all photos,
each within `convscope.progress.watch`. Recorded are the longest time between two events, beginning
and end included, what was being done then, and the time for all of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from record import record

import convscope
from convscope.attacks import ATTACKS
from convscope.data import open_dataset, select_images
from convscope.explanations import EXPLANATIONS
from convscope.progress import stage, watch
from convscope.studies import audit

ATTACKED = ("fgsm", "pgd", "apgd", "deepfool", "ddn", "l2-gradient-ascent")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shared = options.shared.resolve()
    classifier = convscope.load(f"hf:{shared / 'weights' / 'mobilenet_v2_1.0_224'}")
    folder = shared / "data" / "photos"
    photos = select_images(
        [str(folder / "peppers.png"), *sorted(map(str, folder.glob("n02*.jpg")))[:3]],
        like=classifier,
    ).images
    labels = classifier.predict(photos, top=1).labels[:, 0]

    def looked(method: str) -> Callable[[], Any]:
        return lambda: EXPLANATIONS[method](classifier, photos[:1])

    def attacked(method: str) -> Callable[[], Any]:
        return lambda: ATTACKS[method](classifier, photos, labels)

    def audited() -> None:
        data = open_dataset(
            f"folder:{folder}", input_shape=classifier.input_shape, resize=classifier.resize
        )
        with tempfile.TemporaryDirectory() as place:
            audit(classifier, data, out_folder=Path(place) / "report")

    rows = {f"inspect, {name}": looked(name) for name in EXPLANATIONS}
    rows |= {f"attack, {name}, 4 photos": attacked(name) for name in ATTACKED}
    rows["audit"] = audited
    figures = {}
    for name, run in rows.items():
        if options.only in name:
            figures[name] = gap(run)
            print(name, figures[name], flush=True)
    if not options.dry:
        record("progress_gaps", figures, peers=("transformers",), threads=options.threads)


def gap(run: Callable[[], Any]) -> dict[str, Any]:
    """Run, and find the longest time between two events."""
    start = time.perf_counter()
    events = [(start, "")]

    def hear(share: float, what: str) -> None:
        events.append((time.perf_counter(), f"{share:.0%} {what}"))

    with watch(hear), stage(0.0, 1.0):
        run()
    events.append((time.perf_counter(), "end"))
    gaps = [(after - before, words) for (before, words), (after, _) in pairwise(events)]
    longest, words = max(gaps)
    return {
        "longest gap, s": round(longest, 2),
        "after": words,
        "seconds": round(events[-1][0] - start, 1),
        "events": len(events) - 2,
    }


if __name__ == "__main__":
    main()
