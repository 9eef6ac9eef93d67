"""What a report does in a real browser besides the playground: cells open, addresses are shown."""

import numpy as np
import pytest
import torch

from convscope.data import open_dataset
from convscope.figures import lossless
from convscope.models import load
from convscope.pages import show_confusions
from convscope.playground import example, page_data, playable_network
from convscope.reports import Report, render
from tests.hostile import NAMES as HOSTILE

from .test_page import DONE

PANEL = "reading.cells.panel"
LABELS = [0, 0, 0, 1, 2, 3, 3, 9]
PREDICTED = [0, 1, 1, 1, 2, 3, 0, 9]


def write_matrix(folder, names):
    labels, predicted = torch.tensor(LABELS), torch.tensor(PREDICTED)
    confusion = torch.zeros(10, 10, dtype=torch.long)
    for true, read in zip(LABELS, PREDICTED, strict=True):
        confusion[true, read] += 1
    report = Report(title="A page")
    report.section("first", "First").text("Long. " * 2000)
    show_confusions(
        report.section("performance", "Performance"), confusion, names, labels=labels,
        predicted=predicted, confidences=torch.linspace(0.2, 0.9, 8),
        images=lambda rows: torch.rand(len(rows), 1, 28, 28),
    )  # fmt: skip
    report.section("after", "After").text("More. " * 2000)
    return render(report, folder / "page.html")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    """The address of a page with a confusion matrix."""
    digits = [str(digit) for digit in range(10)]
    return write_matrix(tmp_path_factory.mktemp("matrix"), digits).path.as_uri()


@pytest.fixture
def page(browser, matrix):
    browser.resize(1280, 900)
    browser.media()
    browser.open(matrix)
    yield browser
    assert browser.complaints() == [] and browser.requests() == []


def focused(browser):
    return browser.evaluate("document.activeElement.getAttribute('aria-label')")


def test_a_click_opens_the_images_of_a_cell_and_escape_gives_the_focus_back(page):
    page.click(".matrix a[href='#confusion/0-1']")
    assert page.evaluate(f"{PANEL}.open") and page.evaluate("location.hash") == "#confusion/0-1"
    words = page.evaluate(f"{PANEL}.textContent")
    assert "True 0, predicted 1" in words and "2 images" in words and "test 1" in words
    assert page.evaluate(f"document.getElementById({PANEL}.getAttribute('aria-labelledby'))"
                         ".textContent") == "True 0, predicted 1"  # fmt: skip
    shown = page.evaluate(
        f"[...{PANEL}.querySelectorAll('svg')].map((e) => [e.getBoundingClientRect().width,"
        "document.querySelector(e.querySelector('use').getAttribute('href')) !== null])"
    )
    assert shown == [[84, True]] * 2
    assert page.evaluate("document.activeElement.textContent") == "Close"
    page.key("Escape")
    page.until(f"!{PANEL}.open")
    page.until("location.hash === '#performance-1'", patience=20)  # after the event of closing
    assert focused(page) == "2 images: true 0, predicted 1"


def test_every_cell_is_reached_by_arrow_keys_and_the_matrix_is_one_stop_of_tab(page):
    stops = "[...document.querySelectorAll('.matrix td a')].filter((a) => a.tabIndex === 0).length"
    assert page.evaluate(stops) == 1
    page.evaluate("document.querySelector('.matrix td a').focus()")
    reached = [focused(page)]
    for _ in range(9):
        page.key("ArrowRight")
        reached.append(focused(page))
    assert len(set(reached)) == page.evaluate("reading.cells.links.size") == 7
    page.key("Home")
    page.key("ArrowDown")
    assert focused(page) == "1 image: true 1, predicted 1"
    page.key("End")
    assert focused(page) == "1 image: true 9, predicted 9"
    page.key("ArrowUp")
    assert focused(page) == "1 image: true 3, predicted 3"
    page.key("Enter")
    page.until(f"{PANEL}.open")
    assert page.evaluate("location.hash") == "#confusion/3-3"
    page.key("Enter")
    page.until(f"!{PANEL}.open")
    assert page.evaluate(stops) == 1 and focused(page) == "1 image: true 3, predicted 3"


def test_an_address_opens_its_cell(page, matrix):
    page.open(f"{matrix}#confusion/3-0")
    page.until(f"{PANEL}.open && scrollY > 0")
    assert "True 3, predicted 0" in page.evaluate(f"{PANEL}.textContent")
    page.evaluate("location.hash = '#confusion/2-2'")
    page.until(f"{PANEL}.textContent.includes('True 2, predicted 2')")
    page.evaluate("location.hash = '#after'")
    page.until(f"!{PANEL}.open")
    page.open(f"{matrix}#confusion/7-7")
    assert not page.evaluate(f"{PANEL}.open"), "no images, no panel"


def test_without_scripts_a_cell_leads_to_its_images(browser, matrix):
    browser.open(matrix)
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.send("Page.navigate", url="about:blank")
        browser.send("Page.navigate", url=matrix)
        browser.until("document.readyState === 'complete' && !!document.querySelector('.matrix a')")
        assert not browser.evaluate("document.querySelector('details.cells').open")
        browser.click(".matrix a[href='#confusion/3-0']")
        browser.until("document.querySelector('details.cells').open")
        top = "document.getElementById('confusion/3-0').getBoundingClientRect().top"
        browser.until(f"{top} >= 0 && {top} < innerHeight")
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)


def test_hostile_class_names_in_cells_are_text_with_scripts_on(browser, tmp_path):
    made = write_matrix(tmp_path, HOSTILE)
    assert made.refused == ()
    browser.resize(400, 900)
    browser.open(made.path.as_uri())
    for hash_ in browser.evaluate("[...reading.cells.links.keys()]"):
        browser.evaluate(f"location.hash = '{hash_}'")
        browser.until(f"{PANEL}.open && location.hash === '{hash_}'")
        assert browser.evaluate(f"{PANEL}.getBoundingClientRect().right") <= 400
    browser.evaluate("location.hash = '#confusion/0-1'")
    browser.until(f"{PANEL}.textContent.includes(' onerror=')")
    assert HOSTILE[0] in browser.evaluate(f"{PANEL}.querySelector('b').textContent")
    assert browser.evaluate("document.querySelectorAll('img, iframe').length") == 0
    assert browser.evaluate("typeof hacked") == "undefined"
    assert browser.complaints() == [] and browser.requests() == []


def write_addresses(folder, *, names=("a", "b"), playable=False):
    """A page with a unit, images and an attack, one in what is folded."""
    report = Report(title="A page")
    if playable:
        classifier, images = load("mnist-conv2"), open_dataset("digits").test.to_float(range(4))
        made = playable_network(classifier, images)
        shown = [example(image, f"test image {i}", -1) for i, image in enumerate(images)]
        section = report.section("playground", "Playground")
        section.playground(page_data(made, shown, epsilon=0.1), made.weights)
    report.section("first", "First").text("Long. " * 2000)
    section = report.section("units", "Units")
    tile = lossless(np.arange(784, dtype=np.uint8).reshape(28, 28))
    file = section.image("tile", tile)
    cells = [{"file": file, "alt": "x", "address": f"pool2/{i}"} for i in (0, 3)]
    section.grid(names, [{"title": "optimized", "cells": cells}], scale=3)
    with section.details("More"):
        section.gallery(
            [{"file": file, "alt": "x", "title": name, "address": f"image/{40 + i}"}
             for i, name in enumerate(names)], scale=3,
        )  # fmt: skip
    section.table(["attack"], [["fgsm"], ["pgd"]], addresses=["attack/fgsm", "attack/pgd"])
    report.section("after", "After").text("More. " * 3000)
    return render(report, folder / "page.html")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return write_addresses(tmp_path_factory.mktemp("places")).path.as_uri()


@pytest.mark.parametrize("address", ["pool2/3", "image/41", "attack/pgd"])
def test_an_address_leads_to_its_thing_and_marks_it(browser, places, address):
    browser.resize(1280, 700)
    browser.media()
    browser.open(f"{places}#{address}")
    place = f"document.getElementById('{address}')"
    browser.until(f"scrollY > 0 && {place}.getBoundingClientRect().height > 0")
    browser.until(
        f"{place}.getBoundingClientRect().top >= 0 && "
        f"{place}.getBoundingClientRect().bottom <= innerHeight"
    )
    assert browser.evaluate(f"getComputedStyle({place}).outlineStyle") == "solid"
    assert browser.complaints() == []


def test_the_sign_of_an_address_is_there_on_hover_and_focus_and_copies_it(browser, places):
    browser.open(places)
    sign = 'document.querySelector("#pool2\\\\/3 .here")'
    opacity = f"getComputedStyle({sign}).opacity"
    assert float(browser.evaluate(opacity)) < 1  # less still where there is a mouse
    browser.evaluate(f"globalThis.clip = []; navigator.clipboard.writeText = (text) => {{"
                     f"clip.push(text); return Promise.resolve(); }}; {sign}.focus()")  # fmt: skip
    browser.key("Tab")
    browser.evaluate(f"{sign}.focus()")
    assert browser.evaluate(opacity) == "1"
    browser.key("Enter")
    browser.until("clip.length === 1")
    assert browser.evaluate("clip[0]") == f"{places}#pool2/3"
    browser.until("document.querySelector('.aside').textContent === '#pool2/3 copied'")
    assert browser.evaluate("location.hash") == "#pool2/3"
    assert browser.complaints() == []


def test_addresses_that_are_taken_or_odd_are_left_out(tmp_path):
    report = Report(title="t")
    section = report.section("first", "First")
    file = section.image("tile", lossless(np.zeros((4, 4), np.uint8)))
    odd = ['x"/><script>', "a/b/c", "first", "playground:i=3", "\u0660/1", "a/" + "b" * 99, 7, None]
    items = [{"file": file, "alt": "x", "address": a} for a in ["image/1", "image/1", *odd]]
    section.gallery(items)
    text = render(report, tmp_path / "page.html").path.read_text()
    assert text.count('id="image/1"') == 1 and text.count('class="here"') == 1
    assert text.count('id="first"') == 1 and "<script>" in text and 'x"/><script' not in text


def test_hostile_names_beside_addresses_are_text_with_scripts_on(browser, tmp_path):
    made = write_addresses(tmp_path, names=HOSTILE[:2], playable=True)
    assert made.refused == ()
    browser.open(f"{made.path.as_uri()}#image/41")
    browser.until(DONE)
    assert browser.evaluate("document.querySelector('details[id] .gallery li b').title") == (
        HOSTILE[0] if len(HOSTILE[0]) > 40 else ""
    )
    assert HOSTILE[0][:30] in browser.evaluate("document.querySelector('.gallery').textContent")
    assert browser.evaluate("typeof hacked") == "undefined"
    assert browser.complaints() == [] and browser.requests() == []


def test_a_feature_map_shows_the_image_of_the_report_or_makes_one(browser, tmp_path):
    browser.resize(1280, 900)
    browser.open(write_addresses(tmp_path, playable=True).path.as_uri())
    browser.until(DONE)
    names = browser.evaluate("playground.layers.layers.map((layer) => layer.name)")
    browser.evaluate(
        f"playground.layers.select.selectedIndex = {names.index('pool2')};"
        "playground.layers.select.dispatchEvent(new Event('change'))"
    )
    browser.until(DONE)
    assert browser.evaluate("playground.unit.root.hidden")
    browser.click(".maps button:nth-child(4)")
    assert browser.evaluate("playground.unit.root.dataset.from") == "report"
    assert browser.evaluate("document.querySelector('.large h4').textContent") == "pool2, map 3"
    assert browser.evaluate("document.getElementById('pg-unit').value") == "3"
    drawn = "[...playground.unit.picture.canvas.getContext('2d').getImageData(0, 0, 28, 28).data]"
    levels = browser.evaluate(drawn)[::4]
    assert levels == [i % 256 for i in range(784)]
    href = browser.evaluate("playground.unit.root.querySelector('a').getAttribute('href')")
    assert href == "#pool2/3"
    browser.click(".maps button:nth-child(5)")
    browser.until("playground.unit.root.dataset.shown === 'pool2/4'")
    words = browser.evaluate("playground.unit.root.textContent")
    assert "Made here in 40 steps" in words and "map 4" in words
    browser.evaluate("location.hash = '#image/40'")
    browser.until(
        "document.querySelector('details[id] .gallery').getBoundingClientRect().height > 0"
    )
    assert browser.evaluate("playground.layers.unit") == 4, "the playground stays as it was"
    assert browser.complaints() == [] and browser.requests() == []


def test_a_playground_without_a_worker_makes_images_for_maps_too(browser, tmp_path):
    address = write_addresses(tmp_path, playable=True).path.as_uri()
    script = browser.send("Page.addScriptToEvaluateOnNewDocument", source="delete window.Worker")
    try:
        browser.open(address)
        browser.until(DONE)
        browser.click(".maps button:nth-child(2)")
        browser.until("playground.unit.root.dataset.shown?.endsWith('/1')")
        assert browser.complaints() == []
    finally:
        browser.send("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])


def test_only_the_script_of_the_page_runs(page):
    policy = page.evaluate("document.querySelector('meta[http-equiv]').content")
    assert policy.count("'sha256-") == 2 and "unsafe" not in policy and "worker-src" not in policy
    assert "trusted-types 'none'" in policy
    tried = page.evaluate(
        "(() => { try { document.createElement('p').innerHTML = '<b>x</b>'; return 'run'; }"
        "catch { return 'refused'; } })()"
    )
    assert tried == "refused"
    page.events.clear()  # the refusal is in the console
