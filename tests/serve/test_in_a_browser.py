"""The served pages in a real browser: what somebody does there, and what may go wrong."""

import re

import numpy as np
import pytest
from PIL import Image

from convscope.cli import served_methods
from tests.playground.reader import DONE, STATUS, set_value, settle
from tests.serve.conftest import TOKEN

READY = f"document.documentElement?.dataset.ready === 'true' && {DONE}"


@pytest.fixture
def page(browser, address):
    """The page of the network, as it opens."""
    browser.resize(1280, 900)
    browser.media()
    browser.open(f"{address}/")
    browser.until(READY)
    yield browser
    assert browser.complaints() == []
    assert browser.requests() == []


def panel(name, what):
    """Something of a panel of methods, as JavaScript."""
    return f"panels.{name}.{what}"


def choose(page, family, method):
    set_value(page, f"#{family}-method", method)
    assert page.evaluate(panel(family, "method.name")) == method


def write(page, selector, text):
    """Click a field and type."""
    page.click(selector)
    page.write(text)


def files(folder, image):
    """A good image and one that is cut off, in a file whose name is markup."""
    good, bad = folder / "seven.png", folder / "<img src=x onerror=alert(1)>.png"
    Image.fromarray(np.kron(image, np.ones((4, 4), dtype=np.uint8))).save(good)
    bad.write_bytes(good.read_bytes()[:60])
    return good, bad


# ---- Images ----------------------------------------------------------------------------------


def test_an_image_is_dropped_and_pasted_and_a_damaged_one_spoils_nothing(page, digits, tmp_path):
    images = digits.some(4)
    truth = digits.classifier.predict(images, top=1).labels[:, 0].tolist()
    one, other = ((images[row, 0] * 255).byte().numpy() for row in (3, 2))
    good, bad = files(tmp_path, one)
    page.drop(".pad", good)
    page.until("playground.state.image === null")
    assert settle(page) == str(truth[3])
    page.drop(".pad", bad)
    page.until(f"{STATUS}.includes('cannot be read')")
    words = page.evaluate(STATUS)
    assert words.startswith("<img src=x onerror=alert(1)>.png cannot be read") and "(I" in words
    assert [e for e in page.complaints() if "422" not in e] == []
    page.events.clear()  # the browser logs the refusal
    good, _ = files(tmp_path, other)
    page.click("#explain-seed")
    serial = page.evaluate("playground.serial")
    page.paste(good.read_bytes())
    page.until(f"playground.serial > {serial}")
    assert settle(page) == str(truth[2])


@pytest.mark.slow
def test_a_stroke_is_drawn_by_mouse_and_by_finger(page):
    for kind in ("mouse", "touch"):
        page.resize(1280, 900, touch=kind == "touch")
        page.click(".source .buttons button")
        settle(page)
        assert page.evaluate("Math.max(...playground.image)") == 0
        page.drag(".pad", [(0.5, 0.15), (0.5, 0.85)], kind=kind)
        assert settle(page) == "1", kind
    page.resize(1280, 900)


@pytest.mark.slow
def test_the_keyboard_alone_draws_sets_and_runs(page):
    page.evaluate("document.querySelector('.pad').focus()")
    page.key("Escape")
    settle(page)
    for _ in range(10):
        page.key("ArrowUp")
    page.key(" ")
    for _ in range(20):
        page.key("ArrowDown")
    page.key(" ")
    assert settle(page) == "1"
    reached = []
    for _ in range(160):
        page.key("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
        if reached[-1] == "explain-seed":
            break
    assert {"pg-file", "pg-epsilon", "pg-unit", "explain-method", "explain-target"} <= set(reached)
    page.write("3")
    page.key("Enter")
    page.until(panel("explain", "root.dataset.shown"))
    assert page.evaluate(panel("explain", "seed.value")) == "3"
    assert ", for 1." in page.evaluate(panel("explain", "status.textContent"))


def test_the_address_brings_the_state_back(page):
    page.drag(".pad", [(0.3, 0.2), (0.7, 0.2), (0.4, 0.8)])
    set_value(page, "#pg-epsilon", "0.2")
    set_value(page, "#pg-target", "8")
    set_value(page, "#pg-window", "10")
    settle(page)
    seen = (
        "JSON.stringify([playground.state, [...playground.image],"
        "document.querySelector('.verdict').textContent])"
    )
    before = page.evaluate(seen)
    page.until("location.hash.includes('w=10')")
    page.evaluate("document.documentElement.dataset.ready = 'old'")
    page.send("Page.reload")
    page.until(READY)
    assert page.evaluate(seen) == before
    assert page.evaluate(f"!location.href.includes('{TOKEN}')")


@pytest.mark.slow
def test_of_fifty_events_a_second_the_last_one_counts(page):
    page.evaluate(
        "(() => { let n = 0; const e = document.querySelector('#pg-epsilon');"
        "globalThis.frames = 0; const count = () => { globalThis.frames++;"
        "if (!globalThis.moved) requestAnimationFrame(count); }; count();"
        "globalThis.sent = 0; const ask = fetch; globalThis.fetch = (where, how) => {"
        "globalThis.sent += where.includes('/run?'); return ask(where, how); };"
        "const move = (to) => { e.value = to; e.dispatchEvent(new Event('input')); };"
        "const timer = setInterval(() => { move((n % 40) / 100);"
        "playground.pickExample(n % 8); if (++n === 60) {"
        "move(0.07); clearInterval(timer); globalThis.moved = true; } }, 20); })()"
    )
    page.until("globalThis.moved")
    settle(page)
    change = page.evaluate(
        "Math.max(...playground.after.map((v, i) => Math.abs(v - playground.image[i])))"
    )
    assert page.evaluate("playground.state.epsilon") == 0.07
    assert change == pytest.approx(0.07, abs=1e-5)
    assert page.evaluate("playground.state.image") == str(59 % 8)
    # The page went on drawing frames, and no event waits behind another one.
    assert page.evaluate("globalThis.frames") > 5
    assert page.evaluate("globalThis.sent") <= 2 * 60
    assert page.evaluate("playground.client.worker.waiting") is None


def test_a_chosen_map_shows_an_image_that_drives_it(page):
    names = page.evaluate("playground.layers.layers.map((layer) => layer.name)")
    page.evaluate(
        f"playground.layers.select.selectedIndex = {names.index('pool2')};"
        "playground.layers.select.dispatchEvent(new Event('change'))"
    )
    settle(page)
    page.click(".maps button:nth-child(4)")
    page.click(".maps button:nth-child(5)")
    page.until("playground.unit.root.dataset.shown === 'pool2/4'")
    words = page.evaluate("playground.unit.root.textContent")
    assert "Made here in 40 steps" in words and "map 4" in words
    found = re.search(r"map: ([\d.]+); for your image: ([\d.]+)\.", words)
    reached, here = map(float, found.groups())
    assert reached > here
    width = page.evaluate("playground.unit.picture.canvas.width")
    assert width == 28


# ---- Methods ---------------------------------------------------------------------------------


def test_a_form_is_made_of_the_records_and_its_settings_reach_the_method(page):
    choose(page, "attack", "pgd")
    method = next(method for method in served_methods() if method.name == "pgd")
    options = page.evaluate(
        "[...panels.attack.settings.querySelectorAll('label')].map((label) => label.textContent)"
    )
    assert options == [field.option for field in method.fields]
    style = "getComputedStyle(document.querySelector('{}')).backgroundColor"
    assert page.evaluate(style.format("#attack .primary")) != page.evaluate(
        style.format("#attack button:not(.primary)")
    ), "the button that begins stands out"
    page.click("#attack summary")
    write(page, "#attack-set-epsilon", "8/255")
    write(page, "#attack-set-steps", "3")
    page.click("#attack .primary")
    page.until("panels.attack.root.dataset.shown === 'pgd' && !panels.attack.flight")
    headings = page.evaluate(
        "[...document.querySelectorAll('#attack :is(h2, h3, h4)')].map((e) => e.tagName)"
    )
    assert headings == ["H2", "H3", "H3"], "no level is left out"
    facts = page.evaluate("panels.attack.found.querySelector('.facts').textContent")
    assert "steps 3" in facts
    change = page.evaluate("panels.attack.found.textContent.match(/L∞ ([0-9.]+),/)[1]")
    assert 0 < float(change) <= 0.0314
    assert page.evaluate("panels.attack.stop.disabled && panels.attack.bar.hidden")
    write(page, "#attack-set-epsilon", "much")
    page.click("#attack .primary")
    page.until("panels.attack.status.textContent.startsWith('Refused')", patience=20)
    words = page.evaluate("panels.attack.status.textContent")
    assert "epsilon" in words and "(U03)" in words


def test_progress_is_shown_and_a_method_is_canceled(page, slow_method):
    choose(page, "explain", "slow")
    before = len(slow_method.ended)
    page.click("#explain .primary")
    page.until("panels.explain.bar.value > 0 && !panels.explain.bar.hidden")
    assert page.evaluate("panels.explain.root.dataset.busy") == "true"
    page.click("#explain form .controls button:not(.primary)")
    page.until("panels.explain.status.textContent === 'Canceled.'")
    assert slow_method.ended[before:] == ["Canceled"]
    page.until("panels.explain.root.dataset.busy === 'false'")
    choose(page, "explain", "saliency")
    page.click("#explain .primary")
    page.until("panels.explain.root.dataset.shown === 'saliency'")


def test_of_two_requests_of_a_form_the_newer_is_shown(page, slow_method):
    choose(page, "explain", "slow")
    before = len(slow_method.ended)
    page.click("#explain .primary")
    page.until("panels.explain.bar.value > 0")
    choose(page, "explain", "saliency")
    page.click("#explain .primary")
    page.until("panels.explain.root.dataset.shown === 'saliency'")
    assert slow_method.ended[before:] == ["Canceled"]
    words = page.evaluate("panels.explain.status.textContent")
    assert words.startswith("saliency, for "), words
    assert page.evaluate("panels.explain.root.dataset.busy") == "false"


def test_a_server_that_is_gone_is_said_to_be_and_the_page_goes_on_when_it_is_back(page):
    away = "the server does not answer"
    link = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.send("Network.emulateNetworkConditions", offline=True, **link)
    try:
        page.click(".examples button:nth-child(2)")
        page.until(f"{STATUS}.startsWith('Refused: {away}')")
        page.click("#explain .primary")
        page.until(f"panels.explain.status.textContent.startsWith('Refused: {away}')")
        assert page.evaluate("panels.explain.root.dataset.busy") == "false"
    finally:
        page.send("Network.emulateNetworkConditions", offline=False, **link)
    page.events.clear()  # the browser logs what it cannot reach
    page.click(".examples button:nth-child(3)")
    assert settle(page)
    page.click("#explain .primary")
    page.until("panels.explain.root.dataset.shown === panels.explain.method.name")


# ---- Narrow and dark -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/shelf"])
def test_nothing_is_wider_than_a_phone_and_dark_is_dark(page, address, path):
    page.open(f"{address}{path}")
    page.until(READY if path == "/" else "document.querySelector('#status').textContent")
    if path == "/":
        page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    page.resize(400, 900)
    wide = page.evaluate(
        "[document.documentElement.scrollWidth, ...[...document.querySelectorAll('main *')]"
        ".filter((e) => e.getBoundingClientRect().right > 400.5 && !e.closest('.scroll, .file'))"
        ".map((e) => e.className + ' ' + e.tagName)]"
    )
    assert wide == [400]
    color = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(color)
    page.media(scheme="dark")
    dark = page.evaluate(color)
    assert (
        max(map(int, re.findall(r"\d+", dark)[:3]))
        < 60
        < min(map(int, re.findall(r"\d+", light)[:3]))
    )
    page.media()
