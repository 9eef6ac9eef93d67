"""Words as people type them: options under other names, settings of methods as values.

The names that other libraries use stand here in two tables, each applied only where the command or
method has the thing and not the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, get_args

from convscope.cli._output import fraction
from convscope.cli._settings import FILLS, Setting, settings_of
from convscope.errors import UsageError, choose

if TYPE_CHECKING:
    import cyclopts

OPTIONS: Mapping[str, str | tuple[str, ...]] = {
    "--lr": "--learning-rate",
    "--max-lr": "--learning-rate",
    "--other-learning-rate": "--nonfilter-lr",
    "--accumulate": "--microbatches",
    "--clip": "--max-grad-norm",
    "--noise": "--noise-std",
    "--points-per-epoch": "--evals-per-epoch",
    "--batch": "--batch-size",
    "--bs": "--batch-size",
    "--batchsize": "--batch-size",
    "--epoch": "--epochs",
    "--n-epochs": "--epochs",
    "--num-epochs": "--epochs",
    "--eps": "--epsilon",
    "--wd": "--weight-decay",
    "--optim": "--optimizer",
    "--sched": "--schedule",
    "--label-smooth": "--label-smoothing",
    "--dataset": "--data",
    "--data-path": "--data-dir",
    "--data-root": "--data-dir",
    "--root": "--data-dir",
    "--output": "--out",
    "--output-dir": "--out",
    "--out-dir": "--out",
    "-o": "--out",
    "--limit": "--count",
    "--images": ("--shown", "--count"),
    "--attacked": "--count",
    "--num-images": "--count",
    "--n-images": "--count",
    "--random-seed": "--seed",
    "--labels": "--classes",
    "--class-names": "--classes",
    "--checkpoint": "--weights",
    "--ckpt": "--weights",
    "--pretrained": "--weights",
    "--methods": "--show",
    "--method": "--show",
    "--target": "--targets",
    "--targets": "--target",
    "--overwrite": "--force",
    "--gate": "--fail-under",
    "--resume-from": "--resume",
    "--attack": "--method",
}
"""What is typed, and what it means (the first that there is) where a command has not the former."""

MULTIPLIED = (
    "--accumulate-grad-batches",
    "--grad-accum",
    "--grad-accum-steps",
    "--gradient-accumulation-steps",
)
"""What other trainers call batches per update; `--microbatches` are parts of one instead."""

OPTION_VALUES = {
    "--preset": {"faithful": "paper"},
    "--split": {
        "val": "validation",
        "valid": "validation",
        "dev": "validation",
        "training": "train",
        "testing": "test",
    },
    "--device": {"gpu": "cuda", "GPU": "cuda", "CPU": "cpu"},
    "--norm": {"inf": "linf", "Linf": "linf", "LInf": "linf", "L2": "l2", "2": "l2"},
    "--schedule": {"onecycle": "one-cycle", "one_cycle": "one-cycle"},
    "--precision": {"float32": "fp32", "bfloat16": "bf16"},
    "--optimizer": {"AdamW": "adamw", "Adam": "adam", "SGD": "sgd", "Muon": "muon"},
    "--adversary": {"fgsm": "fgsm-rs", "PGD": "pgd", "TRADES": "trades"},
}
"""Values that are typed, and what an option calls them."""

SETTINGS = {
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

SETTING_VALUES = {
    "inf": "linf",
    "l-inf": "linf",
    "linfinity": "linf",
    "2": "l2",
    "ce": "cross-entropy",
}
"""Other spellings of values that are one of a list."""


def translated(app: cyclopts.App, words: Sequence[str]) -> list[str]:
    """The words with options and values that people type replaced by the command's own.

    Example:
        >>> from convscope.cli._app import build_app
        >>> translated(build_app(), ["train", "mnist-conv1", "--lr=0.1", "--epoch", "2"])
        ['train', 'mnist-conv1', '--learning-rate=0.1', '--epochs', '2']
    """
    meant: list[str] = []
    for before, word in zip(("", *words), words, strict=False):
        option, equals, value = word.partition("=")
        if equals and option in OPTION_VALUES:
            meant.append(f"{option}={OPTION_VALUES[option].get(value, value)}")
        else:
            meant.append(OPTION_VALUES.get(before, {}).get(word, word))
    if not any(word.partition("=")[0] in (*OPTIONS, *MULTIPLIED) for word in meant):
        return meant
    known = _options(app, meant)
    found: list[str] = []
    for place, word in enumerate(meant):
        if word == "--":
            return found + meant[place:]
        name, equals, value = word.partition("=")
        if name in MULTIPLIED and "--microbatches" in known:
            raise UsageError(
                f"no {name}: --batch-size is the number of images per update here",
                code="U11",
                expected="--batch-size IMAGES --microbatches PARTS",
                hint="for N steps of B images elsewhere: --batch-size N*B --microbatches N",
            )
        others = OPTIONS.get(name, ())
        there = [option for option in ((others,) if isinstance(others, str) else others)
                 if option in known]  # fmt: skip
        replace = bool(there) and name not in known
        found.append(f"{there[0]}{equals}{value}" if replace else word)
    return found


FRACTION = re.compile(r"[+-]?\d*\.\d*[1-9]\d*")
"""A number that is not whole; 30.0 is."""


def refuse_fractions(app: cyclopts.App, words: Sequence[str]) -> None:
    """The parser rounds a fraction for an option that takes a whole number; nobody asked for it.

    Raises:
        UsageError: U11 for such a value.

    Example:
        >>> from convscope.cli._app import build_app
        >>> refuse_fractions(build_app(), ["train", "mnist-conv1", "--epochs", "2.0"])
    """
    words = words[: list(words).index("--")] if "--" in words else words
    pairs = [*pairwise(words)]
    pairs += [(name, value) for name, equals, value in (w.partition("=") for w in words) if equals]
    broken = [(name, value) for name, value in pairs
              if name.startswith("--") and FRACTION.fullmatch(value)]  # fmt: skip
    if not broken:
        return
    whole = {
        name
        for argument in _arguments(app, words)
        if int in (argument.hint, *get_args(argument.hint)) and float not in get_args(argument.hint)
        for name in argument.names
    }
    for name, value in broken:
        if name in whole:
            raise UsageError(f"{name} {value!r}", code="U11", expected="a whole number")


def _options(app: cyclopts.App, words: Sequence[str]) -> set[str]:
    """Names of the options of the command that the words begin with."""
    return {
        name
        for argument in _arguments(app, words)
        for name in argument.names
        if name.startswith("-")
    }


def _arguments(app: cyclopts.App, words: Sequence[str]) -> Sequence[cyclopts.Argument]:
    """What the command that the words begin with takes."""
    _, apps, _ = app.parse_commands(list(words))
    command = apps[-1]
    return () if command.default_command is None else command.assemble_argument_collection()


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
        if option not in known and SETTINGS.get(option) in known:
            option = SETTINGS[option]
        if option and not known:
            raise UsageError(f"{name} has no setting --{option}: it has none", code="U11")
        option = choose(f"setting of {name}", option, known, code="U11")
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
        value = SETTING_VALUES.get(low, low)
        return choose(option, value if value in setting.choices else text, setting.choices)
    if "Callable" in kinds:
        return named_transforms(text)
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
    """A word such as ``mean`` or ``blur``, or a gray level.

    Raises:
        UsageError: U01 for another word, U03 for a level that is none.

    Example:
        >>> fill_of("fill", "blur"), fill_of("fill", "51/255")
        ('blur', 0.2)
    """
    if text in choices:
        return text
    if not any(character.isdigit() for character in text):
        return choose(option, text, (*choices, "a gray level such as 0.5"))
    level = fraction(text)
    if not 0 <= level <= 1:
        meant = f"did you mean {level:g}/255?" if 1 < level <= 255 else ""
        raise UsageError(
            f"--{option} {text}", code="U03", expected="a gray level from 0 to 1", hint=meant
        )
    return level


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
