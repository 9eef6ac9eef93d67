"""Does ``convscope predict`` say of real photos what transformers' own pipeline says, as fast?

Photos named by class (WordNet id), one each. Per photo: the logits beside those of transformers'
image processor and network, and the first three classes beside those of its pipeline. Then the time
of all photos, files to classes, in turns: convscope, the pipeline one photo at a time and in
batches, and a hand-written loop of processor and network in batches.

    python benchmarks/photos.py --shared DIRECTORY
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
import transformers
from PIL import Image
from record import interleaved, interval, record, times_faster

from convscope.data import stream_images
from convscope.data._names import imagenet_classes
from convscope.models import load

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    shared = given.shared.resolve()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # Decoding in threads must not count as a core more.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    network = shared / "weights" / "mobilenet_v2_1.0_224"
    files = sorted((shared / "data" / "photos").glob("n*.jpg"))
    classifier = load(f"hf:{network}")
    processor = transformers.AutoImageProcessor.from_pretrained(network, backend="pil")
    module = transformers.AutoModelForImageClassification.from_pretrained(network).eval()
    pipeline = transformers.pipeline(
        "image-classification", model=module, image_processor=processor, device="cpu"
    )
    names = [str(file) for file in files]

    def ours() -> torch.Tensor:
        stream = stream_images(files, like=classifier)
        parts = classifier.predict_each((piece.images for piece in stream.pieces), top=3)
        return torch.cat([part.labels for part in parts])

    def piped(batch: int) -> list[list[str]]:
        """Names: two classes are called crane, so the pipeline's answer has no numbers."""
        found = pipeline(names, top_k=3, batch_size=batch)
        return [[one["label"] for one in image] for image in found]

    def by_hand(batch: int = BATCH) -> torch.Tensor:
        rows = []
        with torch.inference_mode():
            for start in range(0, len(files), batch):
                images = [Image.open(file).convert("RGB") for file in files[start : start + batch]]
                rows.append(module(**processor(images=images, return_tensors="pt")).logits)
        return torch.cat(rows)

    logits = []
    with classifier.probe() as probe:
        for piece in stream_images(files, like=classifier).pieces:
            logits.append(probe.logits(piece.images))
    mine, theirs = torch.cat(logits), by_hand(1).clone()
    top, their_top, their_names = ours(), theirs.topk(3).indices, piped(1)
    my_names = [[classifier.class_names[number] for number in row] for row in top.tolist()]
    order = {identity: number for number, (identity, _) in enumerate(imagenet_classes(), 1)}
    truth = torch.tensor([order[file.name.partition("_")[0]] for file in files])
    hits = {k: int((top[:, :k] == truth[:, None]).any(dim=1).sum()) for k in (1, 3)}
    their_hits = {k: int((their_top[:, :k] == truth[:, None]).any(dim=1).sum()) for k in (1, 3)}

    contestants = {
        "convscope": ours,
        "pipeline": lambda: piped(1),
        "pipeline, batches of 8": lambda: piped(8),
        f"pipeline, batches of {BATCH}": lambda: piped(BATCH),
        "processor and network, one by one": lambda: by_hand(1),
        f"processor and network, batches of {BATCH}": by_hand,
    }
    times = interleaved(contestants, repeats=given.repeats)
    speed = {name: round(len(files) / entry["seconds"], 2) for name, entry in times.items()}
    fastest = max((name for name in speed if name != "convscope"), key=speed.__getitem__)
    record(
        "photos",
        {
            "photos": len(files),
            "top_1": hits[1],
            "top_1_interval": interval(hits[1], len(files)),
            "top_3": hits[3],
            "top_3_interval": interval(hits[3], len(files)),
            "transformers_top_1": their_hits[1],
            "transformers_top_3": their_hits[3],
            "same_first_three_numbers": int((top == their_top).all(dim=1).sum()),
            "same_first_name_as_pipeline": sum(
                our[0] == other[0] for our, other in zip(my_names, their_names, strict=True)
            ),
            "same_first_three_names_as_pipeline": sum(
                our == other for our, other in zip(my_names, their_names, strict=True)
            ),
            "largest_logit_difference": float((mine - theirs).abs().max()),
            "images_per_second": speed,
            "fastest peer": fastest,
            "convscope / fastest peer": round(speed["convscope"] / speed[fastest], 3),
            "cpu_time": times_faster(times, "convscope"),
        },
        peers=("transformers", "pillow"),
        threads=1,
        cores=1,
        repeats=given.repeats,
        times=times,
    )


if __name__ == "__main__":
    main()
