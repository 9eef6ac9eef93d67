"""Every reader of the package, fed with damaged files: an answer, or one error of the family.

Each case is a file and the function that reads it. A mutant may be read (not all damage can be
seen), but nothing outside the family may be raised and nothing may hang.
"""

import gzip
import hashlib
import io
import json
import pickle
import signal
import tarfile
import time

import numpy as np
import pytest
import torch
from PIL import Image

from convscope import results, scratch
from convscope.data import open_dataset
from convscope.data._cifar10 import read_binary, read_python
from convscope.data._idx import read_idx
from convscope.data._image import read_pixels
from convscope.data._pet_files import read_lists
from convscope.data._tar import read_members
from convscope.errors import ConvscopeError
from convscope.explanations import Explanation
from convscope.files import MODEL_CONFIG, read_json_table
from convscope.models import build, load, save_model
from convscope.models._description import read_class_names
from convscope.models._hugging_face import read_preprocessing
from convscope.reports import render
from convscope.studies._network import _environment, _settings
from convscope.training import read_history, read_settings, train
from convscope.training._checkpoints import read_checkpoint
from convscope.training._environment import read_environment
from tests.data.conftest import idx_bytes, record_batch, write_small_pets
from tests.fuzz.mutants import mutant
from tests.reports.conftest import full_report
from tests.training.conftest import stripes

MUTANTS = 200
SECONDS = 5.0
"""For one mutant, after which it counts as a hang."""


class Hang(BaseException):
    """A reader that does not come back."""


def picture(kind, mode="RGB", **more):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, format=kind, **more)
    return out.getvalue()


def network(**more):
    net = build("mnist-conv1-bn", num_classes=3, input_shape=(1, 8, 8), generator=torch.Generator())
    return {"module": net, "architecture": "mnist-conv1-bn", "class_names": tuple("abc"),
            "input_shape": (1, 8, 8), "mean": (0.1,), "std": (0.3,)} | more  # fmt: skip


def data_file(name, data, read):
    def make(folder):
        (folder / name).write_bytes(data)
        return folder / name, lambda: read(folder / name)

    return make


def model_file(name):
    """A file of a saved network; the mutant of a weight file is not stopped by a checksum."""

    def make(folder):
        save_model(folder, **network())
        if name == "model.safetensors":
            (folder / "config.json").unlink()
            return folder / name, lambda: load(folder / name)
        return folder / name, lambda: load(folder)

    return make


def torch_file(folder):
    net = build("mnist-conv1", generator=torch.Generator())
    torch.save({"state_dict": net.state_dict()}, folder / "net.pt")
    return folder / "net.pt", lambda: load(folder / "net.pt")


def scratch_file(name):
    def make(folder):
        save_model(folder, **network())
        return folder / name, lambda: scratch.load_network(folder)

    return make


def report_file(pattern):
    def make(folder):
        report = full_report().write(folder / "report")
        return next(report.glob(pattern)), lambda: render(report, folder / "out.html")

    return make


def result_file(name):
    def make(folder):
        made = _explained(torch.rand(2, 1, 4, 4))
        saved = results.save(made, folder / "result")
        return saved / name, lambda: results.load(Explanation, saved)

    return make


def _explained(images):
    from convscope import Classifier
    from convscope.explanations import saliency

    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    return saliency(Classifier.wrap(module, input_shape=(1, 4, 4)), images, "all")


def small_run(folder):
    from convscope.data import Dataset
    from convscope.training import TrainSettings

    parts = [stripes(24, 0, "train"), stripes(12, 1, "validation"), stripes(8, 2, "test")]
    data = Dataset(name="stripes", class_names=tuple("abcd"), train=parts[0], validation=parts[1],
                   test=parts[2], source="generated", hashes={})  # fmt: skip
    settings = TrainSettings(model="mnist-conv1", data="stripes", epochs=2, batch_size=12,
                             precision="fp32", checkpoint_steps=1)  # fmt: skip
    train(settings, data, out=folder / "run")
    return folder / "run", data, settings


def run_file(name, read):
    def make(folder):
        run, *_ = small_run(folder)
        return run / name, lambda: read(run)

    return make


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


def resumed(name):
    """The whole way: a run goes on from a folder with a damaged file."""

    def make(folder):
        run, data, settings = small_run(folder)
        whole = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        target = run / name if "/" not in name else max(run.glob(name))
        damaged = target

        def read():
            data_now = damaged.read_bytes()
            for path, content in whole.items():
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            damaged.write_bytes(data_now)
            return train(settings, data, out=run, resume=True)

        return target, read

    return make


def pets_list(folder):
    root = write_small_pets(folder) / "oxford-iiit-pet"
    return root / "annotations" / "trainval.txt", lambda: read_lists(root)


def image_folder(folder):
    for name in ("ants", "bees"):
        (folder / "set" / name).mkdir(parents=True)
        for i in range(3):
            (folder / "set" / name / f"{i}.png").write_bytes(picture("PNG"))
    return folder / "set" / "ants" / "0.png", lambda: open_dataset(f"folder:{folder / 'set'}")


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


def preprocessing_of(path):
    return read_preprocessing(read_json_table(path, MODEL_CONFIG), 3, "here")


PREPROCESSOR = json.dumps({
    "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_rescale": True,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 1 / 255,
    "do_center_crop": True, "do_normalize": True,
}).encode()  # fmt: skip

IDX = idx_bytes(np.random.default_rng(0).integers(0, 256, (5, 9, 8)))
READERS = {
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
    "folder": image_folder,
    "pets list": pets_list,
    "class names": data_file("classes.txt", b"cat\ndog\nbird\n", read_class_names),
    "safetensors": model_file("model.safetensors"),
    "model config": model_file("config.json"),
    "pt": torch_file,
    "preprocessor": data_file("preprocessor_config.json", PREPROCESSOR, preprocessing_of),
    "scratch weights": scratch_file("model.safetensors"),
    "scratch config": scratch_file("config.json"),
    "config.toml": run_file("config.toml", lambda run: read_settings(run / "config.toml")),
    "config.toml beside weights": run_file("config.toml", load),
    "config.toml in a report": run_file("config.toml", _settings),
    "env.json": run_file("env.json", lambda run: read_environment(run / "env.json")),
    "env.json in a report": run_file("env.json", _environment),
    "metrics.csv": run_file("metrics.csv", read_history),
    "MANIFEST.json": checkpoint_file("MANIFEST.json"),
    "state.json": checkpoint_file("state.json"),
    "metrics of a checkpoint": checkpoint_file("metrics.csv"),
    "weights of a checkpoint": checkpoint_file("model.safetensors"),
    "report.json": report_file("report.json"),
    "report picture": report_file("images/*.png"),
    "report drawing": report_file("figures/*.svg"),
    "result.json": result_file("result.json"),
    "arrays.npz": result_file("arrays.npz"),
}
WHOLE_RUNS = {
    "env.json": "env.json",
    "config.toml": "config.toml",
    "MANIFEST": "checkpoints/step-*/MANIFEST.json",
    "state": "checkpoints/step-*/state.json",
    "weights": "checkpoints/step-*/model.safetensors",
}
TIMES: dict[str, float] = {}


def attack(name, path, read, count, first=0):
    """Read `count` mutants; those that raise something else or hang, each with its number."""
    whole = path.read_bytes()
    read()

    def late(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    faults, refused, started = [], 0, time.perf_counter()
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
    TIMES[name] = time.perf_counter() - started
    return faults, refused


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarm on this system")
@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_in_the_family_and_nothing_hangs(name, tmp_path):
    path, read = READERS[name](tmp_path)
    faults, refused = attack(name, path, read, MUTANTS)
    assert not faults, f"{len(faults)} of {MUTANTS}: " + "; ".join(faults[:8])
    assert refused or "report" in name, "no damage was noticed: is the file read at all?"


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarm on this system")
@pytest.mark.parametrize("name", WHOLE_RUNS)
def test_a_damaged_run_goes_on_or_says_why_not(name, tmp_path):
    path, read = resumed(WHOLE_RUNS[name])(tmp_path)
    faults, _ = attack(f"resumed {name}", path, read, 25)
    assert not faults, "; ".join(faults[:8])
