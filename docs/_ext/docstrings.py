"""Docstrings become pages: references, citations and error codes in them become links.

A name in single backticks is a link where the public API has exactly such a name, and plain code
otherwise: most of them are arguments. Names of other libraries stay plain, because their
inventories lie on the network. So the nitpicky mode judges what is meant as a link to a page or to
a name of this package.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from convscope.error_codes import CODES

CITED = re.compile(r'(?<![`\w])"([^"`]{3,}?)"(?!`)')
COURSE = re.compile(r"\b[Cc]ourse (?:documents?|assignments?|reports?)\b")
RAISED = re.compile(rf"\b({'|'.join(CODES)})\b")


def titles(bibliography: str) -> dict[str, str]:
    r"""Key by title, from the text of the bibliography.

    Example:
        >>> titles('(brown-2017)=\\nT. Brown et al. "Adversarial Patch". 2017.')
        {'adversarial patch': 'brown-2017'}
    """
    entries = re.findall(r'^\(([\w-]+)\)=\n[^"]*"([^"]+)"', bibliography, re.M)
    return {_plain(title): key for key, title in entries}


def key_of(cited: str, known: dict[str, str]) -> str:
    """The key of the entry whose title begins with what is cited; empty if there is none."""
    wanted = _plain(cited)
    return next((key for title, key in known.items() if title.startswith(wanted)), "")


def _plain(title: str) -> str:
    return " ".join(re.sub(r"[^\w ]", " ", title.lower()).split())


def with_links(
    app: Sphinx, what: str, name: str, member: Any, options: Any, lines: list[str]
) -> None:
    """Link citations, the course documents and error codes in a docstring."""
    known = app.env.config.bibliography_titles
    text = "\n".join(lines)
    if "Source" in text or what == "module":
        text = CITED.sub(lambda found: _citation(found, known), text)
        text = COURSE.sub(lambda found: f":ref:`{found[0]} <course-documents>`", text)
    lines[:] = _as_rst(text.split("\n"))
    raises = False
    for place, line in enumerate(lines):
        raises = line.startswith(":raises") or (raises and line.startswith((" ", "\t")))
        if raises:
            lines[place] = RAISED.sub(r":ref:`\1 <\1>`", line)


def _as_rst(lines: list[str]) -> list[str]:
    """Lines in which indented blocks below a paragraph, and bars, are set as they stand."""
    found: list[str] = []
    above, is_code, is_doctest = "", False, False
    for place, line in enumerate(lines):
        starts = line.startswith("  ") and place > 0 and not lines[place - 1].strip()
        if starts and above and not above.startswith((" ", ":", "..", "- ", "* ", ">>>")):
            found += [] if above.endswith("::") else ["::", ""]
            is_code = True
        is_code = is_code and (line.startswith(" ") or not line.strip())
        is_doctest = bool(line.strip()) and (is_doctest or line.lstrip().startswith(">>>"))
        found.append(line if is_code or is_doctest else with_bars(line))
        above = line if line.strip() else above
    return found


def with_bars(line: str) -> str:
    """A line whose ``|`` outside code mean themselves."""
    parts = re.split(r"(`+[^`]*`+)", line)
    parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
    return "".join(parts)


def _citation(found: re.Match[str], known: dict[str, str]) -> str:
    cited = " ".join(found[1].split())
    key = key_of(cited, known)
    return f":ref:`{cited} <{key}>`" if key else found[0]


def resolved(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """A link to the public name that is meant, or plain code."""
    if node.get("refdomain") != "py":
        return None
    target = str(node["reftarget"]).lstrip("~.")
    last = target.rpartition(".")[2]
    objects = env.domains.python_domain.objects
    near = [
        name
        for name in _by_last_word(objects).get(last, ())
        if "._" in target or name == target or name.endswith(f".{target}")
    ]
    if near:
        name = min(near, key=lambda one: (one.count("."), one))
        entry = objects[name]
        return make_refnode(
            app.builder, node["refdoc"], entry.docname, entry.node_id, [content], name
        )
    is_ours = target.startswith("convscope.") and node["reftype"] not in ("class", "obj")
    return None if is_ours else content


_WORDS: dict[str, list[str]] = {}


def _by_last_word(objects: dict[str, Any]) -> dict[str, list[str]]:
    """Full names by their last word; made anew when there are more."""
    if sum(map(len, _WORDS.values())) != len(objects):
        _WORDS.clear()
        for name in objects:
            _WORDS.setdefault(name.rpartition(".")[2], []).append(name)
    return _WORDS


def _read_titles(app: Sphinx, config: Any) -> None:
    text = (Path(app.srcdir) / "bibliography.md").read_text("utf-8")
    config.bibliography_titles = titles(text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Join the build."""
    app.add_config_value("bibliography_titles", {}, "env")
    app.connect("config-inited", _read_titles)
    app.connect("autodoc-process-docstring", with_links, priority=900)
    app.connect("missing-reference", resolved)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
