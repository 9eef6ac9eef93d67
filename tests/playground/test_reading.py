"""What a report does in a real browser besides the playground: cells open, addresses are shown."""

import pytest
import torch

from convscope.pages import show_confusions
from convscope.reports import Report, render

from .test_page import HOSTILE

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
    assert focused(page) == "2 images: true 0, predicted 1"
    assert page.evaluate("location.hash") == "#performance-1"


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
