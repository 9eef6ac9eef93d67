"""The experiment shelf: runs, reports and studies below a folder, opened read-only.

What a page asks for is looked up among what was found, never joined to a path; links that lead out
of the folder are not followed.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from convscope.errors import ConvscopeError, DataError
from convscope.files import SETTINGS, Kind, read_bytes, read_json_table, read_toml
from convscope.reports import read_report, render, without_controls
from convscope.training import read_history

ItemKind = Literal["run", "report", "study", "page"]

DEEPEST, MOST_FOLDERS, MOST_ITEMS = 4, 5000, 500
PAGE = Kind(what="an HTML page", largest=32_000_000)
OWNER = Kind(what="run.lock", largest=10_000)
MOST_SETTINGS = 60

REPORT_POLICY = "; ".join(
    [
        "sandbox allow-scripts",
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        "script-src 'unsafe-inline'",
        "worker-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""Of a report that is rendered here: the page allows its own scripts by hash; it is no page of
this origin, has no cookie, and can send nothing."""

FILE_POLICY = "; ".join(
    ["sandbox", "default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]
)
"""Of an HTML file that somebody wrote: it is shown, and nothing in it runs."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something on the shelf.

    Attributes:
        name: Path below the folder, with slashes; its address.
        kind: What it is.
        title: For people.
        changed: Seconds since the epoch.
    """

    name: str
    kind: ItemKind
    title: str
    changed: float


class Shelf:
    """What lies below a folder.

    Args:
        root: The folder; it may be missing yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def items(self) -> list[Item]:
        """Runs, reports, studies and pages, newest first, at most `MOST_ITEMS`."""
        found = [item for place in self._places() if (item := self._item(place)) is not None]
        found.sort(key=lambda item: (-item.changed, item.name))
        return found[:MOST_ITEMS]

    def item(self, name: object) -> tuple[Item, Path]:
        """One of `items` by its name, as it is or as pages show it, and where it is.

        Raises:
            DataError: U02 if there is none.
        """
        for place in self._places():
            own = place.relative_to(self.root).as_posix()
            if name in (own, without_controls(own)):
                item = self._item(place)
                if item is not None:
                    return item, place
        raise DataError(
            "nothing of that name on the shelf", code="U02", where=str(name)[:200],
            hint="reload the list",
        )  # fmt: skip

    def _places(self) -> Iterator[Path]:
        """The folder, folders below it, and HTML files, in a stable order."""
        waiting, seen = [(self.root, 0)], 0
        while waiting:
            folder, depth = waiting.pop(0)
            seen += 1
            if seen > MOST_FOLDERS:
                return
            yield folder
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                continue
            inside = _kind_of_folder(folder)
            for entry in entries:
                if entry.is_symlink() or entry.name.startswith("."):
                    continue
                if entry.is_dir() and depth < DEEPEST and inside in ("", "study"):
                    waiting.append((Path(entry.path), depth + 1))
                elif entry.is_file() and entry.name.endswith(".html") and not inside:
                    yield Path(entry.path)

    def _item(self, place: Path) -> Item | None:
        name = place.relative_to(self.root).as_posix()
        try:
            if place.is_file():
                return Item(name=name, kind="page", title=place.stem, changed=place.stat().st_mtime)
            kind = _kind_of_folder(place)
            if kind == "":
                return None
            files = [place / other for other in MARKS[kind]]
            changed = max(file.stat().st_mtime for file in files if file.exists())
            return Item(name=name, kind=kind, title=place.name, changed=changed)
        except (OSError, ValueError):
            return None

    def page(self, name: object) -> tuple[bytes, str]:
        """The HTML of a report, study or page, and the policy under which it may be shown.

        Raises:
            DataError: It is none, or is damaged.
        """
        item, place = self.item(name)
        if item.kind == "page":
            return read_bytes(place, PAGE), FILE_POLICY
        if item.kind == "run":
            raise DataError("is a run and has no page", code="U02", where=item.name)
        with tempfile.TemporaryDirectory(prefix="convscope-serve-") as folder:
            made = render(place, Path(folder) / "report.html", alone=True)
            return read_bytes(made.path, PAGE), REPORT_POLICY

    def run(self, name: object, *, after: int = 0, mark: str = "") -> dict[str, Any]:
        """A run: its settings, its curves from row `after` on, and whether it is in progress.

        Args:
            name: Of the item.
            after: How many rows the page has.
            mark: The ``"mark"`` that came with them. If the run has other rows there now, it was
                begun again, and all of its rows come: ``"after"`` is 0.

        Raises:
            DataError: It is none, or its metrics are damaged.
        """
        item, place = self.item(name)
        if item.kind != "run":
            raise DataError("is no run", code="U02", where=item.name)
        rows = read_history(place)
        settings = _settings(place)
        if mark != _mark(rows[:after]):
            after = 0
        return {
            "name": item.name, "title": item.title, "rows": [asdict(row) for row in rows[after:]],
            "after": after, "count": len(rows), "mark": _mark(rows), "settings": settings,
            "owner": _owner(place), "epochs": settings.get("epochs"), "changed": item.changed,
        }  # fmt: skip

    def described(self, item: Item) -> dict[str, Any]:
        """For the list: the item, and in a few words what is in it."""
        about, live = "", False
        place = self.root / item.name
        with suppress(ConvscopeError, OSError):
            if item.kind == "run":
                rows = read_history(place)
                settings = _settings(place)
                what = [str(settings.get(key, "")) for key in ("model", "data", "preset")]
                about = ", ".join(part for part in what if part)
                if rows:
                    last = rows[-1]
                    about += f"; epoch {last.epoch:.4g}"
                    if last.validation_images:
                        about += f", validation accuracy {last.validation_accuracy:.2%}"
                live = bool(_owner(place))
            elif item.kind in ("report", "study"):
                about = str(read_report(place).get("title", ""))
        return {**asdict(item), "about": re.sub(r"\s+", " ", about)[:300], "live": live}


MARKS: dict[str, tuple[str, ...]] = {
    "run": ("config.toml", "metrics.csv"),
    "study": ("report.json", "result.json"),
    "report": ("report.json",),
}
"""Files by which a folder is known, the surest kind first."""


def _kind_of_folder(folder: Path) -> Any:
    for kind, names in MARKS.items():
        if all((folder / name).is_file() for name in names):
            return kind
    return ""


def _mark(rows: Sequence[Any]) -> str:
    """By which rows of a run are known again."""
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def _settings(run: Path) -> dict[str, Any]:
    """The settings of a run as plain values; empty if they cannot be read."""
    try:
        table = read_toml(run / "config.toml", SETTINGS)
    except ConvscopeError:
        return {}
    plain = {k: v for k, v in table.items() if isinstance(v, str | int | float | bool)}
    return dict(list(plain.items())[:MOST_SETTINGS])


def _owner(run: Path) -> str:
    """Who is at work in a run, in words; empty if nobody is, as far as can be seen."""
    try:
        found = read_json_table(run / "run.lock", OWNER)
    except ConvscopeError:
        return ""
    pid, host = found.get("pid"), found.get("host")
    if host == socket.gethostname():
        if type(pid) is not int or not Path("/proc").is_dir():
            return "a process of this machine"
        return f"process {pid}" if Path(f"/proc/{pid}").is_dir() else ""
    return f"a process on {host}" if isinstance(host, str) else ""
