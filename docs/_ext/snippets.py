"""Tutorials show what their snippets really print and draw.

The Python snippets of a page in tutorials/ are run one after the other, in one namespace, before
the page is read; below each stand its output and the pictures that it saved. A fence that says
``python not-run`` shows a fragment.
"""

import contextlib
import io
import os
import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sphinx.application import Sphinx

FENCE = re.compile(r"^```python\n(.*?)^```\n", re.M | re.S)
MADE: dict[str, list[str]] = {}
"""What comes after each snippet, by page."""


def run_tutorials(app: Sphinx) -> None:
    """Run every snippet of every tutorial; none with ``-D plot_gallery=0``."""
    if str(app.config.plot_gallery) in ("0", "False"):
        return
    folder = Path(app.srcdir) / "tutorials"
    pictures = folder / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    for page in sorted(folder.glob("*.md")):
        snippets = FENCE.findall(page.read_text("utf-8"))
        if snippets:
            with TemporaryDirectory() as place, contextlib.chdir(place):
                MADE[f"tutorials/{page.stem}"] = _run(page, snippets, pictures / page.stem)


def _run(page: Path, snippets: list[str], pictures: Path) -> list[str]:
    """The output of each snippet as Markdown; its pictures are moved to a folder."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    found = []
    seen: set[Path] = set()
    for snippet in snippets:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(snippet, str(page), "exec"), scope)
        parts = [f"```text\n{said.getvalue().rstrip()}\n```\n"] if said.getvalue().strip() else []
        for picture in sorted(set(Path.cwd().glob("*.png")) - seen):
            seen.add(picture)
            pictures.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, pictures)
            shown = os.path.relpath(pictures / picture.name, page.parent)
            alt = picture.stem.replace("-", " ")
            parts.append(f"```{{image}} {shown}\n:alt: {alt}\n:class: made\n```\n")
        found.append("\n".join(parts))
    return found


def show_output(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the output below each snippet."""
    outputs = iter(MADE.get(page, []))
    if page in MADE:
        source[0] = FENCE.sub(lambda found: f"{found[0]}\n{next(outputs)}\n", source[0])


def always_read(app: Sphinx, env: Any, added: Any, changed: Any, removed: Any) -> list[str]:
    """Tutorials are read anew in every build."""
    return [page for page in MADE if page in env.found_docs]


def setup(app: Sphinx) -> dict[str, Any]:
    """Join the build."""
    app.connect("builder-inited", run_tutorials)
    app.connect("source-read", show_output)
    app.connect("env-get-outdated", always_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
