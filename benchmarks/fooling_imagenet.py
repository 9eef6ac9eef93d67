"""Four photos become space shuttles for an ImageNet network, and what survives a transformation.

    python benchmarks/fooling_imagenet.py --shared DIRECTORY [--steps 40] [--eot-samples 8]

One command, ``convscope attack survival``, fools the photos within L-infinity 2/255, once plainly
and once over random transformations. What is recorded is judged here again, from the saved PNG
files: class, probability of the target, and the largest change in gray levels.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import record

import convscope
from convscope.attacks import cropped, flipped, grayscale, rotated
from convscope.classifier import Classifier
from convscope.data import select_images

PHOTOS = ("peppers.png", "n07753592_banana.jpg", "n02110958_pug.jpg", "n04487081_trolleybus.jpg")
TARGET = "space shuttle"
"""ImageNet's class 812; 813 in a network whose class 0 is the background."""

TRANSFORMATIONS = {
    "none": lambda images: images,
    "flip": flipped,
    "crop 80 %": lambda images: cropped(images, 0.8),
    "rotate 30": lambda images: rotated(images, 30.0),
    "grayscale": grayscale,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--eot-samples", type=int, default=8)
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shared = options.shared.resolve()
    spec = f"hf:{shared / 'weights' / 'mobilenet_v2_1.0_224'}"
    photos = [str(shared / "data" / "photos" / name) for name in PHOTOS]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "fooled"
        words = [
            "attack", "survival", spec, *photos, "--target", TARGET, "--epsilon", "2/255",
            "--steps", str(options.steps), "--eot-samples", str(options.eot_samples),
            "--out", str(out),
        ]  # fmt: skip
        subprocess.run([sys.executable, "-m", "convscope", "--threads", "1", *words], check=True)
        seconds = time.perf_counter() - start
        classifier = convscope.load(spec)
        originals = select_images(photos, like=classifier).images
        figures = {kind: judged(classifier, originals, out, kind) for kind in ("plain", "eot")}
    plain, eot = (figures[kind]["mean_after_transformations"] for kind in ("plain", "eot"))
    figures["eot / plain"] = round(eot / plain, 2)
    about: dict[str, Any] = {
        "photos": len(PHOTOS),
        "target": TARGET,
        "epsilon": "2/255",
        "steps": options.steps,
        "eot_samples": options.eot_samples,
        "seconds": round(seconds, 1),
    }
    if options.dry:
        print(json.dumps(figures, indent=1), about)
    else:
        record("fooling_imagenet", figures, peers=("transformers", "pillow"), **about)


@torch.no_grad()
def judged(classifier: Classifier, originals: torch.Tensor, out: Path, kind: str) -> dict[str, Any]:
    """What the network says of the saved PNG files, as they are and transformed."""
    files = sorted(out.glob(f"{kind}-*.png"))
    levels = np.stack([np.asarray(Image.open(file)) for file in files])
    images = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
    target = classifier.class_names.index(TARGET)
    table: dict[str, dict[str, Any]] = {name: {} for name in PHOTOS}
    means = {}
    for transformation, change in TRANSFORMATIONS.items():
        shares = classifier.logits(change(images)).softmax(dim=1)
        for name, row in zip(PHOTOS, shares, strict=True):
            table[name][transformation] = {
                "class": classifier.class_names[int(row.argmax())],
                "probability": round(float(row.max()), 4),
                "probability_of_target": round(float(row[target]), 4),
            }
        means[transformation] = float(shares[:, target].mean())
    gray_levels = (images - originals).abs().amax(dim=(1, 2, 3)) * 255
    changed = [value for name, value in means.items() if name != "none"]
    return {
        "largest_change_in_gray_levels": round(float(gray_levels.max()), 4),
        "peppers_probability_of_target": table["peppers.png"]["none"]["probability_of_target"],
        "mean_probability_of_target": {name: round(value, 4) for name, value in means.items()},
        "mean_after_transformations": sum(changed) / len(changed),
        "photos": table,
    }


if __name__ == "__main__":
    main()
