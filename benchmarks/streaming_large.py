"""Peak memory of `eval`, `transfer` and one epoch of `train` on 20,000 JPEGs: 5 GB decoded.

    python benchmarks/streaming_large.py FOLDER [--images 20000] [--workers 2] [--only eval,train]

FOLDER keeps the generated JPEGs (about 0.4 GB). Images are 3x288x288, so that 20,000 of them are
4.98 GB. The network is small, with strides: what is measured is how images are read. Each command
line runs in a process of its own; peak memory is the largest sum of resident sets of that process
and of those that it started, as the kernel counts them, looked at 20 times a second. `train` runs
twice: left alone, and killed with SIGKILL in the middle of the epoch and resumed; both have to end
with the same bytes. Images per second are those of the whole command: every image is decoded once
when the data set is opened, and again whenever it is used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import RESULTS, record

SIDE = 288
CLASSES = 10
LIMIT = 1.5e9
NETWORK = """
from torch import nn

def network():
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=4), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 10),
    )
"""


def generate(folder: Path, count: int) -> None:
    """Waves of ten frequencies and random blocks: JPEGs of about 20 kB, each other pixels."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    for number in range(count):
        label = number % CLASSES
        file = folder / f"class-{label}" / f"{number:06d}.jpg"
        if file.exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        wave = np.sin((columns * (label + 1) + rows) / 40 + 6.3 * rng.random()) * 80
        blocks = rng.normal(0, 30, (SIDE // 8, SIDE // 8, 3)).repeat(8, 0).repeat(8, 1)
        pixels = np.clip(127 + wave[..., None] + blocks, 0, 255).astype(np.uint8)
        draft = file.with_suffix(".part")
        Image.fromarray(pixels).save(draft, format="JPEG", quality=85)
        draft.replace(file)


def make_weights(file: Path) -> None:
    """Random weights for the network: nothing depends on how good it is."""
    import torch
    from safetensors.torch import save_file
    from streaming_network import network

    torch.manual_seed(0)
    save_file(network().state_dict(), file)


def family(pid: int) -> list[int]:
    """A process and all that it started, directly or not."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            found += family(int(child))
    return found


def resident(pid: int) -> int:
    """Bytes of memory that the kernel counts for a process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    match = re.search(r"VmRSS:\s+(\d+)", status)
    return int(match[1]) * 1024 if match else 0


def measured(command: list[str], environment: dict[str, str], *, until: int = 0) -> dict[str, Any]:
    """Run a command line; kill it when it says that it is at step `until`, if that is given."""
    began, peak, processes = time.perf_counter(), 0, 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as program:
        assert program.stdout is not None
        os.set_blocking(program.stdout.fileno(), False)
        words = b""
        while program.poll() is None:
            sizes = [resident(pid) for pid in family(program.pid)]
            if sum(sizes) > peak:
                peak, processes = sum(sizes), len(sizes)
            words += program.stdout.read() or b""
            if until and max(map(int, re.findall(rb"step (\d+) of", words)), default=0) >= until:
                program.send_signal(signal.SIGKILL)
                program.wait()
            time.sleep(0.05)
        words += program.stdout.read() or b""
    seconds = time.perf_counter() - began
    if program.returncode and not until:
        sys.exit(f"{command}\n{words.decode(errors='replace')[-800:]}")
    if until and program.returncode != -signal.SIGKILL:
        sys.exit(f"{command}\nwas through before it said that it was at step {until}")
    return {
        "seconds": round(seconds, 1),
        "peak_megabytes": round(peak / 1e6, 1),
        "processes": processes,
        "exit_status": program.returncode,
    }


def digest(run: Path) -> str:
    """SHA-256 of what a run has to reproduce: weights, curves, the newest checkpoint."""
    newest = max((run / "checkpoints").glob("step-*"))
    whole = hashlib.sha256()
    for file in [run / "model.safetensors", run / "metrics.csv", *sorted(newest.iterdir())]:
        whole.update(file.name.encode() + file.read_bytes())
    return whole.hexdigest()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--images", type=int, default=20_000)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--only", default="", help="cases by commas; others stay as recorded")
    given = arguments.parse_args()
    photos, work = given.folder / f"jpegs-{given.images}", given.folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    generate(photos, given.images)
    (work / "streaming_network.py").write_text(NETWORK)
    path = os.pathsep.join(filter(None, [str(work.resolve()), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "CONVSCOPE_WORKERS": str(given.workers)}
    program = [sys.executable, "-m", "convscope"]
    data = ["--data", f"folder:{photos}"]
    network = ["streaming_network:network", "--input-shape", f"3,{SIDE},{SIDE}"]
    run, other = work / "run", work / "killed"
    earlier = RESULTS / "streaming_large.json"
    known = json.loads(earlier.read_text())["figures"] if earlier.exists() and given.only else {}
    figures: dict[str, Any] = (known if known.get("images") == given.images else {}) | {
        "images": given.images,
        "decoded_gigabytes": round(given.images * 3 * SIDE**2 / 1e9, 2),
        "limit_megabytes": LIMIT / 1e6,
    }

    def keep(name: str, found: dict[str, Any]) -> None:
        found["images_per_second"] = round(given.images / found["seconds"], 1)
        found["within_limit"] = found["peak_megabytes"] * 1e6 <= LIMIT
        figures[name] = found
        print(name, found, flush=True)

        record("streaming_large", figures, workers=given.workers)

    wanted = (given.only or "eval,transfer,audit,train").split(",")
    weights = work / "weights.safetensors"
    if not weights.exists():
        sys.path.insert(0, str(work.resolve()))
        make_weights(weights)
    (work / "classes.txt").write_text("\n".join(f"class-{k}" for k in range(CLASSES)))
    judged = [*network, "--weights", str(weights), "--classes", str(work / "classes.txt")]
    commands = {
        "eval": ["eval", *judged, *data, "--split", "all"],
        "transfer": ["transfer", *judged, *data, "--cache", str(work / "features")],
        "audit": ["audit", *judged, *data, "--only", "performance", "--out",
                  str(work / "audit.html"), "--force"],
    }  # fmt: skip
    for name, command in commands.items():
        if name in wanted:
            keep(name, measured([*program, *command], environment))
    if "train" in wanted:
        batch = 64 if given.images >= 10_000 else 1
        steps = given.images * 7 // 10 // batch  # seven of ten images are for training
        train = [*program, "train", *network, *data, "--epochs", "1", "--batch-size", str(batch)]
        train += ["--checkpoint-steps", str(max(1, steps // 10)), "--out"]
        for folder in (run, other):  # of an earlier call
            shutil.rmtree(folder, ignore_errors=True)
        keep("train", measured([*train, str(run)], environment))
        killed = measured([*train, str(other)], environment, until=max(1, steps // 4))
        keep("train, killed", killed)
        again = [*train, str(other), "--resume"]
        keep("train, resumed", measured(again, environment))
        figures["same_bits_after_kill"] = digest(run) == digest(other)
        record("streaming_large", figures, workers=given.workers)


if __name__ == "__main__":
    main()
