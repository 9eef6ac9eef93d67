"""Report folders small enough to read."""

import io
import re
from importlib import resources

import pytest
from PIL import Image

from convscope.reports import Report

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">'
    '<text x="1" y="9" fill="#1f2328">{}</text></svg>'
)


def png(level=128, size=(4, 4), **more):
    out = io.BytesIO()
    Image.new("L", size, level).save(out, format="PNG", **more)
    return out.getvalue()


def style_sheet():
    """The style sheet of reports."""
    return (resources.files("convscope.reports") / "report.css").read_text()


def dark_colors():
    """Colors of lines and areas in figures that the style sheet replaces on dark pages."""
    rule = r'\[fill="(#\w+)"\]\{fill:#\w+\}\[stroke="\1"\]\{stroke:#\w+\}'
    return set(re.findall(rule, style_sheet()))


def full_report(text="plain"):
    """A report with every kind of block, and `text` wherever text from outside may go."""
    report = Report(title=text, subtitle=text, created=text, generator=text)
    report.tile(text, text, detail=text, tone="good")
    report.alert(text, level="warning", section="first")
    section = report.section("first", text, text)
    section.finding = text
    section.text(text)
    section.note(text, "warning")
    section.facts({text: text})
    section.code(text, caption=text)
    section.table([text, {"title": text, "kind": "code"}], [[text, {"value": text, "tone": text}]],
                  caption=text, name=text)  # fmt: skip
    section.matrix([[3, 1], [0, 4]], rows=[text, "b"], columns=["a", text], row_title=text,
                   column_title=text, kind="confusion", caption=text, name=text)  # fmt: skip
    section.figure(text, SVG.format("drawn"), alt=text, caption=text)
    section.picture(text, png(), alt=text, caption=text, scale=2, kind=text)
    item = {"file": section.image(text, png(7)), "alt": text, "title": text, "detail": text}
    section.gallery([item | {"tone": text}], caption=text)
    bars = {"bars": [{"label": text, "shares": [0.2, 0.9]}], "alt": text, "tone": text}
    section.grid([text, "b", "c"], [{"title": text, "cells": [item, None, bars]}], caption=text)
    with section.details(text):
        section.text(text)
    failed = report.section("second", text)
    report.fail(failed, ValueError(text))
    return report


@pytest.fixture
def folder(tmp_path):
    return full_report().write(tmp_path / "report")
