"""Names that are markup on a page with everything: blocks, cells, addresses, words, playground."""

from dataclasses import replace

import pytest
import torch

from convscope.data import open_dataset
from convscope.models import load
from convscope.pages import playable_page, show_confusions
from convscope.playground import example, page_data, playable_network
from convscope.reports import render
from tests.hostile import NAMES, Watched
from tests.playground.reader import DONE, set_value, settle
from tests.reports.conftest import full_report

ALL = "The gradient of the logits: " + " ".join(NAMES)
SHOWN = [name.replace("\u202e", "\\u202e").replace("\u2066", "\\u2066") for name in NAMES]


@pytest.fixture
def watched(browser):
    browser.resize(1280, 900)
    browser.media()
    watched = Watched(browser)
    yield watched
    watched.close()


@pytest.fixture(scope="module")
def hostile():
    """A network whose classes have these names, with images and labels."""
    test = open_dataset("digits").test
    classifier = replace(load("mnist-conv1"), class_names=NAMES)
    return classifier, test.to_float(torch.arange(12)), test.labels[:12]


def everything(hostile):
    """A report with each kind of block, cells that open, a glossary, and the network."""
    classifier, images, labels = hostile
    predicted = (labels + torch.arange(12) % 2) % 10
    confusion = torch.zeros(10, 10, dtype=torch.long)
    for true, said in zip(labels.tolist(), predicted.tolist(), strict=True):
        confusion[true, said] += 1
    report = full_report(ALL)
    show_confusions(
        report.section("performance", ALL), confusion, NAMES, labels=labels, predicted=predicted,
        confidences=torch.linspace(0.2, 0.9, 12), images=lambda rows: images[rows],
    )  # fmt: skip
    made = playable_network(classifier, images)
    shown = [example(image, ALL, int(label)) for image, label in zip(images, labels, strict=True)]
    section = report.section("playground", ALL)
    section.playground(page_data(made, shown, epsilon=0.1), made.weights)
    return report


def test_no_name_runs_on_a_report_with_everything(watched, hostile, tmp_path):
    page = watched.browser
    made = render(everything(hostile), tmp_path / "page.html")
    assert made.refused == ()
    page.open(made.path.as_uri())
    page.until(DONE)
    names = page.evaluate("[...document.querySelectorAll('#pg-target option')].slice(1)"
                          ".map((option) => option.textContent)")  # fmt: skip
    assert all(
        name[:39].startswith(got.removesuffix("…")) for name, got in zip(SHOWN, names, strict=True)
    )
    for row in (0, 3, 8):
        set_value(page, "#pg-target", str(row))
        set_value(page, "#pg-explained", str(row))
        settle(page)
        label = page.evaluate("playground.saliency.canvas.getAttribute('aria-label')")
        assert label == f"Saliency map for {SHOWN[row]}"
    page.until("location.hash === playground.written")  # or it is written over the next address
    words = page.evaluate("document.body.innerText")
    for name in SHOWN:
        assert name[:60] in words, name
    for address in page.evaluate("[...document.querySelectorAll('.matrix td a')]"
                                 ".map((a) => a.hash)")[:6]:  # fmt: skip
        page.evaluate(f"location.hash = '{address}'")
        page.until("document.querySelector('dialog.cell').open")
        page.key("Escape")
    tip = page.evaluate("document.querySelector('button.term').getAttribute('popovertarget')")
    page.evaluate("document.querySelector('button.term').click()")
    page.until(f"document.getElementById('{tip}').matches(':popover-open')")
    page.evaluate("location.hash = '#tour/1'")
    page.until("!document.querySelector('.tour').hidden")
    watched.assert_no_turned_text()
    watched.assert_nothing_ran()


@pytest.mark.slow
def test_no_name_runs_on_the_page_of_a_notebook(watched, hostile, tmp_path):
    page = watched.browser
    made = playable_page(*hostile, title=ALL)
    page.open(made.save(tmp_path / "page.html").as_uri())
    page.until(DONE)
    title = "document.querySelector('h1').title || document.querySelector('h1').textContent"
    assert page.evaluate(title).startswith(ALL[:60])
    watched.assert_no_turned_text()
    watched.assert_nothing_ran()


def test_the_spy_sees_what_a_page_does_not_stop(watched, tmp_path):
    """The test of the test: the same names as markup are found."""
    page = watched.browser
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><meta charset='utf-8'><p>{NAMES[1]}", encoding="utf-8")
    page.open(file.as_uri())
    page.until("typeof hacked !== 'undefined'")
    with pytest.raises(AssertionError):
        watched.assert_nothing_ran()
    policy = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'\">"
    file.write_text(f"<!doctype html>{policy}<p>{NAMES[1]}", encoding="utf-8")
    page.open(file.as_uri())
    page.until("ran.length > 0")
    with pytest.raises(AssertionError):
        watched.assert_nothing_ran()
