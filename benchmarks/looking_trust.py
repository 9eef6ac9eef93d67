"""Which explanations can be believed: the whole table on one network.

python benchmarks/looking_trust.py --model runs/a --data cifar10 --data-dir DIR [--images 48]
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import torch
from record import record

import convscope
from convscope.data import shape_scenes
from convscope.explanations import EXPLANATIONS, trust
from convscope.results import row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--methods", default=",".join(EXPLANATIONS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    classifier = convscope.load(options.model)
    data = convscope.open_dataset(options.data, data_dir=options.data_dir)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(data.test), generator=generator)[: options.images].sort().values
    found = trust(
        classifier,
        data.test.floats(rows),
        data.test.labels[rows],
        {name: EXPLANATIONS[name] for name in options.methods.split(",")},
        masks=shape_scenes("test").masks[rows] if data.name == "shapes" else None,
        generator=generator,
    )
    blind = found.rows[-1].gap
    figures: dict[str, Any] = {
        entry.method: row(entry) | {"gap over random map": entry.gap - blind}
        for entry in found.rows
    }
    record(
        f"looking_trust_{options.data}",
        figures,
        model=re.sub(r"\(/\S*/", "(", classifier.source),
        data=data.source,
        images=found.images,
        mask_share=found.area,
        mosaics_shrunk=found.shrunk,
        notes=found.notes,
        threads=1,
    )


if __name__ == "__main__":
    main()
