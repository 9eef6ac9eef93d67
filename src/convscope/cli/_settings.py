"""Settings of a method on the command line, read from its signature and its docstring.

Lists and help pages read the source of the method, so that they need not wait for torch; a run
reads the same from the function, with `typing.get_type_hints`. `tests/test_quick_answers.py`
compares the two.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from convscope._registry import Registry
from convscope.cli._output import fraction
from convscope.errors import UsageError, choose

HANDLED = (
    *("classifier", "images", "labels", "targets", "reference"),
    *("generator", "validation", "start"),
)
"""Arguments that the commands give, or that no plain text can give."""

PLAIN = ("bool", "int", "float", "str", "None")
FILLS = ("mean", "blur")
"""What a setting shows where it takes a grey level or a word."""

ALIASES = {
    "eps": "epsilon",
    "radius": "epsilon",
    "lr": "step-size",
    "learning-rate": "step-size",
    "alpha": "step-size",
    "stepsize": "step-size",
    "eps-step": "step-size",
    "eps-iter": "step-size",
    "rel-stepsize": "step-size",
    "iterations": "steps",
    "iters": "steps",
    "iter": "steps",
    "num-steps": "steps",
    "nb-iter": "steps",
    "max-iter": "steps",
    "n-iter": "steps",
    "n-steps": "steps",
    "n-queries": "queries",
    "max-queries": "queries",
    "loss": "objective",
    "n-restarts": "restarts",
    "num-restarts": "restarts",
    "kappa": "confidence",
    "mu": "decay",
    "random-init": "random-start",
    "rand-init": "random-start",
    "n-classes": "classes",
    "n-target-classes": "classes",
    "gamma": "change",
}
"""Other libraries' names of settings, where the method has the setting and not that name."""

VALUES = {"inf": "linf", "l-inf": "linf", "linfinity": "linf", "2": "l2", "ce": "cross-entropy"}
"""Other spellings of values that are one of a list."""


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
        """Whether it takes a grey level or a word."""
        return "float" in self.kinds and ("str" in self.kinds or bool(self.choices))

    @property
    def words(self) -> str:
        """Its type as people say it."""
        if self.is_fill:
            return f"{', '.join(self.choices or FILLS)} or a grey level"
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
    """A default as it is typed: 8/255 for eight grey levels, "no" for a switch.

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
    if origin is not None and getattr(origin, "__name__", "") == "Callable":
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
    text = ast.get_docstring(_source(*registry.home(name))) or ""
    paragraphs = re.split(r"\n\s*\n", _plain(text.partition("\nArgs:")[0]))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def arguments_of(registry: Registry[Any, Any], name: str) -> set[str]:
    """Names of all arguments of an entry; nothing is imported."""
    arguments = _source(*registry.home(name)).args
    return {argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)}


def takes_target(registry: Registry[Any, Any], name: str) -> str:
    """``"required"``, ``"optional"`` or ``""``: whether an entry goes for a class."""
    arguments = _source(*registry.home(name)).args
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if argument.arg == "targets":
            return "optional" if default is not None else "required"
    places = [argument.arg for argument in arguments.args]
    if "targets" not in places:
        return ""
    optional = places.index("targets") >= len(places) - len(arguments.defaults)
    return "optional" if optional else "required"


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


def read_settings(name: str, method: Callable[..., Any], words: Sequence[str]) -> dict[str, Any]:
    """``["--steps", "40", "--random-start"]`` as keyword arguments of `method`.

    Args:
        name: Of the method, for messages.
        method: What the settings are for.
        words: Options and their values.

    Raises:
        UsageError: U11 for a setting the method does not have, with the closest names, for a
            value of another type or a setting given twice.

    Example:
        >>> def method(a, *, steps: int = 4, epsilon: float = 0.1, fast: bool = False): ...
        >>> read_settings("method", method, ["--epsilon=8/255", "--fast"])["fast"]
        True
    """
    return values_of(name, settings_of(method), words)


def values_of(name: str, known: Mapping[str, Setting], words: Sequence[str]) -> dict[str, Any]:
    """As `read_settings`, for settings that are known already."""
    return {setting.name: value for _, setting, value in _parsed(name, known, words)}


def shared_values(
    of: Mapping[str, Mapping[str, Setting]],
    others: Mapping[str, Mapping[str, Setting]],
    words: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """Options for several methods at once: each goes to every method that has the setting.

    Args:
        of: Settings of the methods that are run, by name.
        others: Of all methods that there are, to say which would have a setting.
        words: Options and their values.

    Returns:
        Keyword arguments by method.

    Raises:
        UsageError: U11 for a setting that none of the methods has, with those that have it.

    Example:
        >>> def one(a, *, steps: int = 4): ...
        >>> def two(a, *, steps: int = 4, fast: bool = False): ...
        >>> both = {"one": settings_of(one), "two": settings_of(two)}
        >>> shared_values(both, both, ["--steps", "2", "--fast"])
        {'one': {'steps': 2}, 'two': {'steps': 2, 'fast': True}}
    """
    known: dict[str, Setting] = {}
    for settings in of.values():
        for option, setting in settings.items():
            known.setdefault(option, setting)
    everywhere = {option for settings in others.values() for option in settings}
    for word in words:
        option = word.removeprefix("--").partition("=")[0].replace("_", "-")
        if not word.startswith("--") or option in known or option not in everywhere:
            continue
        homes = [name for name, settings in others.items() if option in settings]
        raise UsageError(
            f"{' and '.join(of)} {'have' if len(of) > 1 else 'has'} no --{option}",
            code="U11",
            expected=f"--show with one of {', '.join(homes)}",
        )
    given: dict[str, dict[str, Any]] = {name: {} for name in of}
    for option, setting, value in _parsed(" and ".join(of), known, words):
        for name, settings in of.items():
            if option in settings:
                given[name][setting.name] = value
    return given


def _parsed(
    name: str, known: Mapping[str, Setting], words: Sequence[str]
) -> list[tuple[str, Setting, Any]]:
    """Option, setting and value for every option in `words`."""
    given: list[tuple[str, Setting, Any]] = []
    seen: set[str] = set()
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if not word.startswith("--"):
            raise UsageError(
                f"{word!r} follows the settings and is none",
                code="U11",
                expected="images before the first --setting, each setting as --name value",
            )
        option, equals, value = word.removeprefix("--").partition("=")
        option = option.replace("_", "-")
        negated = option.startswith("no-") and option not in known
        option = option.removeprefix("no-") if negated else option
        if option not in known and ALIASES.get(option) in known:
            option = ALIASES[option]
        option = _known(name, option, known)
        setting = known[option]
        if option in seen:
            raise UsageError(f"--{option} is given twice", code="U11")
        seen.add(option)
        if "bool" in setting.kinds and not equals:
            if queue and queue[0].lower() in ("true", "false"):
                negated = negated != (queue.pop(0).lower() == "false")
            given.append((option, setting, not negated))
            continue
        if negated:
            raise UsageError(f"--no-{option}: {option} is no switch", code="U11",
                             expected=f"--{option} with {setting.words}")  # fmt: skip
        if not equals:
            if not queue or re.fullmatch(r"--[a-zA-Z].*", queue[0]):
                raise UsageError(f"--{option} needs a value", code="U11", expected=setting.words)
            value = queue.pop(0)
        given.append((option, setting, _converted(option, setting, value)))
    return given


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Images before the first option, options after it.

    Example:
        >>> split_words(["mnist:test/7", "--steps", "4"])
        (['mnist:test/7'], ['--steps', '4'])
    """
    for position, word in enumerate(words):
        if word.startswith("--"):
            return list(words[:position]), list(words[position:])
    return list(words), []


def _known(name: str, option: str, known: Mapping[str, Setting]) -> str:
    if not known and option:
        raise UsageError(f"{name} has no setting --{option}: it has none", code="U11")
    return choose(f"setting of {name}", option, known, code="U11")


def without_budget(
    known: Mapping[str, Setting], words: Sequence[str]
) -> tuple[list[str], float | None]:
    """Take ``--epsilon`` out of the options of a method that has none; the words left, and it.

    Example:
        >>> without_budget({}, ["--epsilon", "8/255", "--steps=2"])
        (['--steps=2'], 0.03137254901960784)
    """
    if "epsilon" in known:
        return list(words), None
    left, found = list(words), None
    for place, word in enumerate(left):
        option, equals, value = word.partition("=")
        if option not in ("--epsilon", "--eps"):
            continue
        if not equals and place + 1 == len(left):
            raise UsageError("--epsilon needs a value", code="U11")
        found = fraction(value if equals else left[place + 1])
        if not 0 <= found < float("inf"):
            raise UsageError(
                f"epsilon must be at least 0 and finite, got {found}",
                code="U03",
                expected="a radius in pixel units, such as 8/255",
            )
        del left[place : place + (1 if equals else 2)]
        break
    return left, found


def _converted(option: str, setting: Setting, text: str) -> Any:
    kinds = setting.kinds
    if text.lower() == "none" and "None" in kinds:
        return None
    if setting.is_fill:
        return fill_of(option, text, setting.choices or FILLS)
    if setting.choices:
        low = text.lower()
        value = VALUES.get(low, low)
        return choose(option, value if value in setting.choices else text, setting.choices)
    if "Callable" in kinds:
        return named_views(text)
    if "list" in kinds:
        names = [name.strip() for name in text.split(",")]
        if not all(names):
            raise UsageError(
                f"--{option} {text!r}", code="U01", expected="names with commas between"
            )
        return names
    if "bool" in kinds:
        if text.lower() not in ("true", "false"):
            raise UsageError(f"--{option} {text!r}", code="U11", expected="true or false")
        return text.lower() == "true"
    if "tuple" in kinds and "," in text:
        return tuple(_whole(option, part) for part in text.split(",", 1))
    if "int" in kinds and "float" not in kinds:
        return _whole(option, text)
    if "float" not in kinds:
        return text
    try:
        return fraction(text)
    except UsageError as error:
        error.where = f"--{option}"
        raise


def _whole(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--{option} {text!r}", code="U11", expected="a whole number") from None


def fill_of(option: str, text: str, choices: Sequence[str] = FILLS) -> Any:
    """A word such as ``mean`` or ``blur``, or a grey level.

    Raises:
        UsageError: U01 for another word, U03 for a level that is none.

    Example:
        >>> fill_of("fill", "blur"), fill_of("fill", "51/255")
        ('blur', 0.2)
    """
    if text in choices:
        return text
    if not any(character.isdigit() for character in text):
        return choose(option, text, (*choices, "a grey level such as 0.5"))
    level = fraction(text)
    if not 0 <= level <= 1:
        meant = f"did you mean {level:g}/255?" if 1 < level <= 255 else ""
        raise UsageError(
            f"--{option} {text}", code="U03", expected="a grey level from 0 to 1", hint=meant
        )
    return level


def named_views(text: str) -> Any:
    """``"rotation,crop"``: at every draw one of these views, or the image as it is.

    Raises:
        UsageError: U01 for a view that there is not.
    """
    from convscope.attacks import VIEWS, either

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--views is empty", code="U11", expected=", ".join(VIEWS))
    return either(*(VIEWS[choose("view", name, VIEWS)] for name in names))
