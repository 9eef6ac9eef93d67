"""Readers that anybody can call, fed with damaged files: an answer, or one error of the family.

Those that are private to a package are tested likewise in its folder, by `test_damaged_files.py`.
"""

import pytest
import torch

from convscope import Classifier, results, scratch
from convscope.data import open_dataset
from convscope.explanations import Explanation, saliency
from convscope.models import build, load, save_model
from convscope.reports import render
from convscope.sharding import Part, Shard, collected, judge, parts_below
from convscope.training import read_history, read_settings, read_space, train
from tests.fuzz.damage import (
    attack,
    check_reader,
    needs_alarm,
    picture,
    run_file,
    small_run,
)
from tests.reports.conftest import full_report
from tests.sharding.conftest import Squares, job


def network(**more):
    net = build("mnist-conv1-bn", num_classes=3, input_shape=(1, 8, 8), generator=torch.Generator())
    return {"module": net, "architecture": "mnist-conv1-bn", "class_names": tuple("abc"),
            "input_shape": (1, 8, 8), "mean": (0.1,), "std": (0.3,)} | more  # fmt: skip


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
        saved = results.save(_explained(torch.rand(2, 1, 4, 4)), folder / "result")
        return saved / name, lambda: results.load(Explanation, saved)

    return make


def _explained(images):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    return saliency(Classifier.wrap(module, input_shape=(1, 4, 4)), images, "all")


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


def image_folder(folder):
    for name in ("ants", "bees"):
        (folder / "set" / name).mkdir(parents=True)
        for i in range(3):
            (folder / "set" / name / f"{i}.png").write_bytes(picture("PNG"))
    return folder / "set" / "ants" / "0.png", lambda: open_dataset(f"folder:{folder / 'set'}")


def space_file(folder):
    (folder / "space.toml").write_text(
        "learning_rate = { low = 0.001, high = 0.1, log = true, points = 4 }\n"
        "batch_size = [32, 64]\n[augment]\nshift = { low = 0, high = 2 }\n"
    )
    return folder / "space.toml", lambda: read_space(folder / "space.toml")


def part_file(name):
    """A file of a part that is finished; it is merged."""

    def make(folder):
        judging = Squares()
        part, _ = Part.begun(folder / "part", job(judging))
        judge(judging, part, Shard())
        return folder / "part" / name, lambda: collected(parts_below([folder]))

    return make


READERS = {
    "part": part_file("job.json"),
    "block of a part": part_file("block-000001.npz"),
    "head of a part": part_file("head.npz"),
    "folder": image_folder,
    "space.toml": space_file,
    "safetensors": model_file("model.safetensors"),
    "model config": model_file("config.json"),
    "pt": torch_file,
    "scratch weights": scratch_file("model.safetensors"),
    "scratch config": scratch_file("config.json"),
    "config.toml": run_file("config.toml", lambda run: read_settings(run / "config.toml")),
    "config.toml beside weights": run_file("config.toml", load),
    "metrics.csv": run_file("metrics.csv", read_history),
    "report.json": report_file("report.json"),
    "report picture": report_file("images/*.png"),
    "report drawing": report_file("figures/*.svg"),
    "result.json": result_file("result.json"),
    "arrays.npz": result_file("arrays.npz"),
}
REMARKED = ("report picture", "report drawing", "config.toml beside weights")
"""The page has a box with the reason in their place; the classifier has a flag."""

WHOLE_RUNS = {
    "env.json": "env.json",
    "config.toml": "config.toml",
    "MANIFEST": "checkpoints/step-*/MANIFEST.json",
    "state": "checkpoints/step-*/state.json",
    "weights": "checkpoints/step-*/model.safetensors",
}


@needs_alarm
@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_in_the_family_and_nothing_hangs(name, tmp_path):
    check_reader(name, READERS[name], tmp_path, refuses=name not in REMARKED)


@needs_alarm
@pytest.mark.parametrize("name", WHOLE_RUNS)
def test_a_damaged_run_goes_on_or_says_why_not(name, tmp_path):
    path, read = resumed(WHOLE_RUNS[name])(tmp_path)
    faults, _ = attack(f"resumed {name}", path, read, 25)
    assert not faults, "; ".join(faults[:8])
