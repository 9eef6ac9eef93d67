"""Makers of small data files; nothing here is read by the package itself."""

import ctypes
import gc
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from convscope.errors import ConvscopeError


def idx_bytes(values, kind=8):
    values = np.asarray(values, dtype=np.uint8)
    head = struct.pack(">I", (kind << 8) | values.ndim)
    return head + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_small_mnist(folder, *, train=24, test=10, gz=True, **replaced):
    """A tiny data set with MNIST's file names, right in every respect but its pixels."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("t10k", test)):
        values = {
            "images-idx3": rng.integers(0, 256, (count, 28, 28)),
            "labels-idx1": np.arange(count) % 10,
        }
        for name, array in values.items():
            data = replaced.get(f"{part}_{name[:6]}", idx_bytes(array))
            path = folder / f"{part}-{name}-ubyte{'.gz' if gz else ''}"
            path.write_bytes(gzip.compress(data, 1) if gz else data)
    return folder


def record_batch(count, seed=0):
    """(count, 3073) records of CIFAR-10's binary layout."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (count, 3073)).astype(np.uint8)
    table[:, 0] = np.arange(count) % 10
    return table


def write_small_cifar(folder, *, count=12, suffix=".bin"):
    import pickle

    folder.mkdir(parents=True, exist_ok=True)
    for seed, batch in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        table = record_batch(count, seed)
        content = {b"data": table[:, 1:].copy(), b"labels": table[:, 0].tolist()}
        data = table.tobytes() if suffix else pickle.dumps(content, protocol=2)
        (folder / f"{batch}{suffix}").write_bytes(data)
    return folder


def write_small_pets(folder, *, count=6, size=(48, 40)):
    """Two of three listed breeds in the official layout; the pet is the white part of a photo."""
    from PIL import Image

    width, height = size
    root = folder / "oxford-iiit-pet"
    (root / "images").mkdir(parents=True)
    (root / "annotations" / "trimaps").mkdir(parents=True)
    lists = {
        "list": ["#Image CLASS-ID SPECIES BREED ID", "Bengal_1 3 1 2"],
        "trainval": [],
        "test": [],
    }
    rng = np.random.default_rng(0)
    for number, breed in ((1, "Abyssinian"), (2, "american_bulldog")):
        for photo in range(1, count + 1):
            name = f"{breed}_{photo}"
            trimap = np.full((height, width), 2, np.uint8)
            trimap[height // 4 :, : width // 3 + 3 * photo] = 1
            pixels = np.where(trimap == 1, 240, 10)[..., None] + rng.integers(
                0, 8, (height, width, 3)
            )
            Image.fromarray(pixels.astype(np.uint8)).save(root / f"images/{name}.jpg", quality=95)
            Image.fromarray(trimap).save(root / f"annotations/trimaps/{name}.png")
            line = f"{name} {number} 1 {number}"
            lists["list"].append(line)
            lists["trainval" if photo <= count * 2 // 3 else "test"].append(line)
    for name, lines in lists.items():
        (root / f"annotations/{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def make_idx():
    return idx_bytes


@pytest.fixture
def make_mnist():
    return write_small_mnist


@pytest.fixture
def make_cifar():
    return write_small_cifar


@pytest.fixture
def make_pets(tmp_path):
    return lambda **settings: write_small_pets(tmp_path / "data", **settings)


@pytest.fixture
def make_records():
    return record_batch


@pytest.fixture
def refused():
    """Check that a call is refused by the house rules, and give the error."""

    def check(code, kind, call, *arguments, **settings):
        with pytest.raises(ConvscopeError) as caught:
            call(*arguments, **settings)
        error = caught.value
        text = str(error)
        assert isinstance(error, kind), f"{type(error).__name__}: {text}"
        assert error.code == code, f"{error.code}: {text}"
        assert len(text.splitlines()) <= 3
        assert all(character.isprintable() for character in text.replace("\n", ""))
        return error

    return check


@pytest.fixture(scope="session")
def _collected():
    """What is there before is not searched for garbage again at every measurement."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def extra_memory(_collected):
    """Run something and give the megabytes it held at its peak, beyond what was held before."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists() or not reset.exists():
        pytest.skip("needs Linux to watch the peak of the memory")

    def held(name):
        line = next(one for one in status.read_text().splitlines() if one.startswith(name))
        return int(line.split()[1]) / 1024

    # Other tests may have told the allocator to keep what is freed; that would hide new memory.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)

    def measure(call):
        gc.collect()
        trim(0)
        reset.write_text("5")
        before = held("VmRSS")
        call()
        return held("VmHWM") - before

    return measure


@pytest.fixture
def image_folder(tmp_path):
    """Three class folders of six small PNG files each."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("ants", "bees", "cats"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{number}.png")
    return Path(tmp_path / "set")
