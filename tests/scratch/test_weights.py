import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convscope import models, scratch
from convscope.errors import CheckpointError


def trained_by_torch(name, tmp_path, *, mean=None, std=None):
    """A torch network whose running averages are not those of the start, and its run folder."""
    torch.manual_seed(0)
    module = models.build(name, generator=torch.Generator().manual_seed(0))
    module.train()
    for _ in range(3):
        module(1 + 2 * torch.rand(8, 1, 28, 28))
    module.eval()
    tensors = {key: tensor.contiguous() for key, tensor in module.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    config = {
        "architecture": name,
        "num_classes": 10,
        "input_shape": [1, 28, 28],
        "mean": mean,
        "std": std,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    return module


@pytest.mark.parametrize("name", scratch.NETWORKS)
def test_a_network_of_the_torch_engine_gives_the_same_logits(name, tmp_path):
    module = trained_by_torch(name, tmp_path)
    images = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = module(images).numpy()
    network = scratch.load_network(tmp_path)
    found = scratch.predict(network, images.numpy())
    assert np.abs(found - expected).max() < 1e-4


def test_preprocessing_comes_with_the_network(tmp_path):
    module = trained_by_torch("mnist-conv1", tmp_path, mean=[0.1307], std=[0.3081])
    images = torch.rand(4, 1, 28, 28)
    with torch.no_grad():
        expected = module((images - 0.1307) / 0.3081).numpy()
    found = scratch.load_network(tmp_path).forward(images.numpy())
    assert np.abs(found - expected).max() < 1e-4


def test_a_run_folder_of_the_models_package_loads(tmp_path):
    module = models.build("mnist-conv2", generator=torch.Generator().manual_seed(0))
    models.save_model(
        tmp_path / "run",
        module=module,
        architecture="mnist-conv2",
        class_names=tuple("0123456789"),
        input_shape=(1, 28, 28),
        mean=(0.1307,),
        std=(0.3081,),
        source="a test",
    )
    images = torch.rand(4, 1, 28, 28)
    expected = models.load(str(tmp_path / "run")).logits(images).detach().numpy()
    found = scratch.load_network(tmp_path / "run").forward(images.numpy())
    assert np.abs(found - expected).max() < 1e-4


def test_weights_survive_a_file(tmp_path, generator):
    one = scratch.build_network("mnist-conv1-bn", generator=generator)
    two = scratch.build_network("mnist-conv1-bn", generator=generator)
    one.constants["bn1.running_mean"] += 3
    scratch.save_weights(one, tmp_path / "model.safetensors")
    scratch.load_weights(two, tmp_path / "model.safetensors")
    for name, array in (one.parameters | one.constants).items():
        assert (array == (two.parameters | two.constants)[name]).all()


def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path, generator):
    file = tmp_path / "model.safetensors"
    network = scratch.build_network("mnist-conv1", generator=generator)
    before = {name: array.copy() for name, array in network.parameters.items()}
    scratch.save_weights(scratch.build_network("mnist-conv2", generator=generator), file)
    with pytest.raises(CheckpointError, match=r"unknown \['conv2.bias', 'conv2.weight'\]"):
        scratch.load_weights(network, file)
    other = scratch.build_network("mnist-conv1", generator=generator, num_classes=3)
    scratch.save_weights(other, file)
    with pytest.raises(CheckpointError, match=r"fc1.(bias|weight) has shape \(3"):
        scratch.load_weights(network, file)
    for name, array in before.items():
        assert (network.parameters[name] == array).all()


@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 64])
def test_a_file_that_is_no_weight_file_is_refused(content, tmp_path, generator):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"incomplete|header declares"):
        scratch.load_weights(
            scratch.build_network("mnist-conv1", generator=generator),
            tmp_path / "model.safetensors",
        )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"architecture": "mnist-conv1"}'])
def test_a_damaged_config_is_refused(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        scratch.load_network(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        scratch.load_network(tmp_path / "nowhere")
