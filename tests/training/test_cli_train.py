"""``convscope train``: words in, a run folder and two last lines out."""

import json

import pytest

from convscope.cli import main
from convscope.training import read_settings, settings_from_toml

QUICK = ["train", "mnist-conv1", "--data", "digits", "--epochs", "1"]


FORMER_FLAGS = ["--clip", "1", "--noise", "0.2", "--points-per-epoch", "3", "--preset", "faithful"]


def test_former_flags_are_taken(capsys):
    words = ["train", "mnist-conv1", "--data", "digits", *FORMER_FLAGS, "--print-config"]
    assert main(words) == 0
    settings = settings_from_toml(capsys.readouterr().out)
    assert (settings.max_grad_norm, settings.noise_std) == (1.0, 0.2)
    assert (settings.evals_per_epoch, settings.preset) == (3, "paper")
    assert main([*words[:4], "--accumulate", "4", "--print-config"]) == 0
    assert settings_from_toml(capsys.readouterr().out).microbatches == 4
    muon = ["--optimizer", "muon", "--other-learning-rate", "0.01", "--print-config"]
    assert main([*words[:4], *muon]) == 0
    assert settings_from_toml(capsys.readouterr().out).nonfilter_lr == 0.01


@pytest.mark.parametrize(
    "flag",
    [
        "--accumulate-grad-batches",
        "--grad-accum",
        "--grad-accum-steps",
        "--gradient-accumulation-steps",
    ],
)
def test_flags_that_multiply_the_batch_elsewhere_are_refused_with_the_same_update(flag, capsys):
    assert main([*QUICK, f"{flag}=4", "--print-config"]) == 2
    said = capsys.readouterr().err
    assert "images per update" in said and "--batch-size N*B --microbatches N" in said


def test_train_resume_and_say_what_to_do_next(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*QUICK, "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    facts = json.loads(said.out)
    assert facts["epochs"] == 1
    assert 0 <= facts["validation_accuracy"] <= 1
    assert said.err.splitlines()[-2:] == [
        f"wrote {out}",
        f"next: convscope eval {out} --data digits",
    ]
    assert sum("epoch 1/1" in line for line in said.err.splitlines()) == 1
    before = (out / "model.safetensors").read_bytes()
    assert main([*QUICK, "--out", str(out)]) == 2
    assert "--resume goes on with it" in capsys.readouterr().err
    assert main(["train", "--out", str(out), "--resume"]) == 0
    assert main([*QUICK, "--out", str(out), "--resume"]) == 0
    assert (out / "model.safetensors").read_bytes() == before
    capsys.readouterr()
    assert main(["train", "--out", str(out), "--resume", "--seed", "5"]) == 4
    assert "seed = 0 -> 5" in capsys.readouterr().err


def test_settings_come_from_preset_then_file_then_flags(tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text('model = "mnist-conv2"\nepochs = 7\nseed = 3\n[augment]\ndegrees = 5\n')
    words = ["train", "--config", str(file), "--preset", "long", "--seed", "4", "--print-config"]
    assert main([*words, "--augment.shear", "0.5", "--epsilon", "8/255"]) == 0
    settings = settings_from_toml(capsys.readouterr().out)
    assert (settings.model, settings.preset, settings.epochs) == ("mnist-conv2", "long", 7)
    assert settings.seed == 4
    assert settings.augment.degrees == 5
    assert settings.augment.shear == 0.5
    assert settings.epsilon == 8 / 255


def test_a_stored_config_repeats_the_run(tmp_path, capsys):
    assert main([*QUICK, "--seed", "1", "--out", str(tmp_path / "a")]) == 0
    config = str(tmp_path / "a" / "config.toml")
    assert main(["train", "--config", config, "--out", str(tmp_path / "b")]) == 0
    assert read_settings(tmp_path / "b" / "config.toml").seed == 1
    for name in ("model.safetensors", "metrics.csv", "README.md", "config.toml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["train"], 2, "no network named"),
        (["train", "mnist-conf1"], 2, "did you mean mnist-conv1"),
        (["train", "mnist-conv1", "--preset", "quick"], 2, "unknown preset"),
        (["train", "mnist-conv1", "--epochz", "3"], 2, "--epochs"),
        (["train", "mnist-conv1", "--epsilon", "0.3"], 2, "would change nothing"),
        (["train", "mnist-conv1", "--momentum", "0.5"], 2, "--optimizer sgd or muon"),
        (["train", "mnist-conv1", "--epochs", "-3"], 2, "epochs is -3"),
        (["train", "mnist-conv1", "--config", "none.toml"], 2, "none.toml"),
        (["train", "mnist-conv1", "--batch-size", "100000"], 2, "batch_size is 100000"),
    ],
)
def test_refusals_are_short_and_coded(tmp_path, monkeypatch, capsys, words, code, text):
    monkeypatch.chdir(tmp_path)
    assert main([*words, *(["--data", "digits"] if len(words) > 1 else [])]) == code
    said = capsys.readouterr().err
    assert text in said
    assert len(said.splitlines()) <= 4
    assert "Traceback" not in said


def test_a_full_disk_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    from convscope.training import _faults

    _faults.arm("ckpt.write.model:1:enospc")
    assert main([*QUICK, "--out", str(tmp_path / "run")]) == 6
    assert "No space left" in capsys.readouterr().err


def test_ctrl_c_ends_with_130_and_resumes(tmp_path, capsys):
    from convscope.training import _faults

    _faults.arm("step.forward:3:sigint")
    assert main([*QUICK, "--out", str(tmp_path / "run")]) == 130
    said = capsys.readouterr().err
    assert "everything is saved" in said
    assert "--resume" in said
    _faults.arm("")
    assert main([*QUICK, "--out", str(tmp_path / "run"), "--resume"]) == 0
    assert "resumed at step 3" in capsys.readouterr().err


def few_images(folder, count=10):
    """Class folders with `count` images each."""
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(0)
    for name in ("ants", "bees"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = chance.integers(0, 256, (12, 12, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def test_a_folder_with_fewer_images_than_the_batch_is_trained_and_it_is_said(tmp_path, capsys):
    data = few_images(tmp_path / "photos")
    words = ["train", "mnist-conv1", "--data", f"folder:{data}", "--out", str(tmp_path / "run")]
    assert main([*words, "--epochs", "2"]) == 0
    said = capsys.readouterr().err
    assert "do not fill the preset's batch of 128: trained in batches of 2" in said
    assert "--batch-size chooses another" in said
    assert read_settings(tmp_path / "run" / "config.toml").batch_size == 2
    assert main(["train", "--out", str(tmp_path / "run"), "--resume"]) == 0
    assert main([*words, "--epochs", "2", "--resume"]) == 0


def test_a_batch_that_was_asked_for_and_cannot_be_filled_says_what_fits(tmp_path, capsys):
    data = few_images(tmp_path / "photos")
    out = tmp_path / "runs" / "mine"
    words = ["train", "mnist-conv1", "--data", f"folder:{data}", "--out", str(out)]
    assert main([*words, "--batch-size", "64"]) == 2
    said = capsys.readouterr().err
    assert "batch_size is 64" in said and "fix: --batch-size 2 fits these images" in said
    assert not out.parent.exists()
    (tmp_path / "mine.toml").write_text("batch_size = 64\n")
    assert main([*words, "--config", str(tmp_path / "mine.toml")]) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--data", "folder:/nowhere/at/all"],
        ["--data", "digits", "--batch-size", "100000"],
        ["--data", "digits", "--adversary", "pgd"],
        ["--data", "shapes", "--preset", "nonsense"],
    ],
)
def test_a_run_that_fails_before_it_begins_leaves_nothing(words, tmp_path, capsys):
    out = tmp_path / "runs" / "mine"
    assert main(["train", "mnist-conv1", *words, "--out", str(out)]) in (2, 3)
    assert "error[" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    out.mkdir(parents=True)
    assert main(["train", "mnist-conv1", *words, "--out", str(out)]) in (2, 3)
    assert not list(out.iterdir())


FACTORY = """
import numpy, pathlib, random, torch
from torch import nn

def network():
    drawn = torch.rand(1).item(), numpy.random.rand(), random.random()
    with pathlib.Path("drawn").open("a") as file:
        print(*drawn, file=file)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
"""


def test_a_factory_draws_the_same_first_weights_from_the_same_seed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drawing_factory.py").write_text(FACTORY)
    words = ["train", "drawing_factory:network", "--input-shape", "1,28,28", *QUICK[2:]]
    for out, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert main([*words, "--seed", seed, "--out", out]) == 0
    drawn = [line.split() for line in (tmp_path / "drawn").read_text().splitlines()]
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0], drawn[2], strict=True))
    same = [(tmp_path / out / "model.safetensors").read_bytes() for out in "ab"]
    assert same[0] == same[1]
