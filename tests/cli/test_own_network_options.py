"""Every command that takes a MODEL takes what its files do not say: weights, size, names."""

import inspect
from importlib import import_module

import pytest

from convscope.cli._app import MODULE_ORDER


def takes_a_model():
    for name in MODULE_ORDER:
        module = import_module(f"convscope.cli.{name}")
        for title, function in vars(module).items():
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                kinds = [str(p.annotation) for p in inspect.signature(function).parameters.values()]
                names = list(inspect.signature(function).parameters)
                if any("ModelName" in kind for kind in kinds) and not title.startswith("_"):
                    yield pytest.param(kinds, names, id=f"{name}.{title}")


FOUND = list(takes_a_model())


def test_commands_are_found():
    assert len(FOUND) >= 5


@pytest.mark.parametrize(("kinds", "names"), FOUND)
def test_a_command_with_a_model_takes_its_description(kinds, names):
    assert any("OwnNetwork" in kind for kind in kinds), names
