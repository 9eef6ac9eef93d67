"""The flags of ``convscope train`` are the settings of a run."""

from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from convscope.cli import main
from convscope.cli._output import VOICE
from convscope.cli._train_settings import Augment, Overrides
from convscope.data import Augmentation
from convscope.errors import DataError
from convscope.training import TrainSettings


def test_every_setting_has_a_flag():
    arguments = {"model", "data", "preset"}
    assert {f.name for f in fields(TrainSettings)} - arguments == {
        f.name for f in fields(Overrides)
    }
    assert {f.name for f in fields(Augmentation)} == {f.name for f in fields(Augment)}


def choices(kind, name):
    """The words that a setting or a flag takes, and whether it takes a table."""
    options = [o for o in get_args(get_type_hints(kind)[name]) if o is not type(None)]
    return [*get_args(options[0])] if get_origin(options[0]) is Literal else options


@pytest.mark.parametrize(("kind", "flags"), [(TrainSettings, Overrides), (Augmentation, Augment)])
def test_flags_offer_the_choices_of_the_settings(kind, flags):
    settings = get_type_hints(kind)
    chosen = [name for name in settings if get_origin(settings[name]) is Literal]
    assert chosen
    for name in chosen:
        assert choices(flags, name) == [*get_args(settings[name])], name


@pytest.mark.parametrize(("rank", "quiet"), [("0", False), ("1", True)])
def test_only_the_first_of_several_processes_talks(tmp_path, monkeypatch, rank, quiet):
    heard = []

    def open_dataset(*words, **settings):
        heard.append(VOICE.quiet)
        raise DataError("no data")

    monkeypatch.setattr("convscope.data.open_dataset", open_dataset)
    monkeypatch.setenv("RANK", rank)
    assert (
        main(["train", "mnist-conv1", "--data", "digits", "--out", str(tmp_path / "run")])
        == DataError.exit_code
    )
    assert heard == [quiet]
