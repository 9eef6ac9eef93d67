"""What `make menagerie` found: architectures, cells that are right, refusals, failures.

    python benchmarks/menagerie.py build/menagerie.xml [build/again.xml ...]

Reads the report of the tests in `tests/menagerie`; run it in the environment of `make menagerie`.
A cell is one architecture with one explanation, view, attack or recipe, or its logits and gradient
beside those of plain torch. Cells that were run again, in a later report, count as there.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import record


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", type=Path, nargs="+")
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    options = parser.parse_args()
    cells: dict[tuple[str, ...], tuple[str, float]] = {}
    for report in options.reports:
        cells |= dict(cells_of(report))
    by_kind: dict[str, Counter[str]] = {}
    architectures: dict[str, set[str]] = {}
    for (library, network, kind, *_), (outcome, _) in cells.items():
        architectures.setdefault(library, set()).add(network)
        by_kind.setdefault(kind, Counter())[outcome] += 1
    outcomes = Counter(outcome for outcome, _ in cells.values())
    wrong = [" ".join(cell) for cell, (outcome, _) in cells.items() if outcome == "failed"]
    figures: dict[str, Any] = {
        "architectures": sum(map(len, architectures.values())),
        "by library": {name: len(found) for name, found in architectures.items()},
        "cells": outcomes.total(),
        "outcomes": dict(outcomes.most_common()),
        "outcomes by kind": {kind: dict(found.most_common()) for kind, found in by_kind.items()},
        "failed": wrong,
        "seconds, added up": round(sum(seconds for _, seconds in cells.values())),
    }
    print(figures)
    if not options.dry:
        record("menagerie", figures, peers=("torchvision", "timm", "transformers"))
    return len(wrong)


def cells_of(report: Path) -> Iterator[tuple[tuple[str, ...], tuple[str, float]]]:
    """(library, network, kind, entry) of each cell, with its outcome and seconds."""
    for case in ElementTree.parse(report).iter("testcase"):
        cell = tuple(case.get("name", "").partition("[")[2].rstrip("]").split())
        if len(cell) < 3:
            continue
        properties = {p.get("name"): p.get("value", "") for p in case.iter("property")}
        failed = case.find("failure") is not None or case.find("error") is not None
        outcome = "failed" if failed else properties.get("outcome", "no outcome")
        yield cell, (outcome, float(case.get("time", 0)))


if __name__ == "__main__":
    sys.exit(main())
