"""The documentation site: complete, linked, and readable without a network."""

import ast
import functools
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import convscope
from convscope._metrics import METRICS
from convscope.attacks import ATTACKS
from convscope.data import DATASETS
from convscope.explanations import EXPLANATIONS
from convscope.models import ADAPTERS, MODELS
from convscope.studies import AUDIT_SECTIONS

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(convscope.__file__).parent


def module_of(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check_site = module_of(ROOT / "docs" / "check_site.py")
from_source = module_of(ROOT / "docs" / "_ext" / "from_source.py")

GOOD = {
    "index.html": '<h1 id="top">x</h1><a href="sub/page.html#here">y</a><a href="#top">z</a>'
    '<a href="https://example.org">w</a><img src="one.png"><link rel="stylesheet" href="a.css">',
    "sub/page.html": '<p id="here"></p><a href="../index.html">back</a>',
    "one.png": "",
    "a.css": "p { background: url(one.png) } q { fill: url(#mark) }",
}


def site(folder, **changed):
    for name, text in {**GOOD, **changed}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return check_site.faults(folder)


def test_a_sound_site_has_no_faults(tmp_path):
    assert site(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("index.html", '<a href="gone.html">x</a>', "leads to gone.html"),
        ("index.html", '<a href="sub/page.html#gone">x</a>', "no such place"),
        ("index.html", '<a href="#gone">x</a>', "no such place"),
        ("index.html", '<img src="gone.png">', "is not there"),
        ("index.html", '<script src="https://cdn.example.org/x.js"></script>', "loads https"),
        ("index.html", '<script src="//cdn.example.org/x.js"></script>', "loads //cdn"),
        ("index.html", '<link rel="stylesheet" href="http://example.org/a.css">', "loads http"),
        ("index.html", '<link rel="preload" href="https://example.org/f.woff">', "loads https"),
        ("index.html", '<img srcset="one.png 1x, https://example.org/2.png 2x">', "loads https"),
        ("index.html", "<style>@import 'https://example.org/a.css';</style>", "loads https"),
        ("index.html", '<p style="background: url(https://example.org/a.png)">', "loads https"),
        ("a.css", "@font-face { src: url('https://example.org/f.woff2') }", "loads https"),
        ("b.js", "fetch('https://example.org/index.json')", "fetches from elsewhere"),
    ],
)
def test_each_fault_is_found(tmp_path, name, text, fault):
    assert any(fault in line for line in site(tmp_path, **{name: text}))


def test_an_empty_folder_is_no_site(tmp_path):
    assert check_site.faults(tmp_path)


# ---- The bibliography -------------------------------------------------------------------------


@functools.cache
def sources():
    """The place and the text of the Source sections of all docstrings."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = ast.get_docstring(node) or ""
                if "Source:" in text:
                    name = getattr(node, "name", "module")
                    place = f"{path.relative_to(SOURCE)}: {name}"
                    found.append((place, " ".join(text.split("Source:", 1)[1].split())))
    return found


def titles():
    text = (ROOT / "docs" / "bibliography.md").read_text()
    entries = re.findall(r'^\(([\w-]+)\)=\n[^"\n]*"([^"]+)"', text, re.M)
    return {plain(title): key for key, title in entries}


def plain(title):
    return " ".join(re.sub(r"[^\w ]", " ", title.lower()).split())


def test_every_cited_title_is_in_the_bibliography():
    """By hand, or because its citation is whole: then the page is given it by the source."""
    known = titles()
    further = from_source.further_sources()
    assert len(known) > 60 and len(set(known.values())) == len(known)
    cited = 0
    for place, text in sources():
        for title in re.findall(r'"([^"]+)"', text):
            listed = any(one.startswith(plain(title)) for one in known)
            assert listed or f'"{title}"' in further, f"{place}: {title}"
            cited += 1
    assert cited > 60


def test_every_source_names_something():
    assert len(sources()) > 60
    assert [place for place, text in sources() if len(text) <= 20] == []


# ---- Pages ------------------------------------------------------------------------------------


def generated_tables():
    page = (ROOT / "docs" / "reference" / "registries.md").read_text()
    return re.findall(r"^% generated: ([\w-]+)$", page, re.M)


@pytest.mark.parametrize("name", generated_tables())
def test_the_tables_of_names_are_made_from_the_records(name):
    made = from_source.GENERATED[name]()
    registry = {"attacks": ATTACKS, "explanations": EXPLANATIONS, "datasets": DATASETS,
                "networks": MODELS, "metrics": METRICS, "audit-sections": AUDIT_SECTIONS,
                "adapters": [f"{prefix}:" for prefix in ADAPTERS]}.get(name, ())  # fmt: skip
    assert made and [entry for entry in registry if f"`{entry}" not in made] == []


def test_every_page_is_reached_from_the_landing_page():
    docs = ROOT / "docs"
    waiting, reached = ["index"], set()
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        path = docs / f"{page}.md"
        if not path.exists():
            assert page.startswith(("gallery/", "reference/api/")), page
            continue
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", path.read_text(), re.S):
            for line in tree.splitlines():
                entry = re.sub(r".*<(.*)>", r"\1", line.strip())
                if entry and not entry.startswith(":"):
                    waiting.append((Path(page).parent / entry).as_posix())
    ours = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")}
    assert ours <= reached


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_works_offline(tmp_path):
    for name in ("sphinx", "myst_parser", "sphinx_gallery", "sphinx_design", "pydata_sphinx_theme"):
        pytest.importorskip(name)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-n", "-q"]
    subprocess.run([*command, "docs", str(tmp_path / "site")], cwd=ROOT, check=True, timeout=600)
    assert check_site.faults(tmp_path / "site") == []
