"""How far do bytes travel? Functions, modules and conversions between a command and its page.

Run: python benchmarks/data_walk.py

Two commands run in this process under `sys.setprofile`, once to import everything and once counted:
an attack on ten digits and a saliency map of one, each with a page. Counted are functions of
convscope that run (class bodies and comprehensions left out), the modules that the classifier is
handed to as an argument, the places that turn 8-bit levels into floats or back (torch conversions,
by the function that asks, and `figures.pixels`), and temporary folders. Conversions inside the
attack's own arithmetic are listed apart: its result has 8-bit levels by definition.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from record import record
from torch.utils._python_dispatch import TorchDispatchMode

from convscope.classifier import Classifier
from convscope.cli import main

ATTACK = "attack pgd mnist-conv2-fc digits:test/0-9 --epsilon 0.1"
INSPECT = "inspect mnist-conv2-fc digits:test/0 --show saliency"
MOST_VISITS = 12
"""Modules that the classifier may be handed to on the way of `INSPECT`."""

MOST_CONVERSIONS = 2
"""Places outside the attack's own arithmetic that may convert between levels and floats."""

OWN = ("convscope.attacks.", "convscope.ascent.", "convscope.probe", "convscope.classifier")
"""Modules whose conversions are the attack's own arithmetic."""


class Conversions(TorchDispatchMode):
    """Notes which function of convscope asks for a conversion between uint8 and float."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and compare the types of what goes in and comes out."""
        out = func(*args, **(kwargs or {}))
        kinds = {x.dtype for x in args if isinstance(x, torch.Tensor)}
        if isinstance(out, torch.Tensor):
            bytes_in, bytes_out = torch.uint8 in kinds, out.dtype == torch.uint8
            floats_in = any(kind.is_floating_point for kind in kinds)
            if (bytes_in and out.is_floating_point()) or (floats_in and bytes_out):
                self.places.append(asking())
        return out


def asking() -> str:
    """The function of convscope nearest to the top of the stack."""
    frame = sys._getframe()
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("convscope."):
            return f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "outside"


@contextlib.contextmanager
def profiled(note: Callable[[Any], None]) -> Iterator[None]:
    """Call `note` with the frame of every function of convscope that is entered."""

    def profile(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("convscope."):
            note(frame)

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


def walk(line: str) -> dict[str, Any]:
    """Run one command with a page as its result, twice; what the second run did."""
    functions: set[tuple[str, str, int]] = set()
    homes: set[str] = set()
    pictures: list[str] = []
    folders: list[str] = []

    def note(frame: Any) -> None:
        code = frame.f_code
        module = frame.f_globals["__name__"]
        if code.co_name.startswith("<") and code.co_name != "<lambda>":
            return
        functions.add((module, code.co_name, code.co_firstlineno))
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        given = [frame.f_locals.get(name) for name in names]
        if any(isinstance(value, Classifier) for value in given):
            homes.add(module)
        if code.co_name == "pixels" and module.startswith("convscope.figures"):
            caller = frame.f_back
            pictures.append(f"{caller.f_globals.get('__name__')}.{caller.f_code.co_name}")

    made = tempfile.mkdtemp

    def watched(*args: Any, **kwargs: Any) -> str:
        folder = made(*args, **kwargs)
        folders.append(folder)
        return folder

    with tempfile.TemporaryDirectory() as place:
        for turn in range(2):
            functions.clear(), homes.clear(), pictures.clear(), folders.clear()
            words = [*line.split(), "--out", str(Path(place) / f"{turn}.html"), "--quiet"]
            conversions = Conversions()
            tempfile.mkdtemp = watched
            try:
                with profiled(note), conversions, contextlib.redirect_stdout(io.StringIO()):
                    assert main(words) == 0
            finally:
                tempfile.mkdtemp = made
    places = dict.fromkeys(conversions.places)
    own = [place for place in places if place.startswith(OWN)]
    other = [place for place in places if place not in own] + list(dict.fromkeys(pictures))
    return {
        "functions": len(functions),
        "files": len({module for module, _, _ in functions}),
        "by_package": by_package(functions),
        "classifier_visits": sorted(homes),
        "conversions": other,
        "conversions_of_the_attack": own,
        "temporary_folders": len(folders),
        "entered": sorted(f"{module}.{name}" for module, name, _ in functions),
    }


def by_package(functions: set[tuple[str, str, int]]) -> dict[str, int]:
    """How many functions of each package ran."""
    found: dict[str, int] = {}
    for module, _, _ in functions:
        package = module.split(".")[1]
        found[package] = found.get(package, 0) + 1
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


if __name__ == "__main__":
    attack, inspect = walk(ATTACK), walk(INSPECT)
    record(
        "data_walk",
        {"attack": attack, "inspect": inspect},
        commands={"attack": ATTACK, "inspect": INSPECT},
        limits={"classifier_visits": MOST_VISITS, "conversions": MOST_CONVERSIONS},
    )
    short = len(inspect["classifier_visits"]) <= MOST_VISITS
    sys.exit(0 if short and len(attack["conversions"]) <= MOST_CONVERSIONS else 1)
