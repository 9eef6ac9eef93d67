"""What methods there are and what they take: ``attack`` and ``inspect`` ``list``, ``settings``.

Nothing here imports a method: names come from the registries, settings from the sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from convscope._registry import Registry
from convscope.attacks import ATTACKS, SHARED
from convscope.cli._options import Json
from convscope.cli._output import emit, next_step, table
from convscope.cli._settings import REQUIRED, described, settings_written, takes_target
from convscope.errors import UsageError, choose
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS

FAMILIES: dict[str, tuple[Registry[Any, Any], ...]] = {
    "attack": (ATTACKS, SHARED),
    "inspect": (LAYER_VIEWS, EXPLANATIONS),
}
"""The registries whose methods a command runs."""

HELP_FLAGS = {"--help", "-h"}


def chosen_attack(typed: str, *, shared: bool = True) -> str:
    """The method that is meant: a name, or a name that papers and other libraries use.

    Raises:
        UsageError: U01 with the closest names.

    Example:
        >>> chosen_attack("pgd"), chosen_attack("MI-FGSM"), chosen_attack("carlini_wagner")
        ('pgd', 'mi-fgsm', 'carlini-wagner')
    """
    return _chosen("attack", typed, [*ATTACKS, *(SHARED if shared else ())], ATTACKS)


def chosen_explanations(text: str, known: Iterable[str]) -> list[str]:
    """Comma-separated names, each of them known, by whatever name they are known elsewhere.

    Raises:
        UsageError: U01 for a name that there is not, or none.

    Example:
        >>> chosen_explanations("gradcam, ig", ["grad-cam", "integrated-gradients"])
        ['grad-cam', 'integrated-gradients']
    """
    names, found = list(known), []
    for typed in (part.strip() for part in text.split(",")):
        if not typed:
            raise UsageError(f"--show {text!r}", code="U01", expected="names with commas between")
        found.append(_chosen("explanation", typed, names, EXPLANATIONS))
    return list(dict.fromkeys(found))


def _chosen(kind: str, typed: str, names: list[str], registry: Registry[Any, Any]) -> str:
    name = typed.strip().lower().replace("_", "-")
    if name in names:
        return name
    meant = registry.known(typed)
    return choose(kind, meant if meant in names else typed, names, aliases=registry.aliases)


def registry_of(name: str) -> Registry[Any, Any]:
    """Where a method is registered."""
    return next(
        (registry for family in FAMILIES.values() for registry in family if name in registry),
        ATTACKS,
    )


def list_attacks(*, as_json: Json = False) -> None:
    """List the attacks.

    Args:
        as_json: Print JSON.
    """
    _list("attack", as_json)
    if not as_json:
        next_step("convscope attack settings pgd")


def list_explanations(*, as_json: Json = False) -> None:
    """List the explanations and layer views of --show.

    Args:
        as_json: Print JSON.
    """
    _list("inspect", as_json)
    if not as_json:
        next_step("convscope inspect settings occlusion")


def _list(command: str, as_json: bool) -> None:
    column = "attack" if command == "attack" else "method"
    specs = {
        name: spec for registry in FAMILIES[command] for name, spec in registry.specs().items()
    }
    rows = [
        {column: name, "kind": getattr(spec, "kind", ""), "does": spec.about}
        for name, spec in specs.items()
    ]
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    rows.sort(key=lambda row: kinds.index(row["kind"]))
    if as_json:
        emit(rows, as_json=True)
    elif any(kinds):
        table([column, "kind", "what it does"], [list(row.values()) for row in rows])
    else:
        table([column, "what it does"], [[row[column], row["does"]] for row in rows])


def list_attack_settings(method: str, /, *, as_json: Json = False) -> None:
    """List the settings of one attack, with defaults.

    Args:
        method: Its name.
        as_json: Print JSON.
    """
    _list_settings("attack", chosen_attack(method), as_json)


def list_explanation_settings(method: str, /, *, as_json: Json = False) -> None:
    """List the settings of one explanation or layer view, with defaults.

    Args:
        method: Its name.
        as_json: Print JSON.
    """
    (name,) = chosen_explanations(method, [*LAYER_VIEWS, *EXPLANATIONS])
    _list_settings("inspect", name, as_json)


def _list_settings(command: str, name: str, as_json: bool) -> None:
    rows = setting_rows(name)
    if as_json:
        emit(rows, as_json=True)
        return
    if rows:
        table(
            ["setting", "takes", "default", "meaning"],
            [[row["setting"], row["type"], row["shown"], row["meaning"]] for row in rows],
            title=f"{name}: {registry_of(name).about(name)}",
        )
    else:
        emit(None, text=f"{name} has no settings")
    next_step(example_of(command, name))


def setting_rows(name: str) -> list[dict[str, Any]]:
    """The settings of a method, a row each; nothing is imported."""
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


def example_of(command: str, name: str) -> str:
    """A command that runs as it stands.

    Example:
        >>> example_of("attack", "from-noise")
        'convscope attack from-noise mnist-conv2-fc digits:test/0-9 --target 3'
        >>> example_of("inspect", "rise")
        'convscope inspect mnist-conv2-fc digits:test/7 --show rise'
    """
    if command == "inspect":
        return f"convscope inspect mnist-conv2-fc digits:test/7 --show {name}"
    many = name in SHARED
    images = "digits:test/0-99" if many else "digits:test/0-9"
    target = " --target 3" if takes_target(registry_of(name), name) == "required" else ""
    budget = " --epsilon 0.1" if "epsilon" in settings_written(registry_of(name), name) else ""
    return f"convscope attack {name} mnist-conv2-fc {images}{target}{'' if many else budget}"


def wanted_page(words: Sequence[str]) -> str:
    """The method whose page is asked for by words with ``--help``, or nothing.

    Example:
        >>> wanted_page(["attack", "fgsm", "--help"]), wanted_page(["attack", "list", "--help"])
        ('fgsm', '')
        >>> wanted_page(["inspect", "cam", "-h"]), wanted_page(["inspect", "--help"])
        ('grad-cam', '')
        >>> wanted_page(["inspect", "runs/digits", "--show", "occlusion", "--help"])
        'occlusion'
    """
    if words[0] not in FAMILIES:
        return ""
    family = FAMILIES[words[0]]
    typed = words[1]
    if words[0] == "inspect" and "--show" in words[:-1]:
        typed = words[words.index("--show") + 1]
    if typed.startswith("-"):
        return ""
    name = family[-1].known(typed) if words[0] == "inspect" else ATTACKS.known(typed)
    return name if any(name in registry for registry in family) else ""


def show_page(name: str) -> None:
    """The help page of one method: what it does, its settings, an example."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Not `registry in family`: comparing two registries would import every entry of both.
    command = "attack" if any(name in registry for registry in FAMILIES["attack"]) else "inspect"
    how = f"{name} MODEL IMAGES" if command == "attack" else f"MODEL IMAGES --show {name}"
    console = Console()
    console.print(Text(f"Usage: convscope {command} {how} [SETTINGS] [OPTIONS]\n"))
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
    if command == "attack":
        target = takes_target(registry_of(name), name)
        if target and name in ATTACKS:
            needed = "needed" if target == "required" else "by default any wrong class"
            console.print(f"\n--target CLASS: the class to reach, by name or number; {needed}.")
    console.print(f"Options of every method: convscope {command} --help. Example:\n")
    print(f"    {example_of(command, name)}")


def show_all_settings() -> None:
    """The settings of all methods of ``--show``, in a table below ``inspect --help``."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    methods: dict[str, list[str]] = {}
    takes: dict[str, str] = {}
    for registry in FAMILIES["inspect"]:
        for name in registry:
            for row in setting_rows(name):
                methods.setdefault(row["setting"], []).append(name)
                takes.setdefault(row["setting"], row["type"])
    drawn = Table(title="Settings of the methods of --show", title_justify="left", expand=True)
    drawn.add_column("setting", no_wrap=True)
    drawn.add_column("takes", ratio=2)
    drawn.add_column("of", ratio=3)
    for setting, names in methods.items():
        drawn.add_row(*(Text(text) for text in (setting, takes[setting], ", ".join(names))))
    console = Console()
    console.print(drawn)
    console.print("Each method has its page: convscope inspect occlusion --help.")
