"""Peak memory of `eval`, `transfer` and one epoch of `train` on 20,000 JPEGs: 5 GB decoded.

    python benchmarks/streaming_large.py FOLDER [--images 20000] [--workers 2] [--only eval,train]

FOLDER keeps the generated JPEGs (about 0.4 GB). Images are 3x288x288, so that 20,000 of them are
4.98 GB. The network is small, with strides: what is measured is how images are read. Each command
line runs in a process of its own; peak memory is the largest sum of resident sets of that process
and of those that it started, as the kernel counts them, looked at 20 times a second.

Each of the three runs twice: left alone, and killed with SIGKILL when a quarter of its work is done
and resumed. Both have to end with the same bits: weights, curves and newest checkpoint of `train`;
of `eval` and `transfer` what is printed as JSON but for seconds, and the arrays of every block.
Images per second are those of the whole command: every image is decoded once when the data set is
opened, and again whenever it is used. `audit` runs once, for its peak alone.
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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import RESULTS, record

from convscope.errors import ConvscopeError
from convscope.sharding import Part

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


Until = Callable[[], bool]
"""Whether it is time to kill a program."""


def with_checkpoint(run: Path, step: int) -> Until:
    """When training has written a checkpoint at a step or behind it."""
    return lambda: any(
        int(found.name.removeprefix("step-")) >= step
        for found in (run / "checkpoints").glob("step-*[0-9]")
    )


def with_blocks(folder: Path, share: float) -> Until:
    """When a share of the blocks of a job are kept in a folder."""

    def reached() -> bool:
        kept = len(list(folder.glob("block-*")))
        try:
            return kept > 0 and kept >= share * len(Part.opened(folder).job.blocks)
        except ConvscopeError:  # It is just being made.
            return False

    return reached


def measured(
    command: list[str], environment: dict[str, str], out: Path, *, until: Until | None = None
) -> dict[str, Any]:
    """Run a command line that prints to `out`; kill it when it is time, if that is given."""
    began, peak, processes = time.perf_counter(), 0, 0
    with (
        out.open("wb") as printed,
        subprocess.Popen(
            command, stdout=printed, stderr=subprocess.PIPE, env=environment
        ) as program,
    ):
        assert program.stderr is not None
        os.set_blocking(program.stderr.fileno(), False)
        words = b""
        while program.poll() is None:
            sizes = [resident(pid) for pid in family(program.pid)]
            if sum(sizes) > peak:
                peak, processes = sum(sizes), len(sizes)
            words += program.stderr.read() or b""
            if until is not None and until():
                program.send_signal(signal.SIGKILL)
                program.wait()
            time.sleep(0.05)
        words += program.stderr.read() or b""
    seconds = time.perf_counter() - began
    if program.returncode and until is None:
        sys.exit(f"{command}\n{words.decode(errors='replace')[-800:]}")
    if until is not None and program.returncode != -signal.SIGKILL:
        sys.exit(f"{command}\nwas through before it was to be killed")
    return {
        "seconds": round(seconds, 1),
        "peak_megabytes": round(peak / 1e6, 1),
        "processes": processes,
        "exit_status": program.returncode,
    }


def without_seconds(tree: Any) -> Any:
    """What a command printed as JSON, without times."""
    if isinstance(tree, list):
        return [without_seconds(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    return {name: without_seconds(one) for name, one in tree.items() if "seconds" not in name}


def judged_digest(part: Path, printed: Path) -> str:
    """SHA-256 of what judging has to reproduce: what was printed, the arrays of all blocks."""
    found = without_seconds(json.loads(printed.read_text()))
    whole = hashlib.sha256(json.dumps(found, sort_keys=True).encode())
    kept = Part.opened(part)
    assert not kept.missing(), "all blocks are there"
    for block in kept.blocks():
        for name, array in sorted(kept.read(block).arrays.items()):
            whole.update(f"{block} {name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return whole.hexdigest()


def trained_digest(run: Path) -> str:
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
    arguments.add_argument("--note", help="on the machine meanwhile, for the record")
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
    earlier = RESULTS / "streaming_large.json"
    known = json.loads(earlier.read_text())["figures"] if earlier.exists() and given.only else {}
    context = {"workers": given.workers} | ({"note": given.note} if given.note else {})
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

        record("streaming_large", figures, **context)

    wanted = (given.only or "eval,transfer,train,audit").split(",")
    weights = work / "weights.safetensors"
    if not weights.exists():
        sys.path.insert(0, str(work.resolve()))
        make_weights(weights)
    (work / "classes.txt").write_text("\n".join(f"class-{k}" for k in range(CLASSES)))
    judged = [*network, "--weights", str(weights), "--classes", str(work / "classes.txt")]

    def twice(
        name: str,
        command: list[str],
        until: Callable[[Path], Until],
        flag: str,
        digest: Callable[[Path, Path], str],
        resume: tuple[str, ...] = (),
    ) -> None:
        """A command left alone, and killed and resumed; both keep their work in a folder."""
        alone, killed = work / f"{name}-alone", work / f"{name}-killed"
        for folder in (alone, killed):  # of an earlier call
            shutil.rmtree(folder, ignore_errors=True)
        outs = [folder.with_suffix(".out") for folder in (alone, killed)]
        words = [*program, *command, flag]
        keep(name, measured([*words, str(alone)], environment, outs[0]))
        struck = measured([*words, str(killed)], environment, outs[1], until=until(killed))
        keep(f"{name}, killed", struck)
        keep(f"{name}, resumed", measured([*words, str(killed), *resume], environment, outs[1]))
        same = digest(alone, outs[0]) == digest(killed, outs[1])
        figures[f"{name}, same bits after kill"] = same
        print(name, "same bits after kill:", same, flush=True)
        record("streaming_large", figures, **context)

    for name, command in {
        "eval": ["eval", *judged, *data, "--split", "all", "--json"],
        "transfer": ["transfer", *judged, *data, "--json"],
    }.items():
        if name in wanted:
            twice(name, command, partial(with_blocks, share=0.25), "--part", judged_digest)
    if "train" in wanted:
        batch = 64 if given.images >= 10_000 else 1
        steps = given.images * 7 // 10 // batch  # seven of ten images are for training
        train = ["train", *network, *data, "--epochs", "1", "--batch-size", str(batch)]
        train += ["--checkpoint-steps", str(max(1, steps // 10))]
        twice("train", train, partial(with_checkpoint, step=max(1, steps // 4)), "--out",
              lambda run, _: trained_digest(run), resume=("--resume",))  # fmt: skip
    if "audit" in wanted:
        command = ["audit", *judged, *data, "--only", "performance", "--force", "--out"]
        command += [str(work / "audit.html")]
        keep("audit", measured([*program, *command], environment, work / "audit.out"))


if __name__ == "__main__":
    main()
