"""Transfer learning: equal to scikit-learn, the test images looked at once, nothing run twice."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convscope import load, open_dataset, results
from convscope.classifier import Classifier
from convscope.cli import main
from convscope.errors import DataError, UsageError
from convscope.figures import draw
from convscope.progress import watch
from convscope.transfer import (
    TRANSFER_CLASSIFIERS,
    TransferResult,
    feature_layer,
    layer_features,
    transfer,
)


def network(classes=3, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(),
        nn.Linear(72, classes),
    )  # fmt: skip
    return Classifier.wrap(net, input_shape=(1, 28, 28))


@pytest.fixture
def folder(tmp_path):
    """Three classes that differ in brightness and stripes; 30 photos each for training, 10 test."""
    draw_ = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 10)):
        for label, name in enumerate(("ant", "bee", "cat")):
            for number in range(count):
                levels = draw_.integers(0, 120, (28, 28)) + 60 * label
                levels[:: 2 + label] = 0
                place = tmp_path / "set" / split / name / f"{number}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(place)
    return tmp_path / "set"


def parts(classifier, data):
    """Normalized features and labels of training and test images, by other means."""
    dataset, where = open_dataset(data, input_shape=(1, 28, 28)), feature_layer(classifier)
    found = []
    with classifier.probe() as probe:
        for splits in (("train", "validation"), ("test",)):
            x = torch.cat([dataset.split(split).to_float() for split in splits])
            labels = torch.cat([dataset.split(split).labels for split in splits])
            x = layer_features(probe, x, where)
            found.append((nn.functional.normalize(x).double().numpy(), labels.numpy()))
    return found


@pytest.mark.parametrize("method", TRANSFER_CLASSIFIERS)
def test_the_numbers_are_those_of_scikit_learn(folder, method):
    data, classifier = f"folder:{folder}", network()
    found = transfer(classifier, data, method=method)
    (x, y), (test_x, test_y) = parts(classifier, data)
    right = TRANSFER_CLASSIFIERS[method](found.value, 0).fit(x, y)
    assert found.predicted.tolist() == right.predict(test_x).tolist()
    assert found.labels.tolist() == test_y.tolist() and found.n == 30
    assert found.training_images == 90 and found.fold_scores.shape == (5, 5)
    assert found.mean_per_class == pytest.approx(found.per_class.mean().item())
    assert found.mean_per_class > 0.8
    assert int(found.confusion.sum()) == 30 and found.confusion.sum(dim=1).tolist() == [10] * 3
    low, high = found.mean_per_class_interval
    assert low < found.mean_per_class <= high


def test_the_value_is_the_best_of_the_folds_of_equal_ones_the_strongest(folder):
    found = transfer(network(), f"folder:{folder}")
    means = found.fold_scores.mean(dim=1)
    assert found.value == found.values[int(means.argmax())]
    assert list(found.values) == sorted(found.values)


def test_two_classes_have_weights_of_both(folder):
    for name in ("cat",):
        for split in ("train", "test"):
            for file in (folder / split / name).iterdir():
                file.unlink()
    classifier = network()
    for method in TRANSFER_CLASSIFIERS:
        found = transfer(classifier, f"folder:{folder}", method=method)
        (x, y), (test_x, _) = parts(classifier, f"folder:{folder}")
        right = TRANSFER_CLASSIFIERS[method](found.value, 0).fit(x, y).predict(test_x)
        assert found.predicted.tolist() == right.tolist() and found.weights.shape == (2, 72)


def test_test_images_are_opened_when_all_is_decided(folder, monkeypatch):
    from convscope.transfer import _transfer

    seen = []
    features, fitted = _transfer._Reader.features, _transfer._fitted
    monkeypatch.setattr(_transfer._Reader, "features", lambda self, part: (
        seen.append(part.name), features(self, part))[1])  # fmt: skip
    monkeypatch.setattr(_transfer, "_fitted", lambda *a: (seen.append("fit"), fitted(*a))[1])
    transfer(network(), f"folder:{folder}", method="ridge")
    assert seen == ["training", *["fit"] * 26, "test"]


def test_images_in_memory_and_the_result_is_kept(tmp_path):
    digits = open_dataset("digits")
    found = transfer(load("mnist-conv2-fc"), digits, method="ridge", cache=tmp_path / "cache")
    assert found.mean_per_class > 0.9 and found.data == "digits"
    assert found.mistakes.images.dtype == torch.uint8
    assert len(found.mistakes.names) == min(24, int((found.predicted != found.labels).sum()))
    again = transfer(load("mnist-conv2-fc"), "digits", method="ridge", cache=tmp_path / "cache")
    assert again.computed == 2 and torch.equal(again.predicted, found.predicted)
    results.save(found, tmp_path / "kept")
    kept = results.load(TransferResult, tmp_path / "kept")
    assert torch.equal(kept.weights, found.weights) and kept.summary() == found.summary()
    assert len(draw(kept).axes) == 3 and "mean per class" in repr(kept)


def test_nothing_is_run_twice_and_another_network_is_run_anew(folder, tmp_path):
    data, cache = f"folder:{folder}", tmp_path / "cache"
    first = transfer(network(), data, cache=cache)
    assert first.computed == 120
    again = transfer(network(), data, cache=cache, method="svm")
    assert again.computed == 2  # Two are run to see that the cache is of this network.
    assert transfer(network(seed=1), data, cache=cache).computed == 120
    other = transfer(Classifier.wrap(network().module, input_shape=(1, 28, 28), mean=(0.5,)), data,
                     cache=cache)  # fmt: skip
    assert other.computed == 120


def test_a_cache_of_other_code_with_the_same_weights_is_thrown_away(folder, tmp_path):
    data, cache = f"folder:{folder}", tmp_path / "cache"
    classifier = network()
    transfer(classifier, data, cache=cache)
    shifted = Classifier.wrap(
        classifier.module, input_shape=(1, 28, 28), preprocess=lambda x: (x + 1) / 2
    )
    found = transfer(shifted, data, cache=cache)
    assert found.computed >= 120 and any("another version" in note for note in found.notes)
    right = transfer(shifted, data)
    assert torch.equal(found.predicted, right.predicted)
    assert transfer(shifted, data, cache=cache).computed == 2


@pytest.mark.parametrize("damage", ["cut", "bits", "empty", "pickle", "numbers", "shape"])
def test_damaged_parts_of_a_cache_are_computed_again(folder, tmp_path, damage):
    data, cache = f"folder:{folder}", tmp_path / "cache"
    first = transfer(network(), data, cache=cache)
    file = sorted(cache.rglob("*.npz"))[0]
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "bits":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "pickle":
        marker = tmp_path / "executed"
        file.write_bytes(pickle.dumps(Bomb(str(marker))))
    else:
        arrays = dict(np.load(file))
        features = arrays["features"]
        arrays["features"] = features * np.nan if damage == "numbers" else features[:, :5]
        np.savez(file, **arrays)
    found = transfer(network(), data, cache=cache)
    assert 2 < found.computed <= 66 and "damaged" in found.notes[-1]
    assert torch.equal(found.predicted, first.predicted)
    assert not (tmp_path / "executed").exists()
    assert transfer(network(), data, cache=cache).computed == 2


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_progress_rises_to_one(folder):
    heard = []
    with watch(lambda share, what: heard.append((share, what))):
        transfer(network(), f"folder:{folder}", method="ridge")
    shares = [share for share, _ in heard]
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 100
    assert [what for _, what in heard if "training" in what]


def test_unreadable_images_stop_or_are_left_out(folder):
    (folder / "train" / "ant" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "test" / "cat" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError, match=r"1 bad item: train/ant/3.png: I05"):
        transfer(network(), f"folder:{folder}")
    found = transfer(network(), f"folder:{folder}", skip_bad=True)
    assert found.n == 29 and found.training_images == 89 and len(found.refused) == 2


def test_a_single_class_is_refused(folder):
    for part in ("train", "test"):
        for name in ("ant", "bee"):
            shutil.rmtree(folder / part / name)
    with pytest.raises(DataError, match="all images are of one class, 'cat'"):
        transfer(network(), f"folder:{folder}")


def test_what_cannot_be_is_refused(folder):
    with pytest.raises(UsageError, match="unknown classifier 'forest'"):
        transfer(network(), f"folder:{folder}", method="forest")
    for file in sorted((folder / "train" / "bee").iterdir())[1:]:
        file.unlink()
    with pytest.raises(DataError, match="less than two training images, such as 'bee' with 1"):
        transfer(network(), f"folder:{folder}")
    with pytest.raises(DataError, match="1x28x28"):
        transfer(Classifier.wrap(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)),
                                 input_shape=(1, 8, 8)), "digits")  # fmt: skip


def run(capsys, *words, code=0):
    found = main(["transfer", *map(str, words)])
    said = capsys.readouterr()
    assert found == code, said.err
    return said.out, said.err


def test_the_command(folder, tmp_path, capsys):
    words = ["mnist-conv1", "--data", f"folder:{folder}", "--cache", tmp_path / "cache"]
    out, err = run(capsys, *words)
    assert "mean per class" in out and "worst mistakes" not in err and "--out transfer.html" in err
    found = json.loads(run(capsys, *words, "--classifier", "svm", "--json")[0])
    assert found["classifier"] == "svm" and found["test_images"] == 30
    assert [row["class"] for row in found["classes"]] == ["ant", "bee", "cat"]
    assert len(found["cross_validation"]) == 5 and found["computed"] == 2
    run(capsys, *words, "--fail-under", "0.1")
    _, err = run(capsys, *words, "--fail-under", "mean-per-class=1,accuracy=1",
                 code=0 if found["accuracy"] == 1 else 1)  # fmt: skip
    run(capsys, *words, "--out", tmp_path / "t.html")
    page = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert "Cross-validation on the 90 training images chose" in page and str(tmp_path) not in page
    run(capsys, *words, "--out", tmp_path / "t")
    assert {file.name for file in (tmp_path / "t").iterdir()} == {
        "figure.png", "classes.csv", "mistakes.csv", "result",
    }  # fmt: skip


@pytest.mark.parametrize("words", [("--fail-under", "loss=1"), ("--classifier", "forest")])
def test_the_command_refuses_early(words, capsys):
    run(capsys, "mnist-conv1", "--data", "digits", *words, code=2)


def test_unreadable_images_on_the_command_line(folder, tmp_path, capsys):
    (folder / "train" / "ant" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = ["mnist-conv1", "--data", f"folder:{folder}", "--cache", tmp_path / "cache"]
    _, err = run(capsys, *words, code=3)
    assert "--skip-bad" in err
    _, err = run(capsys, *words, "--skip-bad", code=8)
    assert "train/ant/3.png: I05" in err


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    """Killed when some parts are written: the rest is computed, and the numbers are the same."""
    cache = tmp_path / "cache"
    line = [sys.executable, "-m", "convscope", "transfer", "mnist-conv2-fc", "--data", "digits",
            "--cache", str(cache), "--classifier", "ridge", "--json", "--quiet"]  # fmt: skip
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    while len(list(cache.rglob("*.npz"))) < 3 and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = len(list(cache.rglob("*.npz")))
    found = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
    fresh = transfer(load("mnist-conv2-fc"), "digits", method="ridge")
    if process.returncode == -signal.SIGKILL:
        assert found["computed"] <= 1797 - 64 * kept + 2
    assert found["accuracy"] == fresh.accuracy
