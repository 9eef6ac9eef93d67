"""The teacher's tour: its records, and the page in a real browser."""

import re

import pytest
import torch

from convscope import Classifier
from convscope.playground import example, page_data, playable_network
from convscope.reports import TOUR, Report, render

from .reader import DONE, settle, write_page

STEP = "document.querySelector('.tour .fact').textContent"
HERE = "document.activeElement.matches('.tour')"
THING = "document.querySelector('.toured')?.id"


@pytest.mark.parametrize("step", TOUR, ids=lambda step: step.title)
def test_a_step_says_little_and_asks_for_something(step):
    assert 2 <= len(re.findall(r"[.?](?= |$)", step.look)) <= 3
    for task in filter(None, (step.task, step.digits)):
        assert 1 <= len(re.findall(r"[.?](?= |$)", task)) <= 3 and len(task) < 200


def test_there_are_twelve():
    assert len(TOUR) == 12 == len({step.title for step in TOUR}) == len({s.target for s in TOUR})


@pytest.fixture(scope="module")
def lesson(digits, tmp_path_factory):
    """The address of a page that has everything that the tour goes to."""
    classifier, images, labels = digits
    made = playable_network(classifier, images)
    report = Report(title="A lesson", generator="convscope")
    report.tile("accuracy", "98 %")
    report.section("performance", "Performance").text("\n\n".join(["Text."] * 40))
    examples = [example(images[i], f"image {i}", labels[i]) for i in range(3)]
    section = report.section("playground", "Playground")
    section.playground(page_data(made, examples, epsilon=0.1), made.weights)
    for name in ("robustness", "limits"):
        report.section(name, name).text("\n\n".join(["Text."] * 40))
    return render(report, tmp_path_factory.mktemp("lesson") / "page.html").path.as_uri()


@pytest.fixture
def toured(browser, lesson):
    browser.resize(1280, 900)
    browser.media()
    browser.open(lesson)
    browser.until(DONE)
    yield browser
    assert browser.complaints() == [] and browser.requests() == []


def test_every_step_of_a_whole_page_is_there_and_in_view(toured):
    assert toured.evaluate("document.querySelector('.tour-link').textContent").endswith("12 steps")
    still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    toured.send("Emulation.setEmulatedMedia", media="", features=still)
    toured.click(".tour-link a")
    toured.until(HERE)
    for number, step in enumerate(TOUR, 1):
        assert toured.evaluate(STEP) == f"Step {number} of 12"
        assert toured.evaluate("location.hash") == f"#tour/{number}"
        assert toured.evaluate("document.getElementById('tour-title').textContent") == step.title
        assert toured.evaluate("document.getElementById('tour-look').textContent") == step.look
        task = toured.evaluate("document.getElementById('tour-task').textContent")
        assert task == f"Try it: {step.digits or step.task}"
        # At once: nothing moves slowly for those who do not want it.
        top, marked, wide = toured.evaluate(
            "(() => { const e = document.querySelector('.toured');"
            f"return [e.getBoundingClientRect().top, e.matches({step.target!r}),"
            "document.querySelectorAll('.toured').length]; })()"
        )
        assert -5 <= top < 450 and marked and wide == 1, step
        assert toured.evaluate(HERE)
        toured.key("n")
    assert toured.evaluate(STEP) == "Step 12 of 12"
    toured.media()


def test_keys_buttons_and_escape(toured):
    toured.evaluate("document.querySelector('.tour-link a').focus()")
    toured.key("Enter")
    toured.until(HERE)
    toured.key("ArrowRight")
    toured.key("n")
    assert toured.evaluate(STEP) == "Step 3 of 12"
    toured.key("ArrowLeft")
    toured.key("p")
    toured.key("p")
    assert toured.evaluate(STEP) == "Step 1 of 12"
    assert toured.evaluate("document.querySelector('.tour .buttons button').disabled")
    toured.click(".tour .buttons button:nth-child(2)")
    assert toured.evaluate(STEP) == "Step 2 of 12"
    toured.key("Escape")
    assert toured.evaluate("playground.tour.card.hidden") and toured.evaluate(THING) is None
    assert toured.evaluate("document.activeElement.matches('.tour-link a')")
    toured.until("location.hash.startsWith('#playground:')")


def test_the_task_is_done_with_the_tour_open(toured):
    toured.evaluate("location.hash = '#tour/7'")
    toured.until(f"{THING} === 'pg-part-fool'")
    toured.click(".tour .buttons button:nth-child(3)")
    assert toured.evaluate("document.activeElement.id") == "pg-epsilon"
    before = toured.evaluate("playground.state.epsilon")
    toured.key("ArrowRight")
    settle(toured)
    assert toured.evaluate("playground.state.epsilon") > before
    toured.key("3")
    settle(toured)
    assert toured.evaluate("playground.state.target") == 3
    # The address still shows the step; the state comes into it when the tour is over.
    assert toured.evaluate("new Promise((go) => setTimeout(() => go(location.hash), 600))") == (
        "#tour/7"
    )
    toured.key("n")
    assert toured.evaluate(STEP) == "Step 8 of 12" and toured.evaluate(HERE)
    toured.key("Escape")
    toured.until("location.hash.includes('t=3')")
    assert toured.evaluate("Math.max(...playground.image)") > 0


def test_the_keys_are_listed_and_start_it(toured):
    toured.evaluate("document.querySelector('.examples button').focus()")
    toured.key("?")
    listed = toured.evaluate("document.querySelector('.playground dialog').textContent")
    assert "tour" in listed and "n and p" in listed
    toured.key("n")
    assert toured.evaluate("playground.tour.card.hidden")
    toured.key("Escape")
    toured.key("t")
    assert toured.evaluate(STEP) == "Step 1 of 12" and toured.evaluate(HERE)
    # What somebody types is no command.
    toured.evaluate("document.getElementById('pg-unit').focus()")
    toured.key("n")
    assert toured.evaluate(STEP) == "Step 1 of 12"
    toured.key("Escape")
    assert toured.evaluate("document.activeElement.matches('.examples button')")


@pytest.mark.parametrize(
    ("hash_", "step"),
    [("#tour/3", 3), ("#tour/12", 12), ("#tour/99", 12), ("#tour/0", 0), ("#tour/-1", 0),
     ("#tour/x<b>", 0), ("#tour/", 0), ("#tour/1.5", 0), ("#tour/1e9", 12)],
)  # fmt: skip
def test_the_address_opens_a_step(browser, lesson, hash_, step):
    browser.open(lesson + hash_)
    browser.until("!!globalThis.playground?.tour")
    assert browser.evaluate("playground.tour.at + 1") == step
    assert browser.evaluate("playground.tour.card.hidden") == (step == 0)
    if step:
        assert browser.evaluate("location.hash") == f"#tour/{step}" and browser.evaluate(HERE)
    browser.until(DONE)
    assert browser.complaints() == []


def test_what_a_page_lacks_is_not_counted(opened):
    assert opened.evaluate("document.querySelector('.tour-link').textContent").endswith("8 steps")
    opened.evaluate("location.hash = '#tour/1'")
    opened.until(f"{THING} === 'pg-part-image'")
    assert opened.evaluate(STEP) == "Step 1 of 8"
    for _ in range(9):
        opened.key("n")
    assert opened.evaluate(STEP) == "Step 8 of 8"
    assert opened.evaluate("[...document.querySelectorAll('.tour button')][1].textContent") == (
        "Finish"
    )
    opened.click(".tour .buttons button:nth-child(2)")
    assert opened.evaluate("playground.tour.card.hidden")


def test_other_classes_have_other_tasks(browser, tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(3))
    net(torch.zeros(1, 3, 8, 8))
    names = ("cat", "dog", "<b>ship</b>")
    classifier = Classifier.wrap(net.eval(), input_shape=(3, 8, 8), class_names=names)
    images = torch.rand(2, 3, 8, 8).mul(255).round() / 255
    made = write_page(tmp_path, classifier, images, [0, 1])
    browser.open(made.path.as_uri() + "#tour/1")
    browser.until(DONE)
    task = browser.evaluate("document.getElementById('tour-task').textContent")
    assert task == f"Try it: {TOUR[2].task}"


def test_it_fits_a_phone_and_paper(toured):
    toured.resize(400, 800)
    toured.evaluate("location.hash = '#tour/5'")
    toured.until(HERE)
    x, y, width, height = toured.evaluate(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.querySelector('.tour').getBoundingClientRect())"
    )
    assert x >= 0 and x + width <= 400 and y + height <= 800 and height <= 0.5 * 800
    assert toured.evaluate("document.documentElement.scrollWidth") == 400
    toured.media(kind="print")
    assert toured.evaluate("document.querySelector('.tour').getClientRects().length") == 0
    toured.media()
    toured.resize(1280, 900)
    toured.key("Escape")


def test_a_link_inside_the_page_leaves_the_drawing(toured):
    toured.drag(".pad", [(0.5, 0.2), (0.5, 0.8)])
    toured.until("playground.state.image === null")
    settle(toured)
    toured.evaluate("location.hash = '#limits'")
    assert (
        toured.evaluate("new Promise((go) => setTimeout(() => go(playground.state.image), 300))")
        is None
    )
