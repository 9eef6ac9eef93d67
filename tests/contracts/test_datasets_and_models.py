"""What every entry of DATASETS and MODELS promises."""

import pytest
import torch

from convscope.classifier import Classifier
from convscope.data import DATASETS
from convscope.models import MODELS, build

each_dataset = pytest.mark.parametrize("name", DATASETS)
each_model = pytest.mark.parametrize("name", MODELS)


@each_dataset
def test_splits_are_bytes_with_labels_of_the_named_classes(name, opened):
    dataset = opened(name)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.images.dtype == torch.uint8 and split.images.ndim == 4
        assert split.images.shape[1:] == dataset.input_shape
        assert len(split.labels) == len(split.images) > 0
        assert 0 <= int(split.labels.min()) <= int(split.labels.max()) < len(dataset.class_names)


@each_dataset
def test_opening_twice_gives_the_same_images(name, opened):
    one, two = opened(name), opened(name, again=True)
    for split in ("train", "validation", "test"):
        a, b = one.split(split), two.split(split)
        assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


@each_dataset
def test_floats_are_in_the_unit_interval(name, opened):
    images = opened(name).test.to_float(torch.arange(5))
    assert images.dtype == torch.float32 and images.min() >= 0 and images.max() <= 1


@each_model
def test_gives_logits_and_can_be_frozen(name):
    architecture = MODELS[name]
    module = build(name, generator=torch.Generator().manual_seed(0))
    classifier = Classifier.wrap(module, input_shape=architecture.input_shape)
    assert classifier.num_classes == 10
    images = torch.rand(3, *architecture.input_shape)
    assert classifier.predict(images).labels.shape == (3, 3)


@each_model
def test_same_seed_same_weights_and_another_seed_others(name):
    def weights(seed):
        module = build(name, generator=torch.Generator().manual_seed(seed))
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


@each_model
def test_other_sizes_channels_and_class_numbers(name):
    module = build(name, num_classes=3, input_shape=(2, 40, 36))
    assert module.eval()(torch.rand(2, 2, 40, 36)).shape == (2, 3)


@each_model
def test_in_place_layers_do_not_hide_activations(name):
    architecture = MODELS[name]
    module = build(name, generator=torch.Generator().manual_seed(0))
    classifier = Classifier.wrap(module, input_shape=architecture.input_shape)
    with classifier.probe() as probe:
        convolutions = [i.name for i in probe.layers() if i.kind == "Conv2d"]
        seen = probe.activations_of(convolutions, torch.rand(2, *architecture.input_shape))
    assert seen and all(maps.min() < 0 for maps in seen.values())
