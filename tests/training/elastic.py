"""What test_elastic.py trains under torchrun: ``elastic.py FOLDER [RANK]``.

With RANK, that process is killed in its eighth update, the first time it runs.
"""

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

RESTARTED = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
if sys.argv[2:] == [os.environ["RANK"]] and not RESTARTED:
    os.environ["CONVSCOPE_FAULTS"] = "step.update:8:kill9"  # Read when convscope is imported.

import torch  # noqa: E402

from convscope.training import Started, train  # noqa: E402

_spec = importlib.util.spec_from_file_location("worlds", Path(__file__).with_name("worlds.py"))
worlds = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worlds)


def main(folder):
    def listener(event):
        if isinstance(event, Started):
            (folder / f"began-{RESTARTED}").write_text(str(event.step))

    settings = replace(worlds.SETTINGS, microbatches=2, mixup=0.4)
    train(settings, worlds.stripes(), out=folder / "run", resume=True, on_event=listener)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
