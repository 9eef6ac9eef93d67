"""Audit of an ImageNet network on photos named by class: size of the page, time, peak memory.

    python benchmarks/audit_imagenet.py --shared DIRECTORY [--threads 2]

Runs ``convscope audit`` with its defaults in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    options = parser.parse_args()
    shared = options.shared.resolve()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "audit.html"
        words = [
            "audit", f"hf:{shared / 'weights' / 'mobilenet_v2_1.0_224'}",
            "--data", f"folder:{shared / 'data' / 'photos'}", "--out", str(page), "--json",
        ]  # fmt: skip
        start = time.perf_counter()
        said = subprocess.run(
            [sys.executable, "-m", "convscope", "--threads", str(options.threads), *words],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        size = page.stat().st_size
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(said.stdout)
    figures = {
        "page, MB": round(size / 1e6, 2),
        "seconds": round(seconds, 1),
        "CPU seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak memory, MB": round(used.ru_maxrss / 1024),
        "failed sections": told["failed_sections"],
        "accuracy": told["accuracy"],
        "robust": told["robust"],
    }
    if options.dry:
        print(json.dumps(figures, indent=1))
    else:
        record("audit_imagenet", figures, peers=("transformers",), threads=options.threads)


if __name__ == "__main__":
    main()
