"""The shelf of experiments in a real browser: one run, two runs, a run in progress."""

import json
import os
import socket

import pytest

from tests.serve.conftest import MARKUP, make_report, make_run, row

LINES = "document.querySelectorAll('#compared svg path').length"
ROWS = "document.getElementById('compared').dataset.rows"


@pytest.fixture
def shelf(browser, address, runs):
    """The shelf of an empty folder, as it opens."""
    browser.resize(1280, 900)
    browser.media()

    def opened(hash_=""):
        browser.open(f"{address}/shelf{hash_}")
        browser.until("globalThis.shelf?.status.textContent.includes('shelf, newest first')")
        return browser

    yield opened
    assert browser.complaints() == []
    assert browser.requests() == []


def pick(page, name):
    """Tick the box of a run."""
    page.click(f"input[data-name={json.dumps(name)}]")


def test_one_run_then_two_over_each_other_and_the_address_keeps_them(shelf, runs):
    make_run(runs / "one", epochs=3)
    make_run(runs / "more" / "two", steps=5, epochs=4)
    page = shelf()
    assert page.evaluate("document.getElementById('curves').hidden")
    pick(page, "one")
    page.until(f"{ROWS} === '3'")
    assert page.evaluate("document.querySelectorAll('#compared svg').length") == 2
    assert page.evaluate(LINES) == 4
    assert "epochs" in page.evaluate("document.querySelector('.differs').textContent")
    pick(page, "more/two")
    page.until(f"{ROWS} === '3,5'")
    assert page.evaluate(LINES) == 8
    legend = page.evaluate("document.querySelector('.legend').textContent")
    assert "A one epoch 0.3 of 3" in legend and "B more/two epoch 0.5 of 4" in legend
    differs = page.evaluate("[...document.querySelectorAll('.differs td')].map((e) => e.innerText)")
    assert differs == ["3", "4"]
    hash_ = page.evaluate("location.hash")
    page = shelf(hash_)
    page.until(f"{ROWS} === '3,5'")
    pick(page, "one")
    page.until(f"{ROWS} === '5'")
    pick(page, "more/two")
    page.until("document.getElementById('curves').hidden")


@pytest.mark.slow
def test_the_curves_of_a_run_in_progress_grow(shelf, runs):
    folder = make_run(runs / "run", steps=2)
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": "now"}
    (folder / "run.lock").write_text(json.dumps(owner))
    page = shelf("#runs:run")
    page.until(f"{ROWS} === '2'")
    assert "run in progress" in page.evaluate("document.querySelector('.kind').textContent")
    assert f"in progress (process {os.getpid()})" in page.evaluate(
        "document.querySelector('.legend').textContent"
    )
    before = page.evaluate("document.querySelector('#compared path').getAttribute('d')")
    with (folder / "metrics.csv").open("a") as file:
        file.write(row(3) + row(4)[:7])  # a line that is being written
    page.until(f"{ROWS} === '3'")
    assert page.evaluate("document.querySelector('#compared path').getAttribute('d')") != before
    with (folder / "metrics.csv").open("a") as file:
        file.write(row(4)[7:])
    (folder / "run.lock").unlink()
    page.until(f"{ROWS} === '4'")
    assert page.evaluate("shelf.runs.get('run').rows.map((line) => line.step)") == [1, 2, 3, 4]
    assert "in progress" not in page.evaluate("document.querySelector('.legend').textContent")


def test_a_run_that_was_begun_again_shows_no_rows_of_the_one_before(shelf, runs):
    folder = make_run(runs / "run", steps=3)
    page = shelf("#runs:run")
    page.until(f"{ROWS} === '3'")
    lines = (folder / "metrics.csv").read_text().splitlines(keepends=True)
    again = [line.replace(",0.25,", ",0.125,") for line in [*lines, row(4), row(5)]]
    (folder / "metrics.csv").write_text("".join(again))
    page.until(f"{ROWS} === '5'")
    errors = page.evaluate("shelf.runs.get('run').rows.map((line) => line.validation_error)")
    assert errors == [0.125] * 5


def test_a_run_that_cannot_be_read_spoils_no_other(shelf, runs):
    make_run(runs / "good")
    bad = make_run(runs / "bad")
    (bad / "metrics.csv").write_text("step,epoch\n1,x\n")
    page = shelf("#runs:good&bad")
    page.until(f"{ROWS} === '3,0'")
    assert "cannot be read: " in page.evaluate("document.querySelector('.legend').textContent")
    assert all("422" in each for each in page.complaints())
    page.events.clear()  # the browser logs the refusal


def test_curves_stay_while_the_server_does_not_answer(shelf, runs):
    make_run(runs / "run")
    page = shelf("#runs:run")
    page.until(f"{ROWS} === '3'")
    link = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.send("Network.emulateNetworkConditions", offline=True, **link)
    try:
        page.evaluate("shelf.follow()")
        page.until("document.querySelector('.legend').textContent.includes('does not answer')")
        assert page.evaluate(ROWS) == "3" and page.evaluate(LINES) == 4
    finally:
        page.send("Network.emulateNetworkConditions", offline=False, **link)
    page.evaluate("shelf.follow()")
    page.until("!document.querySelector('.legend').textContent.includes('does not answer')")
    page.events.clear()  # the browser logs what it cannot reach


def test_a_report_opens_beside_the_shelf_in_a_sandbox(shelf, runs, address):
    make_report(runs / "audit", MARKUP)
    page = shelf()
    link = page.evaluate("document.querySelector('#items a').href")
    assert link == f"{address}/shelf/show?name=audit"
    page.open(link)
    assert page.evaluate("origin") == "null"
    assert page.evaluate("document.querySelector('h1').textContent") == MARKUP
