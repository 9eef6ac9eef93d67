"""Pages and tables that are made from the source while building, and so are never out of date.

A page holds a line ``% generated: NAME``; the function of that name below writes what stands
there. Pages of the API are written whole, one for each public module.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import convscope
from convscope import errors
from convscope.error_codes import CODES, FAMILIES
from convscope.error_index import Entry, error_index
from convscope.glossary import GLOSSARY

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
SOURCE = Path(convscope.__file__).parent
LINE = re.compile(r"^% generated: ([\w-]+)$", re.M)
FULL = re.compile(r'[A-Z](?:al\.|[^".:;])*?, "([^"]+?),?",? [^".;]*?\b(?:19|20)\d\d\b\)?')
"""A whole citation: authors, title, where and when."""
SPAN = re.compile(r"(?<![`\[])`([A-Z]\d\d)`(?!`)")


# ---- The API ---------------------------------------------------------------------------------


def public_modules() -> Iterator[str]:
    """Modules and packages whose names are public, except the command line."""
    for info in pkgutil.walk_packages([str(SOURCE)], "convscope."):
        parts = info.name.split(".")[1:]
        hidden = any(part.startswith("_") for part in parts)
        if not hidden and parts[0] != "cli":
            yield info.name


def public_names(module: ModuleType) -> list[str]:
    """What a module gives: its ``__all__``, or what it defines itself."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
    return [
        name
        for name, member in vars(module).items()
        if not name.startswith("_") and getattr(member, "__module__", "") == module.__name__
    ]


def homes() -> dict[int, str]:
    """The one address of each public thing, by its identity: in the package that defines it."""
    found: dict[int, str] = {}
    for name in public_modules():
        module = import_module(name)
        for one in public_names(module):
            member = getattr(module, one)
            inside = f"{getattr(member, '__module__', '')}.".startswith(f"{name}.")
            if inside or id(member) not in found:
                found[id(member)] = f"{name}.{one}"
    return found


def write_api(app: Sphinx) -> None:
    """A page for each public module, with a table of what it gives."""
    from docstrings import with_bars

    folder = Path(app.srcdir) / "reference" / "api"
    folder.mkdir(exist_ok=True)
    address = homes()
    written = set()
    for name in public_modules():
        module = import_module(name)
        shown = [one for one in public_names(module) if callable(getattr(module, one))]
        if not shown:
            continue
        text = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :no-members:\n\n"
        text += ".. list-table::\n   :widths: auto\n\n"
        for one in shown:
            member = getattr(module, one)
            about = with_bars(_first_line(member))
            text += f"   * - :py:obj:`{one} <{address[id(member)]}>`\n     - {about}\n"
        for one in shown:
            member = getattr(module, one)
            if address[id(member)] == f"{name}.{one}":
                kind = "autoclass" if inspect.isclass(member) else "autofunction"
                text += f"\n.. {kind}:: {name}.{one}\n"
        _write(folder / f"{name}.rst", text)
        written.add(f"{name}.rst")
    for old in folder.glob("*.rst"):
        if old.name not in written:
            old.unlink()


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


# ---- Tables ----------------------------------------------------------------------------------


def table(headers: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _plain(text: str) -> str:
    """Text of a docstring as Markdown: code stays code, and nothing else is markup."""
    parts = re.split(r"(`+[^`]+`+)", text)
    parts[::2] = [re.sub(r"([\\`*_{}\[\]<>#|$])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"`{part.strip('`')}`" for part in parts[1::2]]
    return "".join(parts)


def _first_line(member: Any) -> str:
    return (inspect.getdoc(member) or "").split("\n\n")[0].replace("\n", " ")


def _link(name: str, member: Any, package: str) -> str:
    called = getattr(member, "__name__", "")
    public = getattr(import_module(package), called, None) is member
    return f"{{py:obj}}`{name} <{package}.{called}>`" if called and public else f"`{name}`"


def _registry(registry: Mapping[str, Any], package: str) -> str:
    """Names, what each does, and names of other libraries that are taken for it."""
    about = getattr(registry, "about", lambda name: _first_line(registry[name]))
    aliases: dict[str, list[str]] = {}
    for alias, name in getattr(registry, "aliases", {}).items():
        aliases.setdefault(name, []).append(f"`{alias}`")
    headers = ["name", "what it does"] + (["also taken"] if aliases else [])
    rows = []
    for name in registry:
        row = [_link(name, registry[name], package), _plain(about(name))]
        rows.append([*row, " ".join(aliases.get(name, []))] if aliases else row)
    return table(headers, rows)


def attacks() -> str:
    """Attacks on each image."""
    from convscope.attacks import ATTACKS

    return _registry(ATTACKS, "convscope.attacks")


def shared_attacks() -> str:
    """One perturbation for many images."""
    from convscope.attacks import SHARED

    return _registry(SHARED, "convscope.attacks")


def explanations() -> str:
    """Explanations of a classification."""
    from convscope.explanations import EXPLANATIONS

    return _registry(EXPLANATIONS, "convscope.explanations")


def layer_views() -> str:
    """Views of layers."""
    from convscope.explanations import LAYER_VIEWS

    return _registry(LAYER_VIEWS, "convscope.explanations")


def transfer_classifiers() -> str:
    """Classifiers for transfer learning."""
    from convscope.transfer import TRANSFER_CLASSIFIERS

    return _registry(TRANSFER_CLASSIFIERS, "convscope.transfer")


def visualization_recipes() -> str:
    """Recipes for images of units."""
    from convscope.visualizations import VISUALIZATION_RECIPES

    return _registry(VISUALIZATION_RECIPES, "convscope.visualizations")


def defenses() -> str:
    """Defenses."""
    from convscope.defenses import DEFENSES

    return _registry(DEFENSES, "convscope.defenses")


def datasets() -> str:
    """Data sets."""
    from convscope.data import DATASETS

    return _registry(DATASETS, "convscope.data")


def networks() -> str:
    """Architectures, with their sizes."""
    from convscope.models import MODELS, shipped

    ready = shipped()
    rows = [
        [
            f"`{name}`", "x".join(map(str, spec.input_shape)), f"{spec.parameters:,}",
            "yes" if name in ready else "", _plain(spec.about),
        ]
        for name, spec in MODELS.specs().items()
    ]  # fmt: skip
    return table(["name", "input", "parameters", "weights are shipped", "layers"], rows)


def shipped_weights() -> str:
    """What comes with the package, from the model cards."""
    from convscope.models import shipped, shipped_config
    from convscope.models._shipped import shipped_path

    rows = []
    for name in shipped():
        config = shipped_config(name)
        size = shipped_path(name).stat().st_size / 1e6
        command = config.extra.get("trained", {}).get("command", "")
        rows.append(
            [f"`{name}`", f"`{config.architecture}`", f"{size:.2f} MB", _plain(config.source),
             f"`{command}`" if command else ""]
        )  # fmt: skip
    return table(["MODEL", "network", "size", "what it is", "trained by"], rows)


def training_recipes() -> str:
    """Settings of training by network and preset, where they differ from the defaults."""
    from dataclasses import asdict

    from convscope.models import MODELS
    from convscope.training import PRESETS, RECIPES, recipe

    rows = []
    shown = ("epochs", "batch_size", "optimizer", "learning_rate", "weight_decay", "schedule",
             "adversary", "noise_std")  # fmt: skip
    for name in MODELS:
        for preset in PRESETS:
            if RECIPES[preset].further:
                continue
            try:
                settings = asdict(recipe(name, data=_own_data(name), preset=preset))
            except errors.ConvscopeError:
                continue
            rows.append([f"`{name}`", f"`{preset}`", *(settings[key] for key in shown)])
    return table(["network", "preset", *(key.replace("_", " ") for key in shown)], rows)


def _own_data(network: str) -> str:
    from convscope.models import MODELS

    return "cifar10" if MODELS.spec(network).color else "mnist"


def figures() -> str:
    """Which function draws which result."""
    from convscope.figures import FIGURES

    rows = [
        [f"`{getattr(kind, '__name__', kind)}`", _link(draw.__name__, draw, "convscope.figures"),
         _plain(_first_line(draw))]
        for kind, draw in FIGURES.items()
    ]  # fmt: skip
    return table(["result", "drawn by", "what the figure shows"], rows)


def adapters() -> str:
    """Networks of other libraries."""
    from convscope.models import ADAPTERS

    rows = [
        [" ".join(f"`{form}`" for form in spec.forms), _plain(spec.about),
         f"`{spec.install}`" if spec.install else ""]
        for spec in ADAPTERS.specs().values()
    ]  # fmt: skip
    return table(["MODEL", "what it is", "install"], rows)


def exports() -> str:
    """Formats that a network can be written in."""
    from convscope.models import EXPORTS

    rows = [
        [f"`{name}`", _plain(spec.about), f"`{spec.install}`" if spec.install else ""]
        for name, spec in EXPORTS.specs().items()
    ]
    return table(["--to", "what is written", "install"], rows)


def metrics() -> str:
    """Metrics, and which command has which as a gate."""
    from convscope._metrics import METRICS

    rows = [
        [f"`{name}`", _plain(spec.about), spec.better, ", ".join(f"`{c}`" for c in spec.gate),
         " ".join(f"`{alias}`" for alias in spec.aliases)]
        for name, spec in METRICS.items()
    ]  # fmt: skip
    return table(["name", "what it is", "better", "gate of", "also taken"], rows)


def audit_sections() -> str:
    """Sections of an audit."""
    from convscope.studies import AUDIT_SECTIONS

    return ", ".join(f"`{name}`" for name in AUDIT_SECTIONS)


# ---- Words -------------------------------------------------------------------------------------


def glossary() -> str:
    """The words, what they mean, and where the definition comes from."""
    page = (ROOT / "docs" / "bibliography.md").read_text("utf-8")
    known = {title: key for key, title in re.findall(r'^\((.*)\)=\n[^"\n]*"([^"]+)"', page, re.M)}
    lines = ["```{glossary}"]
    for term in GLOSSARY:
        lines += [term.name, f"  {term.text}"]
        if term.source:
            cited = term.source.split('"')[1]
            key = next(key for title, key in known.items() if title.startswith(cited))
            lines += ["", f"  [{term.source}.](#{key})"]
        lines.append("")
    return "\n".join([*lines, "```"])


def tour() -> str:
    """The steps of the teacher's tour and their tasks."""
    from convscope.reports import TOUR

    rows = [[str(n), step.title, step.digits or step.task] for n, step in enumerate(TOUR, 1)]
    return table(["step", "what one looks at", "task (on a page of digits)"], rows)


# ---- The bibliography --------------------------------------------------------------------------


def further_sources() -> str:
    """Papers that Source sections cite and the bibliography does not list, in their words."""
    page = " ".join((ROOT / "docs" / "bibliography.md").read_text("utf-8").split()).lower()
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            _, _, source = (ast.get_docstring(node) or "").partition("Source:")
            for cited in FULL.finditer(" ".join(source.split())):
                if f'"{cited[1].lower()}' not in page:
                    found[cited[1].lower()] = f"- {_plain(cited[0])} (`{node.name}`)"
    lines = [found[title] for title in sorted(found)]
    return "\n".join(["## Cited and not listed above", "", *lines]) if lines else ""


# ---- The command line --------------------------------------------------------------------------


def command_line() -> str:
    """Every command with its arguments and options, from the live program."""
    from convscope.cli._app import build_app

    text = build_app().generate_docs(output_format="markdown")
    kept = []
    for line in text[text.index("\n## convscope") :].splitlines():
        line = re.sub(r"^(#+) (convscope .*)$", _command_heading, line)
        line = re.sub(r" ?\*\[default: (?:False|None)\]\*", "", line)
        kept.append(line)
    return "\n".join(kept)


def _command_heading(found: re.Match[str]) -> str:
    anchor = re.sub(r"\W+", "-", found[2])
    return f"({anchor})=\n{found[1]} {found[2]}"


def exit_codes() -> str:
    """Exit codes by class of error."""
    kinds: dict[int, list[type]] = {}
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, errors.ConvscopeError):
            kinds.setdefault(kind.exit_code, []).append(kind)
    rows = [["0", "everything went well", ""]]
    for code in sorted(kinds):
        names = [f"{{py:obj}}`{kind.__name__} <convscope.errors.{kind.__name__}>`"
                 for kind in kinds[code]]  # fmt: skip
        about = [_plain(_first_line(kind)) for kind in kinds[code]]
        if code == errors.ConvscopeError.exit_code:
            names, about = [], ["A bug in convscope; the traceback is in the file that is named."]
        rows.append([str(code), " ".join(about), ", ".join(names)])
    rows.append(["130, 143", "Interrupted (Ctrl-C, SIGTERM).", ""])
    return table(["exit code", "meaning", "errors"], rows)


# ---- Errors ------------------------------------------------------------------------------------


def error_index_page() -> str:
    """Every code: its situation, what to do, and the messages."""
    parts = []
    for letter, family in FAMILIES.items():
        parts.append(f"## {letter}: {family}\n")
        for entry in error_index().values():
            if entry.code[0] == letter:
                parts.append(_error(entry))
    return "\n".join(parts)


def _error(entry: Entry) -> str:
    kinds = ", ".join(f"{{py:obj}}`{kind} <convscope.errors.{kind}>`" for kind in entry.kinds)
    codes = " or ".join(map(str, entry.exit_codes))
    lines = [
        f"({entry.code})=", f"### {entry.code}", "",
        f"{_plain(entry.words.situation)} **{_plain(entry.words.advice)}**", "",
        f"{kinds}; exit code {codes}." if kinds else "A note; it changes no exit code.", "",
        ":::{dropdown} Messages", "",
    ]  # fmt: skip
    for (what, expected, fix), places in entry.messages().items():
        said = " *or* ".join(_code(text) for text in what) or "what the system says"
        lines.append(f"* {said}")
        lines += [f"  * expected: {_code(text)}" for text in expected]
        lines += [f"  * fix: {_code(text)}" for text in fix]
        lines.append(f"  * raised in {', '.join(_code(place) for place in places)}")
    return "\n".join([*lines, ":::", ""])


def _code(text: str) -> str:
    inside = " ".join(text.split())
    return f"`` {inside} ``" if "`" in inside else f"`{inside}`"


# ---- The tree ----------------------------------------------------------------------------------


def source_tree() -> str:
    """Packages and modules of the source, with the first line of their docstrings."""
    rows = []
    found = pkgutil.iter_modules([str(SOURCE)])
    for info in sorted(found, key=lambda one: (one.name.startswith("_"), not one.ispkg, one.name)):
        if info.name == "__main__":
            continue
        about = _first_line(import_module(f"convscope.{info.name}"))
        files = len(list((SOURCE / info.name).rglob("*.py"))) if info.ispkg else 1
        name = f"{info.name}/" if info.ispkg else f"{info.name}.py"
        rows.append([f"`{name}`", str(files), _plain(about)])
    return table(["in src/convscope/", "files", "what it is"], rows)


def layers() -> str:
    """The layers of the import contract, top to bottom."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    found = []
    for contract in contracts:
        found.append(f"**{contract['name'].capitalize()}.**\n")
        if contract["type"] == "layers":
            rows = [
                [str(place), " ".join(f"`{one.strip(' ()')}`" for one in layer.split("|"))]
                for place, layer in enumerate(contract["layers"], start=1)
            ]
            found.append(table(["layer", "packages: each imports from layers below"], rows) + "\n")
        elif contract["type"] == "forbidden":
            sources = " ".join(f"`{one}`" for one in contract["source_modules"])
            banned = ", ".join(f"`{one}`" for one in contract["forbidden_modules"])
            found.append(f"{sources}\nmay not import {banned}.\n")
    return "\n".join(found)


GENERATED: dict[str, Callable[[], str]] = {
    "adapters": adapters,
    "exports": exports,
    "attacks": attacks,
    "audit-sections": audit_sections,
    "command-line": command_line,
    "datasets": datasets,
    "defenses": defenses,
    "error-index": error_index_page,
    "exit-codes": exit_codes,
    "explanations": explanations,
    "figures": figures,
    "glossary": glossary,
    "further-sources": further_sources,
    "layer-views": layer_views,
    "layers": layers,
    "metrics": metrics,
    "networks": networks,
    "shared-attacks": shared_attacks,
    "shipped-weights": shipped_weights,
    "source-tree": source_tree,
    "tour": tour,
    "training-recipes": training_recipes,
    "transfer-classifiers": transfer_classifiers,
    "visualization-recipes": visualization_recipes,
}


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """Put what is generated into a page, and make error codes links."""
    text = LINE.sub(lambda found: GENERATED[found[1]](), source[0])
    if page != "reference/errors":
        text = SPAN.sub(lambda f: f"[`{f[1]}`](#{f[1]})" if f[1] in CODES else f[0], text)
    source[0] = text


def always_read(app: Sphinx, env: Any, added: Any, changed: Any, removed: Any) -> list[str]:
    """Pages that depend on the source are read anew in every build."""
    texts = {page: env.doc2path(page) for page in env.found_docs}
    return [
        page
        for page, path in texts.items()
        if page.startswith("reference/api/") or LINE.search(Path(path).read_text("utf-8"))
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Join the build."""
    app.connect("builder-inited", write_api)
    app.connect("source-read", fill)
    app.connect("env-get-outdated", always_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
