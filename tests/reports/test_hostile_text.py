"""R01 and R02: text from outside is text, at every point where it can enter a page."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image, PngImagePlugin

from convscope.reports import render

from .conftest import SVG, full_report, png

PAYLOADS = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "'><svg/onload=alert(1)>",
    "{{7*7}}{% raw %}",
    "javascript:alert(1)",
    "</script><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</title><iframe src=//evil.example></iframe>",
    "<a href=https://evil.example/>x</a>",
    "--><script src=https://evil.example/x.js></script><!--",
    "` onmouseover=alert(1) style=background:url(https://evil.example)",
    "\u202e\x00\x1b[31m\ud800<body onload=alert(1)>",
]
POINTS = (
    "title", "subtitle", "created", "generator", "tile", "alert", "section", "finding", "lead",
    "table", "caption", "alt", "bars", "code", "figure", "block",
)  # fmt: skip


class Page(HTMLParser):
    """What a browser would build."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text, self.inside = [], [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside = tag
        self.attributes += [(tag, key, value or "") for key, value in attributes]

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside != "style":
            self.text.append(data)


def parsed(text):
    page = Page()
    page.feed(text)
    return page


def assert_inert(text, payload):
    page = parsed(text)
    forbidden = {"script", "iframe", "object", "embed", "link", "base", "form", "foreignobject"}
    assert not forbidden & set(page.tags)
    assert page.tags.count("body") == page.tags.count("style") == 1
    for tag, key, value in page.attributes:
        assert not key.startswith("on"), (tag, key, value)
        assert key != "style"
        if key in ("href", "src", "xlink:href", "action", "data"):
            inside = value.startswith(("#", "data:image/"))
            inside |= (tag, key) == ("a", "href") and value.startswith("data:text/csv;")
            assert inside, (tag, key, value)
        if key not in ("content", "alt", "title", "aria-label"):
            assert "evil.example" not in value and "javascript:" not in value, (tag, key, value)
    if "7*7" in payload:
        assert "49" not in "".join(page.text)


def put(tree, point, payload):
    """Write the payload at one point of the JSON, past every check of the writer."""
    section = tree["sections"][0]
    blocks = {block["type"]: block for block in section["blocks"]}
    if point in ("title", "subtitle", "created", "generator"):
        tree[point] = payload
    elif point == "tile":
        tree["tiles"] = [dict.fromkeys(("label", "value", "detail", "tone"), payload)]
    elif point == "alert":
        tree["alerts"] = [dict.fromkeys(("text", "level", "section"), payload)]
    elif point == "section":
        section.update(id=payload, title=payload, status=payload)
    elif point in ("finding", "lead"):
        section[point] = payload
    elif point == "bars":
        cell = blocks["grid"]["rows"][0]["cells"][2]
        cell.update(alt=payload, tone=payload, bars=[{"label": payload, "shares": [0.5, None]}])
    elif point == "table":
        blocks["table"].update(
            columns=[{"title": payload, "kind": payload}],
            rows=[[{"value": payload, "tone": payload}]],
            csv=payload,
        )
    elif point == "caption":
        for block in section["blocks"]:
            block["caption"] = payload
    elif point == "alt":
        for block in (blocks["picture"], blocks["gallery"]["items"][0], blocks["figure"]):
            block.update(alt=payload, title=payload, detail=payload, tone=payload, kind=payload)
    elif point == "code":
        blocks["code"]["text"] = payload
        blocks["note"].update(text=payload, level=payload)
    elif point == "figure":
        blocks["figure"]["file"] = blocks["picture"]["file"] = payload
    else:
        section["blocks"].append({"type": payload, "text": payload})


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_text_at_any_point_is_inert(tmp_path, point, payload):
    folder = full_report().write(tmp_path / "r")
    tree = json.loads((folder / "report.json").read_text())
    put(tree, point, payload)
    (folder / "report.json").write_text(json.dumps(tree))
    assert_inert(render(folder).path.read_text(), payload)
    assert_inert(render(folder, alone=True).path.read_text(), payload)


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_the_writer_takes_any_text_and_shows_it(tmp_path, payload):
    folder = full_report(payload).write(tmp_path / "r")
    text = render(folder).path.read_text()
    assert_inert(text, payload)
    assert_inert(render(folder, alone=True).path.read_text(), payload)
    assert (payload[-12:] if "\0" in payload else payload) in "".join(parsed(text).text)


HOSTILE_SVG = [
    SVG.format("x").replace("<text", "<script>alert(1)</script><text"),
    SVG.format("x").replace("viewBox", 'onload="alert(1)" viewBox'),
    SVG.format("x").replace("<text", '<a href="https://evil.example/"><text/></a><text'),
    SVG.format("x").replace("<text", '<image href="https://evil.example/x.png"/><text'),
    SVG.format("x").replace("<text", '<use href="https://evil.example/x.svg#a"/><text'),
    SVG.format("x").replace("<text", "<foreignObject><iframe/></foreignObject><text"),
    SVG.format("x").replace("<text", "<style>@import url(https://evil.example)</style><text"),
    SVG.format("x").replace('fill="#1f2328"', 'fill="url(https://evil.example)"'),
    SVG.format("x").replace('fill="#1f2328"', 'style="fill:url(https://evil.example)"'),
    SVG.format("x").replace("<text", '<animate attributeName="href" to="javascript:x"/><text'),
]


@pytest.mark.parametrize("svg", HOSTILE_SVG, ids=range(len(HOSTILE_SVG)))
def test_a_figure_can_only_be_looked_at(tmp_path, svg):
    folder = full_report().write(tmp_path / "r")
    next((folder / "figures").iterdir()).write_text(svg)
    made = render(folder)
    text = made.path.read_text()
    assert "evil.example" not in text and "alert(1)" not in text
    assert_inert(text, "")
    assert "<svg" in text


@pytest.mark.parametrize(
    "svg",
    [
        '<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + SVG.format("&b;"),
        "<svg", "<html/>", "", "\0",
    ],
)  # fmt: skip
def test_a_figure_that_is_none_is_replaced_by_the_reason(tmp_path, svg):
    folder = full_report().write(tmp_path / "r")
    next((folder / "figures").iterdir()).write_text(svg)
    made = render(folder)
    assert "damaged" in made.refused[0] and "aaaa" not in made.path.read_text()


def test_formulas_do_not_reach_a_spreadsheet(tmp_path):
    folder = full_report("=HYPERLINK(0)").write(tmp_path / "r")
    texts = [path.read_text() for path in (folder / "tables").iterdir()]
    assert texts and all("HYPERLINK" in text for text in texts)
    cells = [cell for text in texts for cell in text.replace("\n", ",").split(",")]
    assert not any(cell.lstrip('"').startswith("=") for cell in cells)


def test_where_it_was_made_stays_private(tmp_path):
    home = "/home/ada-lovelace/secret/net.py"
    secret = f"{home} and C:\\Users\\ada-lovelace\\net.py and /Users/ada-lovelace"
    folder = full_report(secret).write(tmp_path / "r")
    text = (folder / "report.json").read_text() + render(folder).path.read_text()
    assert "ada-lovelace" not in text and str(tmp_path) not in text
    assert "net.py" in text


def embedded_tables(text):
    """The CSV files inside a page."""
    found = re.findall(r'href="data:text/csv;charset=utf-8;base64,([A-Za-z0-9+/=]+)"', text)
    return [base64.b64decode(data).decode() for data in found]


@pytest.mark.parametrize("written_by_others", [False, True])
def test_tables_inside_a_page_keep_private_where_it_was_made(tmp_path, written_by_others):
    secret = "/home/ada-lovelace/secret/net.py and C:\\Users\\ada-lovelace\\net.py"
    report = full_report(secret)
    folder = report.write(tmp_path / "r")
    assert not any("ada" in path.read_text() for path in (folder / "tables").iterdir())
    if written_by_others:
        for path in (folder / "tables").iterdir():
            path.write_text(f"name\n{secret}\n")
    made = render(folder if written_by_others else report, tmp_path / "page.html", alone=True)
    text = made.path.read_text()
    tables = embedded_tables(text)
    assert len(tables) == 2 and "ada-lovelace" not in "".join([text, *tables])
    assert all("net.py" in table for table in tables)


def test_pictures_lose_their_metadata(tmp_path):
    folder = full_report().write(tmp_path / "r")
    note = PngImagePlugin.PngInfo()
    note.add_text("Author", "ada-lovelace")
    paths = sorted((folder / "images").iterdir())
    paths[0].write_bytes(png(9, pnginfo=note))
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}
    exif[0x013B] = "ada-lovelace"
    out = io.BytesIO()
    Image.new("RGB", (90, 90)).save(out, format="WEBP", exif=exif)
    paths[1].write_bytes(out.getvalue())
    text = render(folder).path.read_text()
    shown = re.findall(r"base64,([A-Za-z0-9+/=]+)\"", text)
    assert len(shown) >= 2
    for data in shown:
        raw = base64.b64decode(data)
        assert b"ada-lovelace" not in raw
        assert not Image.open(io.BytesIO(raw)).getexif()
