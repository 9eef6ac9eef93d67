"""Images that are named by their files: one, a folder, a pattern."""

import glob
from pathlib import Path

import torch

from convscope.data._classes import match_classes
from convscope.data._download import Progress
from convscope.data._image import read_pixels
from convscope.data._memory import check_memory
from convscope.data._picture import ENDINGS, Fit
from convscope.data._selection import Selection, TakesImages
from convscope.data._tree import class_order
from convscope.errors import ConvscopeError, DataError, ImageError
from convscope.files import usable_path
from convscope.types import Labels


def select_files(
    spec: str, *, like: TakesImages, fit: Fit = "crop", progress: Progress | None = None
) -> Selection:
    """Images of one file, or those of a folder or pattern that can be read.

    Args:
        spec: A file, a folder of images or of class folders, or a glob pattern.
        like: Says the shape, and the class names that folders may have.
        fit: How files are brought to size.
        progress: Called with (spec, files so far, files in all) where there are several.

    Returns:
        Images, with labels if they lie in folders named like the classes.

    Raises:
        DataError: No file, or none that can be read.
    """
    path = usable_path(spec, DataError)
    several = path.is_dir() or (not path.exists() and glob.has_magic(spec))
    files = _expand(path, spec) if several else [path]
    if several and not files:
        kinds = "PNG, JPEG, GIF, BMP or WebP files"
        raise DataError("no images here", code="U02", where=spec, expected=kinds)
    channels, height, width = like.input_shape
    rule = getattr(like, "resize", None)
    check_memory(4 * len(files) * channels * height * width, f"{len(files):,} images", where=spec)
    images = []
    folders: list[str] = []
    names: list[str] = []
    notes: list[str] = []
    refused: list[str] = []
    for count, file in enumerate(files, 1):
        if several and progress is not None:
            progress(spec, count, len(files))
        try:
            pixels, remarks = read_pixels(
                file, channels=channels, size=(height, width), fit=fit, resize=rule
            )
        except ConvscopeError as error:
            if not several:
                raise _with_specs(error, spec) from None
            refused.append(f"{file}: {error.code} {error.what}")
            continue
        images.append(pixels)
        names.append(str(file))
        notes.extend(f"{file}: {remark}" for remark in remarks)
        if several and file.parent != path:
            folders.append(file.parent.name)
    if not images:
        what = f"none of {len(files)} files can be read: {refused[0]}"
        raise ImageError(what, code="I21", where=spec)
    return Selection(
        images=torch.stack(images).to(torch.float32).div_(255),
        labels=_labels(folders, like) if len(folders) == len(images) else None,
        names=tuple(names),
        notes=tuple(notes),
        refused=tuple(refused),
    )


def _labels(folders: list[str], like: TakesImages) -> Labels | None:
    """The network's classes of the folders' names; None unless every one has a match."""
    names = sorted(set(folders))
    try:
        match = match_classes(names, like.class_names)
    except DataError:
        return None
    if match.how == "order" or None in match.numbers:
        return None
    numbers = dict(zip(names, match.numbers, strict=True))
    return torch.tensor([numbers[folder] for folder in folders])


def _expand(path: Path, spec: str) -> list[Path]:
    """Files of a folder (or of its class folders) or of a pattern, in a stable order."""
    if not path.is_dir():
        found = [Path(name) for name in sorted(glob.glob(str(path)))]  # noqa: PTH207 - absolute too
    else:
        found = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
        folders = [one for one in found if one.is_dir()]
        folders.sort(key=lambda one: class_order(one.name))
        if folders and not any(one.is_file() for one in found):
            found = [file for folder in folders for file in sorted(folder.iterdir())]
    return [file for file in found if file.suffix.lower() in ENDINGS and not file.is_dir()]


def _with_specs(error: ConvscopeError, spec: str) -> ConvscopeError:
    """A missing file may have been meant as the name of a data set."""
    if error.code == "U02" and ":" in spec:
        error.expected = "an image file, or DATA:SPLIT/ROWS such as mnist:test/7"
    return error
