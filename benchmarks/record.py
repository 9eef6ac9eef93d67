"""Write a measurement with everything needed to believe it: n, machine, versions, date."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convscope.stats import wilson

RESULTS = Path(__file__).parent / "results"


def record(
    name: str, figures: dict[str, Any], *, peers: tuple[str, ...] = (), **context: Any
) -> Path:
    """Write ``results/NAME.json`` and print it."""
    packages = ("torch", "numpy", "convscope", *peers)
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            # A checkout that is imported without being installed knows its own version.
            module = sys.modules.get(package)
            found[package] = getattr(module, "__version__", "not installed")
    content = {
        "benchmark": name,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **found},
        **context,
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    text = json.dumps(content, indent=2, ensure_ascii=False)
    # Folders of the measuring machine are nobody's business: only the last names stay.
    text = re.sub(r"(?<![\w.])/(?:[\w.-]+/)+", "", text)
    path.write_text(text + "\n", encoding="utf-8")
    print(json.dumps(content["figures"], indent=2, ensure_ascii=False))
    print(f"wrote {path}")
    return path


def machine() -> dict[str, Any]:
    """Processor, cores and load: what a ratio depends on."""
    from convscope.studies._record import processor  # imports the drawing of figures: not before

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"processor": processor(), "cores": os.cpu_count(), "load_1_minute": load}


def interleaved(
    contestants: dict[str, Callable[[], Any]], *, repeats: int = 5, warmup: int = 1
) -> dict[str, dict[str, Any]]:
    """Time contestants in turns, so that a noisy neighbor hits all of them.

    Returns:
        For each: median wall-clock seconds, median CPU seconds of the process, the spread
        (largest minus smallest wall-clock time), n, and the CPU seconds of every turn.
    """
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(warmup + repeats):
        for name, run in contestants.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            if turn >= warmup:
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - start_cpu)
    return {
        name: {
            "seconds": statistics.median(wall[name]),
            "cpu_seconds": statistics.median(cpu[name]),
            "spread": max(wall[name]) - min(wall[name]),
            "n": repeats,
            "cpu_turns": [round(seconds, 6) for seconds in cpu[name]],
        }
        for name in contestants
    }


def times_faster(times: dict[str, dict[str, Any]], ours: str) -> dict[str, Any]:
    """How many times longer the others take, by CPU time, from turns that lie side by side.

    Returns:
        For each peer the median, smallest and largest ratio of its turns; ``"best peer"`` names
        the one with the smallest median.
    """
    found: dict[str, Any] = {}
    for name, entry in times.items():
        if name == ours:
            continue
        pairs = zip(entry["cpu_turns"], times[ours]["cpu_turns"], strict=True)
        ratios = [theirs / own for theirs, own in pairs]
        found[name] = {
            "median": round(statistics.median(ratios), 3),
            "smallest": round(min(ratios), 3),
            "largest": round(max(ratios), 3),
        }
    best = min(found, key=lambda name: found[name]["median"])
    return {"best peer": best, "best peer / ours": found[best]["median"], **found}


def interval(count: int, total: int) -> list[float]:
    """95 % interval of a share (Wilson), rounded."""
    return [round(bound, 4) for bound in wilson(count, total)]
