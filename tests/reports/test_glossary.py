"""Words of the glossary in a report: marked once per section, explained once per page."""

import re

import pytest

from convscope.glossary import GLOSSARY
from convscope.reports import Report, glossary_html, render

HOSTILE = '<img src=x onerror="alert(1)">'


def page(report, tmp_path, **settings):
    made = render(report, tmp_path / "page.html", **settings)
    assert made.refused == ()
    return made.path.read_text()


def marked(text):
    """Address and words of each button."""
    return re.findall(r'<button class="term" popovertarget="([^"]*)"[^>]*>([^<]*)</button>', text)


@pytest.fixture
def report():
    report = Report(title="Logits of a logit", subtitle="Softmax")
    report.tile("robust accuracy", "3 %", detail="of logits")
    report.alert("The accuracy is low.", level="warning", section="one")
    section = report.section("one", "Saliency", "Logits, and a logit once more.")
    section.finding = "The saliency is high."
    section.text("`softmax` of logits; the softmax of them.")
    section.table(
        ["stride", {"title": "what", "kind": "words"}],
        [["epsilon", f"within epsilon {HOSTILE}"]],
        caption=f"Padding {HOSTILE}",
    )
    section.code("pgd(epsilon=0.1)", caption="PGD, as a call.")
    section.facts({"Seed": "epsilon"})
    section = report.section("two", "Two", "A logit again.")
    with section.details("Epochs"):
        section.text("One epoch.")
    return report


def test_the_first_of_each_word_in_a_section_is_marked(report, tmp_path):
    text = page(report, tmp_path)
    assert marked(text) == [
        ("T-robust-accuracy", "robust accuracy"), ("T-accuracy", "accuracy"),
        ("T-saliency", "saliency"), ("T-logit", "Logits"), ("T-softmax", "softmax"),
        ("T-stride", "stride"), ("T-epsilon", "epsilon"), ("T-padding", "Padding"),
        ("T-pgd", "PGD"), ("T-seed", "Seed"), ("T-logit", "logit"), ("T-epoch", "epoch"),
    ]  # fmt: skip
    assert "<code>softmax</code>" in text and "pgd(epsilon=0.1)</code>" in text


def test_each_word_is_explained_once_and_nothing_else_is(report, tmp_path):
    text = page(report, tmp_path)
    explained = re.findall(r'<li><div popover id="([^"]*)"><b>', text)
    assert sorted(set(explained)) == sorted({key for key, _ in marked(text)})
    assert len(explained) == len(set(explained))
    for term in GLOSSARY:
        if f"T-{term.key}" in explained and "`" not in term.text:
            assert text.count(term.text.replace("'", "&#39;")) == 1
    assert '<a href="#Glossary">' in text and text.count('id="Glossary"') == 1
    for attribute in ("popovertarget", "interestfor", "aria-describedby"):
        assert set(re.findall(rf'{attribute}="([^"]*)"', text)) == set(explained)


def test_it_needs_no_script_and_changes_no_policy(report, tmp_path):
    text = page(report, tmp_path)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "script" not in policy and "<script" not in text and not re.search(r" on\w+=\"", text)
    assert not re.search(r' style="', text)


def test_text_beside_a_word_stays_text(report, tmp_path):
    text = page(report, tmp_path)
    assert "<img src=x" not in text
    assert text.count("&lt;img src=x onerror=&#34;alert(1)&#34;&gt;") >= 2
    assert 'aria-label="Padding &lt;img' in text
    assert text.index("<title>Logits of a logit</title>")


def test_a_page_without_such_words_has_no_glossary(tmp_path):
    report = Report(title="A page")
    report.section("one", "One").text("Nothing special: masks and parts.")
    assert "Glossary" not in page(report, tmp_path)
    assert "popover id" not in page(report, tmp_path)


def test_addresses_of_sections_and_words_cannot_be_the_same(tmp_path):
    report = Report(title="A page")
    report.section("t-logit", "One").text("A logit.")
    ids = re.findall(r' id="([^"]*)"', page(report, tmp_path))
    assert len(ids) == len(set(ids)) and {"t-logit", "T-logit"} <= set(ids)


def test_a_page_of_scripts_gets_all_words_with_their_forms():
    text = glossary_html()
    found = dict(re.findall(r'id="T-([^"]*)" data-forms="([^"]*)"', text))
    assert found == {term.key: "|".join(term.forms) for term in GLOSSARY if term.forms}


def test_it_is_small(report, tmp_path, monkeypatch):
    """Everything marked that can be: a page grows by less than 25 KB."""
    from convscope.reports import _glossary

    for term in GLOSSARY:
        report.sections[-1].text(" ".join(term.forms))
    whole = len(page(report, tmp_path))
    monkeypatch.setattr(_glossary, "find_terms", lambda text: [])
    assert 5_000 < whole - len(page(report, tmp_path)) < 25_000
