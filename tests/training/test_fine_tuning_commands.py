"""``convscope train`` for networks of transformers and of one's own, on folders of images."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.cli import main
from convscope.data import StoredImages, open_folder
from convscope.models import load
from convscope.training import _faults, read_settings
from convscope.training._batches import balanced_order, balanced_weights

transformers = pytest.importorskip("transformers")

SIDE = 24
PROCESSOR = {
    "image_processor_type": "MobileNetV2ImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 28},
    "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.2, 0.3],
    "resample": 2,
}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small MobileNetV2 of transformers with ten classes, in its format."""
    folder = tmp_path_factory.mktemp("network")
    torch.manual_seed(0)
    config = transformers.MobileNetV2Config(depth_multiplier=0.1, image_size=SIDE, num_labels=10)
    transformers.MobileNetV2ForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of photos of various sizes: red and blue, with noise."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for name, channel in (("red", 0), ("blue", 2)):
        (folder / name).mkdir()
        for number in range(20):
            size = (30 + number, 40, 3)
            pixels = generator.integers(0, 90, size).astype(np.uint8)
            pixels[:, :, channel] += 120
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder


def words(network, photos, out, *more):
    data = ["--data", f"folder:{photos}", "--out", str(out)]
    return ["train", f"hf:{network}", *data, "--epochs", "1", "--batch-size", "8", *more]


def test_fine_tune_a_network_of_transformers(network, photos, tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*words(network, photos, out), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["preset"] == "finetune"
    assert said.err.splitlines()[-1].startswith(f"next: convscope eval {out} --data folder:")
    settings = read_settings(out / "config.toml")
    assert (settings.model, settings.head_init) == (f"hf:{network}", "probe")
    network.rename(tmp_path / "gone")
    try:
        loaded = load(out)
    finally:
        (tmp_path / "gone").rename(network)
    before = load(f"hf:{network}")
    assert loaded.class_names == ("blue", "red")
    assert loaded.module.config.id2label == {0: "blue", 1: "red"}
    assert (loaded.mean, loaded.std, loaded.resize) == (before.mean, before.std, before.resize)
    assert loaded.input_shape == (3, SIDE, SIDE)
    assert not loaded.flags
    assert main(["eval", str(out), "--data", f"folder:{photos}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] > 0


def test_what_was_fine_tuned_is_fine_tuned_again(network, photos, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(words(network, photos, first)) == 0
    again = ["train", str(first), *words(network, photos, second)[2:]]
    assert main(again) == 0
    a, b = load(first), load(second)
    assert a.class_names == b.class_names
    assert not torch.equal(a.module.classifier.weight, b.module.classifier.weight)


@pytest.mark.parametrize("at", ["step.forward:2:sigint", "data.read:3:sigterm"])
def test_stopped_and_resumed_to_the_same_bits(network, photos, tmp_path, digest, at, capsys):
    calm, out = tmp_path / "calm", tmp_path / "run"
    assert main(words(network, photos, calm)) == 0
    _faults.arm(at)
    assert main(words(network, photos, out)) in (130, 143)
    _faults.arm("")
    assert "everything is saved" in capsys.readouterr().err
    assert main(["train", "--resume", "--out", str(out)]) == 0
    assert digest(out) == digest(calm)


def test_stopped_while_the_head_is_fitted(network, photos, tmp_path, digest, monkeypatch, capsys):
    import signal

    from convscope.training import _probe

    calm, out = tmp_path / "calm", tmp_path / "run"
    assert main(words(network, photos, calm)) == 0

    def announce(share, what):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_probe, "CHUNK", 4)
    monkeypatch.setattr(_probe, "announce", announce)
    assert main(words(network, photos, out)) == 130
    monkeypatch.undo()
    assert main(["train", "--resume", "--out", str(out)]) == 0
    assert digest(out) == digest(calm)


def test_images_on_the_disk_change_no_bit(network, photos, tmp_path, digest, monkeypatch, capsys):
    assert main(words(network, photos, tmp_path / "memory")) == 0
    monkeypatch.setenv("CONVSCOPE_IMAGE_MEMORY", "0")
    assert isinstance(open_folder(photos).train.images, StoredImages)
    assert main(words(network, photos, tmp_path / "disk")) == 0
    assert digest(tmp_path / "disk") == digest(tmp_path / "memory")


def test_code_is_not_run_because_a_run_folder_names_it(photos, tmp_path, monkeypatch, capsys):
    (tmp_path / "code_of_mine.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(4, 5)).eval()\n"
    )
    monkeypatch.chdir(tmp_path)
    train = ["train", "code_of_mine:make", "--input-shape", "3,16,16", "--epochs", "1"]
    more = ["--data", f"folder:{photos}", "--batch-size", "8", "--out", "run"]
    assert main([*train, *more]) == 0
    assert main(["train", "--resume", "--out", "run"]) == 2
    assert "name it, if you trust it" in capsys.readouterr().err
    assert main([*train, *more, "--resume"]) == 0
    assert main(["eval", "run", "--data", f"folder:{photos}"]) == 4
    assert "no file makes convscope run code" in capsys.readouterr().err
    weights = ["--input-shape", "3,16,16", "--weights", "run"]
    assert main(["eval", "code_of_mine:make", "--data", f"folder:{photos}", *weights]) == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("mnist-conv1 --data digits --preset finetune", "begins without weights"),
        ("mnist-conv1 --data digits --freeze body", "freeze would change nothing"),
        ("mnist-conv1 --data digits --weights x.safetensors", "--weights would change nothing"),
        ("mnist-conv --data digits", "unknown network"),
        ("hf:no/such/folder --data digits", "no such folder"),
    ],
)
def test_refusals(line, told, tmp_path, capsys):
    assert main(["train", *line.split(), "--out", str(tmp_path / "run")]) in (2, 4)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("counts", [(90, 9, 1), (5, 0, 6), (1, 1, 1)])
def test_balanced_order_shows_every_class_equally_often(counts):
    labels = torch.cat([torch.full((count,), c) for c, count in enumerate(counts)])
    seen = torch.zeros(len(labels), dtype=torch.int64)
    for epoch in range(30):
        rows = balanced_order(7, epoch, labels)
        assert torch.equal(rows, balanced_order(7, epoch, labels))
        shown = labels[rows].bincount(minlength=3)
        present = shown[torch.tensor(counts) > 0]
        assert present.max() - present.min() <= 1
        assert len(rows) == len(labels)
        seen += rows.bincount(minlength=len(labels))
        for c in range(3):
            often = rows.bincount(minlength=len(labels))[labels == c]
            assert not len(often) or often.max() - often.min() <= 1
    assert bool((seen > 0).all())


def test_balanced_weights_make_every_class_count_the_same():
    labels = torch.tensor([0] * 6 + [2] * 2)
    weights = balanced_weights(labels, 3)
    assert weights.tolist() == pytest.approx([8 / 12, 0, 2.0])
