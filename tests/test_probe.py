import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UnknownLayer, UsageError
from convscope.probe import Execution, Probe, rows_per_chunk

first_logit = lambda x, logits, rows: logits[:, 0]


class Shared(nn.Module):
    """One in-place ReLU called twice, another functional one, and a view-happy end."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        return self.fc(x.mean((2, 3)))


@pytest.fixture
def shared_relu():
    torch.manual_seed(1)
    return Classifier.wrap(Shared(), input_shape=(3, 7, 5))


def snapshot(module):
    """Everything that could be changed about a module, by value and by identity."""
    return (
        {k: (v.clone(), id(v)) for k, v in module.named_parameters()},
        {k: (v.clone(), id(v)) for k, v in module.named_buffers()},
        [m.training for m in module.modules()],
        {k: (p.requires_grad, p.grad) for k, p in module.named_parameters()},
        [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
         for m in module.modules()],
        [list(m._parameters) + list(m._buffers) for m in module.modules()],
    )  # fmt: skip


def assert_same(before, after):
    for kind in (0, 1):
        assert before[kind].keys() == after[kind].keys()
        for name, (value, identity) in before[kind].items():
            assert torch.equal(value, after[kind][name][0]), name
            assert identity == after[kind][name][1], name
    assert before[2:] == after[2:]


def test_logits_are_the_networks_own_whatever_the_number_of_images(case):
    classifier, images, _ = case
    classifier.module.eval()
    many = images.repeat(20, 1, 1, 1)
    with classifier.probe() as probe:
        assert torch.allclose(probe.logits(many), classifier.module(many), atol=1e-6)
        assert probe.logits(images[:0]).shape == (0, 5)
    assert probe.forwards == 140


def test_gradients_are_autograds(case):
    classifier, images, _ = case
    many = images.repeat(12, 1, 1, 1)
    with classifier.probe() as probe:
        found = probe.gradient(many, first_logit)
    classifier.module.eval()
    x = many.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(classifier.module(x)[:, 0].sum(), x)
    assert torch.allclose(found.gradients, expected, atol=1e-6)
    assert probe.backwards == len(many)


def test_no_images_give_no_gradients(case):
    classifier, images, _ = case
    with classifier.probe() as probe:
        found = probe.gradient(images[:0], first_logit)
    assert found.gradients.shape == (0, *images.shape[1:]) and found.outputs.shape == (0, 5)


def test_rows_tell_the_objective_which_images_it_sees(case):
    classifier, images, _ = case
    many = images.repeat(12, 1, 1, 1)
    labels = torch.arange(len(many)) % 5
    pick = lambda x, logits, rows: logits.gather(1, labels[rows, None])[:, 0]
    with classifier.probe() as probe:
        found = probe.gradient(many, pick)
        assert torch.allclose(found.values, probe.logits(many).gather(1, labels[:, None])[:, 0])


def test_gradients_of_several_classes_come_from_one_forward(case):
    classifier, images, _ = case
    with classifier.probe() as probe:
        gradients, _ = probe.class_gradients(images, [3, 0])
        cost = probe.cost()
        single = probe.gradient(images, first_logit).gradients
    assert (cost.forwards, cost.backwards) == (7, 14)
    assert torch.allclose(gradients[:, 1], single, atol=1e-6)


@pytest.mark.parametrize("classes", [[3, 0, 2], torch.tensor([[1, 1, 3]]), [-1, 0, 2, 3]])
def test_one_small_image_is_shown_once_for_each_class_with_the_same_result(case, classes):
    classifier, images, _ = case
    one = images[:1]
    picks = classes.flatten().tolist() if isinstance(classes, torch.Tensor) else classes
    with classifier.probe() as probe:
        assert probe.execution.fast
        layer = probe.last_spatial_layer()
        before = probe.forwards
        pixels, logits = probe.class_gradients(one, classes)
        assert probe.forwards - before == 1
        inside = probe.layer_gradients(layer, one, classes)
        assert logits.shape == inside.logits.shape == (1, classifier.num_classes)
        torch.testing.assert_close(logits, probe.logits(one))
        torch.testing.assert_close(inside.activations, probe.activations(layer, one))
        for k, pick in enumerate(picks):
            expected, _ = probe.class_gradients(one, [pick])
            torch.testing.assert_close(pixels[:, k], expected[:, 0])
            expected = probe.layer_gradients(layer, one, [pick]).gradients
            torch.testing.assert_close(inside.gradients[:, k], expected[:, 0])


def test_a_layer_whose_first_axis_is_no_image_gets_each_class_alone():
    class Turned(nn.Module):
        """Rows of the image first, as recurrent layers want them."""

        def __init__(self):
            super().__init__()
            self.rows = nn.Linear(6, 5)
            self.last = nn.Linear(5, 4)

        def forward(self, x):
            return self.last(torch.relu(self.rows(x[:, 0].transpose(0, 1))).sum(dim=0))

    torch.manual_seed(0)
    classifier = Classifier.wrap(Turned(), input_shape=(1, 6, 6))
    image = torch.rand(1, 1, 6, 6)
    fast = Execution(reason="a test", channels_last=True)
    with Probe(classifier, execution=fast) as probe:
        found = probe.layer_gradients("rows", image, [0, 1, 2])
        assert found.activations.shape == (6, 1, 5)
        for k in range(3):
            expected = probe.layer_gradients("rows", image, [k])
            torch.testing.assert_close(found.gradients[:, k], expected.gradients[:, 0])


def test_without_classes_each_images_largest_logit_is_meant(case):
    classifier, images, _ = case
    with classifier.probe() as probe:
        found, logits = probe.class_gradients(images, None)
        named, _ = probe.class_gradients(images, logits.argmax(dim=1, keepdim=True))
    assert found.shape == (len(images), 1, *images.shape[1:]) and torch.equal(found, named)


def test_a_layer_is_seen_before_an_in_place_relu_changes_it(shared_relu):
    images = torch.rand(4, 3, 7, 5)
    with shared_relu.probe() as probe:
        seen = probe.activations("conv2", images)
        many = probe.activations_of(["conv1", "conv2"], images)
    assert seen.min() < 0
    assert torch.equal(seen, many["conv2"]) and many["conv1"].min() < 0


def test_m16_each_call_of_a_shared_layer_has_its_number(shared_relu):
    images = torch.rand(4, 3, 7, 5)
    with shared_relu.probe() as probe:
        names = [info.name for info in probe.layers()]
        first, second, last = (probe.activations(n, images) for n in ("relu#0", "relu#1", "relu"))
    assert names == ["conv1", "relu#0", "conv2", "relu#1", "fc"]
    assert torch.equal(second, last) and not torch.equal(first, second)


def test_work_stops_at_the_layer(shared_relu):
    calls = []
    shared_relu.module.fc.register_forward_hook(lambda *_: calls.append(1))
    with shared_relu.probe() as probe:
        probe.layers()
        calls.clear()
        probe.activations("conv2", torch.rand(2, 3, 7, 5))
    assert not calls


def test_gradient_from_a_layer_is_the_gradient_at_the_layer(shared_relu):
    images = torch.rand(4, 3, 7, 5)
    with shared_relu.probe() as probe:
        found = probe.layer_gradients("conv2", images, [0, 2])
        own = probe.layer_gradients("conv2", images, torch.tensor([[0], [2], [2], [0]]))
    module = shared_relu.module
    a = module.conv2(torch.relu(module.conv1(images))).detach().requires_grad_(True)
    logits = module.fc(torch.relu(a).mean((2, 3)))
    (expected,) = torch.autograd.grad(logits[:, 2].sum(), a)
    assert torch.allclose(found.activations, a, atol=1e-6)
    assert torch.allclose(found.gradients[:, 1], expected, atol=1e-6)
    assert torch.allclose(found.logits, logits, atol=1e-6)
    assert torch.equal(own.gradients[:, 0], found.gradients[torch.arange(4), [0, 1, 1, 0]])


def test_m15_unknown_layers_list_the_known_ones(shared_relu):
    with (
        shared_relu.probe() as probe,
        pytest.raises(UnknownLayer, match="no layer named 'conv9'") as e,
    ):
        probe.activations("conv9", torch.rand(1, 3, 7, 5))
    assert "did you mean conv2, conv1" in e.value.hint


@pytest.mark.parametrize("own", [False, True])
def test_m10_a_detached_output_is_named(own):
    """Also if something else than the image can be differentiated by."""

    class Detached(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3].detach() * torch.ones(3, requires_grad=own)

    classifier = Classifier.wrap(Detached(), input_shape=(1, 2, 2))
    with classifier.probe() as probe:
        with pytest.raises(ModelContractError, match="does not depend differentiably"):
            probe.gradient(torch.rand(2, 1, 2, 2), first_logit)
        zero = probe.gradient(torch.rand(2, 1, 2, 2), first_logit, allow_unused=True)
    assert (zero.gradients == 0).all()


def test_use_outside_the_block_is_refused(case):
    classifier, images, _ = case
    with pytest.raises(UsageError, match="with classifier"):
        classifier.probe().logits(images)


def test_works_under_no_grad_and_inference_mode(case):
    classifier, images, _ = case
    with classifier.probe() as probe:
        expected = probe.gradient(images, first_logit).gradients
    for mode in (torch.no_grad, torch.inference_mode):
        with mode(), classifier.probe() as probe:
            assert torch.equal(probe.gradient(images, first_logit).gradients, expected)
            probe.layer_gradients("0", images, [0])


def test_autocast_of_the_caller_does_not_reach_the_network(case):
    classifier, images, _ = case
    with classifier.probe() as probe:
        expected = probe.logits(images)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(probe.logits(images), expected)


def do_everything(classifier, images):
    with classifier.probe() as probe:
        probe.logits(images)
        probe.gradient(images, first_logit)
        probe.class_gradients(images, [0, 1])
        probe.activations("0", images)
        probe.layer_gradients("0", images, [0])


def prepare_oddly(module):
    """Modes, flags and gradients as they may be found in the middle of someone's training."""
    module.train()
    module[1].eval()
    module[0].weight.requires_grad_(False)
    module[5].weight.grad = torch.ones_like(module[5].weight)


@pytest.mark.parametrize("accident", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_the_network_is_left_as_found_whatever_happens(case, accident):
    classifier, images, _ = case
    prepare_oddly(classifier.module)
    before, state = snapshot(classifier.module), torch.get_rng_state()
    grad = classifier.module[5].weight.grad.clone()
    if accident is None:
        do_everything(classifier, images)
    else:
        calls = []

        def fail(*_):
            calls.append(1)
            if len(calls) >= 3:
                raise accident("in a layer")

        handle = classifier.module[3].register_forward_hook(fail)
        with pytest.raises((accident, ModelContractError)):
            do_everything(classifier, images)
        handle.remove()
    assert_same(before, snapshot(classifier.module))
    assert torch.equal(classifier.module[5].weight.grad, grad)
    assert torch.equal(state, torch.get_rng_state())
    assert images.grad is None and not images.requires_grad


def test_dropout_is_off_and_the_random_state_is_rewound():
    net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
    images = torch.rand(3, 1, 2, 2)
    with classifier.probe() as probe:
        assert torch.equal(probe.logits(images), probe.logits(images))
    assert net.training


def test_m19_a_network_that_counts_its_calls_keeps_its_count_and_is_noted():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return self.fc(x.flatten(1))

    net = Counts()
    classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
    with classifier.probe() as probe:
        probe.logits(torch.rand(3, 1, 2, 2))
    assert net.calls == 0 and probe.notes == ("stateful: calls",)


def test_tied_weights_stay_tied():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[3].weight = net[1].weight
    classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
    with classifier.probe() as probe:
        probe.logits(torch.rand(3, 1, 2, 2))
        assert net[3].weight is net[1].weight
    assert net[3].weight is net[1].weight and len(list(net.parameters())) == 3


def test_probes_may_be_nested(case):
    classifier, images, _ = case
    before = snapshot(classifier.module)
    with classifier.probe() as outer:
        with classifier.probe() as inner:
            a = inner.logits(images)
        assert torch.equal(outer.logits(images), a)
    assert_same(before, snapshot(classifier.module))


def test_chunks_depend_on_shape_and_device_alone():
    sizes = [rows_per_chunk((3, s, s), torch.device("cpu")) for s in (8, 28, 32, 64, 224, 512)]
    assert sizes == [128, 32, 32, 8, 4, 4]
    assert rows_per_chunk((3, 32, 32), torch.device("cuda")) == 1024
