"""A figure as a small SVG text: the same bytes every time, themed by its colors, readable as text.

Matplotlib repeats a style string of 200 bytes for every tick and adds metadata; here styles become
short attributes, which (unlike a style) a page's style sheet may override for its dark theme and a
printing engine without style sheets still understands.
"""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from convscope.figures._theme import GRID, INK, SMALL, look

_SVG = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"
_KEPT_STYLE = {
    "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "fill-opacity",
    "opacity", "font-size", "font-weight", "font-style", "text-anchor", "fill-rule",
    "stroke-linejoin", "stroke-linecap", "image-rendering", "stroke-dashoffset",
}  # fmt: skip
_DULL = {"fill-opacity": "1", "stroke-opacity": "1", "opacity": "1", "stroke-dashoffset": "0"}


def svg(figure: Figure, *, alt: str = "") -> str:
    """The figure as one SVG element, without XML header, script, style sheet or date.

    Args:
        figure: What to draw.
        alt: One sentence for those who cannot see it; becomes the title of the SVG.

    Returns:
        Text that starts with ``<svg``. Sizes are in the ``viewBox``, so the page scales it.
    """
    raw = io.StringIO()
    with look():
        figure.savefig(raw, format="svg", metadata={"Date": None})
    return compact(raw.getvalue(), alt=alt)


def compact(text: str, *, alt: str = "") -> str:
    """Matplotlib's SVG text, rewritten short."""
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", text))
    out = _element(root, _short_names(root, text))
    for child in list(out):
        if _tag(child) in ("metadata", "title"):
            out.remove(child)
    _thin_uses(out)
    box = root.get("viewBox", "0 0 100 100")
    out.attrib.clear()
    out.set("viewBox", box)
    out.set("role", "img")
    out.set("stroke-linejoin", "round")
    _inherit(out, "fill", INK)
    _inherit(out, "font-size", f"{SMALL}")
    _join_grid(out)
    out.set("font-family", "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif")
    if alt:
        title = ElementTree.Element(f"{{{_SVG}}}title")
        title.text = alt
        out.insert(0, title)
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(out, encoding="unicode")


def _thin_uses(root: ElementTree.Element) -> None:
    """Move what all copies of a tick or marker have in common to the shape that they copy."""
    shapes = {f"#{element.get('id')}": element for element in root.iter() if element.get("id")}
    copies: dict[str, list[ElementTree.Element]] = {}
    for element in root.iter(f"{{{_SVG}}}use"):
        copies.setdefault(element.get("href", ""), []).append(element)
    for name, uses in copies.items():
        if name not in shapes:
            continue
        for key in sorted(_KEPT_STYLE):  # A set has another order in every process.
            values = {use.get(key) for use in uses}
            if len(values) == 1 and (value := values.pop()) is not None:
                if shapes[name].get(key, value) != value:
                    continue
                shapes[name].set(key, value)
                for use in uses:
                    del use.attrib[key]


def _inherit(root: ElementTree.Element, key: str, value: str) -> None:
    """What most texts say, the root says for all."""
    root.set(key, value)
    for element in root.iter():
        if _tag(element) in ("text", "tspan") and element.get(key) == value:
            del element.attrib[key]


def _join_grid(root: ElementTree.Element) -> None:
    """All lines of a grid as one path: they look alike and lie below everything else."""
    first: dict[tuple[tuple[str, str], ...], ElementTree.Element] = {}
    for element in list(root):
        if (
            _tag(element) != "path"
            or element.get("stroke") != GRID
            or element.get("fill") != "none"
        ):
            continue
        style = tuple(sorted((k, v) for k, v in element.attrib.items() if k != "d"))
        before = first.setdefault(style, element)
        if before is not element:
            before.set("d", before.get("d", "") + element.get("d", ""))
            root.remove(element)


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _short_names(root: ElementTree.Element, text: str) -> dict[str, str]:
    """Names by order of appearance; clips of the same place have one.

    Matplotlib's own are hashes of places, whose last bits differ from process to process.
    """
    first: dict[str, str] = {}
    same = {}
    for clip in root.iter(f"{{{_SVG}}}clipPath"):
        shape = _round("".join(ElementTree.tostring(child, encoding="unicode") for child in clip))
        same[clip.get("id", "")] = first.setdefault(shape, clip.get("id", ""))
    used = re.findall(r'(?:url\(|href=")#([^)"]+)', text)
    short: dict[str, str] = {}
    for name in used:
        short.setdefault(same.get(name, name), f"a{len(short)}")
    return {name: short[same.get(name, name)] for name in used}


def _element(element: ElementTree.Element, names: dict[str, str]) -> ElementTree.Element:
    out = ElementTree.Element(f"{{{_SVG}}}{_tag(element)}")
    out.text = element.text.strip() if element.text and element.text.strip() else None
    for key, value in element.attrib.items():
        _set(out, key.rpartition("}")[2], value, names)
    clips = set()
    for child in element:
        if _tag(child) in ("metadata", "style"):
            continue
        made = _element(child, names)
        if _tag(made) == "clipPath":
            if made.get("id") in clips:
                continue
            clips.add(made.get("id"))
        if _tag(made) == "defs" and len(made) == 0:
            continue
        if _tag(made) == "g" and not made.attrib:
            out.extend(list(made))
        elif _tag(made) == "g" and len(made) == 0:
            continue
        else:
            out.append(made)
    return out


def _set(out: ElementTree.Element, key: str, value: str, names: dict[str, str]) -> None:
    if key == "style":
        for part in value.split(";"):
            name, _, setting = (piece.strip() for piece in part.partition(":"))
            if name in _KEPT_STYLE and _DULL.get(name) != setting:
                out.set(name, setting.removesuffix("px"))
    elif key == "id":
        if value in names:
            out.set("id", names[value])
    elif key == "href" and value.startswith("#"):
        out.set("href", f"#{names[value[1:]]}")
    elif key == "href":
        out.set("href", re.sub(r"\s+", "", value))
    elif key == "clip-path":
        out.set("clip-path", re.sub(r"#([^)]+)", lambda m: f"#{names[m[1]]}", value))
    elif key == "d":
        out.set("d", _short_path(value))
    elif key == "transform":
        turned = _round(value)
        if not re.fullmatch(r"rotate\(-?0 .*\)", turned):
            out.set("transform", turned)
    elif key in ("x", "y", "width", "height", "points"):
        out.set(key, _round(value))
    elif key in ("preserveAspectRatio", "viewBox"):
        out.set(key, value)


def _short_path(path: str) -> str:
    """One digit after the point; lines of many points as steps, which are shorter than places."""
    path = re.sub(r"\s+", " ", _round(path, 1)).strip()
    if re.fullmatch(r"(?:[ML] -?[\d.]+ -?[\d.]+ ?)+", path):
        return _steps(path.split())
    return re.sub(r"([MLCQHVZmlcqhvz]) ", r"\1", re.sub(r" ([MLCQHVZmlcqhvz])", r"\1", path))


def _steps(words: list[str]) -> str:
    """``M 10 20 L 11 22 L 13 22`` as ``M10 20l1 2 2 0``; rounding does not add up."""
    out, at, before = "", (0, 0), "M"
    for letter, x, y in zip(words[::3], words[1::3], words[2::3], strict=True):
        to = (round(10 * float(x)), round(10 * float(y)))
        if letter == "M":
            out += f"M{x} {y}"
        else:
            out += "l" if before == "M" else " "
            out += f"{_tenths(to[0] - at[0])} {_tenths(to[1] - at[1])}"
        at, before = to, letter
    return re.sub(r"(\.\d) (?=\.)", r"\1", out.replace(" -", "-"))


def _tenths(value: int) -> str:
    text = f"{abs(value) / 10:.1f}".rstrip("0").rstrip(".") or "0"
    return ("-" if value < 0 else "") + text.removeprefix(
        "0" if value and abs(value) < 10 else "\0"
    )


def _round(text: str, digits: int = 2) -> str:
    def short(found: re.Match[str]) -> str:
        return f"{float(found[0]):.{digits}f}".rstrip("0").rstrip(".")

    return re.sub(r"-?\d+\.\d+", short, text)
