"""How the tree hangs together: what one package may import of another."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "convscope"

ALLOWED: set[tuple[str, str]] = set()
"""Pairs of importing file and private module that are allowed in the source: none."""


def private_imports(file: Path, owner: str | None) -> list[str]:
    """Modules such as ``convscope.attacks._pgd`` that a file outside their package imports.

    Args:
        file: A Python file.
        owner: The package it belongs to, whose private modules are its own.
    """
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
        elif isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            private = len(parts) > 2 and parts[0] == "convscope" and parts[2].startswith("_")
            dunder = private and parts[2].startswith("__")
            # `convscope._random` and `convscope._network.frozen_copy` belong to the whole package.
            if private and not dunder and parts[1] != owner and _is_module(parts[:3]):
                found.append(".".join(parts[:3]))
    return list(dict.fromkeys(found))


def _is_module(parts: list[str]) -> bool:
    place = SOURCE.joinpath(*parts[1:])
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from convscope.attacks._pgd import pgd", ["convscope.attacks._pgd"]),
        ("from convscope.attacks import _pgd", ["convscope.attacks._pgd"]),
        ("def f():\n    import convscope.attacks._pgd", ["convscope.attacks._pgd"]),
        ("from convscope.attacks import pgd", []),
        ("from convscope._registry import lazy", []),
        ("from convscope._network.frozen_copy import frozen_copy", []),
    ],
)
def test_the_search_finds_what_it_should(tmp_path, text, found):
    file = tmp_path / "a.py"
    file.write_text(text)
    assert private_imports(file, "studies") == found
    assert private_imports(file, "attacks") == []


def test_no_package_imports_a_private_module_of_another():
    found = set()
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE).parts
        owner = parts[0] if len(parts) > 1 else None
        found |= {("/".join(parts), name) for name in private_imports(file, owner)}
    assert found == ALLOWED


def test_tests_see_private_modules_of_their_own_package_only():
    """A test that freezes the files of another package stands in the way of merging them."""
    found = []
    for file in sorted((ROOT / "tests").rglob("*.py")):
        parts = file.relative_to(ROOT / "tests").parts
        # Tests of the program itself stand beside the folders.
        owner = parts[0] if len(parts) > 1 else "cli"
        found += [("/".join(parts), name) for name in private_imports(file, owner)]
    assert not found


PACKAGES = sorted(
    ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for file in SOURCE.rglob("*.py")
    if "__all__" in file.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_there(name):
    module = importlib.import_module(name)
    assert not [public for public in module.__all__ if not hasattr(module, public)]
