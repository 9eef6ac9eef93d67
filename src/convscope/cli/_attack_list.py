"""What attacks there are and what they take: ``attack list``, ``settings``, ``METHOD --help``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import cyclopts

from convscope._registry import Registry
from convscope.attacks import ATTACKS, SHARED
from convscope.cli._attack_settings import REQUIRED, described, settings_written, takes_target
from convscope.cli._output import emit, next_step, table
from convscope.errors import choose

Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="")]


def chosen_attack(typed: str, *, shared: bool = True) -> str:
    """The method that is meant: a name, or a name that papers and other libraries use.

    Raises:
        UsageError: U01 with the closest names.

    Example:
        >>> chosen_attack("pgd"), chosen_attack("MI-FGSM"), chosen_attack("carlini_wagner")
        ('pgd', 'mi-fgsm', 'carlini-wagner')
    """
    names = [*ATTACKS, *(SHARED if shared else ())]
    name = typed.strip().lower().replace("_", "-")
    if name in names:
        return name
    meant = ATTACKS.known(typed)
    return choose("attack", meant if meant in names else typed, names, aliases=ATTACKS.aliases)


def registry_of(name: str) -> Registry[Any, Any]:
    """Where an attack is registered."""
    return ATTACKS if name in ATTACKS else SHARED


def list_attacks(*, as_json: Json = False) -> None:
    """List the attacks.

    Args:
        as_json: Print JSON.
    """
    specs = {**ATTACKS.specs(), **SHARED.specs()}
    kinds = list(dict.fromkeys(spec.kind for spec in specs.values()))
    rows = [
        {"attack": name, "kind": spec.kind, "does": spec.about}
        for kind in kinds
        for name, spec in specs.items()
        if spec.kind == kind
    ]
    if as_json:
        emit(rows, as_json=True)
    else:
        table(["attack", "kind", "what it does"], [list(row.values()) for row in rows])
        next_step("convscope attack settings pgd")


def list_settings(method: str, /, *, as_json: Json = False) -> None:
    """List the settings of one attack, with defaults.

    Args:
        method: Its name.
        as_json: Print JSON.
    """
    name = chosen_attack(method)
    rows = setting_rows(name)
    if as_json:
        emit(rows, as_json=True)
        return
    table(
        ["setting", "takes", "default", "meaning"],
        [[row["setting"], row["type"], row["shown"], row["meaning"]] for row in rows],
        title=f"{name}: {registry_of(name).about(name)}",
    )
    next_step(example_of(name))


def setting_rows(name: str) -> list[dict[str, Any]]:
    """The settings of an attack, a row each; nothing is imported."""
    return [
        {
            "setting": f"--{option}",
            "type": setting.words,
            "default": "required" if setting.default is REQUIRED else setting.default,
            "shown": setting.shown_default,
            "choices": list(setting.choices),
            "meaning": setting.meaning,
        }
        for option, setting in settings_written(registry_of(name), name).items()
    ]


def example_of(name: str) -> str:
    """A command that runs as it stands.

    Example:
        >>> example_of("from-noise")
        'convscope attack from-noise mnist-conv2-fc digits:test/0-9 --target 3'
    """
    many = name in SHARED
    images = "digits:test/0-99" if many else "digits:test/0-9"
    target = " --target 3" if takes_target(registry_of(name), name) == "required" else ""
    budget = " --epsilon 0.1" if "epsilon" in settings_written(registry_of(name), name) else ""
    return f"convscope attack {name} mnist-conv2-fc {images}{target}{'' if many else budget}"


def wanted_page(words: Sequence[str]) -> str:
    """The method whose page ``attack METHOD --help`` asks for, or nothing.

    Example:
        >>> wanted_page(["attack", "fgsm", "--help"]), wanted_page(["attack", "list", "--help"])
        ('fgsm', '')
    """
    if len(words) < 3 or words[0] != "attack" or words[1].startswith("-"):
        return ""
    if not {"--help", "-h"} & set(words[2:]):
        return ""
    name = ATTACKS.known(words[1])
    return name if name in ATTACKS or name in SHARED else ""


def show_page(name: str) -> None:
    """The help page of one attack: what it does, its settings, an example."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(Text(f"Usage: convscope attack {name} MODEL IMAGES [SETTINGS] [OPTIONS]\n"))
    console.print(Text(described(registry_of(name), name) + "\n"))
    rows = setting_rows(name)
    if rows:
        drawn = Table(title="Settings", title_justify="left", expand=True)
        drawn.add_column("setting", no_wrap=True)
        drawn.add_column("takes", ratio=2)
        drawn.add_column("default", no_wrap=True)
        drawn.add_column("meaning", ratio=5)
        for row in rows:
            drawn.add_row(*(Text(str(row[key])) for key in ("setting", "type", "shown", "meaning")))
        console.print(drawn)
    else:
        console.print("This method has no settings.")
    target = takes_target(registry_of(name), name)
    if target and name in ATTACKS:
        needed = "needed" if target == "required" else "by default any wrong class"
        console.print(f"\n--target CLASS: the class to reach, by name or number; {needed}.")
    console.print("Options of every attack: convscope attack --help. Example:\n")
    print(f"    {example_of(name)}")


def register(group: cyclopts.App) -> None:
    """Add the commands to the group."""
    group.command(list_attacks, name="list")
    group.command(list_settings, name="settings")
