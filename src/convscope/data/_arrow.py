"""Images in a folder that Hugging Face's ``datasets`` saved: ``hfdata:DIRECTORY``.

``Dataset.save_to_disk`` writes Arrow tables in which image files lie as they are. The tables are
looked through once with pyarrow; what is kept is where each image file lies. ``datasets`` itself is
not needed, and nothing in the folder is run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.data._dataset import Dataset
from convscope.data._image import LARGEST_FILE
from convscope.data._items import WHOLE, Inventory, Item, as_text, listed, with_splits
from convscope.data._layouts import MOST_FILES, SPLIT_FOLDERS, class_order
from convscope.data._registry import ADDRESSES
from convscope.data._survey import open_inventory
from convscope.errors import DataError, UsageError
from convscope.files import Kind, opened, read_json_table, usable_path
from convscope.progress import announce
from convscope.resizing import Resize

TABLE = Kind(what="a description of a data set", largest=1 << 26, damaged="D27", deepest=32)
LABELS = ("label", "labels", "class", "target")
"""Columns that are taken for labels where no column is declared to be."""

MOST_NAME = 1000


def open_hfdata(
    directory: str,
    *,
    skip_bad: bool = False,
    input_shape: tuple[int, int, int] | None = None,
    resize: Resize | None = None,
    check_classes: Callable[[Sequence[str]], object] | None = None,
) -> Dataset:
    """Labeled images of a saved data set; options as for `open_folder`.

    Args:
        directory: What ``save_to_disk`` of a ``Dataset`` or ``DatasetDict`` wrote.
        skip_bad: Leave rows out that cannot be used.
        input_shape: (C, H, W) to bring every image to.
        resize: How the network that is judged wants image files brought to that size.
        check_classes: Called with the class names before an image is decoded.

    Raises:
        UsageError: M22, pyarrow is not installed.
        DataError: As `hfdata_inventory`; D21 for images that cannot be read.
    """
    return open_inventory(
        hfdata_inventory(directory),
        name=f"hfdata:{directory}",
        where=directory,
        shown=Path(directory).name,
        skip_bad=skip_bad,
        input_shape=input_shape,
        resize=resize,
        check_classes=check_classes,
    )


@dataclass(frozen=True)
class _Columns:
    """The columns that hold images and classes."""

    image: str
    label: str
    names: tuple[str, ...]


def hfdata_inventory(directory: str) -> Inventory:
    """Where each image of a saved data set lies, its class, and its split.

    Raises:
        UsageError: M22, pyarrow is not installed.
        DataError: U02, no such folder; D27, it is none that ``save_to_disk`` wrote, or is damaged;
            D21, it is not certain which columns are images and labels.
    """
    folder = usable_path(directory, DataError)
    if not folder.is_dir():
        raise DataError("no such folder", code="U02", where=folder)
    parts, notes = _parts(folder)
    arrow = _library()
    problems: list[str] = []
    rows: list[tuple[str, str, Path, str, tuple[int, int]]] = []
    names: tuple[str, ...] | None = None
    for number, (split, part) in enumerate(parts.items()):
        announce(number / len(parts), part.name)
        columns = _columns(part)
        if names not in (None, columns.names):
            raise DataError("other class names than those of other splits", code="D21", where=part)
        names = columns.names
        for path in _tables(part):
            for row, label, span in _rows(arrow, path, columns):
                name = as_text(f"{path.relative_to(folder).as_posix()}[{row}]")
                if isinstance(span, str):
                    problems.append(f"{name}: {span}")
                else:
                    rows.append((split, label, path, name, span))
                if len(rows) + len(problems) > MOST_FILES:
                    raise DataError(f"more than {MOST_FILES:,} images", code="D27", where=path)
    if not rows:
        raise DataError("no images" + listed(problems), code="D21", where=folder)
    if not names:
        names = tuple(sorted({label for _, label, *_ in rows}, key=class_order))
        numbers = {label: number for number, label in enumerate(names)}
    else:
        numbers = {str(number): number for number in range(len(names))}
    spoken = tuple(map(as_text, names))
    items = [
        Item(split or "train", numbers[label], path, name, span)
        for split, label, path, name, span in rows
    ]
    items, cut, small = with_splits(items, spoken, set(parts))
    return Inventory(items, spoken, notes + small, problems, cut)


def _library() -> Any:
    spec = ADDRESSES.spec("hfdata")
    try:
        importlib.import_module("pyarrow.ipc")
        return importlib.import_module(spec.library)
    except Exception as error:
        raise UsageError(
            f"{spec.form} needs {spec.library}, which "
            + ("is not installed" if isinstance(error, ModuleNotFoundError) else f"fails: {error}"),
            code="M22",
            hint=spec.install,
        ) from None


def _parts(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The saved tables by split; ``""`` is one that nobody split."""
    if (folder / "state.json").is_file():
        return {"": folder}, []
    place = folder / "dataset_dict.json"
    if not place.is_file():
        files = any(any(folder.glob(form)) for form in ("*.parquet", "*/*.parquet"))
        raise DataError(
            "no state.json or dataset_dict.json" + (", but parquet files" if files else ""),
            code="D27",
            where=folder,
            expected="a folder that save_to_disk of the library datasets wrote",
            hint="datasets.load_dataset(FOLDER).save_to_disk(OTHER) makes one of these files"
            if files
            else "",
        )
    said = read_json_table(place, TABLE).get("splits")
    if not isinstance(said, list) or not said or not all(map(_is_plain, said)):
        raise _damaged("names no splits", place)
    words = {word: split for split, names in SPLIT_FOLDERS.items() for word in names}
    parts: dict[str, Path] = {}
    notes = []
    for name in said:
        split = words.get(name.lower())
        if split is None:
            notes.append(as_text(f"the split {name!r} is not train, validation or test: not used"))
        elif split in parts:
            raise DataError(
                f"{parts[split].name} and {name} are both {split} images", code="D21", where=place
            )
        else:
            parts[split] = folder / name
    if not parts:
        raise DataError("no split is train, validation or test", code="D21", where=place)
    return parts, notes


def _is_plain(name: object) -> bool:
    """Whether a name can only be that of an entry of the same folder."""
    return (
        isinstance(name, str)
        and name not in ("", ".", "..")
        and not set(name) & set("/\\:\0")
        and len(name) < 256
    )


def _tables(part: Path) -> list[Path]:
    """The tables of a split, in order."""
    place = part / "state.json"
    files = read_json_table(place, TABLE).get("_data_files")
    names = (
        [one.get("filename") if isinstance(one, dict) else None for one in files]
        if isinstance(files, list)
        else [None]
    )
    if not all(map(_is_plain, names)):
        raise _damaged("names files that are not in its folder", place)
    return [part / str(name) for name in names]


def _columns(part: Path) -> _Columns:
    """Which columns are images and classes, as the description says.

    Raises:
        DataError: D21, none or several; D27, the description is damaged.
    """
    place = part / "dataset_info.json"
    features = read_json_table(place, TABLE).get("features")
    if not isinstance(features, dict):
        raise _damaged("describes no columns", place)
    kinds = {
        name: str(about.get("_type")) if isinstance(about, dict) else "a structure"
        for name, about in features.items()
    }
    images = [name for name, kind in kinds.items() if kind == "Image"]
    labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    labels = labels or [name for name in LABELS if kinds.get(name) == "Value"]
    if len(images) != 1 or len(labels) != 1:
        known = ", ".join(f"{name} ({kind})" for name, kind in list(kinds.items())[:8])
        raise DataError(
            f"{len(images)} columns of images and {len(labels)} of labels: {known}",
            code="D21",
            where=place,
            expected="one column of the type Image and one of the type ClassLabel",
            hint="remove the other columns: dataset.select_columns([...]).save_to_disk(...)",
        )
    names = features[labels[0]].get("names", [])
    good = isinstance(names, list) and all(isinstance(one, str) for one in names)
    if not good or len(set(names)) != len(names):
        raise _damaged("the names of the classes are no list of different texts", place)
    if kinds[labels[0]] == "ClassLabel" and not names:
        raise _damaged("the classes have no names", place)
    return _Columns(images[0], labels[0], tuple(names))


def _rows(
    arrow: Any, path: Path, columns: _Columns
) -> Iterator[tuple[int, str, tuple[int, int] | str]]:
    """Row, label, and place in the file, or what is wrong with the row.

    Raises:
        DataError: D27, the table is damaged, compressed, or of another form.
    """
    with opened(path, WHOLE):
        pass  # It is a regular file that may be read.
    row = 0
    try:
        with arrow.memory_map(str(path)) as mapped:
            whole = mapped.read_buffer(mapped.size())
            mapped.seek(0)
            with arrow.ipc.open_stream(mapped) as reader:
                for batch in reader:
                    for found in _of_batch(arrow, batch, columns, whole, path):
                        yield (row, *found)
                        row += 1
    except (arrow.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        if isinstance(error, DataError):
            raise
        raise _damaged(f"no table that can be read ({str(error)[:80]})", path) from None


def _of_batch(
    arrow: Any, batch: Any, columns: _Columns, whole: Any, path: Path
) -> Iterator[tuple[str, tuple[int, int] | str]]:
    image, label = batch.column(columns.image), batch.column(columns.label)
    if not arrow.types.is_struct(image.type):
        raise _damaged(f"images are {image.type}", path)
    # What a file says of offsets is not believed: they become addresses.
    image.validate(full=True)
    label.validate(full=True)
    data = image.field("bytes")
    offsets: list[int] = []
    if arrow.types.is_binary(data.type) or arrow.types.is_large_binary(data.type):
        width = 4 if arrow.types.is_binary(data.type) else 8
        _, table, pixels = data.buffers()
        count = len(data)
        raw = memoryview(table)[data.offset * width : (data.offset + count + 1) * width]
        offsets = list(raw.cast("B").cast("i" if width == 4 else "q")) if count else []
    else:
        raise _damaged(f"images are {data.type}", path)
    base = pixels.address - whole.address if pixels is not None else 0
    if offsets and offsets[-1] and not 0 <= base <= base + offsets[-1] <= whole.size:
        raise _damaged("the table is compressed", path)
    there = image.is_valid().to_pylist()
    for k, (value, valid, full) in enumerate(
        zip(label.to_pylist(), data.is_valid().to_pylist(), there, strict=True)
    ):
        text, why = _label(value, columns)
        size = offsets[k + 1] - offsets[k]
        if not (valid and full) or not size:
            why = why or "the image is not in the table, only a path or nothing"
        elif size > LARGEST_FILE:
            why = why or f"I02 the image has {size:,} bytes"
        yield text, why or (base + offsets[k], size)


def _label(value: object, columns: _Columns) -> tuple[str, str]:
    """A label as text, or what is wrong with it."""
    if columns.names:
        if type(value) is int and 0 <= value < len(columns.names):
            return str(value), ""
    elif type(value) is int or (isinstance(value, str) and 0 < len(value) <= MOST_NAME):
        return str(value), ""
    return "", f"label {value!r}"[:60]


def _damaged(what: str, where: Path) -> DataError:
    return DataError(
        what,
        code="D27",
        where=where,
        expected="what save_to_disk of the library datasets writes",
        hint="save it again",
    )
