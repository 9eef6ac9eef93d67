import base64
import io
import json
import re
import subprocess
import sys
from importlib import resources

import pytest

from convscope.errors import DataError, UsageError
from convscope.reports import Report, _images, read_report, render
from convscope.reports._images import InMemory, harmless, read_picture

from .conftest import full_report, png


def edit(folder, change):
    path = folder / "report.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def test_the_same_folder_gives_the_same_bytes(folder, tmp_path):
    first = render(folder, tmp_path / "a.html").path.read_bytes()
    assert render(folder, tmp_path / "b.html").path.read_bytes() == first


@pytest.mark.parametrize("text", ["plain", "/home/ada/x <b>&\u202e\0\ud800 1e999", "a\n\n`b`"])
def test_a_report_and_its_folder_give_the_same_bytes(tmp_path, text):
    report = full_report(text)
    direct = render(report, tmp_path / "a.html")
    stored = render(report.write(tmp_path / "report"), tmp_path / "b.html")
    assert direct.path.read_bytes() == stored.path.read_bytes()
    assert direct.refused == stored.refused == ()


def test_pictures_that_this_process_encoded_are_not_decoded(folder, tmp_path, monkeypatch):
    from PIL import PngImagePlugin

    decoded = []
    original = PngImagePlugin.PngImageFile.load
    monkeypatch.setattr(
        PngImagePlugin.PngImageFile, "load", lambda self: decoded.append(self) or original(self)
    )
    render(full_report(), tmp_path / "a.html")
    assert not decoded
    render(folder, tmp_path / "b.html")
    assert decoded


def test_a_report_with_a_broken_picture_says_so_and_needs_a_place(tmp_path):
    report = Report(title="t")
    section = report.section("s", "S")
    section.picture("cut", png()[:-20], alt="a picture")
    made = render(report, tmp_path / "a.html")
    assert "cut off" in made.refused[0] and 'class="missing"' in made.path.read_text()
    with pytest.raises(UsageError, match="needs the HTML file"):
        render(report)


def test_rendering_needs_neither_torch_nor_matplotlib(folder):
    code = (
        "import sys; from convscope.reports import render; render(sys.argv[1]);"
        "print(sorted({'torch', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_block_is_shown_and_nothing_is_refused(folder):
    made = render(folder)
    text = made.path.read_text()
    assert made.refused == () and made.size == len(text.encode())
    for word in ("<table>", "<svg", "data:image/png", "<details ", '<dl class="facts"', "<pre"):
        assert word in text


def test_sections_stand_in_the_order_of_the_report(folder):
    order = [section["id"] for section in read_report(folder)["sections"]]
    text = render(folder).path.read_text()
    assert order == ["first", "second"] == re.findall(r'<section id="([^"]+)"', text)
    links = re.findall(r'<li><a href="#([^"]+)">', text)
    assert [link for link in links if link != "findings"] == order


def test_a_page_allows_itself_nothing(folder):
    text = render(folder).path.read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src &#39;none&#39;" in policy or "default-src 'none'" in policy
    assert "script" not in policy and "http" not in policy and "unsafe" not in policy
    assert "<script" not in text


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "bomb"])
def test_a_lost_picture_becomes_a_box_with_the_reason(folder, damage):
    path = next((folder / "images").iterdir())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:50])
    elif damage == "text":
        path.write_text("not a picture")
    else:
        path.write_bytes(png()[:16] + (60_000).to_bytes(4, "big") * 2 + png()[24:])
    made = render(folder)
    assert made.refused and path.name in made.refused[0]
    assert 'class="missing"' in made.path.read_text()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "images/../../secret", "\0"])
def test_files_outside_the_folder_are_never_read(folder, tmp_path, name):
    (tmp_path / "secret").write_bytes(png(33))

    def change(tree):
        for block in tree["sections"][0]["blocks"]:
            if block["type"] in ("picture", "figure"):
                block["file"] = name

    edit(folder, change)
    made = render(folder)
    assert len(made.refused) == 2 and all(
        "outside" in text or "missing" in text for text in made.refused
    )
    assert "root:" not in made.path.read_text()


def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(33))
    path = next((folder / "images").iterdir())
    path.unlink()
    path.symlink_to(secret)
    assert "outside" in render(folder).refused[0]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "hologram"}, {"type": "table"}, {"type": "table", "columns": [{"title": 1}],
        "rows": [[1, 2]]}, {"type": "matrix", "rows": ["a"], "columns": ["b"], "values": []},
        {"type": "gallery", "items": 3}, {"type": "picture", "file": 3, "scale": 1e9}, 7, None,
        {"type": "grid", "columns": ["a"], "rows": [{"cells": []}]}, {"type": "text"},
        {"type": "figure", "file": None}, {"type": "details", "summary": "x", "blocks": [None]},
        {"type": "matrix", "rows": ["a"] * 99, "columns": ["b"] * 99, "values": [[1] * 99] * 99},
    ],
)  # fmt: skip
def test_a_broken_block_is_a_remark_and_the_rest_stays(folder, block):
    before = render(folder).path.read_text()
    remarks = before.count('class="note failure"') + before.count('class="missing"')
    edit(folder, lambda tree: tree["sections"][0]["blocks"].insert(0, block))
    made = render(folder)
    assert made.refused
    text = made.path.read_text()
    assert "data:image/png" in text
    assert text.count('class="note failure"') + text.count('class="missing"') == remarks + 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "damaged"), ("[]", "not a report"), ("{}", "not a report"), ("[" * 99_999, "damaged"),
        ('{"sections": [], "schema": 99}', "newer convscope"), ('{"sections": [], "sch', "damaged"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_report_is_refused_in_words(folder, text, words):
    (folder / "report.json").write_text(text)
    with pytest.raises(DataError, match=words):
        render(folder)


def test_a_missing_folder_says_what_to_give(tmp_path):
    with pytest.raises(DataError, match=r"holds no report\.json") as found:
        read_report(tmp_path / "nothing")
    assert "convscope audit" in found.value.hint


def test_a_refused_render_writes_nothing(tmp_path):
    out = tmp_path / "x.html"
    with pytest.raises(DataError):
        render(tmp_path, out)
    assert not out.exists() and not list(tmp_path.iterdir())


def test_nan_and_infinity_become_a_dash(tmp_path):
    report = Report(title="numbers")
    section = report.section("n", "Numbers")
    section.table(["x"], [[float("nan")], [float("inf")], [None]])
    section.matrix([[float("nan")]], rows=["a"], columns=["b"])
    text = render(report.write(tmp_path / "r")).path.read_text()
    assert text.count("–") == 4 and "nan" not in text.lower()


def test_writing_again_needs_force_and_keeps_foreign_files(folder):
    with pytest.raises(UsageError, match="already exists"):
        full_report().write(folder)
    (folder / "notes.md").write_text("mine")
    full_report("other").write(folder, force=True)
    assert read_report(folder)["title"] == "other"
    assert (folder / "notes.md").read_text() == "mine"
    assert len(list((folder / "images").iterdir())) == 2


def test_a_folder_that_is_no_report_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="already exists"):
        full_report().write(tmp_path / "mine", force=True)


def test_a_failed_section_says_why(tmp_path):
    report = Report(title="t")
    section = report.section("s", "Section")
    section.text("kept")
    report.fail(section, ValueError("it broke"))
    text = render(report.write(tmp_path / "r")).path.read_text()
    assert "kept" in text and "ValueError: it broke" in text and "incomplete" in text


def test_small_pictures_are_enlarged_for_paper_without_blur(folder, tmp_path):
    import numpy as np
    from PIL import Image

    text = render(folder, tmp_path / "big.html", enlarge=4).path.read_text()
    data = re.search(r"data:image/png;base64,([^\"]*)", text)[1]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert image.shape == (16, 16) and set(image.flatten()) == {128}


def test_large_reports_are_shrunk_with_a_remark(tmp_path, monkeypatch):
    import numpy as np
    from PIL import Image

    from convscope.reports import _render

    report = Report(title="t")
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, format="PNG")
    section = report.section("s", "S")
    section.picture("noise", out.getvalue(), alt="noise")
    folder = report.write(tmp_path / "r")
    monkeypatch.setattr(_render, "LARGEST", 60_000)
    made = render(folder)
    assert made.size < 60_000 and "were shrunk" in made.path.read_text()


@pytest.mark.parametrize("size", [(300, 50), (50, 300), (300, 300), (97, 1), (96, 96), (20, 7)])
def test_a_picture_is_shrunk_until_its_longer_side_fits(size):
    from PIL import Image

    files = InMemory({"a.png": png(size=size)})
    found = read_picture(files, "a.png", limit=96)
    shown = Image.open(io.BytesIO(base64.b64decode(found.uri.partition(",")[2]))).size
    assert max(shown) == min(96, max(size)) and (found.width, found.height) == size


@pytest.mark.parametrize("size", [(30, 30), (300, 3), (3, 300)])
@pytest.mark.parametrize(("largest", "fits"), [(900, True), (899, False)])
def test_a_picture_of_too_many_pixels_is_not_decoded(monkeypatch, size, largest, fits):
    monkeypatch.setattr(_images, "LARGEST", largest)
    found = read_picture(InMemory({"a.png": png(size=size)}), "a.png")
    assert bool(found.uri) is fits and ("too many pixels" in found.problem) is not fits


@pytest.mark.parametrize(
    ("scale", "fits"),
    [(0.05, True), (1, True), (40, True), (0.049, False), (40.1, False), (-1, False)],
)
def test_pictures_are_scaled_within_limits(tmp_path, scale, fits):
    report = Report(title="t")
    report.section("s", "S").picture("p", png(), alt="p", scale=scale)
    refused = render(report, tmp_path / "a.html").refused
    assert refused == () if fits else "is not between 0.05 and 40" in refused[0]


def test_the_finding_stands_first(tmp_path):
    report = Report(title="t")
    section = report.section("s", "Section", "What one sees.")
    section.finding = "7 of 8 maps point at the digit."
    text = render(report.write(tmp_path / "r")).path.read_text()
    assert text.index("<h2>Section") < text.index("7 of 8 maps") < text.index("What one sees.")


def test_a_page_alone_holds_its_tables_and_names_no_file_that_is_not_there(tmp_path):
    report = Report(title="t")
    report.section("s", "S").table(["a", "b"], [[1, "x"]], name="numbers")
    text = render(report, tmp_path / "a.html", alone=True).path.read_text()
    assert "tables/" not in text
    data = re.search(r'download="s-numbers.csv" href="data:text/csv;[^,]*,([^"]*)"', text)[1]
    assert base64.b64decode(data) == b"a,b\n1,x\n"
    assert "tables/s-numbers.csv" in render(report, tmp_path / "b.html").path.read_text()


@pytest.mark.parametrize(
    ("units", "step", "side_by_side"),
    [(338, 0, True), (390, 4, True), (430, 5, False), (792, 8, False)],
)
def test_no_chart_is_shrunk_until_its_letters_are_too_small(tmp_path, units, step, side_by_side):
    """A wide one scrolls by itself: class ``w8`` is at least 800 pixels wide."""
    report = Report(title="t")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {units} 200"><path d="M0 0"/></svg>'
    )
    report.section("s", "S").figure("chart", svg, alt="a chart")
    text = render(report, tmp_path / "a.html").path.read_text()
    assert f'class="chart w{step}"' in text
    assert ('<div class="columns' in text) == side_by_side
    assert not step or re.search(rf"\.chart\.w{step} svg\{{min-width:{step}00px", text)


def test_what_scrolls_sideways_shows_it():
    css = (resources.files("convscope.reports") / "report.css").read_text()
    rule = re.search(r"\n([^\n{]*)\{overflow-x:auto[^}]*linear-gradient", css)[1]
    assert set(rule.split(",")) == {".scroll", "pre"}
    assert css.count("overflow-x:auto") == 1
    assert ".picture .scroll,.grid .scroll{animation:more" in css, (
        "pictures hide a shadow below them"
    )


def test_few_facts_are_one_quiet_line(tmp_path):
    report = Report(title="t")
    section = report.section("s", "S")
    section.facts({"recipe": "pca", "steps": 60})
    section.facts({"Network": "n" * 250})
    text = render(report, tmp_path / "a.html").path.read_text()
    assert text.count('<dl class="facts" data-quiet') == 1 and text.count('<dl class="facts"') == 2


def test_bars_show_shares_before_and_after(tmp_path):
    report = Report(title="t")
    bars = [{"label": "cat", "shares": [0.9, 0.1]}, {"label": "<b>", "shares": [7, -1]}]
    cell = {"bars": bars, "alt": "cat 90 %, then 10 %"}
    report.section("s", "S").grid(["classes"], [{"title": "x", "cells": [cell]}])
    text = render(report, tmp_path / "a.html").path.read_text()
    drawing = re.search(r'<svg class="bars".*?</svg>', text, re.DOTALL)[0]
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', drawing)]
    assert widths == [134.6, 15.4, 149.5, 0.5] and "<b>" not in drawing
    assert "<title>cat 90 %, then 10 %</title>" in drawing


def test_a_share_that_is_no_number_is_a_bar_without_length(tmp_path):
    report = Report(title="t")
    cell = {"bars": [{"label": "cat", "shares": [0.5, float("nan")]}], "alt": "cat"}
    report.section("s", "S").grid(["classes"], [{"title": "x", "cells": [cell]}])
    made = render(report, tmp_path / "a.html")
    widths = re.findall(r'<rect [^>]*width="([\d.]+)"', made.path.read_text())
    assert made.refused == () and widths == ["75.0", "0.5"]


def test_the_label_of_a_bar_stands_above_it_and_is_there_in_full(tmp_path):
    report, name = Report(title="t"), "soft-coated wheaten terrier & friends"
    bars = [{"label": label, "shares": [0.5, 0.5]} for label in (name, "cat")]
    report.section("s", "S").grid(
        ["classes"], [{"title": "x", "cells": [{"bars": bars, "alt": ""}]}]
    )
    text = render(report, tmp_path / "a.html").path.read_text()
    drawing = re.search(r'<svg class="bars".*?</svg>', text, re.DOTALL)[0]
    assert (
        "<title>soft-coated wheaten terrier &amp; friends</title>soft-coated wheaten t…" in drawing
    )
    assert ">cat</text>" in drawing
    texts = [float(y) for y in re.findall(r'<text x="0" y="([\d.]+)"', drawing)]
    tops = [float(y) for y in re.findall(r'<rect x="0" y="([\d.]+)"', drawing)]
    assert len(tops) == 4 and texts[0] < tops[0] < tops[1] < texts[1] - 9 < tops[2] < tops[3]


def test_the_head_of_a_column_of_numbers_stands_above_them(tmp_path):
    report = Report(title="t")
    report.section("s", "S").table(["name", "value"], [["a", 1.5], ["b", 2]])
    text = render(report, tmp_path / "a.html").path.read_text()
    assert '<th scope="col">name</th><th scope="col" class="n">value</th>' in text


def test_a_figure_gets_one_title_and_keeps_the_rest():
    drawing = '<svg xmlns="http://www.w3.org/2000/svg"><title>old</title><rect/></svg>'
    titled = harmless(drawing, prefix="f1-", title="new")
    assert titled == '<svg role="img"><title>new</title><rect/></svg>'


def test_nothing_is_heard_twice_and_no_head_is_empty(tmp_path):
    report = Report(title="t")
    section = report.section("s", "S")
    section.table(["a", ""], [["1", "2"]])
    file = section.image("one", png())
    items = [{"file": file, "alt": alt, "title": "A three"} for alt in ("a three", "a drawn three")]
    section.add({"type": "gallery", "items": items})
    section.add({"type": "grid", "columns": ["", "b"], "rows": [{"title": "r", "cells": items}]})
    made = render(report, tmp_path / "a.html")
    text = made.path.read_text()
    assert made.refused == () and "></th>" not in text
    assert text.count('alt=""') == 2 == text.count('alt="a drawn three"')
    assert text.count("<td></td>") == 3
