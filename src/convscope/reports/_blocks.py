"""From the blocks of `report.json` to what the templates print; a broken block becomes a remark."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from convscope.errors import ConvscopeError, printable
from convscope.files import DRAWING, Kind, decoded, loads_json, plain_json
from convscope.reports._images import Files, Unreadable, harmless, read_picture
from convscope.reports._text import LONGEST, TONES, cell, clean, cut, number, runs, without_paths
from convscope.reports._write import LARGEST_MATRIX, LONGEST_TABLE

Shown = dict[str, Any]
TABLE = Kind(what="a table", largest=8_000_000)
PLAYGROUND = Kind(what="a playground", largest=8_000_000)
STEPS = 8
"""Shades of a matrix."""

MOST_BARS, LONGEST_LABEL = 5, 22
"""Of one cell; characters of a label, which is as wide as its bars."""

DEEPEST = 4
"""Details inside details."""

NARROW_TABLE, NARROW_MATRIX, NARROW_PICTURE, NARROW_DRAWING = 5, 480, 460, 400
"""Columns, pixels, pixels and units of a drawing that fit into half of a card."""

SHEET, HALF_SHEET = 690, 330
"""Pixels of a sheet of paper, and of one of two columns."""

BOLD, PLAIN, PAPER = 8.6, 7.8, 0.907
"""Pixels of a letter of a matrix, at most on average: the fonts of readers differ; and how much
smaller letters are on paper."""

MOST_THUMBNAIL = 128
"""Pixels of a side of what a cell of a matrix shows."""

PHONE = 345
"""Units of a drawing that a phone shows without shrinking."""

WIDEST = 12
"""A drawing wider than `PHONE` scrolls by itself, at one pixel or more per unit. This is where that
ends, in hundreds of pixels; the style sheet has a rule for each hundred."""

WORDS = 600
"""Characters of a cell of the kind ``words``, which holds sentences."""

QUIET_FACTS = 240
"""Characters of facts that are one quiet line."""


@dataclass
class Reader:
    """Reads the files that blocks name, and remembers what could not be shown.

    Attributes:
        files: The report's files.
        enlarge: See `read_picture`.
        limit: See `read_picture`.
        alone: Whether CSV files go into the page, which has no folder beside it.
        refused: One sentence per block or picture that is missing.
        playground: Network and images of the one block that runs, as text.
        addresses: Of single things inside of blocks, such as ``conv2/17``.
        tiles: Thumbnails, and the addresses they would have.
    """

    files: Files
    enlarge: int = 1
    limit: int = 0
    alone: bool = False
    refused: list[str] = field(default_factory=list)
    figures: int = 0
    playground: Shown | None = None
    addresses: set[str] = field(default_factory=set)
    tiles: list[tuple[Shown, Any]] = field(default_factory=list)

    def blocks(self, raw: Any, address: str, depth: int = 0) -> list[Shown]:
        """All blocks of a section, each with an address; narrow neighbors stand side by side.

        Args:
            raw: The blocks as `report.json` has them.
            address: Of what they are in; the blocks get ``ADDRESS-1``, ``ADDRESS-2``...
            depth: How many details they are inside of.
        """
        shown: list[Shown] = []
        for count, block in enumerate(raw if isinstance(raw, list) else [], 1):
            place = f"{address}-{count}"
            made = {**self.block(block, place, depth), "address": place}
            if not _is_narrow(made):
                shown.append(made)
            elif shown and shown[-1]["type"] == "columns":
                shown[-1]["blocks"].append(made)
            else:
                shown.append({"type": "columns", "blocks": [made]})
        return shown

    def block(self, raw: Any, address: str, depth: int = 0) -> Shown:
        """One block; never fails."""
        kind = raw.get("type") if isinstance(raw, dict) else None
        try:
            if kind == "details" and depth < DEEPEST:
                return {
                    "type": "details",
                    "summary": cut(str(raw["summary"]), 200),
                    "blocks": self.blocks(raw["blocks"], address, depth + 1),
                }
            make = _MAKERS.get(str(kind))
            if make is None:
                raise ValueError(f"this convscope knows no block of type {kind!r}")
            return {"type": kind, "caption": "", **make(self, raw)}
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            IndexError,
            ArithmeticError,
        ) as error:
            what = f"needs {error}" if isinstance(error, KeyError) else str(error)
            return self.missing(f"A block ({printable(str(kind), 40)}) cannot be shown: {what}")

    def address(self, raw: Any) -> str:
        """The address of a single thing, such as ``conv2/17``, for the first that asks for it."""
        wish = raw.get("address") if isinstance(raw, dict) else raw
        if not isinstance(wish, str) or not _ADDRESS.fullmatch(wish) or wish in self.addresses:
            return ""
        self.addresses.add(wish)
        return wish

    def claim_rest(self) -> None:
        """Thumbnails get the addresses that no larger picture has."""
        for tile, wish in self.tiles:
            tile["address"] = self.address(wish)

    def missing(self, why: str) -> Shown:
        """A remark in the place of a block."""
        text = printable(why, limit=300)
        self.refused.append(text)
        return {"type": "note", "caption": "", "level": "failure", "paragraphs": [[(text, False)]]}

    def picture(self, raw: Any, scale: float) -> Shown:
        """An image with its size on screen, or the reason why there is none."""
        found = read_picture(self.files, raw.get("file"), enlarge=self.enlarge, limit=self.limit)
        if found.problem:
            self.refused.append(f"{printable(str(raw.get('file')), 80)}: {found.problem}")
        alt, title = cut(str(raw.get("alt", "")), 400), str(raw.get("title", ""))
        detail = cut(str(raw.get("detail", "")), 60)
        return {
            "uri": found.uri,
            "problem": found.problem,
            "width": max(1, round(found.width * scale)),
            "height": max(1, round(found.height * scale)),
            "alt": alt,
            # What stands below it need not be heard twice.
            "told": alt.lower() in (title.lower(), detail.lower()),
            "title": cut(title, 40),
            "full_title": title[:1000],
            "detail": detail,
            "tone": raw.get("tone") if raw.get("tone") in TONES else "",
            "address": self.address(raw),
        }


def _is_narrow(shown: Shown) -> bool:
    """Whether a block needs no more than half of a card that is 1,000 pixels wide."""
    match shown["type"]:
        case "figure":
            return not shown["wide"] and shown["units"] <= NARROW_DRAWING
        case "table":
            return len(shown["columns"]) <= NARROW_TABLE and not shown["wide"]
        case "matrix":
            return float(shown["pixels"]) <= NARROW_MATRIX
        case "grid":
            return bool(shown["beside"])
        case "picture":
            return int(shown["image"]["width"]) <= NARROW_PICTURE
    return False


def _text(reader: Reader, raw: Any) -> Shown:
    return {"paragraphs": runs(str(raw["text"]))}


def _list(reader: Reader, raw: Any) -> Shown:
    items = [[run for paragraph in runs(str(item)) for run in paragraph] for item in raw["items"]]
    return {"items": items, "first": max(0, int(raw.get("first", 0)))}


def _heading(reader: Reader, raw: Any) -> Shown:
    return {"text": cut(str(raw["text"]), 120)}


def _links(reader: Reader, raw: Any) -> Shown:
    items = []
    for item in raw["items"]:
        if not _PLACE.fullmatch(str(item["href"])) or ".." in str(item["href"]):
            raise ValueError("a link leads to another place than the folder of this page")
        items.append(
            {
                "href": str(item["href"]),
                "title": cut(str(item["title"]), 120),
                "detail": cut(str(item.get("detail", "")), 300),
            }
        )
    return {"items": items}


_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
"""A file in the folder of the page or below: no address, no script, no way up."""


def _note(reader: Reader, raw: Any) -> Shown:
    level = raw.get("level", "info")
    return {
        "paragraphs": runs(str(raw["text"])),
        "level": level if level in ("info", "warning", "failure") else "info",
    }


def _facts(reader: Reader, raw: Any) -> Shown:
    items: list[Shown] = [
        {"label": cut(str(item["label"]), 60), "value": cell(item["value"], limit=300)}
        for item in raw["items"]
    ]
    letters = sum(len(item["label"]) + len(item["value"]["text"]) for item in items)
    return {"items": items, "quiet": letters <= QUIET_FACTS}


def _code(reader: Reader, raw: Any) -> Shown:
    return {"text": str(raw["text"]), "caption": str(raw.get("caption", ""))}


def _table(reader: Reader, raw: Any) -> Shown:
    columns = [
        {"title": cut(str(c["title"])), "kind": str(c.get("kind", "text"))} for c in raw["columns"]
    ]
    rows = []
    for row in raw["rows"][:LONGEST_TABLE]:
        if len(row) != len(columns):
            raise ValueError(f"a row has {len(row)} cells for {len(columns)} columns")
        rows.append(
            [
                cell(c, head["kind"], WORDS if head["kind"] == "words" else LONGEST)
                for c, head in zip(row, columns, strict=True)
            ]
        )
    for i, head in enumerate(columns):
        if rows and all(row[i]["kind"] == "n" for row in rows):
            head["kind"] = "number"
    total = max(int(raw.get("total", len(raw["rows"]))), len(raw["rows"]))
    wishes = raw.get("addresses") or []
    addresses = [reader.address(wish) for wish in wishes[: len(rows)]]
    return {
        "columns": columns,
        "rows": rows,
        "addresses": addresses + [""] * (len(rows) - len(addresses)),
        "caption": str(raw.get("caption", "")),
        "rest": total - len(rows),
        "wide": bool(raw.get("wide", False)),
        **_csv(reader, raw),
    }


def _matrix(reader: Reader, raw: Any) -> Shown:
    names, heads, values = raw["rows"], raw["columns"], raw["values"]
    if len(values) != len(names) or any(len(row) != len(heads) for row in values):
        raise ValueError(f"a matrix of {len(names)} x {len(heads)} names has other values")
    if max(len(names), len(heads)) > LARGEST_MATRIX:
        raise ValueError(f"{len(names)} x {len(heads)} cells are too many to print")
    kind = raw.get("kind", "share")
    flat = [v for row in values for v in row if isinstance(v, int | float)]
    top = max((abs(v) for v in flat), default=1) or 1
    wrong = [v for i, row in enumerate(values) for j, v in enumerate(row) if i != j and v]
    most_wrong = max(wrong, default=1) or 1
    rows: list[Shown] = []
    for i, (name, row) in enumerate(zip(names, values, strict=True)):
        total = sum(v for v in row if v) or 1
        cells = []
        for j, value in enumerate(row):
            if kind == "confusion":
                share = (value or 0) / (total if i == j else most_wrong)
                tone = "d" if i == j else "e"
            else:
                share = abs(value or 0) / (1 if kind == "share" else top)
                tone = "d" if (value or 0) >= 0 else "e"
            shade = 0 if not value else 1 + round(min(max(share, 0), 1) ** 0.7 * (STEPS - 1))
            cells.append(
                {
                    "text": _matrix_text(value, kind),
                    "shade": f"{tone}{shade}" if shade else "",
                    "opens": None,
                }
            )
        rows.append({"name": cut(str(name), 24), "full": str(name)[:1000], "cells": cells})
    columns = [{"name": cut(str(h), 12), "full": str(h)[:1000]} for h in heads]
    images = None
    if raw.get("images") is not None:
        try:
            images = _cell_images(reader, raw, rows, columns)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            for shown in rows:
                for each in shown["cells"]:
                    each["opens"] = None
            reader.refused.append(
                printable(f"The images of a matrix cannot be shown: {error}", 300)
            )
    screen, paper = _matrix_pixels(str(raw.get("row_title", "")), rows, columns)
    return {
        "columns": columns,
        "rows": rows,
        "images": images,
        "pixels": screen,
        "paper": "" if paper <= HALF_SHEET else "sheet" if paper <= SHEET else "sheet steep",
        "row_title": str(raw.get("row_title", "")),
        "column_title": str(raw.get("column_title", "")),
        "caption": str(raw.get("caption", "")),
        **_csv(reader, raw),
    }


def _matrix_pixels(row_title: str, rows: list[Shown], columns: list[Shown]) -> tuple[float, float]:
    """How wide a matrix is at most, on a screen and on paper, where its letters are smaller."""
    first = max(PLAIN * len(row_title), *(BOLD * len(row["name"]) for row in rows))
    needed = [
        (BOLD * len(head["name"]), PLAIN * max(len(row["cells"][j]["text"]) for row in rows))
        for j, head in enumerate(columns)
    ]
    screen = first + 14 + sum(max(head + 14, text + 14, 38) for head, text in needed)
    paper = PAPER * first + 14 + sum(max(PAPER * h + 14, PAPER * t + 9) for h, t in needed)
    return screen, paper


def _cell_images(reader: Reader, raw: Any, rows: list[Shown], columns: list[Shown]) -> Shown | None:
    """What the cells of a matrix open; a cell gets the address of its images.

    Raises:
        ValueError: It is damaged.
    """
    images, name = raw["images"], str(raw.get("name", ""))
    if reader.enlarge > 1:
        return None  # paper opens nothing
    width, height, across = (int(images[key]) for key in ("width", "height", "columns"))
    scale = _scale(images)
    if not (0 < width <= MOST_THUMBNAIL and 0 < height <= MOST_THUMBNAIL and 0 < across <= 100):
        raise ValueError("thumbnails have no such size")
    sheet = read_picture(reader.files, images["file"])
    if sheet.problem:
        raise ValueError(f"{printable(str(images['file']), 80)}: {sheet.problem}")
    room = sheet.width // width * (sheet.height // height) if sheet.width == across * width else 0
    prefix, count = name if _WORD.fullmatch(name) else "cell", 2
    while any(address.startswith(f"{prefix}/") for address in reader.addresses):
        prefix, count = f"{prefix.rstrip('0123456789').rstrip('-')}-{count}", count + 1
    cells: list[Shown] = []
    asking: list[tuple[Shown, Any]] = []
    place = 0
    for one in images["cells"]:
        row, column = int(one["row"]), int(one["column"])
        if row < 0 or column < 0 or rows[row]["cells"][column]["opens"] is not None:
            raise ValueError("a cell is outside of the matrix, or named twice")
        address = f"{prefix}/{row}-{column}"
        tiles = []
        for image in one["images"]:
            tiles.append(
                {
                    "x": place % across * width,
                    "y": place // across * height,
                    "name": cut(str(image["name"]), 60),
                    "confidence": cut(str(image.get("confidence") or ""), 20),
                    "address": "",
                }
            )
            asking.append((tiles[-1], image))
            place += 1
        shown = {
            "address": address,
            "true": cut(rows[row]["full"], LONGEST),
            "predicted": cut(columns[column]["full"], LONGEST),
            "total": max(int(one["total"]), len(tiles)),
            "tiles": tiles,
        }
        rows[row]["cells"][column]["opens"] = shown
        cells.append(shown)
    if place > room:
        raise ValueError("there are fewer thumbnails than are named")
    reader.addresses.update(shown["address"] for shown in cells)
    reader.tiles += asking
    return {
        "cells": cells, "uri": sheet.uri, "width": sheet.width, "height": sheet.height,
        "tile": (width, height), "screen": (round(width * scale), round(height * scale)),
    }  # fmt: skip


_WORD = re.compile(r"[a-z][a-z0-9-]{0,40}")

_ADDRESS = re.compile(r"[A-Za-z0-9][\w.-]{0,60}/[\w.-]{1,60}", re.ASCII)
"""A layer and a map, or a word and a name: with one slash, which no other address has."""


def _csv(reader: Reader, raw: Any) -> Shown:
    """The table as a file: in the folder of the report, or inside a page that stands alone."""
    path = str(raw.get("csv", ""))
    shown = {"csv": path, "csv_uri": "", "csv_name": path.rpartition("/")[2]}
    if path and reader.alone:
        try:
            text = reader.files.read(path, TABLE).decode("utf-8", errors="replace")
        except Unreadable:
            return shown | {"csv": ""}
        data = base64.b64encode(without_paths(text).encode()).decode()
        shown["csv_uri"] = f"data:text/csv;charset=utf-8;base64,{data}"
    return shown


def _matrix_text(value: Any, kind: str) -> str:
    if value is None:
        return "–"
    if kind == "confusion":
        return number(int(value)) if value else "·"
    return f"{100 * value:.0f}" if kind == "share" else number(float(f"{value:.3g}"))


def _figure(reader: Reader, raw: Any) -> Shown:
    alt = cut(str(raw.get("alt", "")), 400)
    reader.figures += 1
    shown: Shown = {
        "svg": "",
        "problem": "",
        "alt": alt,
        "caption": str(raw.get("caption", "")),
        "wide": bool(raw.get("wide", False)),
        "units": 0.0,
        "step": 0,
    }
    try:
        text = decoded(reader.files.read(raw["file"], DRAWING), DRAWING, where=raw["file"])
        shown["svg"] = harmless(text, prefix=f"f{reader.figures}-", title=alt)
        shown["units"] = _units(shown["svg"])
        shown["step"] = (
            min(math.ceil(shown["units"] / 100), WIDEST) if shown["units"] > PHONE else 0
        )
    except Unreadable as error:
        shown["problem"] = str(error)
    except ConvscopeError as error:
        shown["problem"] = f"the file is damaged: {error.what}"
    except ValueError as error:
        shown["problem"] = printable(f"the file is damaged: {error}", 120)
    if shown["problem"]:
        reader.refused.append(f"{printable(str(raw['file']), 80)}: {shown['problem']}")
    return shown


def _units(svg: str) -> float:
    """The width of a drawing in its own units, in which its letters are 9 high."""
    found = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]{1,9}) ', svg)
    return float(found[1]) if found else 0.0


def _picture(reader: Reader, raw: Any) -> Shown:
    shown = reader.picture(raw, _scale(raw))
    smooth = raw.get("kind") == "smooth"
    return {"image": shown, "caption": str(raw.get("caption", "")), "smooth": smooth}


def _gallery(reader: Reader, raw: Any) -> Shown:
    scale = _scale(raw)
    items = [reader.picture(item, scale) for item in raw["items"]]
    return {"items": items, "caption": str(raw.get("caption", ""))}


def _grid(reader: Reader, raw: Any) -> Shown:
    scale = _scale(raw)
    rows = []
    for row in raw["rows"]:
        cells = [_grid_cell(reader, c, scale) for c in row["cells"]]
        if len(cells) != len(raw["columns"]):
            raise ValueError(f"a row has {len(cells)} cells for {len(raw['columns'])} columns")
        rows.append({"title": cut(str(row.get("title", "")), 60), "cells": cells})
    columns = [cut(str(c), 60) for c in raw["columns"]]
    return {
        "columns": columns,
        "rows": rows,
        "caption": str(raw.get("caption", "")),
        "beside": bool(raw.get("beside", False)),
        "headed": any(columns),
        "titled": any(row["title"] for row in rows),
    }


def _grid_cell(reader: Reader, raw: Any, scale: float) -> Shown | None:
    if raw is None or "bars" not in raw:
        return None if raw is None else reader.picture(raw, scale)
    bars = []
    for bar in raw["bars"][:MOST_BARS]:
        # What was NaN when the report was written is null, and a bar of no length.
        shares = [min(max(float(share or 0), 0.0), 1.0) for share in bar["shares"][:2]]
        name = str(bar["label"])
        bars.append({"label": cut(name, LONGEST_LABEL), "full": name[:1000], "shares": shares})
    tone = raw.get("tone") if raw.get("tone") in TONES else ""
    return {"bars": bars, "tone": tone, "alt": cut(str(raw.get("alt", "")), 400), "address": ""}


def _scale(raw: Any) -> float:
    scale = float(raw.get("scale", 1))
    if not 0.05 <= scale <= 40:
        raise ValueError(f"scale {scale} is not between 0.05 and 40")
    return scale


def _playground(reader: Reader, raw: Any) -> Shown:
    """Network and images go to the end of the page, where they are read by its script."""
    if reader.enlarge > 1:
        return {"paper": True}
    if reader.playground is not None:
        raise ValueError("a page has room for one playground")
    found = []
    for name in ("data", "weights"):
        try:
            found.append(reader.files.read(raw[name], PLAYGROUND))
        except Unreadable as error:
            raise ValueError(f"{printable(str(raw[name]), 80)}: {error}") from None
    data = plain_json(loads_json(found[0]), text=clean)
    weights = found[1].decode("ascii", errors="replace").strip()
    if not isinstance(data, dict) or not isinstance(data.get("graph"), dict):
        raise ValueError("it holds no network")
    if not _LETTERS.fullmatch(weights):
        raise ValueError("its weights are damaged")
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    reader.playground = {"data": text.translate(_NO_HTML), "weights": weights}
    return {"paper": False}


_LETTERS = re.compile(r"[!-%'-;=-~]*")
"""Visible ASCII without ``<`` and ``&``: nothing that HTML reads as anything else than text."""

_NO_HTML = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}

_MAKERS: dict[str, Callable[[Reader, Any], Shown]] = {
    "text": _text,
    "list": _list,
    "heading": _heading,
    "links": _links,
    "note": _note,
    "facts": _facts,
    "code": _code,
    "table": _table,
    "matrix": _matrix,
    "figure": _figure,
    "picture": _picture,
    "gallery": _gallery,
    "grid": _grid,
    "playground": _playground,
}
