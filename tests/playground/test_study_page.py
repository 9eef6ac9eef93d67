"""A study whose page holds its network: what is in it, what is refused, what a kill leaves."""

import json
import re
from pathlib import Path

import pytest
import torch

from convscope import Classifier
from convscope.cli import main
from convscope.data import open_dataset
from convscope.errors import DataError
from convscope.models import load
from convscope.studies import STUDIES, QuestionSpec, StudyContent, StudySpec, run_study
from convscope.training import Interrupted

from .test_page import DONE, bars, settle

CALLS = []
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "studies.md"


def setup(data):
    import convscope

    dataset = convscope.open_dataset(data)  # noqa: F841


def first(study, question):
    CALLS.append("first")
    question.number("images", len(study.dataset().test))
    question.find("The first is answered.")


def second(study, question):
    CALLS.append("second")
    question.find("The second is answered.")


def killed(study, question):
    raise KeyboardInterrupt


def small(study):
    CALLS.append("network")
    return load("mnist-conv1")


def register(*answers, network=small):
    STUDIES["toy"] = StudySpec(
        StudyContent(
            setup=setup,
            network=network,
            questions=tuple(
                QuestionSpec(name=name, number="9", title="Q", answer=answer, rows=("002.9",))
                for name, answer in answers
            ),
        ),
        "A toy.", title="A toy", document="002", data=("digits", "digits"),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def toy():
    CALLS.clear()
    register(("first", first), ("second", second))
    yield
    del STUDIES["toy"]


def holds_network(folder):
    """Whether page and folder hold a network; both say the same."""
    page = (folder / "report.html").read_text()  # the listing at its end holds this file
    inside = '<script type="text/plain" id="playground-weights">' in page
    assert inside == (folder / "playground" / "weights.txt").is_file()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert inside == ("worker-src" in policy) and "unsafe" not in policy
    return inside


def test_without_the_flag_nothing_is_embedded_and_no_network_is_made(tmp_path):
    run_study("toy", tmp_path / "s", fast=True)
    assert not holds_network(tmp_path / "s") and CALLS == ["first", "second"]
    sections = json.loads((tmp_path / "s" / "report.json").read_text())["sections"]
    assert "playground" not in [section["id"] for section in sections]


def test_the_network_of_the_study_predicts_in_its_page(tmp_path, browser):
    found = run_study("toy", tmp_path / "s", fast=True, playable=True)
    assert found.unplayable == "" and holds_network(tmp_path / "s")
    shown = found._repr_html_()
    assert shown.startswith('<iframe sandbox="allow-scripts" title="Report"')
    assert "playground-weights" in shown and "<script" not in shown
    page = found.page.read_text()
    assert re.search(r"<h2>Playground</h2>", page)
    assert page.index('id="overview"') < page.index('id="playground"') < page.index('id="first"')
    browser.open(found.page.as_uri())
    browser.until(DONE)
    held = json.loads((tmp_path / "s" / "playground" / "playground.json").read_text())
    rows = [int(one["name"].split()[-1]) for one in held["examples"]]
    images = open_dataset("digits").test.to_float(torch.tensor(rows))
    with load("mnist-conv1").probe() as probe:
        truth = probe.logits(images).softmax(dim=1)
    for place in range(4):
        browser.click(f".examples button:nth-child({place + 1})")
        assert settle(browser) == str(int(truth[place].argmax()))
        assert abs(bars(browser)[:, 0] - truth[place].numpy()).max() <= 1e-3 + 6e-4
    assert browser.complaints() == [] and browser.requests() == []


def test_a_half_done_study_goes_on_with_and_without_the_network(tmp_path):
    folder = tmp_path / "s"
    register(("first", first), ("second", killed))
    with pytest.raises(KeyboardInterrupt):
        run_study("toy", folder, fast=True, playable=True)
    assert not holds_network(folder)
    register(("first", first), ("second", second))
    plain = run_study("toy", folder, fast=True)
    assert plain.recalled == 1 and not holds_network(folder)
    playable = run_study("toy", folder, fast=True, playable=True)
    assert playable.recalled == 2 and holds_network(folder)
    again = run_study("toy", folder, fast=True)
    assert again.recalled == 2 and not holds_network(folder)
    assert CALLS == ["first", "second", "network"]
    assert plain.numbers["questions"] == playable.numbers["questions"]


def test_a_playable_study_that_is_killed_goes_on_plain_or_playable(tmp_path):
    folder = tmp_path / "s"
    run_study("toy", folder, fast=True, only=["first"], playable=True)
    assert holds_network(folder)
    register(("first", first), ("second", killed))
    with pytest.raises(KeyboardInterrupt):
        run_study("toy", folder, fast=True, playable=True)
    register(("first", first), ("second", second))
    assert run_study("toy", folder, fast=True, playable=True).recalled == 1
    assert holds_network(folder)


def odd(study):
    net = torch.nn.Sequential()
    net.add_module("flat", torch.nn.Flatten())
    net.add_module("odd-layer", torch.nn.Tanhshrink())
    net.add_module("dense", torch.nn.Linear(784, 10))
    return Classifier.wrap(net, input_shape=(1, 28, 28))


def large(study):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 4000),
                              torch.nn.Linear(4000, 10))  # fmt: skip
    return Classifier.wrap(net, input_shape=(1, 28, 28))


def missing(study):
    raise DataError("the files are not here", hint="get them")


def buggy(study):
    raise ValueError("</script><img src=x onerror=alert(1)>")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (odd, "cannot run odd-layer"),
        (large, r"needs \d.\d MB inside a page.*at most 1.5 MB"),
        (missing, "the files are not here.*get them"),
        (buggy, "ValueError: &lt;/script&gt;"),
    ],
)
def test_a_network_that_cannot_be_in_the_page_is_a_sentence_there(tmp_path, capsys, network, words):
    register(("first", first), network=network)
    line = ["study", "toy", "--fast", "--playable", "--out", str(tmp_path / "s")]
    assert main(line) == 8
    said = capsys.readouterr().err
    assert "warning: toy: the network is not in the page" in said and "no playground in toy" in said
    assert not holds_network(tmp_path / "s")
    page = (tmp_path / "s" / "report.html").read_text()
    part = page[page.index('<section id="playground">') : page.index('<section id="first">')]
    assert re.search(words, part, re.DOTALL), part
    assert "The first is answered." in page and "<img src=x" not in page
    assert main(line[:3] + line[4:]) == 0


def test_a_training_that_is_stopped_is_said_to_go_on(tmp_path):
    def stopped(study):
        raise Interrupted("stopped after step 3", hint="--resume")

    register(("first", first), network=stopped)
    with pytest.raises(Interrupted, match="network of the playground; everything is saved"):
        run_study("toy", tmp_path / "s", fast=True, playable=True)
    register(("first", first))
    assert run_study("toy", tmp_path / "s", fast=True, playable=True).recalled == 1


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "toy"])
def test_the_documentation_names_the_network_of_a_study_as_the_record_does(name):
    about = STUDIES[name].network.__doc__.splitlines()[0]
    assert f"| `{name}` | {about} |" in DOCUMENTATION.read_text()
