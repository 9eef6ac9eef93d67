"""Pictures of a report: raster images and SVG, checked and cleaned."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from convscope.errors import ConvscopeError, printable
from convscope.files import DRAWING, PICTURE, Kind, checked_path, parse_xml, read_bytes
from convscope.reports._text import without_paths

LARGEST = 24_000_000
"""Pixels. A file that claims more is not decoded."""

PRINTED = 4
"""Screen pixels per pixel of the copy made for PDF, whose viewers would blur small pictures."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a page needs of one image.

    Attributes:
        uri: ``data:image/...``, or empty.
        width: In pixels of the file.
        height: Likewise.
        problem: Why there is no picture; empty if there is one.
    """

    uri: str = ""
    width: int = 0
    height: int = 0
    problem: str = ""


class Unreadable(Exception):
    """A file of a report that cannot be had, and why."""


@dataclass(frozen=True)
class InFolder:
    """The files of a report folder that somebody wrote; those outside it are never opened."""

    folder: Path

    def read(self, name: object, kind: Kind) -> bytes:
        """The content of a file.

        Raises:
            Unreadable: It is not there, outside the folder, or cannot be read.
        """
        path = inside(self.folder, name)
        if path is None:
            raise Unreadable("the file name points outside the report")
        if not path.exists():
            raise Unreadable("the file is missing")
        try:
            return read_bytes(path, kind)
        except ConvscopeError as error:
            raise Unreadable(f"the file cannot be read: {error.what}") from None


@dataclass(frozen=True)
class InMemory:
    """The files of a report that this process has made: what it encoded, it need not decode."""

    files: Mapping[str, bytes]

    def read(self, name: object, kind: Kind) -> bytes:
        """The content of a file.

        Raises:
            Unreadable: It is not there.
        """
        if not isinstance(name, str) or name not in self.files:
            raise Unreadable("the file is missing")
        return self.files[name]


Files = InFolder | InMemory


def read_picture(files: Files, name: object, *, enlarge: int = 1, limit: int = 0) -> Picture:
    """The picture in file `name` of a report, or the reason why it cannot be shown.

    Args:
        files: The report's files.
        name: Which of them.
        enlarge: Repeat every pixel so often in both directions, if the result stays small.
        limit: If positive, shrink pictures to at most so many pixels a side.
    """
    try:
        data = files.read(name, PICTURE)
    except Unreadable as error:
        return Picture(problem=str(error))
    try:
        return _encode(data, enlarge=enlarge, limit=limit, ours=isinstance(files, InMemory))
    except Exception as error:  # decoders raise what they like
        return Picture(problem=f"the file is damaged: {printable(str(error), limit=80)}")


def inside(folder: Path, name: object) -> Path | None:
    """The file, if it lies inside the folder."""
    if not isinstance(name, str) or not name or "\0" in name:
        return None
    root = folder.resolve()
    try:
        path = checked_path((root / name).resolve())
    except (OSError, RuntimeError, ConvscopeError):
        return None
    return path if path.is_relative_to(root) and path != root else None


def _encode(data: bytes, *, enlarge: int, limit: int, ours: bool) -> Picture:
    """The picture as text of a page; decoded only if it is not ours, or to resize it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(data), formats=("PNG", "WEBP", "JPEG"))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ValueError("too many pixels") from error
    with image:
        kind = image.format or ""
        if image.width * image.height > LARGEST:
            raise ValueError("too many pixels")
        if not ours:
            image.load()
        width, height = image.size
        times = enlarge if max(width, height) * enlarge <= 1200 else 1
        if limit and max(width, height) > limit:
            image.thumbnail((limit, limit))
            data = _save(image, kind)
        elif times > 1:
            grown = image.resize((width * times, height * times), Image.Resampling.NEAREST)
            data, kind = _save(grown, "PNG"), "PNG"
        elif kind == "PNG":
            data = _bare_png(data)
        elif image.info.keys() & {"exif", "xmp", "icc_profile", "comment"} or image.getexif():
            data = _save(image, kind)
    text = base64.b64encode(data).decode()
    return Picture(uri=f"data:image/{kind.lower()};base64,{text}", width=width, height=height)


def _save(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    clean = image.copy()
    clean.info = {k: v for k, v in image.info.items() if k == "transparency"}
    if kind == "PNG":
        clean.save(out, format="PNG", optimize=True)
    else:
        clean.save(out, format=kind, quality=85, exif=b"")
    return out.getvalue()


def _bare_png(data: bytes) -> bytes:
    """Only the chunks that make the picture: no text, time, place or profile."""
    out, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            out.append(data[at : at + 12 + length])
        at += 12 + length
        if kind == b"IEND":
            return b"".join(out)
    raise ValueError("the picture is cut off")


_SVG = "http://www.w3.org/2000/svg"
_ELEMENTS = {
    "svg", "g", "path", "text", "tspan", "rect", "line", "circle", "ellipse", "polyline", "polygon",
    "use", "defs", "clipPath", "title", "desc", "image",
}  # fmt: skip
_NUMBERS = {
    "d", "points", "x", "y", "x1", "y1", "x2", "y2", "dx", "dy", "cx", "cy", "r", "rx", "ry",
    "width", "height", "viewBox", "transform", "font-size", "stroke-width", "stroke-dasharray",
    "stroke-dashoffset", "stroke-opacity", "fill-opacity", "opacity", "preserveAspectRatio",
}  # fmt: skip
_WORDS = {
    "fill", "stroke", "text-anchor", "font-weight", "font-style", "font-family", "fill-rule",
    "clip-rule", "stroke-linejoin", "stroke-linecap", "image-rendering", "role",
}  # fmt: skip
_NUMBER_TEXT = re.compile(r"[\sA-Za-z0-9.,()+%-]*")
_WORD_TEXT = re.compile(r"[\w\s#,.'%-]*|rgba?\([\d\s,.%]*\)")
_PNG_URI = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]*")

LARGEST_SVG = DRAWING.largest
"""Characters of one drawing."""


def harmless(text: str, *, prefix: str, title: str = "") -> str:
    """The SVG element in `text`, with everything that could act or reach out removed.

    Args:
        text: Content of an SVG file.
        prefix: Goes before every id, so that two figures of a page do not share one.
        title: Replaces the title: a sentence for those who cannot see the figure.

    Raises:
        ValueError: If it is not a well-formed SVG element, or holds entity declarations.

    Example:
        >>> harmless('<svg xmlns="http://www.w3.org/2000/svg" onload="x()"><script/></svg>',
        ...          prefix="f1-")
        '<svg/>'
    """
    if len(text) > LARGEST_SVG:
        raise ValueError("the figure is larger than 8 MB")
    if re.search(r"<!ENTITY|<!DOCTYPE[^>]*\[", text):
        raise ValueError("entity declarations are refused")
    root = parse_xml(text, deepest=DRAWING.deepest)
    if root.tag != f"{{{_SVG}}}svg":
        raise ValueError("not an SVG file")
    out = _copy(root, prefix)
    if title:
        for old in [child for child in out if child.tag == "title"]:
            out.remove(old)
        made = ElementTree.Element("title")
        made.text = title
        out.insert(0, made)
        out.set("role", "img")
    # ">" is escaped in texts and values, so this changes nothing but the ends of elements.
    return ElementTree.tostring(out, encoding="unicode").replace(" />", "/>")


def _copy(element: ElementTree.Element, prefix: str) -> ElementTree.Element:
    name = element.tag.rpartition("}")[2]
    out = ElementTree.Element(name)
    out.text = without_paths(element.text) if element.text and element.text.strip() else None
    for key, value in element.attrib.items():
        key = key.rpartition("}")[2]
        kept = _attribute(name, key, value, prefix)
        if kept is not None:
            out.set(key, kept)
    for child in element:
        tag = child.tag
        ours = isinstance(tag, str) and tag.startswith(f"{{{_SVG}}}")
        if ours and tag.rpartition("}")[2] in _ELEMENTS:
            out.append(_copy(child, prefix))
    return out


def _attribute(element: str, key: str, value: str, prefix: str) -> str | None:
    if key in _NUMBERS:
        return value if _NUMBER_TEXT.fullmatch(value) else None
    if key in _WORDS:
        return value if _WORD_TEXT.fullmatch(value) else None
    if key == "id" and re.fullmatch(r"[\w.-]+", value):
        return prefix + value
    if key == "clip-path":
        found = re.fullmatch(r"url\(#([\w.-]+)\)", value)
        return f"url(#{prefix}{found[1]})" if found else None
    if key == "href" and element == "use" and re.fullmatch(r"#[\w.-]+", value):
        return f"#{prefix}{value[1:]}"
    if key == "href" and element == "image" and _PNG_URI.fullmatch(value):
        return value
    return None
