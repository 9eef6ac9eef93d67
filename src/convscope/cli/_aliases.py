"""Options under the names that people type: one table, applied where a command has the option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cyclopts

OPTIONS: Mapping[str, str | tuple[str, ...]] = {
    "--lr": "--learning-rate",
    "--max-lr": "--learning-rate",
    "--other-learning-rate": "--nonfilter-lr",
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


VALUES = {
    "--preset": {"faithful": "paper"},
    "--split": {
        "val": "validation",
        "valid": "validation",
        "dev": "validation",
        "training": "train",
        "testing": "test",
    },
    "--device": {"gpu": "cuda", "cuda:0": "cuda"},
    "--norm": {"inf": "linf", "Linf": "linf", "LInf": "linf", "L2": "l2", "2": "l2"},
    "--schedule": {"onecycle": "one-cycle", "one_cycle": "one-cycle"},
    "--precision": {"float32": "fp32", "bfloat16": "bf16"},
    "--optimizer": {"AdamW": "adamw", "Adam": "adam", "SGD": "sgd", "Muon": "muon"},
    "--adversary": {"fgsm": "fgsm-rs", "PGD": "pgd", "TRADES": "trades"},
}
"""Values that are typed, and what an option calls them."""


def translated(app: cyclopts.App, words: Sequence[str]) -> list[str]:
    """The words with options that people type replaced by the command's own names for them.

    Example:
        >>> from convscope.cli._app import build_app
        >>> translated(build_app(), ["train", "mnist-conv1", "--lr=0.1", "--epoch", "2"])
        ['train', 'mnist-conv1', '--learning-rate=0.1', '--epochs', '2']
    """
    words = [_value(words[place - 1] if place else "", word) for place, word in enumerate(words)]
    if not any(word.partition("=")[0] in OPTIONS for word in words):
        return words
    known = _options(app, words)
    found: list[str] = []
    for place, word in enumerate(words):
        if word == "--":
            return found + list(words[place:])
        name, equals, value = word.partition("=")
        meant = OPTIONS.get(name, ())
        others = [option for option in ((meant,) if isinstance(meant, str) else meant)
                  if option in known]  # fmt: skip
        replace = bool(others) and name not in known
        found.append(f"{others[0]}{equals}{value}" if replace else word)
    return found


def _value(before: str, word: str) -> str:
    """A word, with the value that an option has, before it or in it, under its own name."""
    option, equals, value = word.partition("=")
    if equals and option in VALUES:
        return f"{option}={VALUES[option].get(value, value)}"
    return VALUES.get(before, {}).get(word, word)


def _options(app: cyclopts.App, words: Sequence[str]) -> set[str]:
    """Names of the options of the command that the words begin with."""
    _, apps, _ = app.parse_commands(list(words))
    command = apps[-1]
    if command.default_command is None:
        return set()
    return {
        name
        for argument in command.assemble_argument_collection()
        for name in argument.names
        if name.startswith("-")
    }
