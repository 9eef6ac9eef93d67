"""Names that are markup, in every place of the served pages, with scripts on."""

import os
import sys
from dataclasses import replace

import pytest

from convscope.cli import served_methods
from convscope.data import open_dataset
from convscope.models import load
from convscope.serve import ServedNetwork, Shelf
from tests.hostile import NAMES, Watched
from tests.playground.reader import STATUS, set_value, settle
from tests.serve.conftest import TOKEN, listening_for_real, make_report, make_run, serving
from tests.serve.test_in_a_browser import READY

SHOWN = [name.replace("\u202e", "\\u202e").replace("\u2066", "\\u2066") for name in NAMES]


def as_file(name):
    """What of a name may be that of a file."""
    return name.replace("/", "_")[:80]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Runs, a report, a study and a page, all with such names."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in NAMES[:7]:
        make_run(folder / as_file(name), model=name, preset=name)
    study = make_report(folder / f"study {as_file(NAMES[1])}", NAMES[1])
    (study / "result.json").write_text("{}")
    make_report(folder / f"report {as_file(NAMES[2])}", NAMES[2])
    (folder / f"{as_file(NAMES[0])}.html").write_text("<script>parent.hacked = 1</script>text")
    if sys.platform == "linux":
        make_run(folder / os.fsdecode(b"bad\xff") / "run")
    return folder


@pytest.fixture(scope="module")
def address(browser, shelf):
    for library in ("starlette", "uvicorn"):
        pytest.importorskip(library, reason="needs the extra web")
    dataset = replace(open_dataset("digits"), name=NAMES[1], class_names=NAMES)
    classifier = replace(load("mnist-conv1"), class_names=NAMES)
    networks = [
        ServedNetwork(name=name, classifier=classifier, dataset=dataset, data=dataset.test)
        for name in (NAMES[2], NAMES[0], NAMES[3], NAMES[9])
    ]
    with listening_for_real(serving(networks, served_methods(), Shelf(shelf))) as address:
        browser.servers.append(address)
        browser.open(f"{address}/?token={TOKEN}")
        yield address


@pytest.fixture
def watched(browser, address):
    browser.resize(1280, 900)
    browser.media()
    watched = Watched(browser)
    yield watched
    watched.close()


@pytest.mark.slow
def test_no_name_runs_on_the_page_of_a_network(watched, address, tmp_path):
    page = watched.browser
    page.open(address)
    page.until(READY)
    assert page.evaluate("document.querySelector('h1').textContent") == NAMES[2]
    assert page.evaluate("document.title") == f"{NAMES[2]} - convscope"
    options = "[...document.querySelectorAll('#{} option')].slice(1).map((o) => o.textContent)"
    for menu in ("pg-target", "attack-target", "explain-target"):
        names = page.evaluate(options.format(menu))
        for name, got in zip(SHOWN, names, strict=True):
            assert name[:49].startswith(got.removesuffix("…")), menu
    for row in (1, 3):
        set_value(page, "#pg-target", str(row))
        set_value(page, "#pg-explained", str(row))
        settle(page)
        set_value(page, "#explain-target", str(row))
        page.click("#explain .primary")
        page.until(f"panels.explain.status.textContent.includes({SHOWN[row][:30]!r})")
    page.click("#attack .primary")
    page.until("panels.attack.root.dataset.shown")
    bad = tmp_path / as_file(NAMES[1])
    bad.write_bytes(b"GIF89a")
    page.drop(".pad", bad)
    page.until(f"{STATUS}.includes('cannot be read')")
    assert page.evaluate(STATUS).startswith(as_file(NAMES[1]))
    turned = tmp_path / as_file(NAMES[3])
    turned.write_bytes(b"GIF89a")
    page.drop(".pad", turned)
    page.until(f"{STATUS}.includes('gpj.exe cannot be read')")
    set_value(page, "#visualize-target", "1")
    assert all("422" in each for each in page.complaints())
    page.events.clear()  # the browser logs the refusals
    watched.assert_no_turned_text()
    watched.assert_nothing_ran()


def test_no_name_runs_on_the_shelf(watched, address, shelf):
    page = watched.browser
    page.open(f"{address}/shelf")
    page.until("globalThis.shelf?.status.textContent.includes('shelf, newest first')")
    words = page.evaluate("document.getElementById('items').innerText")
    for name in SHOWN[:7]:
        assert as_file(name)[:60] in words and name[:60] in words
    for row in (1, 3, 5):
        page.evaluate(f"[...document.querySelectorAll('[data-name]')][{row}].click()")
    page.until("document.querySelectorAll('#compared svg').length === 2")
    page.until("document.querySelectorAll('.legend .first, .legend .second').length === 2")
    assert "cannot be read" not in page.evaluate("document.querySelector('.legend').textContent")
    if sys.platform == "linux":
        page.evaluate("document.querySelector('[data-name^=bad]').click()")
        page.until("document.querySelector('.legend').textContent.includes('B bad\\\\udcff/run')")
    hash_ = page.evaluate("location.hash")
    watched.assert_no_turned_text()
    watched.assert_nothing_ran()
    page.open(f"{address}/shelf{hash_}")
    page.until("document.querySelectorAll('.legend .first, .legend .second').length === 2")
    watched.assert_nothing_ran()


def test_no_page_of_the_shelf_runs_what_it_should_not(watched, address):
    page = watched.browser
    page.open(f"{address}/shelf")
    page.until("document.querySelectorAll('#items a').length === 3")
    for link in page.evaluate("[...document.querySelectorAll('#items a')].map((a) => a.href)"):
        page.open(link)
        assert page.evaluate("typeof hacked") == "undefined"
        if "html" in link:
            assert page.evaluate("document.body.textContent").endswith("text")
            assert page.evaluate("origin") == "null"
        else:
            assert page.evaluate("document.querySelector('h1').textContent") in NAMES
            watched.assert_nothing_ran()
