"""Reading damaged files: an answer, or one error of the family, and nothing hangs.

A reader is a function of an empty folder that puts a file there and returns its path and a call
that reads it. A mutant may be read (not all damage can be seen), but nothing outside the family may
be raised and nothing may hang.
"""

import io
import signal

import numpy as np
import pytest
from PIL import Image

from convscope.data import Dataset
from convscope.errors import ConvscopeError
from convscope.training import TrainSettings, train
from tests.fuzz.mutants import mutant
from tests.training.conftest import stripes

MUTANTS = 200
SECONDS = 5.0
"""For one mutant, after which it counts as a hang."""

needs_alarm = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarm on this system")


class Hang(BaseException):
    """A reader that does not come back."""


def data_file(name, data, read):
    def make(folder):
        (folder / name).write_bytes(data)
        return folder / name, lambda: read(folder / name)

    return make


def picture(kind, mode="RGB", **more):
    """The bytes of an image file."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, format=kind, **more)
    return out.getvalue()


def small_run(folder):
    """A run of four steps, its data and its settings."""
    parts = [stripes(24, 0, "train"), stripes(12, 1, "validation"), stripes(8, 2, "test")]
    data = Dataset(name="stripes", class_names=tuple("abcd"), train=parts[0], validation=parts[1],
                   test=parts[2], source="generated", hashes={})  # fmt: skip
    settings = TrainSettings(model="mnist-conv1", data="stripes", epochs=2, batch_size=12,
                             precision="fp32", checkpoint_steps=1)  # fmt: skip
    train(settings, data, out=folder / "run")
    return folder / "run", data, settings


def run_file(name, read):
    """A file of a run folder; `read` takes the folder."""

    def make(folder):
        run, *_ = small_run(folder)
        return run / name, lambda: read(run)

    return make


def attack(name, path, read, count, first=0):
    """Read `count` mutants; those that raise something else or hang, each with its number."""
    whole = path.read_bytes()
    read()

    def late(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    faults, refused = [], 0
    try:
        for number in range(first, first + count):
            path.write_bytes(mutant(whole, number, name))
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            try:
                read()
            except ConvscopeError as error:
                refused += 1
                if len(str(error).splitlines()) > 3:
                    faults.append(f"{number}: more than three lines")
            except (Exception, Hang) as error:
                faults.append(f"{number}: {type(error).__name__} {str(error)[:90]}")
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    return faults, refused


def check_reader(name, reader, folder, *, refuses=True):
    """Every mutant is refused in the family or read, and some damage is noticed.

    Args:
        name: Of the reader; it seeds the damage.
        reader: Makes the file and the call that reads it.
        folder: Where.
        refuses: False if what is damaged becomes a remark in the answer, never an error.
    """
    path, read = reader(folder)
    faults, refused = attack(name, path, read, MUTANTS)
    assert not faults, f"{len(faults)} of {MUTANTS}: " + "; ".join(faults[:8])
    assert bool(refused) is refuses, "no damage was noticed: is the file read at all?"
