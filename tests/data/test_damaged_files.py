"""Readers of data files, fed with damaged ones."""

import gzip
import io
import pickle
import tarfile

import numpy as np
import pytest

from convscope.data._cifar10 import read_binary, read_python
from convscope.data._file import read_members
from convscope.data._idx import read_idx
from convscope.data._image import read_pixels
from convscope.data._npy import open_npy
from convscope.data._pets import read_lists
from convscope.data._tar import open_tar
from tests.data.conftest import idx_bytes, record_batch, write_small_pets
from tests.fuzz.damage import check_reader, data_file, needs_alarm, picture


def pets_list(folder):
    root = write_small_pets(folder) / "oxford-iiit-pet"
    return root / "annotations" / "trainval.txt", lambda: read_lists(root)


def archive():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name in ("mnist/a.bin", "mnist/b.bin"):
            entry = tarfile.TarInfo(name)
            entry.size = 700
            tar.addfile(entry, io.BytesIO(bytes(range(100)) * 7))
    return out.getvalue()


def batch(pickled):
    table = record_batch(3)
    content = {b"data": table[:, 1:].copy(), b"labels": table[:, 0].tolist()}
    return pickle.dumps(content, protocol=2) if pickled else table.tobytes()


def pixels_of(path):
    return read_pixels(path, channels=3, size=(16, 16), fit="crop")


IDX = idx_bytes(np.random.default_rng(0).integers(0, 256, (5, 9, 8)))


def array(labels):
    """An array of images, or its labels, is damaged."""

    def make(folder):
        np.save(folder / "a.npy", np.random.default_rng(0).integers(0, 9, (9, 4, 4)).astype("u1"))
        np.save(folder / "a.labels.npy", np.arange(9) % 3)
        damaged = folder / ("a.labels.npy" if labels else "a.npy")
        return damaged, lambda: open_npy(folder / "a.npy")

    return make


def shard():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for k in range(3):
            for name, data in ((f"{k}.png", picture("PNG")), (f"{k}.cls", b"1")):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


READERS = {
    "npy": array(labels=False),
    "labels of npy": array(labels=True),
    "shard": data_file("a.tar", shard(), lambda p: open_tar(str(p))),
    "idx": data_file("images-idx3-ubyte", IDX, lambda p: read_idx(p, dimensions=3)),
    "gz": data_file("images.gz", gzip.compress(IDX), lambda p: read_idx(p, dimensions=3)),
    "cifar10 binary": data_file(
        "b.bin", batch(False), lambda p: read_binary(p.read_bytes(), where=p)
    ),
    "cifar10 pickle": data_file("b", batch(True), lambda p: read_python(p.read_bytes(), where=p)),
    "tar": data_file(
        "set.tar.gz", archive(), lambda p: read_members(p.read_bytes(), {"a.bin"}, where=p)
    ),
    "PNG": data_file("a.png", picture("PNG"), pixels_of),
    "gray PNG with transparency": data_file("a.png", picture("PNG", "LA"), pixels_of),
    "JPEG": data_file("a.jpg", picture("JPEG"), pixels_of),
    "GIF": data_file("a.gif", picture("GIF", "P"), pixels_of),
    "BMP": data_file("a.bmp", picture("BMP"), pixels_of),
    "WebP": data_file("a.webp", picture("WEBP", lossless=True), pixels_of),
    "pets list": pets_list,
}


@needs_alarm
@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_in_the_family_and_nothing_hangs(name, tmp_path):
    check_reader(name, READERS[name], tmp_path)
