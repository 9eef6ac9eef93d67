"""What tests of pages do again and again: write one, wait for it, set its controls."""

import numpy as np

from convscope.playground import example, page_data, playable_network
from convscope.reports import Report, render

PATIENCE = 120

DONE = (
    "!playground.asking && !playground.waiting &&"
    "document.getElementById('playground-root').dataset.done === String(playground.client.newest)"
)
STATUS = "document.querySelector('.playground .status').textContent"


def write_page(folder, classifier, images, labels, **more):
    made = playable_network(classifier, images)
    report = Report(title="A page", generator="convscope")
    section = report.section("playground", "Playground", "The network in the page.")
    examples = [
        example(image, f"test image {i}", label)
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    section.playground(page_data(made, examples, epsilon=0.1, **more), made.weights)
    report.section("after", "After").text("More of the page.")
    return render(report, folder / "page.html")


def settle(browser):
    """Wait until everything asked for is on the page; returns what was predicted."""
    browser.until(DONE)
    return browser.evaluate("document.getElementById('playground-root').dataset.prediction")


def bars(browser):
    """Percentages of the table: before and after."""
    cells = browser.evaluate(
        "[...document.querySelectorAll('.probabilities tbody tr')].map((row) =>"
        "[...row.querySelectorAll('.share')].map((share) => parseFloat(share.textContent)))"
    )
    return np.array(cells) / 100


def set_value(browser, selector, value):
    browser.evaluate(
        f"(() => {{ const e = document.querySelector('{selector}'); e.value = '{value}';"
        "e.dispatchEvent(new Event('input', {bubbles: true}));"
        "e.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
