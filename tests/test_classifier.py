import numpy as np
import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.errors import ImageError, ModelContractError, NumericalError, UsageError


class Returns(nn.Module):
    """A network that returns whatever `make` builds from its logits."""

    def __init__(self, make):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.make = make

    def forward(self, x):
        return self.make(self.fc(x.flatten(1)))


SHAPE = (1, 2, 2)
wrap = lambda make, **more: Classifier.wrap(Returns(make), **({"input_shape": SHAPE} | more))


def test_any_module_becomes_a_classifier_with_names():
    classifier = wrap(lambda z: z, class_names=["a", "b", "c"])
    predictions = classifier.predict(torch.rand(5, *SHAPE), top=2)
    assert predictions.labels.shape == (5, 2)
    assert set(predictions.names(0)) <= {"a", "b", "c"}
    assert torch.all(predictions.probabilities[:, 0] >= predictions.probabilities[:, 1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda z: (z, z), "a tuple of 2"),
        (lambda z: {"logits": z}, "keys logits"),
        (lambda z: [z], "a list of 1"),
    ],
)
def test_m01_other_containers_are_named_and_a_way_out_is_shown(make, words):
    with pytest.raises(ModelContractError, match=words) as caught:
        wrap(make)
    assert caught.value.code == "M01" and "wrap(..., output=" in caught.value.hint


def test_m01_the_way_out_works():
    classifier = wrap(lambda z: (z, z), output=lambda returned: returned[0])
    assert classifier.predict(torch.rand(2, *SHAPE)).labels.shape == (2, 3)


@pytest.mark.parametrize(
    "make",
    [lambda z: z[:, :, None, None], lambda z: z[0], lambda z: z.argmax(1)[:, None]],
)
def test_m02_other_shapes_are_refused_with_the_shape(make):
    with pytest.raises(ModelContractError) as caught:
        wrap(make)
    assert caught.value.code == "M02" and "shape" in str(caught.value)


def test_m03_a_softmax_at_the_end_is_noticed_and_can_be_undone():
    assert "softmax-output" in wrap(lambda z: z.softmax(1)).flags
    assert "softmax-output" not in wrap(lambda z: z).flags
    module = Returns(lambda z: z.softmax(1))
    undone = Classifier.wrap(module, input_shape=SHAPE, probabilities=True)
    images = torch.rand(4, *SHAPE)
    assert torch.allclose(
        undone.logits(images), module.fc(images.flatten(1)).log_softmax(1), atol=1e-6
    )


def test_a_network_that_draws_at_random_is_noticed():
    assert "randomized" in wrap(lambda z: nn.functional.dropout(z, 0.5, training=True)).flags
    assert "randomized" not in wrap(lambda z: z).flags


@pytest.mark.parametrize("shape", [(64, 64, 3), (28, 28, 1)])
def test_u12_channels_that_come_last_are_refused_with_the_right_order(shape):
    with pytest.raises(UsageError, match="looks like the channels") as raised:
        Classifier.wrap(torch.nn.Flatten(), input_shape=shape)
    assert raised.value.hint == f"input_shape=({shape[2]}, {shape[0]}, {shape[1]})"


def test_m14_a_wrong_input_shape_is_one_sentence():
    with pytest.raises(ModelContractError, match="shape \\(2, 1, 3, 3\\)") as caught:
        Classifier.wrap(Returns(lambda z: z), input_shape=(1, 3, 3))
    assert caught.value.code == "M14" and "4 values" in caught.value.expected


def test_m21_too_few_names():
    with pytest.raises(ModelContractError, match="3 classes, class_names has 2"):
        wrap(lambda z: z, class_names=["a", "b"])


def test_normalization_is_inside():
    classifier = wrap(lambda z: z, mean=(0.5,), std=(0.25,))
    images = torch.rand(3, *SHAPE)
    by_hand = classifier.module.fc(((images - 0.5) / 0.25).flatten(1))
    assert torch.allclose(classifier.logits(images), by_hand)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_m13_images_are_cast_to_the_networks_type_and_logits_back(dtype):
    module = Returns(lambda z: z).to(dtype)
    classifier = Classifier.wrap(module, input_shape=SHAPE)
    images = torch.rand(2, *SHAPE)
    assert classifier.logits(images).dtype == torch.float32
    with classifier.probe() as probe:
        found = probe.gradient(images, lambda x, logits, rows: logits[:, 0])
    assert found.gradients.dtype == torch.float32


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.full((1, 1, 2, 2), 255.0), "divide by 255"),
        (torch.full((1, 1, 2, 2), -1.5), "normalized"),
        (torch.full((1, 1, 2, 2), torch.nan), "nan"),
        (torch.zeros(1, 2, 2), "batch"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.uint8), "uint8"),
        (torch.zeros(1, 3, 2, 2), "3 channels"),
    ],
)
def test_i24_images_that_are_none_are_refused_with_the_likely_cause(images, words):
    with pytest.raises(ImageError, match=words):
        wrap(lambda z: z).check_images(images)


def test_images_a_rounding_away_from_the_range_pass():
    wrap(lambda z: z).check_images(torch.tensor([[[[1 + 1e-7, -1e-7], [0.0, 1.0]]]]))


def test_u08_labels_are_checked():
    classifier = wrap(lambda z: z)
    with pytest.raises(UsageError, match="labels contain 3"):
        classifier.check_labels(torch.tensor([0, 3]), 2)
    with pytest.raises(UsageError, match="one per image"):
        classifier.check_labels(torch.tensor([0]), 2)


def test_shows_itself_in_a_notebook_with_hostile_names_escaped():
    classifier = wrap(lambda z: z, source="<script>alert(1)</script>")
    html = classifier._repr_html_()
    assert "<script>" not in html and "fc" in html


def test_wrapping_leaves_the_network_as_it_was():
    module = Returns(lambda z: z).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    state = torch.get_rng_state()
    Classifier.wrap(module, input_shape=SHAPE)
    assert module.training and torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_two_classifiers_compare_by_identity():
    one, two = wrap(lambda z: z), wrap(lambda z: z)
    assert one == one and one != two and len({one, two}) == 2


def test_m03_a_single_output_is_refused_with_the_way_out():
    """The way out that is named works when it is pasted."""

    class One(nn.Module):
        def __init__(self, end):
            super().__init__()
            self.fc, self.end = nn.Linear(4, 1), end

        def forward(self, x):
            return self.end(self.fc(x.flatten(1)))

    torch.manual_seed(0)
    images = torch.rand(4, *SHAPE)
    for end in (lambda z: z * 9, torch.sigmoid):
        net = One(end)
        with pytest.raises(ModelContractError, match="one output per image") as caught:
            Classifier.wrap(net, input_shape=SHAPE)
        assert caught.value.code == "M03"
        words = caught.value.hint.removeprefix("wrap(..., ").removesuffix("), with two class_names")
        given = eval(f"dict({words})", {"torch": torch})
        classifier = Classifier.wrap(net, input_shape=SHAPE, class_names=["no", "yes"], **given)
        raw = net(images)
        yes = raw if given.get("probabilities") else raw.sigmoid()
        found = classifier.logits(images).softmax(dim=1)[:, 1:]
        assert torch.allclose(found, yes, atol=1e-6)


@pytest.mark.parametrize(
    "given",
    [{"mean": [123.7]}, {"std": [58.4]}, {"mean": "0.5"}, {"std": [0.0]}, {"std": float("nan")},
     {"mean": [0.5, 0.5]}, {"class_names": "abc"}, {"class_names": [1, 2, 3]}, {"class_names": 3},
     {"input_shape": (4, 4)}, {"input_shape": (1, 4, 4.5)}, {"input_shape": "144"},
     {"input_shape": (0, 4, 4)}, {"input_shape": None}],
)  # fmt: skip
def test_u12_nonsense_is_refused_by_name(given):
    with pytest.raises(UsageError) as caught:
        wrap(lambda z: z, **given)
    assert next(iter(given)) in str(caught.value)


def test_harmless_spellings_of_mean_and_std_are_taken():
    for value in (0.5, [0.5], torch.tensor([0.5]), np.float32(0.5), np.array([0.5])):
        assert wrap(lambda z: z, mean=value, std=value).mean == (0.5,)


def test_m24_logits_that_depend_on_the_batch_are_refused():
    class OverTheBatch(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 1)
            self.norm = nn.BatchNorm2d(4, track_running_stats=False)
            self.fc = nn.Linear(16, 3)

        def forward(self, x):
            return self.fc(self.norm(self.conv(x)).flatten(1))

    class Row(nn.Module):
        def __init__(self, change):
            super().__init__()
            self.fc, self.change = nn.Linear(4, 3), change

        def forward(self, x):
            return self.change(self.fc(x.flatten(1)))

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(4, 3)  # Without batch_first the batch is taken for time.

        def forward(self, x):
            return self.rnn(x.flatten(1))[0]

    torch.manual_seed(0)
    for net in (
        OverTheBatch(), Recurrent(), Row(lambda z: z.cumsum(0)), Row(lambda z: z / z.max()),
        Row(lambda z: z[:1].expand(len(z), -1)),
        Row(lambda z: z - z.mean(0) if len(z) > 4 else z),
    ):  # fmt: skip
        with pytest.raises(ModelContractError, match="other images of its batch") as caught:
            Classifier.wrap(net, input_shape=SHAPE)
        assert caught.value.code == "M24"
        bare = Classifier(module=net, class_names=tuple("abc"), input_shape=SHAPE)
        with pytest.raises(ModelContractError, match="other images of its batch"):
            bare.predict(torch.rand(2, *SHAPE))


@pytest.mark.parametrize(
    "given",
    [{"output": 5}, {"preprocess": "x"}, {"probabilities": "no"}, {"probabilities": torch.ones(2)},
     {"source": 5}, {"mean": True}, {"input_shape": torch.zeros(3, device="meta")}],
)  # fmt: skip
def test_u12_wrong_types_are_refused_by_name(given):
    with pytest.raises(UsageError, match=next(iter(given))):
        wrap(lambda z: z, **given)


def test_predictions_ask_for_a_whole_number():
    for top in (None, "a", 2.5, True, np.zeros(2)):
        with pytest.raises(UsageError, match="top is"):
            wrap(lambda z: z).predict(torch.rand(2, *SHAPE), top=top)


def test_weights_of_another_precision_at_the_root_do_not_round_images():
    class Scaled(nn.Module):
        def __init__(self, dtype):
            super().__init__()
            self.scale, self.fc = nn.Parameter(torch.ones((), dtype=dtype)), nn.Linear(4, 3)

        def forward(self, x):
            return self.fc(x.flatten(1)) * self.scale.float()

    for dtype in (torch.bfloat16, torch.float64):
        torch.manual_seed(0)
        net, images = Scaled(dtype), torch.rand(4, *SHAPE)
        found = Classifier.wrap(net, input_shape=SHAPE).predict(images).probabilities
        assert torch.allclose(found, net(images).softmax(1).topk(3).values, atol=1e-6)


def test_m09_nan_is_no_class():
    classifier = wrap(lambda z: z * float("nan"))
    assert classifier.flags == ("train-mode", "nonfinite-logits: of 128 of 128 random images")
    with pytest.raises(NumericalError, match="4 of 4 images"):
        classifier.predict(torch.rand(4, *SHAPE))
    some = wrap(lambda z: torch.where(torch.arange(len(z))[:, None] == 1, torch.nan, z))
    with pytest.raises(NumericalError, match="first for image 1"):
        some.predict(torch.rand(4, *SHAPE))
    assert wrap(lambda z: z.masked_fill(torch.arange(3) == 2, -torch.inf)).predict(
        torch.rand(2, *SHAPE)
    ).probabilities.isfinite().all()  # fmt: skip


def test_images_of_any_container_give_the_same_predictions():
    classifier = wrap(lambda z: z)
    images = torch.rand(3, *SHAPE)
    right = classifier.predict(images).probabilities
    for same in (images.numpy(), images.double(), images.tolist(), list(images),
                 images.clone().requires_grad_(True), images.double().numpy()):  # fmt: skip
        assert torch.allclose(classifier.predict(same).probabilities, right, atol=1e-6)
    for other in (
        images.to_sparse(),
        images.to("meta"),
        "image.png",
        None,
        images.numpy().tolist,
        images[0],
        images * 255,
        (images * 255).byte(),
        images.to(torch.complex64),
    ):
        with pytest.raises(ImageError):
            classifier.predict(other)


def test_m14_images_of_a_size_the_network_cannot_take():
    classifier = wrap(lambda z: z)
    with pytest.raises(ModelContractError, match="failed on images of shape") as caught:
        classifier.predict(torch.rand(2, 1, 9, 9))
    assert caught.value.code == "M14" and "(1, 2, 2)" in caught.value.hint


def test_m14_a_forward_with_two_inputs_is_named():
    class Two(nn.Module):
        def forward(self, x, y):
            return x.flatten(1) + y

    with pytest.raises(ModelContractError, match="positional argument") as caught:
        Classifier.wrap(Two(), input_shape=SHAPE)
    assert "one batch of images" in caught.value.expected
