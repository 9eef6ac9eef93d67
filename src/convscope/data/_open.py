"""Open a data set by name or address."""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from convscope.data._registry import (
    ADDRESSES,
    DATASETS,
    address_forms,
    address_of,
    data_forms,
)
from convscope.errors import DataError, UsageError, choose
from convscope.files import usable_path

if TYPE_CHECKING:
    from convscope.data._dataset import Dataset
    from convscope.resizing import Resize


def choose_dataset(typed: str) -> str:
    """The data set that is meant, as `DATASETS` or `ADDRESSES` spells it.

    Raises:
        UsageError: U01 with the closest names; a folder or file of that name is said to be one.

    Example:
        >>> choose_dataset("cifar10"), choose_dataset("folder:photos")
        ('cifar10', 'folder:photos')
    """
    if (address := address_of(typed)) is not None:
        form = ADDRESSES.spec(address[0]).form
        if not address[1]:
            raise UsageError(
                f"{typed} names no {form.partition(':')[2].lower()}", code="U02", expected=form
            )
        return typed
    if typed in DATASETS:
        return typed
    meant = DATASETS.known(typed)
    if meant in DATASETS:
        raise UsageError(
            f"unknown data set {typed!r}",
            code="U01",
            expected=data_forms(),
            hint=f"did you mean {meant}?",
        )
    name, colon, rest = typed.partition(":")
    if colon and name in DATASETS:
        raise UsageError(
            f"unknown data set {typed!r}",
            code="U01",
            expected=data_forms(),
            hint=f"--data {name} --split {rest.partition('/')[0] or 'test'}",
        )
    if prefix := _likely_prefix(typed):
        raise UsageError(
            f"unknown data set {typed!r}",
            code="U01",
            expected=data_forms(),
            hint=f"did you mean {shlex.quote(f'{prefix}:{typed}')}?",
        )
    return choose("data set", typed, [*DATASETS, *address_forms()])


def _likely_prefix(typed: str) -> str:
    """The prefix that belongs before a path that is there; empty if none does."""
    if not typed:
        return ""
    path = usable_path(typed, DataError)
    if path.is_dir():
        return "folder"
    endings = {".npy": "npy", ".tar": "tar"}
    return endings.get(path.suffix.lower(), "") if path.is_file() else ""


def open_dataset(
    spec: str,
    *,
    data_dir: str | Path | None = None,
    offline: bool = False,
    accept_modified: bool = False,
    skip_bad: bool = False,
    input_shape: tuple[int, int, int] | None = None,
    resize: Resize | None = None,
    check_classes: Callable[[Sequence[str]], object] | None = None,
) -> Dataset:
    """A data set as bytes: in memory, or on the disk if there are many of them.

    How much is downloaded and decoded is announced to whoever watches (`convscope.progress`).
    What does not concern a data set, such as `offline` the built-in ones, is not handed to it.

    Args:
        spec: A name in `DATASETS`, such as ``"digits"`` (built in), or data of one's own as
            `ADDRESSES` has it: ``"folder:DIRECTORY"``.
        data_dir: Data folder; else ``$CONVSCOPE_DATA``, else the user's cache.
        offline: Never use the network.
        accept_modified: Go on with files whose checksum is not the registered one.
        skip_bad: Leave unreadable image files out; they are listed in `Dataset.refused`.
        input_shape: (C, H, W) to bring image files to (pets, folder); by default the folder
            decides (see `open_folder`), or ``folder:DIRECTORY@64`` says the side of a square.
        resize: How the network that is judged wants image files brought to that size.
        check_classes: Called with the class names of image files before one is decoded; what it
            raises ends the opening.

    Returns:
        The data set with its three splits.

    Raises:
        UsageError: No data set of that name.
        DataError: Files are damaged, modified or not what they should be.
        ResourceError: Data are not on this machine and cannot be downloaded, or do not fit into
            memory.

    Example:
        >>> open_dataset("digits").class_names
        ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    spec = choose_dataset(spec)
    options = {
        "data_dir": data_dir,
        "offline": offline,
        "accept_modified": accept_modified,
        "skip_bad": skip_bad,
        "input_shape": input_shape,
        "resize": resize,
        "check_classes": check_classes,
    }
    if (address := address_of(spec)) is not None:
        prefix, where = address
        if ADDRESSES.spec(prefix).inventory:
            where, side = address_and_side(where)
            if side:
                input_shape = (input_shape[0] if input_shape else 3, side, side)
        return ADDRESSES[prefix](
            where, skip_bad=skip_bad, input_shape=input_shape, resize=resize,
            check_classes=check_classes,
        )  # fmt: skip
    from convscope.data._dataset import Dataset

    dataset = DATASETS[spec](**DATASETS.spec(spec).accepted(options))
    if not isinstance(dataset, Dataset):
        raise UsageError(
            f"the function of the data set {spec} returned a {type(dataset).__name__}",
            expected="a convscope.data.Dataset",
        )
    return dataset


def address_and_side(text: str) -> tuple[str, int]:
    """``DIRECTORY`` or ``DIRECTORY@64``; what really has such a name wins."""
    address, _, side = text.rpartition("@")
    if address and side.isascii() and side.isdigit() and not usable_path(text, DataError).exists():
        if not 1 <= int(side[:5]) <= 4096:
            raise UsageError(f"images of side {side}", code="U10", expected="1 to 4096 pixels")
        return address, int(side)
    return text, 0


CLASS_AND_ROWS = r"(?:\?class=(?P<named>.+?))?(?:/(?P<rows>[^/]*))?"
WHOLE = r"(?:\?class=(?P<named>.+?)(?:/(?P<rows>[^/]*))?)?"

SPLITS = ("train", "validation", "test", "all")
SPLIT_ALIASES = {"val": "validation", "valid": "validation", "dev": "validation",
                 "training": "train", "testing": "test"}  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """What a specification says: a data set, a split, perhaps a class, perhaps rows."""

    data: str
    split: str
    named: str | None
    rows: str | None


def understood(spec: str) -> Chosen | None:
    """The parts of a specification of a data set; None for files.

    Example:
        >>> understood("digits:test/0-9")
        Chosen(data='digits', split='test', named=None, rows='0-9')
    """
    own = address_of(spec) is not None
    data = rf"(?:{'|'.join(map(re.escape, ADDRESSES))}):.+?" if own else r"[\w-]+"
    match = re.fullmatch(rf"(?P<data>{data}):(?P<split>[a-z]+){CLASS_AND_ROWS}", spec, re.DOTALL)
    if match and (match["data"] in DATASETS or (own and match["split"] in SPLITS)):
        return Chosen(match["data"], match["split"], match["named"], match["rows"])
    if not own:
        return None
    match = re.fullmatch(rf"(?P<data>{data}){WHOLE}", spec, re.DOTALL)
    return Chosen(match["data"], "all", match["named"], match["rows"]) if match else None


def check_specs(specs: Sequence[str]) -> None:
    """Refuse specifications that name neither images of a data set nor files that are there.

    Raises:
        UsageError: U01 for a split that there is not.
        DataError: U02 for the rest, with what may have been meant.
    """
    for spec in specs:
        chosen = understood(spec)
        if chosen is not None:
            if chosen.split in SPLIT_ALIASES:
                raise UsageError(
                    f"unknown split {chosen.split!r}",
                    code="U01",
                    where=spec,
                    expected=f"one of {', '.join(SPLITS)}",
                    hint=f"did you mean {SPLIT_ALIASES[chosen.split]}?",
                )
            choose("split", chosen.split, SPLITS)
            continue
        if spec.strip() and (usable_path(spec, DataError).exists() or glob.has_magic(spec)):
            continue
        raise DataError(
            "no such file" if spec.strip() else "no images are named",
            code="U02",
            where=spec,
            expected="an image file, a folder, or DATA:SPLIT/ROWS such as mnist:test/7",
            hint=_meant(spec),
        )


def _meant(spec: str) -> str:
    name, colon, rest = spec.partition(":")
    if not colon:
        name, _, rest = spec.partition("/")
    known = DATASETS.known(name)
    near = [known] if known in DATASETS else get_close_matches(name, DATASETS, n=1, cutoff=0.6)
    if not near:
        return ""
    if not rest:
        rest = "test/0-9"
    elif not colon:
        rest = f"test/{rest}"
    return f"did you mean {shlex.quote(f'{near[0]}:{rest}')}?"
