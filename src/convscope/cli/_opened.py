"""What commands that attack or judge begin with: a network, and the part of a data set for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convscope.cli._model_options import NOTHING, ModelOptions
from convscope.cli._output import warn

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.data import Split


def refuse_early(out: Path | None, *, force: bool) -> None:
    """Refuse a taken ``--out`` before anything is computed."""
    if out is not None:
        from convscope.studies._inspection import refuse_taken_file

        refuse_taken_file(out, force=force)


def opened_network(
    model: str, *, named: bool = False, network: ModelOptions = NOTHING
) -> Classifier:
    """Load a network and say what is odd about it; with its name where there are several."""
    from convscope.training import tune_allocator

    tune_allocator()
    classifier = network.load(model)
    for flag in classifier.flags:
        warn(f"{model}: {flag}" if named else flag)
    return classifier


def opened_split(
    shape: tuple[int, int, int], data: str, split: str, *, data_dir: Path | None, offline: bool
) -> Split:
    """A part of a data set, in the size of images that the network takes."""
    from convscope.data import open_dataset

    dataset = open_dataset(data, data_dir=data_dir, offline=offline, input_shape=shape)
    return dataset.split(split)
