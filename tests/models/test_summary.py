"""The table of layers: hand-computed numbers, an independent oracle, and no trace left."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from convscope.errors import ModelContractError
from convscope.models import build, summarize
from convscope.models._receptive_field import ReceptiveFields, multiply_adds


def rows_of(summary):
    return {row.name: row for row in summary.rows}


def test_conv2_fc_as_computed_by_hand():
    summary = summarize(build("mnist-conv2-fc"), (1, 28, 28))
    rows = rows_of(summary)
    assert summary.parameters == summary.trainable == 799_078
    assert [rows[n].parameters for n in ("conv1", "conv2", "fc1", "fc2")] == [
        320,
        9_248,
        784_500,
        5_010,
    ]
    assert rows["conv1"].output_shape == (32, 28, 28)
    assert rows["pool2"].output_shape == (32, 7, 7)
    assert rows["conv1"].multiply_adds == 28 * 28 * 32 * 9
    assert rows["conv2"].multiply_adds == 14 * 14 * 32 * 9 * 32
    assert rows["fc1"].multiply_adds == 1568 * 500
    assert summary.multiply_adds == 225_792 + 1_806_336 + 784_000 + 5_000
    assert sum(row.share for row in summary.rows) == pytest.approx(1)


def test_receptive_fields_of_conv2_fc():
    rows = rows_of(summarize(build("mnist-conv2-fc-bn"), (1, 28, 28)))
    seen = {name: rows[name].receptive_field for name in rows}
    assert seen["conv1"] == seen["bn1"] == seen["relu1"] == (3, 3)
    assert seen["pool1"] == (4, 4)
    assert seen["conv2"] == (8, 8)
    assert seen["pool2"] == (10, 10)
    assert seen["fc1"] == seen["fc2"] == (28, 28)


def test_both_neuron_counts():
    summary = summarize(build("mnist-conv2-fc"), (1, 28, 28))
    assert summary.neurons == 32 * 28 * 28 + 32 * 14 * 14 + 500 + 10 == 31_870
    assert summary.document_neurons == 288 + 288 + 1_568 + 500 + 10 == 2_654
    assert "31,870 neurons (2,654 counting filter taps" in summary.totals()


def test_only_what_is_flattened_for_the_first_dense_layer_is_counted_again():
    """As the documents count: taps, flattened values, dense outputs; no maps, no flattening."""
    shape = {"input_shape": (1, 4, 4)}
    dense = nn.Sequential(nn.Flatten(), nn.Linear(16, 7), nn.ReLU(), nn.Linear(7, 3))
    assert summarize(dense, **shape).document_neurons == 7 + 3
    mixed = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 5), nn.Linear(5, 3))
    assert summarize(mixed, **shape).document_neurons == 2 * 9 + 8 + 5 + 3


def test_published_numbers_of_resnet20():
    summary = summarize(build("cifar-resnet20"), (3, 32, 32))
    assert summary.parameters == 269_722
    assert summary.multiply_adds == 40_551_040


class Branches(nn.Module):
    """Two branches of different reach, added; functional and in-place operations between."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 5, stride=2, padding=1)
        self.short = nn.Conv2d(4, 4, 1)
        self.long = nn.Conv2d(4, 4, 3, padding=2, dilation=2)

    def forward(self, x):
        x = functional.relu_(self.stem(functional.pad(x, (2, 1, 0, 3))))
        x = self.short(x) + self.long(x)
        x = torch.cat([x, functional.max_pool2d(x, 3, 1, 1)], dim=1)
        return x[:, :, 1::2, 1:]


SLIDING = {
    "plain": nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 5)),
    "strides": nn.Sequential(
        nn.Conv2d(1, 3, (3, 7), stride=(2, 1), padding=(1, 3)),
        nn.ReLU6(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(3, 2, 3, dilation=2),
        nn.AvgPool2d(2),
    ),
    "ceil": nn.Sequential(nn.MaxPool2d(3, stride=2, ceil_mode=True), nn.Conv2d(1, 1, 3)),
    "depthwise": nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Hardswish(), nn.Conv2d(4, 4, 3, groups=4)
    ),
    "branches": Branches(),
    "adaptive": nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.AdaptiveMaxPool2d((8, 8))),
}


@pytest.mark.parametrize("name", SLIDING)
def test_receptive_field_is_where_a_nan_gets_through(name):
    """A NaN spreads to exactly the values that see it: an oracle without any formula."""
    net, side = SLIDING[name].eval(), 48
    image = torch.zeros(1, 1, side, side)
    fields = ReceptiveFields(image, lambda work: None)
    with torch.no_grad(), fields:
        out = net(image)
    for axis, span in enumerate(fields.of(out)):
        images = torch.zeros(side, 1, side, side)
        for position in range(side):
            images.select(2 + axis, position)[position] = torch.nan
        with torch.no_grad():
            reached = net(images).isnan().any(dim=1)
        for place in range(3, out.shape[2 + axis] - 3):
            other = out.shape[3 - axis] // 2
            line = reached[:, place, other] if axis == 0 else reached[:, other, place]
            first, last = span.first + place * span.jump, span.last + place * span.jump
            if first >= 0 and last < side:
                seen = line.nonzero()[:, 0]
                assert (int(seen.min()), int(seen.max())) == (first, last)


def test_what_a_dense_layer_sees_leaves_out_unread_borders():
    # 2x2 windows on 7 rows never read the last row.
    net = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(9, 2))
    assert rows_of(summarize(net, (1, 7, 7)))["2"].receptive_field == (6, 6)


def test_global_pooling_sees_the_image():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1))
    assert rows_of(summarize(net, (3, 12, 10)))["2"].receptive_field == (12, 10)


def test_instance_normalization_sees_the_image():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4))
    assert rows_of(summarize(net, (1, 9, 8)))["1"].receptive_field == (9, 8)


@pytest.mark.parametrize(
    "kind", [nn.ReLU, nn.PReLU, nn.GELU, nn.Hardswish, nn.LogSigmoid, nn.SiLU, nn.Dropout2d]
)
def test_element_by_element_layers_see_no_more(kind):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), kind())
    assert rows_of(summarize(net, (1, 9, 8)))["1"].receptive_field == (3, 3)


def test_squeeze_and_excitation_sees_the_image_everywhere():
    class Squeeze(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.pool, self.gate = nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.ReLU()

        def forward(self, x):
            x = self.conv(x)
            return self.gate(x * self.pool(x).sigmoid())

    assert rows_of(summarize(Squeeze(), (1, 9, 9)))["gate"].receptive_field == (9, 9)


def test_what_cannot_be_derived_is_unknown():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.after = nn.Conv2d(1, 1, 3), nn.ReLU()

        def forward(self, x):
            return self.after(torch.fft.fft2(self.conv(x)).real)

    rows = rows_of(summarize(Turned(), (1, 8, 8)))
    assert rows["conv"].receptive_field == (3, 3)
    assert rows["after"].receptive_field is None
    assert "unknown" in str(summarize(Turned(), (1, 8, 8)))


def test_transposed_axes_are_not_taken_for_places():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.after = nn.Conv2d(1, 1, (3, 1)), nn.ReLU()

        def forward(self, x):
            return self.after(self.conv(x)[:, :, :6].transpose(2, 3))

    assert rows_of(summarize(Turned(), (1, 8, 6)))["after"].receptive_field is None


def test_shared_modules_count_once_and_work_twice():
    conv = nn.Conv2d(2, 2, 3, padding=1)
    rows = rows_of(summarize(nn.Sequential(conv, nn.ReLU(), conv), (2, 5, 5)))
    assert rows["0"].calls == 2
    assert rows["0"].multiply_adds == 2 * 25 * 2 * 2 * 9
    assert rows["0"].neurons == 2 * 50
    assert sum(row.parameters for row in rows.values()) == 2 * 2 * 9 + 2


def test_tied_parameters_count_once():
    a, b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    b.weight = a.weight
    summary = summarize(nn.Sequential(nn.Flatten(), a, b), (1, 2, 2))
    assert summary.parameters == sum(row.parameters for row in summary.rows) == 16


def test_weights_and_work_outside_of_layers_get_a_row():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.filters = nn.Parameter(torch.zeros(2, 1, 3, 3))
            self.unused = nn.Linear(3, 3)

        def forward(self, x):
            return functional.conv2d(x, self.filters)

    rows = rows_of(summarize(Bare(), (1, 5, 5)))
    assert rows["Bare"].parameters == 18
    assert rows["Bare"].multiply_adds == 2 * 9 * 9
    assert (rows["unused"].output_shape, rows["unused"].calls) == (None, 0)


def test_layers_that_return_tuples_get_a_row_without_shape():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def forward(self, x):
            return self.pair(x)[0]

    assert rows_of(summarize(Net(), (1, 4, 4)))["pair"].output_shape is None


def test_summarizing_leaves_no_trace():
    net = build("mnist-conv2-fc-bn")
    net.bn1.eval()
    net.conv1.weight.requires_grad_(False)
    modes = {name: child.training for name, child in net.named_modules()}
    state = {name: value.clone() for name, value in net.state_dict().items()}
    identities = {name: id(value) for name, value in net.named_parameters()}
    random = torch.get_rng_state()
    summary = summarize(net, (1, 28, 28))
    assert summary.trainable == 799_206 - 288
    assert {name: child.training for name, child in net.named_modules()} == modes
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert {name: id(value) for name, value in net.named_parameters()} == identities
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()])
def test_a_failing_layer_leaves_no_trace_either(error):
    class Failing(nn.Module):
        def forward(self, x):
            raise error

    net = nn.Sequential(nn.Conv2d(1, 2, 3), Failing())
    with pytest.raises((ModelContractError, KeyboardInterrupt)):
        summarize(net, (1, 8, 8))
    assert net.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_hooks_of_the_user_stay():
    net = nn.Sequential(nn.ReLU())
    net[0].register_forward_hook(lambda *_: None)
    summarize(net, (1, 2, 2))
    assert len(net[0]._forward_hooks) == 1


def test_wrong_input_is_an_error_of_the_model_family():
    with pytest.raises(ModelContractError, match="3x28x28"):
        summarize(build("mnist-conv1"), (3, 28, 28))


def test_half_precision_networks_are_described_too():
    assert summarize(build("mnist-conv1").to(torch.bfloat16), (1, 28, 28)).parameters == 63_050


def test_html_escapes_names():
    net = nn.Sequential()
    net.add_module("<b>", nn.ReLU())
    html = summarize(net, (1, 2, 2))._repr_html_()
    assert "<b>" not in html and "&lt;b&gt;" in html


def test_table_has_a_line_per_layer_and_totals():
    text = str(summarize(build("mnist-conv1"), (1, 28, 28))).splitlines()
    assert len(text) == 1 + 4 + 1
    # Names and kinds begin below one another, numbers end below one another.
    assert text[0].startswith("layer  kind         output  parameters  share")
    assert text[4].startswith("fc1    Linear           10      62,730  99.5%")
    assert text[-1].startswith("input 1x28x28 · 63,050 parameters · 288,512 multiply-adds")


def test_mobilenet_has_its_published_field_and_work(shared):
    from convscope.models import load

    summary = summarize(
        load(f"hf:{shared / 'weights' / 'mobilenet_v2_1.0_224'}").module, (3, 224, 224)
    )
    rows = rows_of(summary)
    assert rows["mobilenet_v2.conv_1x1.convolution"].receptive_field == (491, 491)
    assert summary.multiply_adds == 300_775_552


ACTIVATIONS = [
    nn.Hardswish, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Mish, nn.ELU, nn.CELU, nn.SELU, nn.LeakyReLU,
    nn.Hardtanh, nn.Hardsigmoid, nn.RReLU, nn.Dropout, nn.Dropout2d, nn.AlphaDropout,
]  # fmt: skip


@pytest.mark.parametrize("kind", ACTIVATIONS, ids=lambda kind: kind.__name__)
def test_an_activation_in_place_sees_what_it_sees_elsewhere(kind):
    fields = []
    for inplace in (True, False):
        net = nn.Sequential(nn.Conv2d(1, 2, 3), kind(inplace=inplace), nn.Conv2d(2, 2, 3)).eval()
        fields.append([row.receptive_field for row in summarize(net, (1, 12, 12)).rows])
    assert fields == [[(3, 3), (3, 3), (5, 5)]] * 2


class Written(nn.Module):
    """Writes into a part of a map and goes on with the whole."""

    def __init__(self, write):
        super().__init__()
        self.first, self.wide = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 1, 7, padding=3)
        self.write, self.last = write, nn.Identity()

    def forward(self, x):
        y = self.first(x)
        self.write(y, self.wide(x))
        return self.last(y)


@pytest.mark.parametrize(
    ("write", "field"),
    [
        (lambda y, wide: y[:, :1].add_(wide), (7, 7)),
        (lambda y, wide: y.narrow(1, 0, 1).copy_(wide), (7, 7)),
        (lambda y, wide: y.mul_(wide), (7, 7)),
        (lambda y, wide: y[:, :, 1:, 1:].add_(wide[:, :, 1:, 1:]), None),
        (lambda y, wide: y.add_(1), (3, 3)),
    ],
)
def test_what_is_written_into_a_part_of_a_map_is_seen_by_the_whole(write, field):
    assert summarize(Written(write), (1, 16, 16)).rows[-1].receptive_field == field


class Attention(nn.Module):
    """Scaled dot-product attention over the rows of an image, fused or written out."""

    def __init__(self, fused):
        super().__init__()
        self.fused, self.project = fused, nn.Linear(8, 24)

    def forward(self, x):
        query, key, value = self.project(x).view(len(x), -1, 3, 2, 4).permute(2, 0, 3, 1, 4)
        if self.fused:
            return nn.functional.scaled_dot_product_attention(query, key, value).mean((1, 2))
        return ((query @ key.transpose(-1, -2)).softmax(-1) @ value).mean((1, 2))


def test_fused_attention_is_counted_like_attention_written_out():
    fused, plain = (summarize(Attention(fused), (1, 6, 8)) for fused in (True, False))
    assert fused.multiply_adds == plain.multiply_adds == 6 * 8 * 24 + 2 * (6 * 6 * 8)
    assert fused.uncounted == ()


def test_an_encoder_layer_is_counted_on_its_fast_path():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x[:, 0]).mean(1)

    projections, pairs, dense = 4 * 5 * 8 * 8, 2 * 5 * 5 * 8, 2 * 5 * 8 * 16
    for net in (Rows().eval(), Rows().train()):
        assert summarize(net, (1, 5, 8)).multiply_adds == projections + pairs + dense


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize("two_ways", [False, True])
def test_recurrent_layers_are_counted(kind, gates, two_ways):
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = kind(8, 5, num_layers=2, batch_first=True, bidirectional=two_ways)

        def forward(self, x):
            return self.layer(x[:, 0])[0].mean(1)

    ways = 1 + two_ways
    by_hand = 6 * ways * gates * 5 * ((8 + 5) + (ways * 5 + 5))
    assert summarize(Rows(), (1, 6, 8)).multiply_adds == by_hand


def test_a_recurrent_layer_of_a_gpu_is_counted_per_image_and_step():
    """As cuDNN takes it: time, batch, features; weights of two sizes and biases."""
    kernel = torch.ops.aten._cudnn_rnn.default
    weights = [torch.zeros(20, 8), torch.zeros(20, 5), torch.zeros(20), torch.zeros(20)]
    work = multiply_adds(kernel, (torch.zeros(6, 2, 8), weights), torch.zeros(6, 2, 5))
    assert work == 6 * 2 * 20 * (8 + 5)


def test_products_that_nobody_can_count_are_named_beside_the_number():
    class Distances(nn.Module):
        def forward(self, x):
            return torch.cdist(x[:, 0].contiguous(), x[:, 0].contiguous() + 1).flatten(1)

    summary = summarize(Distances(), (1, 4, 3))
    assert summary.uncounted == ("aten._cdist_forward",)
    assert "at least 0 multiply-adds (not counted: aten._cdist_forward)" in summary.totals()
    plain = summarize(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (1, 4, 3))
    assert "at least" not in plain.totals()
