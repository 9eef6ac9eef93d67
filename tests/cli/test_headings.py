"""Pages that commands write say in their heading what they are about."""

import shlex

import pytest

from convscope.cli import main


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("attack fgsm M digits:test/0 --epsilon 0.1", "Adversarial examples by fgsm"),
        ("attack ddn M digits:test/0 --steps 2", "Adversarial examples by ddn"),
        ("inspect M digits:test/0 --show saliency", "Explanations of digits:test/0"),
        ("inspect M digits:test/0-1 --show saliency", "Explanations of 2 images"),
        ("inspect M --units conv1:0 --steps 1", "Units of conv1"),
        ("inspect M --trust --data digits --count 2 --show saliency",
         "Which explanations to trust: digits"),
        ("attack transfer M mnist-conv2 --data digits --count 2", "Model transfer"),
    ],
)  # fmt: skip
def test_a_page_is_headed_by_what_it_shows(line, heading, tmp_path):
    words = ["mnist-conv1" if word == "M" else word for word in shlex.split(line)]
    page = tmp_path / "page.html"
    assert main([*words, "--out", str(page)]) == 0
    assert f"<h1>{heading}</h1>" in page.read_text()


def test_a_page_of_explanations_names_the_network(tmp_path):
    page = tmp_path / "page.html"
    words = ["inspect", "mnist-conv1", "digits:test/0", "--show", "saliency", "--out", str(page)]
    assert main(words) == 0
    text = page.read_text()
    assert "mnist-conv1" in text[text.index("<h1>") : text.index("<section")]
