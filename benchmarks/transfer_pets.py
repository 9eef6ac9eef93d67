"""How good are a network's features for breeds it was not trained to tell apart?

Three breeds of Oxford-IIIT Pet, official lists: linear classifiers on what enters MobileNetV2's
last layer, regularization by cross-validation on the training list, the test list once. The
features are compared with those of transformers' own processor and network, and the time of a first
run with that of one whose features are kept.

    python benchmarks/transfer_pets.py --shared DIRECTORY
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import torch
import transformers
from PIL import Image
from record import record

from convscope.data import stream_images
from convscope.models import load
from convscope.transfer import TRANSFER_CLASSIFIERS, feature_layer, layer_features, transfer


def features_beside_transformers(classifier, network: Path, files: list[Path]) -> dict[str, float]:
    """The largest difference to the pooled output of transformers' network, and their size."""
    processor = transformers.AutoImageProcessor.from_pretrained(network, backend="pil")
    module = transformers.AutoModelForImageClassification.from_pretrained(network).eval()
    where = feature_layer(classifier)
    with classifier.probe() as probe, torch.no_grad():
        ours = torch.cat([
            layer_features(probe, piece.images, where)
            for piece in stream_images(files, like=classifier).pieces
        ])  # fmt: skip
        images = [Image.open(file).convert("RGB") for file in files]
        given = processor(images=images, return_tensors="pt")
        theirs = module.base_model(**given).pooler_output
    return {
        "photos": len(files),
        "largest_difference": float((ours - theirs).abs().max()),
        "largest_feature": float(theirs.abs().max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, required=True)
    shared = parser.parse_args().shared.resolve()
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    network = shared / "weights" / "mobilenet_v2_1.0_224"
    classifier = load(f"hf:{network}")
    figures, seconds = {}, {}
    with tempfile.TemporaryDirectory() as cache:
        for method in TRANSFER_CLASSIFIERS:
            start = time.perf_counter()
            found = transfer(
                classifier, "pets", method=method, data_dir=shared / "data", cache=cache
            )
            seconds[method] = round(time.perf_counter() - start, 2)
            summary = found.summary()
            figures[method] = {
                key: summary[key]
                for key in ("mean_per_class", "mean_per_class_interval", "accuracy", "worst_class",
                            found.parameter, "cross_validation", "computed")
            }  # fmt: skip
            figures[method]["per_class"] = dict(
                zip(found.class_names, found.per_class.tolist(), strict=True)
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    photos = sorted((shared / "data" / "oxford-iiit-pet" / "images").glob("*.jpg"))[::20]
    record(
        "transfer_pets",
        {
            "training_photos": found.training_images,
            "test_photos": found.n,
            "features": found.features,
            **figures,
            "seconds": seconds,
            "seconds_note": "the first computes all features, the others find them kept",
            "peak_memory_mb": peak,
            "features_beside_transformers": features_beside_transformers(
                classifier, network, photos
            ),
        },
        peers=("transformers", "pillow", "scikit-learn"),
        threads=2,
    )


if __name__ == "__main__":
    main()
