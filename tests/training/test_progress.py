"""Training in Python is heard: a line per epoch where a person watches, nothing in scripts."""

import sys

from convscope.data import open_dataset
from convscope.training import Measured, Started, print_progress, recipe, train

SETTINGS = recipe("mnist-conv1", data="digits", epochs=1)


def test_a_script_is_silent(tmp_path, capsys):
    train(SETTINGS, open_dataset("digits"), out=tmp_path / "run")
    assert capsys.readouterr() == ("", "")


def test_progress_prints_a_line_per_epoch(tmp_path, capsys):
    seen = []
    train(
        SETTINGS, open_dataset("digits"), out=tmp_path / "run", progress=True, on_event=seen.append
    )
    out, err = capsys.readouterr()
    measured = [event for event in seen if isinstance(event, Measured)]
    assert out == "" and len(err.splitlines()) == 1 + len(measured)
    assert f"validation accuracy {measured[-1].validation_accuracy:.2%}" in err
    assert any(isinstance(event, Started) for event in seen)


def test_a_prompt_hears_by_default_unless_it_listens_itself(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    train(SETTINGS, open_dataset("digits"), out=tmp_path / "a", on_event=lambda event: None)
    assert capsys.readouterr().err == ""
    train(SETTINGS, open_dataset("digits"), out=tmp_path / "b")
    assert "epoch 1" in capsys.readouterr().err


def test_the_printer_is_a_listener(tmp_path, capsys):
    print_progress(Started(steps=20, steps_per_epoch=10, step=5, precision="fp32"))
    assert capsys.readouterr().err == "resumed at step 5 of 20\n"
