"""SVG from a folder, reduced to what can only be looked at.

A file in a report folder may have been edited by anybody. What is kept are shapes, text and
embedded PNG pictures: no script, no handler, no style, no link to anywhere.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from convscope.files import DRAWING, parse_xml
from convscope.reports._safe_text import without_paths

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

LARGEST = DRAWING.largest
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
        '<svg />'
    """
    if len(text) > LARGEST:
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
    return ElementTree.tostring(out, encoding="unicode")


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
