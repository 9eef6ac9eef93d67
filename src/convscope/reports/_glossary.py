"""Words of the glossary on a page: marked where a section has them first, explained at its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape

from convscope.glossary import GLOSSARY, Term, find_terms
from convscope.reports._text import runs


class Marker:
    """Marks words, section by section, and remembers which a page needs.

    What it returns is HTML; all text in it is escaped.
    """

    def __init__(self) -> None:
        self._here: set[str] = set()
        self._used: set[str] = set()

    def section(self) -> None:
        """What was marked before is marked once again from here on."""
        self._here = set()

    def text(self, text: str) -> Markup:
        """A text with buttons that open what a word means."""
        out, end = [], 0
        for start, stop, term in find_terms(text):
            word = text[start:stop]
            if term.key in self._here:
                continue
            self._here.add(term.key)
            self._used.add(term.key)
            out += [escape(text[end:start]), _BUTTON.format(id=address(term), word=word)]
            end = stop
        return Markup("").join([*out, escape(text[end:])])

    def paragraphs(self, paragraphs: list[list[tuple[str, bool]]]) -> list[list[tuple[str, bool]]]:
        """What `runs` made, marked but for code."""
        return [
            [(text if code else self.text(text), code) for text, code in paragraph]
            for paragraph in paragraphs
        ]

    def mention(self, text: str) -> None:
        """A script of the page will show this text, and mark it."""
        self._used |= {term.key for _, _, term in find_terms(text)}

    def mention_all(self) -> None:
        """A script of the page may show any text, and mark it."""
        self._used |= {term.key for term in GLOSSARY if term.forms}

    def blocks(self, blocks: Iterable[dict[str, Any]]) -> None:
        """Mark the prose of blocks as `Reader.blocks` makes them: texts, captions, heads."""
        for block in blocks:
            self._block(block)

    def _block(self, block: dict[str, Any]) -> None:
        match block["type"]:
            case "text" | "note":
                block["paragraphs"] = self.paragraphs(block["paragraphs"])
            case "list":
                block["items"] = self.paragraphs(block["items"])
            case "facts":
                for item in block["items"]:
                    item["label"] = self.text(item["label"])
            case "table":
                for place, head in enumerate(block["columns"]):
                    head["title"] = self.text(head["title"])
                    if head["kind"] == "words":
                        for row in block["rows"]:
                            row[place]["text"] = self.text(row[place]["text"])
            case "grid":
                block["columns"] = [self.text(head) for head in block["columns"]]
            case "columns" | "details":
                self.blocks(block["blocks"])
        block["told"] = self.text(block.get("caption", ""))

    def terms(self) -> list[dict[str, Any]]:
        """The words that the page needs, in alphabetical order, as its template shows them."""
        return [shown_term(term) for term in GLOSSARY if term.key in self._used]


_BUTTON = Markup(
    '<button class="term" popovertarget="{id}" popovertargetaction="show" interestfor="{id}" '
    'aria-describedby="{id}">{word}</button>'
)
"""A browser opens what it names for a click, a touch, a key, and while a pointer or the focus rests
on it, and closes it with Escape: no script is needed."""


def address(term: Term) -> str:
    """The id of what explains a word; ids of sections and blocks have no capital letters."""
    return f"T-{term.key}"


def shown_term(term: Term) -> dict[str, Any]:
    """A record as the template shows it."""
    return {
        "id": address(term),
        "name": term.name,
        "text": runs(term.text),
        "forms": "|".join(term.forms),
        "source": term.source,
    }
