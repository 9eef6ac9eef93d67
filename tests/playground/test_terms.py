"""Words of the glossary on a page in a real browser: pointer, focus, touch, Escape, no script."""

import json
import time

import pytest

from convscope.reports import Report, render

OPEN = "[...document.querySelectorAll('[popover]:popover-open')].map((e) => e.id)"
TERM = "main p button.term"


@pytest.fixture
def still(browser, tmp_path):
    """A page without any script."""
    report = Report(title="A page")
    section = report.section("one", "One", "What the logits are, and the softmax.")
    section.text("\n\n".join(["Some text."] * 60))
    made = render(report, tmp_path / "still.html")
    assert "<script" not in made.path.read_text()
    browser.resize(1280, 900)
    browser.media()
    browser.open(made.path.as_uri())
    yield browser
    browser.resize(1280, 900)
    assert browser.complaints() == [] and browser.requests() == []


def point(browser, selector=None):
    """Move the mouse to the middle of an element, or away."""
    x, y = browser.point(selector, 0.5, 0.5) if selector else (2, 2)
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


def native(browser):
    """Whether this browser opens popovers for a resting pointer by itself."""
    return browser.evaluate("'interestForElement' in HTMLButtonElement.prototype")


def test_a_click_opens_the_word_beside_it_and_escape_closes_it(still):
    assert still.evaluate(OPEN) == []
    still.click(TERM)
    assert still.evaluate(OPEN) == ["T-logit"]
    gap = still.evaluate(
        "(() => { const a = document.querySelector('main p button.term').getBoundingClientRect();"
        "const b = document.getElementById('T-logit').getBoundingClientRect();"
        "return [b.top - a.bottom, b.left - a.left, b.width, b.right]; })()"
    )
    assert 0 <= gap[0] <= 10 and 0 <= gap[1] <= 12 and gap[2] <= 340 and gap[3] <= 1280
    still.key("Escape")
    assert still.evaluate(OPEN) == []


def test_the_keyboard_and_a_finger_open_it(still):
    still.evaluate(f"document.querySelector('{TERM}').focus()")
    still.key("Enter")
    assert still.evaluate(OPEN) == ["T-logit"]
    still.key("Escape")
    still.resize(400, 800, touch=True)
    still.drag(TERM, [(0.5, 0.5)], kind="touch")
    still.until(f"{OPEN}.length === 1")
    box = still.evaluate(
        "(({x, width}) => [x, x + width])"
        "(document.getElementById('T-logit').getBoundingClientRect())"
    )
    assert box[0] >= 0 and box[1] <= 400
    still.key("Escape")
    assert still.evaluate(OPEN) == []


def test_a_resting_pointer_and_the_focus_open_it(still):
    if not native(still):
        pytest.skip("this browser opens popovers for clicks only")
    point(still, TERM)
    still.until(f"{OPEN}.includes('T-logit')", patience=10)
    still.key("Escape")
    assert still.evaluate(OPEN) == []
    point(still)
    still.evaluate(f"document.querySelector('{TERM}').blur()")
    still.key("Tab")
    while still.evaluate("!document.activeElement.matches('main p button.term')"):
        still.key("Tab")
    still.until(f"{OPEN}.includes('T-logit')", patience=10)
    still.key("Escape")
    assert still.evaluate(OPEN) == []


def test_who_cannot_see_it_hears_the_explanation(still):
    found = still.send("Runtime.evaluate", expression=f"document.querySelector('{TERM}')")
    tree = still.send(
        "Accessibility.getPartialAXTree",
        objectId=found["result"]["objectId"], fetchRelatives=False,
    )["nodes"][0]  # fmt: skip
    assert tree["role"]["value"] == "button" and tree["name"]["value"] == "logits"
    assert tree["description"]["value"].endswith("A network's output for a class, before softmax.")


def test_the_list_below_is_there_to_be_read_and_printed(still):
    heights = "[...document.querySelectorAll('#Glossary li')].map((e) => e.offsetHeight)"
    assert min(still.evaluate(heights)) > 20
    still.media(kind="print")
    assert min(still.evaluate(heights)) > 20
    assert (
        still.evaluate(f"getComputedStyle(document.querySelector('{TERM}')).textDecorationLine")
        == "none"
    )


def words(browser, selector):
    return browser.evaluate(
        f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)"
    )


def test_the_playground_marks_its_words_part_by_part(opened):
    parts = "#playground-root > .part, #playground-root > .top"
    count = opened.evaluate(f"document.querySelectorAll('{parts}').length")
    found = []
    for part in range(1, count + 1):
        targets = opened.evaluate(
            f"[...document.querySelectorAll('#playground-root > :nth-child({part}) .term')]"
            ".map((e) => e.getAttribute('popovertarget'))"
        )
        assert len(targets) == len(set(targets))
        found += targets
    wanted = {"T-saliency", "T-grad-cam", "T-occlusion", "T-epsilon", "T-pgd", "T-feature-map",
              "T-receptive-field", "T-convolution"}  # fmt: skip
    assert wanted <= set(found)
    assert [
        key for key in found if not opened.evaluate(f"!!document.getElementById('{key}')")
    ] == []
    assert words(opened, "summary .term, label .term, a .term, button .term") == []
    opened.click("#playground-root h4 .term")
    assert opened.evaluate(OPEN) == ["T-saliency"]
    opened.key("Escape")
    assert opened.evaluate(OPEN) == []


def test_escape_in_an_explanation_clears_no_drawing(opened):
    opened.drag(".pad", [(0.5, 0.2), (0.5, 0.8)])
    opened.until("playground.state.image === null")
    opened.click("#playground-root h4 .term")
    opened.key("Escape")
    time.sleep(0.2)
    assert opened.evaluate("Math.max(...playground.image)") > 0


def test_browsers_without_interest_open_it_by_script(browser, page):
    """What other browsers do until they know `interestfor`, tried in one that is made to forget."""
    source = "delete HTMLButtonElement.prototype.interestForElement"
    script = browser.send("Page.addScriptToEvaluateOnNewDocument", source=source)
    try:
        browser.open(page)
        browser.until("!!globalThis.playground")
        browser.evaluate(
            "document.querySelectorAll('.term').forEach((e) => e.removeAttribute('interestfor'))"
        )
        point(browser, "#playground-root h4 .term")
        browser.until(f"{OPEN}.includes('T-saliency')", patience=10)
        point(browser)
        browser.until(f"{OPEN}.length === 0", patience=10)
        assert browser.complaints() == []
    finally:
        browser.send("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])
