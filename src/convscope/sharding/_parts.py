"""A part: a folder with the records of some blocks of a job; and all parts together."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from convscope.errors import DataError, ResourceError, RunBusyError, UsageError
from convscope.files import Kind, checked_path, disk_errors, locked, read_json_table, write_whole
from convscope.sharding._job import Job, Judging
from convscope.sharding._records import MB, Record, canonical
from convscope.sharding._shard import Shard

SCHEMA = 1
NAME, HEAD, DONE, BEFORE = "job.json", "head.npz", "reported", "before"
JOB = Kind(what=NAME, largest=256 * MB, damaged="T24", special="U02", not_finite=True)
MOST_BLOCKS = 1_000_000
"""So many have numbers of six digits."""
_BLOCK = re.compile(r"block-([0-9]{6})\.npz")
_TYPES = {"kind": str, "rows": int, "size": int, "judged": dict, "settings": dict,
          "answers": list, "machine": dict, "facts": dict, "addresses": list}  # fmt: skip


class Part:
    """The records of some blocks of a job, in a folder that several workers may share.

    Args:
        folder: Where they are.
        job: Whose they are.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder = folder
        self.job = job
        self._digest = job.digest

    @classmethod
    def begun(cls, folder: Path, job: Job) -> tuple[Part, list[str]]:
        """A part to write to: a new folder, or one in which the same job was begun.

        Args:
            folder: Where to.
            job: What is to be judged now.

        Returns:
            The part, and sentences about differences that may change the last bits.

        Raises:
            UsageError: T23, it holds another job; U13, it holds something else.
            DataError: T24, it is damaged.
            ResourceError: The disk says no.
        """
        folder = checked_path(folder)
        path = folder / NAME
        if not path.exists():
            _refuse_other(folder)
            _write_once(path, _job_text(job).encode())
        part = cls.opened(folder)
        return cls(folder, part.job), job.check_same(part.job, where=folder)

    @classmethod
    def opened(cls, folder: Path) -> Part:
        """A part as it is.

        Raises:
            UsageError: U02, there is none.
            DataError: T24, it is damaged.
        """
        path = checked_path(folder) / NAME
        if not path.is_file():
            raise UsageError("holds no part", code="U02", where=folder, expected="a --part folder")
        table = read_json_table(path, JOB)
        if table.get("schema") != SCHEMA:
            raise DataError(
                f"of another version of convscope (schema {table.get('schema')!r})",
                code="T24", where=path, hint="update convscope, or begin in another folder",
            )  # fmt: skip
        recorded = table.pop("sha256", None)
        values: dict[str, Any] = {name: table.get(name) for name in _TYPES}
        whole = all(type(values[name]) is kind for name, kind in _TYPES.items())
        if not whole or recorded != _digest(table) or not _sensible(values):
            raise DataError(
                "damaged: it is not what its SHA-256 says",
                code="T24", where=path, hint="copy the part again, or begin in another folder",
            )  # fmt: skip
        return cls(Path(folder), Job(**values))

    def has(self, block: int) -> bool:
        """Whether a block is judged."""
        return self._path(block).exists()

    def blocks(self) -> list[int]:
        """The blocks that are judged, in order.

        Raises:
            DataError: T24, there is a block that the job does not have.
        """
        found = []
        for path in self.folder.iterdir():
            if match := _BLOCK.fullmatch(path.name):
                found.append(int(match[1]))
                if found[-1] >= len(self.job.blocks):
                    raise DataError("of no block of this job", code="T24", where=path)
        return sorted(found)

    def missing(self) -> list[int]:
        """The blocks that are not judged yet."""
        return [block for block in range(len(self.job.blocks)) if not self.has(block)]

    def read(self, block: int) -> Record:
        """What was found about a block.

        Raises:
            DataError: T24, the file is damaged.
        """
        return Record.read(self._path(block), f"{self._digest}/{block}")

    def write(self, block: int, record: Record) -> None:
        """Write down what was found about a block.

        Raises:
            ResourceError: The disk says no.
        """
        record.write(self._path(block), f"{self._digest}/{block}")

    def has_head(self) -> bool:
        """Whether somebody has made the head."""
        return (self.folder / HEAD).exists()

    def within(self, judging: Judging) -> Part:
        """A part inside of this one, for what has to be judged before its first block.

        Raises:
            UsageError: T23, it holds another job.
            DataError: T24, it is damaged.
            ResourceError: The disk says no.
        """
        inner = replace(
            self.job,
            kind=judging.kind,
            rows=judging.rows,
            size=judging.size,
            settings=judging.settings,
            addresses=[],
        )
        return Part.begun(self.folder / BEFORE, inner)[0]

    def head(self, make: Callable[[], Record]) -> Record:
        """What has to be known before the first block, made if nobody has made it yet.

        Raises:
            DataError: T24, the file is damaged.
        """
        path, place = self.folder / HEAD, f"{self._digest}/head"
        if not path.exists():
            make().write(path, place)
        return Record.read(path, place)

    @contextmanager
    def working(self, shard: Shard) -> Iterator[None]:
        """Keep a second process from judging the same shard.

        Raises:
            RunBusyError: T10, another process does.
        """
        path = self.folder / f"shard-{shard.index + 1}-of-{shard.count}.lock"
        with locked(path, hint=f"wait until it ends: it judges shard {shard}"):
            yield

    @contextmanager
    def reporting(self) -> Iterator[bool]:
        """Whether this process is the one that reports; nobody else does while the block runs."""
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / "report.lock", hint=""))
                first = not (self.folder / DONE).exists()
            except (RunBusyError, ResourceError):
                # Another process is at it, or is through and has removed the folder.
                first = False
            yield first

    def reported(self) -> None:
        """The report is made: tidy up what killed workers left half written."""
        write_whole(self.folder / DONE, b"")
        for path in self.folder.rglob(".tmp-*"):
            with suppress(OSError):
                path.unlink()

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, block: int) -> Path:
        return self.folder / f"block-{block:06d}.npz"


def parts_below(folders: Sequence[Path]) -> list[Part]:
    """The parts in these folders, or in folders directly below them.

    Raises:
        UsageError: U02, there is none in one of them.
        DataError: T24, one is damaged.
    """
    found = []
    for folder in folders:
        below = sorted(folder.iterdir()) if folder.is_dir() else []
        inside = [one for one in below if (one / NAME).is_file()]
        alone = (folder / NAME).is_file() or not inside
        found += [Part.opened(one) for one in ([folder] if alone else inside)]
    return found


def collected(parts: Sequence[Part]) -> tuple[Record, list[Record], list[str]]:
    """The head and the records of all blocks.

    Args:
        parts: Of one job; at least one.

    Returns:
        Head, records in order, and sentences about differences that may change the last bits.

    Raises:
        UsageError: T23, a part is of another job; T25, a block is missing, or judged twice.
        DataError: T24, a file is damaged.
    """
    job, notes = parts[0].job, []
    places: dict[int, Part] = {}
    for part in parts:
        if part is not parts[0]:
            notes += job.check_same(part.job, where=part.folder)
        for block in part.blocks():
            if block in places:
                raise UsageError(
                    f"{job.address(block)}: judged here and in {places[block].folder}",
                    code="T25",
                    where=part.folder,
                    expected="parts that do not overlap",
                    hint="leave one of the two out",
                )
            places[block] = part
    missing = [block for block in range(len(job.blocks)) if block not in places]
    if missing:
        shown = ", ".join(job.address(block) for block in missing[:6])
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        raise UsageError(
            f"not judged yet: {shown}{more} ({len(missing)} of {len(job.blocks)} blocks)",
            code="T25",
            where=", ".join(str(part.folder) for part in parts[:4]),
            expected="parts that hold every image once",
            hint="run the same command with --part again: it judges what is missing",
        )
    first = next((part for part in parts if (part.folder / HEAD).exists()), None)
    if first is None:
        raise DataError("missing", code="T24", where=parts[0].folder / HEAD)
    head = first.head(Record)
    return head, [places[block].read(block) for block in range(len(job.blocks))], notes


def _sensible(values: Mapping[str, Any]) -> bool:
    """Whether numbers of a job can be: blocks that can be counted, logits that are numbers."""
    rows, size = values["rows"], values["size"]
    answers, addresses = values["answers"], values["addresses"]
    return (
        0 <= rows <= MOST_BLOCKS * size
        and size >= 1
        and (not addresses or (size == 1 and len(addresses) == rows))
        and all(type(address) is str for address in addresses)
        and all(type(row) is list and {type(one) for one in row} <= {int, float} for row in answers)
    )


def _refuse_other(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError("a file, not a folder", code="U13", where=folder)
    if folder.is_dir():
        other = [p.name for p in folder.iterdir() if not p.name.startswith(".tmp-")]
        if other and NAME not in other:
            raise UsageError(
                f"holds something else ({other[0]})",
                code="U13",
                where=folder,
                expected="a new or empty folder, or a part",
            )


def _job_text(job: Job) -> str:
    table = {"schema": SCHEMA, **job.table()}
    return json.dumps({**table, "sha256": _digest(table)}, indent=1, ensure_ascii=True)


def _digest(table: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(table).encode()).hexdigest()


def _write_once(path: Path, data: bytes) -> None:
    """Write a file unless it is there: of two workers that begin at once, the first one's stays."""
    draft = path.with_name(f".tmp-{uuid.uuid4().hex}")
    with disk_errors(path, cleanup=draft):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(draft, data)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            draft.replace(path)
        with suppress(OSError):
            draft.unlink()
