"""The records of the glossary, and what is made of them."""

import re
import sys
from pathlib import Path

import pytest

from convscope.glossary import GLOSSARY, Term, find_terms

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("term", GLOSSARY, ids=lambda term: term.key)
def test_a_word_is_explained_in_one_or_two_plain_sentences(term):
    assert term.text.endswith(".") and 20 < len(term.text) <= 180
    assert len(re.findall(r"[.:] [A-Z]", term.text)) <= 1
    assert not re.search(r"[*<>\[]{2}|\]\(|https?:", term.text)
    assert term.text.count("`") % 2 == 0


def test_words_are_in_order_and_each_form_means_one_thing():
    names = [term.name for term in GLOSSARY]
    assert names == sorted(names, key=str.lower)
    assert len({term.key for term in GLOSSARY}) == len(GLOSSARY) > 70
    forms = [form.lower() for term in GLOSSARY for form in set(map(str.lower, term.forms))]
    assert len(forms) == len(set(forms))


def test_every_source_is_in_the_bibliography():
    page = (ROOT / "docs" / "bibliography.md").read_text()
    entries = re.findall(r'^([^"\n]*)"([^"]+)"\. ([^\n]*)', page, re.M)
    sourced = [term for term in GLOSSARY if term.source]
    assert len(sourced) > 20
    for term in sourced:
        who, title, year = re.fullmatch(r'(.*), "(.*)", (\d{4})', term.source).groups()
        known = [(a, end) for a, whole, end in entries if whole.startswith(title)]
        assert len(known) == 1 and year in known[0][1], term.source
        for author in re.split(r", | and others", who):
            assert author in known[0][0], term.source


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Robust accuracy is no accuracy.", ["robust accuracy", "accuracy"]),
        ("Logits, a logit; biologits and logit-like", ["logit", "logit"]),
        ("ε and L∞ ≤ 0.1, within L2", ["epsilon", "L-infinity norm", "L2 norm"]),
        ("l2-gradient-ascent, deepfool and smooth-grad", ["DeepFool", "SmoothGrad"]),
        ("the masks of a part: scores rise", []),
        ("", []),
    ],
)
def test_words_are_found_whole_and_the_longest_first(text, found):
    hits = find_terms(text)
    assert [term.name for _, _, term in hits] == found
    assert [text[a:b] for a, b, _ in hits] == [text[a:b].strip() for a, b, _ in hits]


def test_every_form_finds_its_word():
    for term in GLOSSARY:
        for form in term.forms:
            assert find_terms(f"see {form}, too") == [(4, 4 + len(form), term)]
    assert Term("a", "b").forms == ()


def test_the_page_of_the_documentation_is_made_from_the_records(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    import from_source

    page = (ROOT / "docs" / "glossary.md").read_text()
    assert re.findall(r"^% generated: ([\w-]+)$", page, re.M) == ["glossary"]
    made = from_source.GENERATED["glossary"]()
    for term in GLOSSARY:
        assert f"\n{term.name}\n  {term.text}\n" in made
    links = re.findall(r"\]\(#([\w-]+)\)", made)
    bibliography = (ROOT / "docs" / "bibliography.md").read_text()
    assert len(links) == sum(bool(term.source) for term in GLOSSARY)
    assert [key for key in links if f"({key})=" not in bibliography] == []
    assert "from_source" in sys.modules
