"""Classifiers of other libraries and of the user's own code."""

import inspect
import json
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ModelContractError, ResourceError, UsageError
from convscope.models import ADAPTERS, AdapterSpec, load
from convscope.models._hugging_face import read_preprocessing


@pytest.fixture(scope="module")
def mobilenet(request):
    shared = request.getfixturevalue("shared")
    pytest.importorskip("transformers")
    return shared / "weights" / "mobilenet_v2_1.0_224"


def photo(path, side=224, short=256):
    """The preprocessing of preprocessor_config.json: shorter side 256, middle 224."""
    from PIL import Image

    image = Image.open(path).convert("RGB")
    scale = short / min(image.size)
    image = image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR
    )
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return pixels.view(side, side, 3).permute(2, 0, 1).float().div(255)[None]


def test_mobilenet_reads_peppers(mobilenet, shared):
    classifier = load(f"hf:{mobilenet}")
    assert classifier.num_classes == 1001
    assert classifier.class_names[0] == "background"
    assert classifier.input_shape == (3, 224, 224)
    assert (classifier.mean, classifier.std) == ((0.5,) * 3, (0.5,) * 3)
    assert not classifier.module.training
    best = classifier.predict(photo(shared / "data" / "photos" / "peppers.png"), top=3)
    assert best.names(0)[0] == "bell pepper"
    assert best.probabilities[0].tolist() == pytest.approx([0.944, 0.0084, 0.0080], abs=5e-4)


def test_mobilenet_gives_the_logits_of_transformers(mobilenet, shared):
    import transformers

    x = photo(shared / "data" / "photos" / "peppers.png")
    module = transformers.AutoModelForImageClassification.from_pretrained(mobilenet)
    with torch.no_grad():
        theirs = module((x - 0.5) / 0.5).logits
        ours = load(f"hf:{mobilenet}").logits(x)
    assert torch.equal(ours, theirs)


def test_loading_transformers_is_quiet_and_leaves_its_settings(mobilenet, capfd):
    from transformers.utils import logging

    default = logging.get_verbosity()
    logging.set_verbosity_info()
    try:
        load(f"hf:{mobilenet}")
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity(default)
    assert capfd.readouterr() == ("", "")


def copied(mobilenet, folder):
    shutil.copytree(mobilenet, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


def test_damaged_folders_of_transformers(mobilenet, tmp_path):
    folder = copied(mobilenet, tmp_path / "net")
    weights = folder / "model.safetensors"
    data = weights.read_bytes()

    weights.write_bytes(data[:-1000])
    with pytest.raises(CheckpointError, match="incomplete") as caught:
        load(f"hf:{folder}")
    assert caught.value.code == "C07"

    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="git-LFS"):
        load(f"hf:{folder}")

    weights.unlink()
    with pytest.raises(CheckpointError, match="cannot load it"):
        load(f"hf:{folder}")

    weights.write_bytes(data)
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        load(f"hf:{folder}")


def test_missing_weights_are_not_filled_with_random_numbers(mobilenet, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(mobilenet, tmp_path / "net")
    tensors = load_file(folder / "model.safetensors")
    del tensors["classifier.bias"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing keys: classifier\.bias") as caught:
        load(f"hf:{folder}")
    assert caught.value.code == "C10"


def test_code_that_a_repository_brings_is_not_run(mobilenet, tmp_path):
    folder = copied(mobilenet, tmp_path / "net")
    marker = tmp_path / "it-ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Net: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {
            "AutoConfig": "evil.Net",
            "AutoModelForImageClassification": "evil.Net",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError):
        load(f"hf:{folder}")
    assert not marker.exists()


def test_a_missing_folder_is_not_looked_up_online():
    with pytest.raises(CheckpointError, match="no such folder"):
        load("hf:/no/such/folder")


def test_offline_says_how_to_get_it(monkeypatch):
    transformers = pytest.importorskip("transformers")

    def refuse(*arguments, **settings):
        raise OSError("We couldn't connect to 'https://huggingface.co' to load the files")

    monkeypatch.setattr(transformers.AutoModelForImageClassification, "from_pretrained", refuse)
    with pytest.raises(ResourceError, match="hf download owner/name"):
        load("hf:owner/name")


PREPROCESSORS = [
    ({"size": {"height": 32, "width": 48}}, (32, 48)),
    ({"size": 28, "image_mean": 0.5, "image_std": 0.25}, (28, 28)),
    ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224}, (224, 224)),
    ({"size": {"shortest_edge": 224}, "do_center_crop": False, "crop_size": 200}, (224, 224)),
    ({"size": 8, "do_normalize": False, "image_mean": 0.1}, (8, 8)),
    ({"size": 8, "do_rescale": False, "image_mean": 127.5, "image_std": 255.0}, (8, 8)),
    ({"size": 8, "rescale_factor": 1 / 127.5, "image_mean": 1, "image_std": 1}, (8, 8)),
]


@pytest.mark.parametrize(("settings", "size"), PREPROCESSORS)
def test_preprocessing_is_brought_to_unit_pixels(settings, size):
    """What transformers computes from a pixel in 0..255, and what we compute from it in [0, 1]."""
    pixel = 100.0
    theirs = pixel
    if settings.get("do_rescale", True):
        theirs *= settings.get("rescale_factor", 1 / 255)
    if settings.get("do_normalize", True):
        theirs = (theirs - settings.get("image_mean", 0)) / settings.get("image_std", 1)
    found = read_preprocessing(settings, 1, "here")
    ours = (pixel / 255 - (found.mean or (0.0,))[0]) / (found.std or (1.0,))[0]
    assert found.size == size
    assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("size", [None, "224", {"height": 3}, [1, 2, 3], 0, {"shortest_edge": -1}])
def test_a_size_that_makes_no_sense(size):
    with pytest.raises(CheckpointError, match="size"):
        read_preprocessing({"size": size}, 3, "here")


@pytest.mark.parametrize(("spec", "library"), [("hf:a/b", "transformers"), ("timm:x", "timm"),
                                               ("torchvision:x", "torchvision")])  # fmt: skip
def test_a_missing_library_is_named(spec, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=library):
        load(spec)


def test_an_adapter_is_one_record(monkeypatch):
    """Loading, refusals and help know an adapter as soon as it is registered."""

    def load_mine(name, about, *, allow_nonfinite):
        return Classifier.wrap(tiny(), input_shape=(3, 8, 8), source=f"mine:{name}")

    record = AdapterSpec(load_mine, "Mine.", forms=("mine:NAME",), describable=False)
    monkeypatch.setitem(ADAPTERS, "mine", record)
    assert load("mine:abc").source == "mine:abc"
    with pytest.raises(UsageError, match="mine:abc describes itself"):
        load("mine:abc", mean=0.5)
    with pytest.raises(CheckpointError, match=r"mine:NAME or package\.module:factory"):
        load("nothing-like-this")


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_record_of_an_adapter_fits_its_loader(name):
    spec, loader = ADAPTERS.spec(name), ADAPTERS[name]
    assert spec.forms and all(form.startswith(f"{name}:") for form in spec.forms)
    assert bool(spec.library) is bool(spec.install)
    assert spec.library in spec.install or "convscope[" in spec.install
    assert [*inspect.signature(loader).parameters] == ["name", "about", "allow_nonfinite"]


def test_a_broken_torchvision_is_told_apart_from_a_missing_one(monkeypatch, tmp_path):
    (tmp_path / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(UsageError, match=r"cannot be imported: operator torchvision::nms"):
        load("torchvision:resnet18")


def tiny():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))


class FakeTransforms:
    crop_size, mean, std = [8], (0.4, 0.5, 0.6), (0.2, 0.2, 0.2)
    resize_size = (10,)
    interpolation = types.SimpleNamespace(value="bicubic")


class FakeWeights:
    DEFAULT: "FakeWeights"
    meta = types.MappingProxyType({"categories": ["cat", "dog"]})
    transforms = FakeTransforms

    def __str__(self):
        return "Tiny_Weights.V1"


FakeWeights.DEFAULT = FakeWeights()


def test_torchvision_brings_names_size_and_normalization(monkeypatch):
    models = types.SimpleNamespace(
        list_models=lambda module: ["tiny"],
        get_model_weights=lambda name: FakeWeights,
        get_model=lambda name, weights: tiny(),
    )
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace(models=models))
    classifier = load("torchvision:tiny")
    assert classifier.class_names == ("cat", "dog")
    assert classifier.input_shape == (3, 8, 8)
    assert classifier.mean == (0.4, 0.5, 0.6)
    assert str(classifier.resize) == "shorter side 10, center 8 x 8, bicubic"
    assert classifier.logits(torch.rand(2, 3, 8, 8)).shape == (2, 2)
    with pytest.raises(UsageError, match="did you mean tiny"):
        load("torchvision:tinny")


def test_timm_brings_size_and_normalization(monkeypatch):
    def create_model(name, pretrained):
        net = tiny()
        net.num_classes = 2
        net.pretrained_cfg = {"input_size": (3, 8, 8), "mean": (0.5,) * 3, "std": (0.5,) * 3}
        return net

    library = types.SimpleNamespace(
        list_models=lambda: ["tiny"],
        create_model=create_model,
        get_pretrained_cfg=lambda name, **_: types.SimpleNamespace(has_weights=True, num_classes=2),
    )
    monkeypatch.setattr("convscope.models._libraries.is_connected", lambda: True)
    monkeypatch.setitem(sys.modules, "timm", library)
    classifier = load("timm:tiny")
    assert classifier.class_names == ("class 0", "class 1")
    assert classifier.input_shape == (3, 8, 8)
    assert str(classifier.resize) == "shorter side 9, center 8 x 8, bicubic"


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A function that puts a module of the user's into the current folder."""
    monkeypatch.chdir(tmp_path)
    made = []

    def write(text):
        name = f"users_own_{len(made)}_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text(text)
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


NET = """
from torch import nn
from convscope.classifier import Classifier

def bare():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))

def described():
    net = bare()
    net.input_shape, net.class_names, net.mean, net.std = (1, 2, 2), ["a", "b"], [0.5], [0.25]
    return net

def classifier():
    return Classifier.wrap(bare(), input_shape=(1, 2, 2), class_names=["x", "y"])

def fails():
    raise KeyError("weights")

def number():
    return 3
"""


def test_a_factory_may_return_a_classifier_or_a_described_module(code):
    name = code(NET)
    path = list(sys.path)
    assert load(f"{name}:classifier").class_names == ("x", "y")
    described = load(f"{name}:described")
    assert (described.class_names, described.mean) == (("a", "b"), (0.5,))
    assert described.source == f"{name}:described"
    assert sys.path == path


@pytest.mark.parametrize(
    ("factory", "match"),
    [
        ("bare", "Sequential without input_shape"),
        ("number", "returned a int"),
        ("fails", r"fails\(\) raised KeyError"),
    ],
)
def test_factories_that_do_not_deliver(factory, match, code):
    with pytest.raises(ModelContractError, match=match):
        load(f"{code(NET)}:{factory}")


def test_a_misspelled_factory_names_the_closest(code):
    with pytest.raises(UsageError, match="did you mean classifier"):
        load(f"{code(NET)}:clasifier")


def test_a_module_that_is_not_there_and_one_that_fails(code):
    with pytest.raises(UsageError, match="cannot import no_such_module"):
        load("no_such_module:factory")
    with pytest.raises(ModelContractError, match="raised ZeroDivisionError"):
        load(f"{code('1 / 0')}:factory")


def test_nothing_foreign_is_imported_with_the_package():
    import subprocess

    check = (
        "import sys, convscope.models; "
        "print([n for n in ('torchvision', 'timm', 'transformers') if n in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert Path(sys.executable).exists()
