"""``benchmarks/ship_weights.py``: a run becomes weights of the package, with its model card."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from convscope.data import open_dataset
from convscope.errors import UsageError
from convscope.models import _shipped, load, shipped, shipped_config
from convscope.training import evaluate, recipe, settings_from_toml, train

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("ship_weights", BENCHMARKS / "ship_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("record", None)


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """A network whose test-time augmentation is measured, too."""
    settings = recipe("mnist-conv2", data="digits", seed=4, epochs=2, tta="mirror")
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(settings, digits, out=folder)
    return folder


@pytest.fixture
def weights(monkeypatch, tmp_path):
    monkeypatch.setattr(_shipped, "weights_folder", lambda: tmp_path / "weights")
    return tmp_path / "weights"


def test_a_run_becomes_shipped_weights_with_a_model_card(script, run, weights, digits, capsys):
    assert script.main([str(run), "--name", "mnist-conv2-short"]) == 0
    assert shipped() == ("mnist-conv2-short",)
    config, stored = shipped_config("mnist-conv2-short"), load("mnist-conv2-short")
    card = config.extra
    assert card["trained"]["command"] == (
        "convscope train mnist-conv2 --data digits --preset fast --seed 4 --epochs 2 --tta mirror"
    )
    assert (card["trained"]["seed"], card["stored_as"]) == (4, "float16")
    assert card["trained"]["images"] == len(digits.train)
    judged = evaluate(stored, digits.test, tta="mirror")
    assert card["test"]["accuracy"] == pytest.approx(judged.accuracy_without_tta, abs=1e-5)
    assert card["test"]["with_tta"]["accuracy"] == pytest.approx(judged.accuracy, abs=1e-5)
    low, high = card["test"]["interval"]
    assert low < card["test"]["accuracy"] < high and card["test"]["n"] == len(digits.test)
    assert card["measured"]["processor"] and card["trained"]["data_sha256"]
    assert f"{card['test']['accuracy']:.2%}" in stored.source and "seed 4" in stored.source
    assert torch.equal(stored.module.fc1.weight, load(run).module.fc1.weight.half().float())
    assert str(run) not in (weights / "mnist-conv2-short.json").read_text()


def test_what_half_precision_would_change_stays_in_float32(script, run, weights, monkeypatch):
    def constant(folder):
        classifier = load(folder)
        with torch.no_grad():
            classifier.module.fc1.weight.zero_()
        return classifier

    monkeypatch.setattr(script, "halved", constant)
    assert script.main([str(run)]) == 0
    assert shipped_config("mnist-conv2").extra["stored_as"] == "float32"
    assert torch.equal(load("mnist-conv2").module.fc1.weight, load(run).module.fc1.weight)


def test_a_run_that_would_make_the_wheel_too_large_is_refused(script, run, weights, monkeypatch):
    monkeypatch.setattr(_shipped, "LIMIT", 10_000)
    with pytest.raises(UsageError, match=r"mnist-conv2 has 0\.05 MB"):
        script.main([str(run)])
    assert not weights.exists() or shipped() == ()


def test_dry_measures_and_stores_nothing(script, run, weights, capsys):
    assert script.main([str(run), "--dry"]) == 0
    assert '"accuracy_in_half_precision"' in capsys.readouterr().out and not weights.exists()


@pytest.mark.slow
def test_a_robust_run_says_what_withstands_attacks(script, digits, weights, tmp_path):
    settings = recipe("mnist-conv1", data="digits", preset="robust", epochs=1, epsilon=0.05)
    train(settings, digits, out=tmp_path / "run")
    words = [str(tmp_path / "run"), "--attacked", "20", "--effort", "quick"]
    assert script.main([*words, "--name", "mnist-conv1-robust"]) == 0
    config = shipped_config("mnist-conv1-robust")
    robust = config.extra["robust"]
    assert (robust["epsilon"], robust["n"], robust["norm"]) == (0.05, 20, "linf")
    assert 0 <= robust["robust_accuracy"] <= config.extra["test"]["accuracy"] + 0.1
    assert "withstand attacks within 0.05" in config.source


def test_the_command_of_a_model_card_has_the_same_settings(script, capsys):
    from convscope.cli import main

    settings = recipe(
        "mnist-conv1", data="digits", preset="long", seed=7, nesterov=False,
        overrides={"augment": {"degrees": 3.5}, "compile": True, "ema": 0.5, "epsilon": 0.1},
        adversary="fgsm-rs", optimizer="sgd",
    )  # fmt: skip
    line = script.command(settings).split()
    assert line[:2] == ["convscope", "train"]
    assert main([*line[1:], "--print-config"]) == 0
    assert settings_from_toml(capsys.readouterr().out) == settings


def test_every_model_card_in_the_package_is_whole():
    """Weights that were shipped before there were model cards have none."""
    for name in shipped():
        card = shipped_config(name).extra
        if not card:
            continue
        assert json.dumps(card)
        assert card["trained"]["command"].startswith("convscope train ")
        low, high = card["test"]["interval"]
        assert low <= card["test"]["accuracy"] <= high
