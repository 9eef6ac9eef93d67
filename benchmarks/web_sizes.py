"""How large are the extra ``web`` once installed, a page with nothing but a network, and the demo?

    python benchmarks/web_sizes.py [--report FILE] [--dry]

Installs what the extra ``web`` names, with what it needs in turn, into an empty folder with pip,
at the versions of constraints.txt, and adds up the bytes of its files: compiled files (which pip
makes) are counted apart. Of a page: the playground of mnist-conv2-fc as `playable_page` writes it,
and, with ``--report``, a report such as the demo's. Needs a package index, or pip's cache.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import torch
from record import record

from convscope.data import open_dataset
from convscope.models import load
from convscope.pages import playable_page

ROOT = Path(__file__).resolve().parents[1]
NETWORK = "mnist-conv2-fc"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, help="an HTML report, such as the demo's")
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"extra_web": installed(), "bare_page_bytes": bare_page()}
    if arguments.report is not None:
        figures["report_bytes"] = arguments.report.stat().st_size
    if arguments.dry:
        print(figures)
    else:
        record("web_sizes", figures, network=NETWORK)


def installed() -> dict[str, Any]:
    """Bytes of the packages of the extra, by package folder."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project["project"]["optional-dependencies"]["web"]
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--constraint", str(ROOT / "constraints.txt"), "--target", scratch, *wanted],
            check=True,
        )  # fmt: skip
        sizes: dict[str, int] = {}
        compiled = 0
        for file in Path(scratch).rglob("*"):
            if not file.is_file():
                continue
            size = file.stat().st_size
            if file.suffix == ".pyc":
                compiled += size
                continue
            top = file.relative_to(scratch).parts[0]
            sizes[top] = sizes.get(top, 0) + size
    folders = {name: size for name, size in sorted(sizes.items()) if "-info" not in name}
    return {
        "wanted": wanted,
        "bytes": sum(sizes.values()),
        "bytes_with_compiled_files": sum(sizes.values()) + compiled,
        "bytes_by_folder": folders,
    }


def bare_page() -> int:
    """Bytes of a page with nothing but the playground of a network and twelve images."""
    test = open_dataset("digits").test
    rows = torch.arange(200)
    page = playable_page(load(NETWORK), test.to_float(rows), test.labels[rows])
    return len(page.html.encode("utf-8", errors="backslashreplace"))


if __name__ == "__main__":
    main()
