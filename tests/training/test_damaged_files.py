"""Readers of a run's environment and checkpoints, fed with damaged files."""

import hashlib
import json

import pytest

from convscope.training import search, space_from_table
from convscope.training._checkpoints import read_checkpoint
from convscope.training._environment import read_environment
from convscope.training._search_folder import FolderLedger
from convscope.training._search_space import grid_of
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


def search_file(name):
    """A file of a search in a folder: its description, or the record of a trial."""

    def make(folder):
        _, data, settings = small_run(folder)
        words = {"space": {"learning_rate": [0.001, 0.01]}, "storage": folder / "search"}
        search(settings, data, method="grid", **words)

        def read():
            about = json.loads(whole)
            ledger = FolderLedger(
                folder / "search",
                about,
                trials=2,
                parameters=grid_of(space_from_table(words["space"]), seed=0).__getitem__,
            )
            return ledger.trials()

        whole = (folder / "search" / "search.json").read_bytes()
        return folder / "search" / name, read

    return make


READERS = {
    "search.json": search_file("search.json"),
    "trial.json": search_file("trials/0000/trial.json"),
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
