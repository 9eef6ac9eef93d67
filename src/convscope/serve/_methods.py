"""Methods as the page offers them: a record each, whose settings become a form.

The records are made where the options of the command line are made, from the same registries; a
page sends words, and they are read as words of a command.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from convscope.errors import UsageError, choose

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.serve._networks import ServedNetwork

Family = Literal["explain", "attack", "visualize"]
Widget = Literal["number", "whole", "switch", "choice", "text"]

MOST_WORDS, LONGEST_WORD = 64, 2000


@dataclass(frozen=True, kw_only=True)
class Field:
    """One setting in a form.

    Attributes:
        option: As on the command line, without ``--``.
        widget: What it is set with.
        default: As it is typed.
        choices: The values that there are, if it is one of a list.
        takes: Its type in words.
        meaning: What the docstring says.
        required: Whether there is no default.
    """

    option: str
    widget: Widget
    default: str
    choices: tuple[str, ...] = ()
    takes: str = ""
    meaning: str = ""
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method that the page offers.

    Attributes:
        name: In its registry.
        family: Which panel offers it.
        about: One sentence.
        group: What it is listed under.
        fields: Its settings.
        target: ``"required"``, ``"optional"`` or empty: whether it goes for a class.
        black_box: Whether answers of the network are enough for it.
        takes: What it is called with: ``"image"``, ``"images"`` (many, of a data set) or
            ``"network"``.
        needs_reference: Whether it learns from images of a data set.
        read: Words such as ``["--steps=4"]`` to keyword arguments.
        call: The function of the registry.
    """

    name: str
    family: Family
    about: str
    group: str
    fields: tuple[Field, ...]
    target: str
    black_box: bool
    takes: Literal["image", "images", "network"]
    needs_reference: bool
    read: Callable[[Sequence[str]], dict[str, Any]]
    call: Callable[[], Callable[..., Any]]

    def why_not(self, served: ServedNetwork) -> str:
        """Why this network cannot have it; empty: it can."""
        if served.classifier.black_box and not self.black_box:
            return "needs gradients or layers; this network only answers"
        if self.takes == "images" and served.data is None:
            return "needs many images: start convscope serve with --data"
        if self.needs_reference and served.data is None:
            return "learns from images: start convscope serve with --data"
        return ""

    def described(self, served: ServedNetwork) -> dict[str, Any]:
        """For the page."""
        return {
            "name": self.name, "family": self.family, "about": self.about, "group": self.group,
            "target": self.target, "why_not": self.why_not(served), "takes": self.takes,
            "fields": [vars(field) | {"choices": list(field.choices)} for field in self.fields],
        }  # fmt: skip


def run_method(
    method: Method, served: ServedNetwork, image: Tensor | None, request: Mapping[str, Any]
) -> Any:
    """Run a method with what a page asks for.

    Args:
        method: The method.
        served: Network and data.
        image: ``(channel, height, width)``, for methods that are called with one.
        request: ``words`` (settings), ``target`` (class number or None), ``seed``.

    Returns:
        The result of the method.

    Raises:
        ConvscopeError: Whatever the method refuses, with its code.
    """
    refused = method.why_not(served)
    if refused:
        raise UsageError(f"{method.name} {refused}", code="M26")
    classifier = served.classifier
    settings = method.read(words_of(request))
    target = target_of(request, classifier, method)
    call = method.call()
    seed = request.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise UsageError("the seed", code="U12", expected="0 to 2^63 - 1")
    generator = torch.Generator().manual_seed(seed)
    if method.family == "visualize":
        return _visualized(served, call(**settings), target, generator)
    if "generator" in inspect.signature(call).parameters:
        settings["generator"] = generator
    if method.takes == "network":
        return call(classifier, **settings)
    if method.takes == "images":
        images, labels = served.many()
        if target is not None and method.target:
            settings["targets"] = torch.tensor([target])
        return call(classifier, images, labels, **settings)
    assert image is not None, "methods that take one are called with one"
    images = image[None]
    if method.family == "explain":
        return call(classifier, images, *([target] if method.target else []), **settings)
    with classifier.probe() as probe:
        labels = probe.logits(images).argmax(dim=1)
    if target is not None and method.target:
        settings["targets"] = torch.tensor([target])
    return call(classifier, images, labels, **settings)


def _visualized(
    served: ServedNetwork, recipe: Any, target: int | None, generator: torch.Generator
) -> Any:
    """The image of one class by a recipe, without the control on random weights."""
    from convscope.visualizations import class_images

    return class_images(
        served.classifier,
        0 if target is None else target,
        recipe=recipe,
        reference=served.reference(),
        control=False,
        generator=generator,
    )


def words_of(request: Mapping[str, Any]) -> list[str]:
    """The settings of a request, checked to be a few short words."""
    words = request.get("words", [])
    if (
        not isinstance(words, list)
        or len(words) > MOST_WORDS
        or not all(isinstance(word, str) and len(word) <= LONGEST_WORD for word in words)
    ):
        raise UsageError("settings that are no words", code="U21", hint="reload the page")
    return list(words)


def target_of(
    request: Mapping[str, Any], classifier: Classifier, method: Method | None = None
) -> int | None:
    """The class that a request goes for.

    Raises:
        UsageError: U08 for a class that there is not, or none where one is needed.
    """
    target = request.get("target")
    known = classifier.num_classes
    if target is None:
        if method is not None and method.target == "required":
            raise UsageError(f"{method.name} needs a target", code="U08", hint="choose a class")
        return None
    if type(target) is not int or not 0 <= target < known:
        raise UsageError("no such class", code="U08", expected=f"0 to {known - 1}")
    return target


def chosen(methods: Mapping[str, Method], name: object) -> Method:
    """The method of a request.

    Raises:
        UsageError: U01 for one that there is not.
    """
    if isinstance(name, str) and name in methods:
        return methods[name]
    return methods[choose("method", str(name)[:80], methods)]
