"""The methods of `convscope serve`: forms made of the records that make this command line."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from convscope._registry import Registry
from convscope.attacks import ATTACKS, SHARED
from convscope.cli._settings import (
    REQUIRED,
    Setting,
    settings_of,
    settings_written,
    takes_target,
)
from convscope.cli._words import values_of
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS
from convscope.visualizations import VISUALIZATION_RECIPES

if TYPE_CHECKING:
    from convscope.serve import Field, Method

KINDS = {
    "bounded": "within a radius",
    "minimal": "smallest change",
    "gradient-ascent": "plain gradient ascent",
    "shared": "one change for many images",
}
"""Of attacks, as a list of them is divided."""


def served_methods() -> list[Method]:
    """All explanations, layer views, attacks and recipes of the registries, in their order."""
    explained = [_method(EXPLANATIONS, name, "explain", "explanations") for name in EXPLANATIONS]
    viewed = [_method(LAYER_VIEWS, name, "explain", "inside the network") for name in LAYER_VIEWS]
    attacks = [
        _method(registry, name, "attack", KINDS[spec.kind])
        for registry in (ATTACKS, SHARED)
        for name, spec in registry.specs().items()
    ]
    recipes = [
        _method(VISUALIZATION_RECIPES, name, "visualize", "images of a class")
        for name in VISUALIZATION_RECIPES
    ]
    return [*explained, *viewed, *attacks, *recipes]


def _method(
    registry: Registry[Any, Any],
    name: str,
    family: Literal["explain", "attack", "visualize"],
    group: str,
) -> Method:
    from convscope.serve import Method

    spec = registry.spec(name)
    # Defaults of recipes are objects, which their source alone does not tell.
    every = (
        settings_of(registry[name]) if family == "visualize" else settings_written(registry, name)
    )
    settings = {
        option: setting
        for option, setting in every.items()
        if setting.choices or set(setting.kinds) - {"Tensor", "None"}
    }
    takes: Literal["image", "images", "network"] = "image"
    target = takes_target(registry, name)
    if family == "visualize":
        takes, target = "network", "required"
    elif registry is SHARED:
        takes = "images"
    elif not getattr(spec, "takes_images", True):
        takes = "network"
    return Method(
        name=name,
        family=family,
        about=spec.about,
        group=group,
        fields=tuple(_field(option, setting) for option, setting in settings.items()),
        target=target,
        black_box=getattr(spec, "black_box", False),
        takes=takes,
        needs_reference=getattr(spec, "needs_reference", False),
        read=partial(values_of, name, settings),
        call=partial(registry.__getitem__, name),
    )


def _field(option: str, setting: Setting) -> Field:
    from convscope.serve import Field

    required = setting.default is REQUIRED
    return Field(
        option=option,
        widget=_widget(setting),
        default="" if required else setting.shown_default,
        choices=setting.choices,
        takes=setting.words,
        meaning=setting.meaning,
        required=required,
    )


def _widget(setting: Setting) -> Literal["number", "whole", "switch", "choice", "text"]:
    """What sets it; numbers are text where fractions such as 8/255 or a word may be typed."""
    kinds = setting.kinds
    if "bool" in kinds:
        return "switch"
    if setting.choices and not setting.is_fill:
        return "choice"
    plain = set(kinds) - {"None"}
    if plain == {"int"}:
        return "whole" if "None" not in kinds else "text"
    return "text"
