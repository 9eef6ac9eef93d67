"""``convscope export``: what is written gives the same logits when it is loaded again."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.cli import main
from convscope.errors import ModelContractError, UsageError
from convscope.models import EXPORTS, export_model, load
from convscope.models._safetensors import write_tensors


def own(**settings):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    )  # fmt: skip
    return Classifier.wrap(
        net.eval(), input_shape=(3, 9, 7), class_names=["cat", "dog", "cow"], mean=[0.4, 0.5, 0.6],
        std=[0.2], **settings,
    )  # fmt: skip


def test_weights_come_back_bit_by_bit(tmp_path):
    classifier = load("mnist-conv2-fc")
    done = export_model(classifier, "safetensors", tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert done["difference"] == 0 and again.class_names == classifier.class_names
    assert (again.mean, again.std) == (classifier.mean, classifier.std)
    for name, value in classifier.module.state_dict().items():
        assert torch.equal(again.module.state_dict()[name], value)


def test_weights_of_a_network_of_ones_own_fit_its_code_again(tmp_path, monkeypatch):
    from safetensors import safe_open

    done = export_model(own(), "safetensors", tmp_path / "net.safetensors")
    assert done["reload"] is None and done["difference"] is None
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        about = json.loads(file.metadata()["description"])
        assert torch.equal(file.get_tensor("0.weight"), own().module[0].weight)
    assert about["class_names"] == ["cat", "dog", "cow"] and about["mean"] == [0.4, 0.5, 0.6]


@pytest.mark.parametrize("make", [own, lambda: load("cifar-resnet20")])
def test_a_program_has_mean_and_std_inside(make, tmp_path):
    classifier = make()
    done = export_model(classifier, "torch-export", tmp_path / "net.pt2")
    assert done["difference"] <= 1e-5
    again = load(f"export:{tmp_path / 'net.pt2'}")
    images = torch.rand(5, *classifier.input_shape)
    assert again.mean is None
    assert torch.allclose(again.predict(images).probabilities,
                          classifier.predict(images).probabilities, atol=1e-5)  # fmt: skip


class Scores(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x):
        return {"scores": self.body(x).softmax(dim=1), "more": x}


def test_a_program_has_preprocessing_output_and_logarithm_inside(tmp_path):
    classifier = Classifier.wrap(
        Scores().eval(), input_shape=(3, 9, 7), preprocess=lambda x: 2 * x.flip(1) - 1,
        output=lambda returned: returned["scores"], probabilities=True,
    )  # fmt: skip
    done = export_model(classifier, "torch-export", tmp_path / "net.pt2")
    again = load(done["reload"])
    images = torch.rand(5, 3, 9, 7)
    assert done["difference"] <= 1e-5 and not again.probabilities
    assert torch.allclose(again.logits(images), classifier.logits(images), atol=1e-5)


def test_weights_whose_preprocessing_is_code_do_not_load_by_themselves(tmp_path):
    turned = replace(load("mnist-conv1"), preprocess=lambda x: x.flip(3))
    done = export_model(turned, "safetensors", tmp_path / "net.safetensors")
    assert done["reload"] is None and done["difference"] is None


@pytest.mark.parametrize("make", [own, lambda: load("cifar-resnet20")])
def test_an_onnx_file_has_mean_std_and_names_inside(make, tmp_path):
    for library in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(library)
    classifier = make()
    done = export_model(classifier, "onnx", tmp_path / "net.onnx")
    again = load(f"onnx:{tmp_path / 'net.onnx'}")
    assert done["difference"] <= 1e-5 and again.flags == ()
    assert again.class_names == classifier.class_names and not again.black_box


def test_a_folder_of_transformers_comes_back(shared, tmp_path):
    pytest.importorskip("transformers")
    classifier = load(f"hf:{shared / 'weights' / 'mobilenet_v2_1.0_224'}")
    done = export_model(classifier, "hf", tmp_path / "net")
    again = load(f"hf:{tmp_path / 'net'}")
    assert done["difference"] == 0
    assert (again.mean, again.std, again.class_names) == (
        classifier.mean, classifier.std, classifier.class_names)  # fmt: skip
    assert str(again.resize) == str(classifier.resize)


class Changing(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3] * (2.0 if float(x.sum()) > 1 else 1.0)


@pytest.mark.parametrize("to", EXPORTS)
def test_what_cannot_be_written_is_refused_and_nothing_is_left(to, tmp_path):
    if to == "onnx":
        pytest.importorskip("onnxscript")
    out = tmp_path / f"net{EXPORTS.spec(to).ending}"
    box = Classifier.from_function(lambda x: x.reshape(len(x), -1)[:, :3], input_shape=(3, 9, 7))
    with pytest.raises(ModelContractError, match="a black box has no weights"):
        export_model(box, to, out)
    with pytest.raises(ModelContractError) as caught:
        export_model(Classifier(module=Changing(), class_names=("a", "b", "c"),
                                input_shape=(3, 9, 7)), to, out)  # fmt: skip
    assert caught.value.code == "M27" and not out.exists()


@pytest.mark.parametrize(("factor", "right"), [(1 + 2e-6, True), (1 + 1e-3, False)])
def test_what_was_written_is_loaded_and_compared(factor, right, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "convscope.models._export.write_tensors",
        lambda state, about: write_tensors({k: v * factor for k, v in state.items()}, about),
    )
    out = tmp_path / "net.safetensors"
    if right:
        done = export_model(load("mnist-conv1"), "safetensors", out)
        assert 1e-7 < done["difference"] < 1e-5
        return
    with pytest.raises(ModelContractError, match="gives other logits, by") as caught:
        export_model(load("mnist-conv1"), "safetensors", out)
    assert caught.value.code == "M27"


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "mnist-conv1", "--to", "safetensors"]) == 0
    assert "logits differ by 0.0e+00" in capsys.readouterr().out
    assert main(["export", "mnist-conv1", "--to", "safetensors"]) == 2
    assert main(["export", "mnist-conv1", "--to", "safetensor", "--force"]) == 2
    assert main(["export", "mnist-conv1", "--to", "safetensors", "--out", "net.pt"]) == 2
    capsys.readouterr()
    words = ["export", "mnist-conv1", "--to", "safetensors", "--force", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["difference"] == 0
    with pytest.raises(UsageError):
        export_model(load("mnist-conv1"), "safetensors", tmp_path / "network.safetensors")
