"""Folder."""

from pathlib import Path

from convscope.data._dataset import Dataset


def open_folder(folder: Path, *, skip_bad: bool, input_shape: object) -> Dataset:
    raise NotImplementedError
