"""The page in a real browser: what a reader does, and what may go wrong."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from convscope import Classifier

from .reader import DONE, PATIENCE, STATUS, bars, set_value, settle, write_page


def test_the_page_predicts_what_the_network_predicts(opened, digits):
    classifier, images, _ = digits
    assert opened.evaluate("document.getElementById('playground-root').dataset.engine") == "worker"
    assert opened.evaluate("document.getElementById('playground-missing')") is None
    with classifier.probe() as probe:
        truth = probe.logits(images).softmax(dim=1).numpy()
    for row in range(len(images)):
        opened.click(f".examples button:nth-child({row + 1})")
        assert settle(opened) == str(truth[row].argmax())
        assert np.abs(bars(opened)[:, 0] - truth[row]).max() <= 1e-3 + 6e-4


def test_drawing_with_mouse_and_finger(opened):
    for kind in ("mouse", "touch"):
        opened.resize(1280, 900, touch=kind == "touch")
        opened.click(".source .buttons button")
        settle(opened)
        assert opened.evaluate("Math.max(...playground.image)") == 0
        opened.drag(".pad", [(0.5, 0.15), (0.5, 0.85)], kind=kind)
        assert settle(opened) == "1", kind
        assert opened.evaluate("playground.state.image") is None


def test_drawing_with_the_keyboard_only(opened):
    opened.evaluate("document.querySelector('.pad').focus()")
    opened.key("Escape")
    settle(opened)
    for _ in range(10):
        opened.key("ArrowUp")
    opened.key(" ")
    assert opened.evaluate(STATUS) == "Pen down."
    for _ in range(20):
        opened.key("ArrowDown")
    opened.key(" ")
    assert settle(opened) == "1"
    assert opened.evaluate("playground.saw.canvas.getAttribute('aria-label')").endswith(
        "predicted 1"
    )


def test_every_control_has_a_name_and_is_reached_by_tab(opened):
    unnamed = opened.evaluate(
        "[...document.querySelectorAll('#playground-root :is(button, input, select, "
        "canvas[tabindex])')].filter((e) => !(e.getAttribute('aria-label') ||"
        "e.textContent.trim() || (e.labels && e.labels.length))).map((e) => e.outerHTML)"
    )
    assert unnamed == []
    opened.evaluate("document.querySelector('.pad').focus()")
    reached = set()
    for _ in range(60):
        opened.key("Tab")
        reached.add(
            opened.evaluate("document.activeElement.id || document.activeElement.className")
        )
    assert {"pg-file", "pg-explained", "pg-window", "pg-stride", "pg-epsilon", "pg-target",
            "pg-layer", "pg-unit", "pg-product", "chosen"} <= reached  # fmt: skip


def test_keys_work_inside_and_a_dialog_lists_them(opened):
    opened.evaluate("document.querySelector('.examples button').focus()")
    opened.key("]")
    settle(opened)
    assert opened.evaluate("playground.state.image") == "1"
    before = opened.evaluate("playground.state.epsilon")
    opened.key("+")
    opened.key("7")
    settle(opened)
    assert opened.evaluate("playground.state.epsilon") == pytest.approx(before + 0.01)
    assert opened.evaluate("document.getElementById('pg-target').value") == "7"
    opened.key("x")
    assert opened.evaluate("playground.state.target") is None
    opened.key("?")
    assert opened.evaluate("document.querySelector('.playground dialog').open")
    opened.key("Escape")
    assert not opened.evaluate("document.querySelector('.playground dialog').open")
    assert opened.evaluate("playground.state.image") == "1"
    opened.evaluate("document.activeElement.blur()")
    opened.key("x")
    opened.key("5")
    assert opened.evaluate("playground.state.target") is None
    settle(opened)


def test_the_attack_follows_the_slider(opened, digits):
    success = []
    for epsilon in ("0", "0.05", "0.3"):
        set_value(opened, "#pg-epsilon", epsilon)
        settle(opened)
        change = opened.evaluate(
            "Math.max(...playground.after.map((v, i) => Math.abs(v - playground.image[i])))"
        )
        assert change <= float(epsilon) + 1e-6
        success.append(opened.evaluate("document.querySelector('.verdict').dataset.success"))
    assert success[0] == "false" and success[-1] == "true"
    set_value(opened, "#pg-target", "3")
    settle(opened)
    assert opened.evaluate("document.getElementById('playground-root').dataset.attack") == "3"
    assert bars(opened)[3, 1] > 0.5


def test_explanations_follow_the_class_and_the_window(opened):
    total = "document.getElementById('playground-root').dataset.windows"
    assert opened.evaluate(total) == "64"
    set_value(opened, "#pg-window", "14")
    set_value(opened, "#pg-stride", "14")
    settle(opened)
    assert opened.evaluate(total) == "4"
    before = opened.evaluate("[...playground.saliencyMap]")
    set_value(opened, "#pg-explained", "2")
    settle(opened)
    assert opened.evaluate("[...playground.saliencyMap]") != before
    opened.evaluate("playground.occlusion.canvas.focus()")
    opened.key("ArrowRight")
    words = opened.evaluate("playground.occlusion.fact.textContent")
    assert re.match(r"Hidden at row \d+, column \d+: 2 [\d.]+\u00a0%", words), words
    assert opened.evaluate("playground.saw.frames.children.length") == 1


def test_maps_say_value_and_receptive_field_and_the_arithmetic_adds_up(opened):
    set_value(
        opened,
        "#pg-layer",
        opened.evaluate("document.querySelectorAll('#pg-layer option')[3].textContent"),
    )
    assert "conv2" in opened.evaluate("playground.state.layer")
    set_value(opened, "#pg-unit", "5")
    settle(opened)
    opened.evaluate("playground.layers.large.canvas.focus()")
    opened.key("ArrowRight")
    words = opened.evaluate("playground.layers.large.fact.textContent")
    assert re.match(r"Row 7, column 8: .*Sees rows 11 to 18 and columns 13 to 20 of", words), words
    opened.until(
        "playground.arithmetic.found?.column === 8 && playground.arithmetic.found.unit === 5"
    )
    sums = opened.evaluate(
        "(() => { const f = playground.arithmetic.found; return [f.total, f.bias + f.channels"
        ".reduce((all, c) => all + c.values.reduce((s, v, i) => s + v * c.weights[i], 0), 0)]; })()"
    )
    assert sums[0] == pytest.approx(sums[1], abs=1e-5)
    value = float(re.search(r": ([−\d.]+)\.", words)[1].replace("−", "-"))
    assert value == pytest.approx(sums[0], abs=1e-3)


def test_the_address_brings_everything_back(opened, page):
    opened.drag(".pad", [(0.3, 0.2), (0.7, 0.2), (0.4, 0.8)])
    set_value(opened, "#pg-epsilon", "0.2")
    set_value(opened, "#pg-target", "8")
    set_value(opened, "#pg-window", "10")
    set_value(
        opened,
        "#pg-layer",
        opened.evaluate("document.querySelectorAll('#pg-layer option')[3].textContent"),
    )
    set_value(opened, "#pg-unit", "9")
    settle(opened)
    seen = (
        "JSON.stringify([playground.state, [...playground.image],"
        "document.querySelector('.verdict').textContent])"
    )
    before = opened.evaluate(seen)
    hash_ = opened.until("location.hash.includes('u=9') && location.hash")
    opened.open(page + hash_)
    opened.until(DONE)
    assert opened.evaluate(seen) == before
    for damaged in (
        "#playground:i=zz!&e=9&l=nothing&u=-1&w=999&s=x&t=77&p=1,b",
        "#playground:%",
        "#after",
    ):
        opened.open(page + damaged)
        opened.until(DONE)
        assert opened.evaluate("playground.state.epsilon") == 0.1


def test_an_image_file_is_dropped_and_a_damaged_one_is_said_to_be_damaged(opened, digits, tmp_path):
    _, images, _ = digits
    good, bad = tmp_path / "seven.png", tmp_path / "<b>bad.png"
    pixels = (images[3, 0] * 255).byte().numpy()
    Image.fromarray(255 - np.kron(pixels, np.ones((4, 4), dtype=np.uint8))).save(good)
    bad.write_bytes(good.read_bytes()[:60])
    opened.drop(".pad", good)
    opened.until("playground.state.image === null")
    dropped = settle(opened)
    opened.click(".examples button:nth-child(4)")
    assert settle(opened) == dropped
    opened.drop(".pad", bad)
    opened.until(f"{STATUS}.includes('cannot be shown')")
    assert opened.evaluate(STATUS).startswith("<b>bad.png")
    opened.click(".examples button:nth-child(1)")
    assert settle(opened)


def test_a_killed_worker_is_replaced_by_a_fresh_one_and_then_by_the_page(opened):
    engine = "document.getElementById('playground-root').dataset.engine"
    kill = "playground.client.silence = 1500; playground.client.worker.terminate()"
    opened.evaluate(kill)
    set_value(opened, "#pg-epsilon", "0.3")
    opened.until("playground.client.workers === 2")
    settle(opened)
    assert opened.evaluate("document.querySelector('.verdict').dataset.success") == "true"
    assert opened.evaluate(engine) == "worker"
    assert opened.evaluate("playground.place.textContent") == ""
    # Killed again at once, while nothing but one sum of a convolution is asked for.
    opened.evaluate(f"{kill}; playground.arithmetic.found = null; playground.askArithmetic("
                    "playground.layers.layer)")  # fmt: skip
    opened.until(f"{engine} === 'page' && playground.arithmetic.found")
    assert "runs in the page itself" in opened.evaluate("playground.place.textContent")
    opened.click(".examples button:nth-child(3)")
    assert settle(opened)
    assert opened.evaluate("playground.client.workers") == 2


@pytest.mark.slow
def test_workers_that_are_killed_long_after_one_another_are_all_replaced(opened):
    opened.evaluate("playground.client.silence = 1500; playground.client.calm = 0")
    for killed in (1, 2):
        opened.evaluate("playground.client.worker.terminate()")
        opened.click(f".examples button:nth-child({killed + 1})")
        opened.until(f"playground.client.workers === {killed + 1}")
        settle(opened)
    assert opened.evaluate("document.getElementById('playground-root').dataset.engine") == "worker"
    # Quiet afterwards: nothing is owed, so nothing is given up.
    assert opened.evaluate("playground.client.owed") == 0


def test_without_workers_the_page_computes_itself(browser, page):
    script = browser.send("Page.addScriptToEvaluateOnNewDocument", source="delete window.Worker")
    try:
        browser.open(page)
        browser.until(DONE)
        assert (
            browser.evaluate("document.getElementById('playground-root').dataset.engine") == "page"
        )
        assert browser.complaints() == []
    finally:
        browser.send("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])


def test_of_fifty_events_a_second_the_last_one_counts(opened):
    opened.evaluate(
        "(() => { let n = 0; const e = document.querySelector('#pg-epsilon');"
        "const move = (to) => { e.value = to; e.dispatchEvent(new Event('input')); };"
        "const timer = setInterval(() => { move((n % 40) / 100); if (++n === 100) {"
        "move(0.07); clearInterval(timer); globalThis.moved = true; } }, 20); })()"
    )
    opened.until("globalThis.moved", patience=4 * PATIENCE)
    settle(opened)
    change = opened.evaluate(
        "Math.max(...playground.after.map((v, i) => Math.abs(v - playground.image[i])))"
    )
    assert opened.evaluate("playground.state.epsilon") == 0.07
    assert change == pytest.approx(0.07, abs=1e-5)


def test_nothing_is_wider_than_a_phone(opened, tmp_path):
    opened.resize(400, 900)
    wide = opened.evaluate(
        "[document.documentElement.scrollWidth, ...[...document.querySelectorAll('#playground *')]"
        ".filter((e) => e.getBoundingClientRect().right > 400.5 && !e.closest('.scroll, .file'))"
        ".map((e) => e.className + ' ' + e.tagName)]"
    )
    assert wide == [400]


def test_dark_pages_and_paper(opened):
    color = "getComputedStyle(document.querySelector('#playground')).backgroundColor"
    light = opened.evaluate(color)
    opened.media(scheme="dark")
    assert opened.evaluate(color) != light
    opened.media(kind="print")
    shown = opened.evaluate(
        "[...document.querySelectorAll('#playground-root .controls')]"
        ".filter((e) => e.getBoundingClientRect().height > 0).length"
    )
    assert shown == 0
    opened.media()


def test_nothing_but_the_page_s_own_scripts_runs(opened):
    tried = opened.evaluate(
        """(() => {
          const out = [];
          const attempt = (what) => {
            try { what(); out.push('let through'); } catch { out.push('refused'); }
          };
          attempt(() => { document.createElement('p').innerHTML = '<b>x</b>'; });
          attempt(() => { new Worker('data:text/javascript,0'); });
          attempt(() => { trustedTypes.createPolicy('mine', { createHTML: (x) => x }); });
          attempt(() => { document.createElement('script').textContent = 'hacked = 1'; });
          return out;
        })()"""
    )
    assert tried == ["refused"] * 4
    fetched = opened.evaluate("fetch('https://example.com/').then(() => 'sent', () => 'refused')")
    assert fetched == "refused"
    opened.events.clear()  # the refusals are in the console


def test_a_color_network_and_a_layerless_one_have_their_page(browser, tmp_path):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 12, 12)).eval()
    classifier = Classifier.wrap(net, input_shape=(3, 8, 12))
    images = torch.rand(2, 3, 8, 12).mul(255).round() / 255
    made = write_page(tmp_path, classifier, images, [-1, 3])
    browser.open(made.path.as_uri())
    browser.until(DONE)
    assert browser.complaints() == []
    assert browser.evaluate("document.querySelectorAll('.tiles.small figure').length") == 6
    assert browser.evaluate("playground.cam.root.hidden")
    rows = browser.evaluate("document.querySelectorAll('.probabilities tbody tr').length")
    assert 5 <= rows <= 10
