import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from convscope.cli import main
from convscope.scratch import GradientCheck


def test_the_adder_prints_the_sum_and_its_hidden_units(capsys):
    assert main(["adder", "100111", "110010"]) == 0
    out, err = capsys.readouterr()
    assert out == "1011001\n"
    assert "2 or more  0 1 0 0 1 1 0" in err
    assert "convscope adder 100111 110010 --figure" in err


def test_the_adder_speaks_json(capsys):
    assert main(["adder", "1", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "first": "1",
        "second": "1",
        "total": "10",
        "inputs": [[1, 1], [0, 0]],
        "hidden": [[1, 1, 0], [1, 0, 0]],
        "outputs": [0, 1],
    }


def test_long_numbers_do_not_flood_the_screen(capsys):
    assert main(["adder", "1" * 5000, "1"]) == 0
    out, err = capsys.readouterr()
    assert out == "1" + "0" * 5000 + "\n"
    assert len(err) < 300


@pytest.mark.parametrize("pair", [["", "1"], ["2", "1"], ["1 0", "1"]])
def test_the_adder_refuses_what_is_no_number(pair, capsys):
    assert main(["adder", *pair]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "error[U19]" in err


def test_pictures_are_written_and_other_endings_refused(tmp_path, capsys):
    assert main(["adder", "1011", "11", "--figure", str(tmp_path / "new" / "a.svg")]) == 0
    assert (tmp_path / "new" / "a.svg").read_text().startswith("<?xml")
    assert main(["adder", "1011", "11", "--figure", str(tmp_path / "a.exe")]) == 2
    assert "expected: a .png, .svg or .pdf file" in capsys.readouterr().err


def test_the_check_prints_a_table_of_errors(capsys):
    assert main(["scratch", "check"]) == 0
    out, err = capsys.readouterr()
    assert "convolution 3x3, same\tweight\t54\t" in out
    assert "WRONG" not in out
    assert "all 64 agree" in err


def test_a_wrong_gradient_fails_the_check(monkeypatch, capsys):
    from convscope import scratch

    wrong = GradientCheck(name="relu", quantity="inputs", numbers=1, error=0.5)
    monkeypatch.setattr(scratch, "check_gradients", lambda *, seed: (wrong,))
    assert main(["scratch", "check"]) == 1
    out, err = capsys.readouterr()
    assert "WRONG" in out and "1 of 1 gradients are wrong, first inputs of relu: 5.0e-01" in err


def test_a_trained_network_is_one_that_the_torch_half_loads(tmp_path, capsys):
    import numpy as np
    import torch

    from convscope import load, scratch

    folder = tmp_path / "run"
    words = ["scratch", "train", "mnist-conv1", "--data", "digits", "--epochs", "1", "--json"]
    assert main([*words, "--batch-size", "64", "--out", str(folder)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["epochs"] == 1 and found["parameters"] == 63_050
    assert 0.3 < found["test_accuracy"] <= 1
    assert (folder / "training.png").is_file()
    images = torch.rand(3, 1, 28, 28)
    logits = load(str(folder)).logits(images).detach().numpy()
    again = scratch.load_network(folder).forward(images.numpy())
    assert np.abs(logits - again).max() < 1e-4


def test_about_twelve_thousand_images_are_shown_unless_told(monkeypatch, capsys):
    from convscope import scratch

    asked = {}

    def fit(network, images, labels, **settings):
        asked.update(settings, images=len(images))
        return SimpleNamespace(accuracies=[0.5])

    monkeypatch.setattr(scratch, "fit", fit)
    assert main(["scratch", "train", "mnist-conv1", "--data", "digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == asked["epochs"]
    assert abs(asked["epochs"] * asked["images"] - 12_000) <= asked["images"] / 2


def test_an_unknown_network_is_refused(capsys):
    assert main(["scratch", "train", "mnist-conv9", "--data", "digits"]) == 2
    assert "did you mean mnist-conv2" in capsys.readouterr().err


def test_training_runs_blas_on_one_thread_unless_told():
    # In a process of its own: the variable must be set before NumPy is imported.
    program = (
        "import os, sys; from convscope.cli import _scratch; assert 'numpy' not in sys.modules;"
        "_scratch._use_one_thread(); print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    clean = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    for given, expected in (({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")):
        ran = subprocess.run(
            [sys.executable, "-c", program], env=clean | given, capture_output=True, text=True
        )
        assert ran.stdout.strip() == expected, ran.stderr
