"""Settings that methods have: names, types, defaults and meanings, from signature and docstring.

Lists and help pages read the source of the method, so that they need not wait for torch; a run
reads the same from the function, with `typing.get_type_hints`. `tests/test_quick_answers.py`
compares the two.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from convscope._registry import Registry

HANDLED = (
    *("classifier", "images", "labels", "targets", "reference"),
    *("generator", "validation", "start", "device"),
)
"""Arguments that the commands give, or that no plain text can give."""

PLAIN = ("bool", "int", "float", "str", "None")
FILLS = ("mean", "blur")
"""What a setting shows where it takes a gray level or a word."""


class Required:
    """Stands for no default."""

    def __repr__(self) -> str:
        return "required"


REQUIRED = Required()


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What text can set of a method.

    Attributes:
        name: Of the argument.
        kinds: Parts of its type: ``bool``, ``int``, ``float``, ``str``, ``None``, ``list`` (of
            names), ``tuple`` (of two numbers), ``Callable`` (transformations by name), ``Tensor``.
        default: Its default, or `REQUIRED`.
        meaning: What the docstring says, without marks.
        choices: The values that there are, if it is one of a list.
    """

    name: str
    kinds: tuple[str, ...]
    default: Any
    meaning: str
    choices: tuple[str, ...] = field(default=())

    @property
    def is_fill(self) -> bool:
        """Whether it takes a gray level or a word."""
        return "float" in self.kinds and ("str" in self.kinds or bool(self.choices))

    @property
    def words(self) -> str:
        """Its type as people say it."""
        if self.is_fill:
            return f"{', '.join(self.choices or FILLS)} or a gray level"
        if self.choices:
            return ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}"
        if "bool" in self.kinds:
            return "a switch"
        if "Callable" in self.kinds or "list" in self.kinds:
            return "names with commas"
        if "tuple" in self.kinds:
            return "a whole number, or two with a comma"
        whole, real = "int" in self.kinds, "float" in self.kinds
        return "a number" if real else "a whole number" if whole else "text"

    @property
    def shown_default(self) -> str:
        """Its default as people type it."""
        return shown_default(self.default)


def shown_default(value: Any) -> str:
    """A default as it is typed: 8/255 for eight gray levels, "no" for a switch.

    Example:
        >>> shown_default(8 / 255), shown_default(0.05), shown_default(None), shown_default(False)
        ('8/255', '0.05', 'none', 'off')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        levels = 255 * value
        if 0 < value < 1 and abs(levels - round(levels)) < 1e-9 and len(repr(value)) > 6:
            return f"{round(levels)}/255"
        return f"{value:g}"
    return "none" if value is None else str(value)


def settings_of(method: Callable[..., Any]) -> dict[str, Setting]:
    """Name as typed (``step-size``) to setting, for everything that text can set of a function.

    Example:
        >>> def method(images, *, steps: int = 4, fast: bool = False, size: float = 1.0): ...
        >>> {name: setting.words for name, setting in settings_of(method).items()}
        {'steps': 'a whole number', 'fast': 'a switch', 'size': 'a number'}
    """
    found = {}
    meanings = meanings_in(inspect.getdoc(method) or "")
    try:
        hints = get_type_hints(method)
    except NameError:  # a name that only type checkers import: the text has to do
        hints = {}
    for p in inspect.signature(method).parameters.values():
        if p.name in HANDLED or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        hint = hints.get(p.name, p.annotation)
        if hint is p.empty:
            continue
        if isinstance(hint, str):
            kinds, choices = _written_kinds(_expression(hint), method.__module__)
        else:
            kinds, choices = _kinds(hint)
        default = REQUIRED if p.default is p.empty else p.default
        found[p.name.replace("_", "-")] = Setting(
            name=p.name, kinds=kinds, choices=choices, default=default,
            meaning=meanings.get(p.name, ""),
        )  # fmt: skip
    return found


def settings_written(registry: Registry[Any, Any], name: str) -> dict[str, Setting]:
    """As `settings_of`, read from the source of an entry that is not imported."""
    if callable(registry.spec(name).home):
        return settings_of(registry[name])
    module, member = registry.home(name)
    function = _source(module, member)
    meanings = meanings_in(ast.get_docstring(function) or "")
    found = {}
    for argument, default in _arguments(function):
        if argument.arg in HANDLED or argument.annotation is None:
            continue
        kinds, choices = _written_kinds(argument.annotation, module)
        found[argument.arg.replace("_", "-")] = Setting(
            name=argument.arg, kinds=kinds, choices=choices,
            default=REQUIRED if default is None else _constant(default),
            meaning=meanings.get(argument.arg, ""),
        )  # fmt: skip
    return found


def _arguments(function: ast.FunctionDef) -> list[tuple[ast.arg, ast.expr | None]]:
    """Arguments of a function in order, each with its default."""
    places = function.args.args
    defaults = [None] * (len(places) - len(function.args.defaults)) + function.args.defaults
    return [
        *zip(places, defaults, strict=True),
        *zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True),
    ]


def _kinds(hint: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Parts and choices of a type."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _merged(_kinds(part) for part in get_args(hint))
    if origin is Literal:
        return (), tuple(get_args(hint))
    if hint in (bool, int, float, str):
        return (hint.__name__,), ()
    if hint in (None, NoneType):
        return ("None",), ()
    if isinstance(origin, type) and issubclass(origin, tuple):
        return ("tuple",), ()
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return ("list",), ()
    if origin is Callable:
        return ("Callable",), ()
    return ("Tensor",), ()


def _written_kinds(node: ast.expr, module: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """As `_kinds`, of an annotation in the source of a module; names are followed to their home."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _merged(_written_kinds(part, module) for part in (node.left, node.right))
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _written_kinds(_expression(node.value), module)
        return ("None",), ()
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        outer = node.value.id
        if outer == "Literal":
            values = ast.literal_eval(node.slice)
            return (), values if isinstance(values, tuple) else (values,)
        known = {"tuple": "tuple", "list": "list", "Sequence": "list", "Callable": "Callable"}
        return (known.get(outer, "Tensor"),), ()
    if isinstance(node, ast.Name):
        if node.id in PLAIN:
            return (node.id,), ()
        home = _assigned(module, node.id)
        if home is not None:
            return _written_kinds(*home)
    return ("Tensor",), ()


def _merged(
    parts: Iterable[tuple[tuple[str, ...], tuple[str, ...]]],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kinds: list[str] = []
    choices: list[str] = []
    for some, values in parts:
        kinds += [kind for kind in some if kind not in kinds]
        choices += values
    return tuple(kinds), tuple(choices)


def _assigned(module: str, name: str) -> tuple[ast.expr, str] | None:
    """The right side of ``name = ...``, and the module of convscope where it stands."""
    if not module.startswith("convscope"):
        return None
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            return node.value, module
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("convscope"):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _assigned(node.module, alias.name)
    return None


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def described(registry: Registry[Any, Any], name: str) -> str:
    """The first paragraphs of an entry's docstring, without marks; nothing is imported."""
    if callable(registry.spec(name).home):
        text = inspect.getdoc(registry[name]) or ""
    else:
        text = ast.get_docstring(_source(*registry.home(name))) or ""
    paragraphs = re.split(r"\n\s*\n", _plain(text.partition("\nArgs:")[0]))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def arguments_of(registry: Registry[Any, Any], name: str) -> set[str]:
    """Names of all arguments of an entry; nothing is imported."""
    if callable(registry.spec(name).home):
        return set(inspect.signature(registry[name]).parameters)
    return {argument.arg for argument, _ in _arguments(_source(*registry.home(name)))}


def takes_target(registry: Registry[Any, Any], name: str) -> str:
    """``"required"``, ``"optional"`` or ``""``: whether an entry goes for a class."""
    if callable(registry.spec(name).home):
        targets = inspect.signature(registry[name]).parameters.get("targets")
        if targets is None:
            return ""
        return "required" if targets.default is inspect.Parameter.empty else "optional"
    for argument, default in _arguments(_source(*registry.home(name))):
        if argument.arg == "targets":
            return "required" if default is None else "optional"
    return ""


def meanings_in(docstring: str) -> dict[str, str]:
    """Argument to its whole meaning, from the ``Args:`` of a docstring.

    Example:
        >>> meanings_in('''Do it.
        ...
        ... Args:
        ...     steps: How many; ``None``: as
        ...         many as it takes.
        ...     size: In pixels.
        ...
        ... Returns:
        ...     Nothing.''')
        {'steps': 'How many; none: as many as it takes.', 'size': 'In pixels.'}
    """
    found: dict[str, str] = {}
    lines = docstring.partition("Args:\n")[2].splitlines()
    name = ""
    for line in lines:
        if line.strip() and not line.startswith(" "):
            break
        begins = re.match(r" {4}(\w+): (.*)", line)
        if begins:
            name = begins[1]
            found[name] = begins[2]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return {name: _plain(text) for name, text in found.items()}


def _plain(text: str) -> str:
    """Without marks of RST, and with the words of a command line for Python's."""
    text = re.sub(r"``\"([^\"`]*)\"``", r"\1", text)
    text = text.replace(", one or one per image", "")
    text = text.replace("``None``", "none").replace("``", "").replace("`", "")
    return re.sub(r"[ \t]+", " ", text).strip()


@cache
def _tree(module: str) -> ast.Module:
    spec = find_spec(module)
    source = getattr(spec and spec.loader, "get_source", lambda name: None)(module)
    return ast.parse(source or "")


def _source(module: str, name: str) -> ast.FunctionDef:
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise LookupError(f"{module} defines no {name}")


def _constant(node: ast.expr) -> Any:
    """A default: a constant, or a quotient of two."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _constant(node.left) / _constant(node.right)
    return ast.literal_eval(node)
