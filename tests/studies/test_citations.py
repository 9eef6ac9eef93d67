"""Course documents are cited everywhere in one way: author, title, institution, year."""

import ast
import re
from pathlib import Path

import pytest

import convscope
from convscope.studies import DOCUMENTS

SOURCE = Path(convscope.__file__).parent
ROOT = Path(__file__).parents[2]
VAGUE = re.compile(r"\bcourse (?:documents?|assignments?|reports?|on)\b", re.IGNORECASE)


def docstrings():
    """Place and text, in one line, of every docstring of the package."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = ast.get_docstring(node)
                if text:
                    name = getattr(node, "name", "module")
                    yield f"{path.relative_to(SOURCE)}: {name}", " ".join(text.split())


def test_a_document_that_is_named_is_cited_whole():
    """Its title or its author, wherever they stand."""
    cited = dict.fromkeys(DOCUMENTS, 0)
    for place, text in docstrings():
        if place.startswith("studies/_documents.py"):
            continue
        for key, document in DOCUMENTS.items():
            named = max(text.count(document.title), text.count(document.author or "CS 5787"))
            assert text.count(document.citation) == named, f"{place} names {key} otherwise"
            cited[key] += named
    assert all(count >= 3 for count in cited.values()), cited


def test_no_source_is_a_course_document_without_a_name():
    vague = [
        place
        for place, text in docstrings()
        if VAGUE.search(text.partition("Source:")[2])
        or (VAGUE.search(text) and not place.startswith(("studies/", "cli/_study.py")))
    ]
    assert vague == []


@pytest.mark.parametrize("key", DOCUMENTS)
def test_the_bibliography_has_the_same_facts(key):
    entry = (ROOT / "docs" / "bibliography.md").read_text().partition(f"(course-{key})=\n")[2]
    words = " ".join(entry.partition("\n\n")[0].split())
    document = DOCUMENTS[key]
    author = f"{document.author}. " if document.author else ""
    wanted = f'**{key}** {author}"{document.title}". {document.institution}, {document.year}.'
    assert words.startswith(wanted)


def test_the_page_of_the_studies_cites_them_the_same_way():
    page = (ROOT / "docs" / "studies.md").read_text()
    assert all(document.citation in page for document in DOCUMENTS.values())
