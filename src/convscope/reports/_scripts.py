"""JavaScript modules to scripts that stand inside a page: no server, no bundler, no node.

The modules are written in a narrow way that this file relies on: imports are lines
``import { a, b } from "./name.js";`` at the top, and what is exported says ``export`` where it is
defined. Each module becomes a function that is called once, so private names stay private.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Sequence
from functools import cache
from importlib import resources

from convscope.errors import DataError

_IMPORT = re.compile(r'^import \{ ([\w$, ]+) \} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*? |class |const )(\w+))", re.MULTILINE)
_COMMENT = re.compile(r"^ *//.*\n", re.MULTILINE)
_INDENT = re.compile(r"^ +", re.MULTILINE)


TRUSTED = "convscope-playground"
"""Name of the Trusted Types policy in ``embedded.js``."""

ENGINE, PAGE, READING = "serve", "embedded", "reading"
"""Modules where the scripts of a page begin; a worker runs the first alone."""


def playground_scripts() -> list[str]:
    """The two scripts of a page with a playground: the engine, and what one sees."""
    engine = linked([ENGINE])
    page = linked([PAGE], without=members([ENGINE]))
    return [f"{engine}const playgroundEngine = ${ENGINE};\n", page]


def reading_script() -> str:
    """The script of a page that has addresses of single things: it opens and shows them."""
    return linked([READING])


def linked(names: Sequence[str], *, without: Collection[str] = ()) -> str:
    """One script with the modules `names` and all that they import, each after what it needs.

    Args:
        names: Modules of ``convscope.playground``, without ``.js``.
        without: Modules that stand in an earlier script of the same page.

    Returns:
        Text in which module ``name`` is the object ``$name`` of its exports.

    Raises:
        DataError: U02 if a module is not there or is not written in the way that is read here.
    """
    return "".join(_wrapped(name) for name in _ordered(names) if name not in without)


def members(names: Sequence[str]) -> tuple[str, ...]:
    """`names` and all modules that they import."""
    return tuple(_ordered(names))


def digest(text: str) -> str:
    """The hash by which a Content-Security-Policy allows an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _ordered(names: Sequence[str]) -> list[str]:
    out: list[str] = []
    begun: set[str] = set()

    def visit(name: str) -> None:
        if name in begun:
            return
        begun.add(name)
        for _, needed in _IMPORT.findall(_source(name)):
            visit(needed)
        out.append(name)

    for name in names:
        visit(name)
    return out


def _wrapped(name: str) -> str:
    text = _source(name)
    imports = [f"const {{ {what} }} = ${module};\n" for what, module in _IMPORT.findall(text)]
    exports = _EXPORT.findall(text)
    body = _EXPORT.sub("", _IMPORT.sub("", text))
    if re.search(r"^(import|export)\b", body, re.MULTILINE) or "</script" in body or "<!--" in body:
        raise DataError(f"the module {name}.js cannot be put into a page", code="U02")
    body = _INDENT.sub("", _COMMENT.sub("", body))
    return (
        f'const ${name} = (() => {{\n"use strict";\n{"".join(imports)}{body}'
        f"return {{ {', '.join(exports)} }};\n}})();\n"
    )


@cache
def _source(name: str) -> str:
    path = resources.files("convscope.playground") / f"{name}.js"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"the module {name}.js of the playground is missing",
            code="U02",
            hint="install convscope again",
        ) from error
