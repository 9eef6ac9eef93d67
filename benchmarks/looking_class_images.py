"""Class images as an independently trained network classifies them, and on random weights.

python benchmarks/looking_class_images.py --model runs/a --judge runs/b --data mnist --data-dir DIR

The judge's own accuracy on the test images is measured and recorded, too: a weak judge says little.
Network, judge and data prior are fitted to the same training images.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import torch
from record import interval, record

import convscope
from convscope.training import evaluate
from convscope.visualizations import (
    VISUALIZATION_RECIPES,
    chosen_recipe,
    class_images,
    stationarity,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--judge", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--recipes", default="", help="comma-separated; default: all and the prior")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    classifier, judge = convscope.load(options.model), convscope.load(options.judge)
    data = convscope.open_dataset(options.data, data_dir=options.data_dir)
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:5000]
    reference = data.train.to_float(order)
    default = chosen_recipe(None, reference).name
    names = [n for n in options.recipes.split(",") if n] or list(VISUALIZATION_RECIPES)
    judged = evaluate(judge, data.test)
    right = round(judged.accuracy * len(data.test))
    figures: dict[str, Any] = {
        "judge": {"test accuracy": judged.accuracy, "interval": interval(right, len(data.test))},
        "default": default,
        "stationarity": stationarity(reference[:1000]),
    }
    for name in names:
        runs = [
            class_images(
                classifier,
                recipe=name,
                reference=reference,
                evaluator=judge,
                generator=torch.Generator().manual_seed(seed),
            )
            for seed in range(options.seeds)
        ]
        shown = [r.held_out.correct for r in runs if r.held_out]
        figures[name] = {
            # The same ten classes with every seed: images of one class are no independent draws.
            "interval": interval(sum(shown), len(runs[0].units) * len(shown)),
            "classified as intended": [r.held_out.correct for r in runs if r.held_out],
            "mean probability": [
                float(r.held_out.probabilities.mean()) for r in runs if r.held_out
            ],
            "classified as intended, random weights": [
                r.control.held_out.correct for r in runs if r.control and r.control.held_out
            ],
            "mean activation over largest natural": [
                float((r.activations / r.max_dataset_activation).mean())
                for r in runs
                if r.max_dataset_activation is not None
            ],
            "classes": len(runs[0].units),
        }
    if options.dry:
        print(figures)
        return
    record(
        f"looking_class_images_{options.data}",
        figures,
        model=re.sub(r"\(/\S*/", "(", classifier.source),
        judge=re.sub(r"\(/\S*/", "(", judge.source),
        data=data.source,
        threads=1,
    )


if __name__ == "__main__":
    main()
