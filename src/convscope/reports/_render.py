"""A report to one HTML file that needs nothing else: no network, no server, a script to play."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from convscope.errors import DataError, UsageError
from convscope.files import REPORT, checked_path, plain_json, read_json, usable_path, write_whole
from convscope.reports._blocks import Reader, Shown
from convscope.reports._glossary import Marker
from convscope.reports._images import Files, InFolder, InMemory
from convscope.reports._scripts import TRUSTED, digest, playground_scripts, reading_script
from convscope.reports._text import TONES, clean, cut, runs
from convscope.reports._tour import tour_json
from convscope.reports._write import FILE, SCHEMA, Report

LARGEST = 20_000_000
"""Bytes. Above, pictures are shrunk, with a remark."""

LEVELS = ("good", "notice", "warning")


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What `render` made.

    Attributes:
        path: The HTML file.
        size: Its bytes.
        refused: One sentence per picture or block that could not be shown; the page has a box in
            its place.
    """

    path: Path
    size: int
    refused: tuple[str, ...]


def render(
    report: Report | Path | str,
    out: Path | str | None = None,
    *,
    enlarge: int = 1,
    alone: bool = False,
) -> Rendered:
    """Turn a report into one HTML file. The same report gives the same bytes, always.

    Args:
        report: A `Report`, whose pictures go into the page as they are; or the folder of one, with
            ``report.json`` (see ``docs/report.md``) and the files it names, whoever wrote them.
        out: The HTML file; by default ``report.html`` inside the folder. It is replaced whole.
        enlarge: Repeat the pixels of small pictures, for PDF viewers that blur them.
        alone: The page will have no folder: tables as CSV go into it. Else it names their files.

    Returns:
        Where it is, how large it is, and what could not be shown.

    Raises:
        UsageError: If a `Report` comes without `out`.
        DataError: If there is no readable ``report.json``.
        ResourceError: If the disk refuses.

    Example:
        >>> import tempfile
        >>> report = Report(title="A report")
        >>> report.section("numbers", "Numbers").text("Three of them.")
        >>> render(report, Path(tempfile.mkdtemp()) / "report.html").refused
        ()
    """
    if out is not None:
        out = checked_path(out)
    elif isinstance(report, Report):
        raise UsageError("a report that is in no folder needs the HTML file named")
    else:
        out = Path(report) / "report.html"
    text, refused = page(report, enlarge=enlarge, alone=alone)
    data = text.encode("utf-8", errors="backslashreplace")
    write_whole(out, data)
    return Rendered(path=out, size=len(data), refused=refused)


def page(
    report: Report | Path | str, *, enlarge: int = 1, alone: bool = False
) -> tuple[str, tuple[str, ...]]:
    """The HTML text of a report, and what could not be shown. See `render`, which writes it.

    Args:
        report: A `Report`, or the folder of one.
        enlarge: Repeat the pixels of small pictures.
        alone: The page will have no folder.

    Raises:
        DataError: If there is no readable ``report.json``.
    """
    files: Files
    if isinstance(report, Report):
        tree, files = report.content(), InMemory(report.files())
    else:
        tree, files = read_report(report), InFolder(Path(report))
    text, refused = _page(tree, Reader(files, enlarge=enlarge, alone=alone), "")
    if len(text) > LARGEST:
        remark = "Pictures were shrunk to at most 96 pixels a side to keep this file below 20 MB."
        text, refused = _page(tree, Reader(files, limit=96, alone=alone), remark)
    return text, refused


def glossary_html() -> str:
    """All words that may be marked, as a list for a page whose scripts mark them (``terms.js``).

    Example:
        >>> 'id="T-logit" data-forms="logit|logits"' in glossary_html()
        True
    """
    marker = Marker()
    marker.mention_all()
    module = _environment().get_template("glossary.html").make_module()
    return str(module.explained(marker.terms(), forms=True))  # type: ignore[attr-defined]


def read_report(folder: Path | str) -> dict[str, Any]:
    """The checked content of ``report.json``.

    Raises:
        DataError: If it is missing, is no JSON, or comes from a newer version.
    """
    folder = usable_path(folder, DataError)
    path = folder / FILE
    if not path.exists():
        raise DataError(
            f"holds no {FILE}",
            code="U02",
            where=folder,
            hint="give the folder that `convscope audit` wrote beside its HTML file",
        )
    tree = read_json(path, REPORT)
    if not isinstance(tree, dict) or not isinstance(tree.get("sections"), list):
        raise DataError("is not a report", where=path, expected="an object with sections")
    if type(tree.get("schema")) is not int or tree["schema"] > SCHEMA:
        raise DataError("was written by a newer convscope", where=path, hint="update convscope")
    return cast(dict[str, Any], plain_json(tree, text=clean))


def _page(tree: dict[str, Any], reader: Reader, remark: str) -> tuple[str, tuple[str, ...]]:
    sections = [
        _section(raw, i, reader) for i, raw in enumerate(tree["sections"]) if isinstance(raw, dict)
    ]
    reader.claim_rest()
    known = {section["id"] for section in sections}
    tiles = [_tile(tile) for tile in _dicts(tree.get("tiles"))]
    alerts = [_alert(alert, known) for alert in _dicts(tree.get("alerts"))]
    marker = Marker()
    _mark(marker, tiles, alerts, sections)
    css, scripts = _asset("report.css"), []
    if reader.playground is not None:
        css += (resources.files("convscope.playground") / "playground.css").read_text("utf-8")
        scripts = playground_scripts()
        marker.mention(scripts[-1])
    reading = reading_script() if reader.addresses else ""
    text = (
        _environment()
        .get_template("report.html")
        .render(
            title=cut(str(tree.get("title", "Report")), 200),
            subtitle=cut(str(tree.get("subtitle", "")), 400),
            created=cut(str(tree.get("created", "")), 100),
            generator=cut(str(tree.get("generator", "")), 100),
            remark=remark,
            tiles=tiles,
            alerts=alerts,
            sections=sections,
            terms=marker.terms(),
            css=Markup(css),
            policy=_policy(css, [*scripts, *filter(None, [reading])], worker=bool(scripts)),
            playground=reader.playground,
            tour=tour_json() if scripts else "",
            scripts=[Markup(script) for script in scripts],
            reading=Markup(reading),
        )
    )
    return text, tuple(reader.refused)


def _mark(marker: Marker, tiles: list[Shown], alerts: list[Shown], sections: list[Shown]) -> None:
    """Mark the words of the glossary, in the order of the page."""
    for tile in tiles:
        tile["label"] = marker.text(tile["label"])
    for alert in alerts:
        alert["text"] = marker.text(alert["text"])
    for section in sections:
        marker.section()
        section["finding"] = marker.paragraphs(section["finding"])
        section["lead"] = marker.paragraphs(section["lead"])
        marker.blocks(section["blocks"])


def _policy(css: str, scripts: Sequence[str], *, worker: bool) -> str:
    """The strictest Content-Security-Policy under which the page works.

    These scripts run and no others, whatever a text of the page may hold. With a playground a
    worker may be made, from bytes in memory only, and a Trusted Types policy of that name lets the
    one address through that the page made itself. Nothing can be loaded or sent: there is no
    `connect-src`.
    """
    parts = ["default-src 'none'", "img-src data:", f"style-src '{digest(css)}'"]
    if scripts:
        parts += [
            "script-src " + " ".join(f"'{digest(script)}'" for script in scripts),
            *(["worker-src blob:"] if worker else []),
            "require-trusted-types-for 'script'",
            "trusted-types " + (TRUSTED if worker else "'none'"),
        ]
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def _section(raw: dict[str, Any], index: int, reader: Reader) -> Shown:
    name = str(raw.get("id", ""))
    name = name if re.fullmatch(r"[a-z][a-z0-9-]{0,60}", name) else f"section-{index + 1}"
    return {
        "id": name,
        "title": cut(str(raw.get("title", "")), 120),
        "finding": runs(str(raw.get("finding", ""))),
        "lead": runs(str(raw.get("lead", ""))),
        "failed": raw.get("status") == "failed",
        "blocks": reader.blocks(raw.get("blocks"), name),
    }


def _tile(raw: dict[str, Any]) -> Shown:
    tone = raw.get("tone")
    return {
        "label": cut(str(raw.get("label", "")), 40),
        "value": cut(str(raw.get("value", "")), 24),
        "detail": cut(str(raw.get("detail", "")), 80),
        "tone": tone if tone in TONES else "",
    }


def _alert(raw: dict[str, Any], known: set[str]) -> Shown:
    level, section = raw.get("level"), raw.get("section")
    return {
        "text": cut(str(raw.get("text", "")), 400),
        "level": level if level in LEVELS else "notice",
        "section": section if isinstance(section, str) and section in known else "",
    }


def _dicts(raw: Any) -> list[dict[str, Any]]:
    return [entry for entry in raw if isinstance(entry, dict)] if isinstance(raw, list) else []


@cache
def _asset(name: str) -> str:
    return (resources.files("convscope.reports") / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
