"""What the documentation shows works: commands exist, links lead somewhere, snippets run."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from convscope.cli._app import build_app
from convscope.training import recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted(
    path
    for path in (ROOT / "docs").rglob("*.md")
    if not path.is_relative_to(ROOT / "docs" / "gallery")
)


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def commands():
    for page in PAGES:
        for language in ("bash", "sh", "console"):
            for block in blocks(page, language):
                for line in block.replace("\\\n", " ").splitlines():
                    line = line.removeprefix("$ ")
                    if line.startswith("convscope "):
                        yield pytest.param(line, id=f"{page.name}: {line[:60]}")


@pytest.mark.parametrize("line", list(commands()))
def test_commands_shown_exist(line):
    words = shlex.split(line, comments=True)[1:]
    for sign in (">", "|", "&&"):
        words = words[: words.index(sign)] if sign in words else words
    words = [w for w in words if w not in ("--quiet", "-q", "--debug", "--no-progress")]
    if "--threads" in words:
        where = words.index("--threads")
        del words[where : where + 2]
    if words[-1:] == ["--help"] or not words:
        return
    build_app().parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)?", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), target


def pages_with_python():
    """The site runs the tutorials while it is built; training takes its time in the slow suite."""
    for page in PAGES:
        snippets = "".join(blocks(page, "python"))
        tutorial, trains = page.parent.name == "tutorials", "recipe(" in snippets
        if snippets and (tutorial or trains):
            yield pytest.param(page, None, id=page.name, marks=pytest.mark.slow)
        if snippets and not tutorial:
            epochs, name = (1, f"{page.name}-1-epoch") if trains else (None, page.name)
            yield pytest.param(page, epochs, id=name)


# A fence that says "python not-run" shows a fragment.
@pytest.mark.parametrize(("page", "epochs"), list(pages_with_python()))
def test_python_snippets_run(page, epochs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if epochs:
        short = lambda *given, **settings: recipe(*given, **(settings | {"epochs": epochs}))
        monkeypatch.setattr("convscope.training.recipe", short)
    scope = {}
    for snippet in blocks(page, "python"):
        exec(compile(snippet, str(page), "exec"), scope)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_public_names_in_the_text_exist(page):
    for name in set(re.findall(r"`(convscope(?:\.[A-Za-z_]\w*)+)", page.read_text())):
        assert resolved(name) is not None, name


def resolved(name):
    """What a dotted name stands for: a module, or a member of one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None)
        return found
    return None


def test_files_that_the_architecture_names_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    files = set(re.findall(r"`((?:\w+/)*\w+\.py)`", text))
    assert len(files) > 8
    for file in files:
        assert (ROOT / "src" / "convscope" / file).exists(), file
