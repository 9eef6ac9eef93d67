"""python:module:function."""

import json

import pytest
import torch

from convscope.cli import main
from convscope.errors import ModelContractError, UsageError
from convscope.models import load

CODE = """
import numpy as np

def brightness(pixels):
    share = pixels.mean(axis=(1, 2, 3))
    return np.stack([1 - share, share], axis=1)

def described(pixels):
    return brightness(pixels)

described.input_shape, described.class_names = (1, 4, 4), ["dark", "bright"]
described.batch_size = 2
not_callable = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    name = f"answers_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_function_is_described_by_options_or_by_itself(module, tmp_path):
    (tmp_path / "classes.txt").write_text("night\nday\n")
    said = load(
        f"python:{module}:brightness", input_shape=(1, 4, 4), class_names=tmp_path / "classes.txt"
    )
    assert said.predict(torch.ones(1, 1, 4, 4), top=1).names(0) == ("day",)
    assert said.black_box and said.probabilities and said.source == f"python:{module}:brightness"
    own = load(f"python:{module}:described")
    assert own.class_names == ("dark", "bright") and own.module.rows == 2
    assert load(f"python:{module}:described", mean=0.5).mean == (0.5,)


def test_what_names_no_function_is_refused(module, tmp_path):
    with pytest.raises(ModelContractError, match="--input-shape") as caught:
        load(f"python:{module}:brightness")
    assert caught.value.code == "M22"
    with pytest.raises(UsageError, match="did you mean brightness"):
        load(f"python:{module}:brightnes")
    with pytest.raises(UsageError, match="not_callable"):
        load(f"python:{module}:not_callable")
    with pytest.raises(UsageError, match="cannot import"):
        load("python:no_such_module:f")
    with pytest.raises(UsageError, match="names no function"):
        load("python:brightness")
    with pytest.raises(UsageError, match="takes no weights"):
        load(f"python:{module}:described", weights=tmp_path / "x.pt")


def test_commands_work_or_refuse_in_a_sentence(module, capsys):
    words = [f"python:{module}:brightness", "digits:test/0-1", "--input-shape", "1,28,28", "--json"]
    assert main(["attack", "square", *words, "--epsilon", "0.2", "--queries", "20"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2
    assert main(["attack", "pgd", *words, "--epsilon", "0.2"]) != 0
    assert "a black box has no gradients" in capsys.readouterr().err
    assert main(["inspect", *words[:-1], "--show", "occlusion"]) == 0
    assert main(["inspect", *words[:-1], "--show", "grad-cam"]) != 0
    assert "occlusion, rise, square" in capsys.readouterr().err
    assert main(["models", "show", words[0], "--input-shape", "1,28,28"]) == 0
    assert "black box" in capsys.readouterr().out
