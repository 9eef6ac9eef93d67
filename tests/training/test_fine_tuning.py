"""Networks of other people, trained further: heads, frozen layers, run folders, resuming."""

import json
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.data import Augmentation
from convscope.errors import CheckpointError, ModelContractError, UsageError
from convscope.models import build, load, load_onto
from convscope.training import TrainSettings, Warned, train
from convscope.training._layers import Learner, find_head, try_out
from convscope.training._network import copied_network

NAMES = tuple(f"pattern {index}" for index in range(7))


class Net(nn.Module):
    """Batch norm, dropout, a shared in-place activation, an inner layer as wide as the head."""

    def __init__(self, classes=7):
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(6, 7, 3, padding=1), nn.BatchNorm2d(7))
        self.drop = nn.Dropout(0.2)
        self.hidden = nn.Linear(7, 7)
        self.fc = nn.Linear(7, classes)

    def forward(self, x):
        x = self.act(self.norm(self.stem(x)))
        x = self.act(self.block(x)).mean((2, 3))
        return self.fc(self.drop(self.act(self.hidden(x))))


class Pair(Net):
    def forward(self, x):
        return {"scores": super().forward(x), "more": x}


class Squeezed(Net):
    """A 1x1 convolution makes the maps whose means are the logits."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Conv2d(7, 7, 1)

    def forward(self, x):
        x = self.act(self.block(self.act(self.norm(self.stem(x)))))
        return self.fc(x).mean((2, 3))


class TwoHeads(Net):
    def __init__(self):
        super().__init__()
        self.second = nn.Linear(7, 7)

    def forward(self, x):
        x = self.act(self.block(self.act(self.norm(self.stem(x))))).mean((2, 3))
        return (self.fc(x) + self.second(x)) / 2


class Functional(Net):
    def forward(self, x):
        x = self.act(self.norm(self.stem(x))).mean((2, 3))
        return nn.functional.linear(x, self.block[0].weight.mean((2, 3)))


def classifier_of(module, **options):
    torch.manual_seed(3)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    module.eval()
    return Classifier.wrap(module, input_shape=(1, 12, 12), class_names=NAMES, **options)


@pytest.fixture
def classifier():
    return classifier_of(Net(), mean=(0.5,), std=(0.25,))


@pytest.fixture(scope="session")
def further():
    return TrainSettings(
        model="Net",
        data="stripes",
        preset="finetune",
        epochs=2,
        batch_size=32,
        learning_rate=0.01,
        schedule="cosine",
        body_lr=0.5,
        layer_decay=0.9,
        head_init="probe",
        norm_statistics="frozen",
        augment=Augmentation(shift=1),
        precision="fp32",
        evals_per_epoch=2,
        validation_images=20,
        checkpoint_seconds=1e9,
        checkpoint_steps=5,
    )


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def plan(classifier, settings, dataset):
    return copied_network(classifier, settings, dataset)


def test_the_module_is_left_as_it_was(tmp_path, dataset, further, classifier):
    module = classifier.module.train()
    module.fc.weight.requires_grad_(False)
    handle = module.act.register_forward_hook(lambda *_: None)
    before, hooks = state_of(module), dict(module.act._forward_hooks)
    generator = torch.get_rng_state()
    result = train(classifier, dataset, out=tmp_path / "run", settings=further)
    assert result.classifier.class_names == dataset.class_names
    assert torch.equal(generator, torch.get_rng_state())
    after = module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert module.training
    assert not module.fc.weight.requires_grad
    assert module.stem.weight.requires_grad
    assert module.stem.weight.grad is None
    assert module.fc.out_features == 7
    assert dict(module.act._forward_hooks) == hooks
    handle.remove()


@pytest.mark.parametrize("kind", [Net, Squeezed, TwoHeads])
def test_the_head_is_found_and_replaced(dataset, further, kind):
    classifier = classifier_of(kind())
    network = plan(classifier, replace(further, head_init="random"), dataset)
    names = ("fc", "second") if kind is TwoHeads else ("fc",)
    assert network.head.names == names
    assert network.head.is_last == (kind is Net)
    assert network.fresh_head
    assert network.model(torch.zeros(2, 1, 12, 12)).shape == (2, 4)


def test_an_inner_layer_of_the_same_width_is_no_head(classifier):
    learner = Learner(classifier.module, output=None, probabilities=False, classes=7)
    inputs = torch.rand(2, 1, 12, 12)
    trial = try_out(learner, inputs)
    without = replace(trial, outputs={"hidden": trial.outputs["hidden"]})
    with pytest.raises(ModelContractError, match="makes the 7 logits") as caught:
        find_head(learner, without, inputs, what="Net")
    assert caught.value.code == "T20"


def test_a_network_without_a_head_layer_is_refused(tmp_path, dataset, further):
    classifier = classifier_of(Functional())
    with pytest.raises(ModelContractError, match="no dense layer or 1x1 convolution"):
        train(classifier, dataset, out=tmp_path / "run", settings=further)
    assert not (tmp_path / "run").exists()


def test_the_same_classes_keep_their_head_in_the_order_of_the_data(dataset, further):
    shuffled = tuple(reversed(dataset.class_names))
    module = Net(classes=4)
    classifier = Classifier.wrap(module.eval(), input_shape=(1, 12, 12), class_names=shuffled)
    network = plan(classifier, further, dataset)
    assert not network.fresh_head
    images = torch.rand(3, 1, 12, 12)
    with torch.no_grad():
        logits = network.model.eval()(network.normalize(images))
        assert torch.allclose(logits.flip(1), classifier.logits(images), atol=1e-5)


def test_outputs_that_are_no_tensor_and_softmax(tmp_path, dataset, further):
    classifier = classifier_of(Pair(), output=lambda returned: returned["scores"])
    result = train(classifier, dataset, out=tmp_path / "run", settings=further)
    assert result.classifier.logits(torch.rand(2, 1, 12, 12)).shape == (2, 4)
    ended = classifier_of(nn.Sequential(Net(), nn.Softmax(dim=1)), probabilities=True)
    result = train(ended, dataset, out=tmp_path / "other", settings=further)
    assert result.classifier.probabilities


def test_body_frozen_moves_the_head_only(tmp_path, dataset, further, classifier):
    settings = replace(further, freeze="body", norm_statistics="batch")
    result = train(classifier, dataset, out=tmp_path / "run", settings=settings)
    before, after = classifier.module.state_dict(), result.classifier.module.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"fc.weight", "fc.bias"}


def test_frozen_up_to_a_layer(tmp_path, dataset, further, classifier):
    settings = replace(further, freeze="norm", norm_statistics="batch", ema=0.0)
    result = train(classifier, dataset, out=tmp_path / "run", settings=settings)
    before, after = classifier.module.state_dict(), result.classifier.module.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {name for name in before if name.startswith(("stem.", "norm."))}
    with pytest.raises(UsageError, match="blok"):
        plan(classifier, replace(further, freeze="blok"), dataset)
    with pytest.raises(UsageError, match="nothing is left to train"):
        plan(classifier, replace(further, freeze="fc"), dataset)


def test_frozen_statistics_stay_while_weights_move(tmp_path, dataset, further, classifier):
    result = train(classifier, dataset, out=tmp_path / "run", settings=further)
    before, after = classifier.module.state_dict(), result.classifier.module.state_dict()
    for name in before:
        assert torch.equal(before[name], after[name]) == ("running" in name or "num_b" in name)


def test_layers_learn_at_their_share(dataset, further, classifier):
    shares = plan(classifier, further, dataset).shares
    assert "network.fc.weight" not in shares
    assert shares["network.hidden.weight"] == pytest.approx(0.5 * 0.9)
    assert shares["network.block.1.weight"] == shares["network.block.0.weight"]
    assert shares["network.stem.weight"] == pytest.approx(0.5 * 0.9**3)


def test_a_new_head_is_drawn_from_the_seed(dataset, further, classifier):
    heads = [
        plan(classifier, replace(further, seed=seed), dataset).model.network.fc.weight
        for seed in (0, 0, 1)
    ]
    assert heads[0].shape == (4, 7) and bool((heads[0] != 0).all())
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_a_smaller_share_of_the_learning_rate_moves_layers_less(
    tmp_path, dataset, further, classifier
):
    before, moved = classifier.module.state_dict()["stem.weight"], {}
    for share in (1.0, 1e-4):
        settings = replace(
            further, epochs=1, body_lr=share, layer_decay=1.0, ema=0.0, evals_per_epoch=1
        )
        run = train(classifier, dataset, out=tmp_path / str(share), settings=settings)
        after = run.classifier.module.state_dict()["stem.weight"]
        moved[share] = float((after - before).abs().max())
    assert 0 < moved[1e-4] < 1e-2 * moved[1.0]


def test_a_probe_beats_a_random_head(tmp_path, dataset, further, classifier):
    losses = {}
    for head in ("probe", "random"):
        settings = replace(further, epochs=1, head_init=head, evals_per_epoch=6)
        run = train(classifier, dataset, out=tmp_path / head, settings=settings)
        losses[head] = run.history[0].validation_loss
    assert losses["probe"] < losses["random"]


def test_a_probe_of_a_convolution_says_that_it_begins_random(tmp_path, dataset, further):
    heard = []
    classifier = classifier_of(Squeezed())
    train(classifier, dataset, out=tmp_path / "run", settings=further, on_event=heard.append)
    assert any("its head begins random" in e.text for e in heard if isinstance(e, Warned))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"freeze": "body"},
        {"freeze": "norm", "norm_statistics": "batch", "head_init": "random"},
        {"sampling": "balanced", "class_weights": "balanced", "optimizer": "sgd"},
    ],
    ids=["gentle", "body", "layer", "balanced"],
)
def test_resume_is_bitwise(tmp_path, dataset, further, classifier, crash_after, digest, changes):
    settings = replace(further, **changes)
    for step in (3, 7, 11):
        with pytest.raises(RuntimeError, match="crash"):
            train(
                classifier,
                dataset,
                out=tmp_path / "run",
                settings=settings,
                resume=True,
                on_event=crash_after(step),
            )
    train(classifier, dataset, out=tmp_path / "run", settings=settings, resume=True)
    train(classifier, dataset, out=tmp_path / "calm", settings=settings)
    assert digest(tmp_path / "run") == digest(tmp_path / "calm")


def test_a_run_of_a_module_in_memory_asks_for_it(tmp_path, dataset, further, classifier):
    result = train(classifier, dataset, out=tmp_path / "run", settings=further)
    with pytest.raises(CheckpointError, match="was a Net in memory") as caught:
        load(tmp_path / "run")
    assert caught.value.code == "C11"
    images = torch.rand(3, 1, 12, 12)
    for again in (load(tmp_path / "run", module=Net()), load_onto(tmp_path / "run", classifier)):
        assert torch.equal(again.logits(images), result.classifier.logits(images))
        assert again.class_names == dataset.class_names
        assert (again.mean, again.std) == ((0.5,), (0.25,))
    with pytest.raises(CheckpointError, match=r"no dense layer 'fc'|not the weights"):
        load(tmp_path / "run", module=nn.Linear(4, 4))


def test_a_network_of_the_registry_loads_by_itself(tmp_path, dataset, further):
    net = build("mnist-conv1-bn", num_classes=7, input_shape=(1, 12, 12)).eval()
    classifier = Classifier.wrap(net, input_shape=(1, 12, 12), class_names=NAMES)
    result = train(classifier, dataset, out=tmp_path / "run", settings=further)
    again = load(tmp_path / "run")
    images = torch.rand(2, 1, 12, 12)
    assert torch.equal(again.logits(images), result.classifier.logits(images))
    assert again.num_classes == 4


def test_code_is_named_by_the_user_and_by_no_file(
    tmp_path, dataset, further, classifier, monkeypatch
):
    (tmp_path / "my_code_of_nets.py").write_text(
        "import torch\nfrom torch import nn\nimported = True\n"
        "def make():\n"
        "    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 7))\n"
        "    net.input_shape = [1, 12, 12]\n    return net.eval()\n"
    )
    monkeypatch.chdir(tmp_path)
    spec = "my_code_of_nets:make"
    result = train(load(spec), dataset, out=tmp_path / "run", settings=further, spec=spec)
    del sys.modules["my_code_of_nets"]
    with pytest.raises(CheckpointError, match="no file makes convscope run code") as caught:
        load(tmp_path / "run")
    assert f"{spec} --weights" in caught.value.hint
    assert "my_code_of_nets" not in sys.modules
    again = load(spec, weights=tmp_path / "run")
    images = torch.rand(2, 1, 12, 12)
    assert torch.equal(again.logits(images), result.classifier.logits(images))
    assert again.class_names == dataset.class_names


def test_a_changed_description_is_refused(tmp_path, dataset, further, classifier):
    train(classifier, dataset, out=tmp_path / "run", settings=further)
    path = tmp_path / "run" / "config.json"
    table = json.loads(path.read_text())
    for origin in ({"kind": 3}, {**table["origin"], "resize": {"os.system": "x"}}):
        path.write_text(json.dumps({**table, "origin": origin}))
        with pytest.raises(CheckpointError) as caught:
            load(tmp_path / "run", module=Net())
        assert caught.value.code == "C17"


def test_images_of_another_size_are_refused(tmp_path, dataset, further):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 7))
    classifier = Classifier.wrap(net, input_shape=(1, 8, 8))
    with pytest.raises(ModelContractError, match="1x12x12, the network takes 1x8x8"):
        train(classifier, dataset, out=tmp_path / "run", settings=further)


def test_a_bare_module_needs_nothing_else(tmp_path, dataset):
    torch.manual_seed(0)
    result = train(Net().eval(), dataset, out=tmp_path / "run")
    assert result.classifier.class_names == dataset.class_names
    assert result.classifier.mean is None


def test_settings_about_weights_are_refused_without_weights(tmp_path, dataset, settings):
    with pytest.raises(UsageError, match="freeze and head_init would change nothing"):
        train(replace(settings, freeze="body", head_init="probe"), dataset, out=tmp_path / "run")
