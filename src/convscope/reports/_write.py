"""Build a report folder: sections of blocks in `report.json`, with pictures and tables beside it.

The format is described in ``docs/report.md``. Whoever computes results (a study, a command) adds
sections through `Report`; whoever renders reads only the folder, so a report can be rendered again
years later without the network, the data or torch.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from convscope.errors import ConvscopeError, UsageError, printable
from convscope.files import checked_path, plain_json, whole_folder
from convscope.reports._text import clean, without_paths

SCHEMA = 1
FILE = "report.json"
Block = dict[str, Any]
Cell = Any
"""Text, number, truth value, ``None``, or ``{"value": ..., "tone": "good" | "bad" | "warn"}``."""

LONGEST_TABLE = 60
"""Rows shown of a table; all rows are in the CSV file beside it."""

LARGEST_MATRIX = 24
"""Classes up to which a matrix is drawn cell by cell."""


@dataclass
class Section:
    """One chapter of a report.

    Attributes:
        id: Lower-case letters, digits and hyphens: the anchor that alerts point to.
        title: Heading.
        lead: One or two sentences under the heading: what one sees and how to read it.
        finding: The sentence above all others: what was found here, in numbers.
        blocks: What has been added so far.
        files: Contents of the files that the blocks name.
        status: ``"ok"``, or ``"failed"`` with the reason in a note.
    """

    id: str
    title: str
    lead: str = ""
    finding: str = ""
    blocks: list[Block] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    status: str = "ok"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.id):
            raise UsageError(
                f"section id {self.id!r}", expected="lower-case letters, digits and hyphens"
            )

    def add(self, block: Block) -> None:
        """Any block of ``docs/report.md``."""
        self.blocks.append(block)

    def text(self, text: str) -> None:
        """Paragraphs, separated by blank lines; words in `backticks` are set as code."""
        self.add({"type": "text", "text": text})

    def bullets(self, items: Sequence[str], *, first: int = 0) -> None:
        """A list.

        Args:
            items: A line or two each; words in `backticks` are set as code.
            first: The number of the first item; 0: bullets in place of numbers.
        """
        self.add({"type": "list", "items": list(items), "first": first})

    def heading(self, text: str) -> None:
        """A heading below that of the section."""
        self.add({"type": "heading", "text": text})

    def links(self, items: Sequence[Mapping[str, str]]) -> None:
        """Other pages in the folder of this one or below it.

        Args:
            items: Dicts with ``href`` (a relative path), ``title``, and optionally ``detail``.
        """
        self.add({"type": "links", "items": [dict(item) for item in items]})

    def note(self, text: str, level: str = "info") -> None:
        """A remark that must not be overlooked: ``info``, ``warning`` or ``failure``."""
        self.add({"type": "note", "text": text, "level": level})

    def facts(self, items: Mapping[str, Cell]) -> None:
        """Names and values in two columns."""
        entries = [{"label": key, "value": value} for key, value in items.items()]
        self.add({"type": "facts", "items": entries})

    def code(self, text: str, *, caption: str = "") -> None:
        """Text in a fixed-width font, copied as it is."""
        self.add({"type": "code", "text": text, "caption": caption})

    def table(
        self,
        columns: Sequence[str | dict[str, Any]],
        rows: Sequence[Sequence[Cell]],
        *,
        caption: str = "",
        name: str = "",
        wide: bool = False,
        addresses: Sequence[str] = (),
    ) -> None:
        """A table; all of it also goes to ``tables/NAME.csv`` if it has a name.

        Args:
            columns: Titles, or dicts with ``title`` and ``kind``: ``text``, ``words`` (whole
                sentences), ``number``, ``percent`` (of a share between 0 and 1) or ``code``.
            rows: Cells.
            caption: What the table says.
            name: Of the CSV file.
            wide: Takes the whole width; otherwise narrow ones stand beside each other.
            addresses: One per row, such as ``"attack/pgd"``: where a link to the row leads.
        """
        heads = [c if isinstance(c, dict) else {"title": c, "kind": "text"} for c in columns]
        block: Block = {
            "type": "table",
            "columns": heads,
            "rows": [list(row) for row in rows[:LONGEST_TABLE]],
            "caption": caption,
            "total": len(rows),
            "wide": wide,
        }
        if name:
            block["csv"] = self._keep_csv(name, [h["title"] for h in heads], rows)
        if addresses:
            block["addresses"] = list(addresses[:LONGEST_TABLE])
        self.add(block)

    def matrix(
        self,
        values: Sequence[Sequence[float | None]],
        *,
        rows: Sequence[str],
        columns: Sequence[str],
        row_title: str = "",
        column_title: str = "",
        kind: str = "share",
        caption: str = "",
        name: str = "",
        images: Mapping[str, Any] | None = None,
    ) -> None:
        """A shaded table of numbers.

        Args:
            values: One list per row.
            rows: Names of the rows.
            columns: Names of the columns.
            row_title: What a row is.
            column_title: What a column is.
            kind: ``"confusion"`` (counts; the diagonal is right, the rest wrong), ``"share"``
                (numbers between 0 and 1, shown in percent) or ``"number"``.
            caption: What it says.
            name: Of the CSV file, and of the addresses of cells: ``#NAME/ROW-COLUMN``.
            images: What cells show when they are opened: ``file`` (from `image`), one picture of
                thumbnails of ``width`` times ``height`` pixels, ``columns`` beside each other, at
                ``scale`` screen pixels per pixel; and ``cells``: dicts with ``row``, ``column``,
                ``total`` and ``images``, dicts with ``name`` and ``confidence`` in the order of
                the thumbnails.
        """
        block: Block = {
            "type": "matrix",
            "values": [list(row) for row in values],
            "rows": list(rows),
            "columns": list(columns),
            "row_title": row_title,
            "column_title": column_title,
            "kind": kind,
            "caption": caption,
        }
        if name:
            table = [[head, *row] for head, row in zip(rows, values, strict=True)]
            block["csv"] = self._keep_csv(name, [row_title or "row", *columns], table)
        if images is not None:
            block |= {"images": dict(images), "name": _slug(name)}
        self.add(block)

    def figure(
        self, name: str, svg: str, *, alt: str, caption: str = "", wide: bool = False
    ) -> None:
        """A curve or chart as SVG text.

        Args:
            name: Of the file in ``figures/``.
            svg: An ``<svg>`` element.
            alt: A sentence for those who cannot see it.
            caption: Text under it.
            wide: Takes the whole width; otherwise two stand side by side where there is room.
        """
        path = self._keep(f"figures/{self.id}-{_slug(name)}.svg", svg.encode())
        self.add({"type": "figure", "file": path, "alt": alt, "caption": caption, "wide": wide})

    def picture(
        self,
        name: str,
        data: bytes,
        *,
        alt: str,
        caption: str = "",
        scale: float = 1,
        kind: str = "",
        address: str = "",
    ) -> None:
        """One picture at `scale` screen pixels per pixel.

        Args:
            name: Of the file in ``images/``.
            data: Content of a PNG or WebP file.
            alt: A sentence for those who cannot see it.
            caption: Text under it.
            scale: How much it is enlarged, without blurring.
            kind: ``"smooth"`` for photographs, which may be interpolated.
            address: Such as ``"image/42"``; the first picture of a page with it gets it.
        """
        block = {"type": "picture", "alt": alt, "caption": caption, "scale": scale, "kind": kind}
        named = {"address": address} if address else {}
        self.add(block | named | {"file": self.image(name, data)})

    def image(self, name: str, data: bytes) -> str:
        """Keep a picture for a gallery or a grid; returns the path to give as ``file``."""
        kind = "webp" if data[8:12] == b"WEBP" else "png"
        return self._keep(f"images/{self.id}-{_slug(name)}.{kind}", data)

    def gallery(
        self, items: Sequence[Mapping[str, Any]], *, caption: str = "", scale: float = 1
    ) -> None:
        """Many small pictures with a line of text each.

        Args:
            items: Dicts with ``file`` (from `image`), ``alt``, and optionally ``title``,
                ``detail``, ``tone`` and ``address``, such as ``"image/42"``.
            caption: What they have in common.
            scale: Screen pixels per pixel.
        """
        entries = [dict(item) for item in items]
        self.add({"type": "gallery", "items": entries, "caption": caption, "scale": scale})

    def grid(
        self,
        columns: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        caption: str = "",
        scale: float = 1,
        beside: bool = False,
    ) -> None:
        """Pictures in rows and columns that mean something.

        Args:
            columns: Titles.
            rows: Dicts with ``title`` and ``cells``; a cell is ``None`` or a dict with ``file``,
                ``alt``, and optionally ``detail``, ``tone`` and ``address``.
            caption: How to read it.
            scale: Screen pixels per pixel.
            beside: Needs half of a card only: stands beside another such block.
        """
        entries = [dict(row) for row in rows]
        self.add(
            {
                "type": "grid",
                "columns": list(columns),
                "rows": entries,
                "caption": caption,
                "scale": scale,
                "beside": beside,
            }
        )

    def playground(self, data: Mapping[str, Any], weights: str) -> None:
        """A network that runs in the page.

        Args:
            data: What ``playground.js`` takes: plain values.
            weights: All weights as text.
        """
        text = json.dumps(plain_json(data, text=clean), separators=(",", ":"), allow_nan=False)
        self.add(
            {
                "type": "playground",
                "data": self._keep("playground/playground.json", text.encode()),
                "weights": self._keep("playground/weights.txt", weights.encode()),
            }
        )

    @contextmanager
    def details(self, summary: str) -> Iterator[None]:
        """Blocks added inside are folded away on screen and printed in full."""
        outer, self.blocks = self.blocks, []
        try:
            yield
        finally:
            inner, self.blocks = self.blocks, outer
            if inner:
                self.add({"type": "details", "summary": summary, "blocks": inner})

    def _keep(self, path: str, data: bytes) -> str:
        stem, dot, ending = path.rpartition(".")
        count = 2
        while path in self.files and self.files[path] != data:
            path = f"{stem}-{count}{dot}{ending}"
            count += 1
        self.files[path] = data
        return path

    def _keep_csv(self, name: str, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([_csv_text(cell) for cell in header])
        writer.writerows([[_csv_text(cell) for cell in row] for row in rows])
        data = text.getvalue().encode("utf-8", errors="backslashreplace")
        return self._keep(f"tables/{self.id}-{_slug(name)}.csv", data)


@dataclass
class Report:
    """A report in the making.

    Attributes:
        title: Heading of the page.
        subtitle: One line under it.
        created: When the results were computed, in words. Rendering adds no time of its own.
        generator: Program and version.
        tiles: Headline numbers: dicts with ``label``, ``value``, ``detail``, ``tone``.
        alerts: What a reader should know first: dicts with ``text``, ``level`` (``good``,
            ``notice``, ``warning``), ``section`` and ``code``.
        sections: Chapters in order.

    Example:
        >>> import tempfile
        >>> report = Report(title="A report")
        >>> section = report.section("numbers", "Numbers", "Three of them.")
        >>> section.table(["n"], [[1], [2], [3]])
        >>> folder = report.write(Path(tempfile.mkdtemp()) / "report")
        >>> sorted(p.name for p in folder.iterdir())
        ['report.json']
    """

    title: str
    subtitle: str = ""
    created: str = ""
    generator: str = "convscope"
    tiles: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def section(self, id: str, title: str, lead: str = "") -> Section:
        """Begin a chapter."""
        made = Section(id, title, lead)
        self.sections.append(made)
        return made

    def tile(self, label: str, value: str, *, detail: str = "", tone: str = "") -> None:
        """A headline number, with its uncertainty in `detail`."""
        self.tiles.append({"label": label, "value": value, "detail": detail, "tone": tone})

    def alert(self, text: str, *, level: str = "notice", section: str = "", code: str = "") -> None:
        """One finding in one sentence: ``good``, ``notice`` or ``warning``.

        `code` names the finding for programs, such as ``"zero-gradient"``.
        """
        self.alerts.append({"text": text, "level": level, "section": section, "code": code})

    def fail(self, section: Section, error: BaseException) -> None:
        """Say in the section why the rest of it is missing."""
        section.status = "failed"
        reason = (
            str(error) if isinstance(error, ConvscopeError) else f"{type(error).__name__}: {error}"
        )
        reason = "; ".join(line.strip() for line in reason.splitlines() if line.strip())
        section.note(f"This section stopped: {printable(reason, limit=600)}", level="failure")
        self.alert(
            f"The section “{section.title}” is incomplete; it says why.",
            level="warning",
            section=section.id,
        )

    def files(self) -> dict[str, bytes]:
        """Pictures, drawings and tables by their path in the folder."""
        return {path: data for s in self.sections for path, data in s.files.items()}

    def content(self) -> dict[str, Any]:
        """What goes to `report.json`: valid JSON, without absolute paths."""
        sections = [
            {
                "id": s.id,
                "title": s.title,
                "lead": s.lead,
                "finding": s.finding,
                "status": s.status,
                "blocks": s.blocks,
            }
            for s in self.sections
        ]
        tree = {
            "schema": SCHEMA,
            "title": self.title,
            "subtitle": self.subtitle,
            "created": self.created,
            "generator": self.generator,
            "tiles": self.tiles,
            "alerts": self.alerts,
            "sections": sections,
        }
        return cast(dict[str, Any], plain_json(tree, text=clean))

    def write(self, folder: Path | str, *, force: bool = False) -> Path:
        """Write the folder; it appears whole or not at all.

        Args:
            folder: Must not exist, unless `force` and it holds an earlier report.
            force: Replace an earlier report. Files that are not part of one are kept.

        Raises:
            UsageError: U13 if the folder is taken.
            ResourceError: If the disk refuses.
        """
        folder = checked_path(folder)
        refuse_taken(folder, force=force)
        files = self.files()
        text = json.dumps(self.content(), indent=1, ensure_ascii=False, allow_nan=False)
        files[FILE] = text.encode("utf-8", errors="backslashreplace")
        with whole_folder(folder, force=force) as draft:
            for path, data in files.items():
                (draft / path).parent.mkdir(parents=True, exist_ok=True)
                (draft / path).write_bytes(data)
            if folder.exists():
                for part in ("images", "figures", "tables", "playground"):
                    shutil.rmtree(folder / part, ignore_errors=True)
        return folder


def refuse_taken(folder: Path, *, force: bool) -> None:
    """Before hours of work: may the report be written there?

    Raises:
        UsageError: U13 if something is there that is not a report, or a report and not `force`.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() and not (force and (folder / FILE).is_file()):
        hint = "choose another --out, or --force" if (folder / FILE).is_file() else "choose another"
        raise UsageError("already exists", code="U13", where=folder, hint=hint)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", without_paths(name).lower()).strip("-")[:48] or "item"


def _csv_text(cell: Cell) -> Cell:
    """A cell without paths and controls, as in `Report.content`.

    Spreadsheets run cells that begin like a formula; a leading quote stops them.
    """
    value = cell.get("value") if isinstance(cell, dict) else cell
    if not isinstance(value, str):
        return value
    value = clean(value)
    return "'" + value if value[:1] in ("=", "+", "-", "@", "\t") else value
