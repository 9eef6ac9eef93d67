"""torchscript:FILE and export:FILE."""

import json
import warnings
import zipfile

import pytest
import torch
from torch import nn

from convscope.errors import CheckpointError, ModelContractError, UsageError
from convscope.explanations import EXPLANATIONS
from convscope.models import build, load
from convscope.models._programs import is_formula


@pytest.fixture(scope="module")
def network():
    return build("mnist-conv2-bn", generator=torch.Generator().manual_seed(0)).eval()


@pytest.fixture(scope="module")
def scripted(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("jit") / "net.ts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, torch.rand(2, 1, 28, 28)), path)
    return path


def exported(network, path, images, shapes=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(network, (images,), dynamic_shapes=shapes), path)
    return path


@pytest.fixture(scope="module")
def program(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "net.pt2"
    return exported(network, path, torch.rand(2, 1, 28, 28), ({0: torch.export.Dim("batch")},))


def test_torchscript_gives_the_same_logits_and_hides_its_layers(network, scripted):
    classifier = load(f"torchscript:{scripted}", input_shape=(1, 28, 28), mean=0.1, std=0.5)
    images = torch.rand(3, 1, 28, 28)
    assert torch.allclose(classifier.logits(images), network((images - 0.1) / 0.5), atol=1e-6)
    assert EXPLANATIONS["saliency"](classifier, images).maps.abs().max() > 0
    with pytest.raises(ModelContractError, match="TorchScript"):
        classifier.layers()
    with pytest.raises(ModelContractError, match="--input-shape"):
        load(f"torchscript:{scripted}")
    with pytest.raises(UsageError, match="its own weights"):
        load(f"torchscript:{scripted}", weights="x.pt", input_shape=(1, 28, 28))


def test_a_program_without_its_prefix_is_refused_and_the_prefix_named(scripted, program, tmp_path):
    for path, prefix in ((scripted, "torchscript:"), (program, "export:")):
        other = tmp_path / f"{path.stem}.pt"
        other.write_bytes(path.read_bytes())
        with pytest.raises(CheckpointError) as caught:
            load(other)
        assert caught.value.code == "C03" and prefix in caught.value.hint


def test_exported_programs_have_layers(network, program):
    classifier = load(f"export:{program}", class_names=[f"digit {i}" for i in range(10)])
    images = torch.rand(3, 1, 28, 28)
    assert torch.allclose(classifier.logits(images), network(images), atol=1e-6)
    names = [layer.name for layer in classifier.layers()]
    assert "conv1" in names and "pool2" in names and classifier.flags == ()
    assert EXPLANATIONS["grad-cam"](classifier, images).layer == "pool2"
    with pytest.raises(ModelContractError, match="takes images of 1 x 28 x 28"):
        load(f"export:{program}", input_shape=(1, 32, 32))


def test_a_program_for_one_image_runs_row_by_row(network, tmp_path):
    path = exported(network, tmp_path / "net.pt2", torch.rand(1, 1, 28, 28))
    classifier = load(f"export:{path}")
    images = torch.rand(3, 1, 28, 28)
    assert torch.allclose(classifier.logits(images), network(images), atol=1e-6)
    assert "row-by-row" in classifier.flags[0]
    assert EXPLANATIONS["saliency"](classifier, images).maps.abs().max() > 0


def changed(path, to, change=lambda name, data: data, more=()):
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, change(entry, old.read(entry)))
        for name, data in more:
            new.writestr(name, data)
    return to


def replacing(part, old, new):
    return lambda name, data: data.replace(old, new) if part in name else data


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (replacing("model.json", b"torch.ops.aten.relu.default", b"torch.os.system"), "C21"),
        (replacing("model.json", b"torch.ops.aten.relu.default", b"builtins.eval"), "C21"),
        (replacing("model.json", b"Symbol(", b"__import__('os').system("), "C21"),
        (replacing("weights_config", b'"use_pickle": false', b'"use_pickle": true'), "C01"),
        (replacing("weights_config", b"weight_0", b"custom_obj_0"), "C01"),
        (replacing("model.json", b"{", b"", ), "C08"),
        (lambda name, data: b"\x80\x04evil." if "sample_inputs" in name else data, "C01"),
    ],
)  # fmt: skip
def test_hostile_programs_are_refused(program, tmp_path, change, code):
    path = changed(program, tmp_path / "bad.pt2", change)
    with pytest.raises(CheckpointError) as caught:
        load(f"export:{path}")
    assert caught.value.code == code


def test_compiled_code_cut_files_and_other_archives_are_refused(program, scripted, tmp_path):
    more = [("net/data/aotinductor/model/evil.so", b"\x7fELF")]
    with pytest.raises(CheckpointError, match="compiled code"):
        load(f"export:{changed(program, tmp_path / 'a.pt2', more=more)}")
    for prefix, path in (("export", program), ("torchscript", scripted)):
        data = path.read_bytes()
        for cut in (0, 100, len(data) // 2, len(data) - 1):
            (tmp_path / "cut.pt2").write_bytes(data[:cut])
            with pytest.raises(CheckpointError):
                load(f"{prefix}:{tmp_path / 'cut.pt2'}", input_shape=(1, 28, 28))
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=r"no file of torch\.export\.save"):
        load(f"export:{tmp_path / 'weights.pt'}")
    with pytest.raises(CheckpointError, match=r"no file of torch\.jit\.save"):
        load(f"torchscript:{program}", input_shape=(1, 28, 28))


@pytest.mark.parametrize("text", ["a", "s0.__class__", "eval('1')", "[].x", "s0**999", "lambda: 1"])
def test_a_formula_is_of_symbols_and_numbers_only(text):
    assert is_formula("Max(1, 2*s0 + 3)") and not is_formula(text)


@pytest.mark.parametrize("name", ["net.tflite", "net.pb", "net.mlmodel", "net.joblib"])
def test_files_of_other_libraries_are_named_with_the_way_out(name, tmp_path):
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / name)
    assert caught.value.code == "C18" and "python:module:function" in caught.value.hint
    assert json.dumps(caught.value.what)
