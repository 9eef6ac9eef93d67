"""Look through a built site: no dead link, and nothing that is loaded from elsewhere.

    python docs/check_site.py build/site

Links to other sites are fine; scripts, styles, pictures and fonts from other sites are not, because
the site has to work without a network.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {
    ("script", "src"), ("link", "href"), ("img", "src"), ("img", "srcset"), ("source", "src"),
    ("source", "srcset"), ("iframe", "src"), ("embed", "src"), ("object", "data"),
    ("video", "src"), ("audio", "src"), ("input", "src"), ("use", "href"),
}  # fmt: skip
"""Attributes whose address a browser fetches by itself."""
NOT_FETCHED = {"canonical", "next", "prev", "search", "author", "index", "alternate"}
IN_STYLES = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
IN_SCRIPTS = re.compile(r"(?:fetch|importScripts|import)\(\s*['\"](https?:)?//")


class Page(HTMLParser):
    """Anchors, links and loads of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.styles: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what an element names and needs."""
        self._inside = tag if tag in ("style", "script") else ""
        given = {name: value or "" for name, value in attributes}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if "style" in given:
            self.styles.append(given["style"])
        fetched = tag != "link" or given.get("rel", "") not in NOT_FETCHED
        for name, value in given.items():
            if (tag, name) in LOADS and fetched:
                self.loads += [one.split()[0] for one in value.split(",") if one.strip()]

    def handle_data(self, data: str) -> None:
        """Keep style sheets in the page."""
        if self._inside == "style":
            self.styles.append(data)


def faults(folder: Path) -> list[str]:
    """What is wrong with the site in `folder`, a line each."""
    pages = {
        path: Page(path.read_text("utf-8"))
        for path in sorted(folder.rglob("*.html"))
        if "_static" not in path.relative_to(folder).parts  # Templates of the theme.
    }
    found = [] if pages else [f"{folder}: no pages"]
    for path, page in pages.items():
        name = path.relative_to(folder)
        for address in page.loads:
            found += [f"{name}: {fault}" for fault in _load_fault(path, address)]
        for text in page.styles:
            found += [f"{name}: {fault}" for fault in _style_faults(path, text)]
        for address in page.links:
            found += [f"{name}: {fault}" for fault in _link_fault(path, address, pages)]
    for path in sorted(folder.rglob("*.css")):
        name = path.relative_to(folder)
        found += [f"{name}: {fault}" for fault in _style_faults(path, path.read_text("utf-8"))]
    for path in sorted(folder.rglob("*.js")):
        if IN_SCRIPTS.search(path.read_text("utf-8", errors="replace")):
            found.append(f"{path.relative_to(folder)}: a script fetches from elsewhere")
    return found


def _elsewhere(address: str) -> bool:
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in ("http", "https")


def _load_fault(page: Path, address: str) -> list[str]:
    if address.startswith("data:"):
        return []
    if _elsewhere(address):
        return [f"loads {address}"]
    target = page.parent / unquote(urlsplit(address).path)
    return [] if target.is_file() else [f"loads {address}, which is not there"]


def _style_faults(page: Path, text: str) -> list[str]:
    addresses = [one or other for one, other in IN_STYLES.findall(text)]
    return [fault for one in addresses if not one.startswith("#")
            for fault in _load_fault(page, one)]  # fmt: skip


def _link_fault(page: Path, address: str, pages: dict[Path, Page]) -> list[str]:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return []
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return [f"leads to {address}, which is not there"]
    known = pages.get(target)
    anchor = unquote(parts.fragment)
    if anchor and known is not None and anchor not in known.anchors:
        return [f"leads to {address}, which has no such place"]
    return []


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]).resolve())
    for line in wrong:
        print(line)
    print(f"{len(wrong)} faults")
    sys.exit(bool(wrong))
