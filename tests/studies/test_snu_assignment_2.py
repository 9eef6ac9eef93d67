"""The study of document 004: its own helpers against equations and other libraries."""

import warnings
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch.nn import functional

from convscope.attacks import l2_gradient_ascent
from convscope.classifier import Classifier
from convscope.explanations import saliency
from convscope.models import build, load, summarize
from convscope.scratch import Convolution, convolve, padding_arithmetic
from convscope.studies import DOCUMENTS, STUDIES
from convscope.studies._snu_assignment_2 import _libraries as libraries
from convscope.studies._snu_assignment_2._adversarial import stopped_at_once, strengthened
from convscope.studies._snu_assignment_2._by_hand import CASES, checked_layers, source_of
from convscope.studies._snu_assignment_2._convolution import KERNELS, fourier_convolution
from convscope.studies._snu_assignment_2._inception import (
    GOOGLENET,
    network_blocks,
    pixelwise_error,
    weights_of,
    weights_of_branch,
)
from convscope.studies._snu_assignment_2._torch_twin import (
    by_layer,
    by_loops,
    by_torch,
    same_by_torch,
)
from convscope.studies._snu_assignment_2._training import explored_changes
from convscope.studies._snu_assignment_2._visualization import (
    concentration,
    plain_saliency,
    roughness,
)
from convscope.training import TrainSettings, recipe


def small(seed=0):
    generator = torch.Generator().manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(64, 3)
    )
    for parameter in net.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return Classifier.wrap(net, input_shape=(3, 6, 6), mean=(0.5,) * 3, std=(0.25,) * 3)


def images(count=4):
    return torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def test_every_row_of_the_document_has_a_question():
    rows = {row for spec in STUDIES["snu-assignment-2"].questions for row in spec.rows}
    assert rows == {f"004.{number}" for number in DOCUMENTS["004"].rows}


def test_layers_agree_with_differences_torch_and_loops():
    checks, rows = checked_layers(seed=3)
    assert all(check.passed for check in checks)
    assert {row[0] for row in rows} == set(CASES) and len(checks) == len(rows) - len(CASES)
    assert max(row[4] for row in rows) < 1e-13
    assert max(row[5] for row in rows if row[5] is not None) < 1e-12
    assert {row[0] for row in rows if row[5] is None} == {"inception block"}


def test_a_wrong_gradient_is_seen_by_both_judges():
    class Wrong(Convolution):
        def backward(self, output_gradient):
            return 1.001 * super().backward(output_gradient)

    generator = np.random.default_rng(0)
    layer = Wrong(1, 2, 3, generator=generator, dtype=np.float64)
    x, dy = generator.standard_normal((1, 1, 5, 5)), generator.standard_normal((1, 2, 3, 3))
    ours = by_layer(layer, x, dy)["inputs"]
    for judge in (by_torch, by_loops):
        apart = np.abs(ours - judge(layer, x, dy)["inputs"]).max() / np.abs(ours).max()
        assert 5e-4 < apart < 2e-3


@pytest.mark.parametrize("kernel", range(1, 8))
def test_same_padding_is_that_of_torch_value_by_value(kernel):
    generator = np.random.default_rng(kernel)
    x, k = (
        generator.standard_normal((1, 1, 9, 9)),
        generator.standard_normal((1, 1, kernel, kernel)),
    )
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        theirs = functional.conv2d(torch.tensor(x), torch.tensor(k), padding="same")
    assert np.allclose(convolve(x, k, padding="same"), theirs.numpy(), atol=1e-12)
    found = padding_arithmetic(9, kernel, padding="same")
    assert same_by_torch(9, kernel) == (found.left, found.right)
    half = kernel // 2
    assert (found.left, found.right) == ((half, half) if kernel % 2 else (half - 1, half))


@pytest.mark.parametrize("name", KERNELS)
def test_the_convolution_theorem_holds_for_convolution(name):
    x, k = np.random.default_rng(0).random((11, 9)), KERNELS[name]
    flipped, plain = (convolve(x[None, None], k[None, None], flip=f)[0, 0] for f in (True, False))
    assert np.allclose(fourier_convolution(x, k), flipped, atol=1e-12)
    assert np.allclose(flipped, plain, atol=1e-12) == (name == "blur")


def test_weights_of_blocks_are_those_that_torch_counts():
    summary = summarize(build("cifar-inception"), (3, 32, 32))
    blocks = network_blocks(summary)
    assert len(blocks) == 4
    for name, (widths, side) in blocks.items():
        rows = [r for r in summary.rows if r.name.startswith(f"{name}.") and r.kind == "Conv2d"]
        assert weights_of(widths) == sum(row.parameters for row in rows)
        assert weights_of(widths) * side**2 == sum(row.multiply_adds for row in rows)
    assert weights_of(GOOGLENET[0]) == 163_696 - 368 and 163_696 == 163_328 + 368
    assert weights_of_branch(10, 4, 3, 5) == 10 * 4 + 25 * 4 * 3
    assert pixelwise_error(0) < 1e-14


def test_saliency_is_torchs_own_derivative():
    classifier, labels = small(), torch.tensor([0, 1, 2, 0])
    ours = saliency(classifier, images(), labels).maps[:, 0]
    assert torch.allclose(ours, plain_saliency(classifier, images(), labels), atol=1e-6)
    x = images()[:1].double()
    net = small().module.double()
    step = torch.zeros_like(x)
    step[0, 1, 2, 3] = 1e-5
    with torch.no_grad():
        rise = (net((x + step - 0.5) / 0.25) - net((x - step - 0.5) / 0.25))[0, 0] / 2e-5
    assert float(rise.abs()) <= float(ours[0, 2, 3]) + 1e-4


def test_concentration_and_roughness():
    one = torch.zeros(1, 10, 10)
    one[0, 3, 3] = 2.0
    assert concentration(one).tolist() == [1.0]
    assert concentration(torch.zeros(1, 10, 10)).tolist() == [0.0]
    board = (torch.arange(6)[:, None] + torch.arange(6)) % 2
    assert roughness(board[None, None].float()).tolist() == [1.0]
    assert roughness(torch.full((1, 1, 4, 4), 0.3)).tolist() == [0.0]


def test_ascent_stops_at_the_first_step_that_is_the_target():
    classifier = small()
    labels = classifier.predict(images(), top=1).labels[:, 0]
    found = l2_gradient_ascent(classifier, images(), labels, targets=(labels + 1) % 3)
    assert found.success.all() and stopped_at_once(classifier, found) == len(found)


def test_difference_is_shown_at_its_true_strength():
    change = torch.zeros(3, 1, 2)
    change[:, 0, 1] = 0.02
    assert strengthened(change, 1.0)[0, :, 0].tolist() == [128, 133]
    assert strengthened(change, 10.0)[0, :, 0].tolist() == [128, 178]
    assert strengthened(change[:1], 1.0).shape == (1, 2, 4)


@pytest.mark.parametrize(
    ("model", "data"), [("mnist-conv2", "digits"), ("cifar-inception", "cifar10")]
)
def test_every_explored_setting_makes_sense_and_only_one_thing_changes(model, data):
    base = recipe(model, data=data)
    changes = explored_changes(base)
    assert changes["recipe"] == {}
    for change in changes.values():
        settings = recipe(model, data=data, overrides=change)
        assert isinstance(settings, TrainSettings)
        assert (settings == base) == (not change)
    rates = changes["rate x 3"]
    assert ("nonfilter_lr" in rates) == (base.optimizer == "muon")


def test_source_is_shown_without_its_docstring():
    text = source_of(concentration)
    assert text.startswith("def concentration(maps: Tensor)") and '"""' not in text
    assert text.rstrip().endswith("clamp_min(torch.finfo(values.dtype).tiny)")


def test_a_library_that_is_missing_says_how_to_get_it(monkeypatch, tmp_path):
    own = load("mnist-conv1")
    way = next(way for way in libraries.WAYS if way.library == "keras")
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    found, why = libraries._opened(way, own, tmp_path)
    assert found is None and why == "not installed: pip install keras"


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
@pytest.mark.parametrize("way", libraries.WAYS, ids=lambda way: way.title)
def test_the_same_network_through_another_library(way, tmp_path):
    if way.library and find_spec(way.library) is None:
        pytest.skip(f"{way.library} is not installed")
    own = load("mnist-conv2")
    found, why = libraries._opened(way, own, tmp_path)
    if found is None and "backend" in why:
        pytest.skip(why)
    assert found is not None, why
    digits = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    same, apart = libraries.compared(own, found, digits)
    assert same == 20 and apart <= libraries.TOLERANCE
    assert found.class_names == own.class_names
    assert (saliency(found, digits[:1]).maps.abs().max() > 0) if way.gradients else found.black_box
