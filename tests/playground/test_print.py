"""A page on paper and on a phone: nothing is wider than the sheet, which a browser would cut."""

from io import BytesIO

import pytest
from PIL import Image

from convscope.reports import Report, render

SHEET = 695
"""Pixels of an A4 sheet between the margins."""


@pytest.fixture
def paper(browser):
    """A browser that prints on a sheet; the screen again afterwards."""
    browser.resize(SHEET, 1000)
    browser.media(kind="print")
    yield browser
    browser.media()
    browser.resize(1280, 900)


def test_wide_tables_and_words_fit_the_sheet(paper, tmp_path):
    report = Report(title="A report")
    section = report.section("one", "One", "The robust accuracy, and the confidence interval.")
    heads = ["method", *(f"a long title of column {n}" for n in range(8))]
    row = ["integrated-gradients", *[12345.678] * 8]
    section.table([{"title": heads[0], "kind": "code"}, *heads[1:]], [row], caption="All of them.")
    for _ in range(2):  # Side by side on a screen.
        section.table(heads[:5], [row[:5]])
    made = render(report, tmp_path / "page.html")
    assert made.refused == ()
    paper.open(made.path.as_uri())
    assert paper.evaluate("document.documentElement.scrollWidth") == SHEET
    wide = paper.evaluate(
        "[...document.querySelectorAll('table')].map((e) => e.getBoundingClientRect().right)"
    )
    assert len(wide) == 3 and max(wide) <= SHEET + 0.5


def test_pictures_of_a_wide_grid_have_one_size_on_paper(paper, tmp_path):
    report = Report(title="A report")
    section = report.section("one", "One")
    data = BytesIO()
    Image.new("L", (32, 32)).save(data, "PNG")
    file = section.image("black", data.getvalue())
    heads = ["airplane", "automobile", *[f"c{n}" for n in range(8)]]
    cells = [{"file": file, "alt": "black"} for _ in heads]
    section.grid(heads, [{"title": "without the penalty", "cells": cells}], scale=3)
    made = render(report, tmp_path / "page.html")
    assert made.refused == ()
    paper.open(made.path.as_uri())
    sizes = paper.evaluate("[...document.querySelectorAll('.grid img')].map((e) => e.clientWidth)")
    whole = paper.evaluate("getComputedStyle(document.querySelector('.grid')).breakInside")
    assert whole == "avoid", "rows of pictures and what they mean stay on one sheet"
    assert len(sizes) == 10 and len(set(sizes)) == 1
    assert paper.evaluate("document.documentElement.scrollWidth") == SHEET


SHAPES = ["circle", "square", "triangle", "rectangle", "pentagon", "star", "ring", "cross", "bar",
          "ellipse"]  # fmt: skip
CHART = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 380 200"><path d="M0 0h380v200"/></svg>'
)


def chart_and_matrix(folder, names):
    report = Report(title="A report")
    section = report.section("one", "One")
    section.figure("chart", CHART, alt="a chart", caption="A chart with a caption.")
    counts = [[30 if i == j else 0 for j in range(len(names))] for i in range(len(names))]
    section.matrix(
        counts, rows=names, columns=names, row_title="true class", column_title="predicted class",
        kind="confusion", caption="A matrix.",
    )  # fmt: skip
    made = render(report, folder / "page.html")
    assert made.refused == ()
    return made.path.as_uri()


@pytest.mark.parametrize(
    "names", [list("0123456789"), SHAPES, [f"a long class name {n}" for n in range(20)]]
)
def test_a_matrix_covers_no_neighbor_and_fits_the_sheet(browser, tmp_path, names):
    browser.resize(SHEET, 1000)
    browser.media(kind="print")
    browser.open(chart_and_matrix(tmp_path, names))
    try:
        chart = browser.box(".chart")
        matrix = browser.box(".matrix table")
        assert matrix["x"] + matrix["width"] <= SHEET + 0.5
        beside = matrix["x"] >= chart["x"] + chart["width"]
        assert beside == (names[0] == "0")
        assert beside or matrix["y"] >= chart["y"] + chart["height"]
    finally:
        browser.media()
        browser.resize(1280, 900)


@pytest.mark.parametrize("names", [list("0123456789"), SHAPES])
def test_a_matrix_of_ten_classes_is_not_cut_on_a_screen(browser, tmp_path, names):
    browser.open(chart_and_matrix(tmp_path, names))
    inside = browser.evaluate(
        "(() => { const e = document.querySelector('.matrix .scroll');"
        "return e.scrollWidth <= e.clientWidth })()"
    )
    assert inside


def test_a_long_file_name_fits_a_phone(browser, tmp_path):
    report = Report(title="A report")
    section = report.section("convolution", "Convolution")
    section.table(["a"], [["1"]], caption="One.", name="convolution_or_cross_correlation_" * 2)
    made = render(report, tmp_path / "page.html")
    browser.resize(400, 900)
    browser.open(made.path.as_uri())
    try:
        assert browser.evaluate("document.querySelectorAll('.file').length") == 1
        assert browser.evaluate("document.documentElement.scrollWidth") == 400
    finally:
        browser.resize(1280, 900)


@pytest.mark.parametrize(("columns", "words"), [(2, False), (14, True)])
def test_only_what_scrolls_sideways_says_so(browser, tmp_path, columns, words):
    report = Report(title="A report")
    section = report.section("one", "One")
    section.table([f"column {n}" for n in range(columns)], [[12345.678] * columns])
    made = render(report, tmp_path / "page.html")
    browser.resize(400, 900)
    browser.open(made.path.as_uri())
    try:
        size = browser.evaluate(
            "parseFloat(getComputedStyle(document.querySelector('.scroll'), '::after').fontSize)"
        )
        assert (size > 10) == words
        assert browser.evaluate("document.documentElement.scrollWidth") == 400
    finally:
        browser.resize(1280, 900)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_playable_page_fits_the_sheet(opened, scheme):
    opened.resize(SHEET, 1000)
    opened.media(kind="print", scheme=scheme)
    assert opened.evaluate("document.documentElement.scrollWidth") == SHEET
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    opened.media()
    opened.resize(1280, 900)
