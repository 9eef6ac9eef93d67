"""What test_elastic.py trains under torchrun: ``elastic.py FOLDER [RANK [SLEEP]]``.

The first process that runs as RANK is killed in its eighth update; with SLEEP it only says that it
has come there, and waits to be killed with its machine.
"""

import importlib.util
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

FOLDER, LOST, WAITS = Path(sys.argv[1]), sys.argv[2:3], bool(sys.argv[3:])
DEAD = FOLDER / "dead"
"""Agents on several machines count their restarts apart, so a file says what has happened."""

FIRST = [os.environ.get("RANK")] == LOST and not DEAD.exists()
if FIRST and not WAITS:
    DEAD.touch()
    os.environ["CONVSCOPE_FAULTS"] = "step.update:8:kill9"  # Read when convscope is imported.

import torch  # noqa: E402

from convscope.training import Started, _loop, train  # noqa: E402

_spec = importlib.util.spec_from_file_location("worlds", Path(__file__).with_name("worlds.py"))
worlds = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worlds)


def wait_in_update(number):
    """Say which process is in an update, and wait."""
    step = _loop.Engine._step

    def waiting(self, state, scale):
        if state.step + 1 == number:
            (FOLDER / "waits.part").write_text(str(os.getpid()))
            (FOLDER / "waits.part").rename(FOLDER / "waits")
            time.sleep(600)
        step(self, state, scale)

    _loop.Engine._step = waiting


def main():
    def listener(event):
        if isinstance(event, Started):
            with (FOLDER / "began").open("a") as file:
                file.write(f"{event.step} of {os.environ['WORLD_SIZE']}\n")

    settings = replace(worlds.SETTINGS, microbatches=2, mixup=0.4)
    train(settings, worlds.stripes(), out=FOLDER / "run", resume=True, on_event=listener)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if WAITS and not DEAD.exists() and os.environ["WORLD_SIZE"] == "1":
        time.sleep(600)  # The other machine is slow; it ends this process when it comes.
    if FIRST and WAITS:
        DEAD.touch()
        wait_in_update(8)
    main()
