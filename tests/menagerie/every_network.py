"""Networks of timm, torchvision and transformers: what plain torch says, no trace, or one refusal.

Run by ``make menagerie``, in an environment of its own that has these libraries; ``make test`` does
not collect it. Each network meets the logits, the gradient, every explanation and view, and attacks
and recipes in turn, so that each of these meets many networks. The JUnit file holds the outcome of
each cell.
"""

import contextlib
import functools
import inspect

import pytest
import torch

from convscope.attacks import ATTACKS
from convscope.errors import ConvscopeError
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS
from convscope.visualizations import VISUALIZATION_RECIPES, class_images
from tests.contracts.test_attacks import run as attack_with
from tests.contracts.test_explanations import run as explain_with
from tests.contracts.traces import snapshot
from tests.menagerie.checks import Subject, places_that_move

LIBRARIES = ("transformers", "torchvision", "timm")
OTHER_THAN_THREE_BY_THREE = 4
"""Sides from which maps are large enough to tell where a change was made."""


def every_network():
    """All networks of the libraries that are installed."""
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            module = __import__(f"tests.menagerie.{library}_nets", fromlist=["networks"])
            yield from module.networks()


NETWORKS = {name: (build, side) for name, build, side in every_network()}
ATTACKS_EACH, RECIPES_EACH = 3, 1


@functools.lru_cache(maxsize=1)
def subject(name):
    """The network that all tests in a row are about; a refusal is remembered, too."""
    build, side = NETWORKS[name]
    try:
        return Subject.of(name, build, side)
    except ConvscopeError as error:
        return error


def turns(name, entries, each):
    """Every so many-th entry, beginning with another for each network."""
    first = list(NETWORKS).index(name) * each
    names = list(entries)
    return [names[(first + n) % len(names)] for n in range(each)]


def cells():
    """(network, what it meets) in an order that builds each network once."""
    for name in NETWORKS:
        yield name, "logits", None
        for entry in EXPLANATIONS:
            yield name, "explanation", entry
        for entry in LAYER_VIEWS:
            yield name, "view", entry
        for entry in turns(name, ATTACKS, ATTACKS_EACH):
            yield name, "attack", entry
        for entry in turns(name, VISUALIZATION_RECIPES, RECIPES_EACH):
            yield name, "recipe", entry


def logits_and_gradient(one, entry):
    """Bitwise or to rounding what plain torch gives."""
    with one.classifier.probe() as probe:
        found = probe.logits(one.images)
        gradient = probe.gradient(one.images, lambda x, logits, rows: logits[:, 1])
    x = one.images.clone().requires_grad_(True)
    plain = one.plain(x)
    (expected,) = torch.autograd.grad(plain[:, 1].sum(), x)
    assert torch.allclose(found, plain.detach(), rtol=0, atol=one.tolerance())
    size = float(expected.abs().max())

    def same(other):
        return torch.allclose(gradient.gradients, other, rtol=1e-3, atol=1e-4 * size)

    assert same(expected) or any(same(other) for other in gradients_nearby(one))


def gradients_nearby(one):
    """Plain torch's at images that differ by rounding: a ReLU may be at its kink there.

    So it was with vgg11_bn and skresnet18, whose plain gradients jump by 3 % and 1 % within 1e-6.
    """
    for number in range(16):
        generator = torch.Generator().manual_seed(number)
        step = 10.0 ** -(6 + number % 2) * torch.randn(one.images.shape, generator=generator)
        x = (one.images + step.to(one.images)).requires_grad_(True)
        yield torch.autograd.grad(one.plain(x)[:, 1].sum(), x)[0]


def explanation(one, entry):
    """Finite maps of the image's size; logits as they are; places where they belong."""
    found = explain_with(EXPLANATIONS[entry], (one.classifier, one.images, one.labels), None)
    assert found.maps.shape == (2, 1, *one.images.shape[2:]) and found.maps.isfinite().all()
    plain = one.plain(one.images).detach()
    assert torch.allclose(found.logits, plain, rtol=0, atol=one.tolerance())
    if found.layer is None:
        return
    coarse = found.evidence["coarse"]
    followed = "," in found.layer_kind  # Tokens or channels-last maps.
    if followed and min(coarse.shape[2:]) >= OTHER_THAN_THREE_BY_THREE:
        assert sum(places_that_move(one, found.layer)) >= 3
    one_by_one = explain_with(
        EXPLANATIONS[entry], (one.classifier, one.images.flip(0), one.labels), None
    ).maps.flip(0)
    size = float(found.maps.abs().max())
    assert torch.allclose(found.maps, one_by_one, rtol=1e-3, atol=1e-4 * size)


def view(one, entry):
    """Finite, or refused."""
    method = LAYER_VIEWS[entry]
    takes = "images" in inspect.signature(method).parameters
    found = method(one.classifier, one.images) if takes else method(one.classifier)
    if entry == "attention-rollout":
        assert found.maps.isfinite().all() and found.maps.min() >= 0
        assert float(found.evidence["coarse"].sum((2, 3)).max()) <= 1 + 1e-4
    elif takes:
        assert all(layer.maps.isfinite().all() for layer in found.layers)


def attack(one, entry):
    """Images in the box, and what the network says of them."""
    method = ATTACKS[entry]
    few = {"classes": 2} if "classes" in inspect.signature(method).parameters else {}
    labels = one.labels % 5  # Targets of the settings are the label plus one, of five.
    found = attack_with(method, (one.classifier, one.images, labels), **few)
    assert found.adversarials.min() >= 0 and found.adversarials.max() <= 1
    plain = one.plain(found.adversarials).detach()
    assert torch.allclose(found.logits_after, plain, rtol=0, atol=one.tolerance())


def recipe(one, entry):
    """One image of one class, in the box."""
    make = VISUALIZATION_RECIPES[entry]
    steps = {"steps": 2} if "steps" in inspect.signature(make).parameters else {}
    given = {"recipe": make(**steps), "reference": one.images.repeat(2, 1, 1, 1), "control": False}
    found = class_images(one.classifier, [1], **given)
    assert found.images.isfinite().all() and 0 <= found.images.min() <= found.images.max() <= 1


CHECKS = {"logits": logits_and_gradient, "explanation": explanation, "view": view,
          "attack": attack, "recipe": recipe}  # fmt: skip


def test_there_are_enough():
    if len({name.split()[0] for name in NETWORKS}) == len(LIBRARIES):
        assert len(NETWORKS) >= 150


@pytest.mark.parametrize(
    ("name", "kind", "entry"),
    [
        pytest.param(*cell, id=" ".join(filter(None, cell)), marks=pytest.mark.xdist_group(cell[0]))
        for cell in cells()
    ],
)
def test_the_truth_or_a_refusal(name, kind, entry, record_property):
    one = subject(name)
    if isinstance(one, ConvscopeError):
        assert one.code and one.hint
        record_property("outcome", f"wrap refused {one.code}")
        return
    before, images = snapshot(one.module), one.images.clone()
    try:
        CHECKS[kind](one, entry)
        outcome = "right"
    except ConvscopeError as error:
        assert error.code and error.hint, f"a refusal without a way out: {error}"
        assert kind != "logits", f"refused: {error}"
        outcome = f"refused {error.code}"
    record_property("outcome", outcome)
    assert snapshot(one.module) == before, "a trace in the network"
    assert torch.equal(one.images, images), "a trace in the images"
