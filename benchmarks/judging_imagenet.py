"""Does ``convscope eval`` judge an ImageNet network as transformers' own pipeline does?

Photos named by class (one each), and photos of pets: for each photo the logits of `Classifier` on
the image that convscope's data sets hold, beside those of transformers' image processor and module
on the same file. The photos' labels come from `match_classes`; the truth is their WordNet id.

    python benchmarks/judging_imagenet.py --shared DIRECTORY
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
import transformers
from PIL import Image
from record import record

from convscope.data import match_dataset, open_dataset
from convscope.data._names import imagenet_classes
from convscope.models import load
from convscope.training import evaluate


def theirs(folder: Path, files: list[Path], backend: str) -> torch.Tensor:
    """Logits of transformers' own processor and network, one photo at a time."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend=backend)
    module = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    rows = []
    with torch.no_grad():
        for file in files:
            given = processor(images=Image.open(file).convert("RGB"), return_tensors="pt")
            rows.append(module(**given).logits)
    return torch.cat(rows)


def compare(ours: torch.Tensor, other: torch.Tensor) -> dict[str, float | int]:
    """How many photos have the same most probable class and the same first three."""
    top = ours.topk(3).indices, other.topk(3).indices
    return {
        "photos": len(ours),
        "same_top_1": int((top[0][:, 0] == top[1][:, 0]).sum()),
        "same_top_3": int((top[0] == top[1]).all(dim=1).sum()),
        "largest_logit_difference": float((ours - other).abs().max()),
    }


def photos(classifier, network: Path, folder: Path, split: str, data_dir: Path | None, spec: str):
    data = open_dataset(
        spec,
        data_dir=data_dir,
        input_shape=classifier.input_shape,
        resize=classifier.resize,
    )
    part = data.split(split)
    with classifier.probe() as probe:
        ours = torch.cat([probe.logits(part.to_float([row])) for row in range(len(part))])
    files = [folder / name for name in part.names or ()]
    return data, compare(ours, theirs(network, files, "pil"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, required=True)
    shared = parser.parse_args().shared.resolve()
    network = shared / "weights" / "mobilenet_v2_1.0_224"
    torch.set_num_threads(1)
    classifier = load(f"hf:{network}")
    folder = shared / "data" / "photos"

    start = time.perf_counter()
    data, named = photos(classifier, network, folder, "all", None, f"folder:{folder}")
    matched, match = match_dataset(data, classifier)
    result = evaluate(classifier, matched.split("all"))
    order = {identity: number for number, (identity, _) in enumerate(imagenet_classes(), 1)}
    right = sum(
        number == order[name.partition("_")[0]]
        for name, number in zip(data.class_names, match.numbers, strict=True)
        if number is not None
    )
    pets = shared / "data" / "oxford-iiit-pet"
    _, cats = photos(classifier, network, pets, "test", shared / "data", "pets")
    command = [sys.executable, "-m", "convscope", "eval", f"hf:{network}"]
    said = subprocess.run(
        [*command, "--data", f"folder:{folder}", "--json"], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    printed = json.loads(said.stdout)
    record(
        "judging_imagenet",
        {
            "photos named by class": {
                **named,
                "classes": len(data.class_names),
                "matched": len(data.class_names) - len(match.left_out),
                "matched_rightly": right,
                "left_out": dict(match.left_out),
                "top_1": result.accuracy,
                "top_3": result.top_accuracy[result.top.index(3)],
                "command_line_top_1": printed["accuracy"],
            },
            "pets, test photos": cats,
        },
        peers=("transformers", "pillow"),
        seconds=time.perf_counter() - start,
        resize=str(classifier.resize),
    )


if __name__ == "__main__":
    main()
