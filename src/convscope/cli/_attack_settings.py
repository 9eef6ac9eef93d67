"""Settings of a method on the command line, read from its signature and its docstring.

Lists and help pages read the source of the method, so that they need not wait for torch; a run
reads the same from the function. `tests/attacks/test_cli.py` compares the two.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any

from convscope._registry import Registry
from convscope.cli._output import fraction
from convscope.errors import UsageError, choose

HANDLED = ("targets", "generator", "validation", "start")
"""Arguments that no plain text can give."""

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
    "views": "transforms",
    "draws": "eot-samples",
    "sd": "std",
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

    Args:
        name: Of the argument.
        kinds: Parts of its annotation, names of `convscope.types` spelled out.
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
    def words(self) -> str:
        """Its type as people say it."""
        if self.choices:
            return ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}"
        if "bool" in self.kinds:
            return "a switch"
        if "RandomTransform" in self.kinds:
            return "names with commas"
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
    """Name as typed (``step-size``) to setting, for everything that text can set of a function."""
    found = {}
    meanings = meanings_in(inspect.getdoc(method) or "")
    for p in inspect.signature(method).parameters.values():
        if p.kind is inspect.Parameter.KEYWORD_ONLY and p.name not in HANDLED:
            kind = p.annotation if isinstance(p.annotation, str) else _spelled(p.annotation)
            default = REQUIRED if p.default is inspect.Parameter.empty else p.default
            found[p.name.replace("_", "-")] = _setting(p.name, kind, default, meanings)
    return found


def _spelled(annotation: Any) -> str:
    """An annotation as it is written: ``int``, ``float | None``."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def settings_written(registry: Registry[Any, Any], name: str) -> dict[str, Setting]:
    """As `settings_of`, read from the source of an entry that is not imported."""
    if callable(registry.spec(name).home):
        return settings_of(registry[name])
    function = _source(*registry.home(name))
    meanings = meanings_in(ast.get_docstring(function) or "")
    found = {}
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if argument.arg in HANDLED or argument.annotation is None:
            continue
        value = REQUIRED if default is None else _constant(default)
        kind = ast.unparse(argument.annotation)
        found[argument.arg.replace("_", "-")] = _setting(argument.arg, kind, value, meanings)
    return found


def described(registry: Registry[Any, Any], name: str) -> str:
    """The first paragraphs of an entry's docstring, without marks; nothing is imported."""
    if callable(registry.spec(name).home):
        text = inspect.getdoc(registry[name]) or ""
    else:
        text = ast.get_docstring(_source(*registry.home(name))) or ""
    return _plain(text.partition("\nArgs:")[0])


def arguments_of(registry: Registry[Any, Any], name: str) -> set[str]:
    """Names of all arguments of an entry; nothing is imported."""
    if callable(registry.spec(name).home):
        return set(inspect.signature(registry[name]).parameters)
    arguments = _source(*registry.home(name)).args
    return {argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)}


def takes_target(registry: Registry[Any, Any], name: str) -> str:
    """``"required"``, ``"optional"`` or ``""``: whether an entry goes for a class."""
    if callable(registry.spec(name).home):
        targets = inspect.signature(registry[name]).parameters.get("targets")
        if targets is None:
            return ""
        return "required" if targets.default is inspect.Parameter.empty else "optional"
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


def _setting(name: str, annotation: str, default: Any, meanings: Mapping[str, str]) -> Setting:
    kinds: list[str] = []
    choices: tuple[str, ...] = ()
    for part in re.split(r"\s*\|\s*", annotation):
        if part in _literals():
            choices = _literals()[part]
        elif part.startswith("Literal["):
            choices = tuple(ast.literal_eval(f"({part[8:-1]},)"))
        else:
            kinds.append(part)
    meaning = meanings.get(name, "")
    return Setting(name=name, kinds=tuple(kinds), default=default, meaning=meaning, choices=choices)


@cache
def _literals() -> dict[str, tuple[str, ...]]:
    """Names that `convscope.types` gives to lists of values."""
    found = {}
    for node in _tree("convscope.types").body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            kind = node.value
            if isinstance(kind.value, ast.Name) and kind.value.id == "Literal":
                values = ast.literal_eval(kind.slice)
                name = ast.unparse(node.targets[0])
                found[name] = values if isinstance(values, tuple) else (values,)
    return found


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
    given: dict[str, Any] = {}
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
        if setting.name in given:
            raise UsageError(f"--{option} is given twice", code="U11")
        if "bool" in setting.kinds and not equals:
            if queue and queue[0].lower() in ("true", "false"):
                negated = negated != (queue.pop(0).lower() == "false")
            given[setting.name] = not negated
            continue
        if negated:
            raise UsageError(f"--no-{option}: {option} is no switch", code="U11",
                             expected=f"--{option} with {setting.words}")  # fmt: skip
        if not equals:
            if not queue or re.fullmatch(r"--[a-zA-Z].*", queue[0]):
                raise UsageError(f"--{option} needs a value", code="U11", expected=setting.words)
            value = queue.pop(0)
        given[setting.name] = _converted(option, setting, value)
    return given


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
    if text.lower() == "none" and "None" in setting.kinds:
        return None
    if setting.choices:
        low = text.lower()
        value = VALUES.get(low, low)
        return choose(option, value if value in setting.choices else text, setting.choices)
    if "RandomTransform" in setting.kinds:
        return named_transforms(text)
    if "bool" in setting.kinds:
        if text.lower() not in ("true", "false"):
            raise UsageError(f"--{option} {text!r}", code="U11", expected="true or false")
        return text.lower() == "true"
    if "int" in setting.kinds and "float" not in setting.kinds:
        try:
            return int(text)
        except ValueError:
            raise UsageError(
                f"--{option} {text!r}", code="U11", expected="a whole number"
            ) from None
    if "float" not in setting.kinds:
        return text
    try:
        return fraction(text)
    except UsageError as error:
        error.where = f"--{option}"
        raise


def named_transforms(text: str) -> Any:
    """``"rotation,crop"``: at every draw one of these transforms, or the image as it is.

    Raises:
        UsageError: U01 for a transform that there is not.
    """
    from convscope.attacks import TRANSFORMS, random_choice

    former = {"mirror": "flip", "greyscale": "grayscale"}
    names = [former.get(n.strip(), n.strip()) for n in text.split(",") if n.strip()]
    if not names:
        raise UsageError("--transforms is empty", code="U11", expected=", ".join(TRANSFORMS))
    return random_choice(*(TRANSFORMS[choose("transform", name, TRANSFORMS)] for name in names))
