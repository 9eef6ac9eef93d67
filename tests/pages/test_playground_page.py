"""A page with a network in a notebook: what its frame may do, and what is refused."""

import html
import re
from dataclasses import replace

import pytest
import torch

from convscope import Classifier
from convscope.data import open_dataset
from convscope.errors import ModelContractError, UsageError
from convscope.models import load
from convscope.pages import playable_page
from convscope.studies import audit

HOSTILE = '"></iframe><script>hacked = 1</script>&quot;'


@pytest.fixture(scope="module")
def made():
    classifier = load("mnist-conv1")
    names = (HOSTILE, *classifier.class_names[1:])
    torch.manual_seed(0)
    images = torch.rand(20, 1, 28, 28).mul(255).round() / 255
    labels = torch.arange(20) % 10
    return playable_page(replace(classifier, class_names=names), images, labels, title=HOSTILE)


def srcdoc(text):
    """What a browser takes for the page in the frame."""
    return html.unescape(re.fullmatch(r'<iframe [^<>]*? srcdoc="([^"]*)"[^<>]*></iframe>', text)[1])


def test_a_cell_holds_one_frame_with_scripts_and_no_origin(made):
    text = made._repr_html_()
    assert text.startswith('<iframe sandbox="allow-scripts" title="Playground" srcdoc="')
    assert text.count("<iframe") == 1 == text.count("</iframe>") and "<script" not in text
    assert srcdoc(text) == made.html
    assert "height: 720px" in text and "allow-same-origin" not in text
    assert len(repr(made)) < 300 and "MB" in repr(made)


def test_the_page_offers_images_and_keeps_its_policy(made):
    assert "default-src &#39;none&#39;" in made.html or "default-src 'none'" in made.html
    assert made.html.count('"name":"image ') == 12
    assert made.network.compared == 20
    assert "<script>hacked" not in made.html


def test_it_is_saved_as_a_file(made, tmp_path):
    out = made.save(tmp_path / "page.html")
    assert out.read_text(encoding="utf-8") == made.html
    with pytest.raises(UsageError, match="exists") as refused:
        made.save(out)
    assert refused.value.code == "U13"
    made.save(out, force=True)


def test_a_network_for_a_page_shows_itself_and_prints_in_a_line(made, browser, tmp_path):
    text = made.network._repr_html_()
    page = srcdoc(text)
    assert f'id="playground-weights">{made.network.weights}</script>' in page
    assert "<script>hacked" not in page and '"examples":[]' in page
    assert repr(made.network).startswith("<PlayableNetwork: a network for a page, 0.")
    assert len(repr(made.network)) < 300
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><meta charset='utf-8'>{text}", encoding="utf-8")
    browser.open(notebook.as_uri())
    with browser.inside():
        root = "document.getElementById('playground-root')"
        browser.until(f"{root}?.dataset.prediction")
        assert browser.evaluate(f"{root}.dataset.engine") == "worker"
        assert browser.evaluate("origin") == "null"
    assert browser.complaints() == []


def test_the_result_of_an_audit_shows_its_page_and_plays_if_that_does(tmp_path):
    dataset = open_dataset("digits")
    for playable in (False, True):
        found = audit(
            load("mnist-conv1"), dataset, out_folder=tmp_path / str(playable), sections=["limits"],
            playable=playable,
        )  # fmt: skip
        page = srcdoc(found._repr_html_())
        assert ('id="playground-root"' in page) == playable
        assert "Content-Security-Policy" in page and '<section id="limits">' in page
        assert repr(found).startswith("<AuditResult: ") and "\n" not in repr(found)
    (found.folder / "report.json").unlink()
    assert found._repr_html_() is None, "the sentence is shown"


def test_what_is_too_large_for_a_notebook_shows_its_sentence(made, monkeypatch):
    monkeypatch.setattr("convscope.pages._playground_page.LARGEST_FRAME", 90_000)
    assert made.network._repr_html_() is None


def test_what_is_too_large_is_refused_with_its_size():
    classifier = load("mnist-conv1")
    images = torch.rand(2, 1, 28, 28)
    with pytest.raises(ModelContractError, match=r"the page with the network has 0\.\d MB") as one:
        playable_page(classifier, images, largest=90_000)
    assert one.value.code == "M28" and "at most 0.1 MB" in str(one.value)
    big = Classifier.wrap(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 4000)),
        input_shape=(1, 28, 28),
    )
    with pytest.raises(ModelContractError, match="the network needs") as two:
        playable_page(big, images)
    assert two.value.code == "M28"


def test_large_images_are_few_and_labels_may_be_missing():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 100 * 100, 2)).eval()
    classifier = Classifier.wrap(net, input_shape=(3, 100, 100))
    page = playable_page(classifier, torch.rand(5, 3, 100, 100))
    assert page.html.count('"name":"image ') == 2 and '"label":-1' in page.html
    with pytest.raises(UsageError, match="labels"):
        playable_page(classifier, torch.rand(5, 3, 100, 100), torch.tensor([0, 1]))


def test_the_network_runs_inside_a_notebook_and_reaches_nothing_of_it(made, browser, tmp_path):
    notebook = tmp_path / "notebook.html"
    notebook.write_text(
        "<!doctype html><meta charset='utf-8'><title>secret</title><script>hacked = 0</script>"
        f"<body>{made._repr_html_()}",
        encoding="utf-8",
    )
    browser.open(notebook.as_uri())
    with browser.inside():
        root = "document.getElementById('playground-root')"
        browser.until(f"{root}?.dataset.prediction")
        assert browser.evaluate("origin") == "null"
        assert browser.evaluate(f"{root}.dataset.engine") == "worker"
        assert browser.evaluate("document.querySelector('.tour-link').textContent").endswith(
            "8 steps"
        )
        reached = "(() => { try { return parent.document.title; } catch (e) { return e.name; } })()"
        assert browser.evaluate(reached) == "SecurityError"
        assert browser.evaluate("typeof hacked") == "undefined"
        browser.evaluate(
            "(() => { const e = document.getElementById('pg-epsilon'); e.value = 0.3;"
            "e.dispatchEvent(new Event('input')); })()"
        )
        browser.until(f"{root}.dataset.done === String(playground.client.newest)")
        assert browser.evaluate("Math.max(...playground.after)") <= 1
        # Links to places of the page stay in the frame, whose address begins with about:.
        browser.evaluate("document.querySelector('.tour-link a').click()")
        browser.until("location.href === 'about:srcdoc#tour/1'")
        browser.evaluate("document.querySelector('nav a[href=\"#Glossary\"]').click()")
        browser.until("location.href === 'about:srcdoc#Glossary'")
    assert browser.complaints() == []
    assert browser.evaluate("hacked") == 0
    assert browser.evaluate("document.querySelectorAll('iframe').length") == 1
