"""Every method on every spelling of a network: what plain torch says, no trace, or one refusal.

The reference is a second network from the same seed, run by plain torch. New registry entries are
tested here without being named.
"""

import contextlib
import functools
import inspect

import pytest
import torch

from convscope._random_weights import with_random_weights
from convscope.attacks import ATTACKS
from convscope.classifier import Classifier
from convscope.errors import ConvscopeError
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS
from convscope.models import summarize
from convscope.visualizations import VISUALIZATION_RECIPES, class_images
from tests.contracts.test_attacks import run as attack_with
from tests.contracts.test_explanations import run as explain_with
from tests.contracts.traces import snapshot
from tests.zoo.attention import ATTENTION, PLACES
from tests.zoo.convolutional import CLASSES, CONVOLUTIONAL
from tests.zoo.odd import ODD, ODD_TWINS, WRAPPED_WITH

ZOO = CONVOLUTIONAL | ODD | ATTENTION
SHAPE = (3, 8, 8)
COUNT = 5
IMAGES = torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(11))
LABELS = torch.arange(COUNT) % CLASSES

CAM = ("grad-cam", "hires-cam", "layer-cam")
LAYERS = (*CAM, *LAYER_VIEWS)

# The only refusals there may be: network -> (entries, code).
REFUSED = {
    "channels last": [(CAM, "M15")],
    "tokens": [(CAM, "M15")],
    "windows": [(CAM, "M15")],
    "recurrent": [(CAM, "M15")],
    "bare residual": [(CAM, "M15")],
    "1x1 maps": [(CAM, "M15")],
    "linear": [(LAYERS, "M15")],
    "scripted": [(LAYERS, "M17")],
    "frozen scripted": [(LAYERS, "M17")],
    "traced": [(LAYERS, "M17")],
    "exported": [(LAYERS, "M15")],
    "functional": [((*CAM, "feature-maps", "selected-maps"), "M15")],
    "tied": [(LAYERS, "M15")],
    # Of what goes into a normalization, activations times gradients cancel.
    "vision transformer": [(("hires-cam",), "M15")],
    "attention written out": [(("hires-cam",), "M15")],
    "registers": [(("hires-cam",), "M15")],
    # Much is done after the last layer that could be followed.
    "best windows": [(CAM, "M15")],
    # Several maps matter at once, or a sum that no module returns, and much comes after the last
    # layer that all passes through.
    "sliced": [(CAM, "M15")],
    "indexed": [(CAM, "M15")],
    "looped": [(CAM, "M15")],
    "looped by kind": [(CAM, "M15")],
    "splits": [(CAM, "M15")],
    "pre-activation": [(CAM, "M15")],
    "stochastic depth": [(CAM, "M15")],
    "unflattened": [(CAM, "M15")],
}
WITHOUT_MAPS = {"1x1 maps", "linear", "exported", "functional", "tied"}
RANDOM = {"dropout always"}
ATTENDING = {
    "tokens",
    "vision transformer",
    "attention written out",
    "averaged tokens",
    "registers",
    "registers at the end",
    "library transformer",
}


@functools.cache
def made(name):
    """A network from a fixed seed, its classifier, and a twin to compare with."""
    torch.manual_seed(1)
    module = ZOO[name]()
    torch.manual_seed(1)
    twin = ODD_TWINS.get(name, ZOO[name])()
    before = snapshot(module)
    classifier = Classifier.wrap(module, input_shape=SHAPE, **WRAPPED_WITH.get(name, {}))
    assert snapshot(module) == before, "wrapping left a trace"
    return module, classifier, twin


def plain(name, images):
    """Logits by plain torch, in evaluation mode."""
    _, classifier, twin = made(name)
    with contextlib.suppress(NotImplementedError):
        twin.eval()
    out = twin(images.clone().to(classifier.dtype))
    out = WRAPPED_WITH.get(name, {}).get("output", lambda x: x)(out)
    return (out.log() if classifier.probabilities else out).float()


def close(found, expected, classifier):
    """To 2e-6 of the largest number; bfloat16 has 8 bits."""
    share = 2e-2 if classifier.dtype == torch.bfloat16 else 2e-6
    size = max(float(expected.detach().abs().max()), 1.0)
    return torch.allclose(found, expected.detach(), rtol=0, atol=share * size)


def refusal(name, entry):
    for entries, code in REFUSED.get(name, ()):
        if entry in entries:
            return code
    if entry == "attention-rollout" and name not in ATTENDING:
        return "M17" if name in ("scripted", "frozen scripted", "traced") else "M15"
    return None


def outcome(name, entry, action):
    """What `action` returns; ``None`` if it is refused as it has to be. It leaves no trace."""
    module, _, _ = made(name)
    before, images = snapshot(module), IMAGES.clone()
    expected = refusal(name, entry)
    try:
        result = action(images)
    except ConvscopeError as error:
        assert expected is not None, f"refused: {error}"
        assert error.code == expected and error.hint
        result = None
    else:
        assert expected is None, "should have been refused"
    assert snapshot(module) == before, "a trace in the network"
    assert torch.equal(images, IMAGES), "a trace in the images"
    return result


each_network = pytest.mark.parametrize("name", ZOO)


def each_network_with(methods, every):
    """Every network with every method; one in `every` cells of the grid, so that each network and
    each method is met, is in the fast suite, the rest in the slow one.
    """
    return pytest.mark.parametrize(
        ("name", "entry"),
        [
            pytest.param(
                name,
                entry,
                id=f"{entry}-{name}",
                marks=[] if (row + column) % every == 0 else [pytest.mark.slow],
            )
            for row, name in enumerate(ZOO)
            for column, entry in enumerate(methods)
        ],
    )


def test_the_zoo_is_large_enough():
    assert len(ZOO) >= 60


@each_network
def test_logits_are_those_of_plain_torch(name):
    _, classifier, _ = made(name)

    torch.manual_seed(2)

    def act(images):
        with classifier.probe() as probe:
            found = probe.logits(images)
            if name not in RANDOM:
                many = probe.logits(images.repeat(60, 1, 1, 1))
                assert close(many, found.repeat(60, 1), classifier)
            return found

    found = outcome(name, "logits", act)
    torch.manual_seed(0)  # A network that draws gets a stream of its own, from this seed.
    assert close(found, plain(name, IMAGES), classifier)


@each_network
def test_gradients_are_those_of_plain_autograd(name):
    _, classifier, _ = made(name)
    pick = lambda x, logits, rows: logits[:, 1]

    torch.manual_seed(2)

    def act(images):
        with classifier.probe() as probe:
            return probe.gradient(images, pick)

    found = outcome(name, "gradient", act)
    torch.manual_seed(0)
    x = IMAGES.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(plain(name, x)[:, 1].sum(), x)
    assert close(found.gradients, expected, classifier)


@each_network_with(EXPLANATIONS, 3)
def test_explanations(name, entry):
    _, classifier, _ = made(name)
    act = lambda images: explain_with(EXPLANATIONS[entry], (classifier, images, LABELS), 1)
    found = outcome(name, entry, act)
    if found is None:
        return
    assert found.maps.shape == (COUNT, 1, *SHAPE[1:]) and found.maps.isfinite().all()
    if name in RANDOM:
        assert "randomized" in classifier.flags
        return
    assert close(found.logits, plain(name, IMAGES), classifier)
    assert all(flag.startswith("zero-maps") for flag in found.flags)
    if name == "rounds hard" and entry == "saliency":
        assert found.flags == (f"zero-maps: of {COUNT} of {COUNT} images",)
    if entry == "saliency":
        x = IMAGES.clone().requires_grad_(True)
        (right,) = torch.autograd.grad(plain(name, x)[:, 1].sum(), x)
        assert close(found.maps[:, 0], right.abs().amax(1), classifier)
    if entry == "grad-cam":
        assert name not in PLACES or found.layer == PLACES[name][0]
        assert close(found.evidence["coarse"][:, 0], cam_by_hand(name, found.layer), classifier)


NAMED = "choose one with layer=: "


@pytest.mark.parametrize("name", [n for n in REFUSED if refusal(n, "grad-cam") == "M15"])
def test_layers_that_a_refusal_names_will_do(name):
    _, classifier, _ = made(name)
    with pytest.raises(ConvscopeError) as caught:
        EXPLANATIONS["grad-cam"](classifier, IMAGES)
    hint = caught.value.hint
    if not hint.startswith(NAMED):
        assert hint and name in WITHOUT_MAPS
        return
    assert name not in WITHOUT_MAPS
    for layer in hint.removeprefix(NAMED).split(", "):
        if layer != "...":
            found = EXPLANATIONS["grad-cam"](classifier, IMAGES, layer=layer)
            assert found.maps.isfinite().all() and found.maps.shape[2:] == SHAPE[1:]
            assert f"of {COUNT} of {COUNT}" not in str(found.flags)


def cam_by_hand(name, layer):
    """Grad-CAM of class 1 by a hook on the twin and plain autograd."""
    _, _, twin = made(name)
    path, _, number = layer.removeprefix("_orig_mod.").partition("#")
    calls, kept = [], []

    def hook(module, inputs, output):
        calls.append(1)
        if not number or len(calls) == int(number) + 1:
            kept.clear()
            kept.append(output.detach().clone().requires_grad_(True))
            return kept[0].clone()
        return None

    handle = dict(twin.named_modules())[path].register_forward_hook(hook)
    try:
        (gradient,) = torch.autograd.grad(plain(name, IMAGES)[:, 1].sum(), kept[0])
    finally:
        handle.remove()
    _, as_maps = PLACES.get(name, ("", lambda x: x))
    gradient, activations = as_maps(gradient), as_maps(kept[0])
    return (gradient.mean((2, 3), keepdim=True) * activations).sum(1).float()


@each_network_with(ATTACKS, 6)
def test_attacks(name, entry):
    _, classifier, _ = made(name)
    few = {"classes": 2} if "classes" in inspect.signature(ATTACKS[entry]).parameters else {}
    act = lambda images: attack_with(ATTACKS[entry], (classifier, images, LABELS), **few)
    found = outcome(name, entry, act)
    if found is None or name in RANDOM:
        return
    assert close(found.logits_before, plain(name, found.originals), classifier)
    assert close(found.logits_after, plain(name, found.adversarials), classifier)
    quantized = found.quantized.float() / 255
    assert close(found.logits_quantized, plain(name, quantized), classifier)


@each_network_with(LAYER_VIEWS, 2)
def test_layer_views(name, entry):
    _, classifier, _ = made(name)
    view = LAYER_VIEWS[entry]
    takes = "images" in inspect.signature(view).parameters
    found = outcome(
        name, entry, lambda images: view(classifier, images) if takes else view(classifier)
    )
    if entry == "attention-rollout" and found is not None:
        assert close(found.logits, plain(name, IMAGES), classifier)
    elif found is not None and takes:
        assert all(layer.maps.isfinite().all() for layer in found.layers)


@each_network_with(VISUALIZATION_RECIPES, 6)
def test_class_images(name, entry):
    _, classifier, _ = made(name)
    steps = (
        {"steps": 2}
        if "steps" in inspect.signature(VISUALIZATION_RECIPES[entry]).parameters
        else {}
    )

    def act(images):
        return class_images(
            classifier,
            [1],
            recipe=VISUALIZATION_RECIPES[entry](**steps),
            reference=images,
            control=False,
        )

    found = outcome(name, entry, act)
    if found is not None:
        assert found.images.shape == (1, *SHAPE) and found.images.isfinite().all()


@each_network
def test_the_path_is_stated(name):
    _, classifier, _ = made(name)
    words = classifier.describe()["execution"]
    assert words.startswith(("plain (", "fast: "))


@each_network
def test_layers_summary_and_random_weights_leave_no_trace(name):
    module, classifier, _ = made(name)
    before = snapshot(module)
    scripted = name in ("scripted", "frozen scripted", "traced")
    for look in (classifier.layers, lambda: summarize(module, SHAPE), classifier._repr_html_):
        try:
            assert look() is not None and not scripted
        except ConvscopeError as error:
            assert error.code == "M17" and scripted
    other = with_random_weights(classifier)
    if name not in {"frozen scripted", *RANDOM} and any(True for _ in module.parameters()):
        with other.probe() as probe:
            assert not close(probe.logits(IMAGES), plain(name, IMAGES), classifier)
    assert snapshot(module) == before
