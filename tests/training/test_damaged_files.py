"""Readers of a run's environment and checkpoints, fed with damaged files."""

import hashlib
import json

import pytest

from convscope.training._checkpoints import read_checkpoint
from convscope.training._environment import read_environment
from tests.fuzz.damage import check_reader, needs_alarm, run_file, small_run


def checkpoint_file(name):
    """A file of the newest checkpoint, with a manifest that vouches for its damage."""

    def make(folder):
        run, *_ = small_run(folder)
        newest = max((run / "checkpoints").iterdir())
        manifest = newest / "MANIFEST.json"
        right = json.loads(manifest.read_text())

        def read():
            if name != "MANIFEST.json":
                data = (newest / name).read_bytes()
                right["files"][name] = hashlib.sha256(data).hexdigest()
                manifest.write_text(json.dumps(right))
            return read_checkpoint(newest)

        return newest / name, read

    return make


READERS = {
    "env.json": run_file("env.json", lambda run: read_environment(run / "env.json")),
    "MANIFEST.json": checkpoint_file("MANIFEST.json"),
    "state.json": checkpoint_file("state.json"),
    "metrics of a checkpoint": checkpoint_file("metrics.csv"),
    "weights of a checkpoint": checkpoint_file("model.safetensors"),
}


@needs_alarm
@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_in_the_family_and_nothing_hangs(name, tmp_path):
    check_reader(name, READERS[name], tmp_path)
