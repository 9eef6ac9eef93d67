"""Images in tar shards, as WebDataset has them: ``tar:PATTERN``.

A sample is the members of one shard that share a key, the name up to the first dot: ``0001.jpg``
and ``0001.cls``, or ``0001.json`` with a label. Shards are read once from header to header; what is
kept is where each image lies, so that any image can be read at any time. Nothing is unpacked, and
names of members are no paths.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from convscope.data._dataset import Dataset
from convscope.data._file import check_entry, hostile_archive, sniff
from convscope.data._image import ENDINGS, LARGEST_FILE
from convscope.data._items import WHOLE, Inventory, Item, as_text, listed, with_splits
from convscope.data._layouts import MOST_FILES, SPLIT_FOLDERS, class_order
from convscope.data._survey import open_inventory
from convscope.errors import DataError, UsageError
from convscope.files import Kind, loads_json, opened, read_text, usable_path
from convscope.progress import announce
from convscope.resizing import Resize

MOST_SHARDS = 100_000
LARGEST_LABEL = 1 << 20
LARGEST_HEADER = 1 << 20
"""Bytes that a header may have, with long names."""

BRACES = re.compile(r"\{([^{}]*)\}")
NUMBERS = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
LABEL_KEYS = ("label", "cls", "class")
"""Keys under which the JSON of a sample may say its class."""

NAMES = Kind(what="a list of class names", largest=1 << 24, damaged="D27")


def open_tar(
    pattern: str,
    *,
    skip_bad: bool = False,
    input_shape: tuple[int, int, int] | None = None,
    resize: Resize | None = None,
    check_classes: Callable[[Sequence[str]], object] | None = None,
) -> Dataset:
    """Labeled images of tar shards as a data set; options as for `open_folder`.

    Args:
        pattern: ``shards/train-{0000..0099}.tar``, ``"shards/*.tar"`` or one file.
        skip_bad: Leave samples out that cannot be used.
        input_shape: (C, H, W) to bring every image to.
        resize: How the network that is judged wants image files brought to that size.
        check_classes: Called with the class names before an image is decoded.

    Raises:
        DataError: As `tar_inventory`; D21 for images that cannot be read.
    """
    return open_inventory(
        tar_inventory(pattern),
        name=f"tar:{pattern}",
        where=pattern,
        shown=Path(pattern).name,
        skip_bad=skip_bad,
        input_shape=input_shape,
        resize=resize,
        check_classes=check_classes,
    )


def tar_inventory(pattern: str) -> Inventory:
    """Where each image of some shards lies, its class, and its split.

    The order is that of the names of the shards, and within a shard that of its members.

    Raises:
        DataError: U02, no such shards; D13, D27, one is damaged or compressed; D20, it holds what
            leads outside, links, devices or more than is read; D21, labels that are not certain.
    """
    shards = shards_of(pattern)
    splits = _splits_of(shards)
    root = Path(os.path.commonpath([shard.parent for shard in shards]))
    samples: list[_Sample] = []
    problems: list[str] = []
    for number, shard in enumerate(shards):
        announce(number / len(shards), shard.name)
        for sample in _samples(shard):
            name = f"{shard.relative_to(root).as_posix()}/{sample.key}"
            why = sample.refused()
            if why:
                problems.append(as_text(f"{name}: {why}"))
            else:
                samples.append(sample)
            if len(samples) + len(problems) > MOST_FILES:
                raise hostile_archive(f"more than {MOST_FILES:,} samples", shard)
    if not samples:
        raise DataError(
            "no images" + listed(problems),
            code="D21",
            where=pattern,
            expected="members such as 0001.jpg with 0001.cls, or 0001.json with a label",
        )
    names, numbers, notes = _classes(samples, shards)
    items = []
    for sample in samples:
        member, span = sample.images[0]
        label = numbers[sample.label]
        name = as_text(f"{sample.shard.relative_to(root).as_posix()}/{member}")
        split = splits[sample.shard] or "train"
        items.append(Item(split, label, sample.shard, name, span))
    items, cut, small = with_splits(items, names, set(splits.values()))
    return Inventory(items, names, notes + small, problems, cut)


def shards_of(pattern: str) -> list[Path]:
    """The files that a pattern names, by name.

    Braces are those of WebDataset: ``{0000..0012}`` numbers, ``{train,val}`` words.

    Raises:
        DataError: U02, a file that is not there, or none.
        UsageError: U02, braces that name too many files.

    Example:
        >>> list(_spelled_out("a-{08..10}.tar"))
        ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    found: set[Path] = set()
    for count, text in enumerate(_spelled_out(pattern)):
        path = usable_path(text, DataError)
        if count >= MOST_SHARDS:
            raise UsageError(f"more than {MOST_SHARDS:,} shards", code="U02", where=pattern)
        if path.is_dir():
            raise DataError(
                "a folder", code="U02", where=text, expected="shards", hint=f"tar:{path}/*.tar"
            )
        if has_magic(str(path)) and not path.exists():
            found |= {Path(one) for one in glob(str(path))}  # noqa: PTH207 - absolute too
        elif not path.exists():
            raise DataError("no such shard", code="U02", where=path)
        else:
            found.add(path)
    if not found:
        raise DataError("no such shards", code="U02", where=pattern, expected="tar files")
    return sorted(found)


def _spelled_out(pattern: str) -> Iterator[str]:
    match = BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    numbers = NUMBERS.fullmatch(match[1])
    words: Sequence[str] = match[1].split(",")
    if numbers is not None:
        first, last = int(numbers[1]), int(numbers[2])
        if last - first >= MOST_SHARDS:
            raise UsageError(f"more than {MOST_SHARDS:,} shards", code="U02", where=pattern)
        words = [f"{number:0{len(numbers[1])}}" for number in range(first, last + 1)]
    for word in words:
        yield from _spelled_out(pattern[: match.start()] + word + pattern[match.end() :])


def _splits_of(shards: list[Path]) -> dict[Path, str]:
    """The split that each shard names, or else that its folder is called; ``""`` for none.

    Raises:
        DataError: D21, some shards say a split and others do not, or one says two.
    """
    words = {word: split for split, names in SPLIT_FOLDERS.items() for word in names}
    splits = {}
    for shard in shards:
        parts = re.split(r"[^a-z]+", shard.name.lower())
        for names in (parts, [shard.parent.name.lower()]):
            said = {words[word] for word in names if word in words}
            if len(said) > 1:
                raise DataError(
                    f"the name says {' and '.join(sorted(said))}", code="D21", where=shard,
                    expected="one of train, val and test in the name of a shard",
                )  # fmt: skip
            splits[shard] = next(iter(said), "")
            if said:
                break
    without = [shard for shard in shards if not splits[shard]]
    if without and len(without) < len(shards):
        raise DataError(
            "its name says no split, those of other shards do",
            code="D21",
            where=without[0],
            expected="train, val or test in the names of all shards, or of none",
        )
    return splits


@dataclass
class _Sample:
    """Members of a shard with the same key."""

    shard: Path
    key: str
    images: list[tuple[str, tuple[int, int]]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.labels[0]

    def refused(self) -> str:
        """Why it cannot be used; empty if it can."""
        if self.problems:
            return self.problems[0]
        if len(self.images) != 1:
            return f"{len(self.images)} images with one key" if self.images else "no image"
        if not self.labels:
            return "no label (.cls, or label in .json)"
        if len(set(self.labels)) > 1:
            return f"labels {' and '.join(map(repr, sorted(set(self.labels))[:3]))}"
        return ""


def _samples(shard: Path) -> Iterator[_Sample]:
    """The samples of a shard in their order."""
    current: _Sample | None = None
    seen: set[str] = set()
    for name, file, start, size in _members(shard):
        folder, _, base = name.rpartition("/")
        stem, dot, ending = base.partition(".")
        if not stem or not dot:
            continue
        key = f"{folder}/{stem}" if folder else stem
        if current is None or key != current.key:
            if current is not None:
                yield current
            current = _Sample(shard, key)
            if key in seen:
                current.problems.append("its key occurs twice in the shard")
            seen.add(key)
        ending = ending.lower()
        if f".{ending}" in ENDINGS:
            current.images.append((name, (start, size)))
            if size > LARGEST_FILE:
                current.problems.append(f"I02 the image has {size:,} bytes")
        elif ending in ("cls", "json"):
            _take_label(current, ending, file, start, size)
    if current is not None:
        yield current


def _take_label(sample: _Sample, ending: str, file: BinaryIO, start: int, size: int) -> None:
    """Add the label that a small member says."""
    if size > LARGEST_LABEL:
        sample.problems.append(f".{ending} has {size:,} bytes")
        return
    file.seek(start)
    data = file.read(size)
    try:
        if ending == "cls":
            values: list[Any] = [data.decode("utf-8").strip()]
        else:
            table = loads_json(data, deepest=16)
            if not isinstance(table, dict):
                raise ValueError("no table")
            values = [table[key] for key in LABEL_KEYS if key in table]
    except ValueError as error:
        sample.problems.append(f".{ending} cannot be read: {error}")
        return
    for value in values:
        text = str(value) if type(value) is int else value
        if not isinstance(text, str) or not text or len(text) > 1000:
            sample.problems.append(f".{ending} says {str(value)[:40]!r}, not a class")
        else:
            sample.labels.append(str(int(text)) if _is_number(text) else text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _members(shard: Path) -> Iterator[tuple[str, BinaryIO, int, int]]:
    """Name, open shard, first byte and length of each plain file in a shard.

    Raises:
        DataError: D27, compressed; D13, damaged; D20, it holds what an honest shard never does.
    """
    with opened(shard, WHOLE) as (file, size):
        kind = sniff(file.read(64))
        file.seek(0)
        if kind:
            raise DataError(
                f"not a plain tar file; it looks like {kind}",
                code="D27",
                where=shard,
                expected="an uncompressed tar file: single images are read out of it",
                hint="gunzip it first" if "gzip" in kind else "",
            )
        try:
            with tarfile.open(fileobj=_Headers(file, shard), mode="r:") as tar:  # type: ignore[call-overload]
                while (entry := tar.next()) is not None:
                    tar.members = []  # Of a million members none is remembered.
                    check_entry(entry, shard)
                    if not entry.isfile():
                        continue
                    if entry.offset_data + entry.size > size:
                        raise EOFError("cut off")
                    yield str(PurePosixPath(entry.name)), file, entry.offset_data, entry.size
        except DataError:
            raise
        except (
            tarfile.TarError, EOFError, OSError, ValueError, OverflowError, RecursionError,
        ) as error:  # fmt: skip
            raise DataError(
                f"archive is damaged ({error})", code="D13", where=shard, hint="copy it again"
            ) from None


class _Headers:
    """A shard of which only headers are read: no read is large, whatever a header declares."""

    def __init__(self, file: BinaryIO, shard: Path) -> None:
        self.file, self.shard = file, shard

    def read(self, size: int = -1) -> bytes:
        """Read a header."""
        if not 0 <= size <= LARGEST_HEADER:
            raise hostile_archive(f"archive asks for a header of {size:,} bytes", self.shard)
        return self.file.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        """Go on to the next header."""
        return self.file.seek(position, whence)

    def tell(self) -> int:
        """Position in the shard."""
        return self.file.tell()


def _classes(
    samples: list[_Sample], shards: list[Path]
) -> tuple[tuple[str, ...], dict[str, int], list[str]]:
    """Class names, the number of each label, and what has to be said of them.

    Raises:
        DataError: D21, numbers and names are mixed; D10, a number without a name.
    """
    labels = sorted({sample.label for sample in samples}, key=class_order)
    numbered = [label for label in labels if _is_number(label)]
    if numbered and len(numbered) < len(labels):
        other = next(label for label in labels if label not in numbered)
        raise DataError(
            f"some labels are numbers ({numbered[0]}), others names ({other})",
            code="D21",
            where=next(sample.shard for sample in samples if sample.label == other),
        )
    lists = {shard.parent / "classes.txt" for shard in shards}
    present = sorted(place for place in lists if place.is_file())
    texts = {read_text(place, NAMES) for place in present} if numbered else set()
    if len(texts) > 1:
        raise DataError(
            "other class names than those beside other shards", code="D21", where=present[-1]
        )
    if not texts:
        return tuple(map(as_text, labels)), {label: k for k, label in enumerate(labels)}, []
    names = tuple(line.strip() for line in texts.pop().splitlines() if line.strip())
    last = int(labels[-1])
    if last >= len(names):
        raise DataError(
            f"label {last}, but it has {len(names):,} names",
            code="D10",
            where=present[0],
            expected="a line for each class, counted from 0",
        )
    note = f"numbers of classes are lines of {present[0].name}, counted from 0"
    return names, {label: int(label) for label in labels}, [note]
