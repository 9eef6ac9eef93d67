"""The documents' networks, to the letter, and their second opinions."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.errors import UsageError
from convscope.models import MODELS, build, summarize
from convscope.models._architecture import initialize
from convscope.models._cifar import residual_network
from convscope.training import recipe

DOCUMENTED = {"mnist-conv1": 63_050, "mnist-conv2": 25_258, "mnist-conv2-fc": 799_078}
NAMES = {
    "mnist-conv1": "conv1 relu1 pool1 fc1",
    "mnist-conv1-bn": "conv1 bn1 relu1 pool1 fc1",
    "mnist-conv2": "conv1 relu1 pool1 conv2 relu2 pool2 fc1",
    "mnist-conv2-bn": "conv1 bn1 relu1 pool1 conv2 bn2 relu2 pool2 fc1",
    "mnist-conv2-fc": "conv1 relu1 pool1 conv2 relu2 pool2 fc1 relu3 fc2",
    "mnist-conv2-fc-bn": "conv1 bn1 relu1 pool1 conv2 bn2 relu2 pool2 fc1 relu3 fc2",
    "cifar-11x11": "conv1 relu1 pool1 conv2 relu2 conv3 relu3 pool2 fc1",
}


def numbered(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", MODELS)
def test_the_record_of_a_network_says_what_it_is(name):
    spec, architecture, network = MODELS.spec(name), MODELS[name], build(name)
    assert (name, spec.about) == (architecture.name, architecture.description)
    assert spec.input_shape == architecture.input_shape
    assert spec.parameters == sum(p.numel() for p in network.parameters())
    assert spec.normalized == any(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def test_networks_of_the_documents_have_their_numbers_of_parameters():
    found = {name: MODELS.spec(name).parameters for name in DOCUMENTED}
    assert found == DOCUMENTED


def test_a_network_of_any_name_is_described_by_itself_and_gets_color_recipes():
    mine = replace(MODELS["cifar-vgg"], name="small-photos", description="A network of mine.")
    MODELS["small-photos"] = mine
    try:
        spec = MODELS.spec("small-photos")
        assert (spec.about, spec.parameters) == ("A network of mine.", 1_148_874)
        assert spec.normalized and spec.input_shape == (3, 32, 32)
        assert recipe("small-photos", data="cifar10", preset="robust").epsilon == 8 / 255
        assert recipe("small-photos", data="cifar10").epochs == recipe("other").epochs
    finally:
        del MODELS["small-photos"]


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_called_as_the_documents_call_them(name):
    assert [child for child, _ in build(name).named_children()] == NAMES[name].split()


def test_second_convolution_has_9248_parameters_not_320():
    conv2 = build("mnist-conv2").conv2
    assert sum(p.numel() for p in conv2.parameters()) == 32 * 32 * 9 + 32 == 9_248


def test_convolutions_and_poolings_of_the_documents():
    net = build("mnist-conv2-fc")
    for conv in (net.conv1, net.conv2):
        assert (conv.out_channels, conv.kernel_size, conv.stride, conv.padding) == (
            32,
            (3, 3),
            (1, 1),
            (1, 1),
        )
    for pool in (net.pool1, net.pool2):
        assert (pool.kernel_size, pool.stride, pool.padding) == (2, 2, 0)
    assert (net.fc1.out_features, net.fc2.out_features) == (500, 10)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 41, 24)])
@pytest.mark.parametrize("num_classes", [2, 7])
def test_other_sizes_channels_and_class_numbers(name, shape, num_classes):
    net = build(name, num_classes=num_classes, input_shape=shape).eval()
    assert net(torch.zeros(3, *shape)).shape == (3, num_classes)


def test_mnist_tiny_has_at_most_9000_parameters_and_no_idle_one():
    network, frozen = build("mnist-tiny"), MODELS["mnist-tiny"].frozen
    assert sum(p.numel() for p in network.parameters()) == 8_890
    assert all(m.bias is None for m in network if isinstance(m, nn.Conv2d)), "normalized away"
    assert frozen == ("bn*.weight",)
    assert network.fc1.in_features == 16 * 3 * 3


@pytest.mark.parametrize("name", ["mnist-tiny", "mnist-best"])
def test_the_last_map_of_the_small_digit_networks_sees_the_whole_digit(name):
    rows = {row.name: row for row in summarize(build(name), (1, 28, 28)).rows}
    assert rows["conv1"].receptive_field == (5, 5)
    assert rows["fc1"].receptive_field == (28, 28)
    assert min(rows["pool2"].receptive_field) >= 27


@pytest.mark.parametrize("name", MODELS)
def test_smallest_images_are_really_the_smallest(name):
    architecture = MODELS[name]
    side = architecture.smallest
    assert build(name, input_shape=(1, side, side)).eval()(torch.ones(1, 1, side, side)).ndim == 2
    with pytest.raises(UsageError, match=f"at least {side}x{side}|at least one"):
        build(name, input_shape=(1, side, side - 1))
    if side > 1:
        with pytest.raises((RuntimeError, UserWarning)):
            architecture.network(10, (1, side - 1, side - 1)).eval()(
                torch.ones(1, 1, side - 1, side - 1)
            )


@pytest.mark.parametrize("name", MODELS)
def test_same_seed_same_weights_other_seed_others(name):
    first, again, other = (build(name, generator=numbered(seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_an_inception_block_stacks_its_four_branches():
    block = build("cifar-inception", generator=numbered(0)).eval().stage1[0]
    images = torch.rand(2, 64, 6, 6, generator=numbered(1))
    whole = block(images)
    assert whole.shape == (2, 32 + 48 + 16 + 16, 6, 6)
    torch.testing.assert_close(whole[:, :32], block.branch1(images))
    torch.testing.assert_close(whole[:, 80:96], block.branch5(block.reduce5(images)))
    reductions = [
        block.reduce3.conv,
        block.reduce5.conv,
        block.branch_pool.conv,
        block.branch1.conv,
    ]
    assert {conv.kernel_size for conv in reductions} == {(1, 1)}
    assert (block.branch3.conv.kernel_size, block.branch5.conv.kernel_size) == ((3, 3), (5, 5))


def test_reports_say_how_weights_begin():
    assert "fan-in" in MODELS["cifar-11x11"].initialization
    assert "conv1 whitens the training images" in MODELS["cifar-best"].initialization


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    build("cifar-resnet20", generator=numbered(0))
    MODELS["mnist-conv2-fc"].outline()
    assert torch.equal(torch.get_rng_state(), before)


def test_without_generator_the_global_one_decides():
    def draw():
        torch.manual_seed(5)
        return build("mnist-conv1").conv1.weight

    assert torch.equal(draw(), draw())


def test_first_weights_fill_the_bound_of_their_fan_in():
    net = build("mnist-conv2-fc", generator=numbered(0))
    for layer in (net.conv2, net.fc1, net.fc2):
        bound = layer.weight[0].numel() ** -0.5
        for values in (layer.weight, layer.bias):
            assert 0.8 * bound < values.abs().max().item() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


@pytest.mark.parametrize(
    "layer", [nn.Linear(40, 1), nn.Conv2d(3, 1, 5), nn.Conv2d(8, 8, 3, groups=8)]
)
def test_so_do_those_of_layers_with_one_output(layer):
    initialize(layer, generator=numbered(0))
    bound = layer.weight[0].numel() ** -0.5
    assert 0.8 * bound < layer.weight.abs().max().item() <= bound


def test_first_weights_have_the_distribution_of_torch():
    """Torch's own default, but from our generator."""
    torch.manual_seed(0)
    ours = build("mnist-conv2-fc", generator=numbered(0))
    theirs = MODELS["mnist-conv2-fc"].network(10, (1, 28, 28))
    for name, value in theirs.named_parameters():
        mine = dict(ours.named_parameters())[name]
        assert mine.abs().max().item() == pytest.approx(value.abs().max().item(), rel=0.25)
        assert mine.std().item() == pytest.approx(value.std().item(), rel=0.5)


def test_batch_normalization_starts_as_the_identity():
    net = build("mnist-conv1-bn", generator=numbered(0))
    assert net.bn1.weight.min() == net.bn1.weight.max() == 1
    assert net.bn1.running_var.min() == 1 and net.bn1.running_mean.abs().max() == 0


def test_normalized_and_plain_networks_have_the_same_layers_otherwise():
    plain, normalized = build("mnist-conv2-fc"), build("mnist-conv2-fc-bn")
    shared = {n: p.shape for n, p in normalized.named_parameters() if not n.startswith("bn")}
    assert shared == {n: p.shape for n, p in plain.named_parameters()}


def test_residual_shortcut_option_a_has_no_weights_and_option_b_has():
    count = {
        option: sum(
            p.numel() for p in residual_network(10, (3, 32, 32), option=option).parameters()
        )
        for option in ("A", "B")
    }
    # 1x1 convolutions 16 -> 32 and 32 -> 64, and their batch normalization.
    assert count["B"] - count["A"] == 16 * 32 + 32 * 64 + 2 * (32 + 64)


def test_residual_block_adds_its_input():
    from convscope.models._cifar import ResidualBlock

    block = ResidualBlock(4, 4, stride=1, option="A").eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.rand(2, 4, 5, 5)
    assert torch.equal(block(x), x)


def test_residual_shortcut_subsamples_and_pads():
    from convscope.models._cifar import PaddedShortcut

    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    y = PaddedShortcut(2, 4)(x)
    assert torch.equal(y[:, 1:3], x[:, :, ::2, ::2])
    assert y[:, [0, 3]].abs().max() == 0


def test_unknown_network_names_the_closest():
    with pytest.raises(UsageError, match="mnist-conv2-fc"):
        build("mnist-conv2-cf")


@pytest.mark.parametrize("settings", [{"num_classes": 0}, {"input_shape": (0, 28, 28)}])
def test_nonsense_is_refused(settings):
    with pytest.raises(UsageError, match="at least one"):
        build("mnist-conv1", **settings)


@pytest.mark.parametrize("name", ["mnist-conv2-fc-bn", "cifar-vgg", "cifar-resnet20"])
def test_outline_takes_no_memory(name):
    assert {p.device.type for p in MODELS[name].outline().parameters()} == {"meta"}
