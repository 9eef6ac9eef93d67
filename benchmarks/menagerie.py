"""What `make menagerie` found: architectures, cells that are right, refusals, failures.

    python benchmarks/menagerie.py build/menagerie.xml

Reads the report of the tests in `tests/menagerie`; run it in the environment of `make menagerie`.
A cell is one architecture with one explanation, view, attack or recipe, or its logits and gradient
beside those of plain torch.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

from record import record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    options = parser.parse_args()
    outcomes: Counter[str] = Counter()
    by_kind: dict[str, Counter[str]] = {}
    architectures: dict[str, set[str]] = {}
    wrong = []
    seconds = 0.0
    for case in ElementTree.parse(options.report).iter("testcase"):
        inside = case.get("name", "").partition("[")[2].rstrip("]").split()
        if len(inside) < 3:
            continue
        library, network, kind = inside[:3]
        architectures.setdefault(library, set()).add(network)
        seconds += float(case.get("time", 0))
        properties = {p.get("name"): p.get("value", "") for p in case.iter("property")}
        failed = case.find("failure") is not None or case.find("error") is not None
        outcome = "failed" if failed else properties.get("outcome", "no outcome")
        outcomes[outcome] += 1
        by_kind.setdefault(kind, Counter())[outcome] += 1
        if failed:
            wrong.append(" ".join(inside))
    figures: dict[str, Any] = {
        "architectures": sum(map(len, architectures.values())),
        "by library": {name: len(found) for name, found in architectures.items()},
        "cells": outcomes.total(),
        "outcomes": dict(outcomes.most_common()),
        "outcomes by kind": {kind: dict(found.most_common()) for kind, found in by_kind.items()},
        "failed": wrong,
        "seconds, added up": round(seconds),
    }
    print(figures)
    if not options.dry:
        record("menagerie", figures, peers=("torchvision", "timm", "transformers"))
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
