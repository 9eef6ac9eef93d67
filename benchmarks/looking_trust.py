"""Which explanations can be believed: the whole table on one network.

python benchmarks/looking_trust.py --model runs/a --data cifar10 --data-dir DIR [--images 48]
    [--methods grad-cam,saliency] [--once rise]

Insertion and deletion use all images, pointing 24 mosaics of four images each: its interval is that
of 96 quarters, an upper bound for a mean of shares.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import torch
from record import interval, record

import convscope
from convscope.explanations import EXPLANATIONS, trust
from convscope.results import row

MOSAICS = 24
"""How many `trust` makes."""


def pointing_interval(share: float | None) -> list[float] | None:
    quarters = 4 * MOSAICS
    return None if share is None else interval(round(share * quarters), quarters)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--methods", default=",".join(EXPLANATIONS))
    parser.add_argument("--once", default="", help="slow methods: only tests that need one map")
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    classifier = convscope.load(options.model)
    data = convscope.open_dataset(
        options.data, data_dir=options.data_dir, input_shape=classifier.input_shape
    )
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(data.test), generator=generator)[: options.images].sort().values
    sample = data.test.subset(rows)
    images = sample.to_float()
    known = len(data.class_names) == classifier.num_classes
    labels = sample.labels if known else classifier.predict(images, top=1).labels[:, 0]
    found = trust(
        classifier,
        images,
        sample.labels if known else None,
        {name: EXPLANATIONS[name] for name in options.methods.split(",")},
        masks=sample.masks,
        external=[
            EXPLANATIONS[name](classifier, images, labels)
            for name in options.once.split(",")
            if name
        ],
        generator=generator,
    )
    blind = found.rows[-1].insertion_minus_deletion
    figures: dict[str, Any] = {
        entry.method: row(entry)
        | {
            "gap over random map": entry.insertion_minus_deletion - blind,
            "pointing interval": pointing_interval(entry.grid_pointing_game),
        }
        for entry in found.rows
    }
    if options.dry:
        print(figures)
        return
    record(
        f"looking_trust_{options.data}",
        figures,
        model=re.sub(r"\(/\S*/", "(", classifier.source),
        data=data.source,
        images=found.images,
        targets="true classes" if known else "predicted classes",
        mask_share=found.area,
        mosaics_shrunk=found.shrunk,
        notes=found.notes,
        mosaics=MOSAICS,
        threads=1,
    )


if __name__ == "__main__":
    main()
