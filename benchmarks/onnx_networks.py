"""Is a network that went through an ONNX file the same network, and how fast is it?

MobileNetV2 as it is given is written by ``convscope export --to onnx`` and read again by
``onnx:FILE``. Its logits of photos are compared with those of ONNX Runtime on the same file, and
with those of the network that the file was made of; then the seconds per image at one thread, one
image at a time and all at once: ours, ONNX Runtime's, and ours of the network as it was.

    python benchmarks/onnx_networks.py --shared DIRECTORY [--dry]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import transformers
from record import interleaved, record, times_faster
from torch import Tensor

from convscope.classifier import Classifier
from convscope.cli import main as convscope
from convscope.data import stream_images
from convscope.models import load

PHOTOS = 16


def far(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest logit."""
    return float((one - other).abs().max() / other.abs().max())


def top(logits: Tensor) -> Tensor:
    """The three most probable classes."""
    return logits.topk(3).indices


def runtime_of(file: Path) -> Callable[[Tensor], Tensor]:
    """ONNX Runtime on one thread: pixels to logits."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (name,) = (entry.name for entry in session.get_inputs())

    def run(images: Tensor) -> Tensor:
        (logits,) = session.run(None, {name: np.ascontiguousarray(images.numpy())})
        return torch.from_numpy(logits)

    return run


def ours_of(classifier: Classifier) -> Callable[[Tensor], Tensor]:
    """A probe that stays open: pixels to logits."""
    return classifier.probe().__enter__().logits


def in_parts(
    contestants: dict[str, Callable[[Tensor], Tensor]], images: Tensor, size: int
) -> dict[str, Callable[[], Any]]:
    """Each contestant on all images, so many at once."""
    parts = images.split(size)
    return {
        name: lambda run=run: [run(part) for part in parts] for name, run in contestants.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    given = parser.parse_args()
    shared = given.shared.resolve()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    network = f"hf:{shared / 'weights' / 'mobilenet_v2_1.0_224'}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        start = time.perf_counter()
        if convscope(["export", network, "--to", "onnx", "--out", str(file)]):
            sys.exit("the export was refused")
        seconds = {"export and comparison": time.perf_counter() - start}
        start = time.perf_counter()
        imported, original = load(f"onnx:{file}"), load(network)
        seconds["import and comparison"] = time.perf_counter() - start
        if imported.black_box or imported.flags:
            sys.exit(f"not imported as it should be: {imported.flags}")
        files = sorted((shared / "data" / "photos").glob("n*.jpg"))[:PHOTOS]
        pieces = stream_images(files, like=original).pieces
        photos = torch.cat([piece.images for piece in pieces])
        contestants = {
            "convscope, onnx:": ours_of(imported),
            "ONNX Runtime": runtime_of(file),
            "convscope, hf:": ours_of(original),
        }
        logits = {name: run(photos) for name, run in contestants.items()}
        ours, *_ = contestants
        times = {
            title: interleaved(in_parts(contestants, photos, size), repeats=given.repeats)
            for title, size in (("one by one", 1), ("all at once", len(photos)))
        }
        figures: dict[str, Any] = {
            "photos": len(photos),
            "file_bytes": file.stat().st_size,
            "layers_with_names": sum(layer.is_leaf for layer in imported.layers()),
            "largest_difference_of_logits": {
                f"{one} / {other}": far(logits[one], logits[other])
                for one, other in ((ours, "ONNX Runtime"), (ours, "convscope, hf:"),
                                   ("ONNX Runtime", "convscope, hf:"))
            },
            "same_first_three_classes": int(
                (top(logits[ours]) == top(logits["convscope, hf:"])).all(dim=1).sum()
            ),
            "seconds": {name: round(value, 2) for name, value in seconds.items()},
            "seconds_per_image": {
                title: {name: round(entry["seconds"] / len(photos), 5)
                        for name, entry in entries.items()}
                for title, entries in times.items()
            },
            "cpu_time": {title: times_faster(entries, ours) for title, entries in times.items()},
        }  # fmt: skip
    if given.dry:
        print(figures)
        return
    record(
        "onnx_networks", figures, peers=("onnx", "onnxruntime", "transformers"), threads=1,
        repeats=given.repeats, times=times,
    )  # fmt: skip


if __name__ == "__main__":
    main()
