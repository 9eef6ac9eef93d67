"""Weights of one's own network: how they come in, and what is said when they cannot."""

import io
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from convscope.cli import main
from convscope.errors import (
    CheckpointError,
    ConvscopeError,
    DataError,
    ModelContractError,
    ResourceError,
    UsageError,
)
from convscope.models import build, load

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, classes)
    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).mean((2, 3)))

class Tied(Net):
    def __init__(self):
        super().__init__()
        self.again = self.fc

class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Net()
    def forward(self, x):
        return self.model(x)

class Own(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((3,), 0.5))

def lazy():
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(3))

def five():
    return Net(5)

def classifier():
    from convscope import Classifier
    return Classifier.wrap(Net(), input_shape=(3, 8, 8), class_names=["a", "b", "c"], mean=[0.5])
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the current folder, and a network of it with known weights."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = __import__(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = made.Net().eval()
    net.bn.running_mean.fill_(0.1)
    yield name, net
    sys.modules.pop(name, None)


def on_a_gpu(data):
    """The same archive with tensors that say that they lie on a GPU."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                cpu, gpu = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
                assert cpu in content
                content = content.replace(cpu, gpu)
            new.writestr(entry.filename, content)
    return out.getvalue()


def saved(value):
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


WRAPPINGS = {
    "plain": lambda s: saved(s),
    "DataParallel": lambda s: saved(prefixed(s, "module.")),
    "compiled": lambda s: saved(prefixed(s, "_orig_mod.")),
    "compiled in DataParallel": lambda s: saved(prefixed(s, "module._orig_mod.")),
    "Lightning": lambda s: saved({"epoch": 3, "state_dict": prefixed(s, "model."), "lr": 0.1}),
    "training script": lambda s: saved({"epoch": 3, "model_state_dict": s, "loss": 0.5}),
    "under model": lambda s: saved({"model": s, "optimizer": {"param_groups": []}}),
    "nested": lambda s: saved({"model": {"state_dict": s}}),
    "only the average": lambda s: saved({"ema": s, "step": 7}),
    "from a GPU": lambda s: on_a_gpu(saved(s)),
    "half precision": lambda s: saved(s),
    "without counters": lambda s: saved(
        {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")}
    ),
}


@pytest.mark.parametrize("how", WRAPPINGS)
def test_the_usual_wrappings_of_a_state_dict(how, own, tmp_path):
    name, net = own
    (tmp_path / "net.pt").write_bytes(WRAPPINGS[how](dict(net.state_dict())))
    classifier = load(f"{name}:Net", weights="net.pt", input_shape=(3, 8, 8))
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(classifier.logits(images), net(images))
    assert classifier.module.training is False
    assert "weights net.pt" in classifier.source


def test_safetensors_and_the_description(own, tmp_path):
    from safetensors.torch import save_file

    name, net = own
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    (tmp_path / "classes.txt").write_text("cat\n dog \n\nbird\n")
    classifier = load(f"{name}:Net", weights=tmp_path / "net.safetensors", input_shape=[3, 8, 8],
                      class_names="classes.txt", mean=0.5, std=(0.1, 0.2, 0.3))  # fmt: skip
    assert classifier.class_names == ("cat", "dog", "bird")
    assert (classifier.mean, classifier.std) == ((0.5,), (0.1, 0.2, 0.3))
    images = torch.rand(2, 3, 8, 8)
    normal = (images - 0.5) / torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    assert torch.allclose(classifier.logits(images), net(normal), atol=1e-6)


def test_a_network_inside_a_wrapper_takes_the_weights_of_its_inside(own, tmp_path):
    name, net = own
    torch.save(net.state_dict(), tmp_path / "net.pt")
    classifier = load(f"{name}:Wrapped", weights="net.pt", input_shape=(3, 8, 8))
    assert any("was put before" in flag for flag in classifier.flags)
    images = torch.rand(1, 3, 8, 8)
    assert torch.equal(classifier.logits(images), net(images))


def test_tied_weights_and_lazy_layers(own, tmp_path):
    name, _ = own
    made = sys.modules[name]
    torch.save(made.Tied().state_dict(), tmp_path / "tied.pt")
    load(f"{name}:Tied", weights="tied.pt", input_shape=(3, 8, 8))
    lazy = made.lazy()
    lazy(torch.zeros(1, 3, 8, 8))
    torch.save(lazy.state_dict(), tmp_path / "lazy.pt")
    assert load(f"{name}:lazy", weights="lazy.pt", input_shape=(3, 8, 8)).num_classes == 3
    with pytest.raises(ModelContractError, match="without input_shape"):
        load(f"{name}:lazy", weights="lazy.pt")


def test_a_classifier_of_a_factory_takes_other_weights_and_names(own, tmp_path):
    name, net = own
    torch.save(net.state_dict(), tmp_path / "net.pt")
    classifier = load(f"{name}:classifier", weights="net.pt", class_names=["x", "y", "z"])
    assert (classifier.class_names, classifier.mean) == (("x", "y", "z"), (0.5,))
    assert torch.equal(classifier.module.fc.weight, net.fc.weight)
    with pytest.raises(ModelContractError, match="3 classes, 2 are named"):
        load(f"{name}:classifier", class_names=["x", "y"])


def test_a_tensor_called_mean_is_a_part_of_the_network(own):
    """A buffer is the network's own normalization; subtracting it again would be wrong."""
    name, _ = own
    assert load(f"{name}:Own", input_shape=(3, 8, 8)).mean is None


def test_weights_of_another_network_name_the_difference(own, tmp_path):
    name, net = own
    state = net.state_dict()
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"shape differs: fc.weight \(3, 4\) for \(5, 4\)"):
        load(f"{name}:five", weights="net.pt", input_shape=(3, 8, 8))
    del state["fc.bias"]
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"missing: fc\.bias") as caught:
        load(f"{name}:Net", weights="net.pt", input_shape=(3, 8, 8))
    assert caught.value.code == "C10" and caught.value.hint


def test_a_network_that_nobody_described_says_how(own):
    name, _ = own
    with pytest.raises(ModelContractError, match="without input_shape") as caught:
        load(f"{name}:Net")
    assert "--input-shape 3,224,224" in caught.value.hint
    assert "input_shape=(3, 224, 224)" in caught.value.hint


@pytest.mark.parametrize("spec", ["mnist-conv1", "hf:somewhere"])
def test_a_model_that_describes_itself_takes_no_other_description(spec):
    with pytest.raises(UsageError, match="describes itself"):
        load(spec, mean=0.5)


def test_a_bare_file_of_a_registered_network_takes_a_description(tmp_path):
    torch.save(build("mnist-conv1").state_dict(), tmp_path / "net.pt")
    plain = load(tmp_path / "net.pt")
    assert any("no description" in flag for flag in plain.flags)
    told = load(tmp_path / "net.pt", class_names=list("abcdefghij"), mean=0.1, std=0.3)
    assert (told.class_names[0], told.mean, told.std) == ("a", (0.1,), (0.3,))
    assert not any("no description" in flag for flag in told.flags)
    with pytest.raises(CheckpointError, match="10 classes, 2 are named"):
        load(tmp_path / "net.pt", class_names=["a", "b"])


def test_on_the_command_line(own, tmp_path, capsys):
    name, net = own
    torch.save(net.state_dict(), tmp_path / "net.pt")
    (tmp_path / "names.json").write_text('{"0": "cat", "1": "dog", "2": "a bird"}')
    from PIL import Image

    Image.new("RGB", (8, 8), (200, 30, 30)).save(tmp_path / "red.png")
    about = ["--weights", "net.pt", "--input-shape", "3x8x8", "--classes", "names.json",
             "--mean", "127/255", "--std", "0.5,0.5,0.5"]  # fmt: skip
    model = f"{name}:Net"
    assert main(["models", "show", model, *about]) == 0
    assert "cat | dog | a bird" in capsys.readouterr().out
    assert main(["inspect", model, "red.png", "--show", "saliency", *about]) == 0
    found = capsys.readouterr()
    assert "--weights net.pt --input-shape 3x8x8" in found.err + found.out
    assert main(["attack", "fgsm", model, "red.png", "--epsilon", "0.1", *about]) == 0
    assert main(["models", "show", model, "--weights", "net.pt"]) == 4
    assert main(["models", "show", model, *about[:2], "--input-shape", "3,8"]) == 2
    assert main(["models", "show", model, *about[:4], "--mean", "x"]) == 2
    assert main(["models", "show", "net.pt"]) == 4
    assert "package.module:factory --weights net.pt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "names no classes"),
        ("[1, 2]", "no texts"),
        ('{"1": "a"}', "not the class numbers"),
        ("[[[[[[]]]]]]", "deeper"),
        ('["a"', "not JSON"),
        ("x" * 2000, "2,000 characters"),
        ("a\0b", "NUL"),
    ],
)
def test_lists_of_names_that_are_none(text, match, tmp_path):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=match):
        load("x:y", class_names=tmp_path / "classes.txt")


def test_imagenet_tables_of_names_are_read(tmp_path):
    (tmp_path / "index.json").write_text('{"0": ["n01", "tench"], "1": ["n02", "goldfish"]}')
    from convscope.models._description import read_class_names

    assert read_class_names(tmp_path / "index.json") == ("tench", "goldfish")


def scripted(trace):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)).eval()
    out = io.BytesIO()
    made = torch.jit.trace(net, torch.zeros(1, 1, 8, 8)) if trace else torch.jit.script(net)
    torch.jit.save(made, out)
    return out.getvalue()


def arrays():
    out = io.BytesIO()
    np.savez_compressed(out, **{"conv.weight": np.zeros((2, 1, 3, 3))})
    return out.getvalue()


def keras():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    return out.getvalue()


FOREIGN = {
    "scripted.pt": (lambda: scripted(False), "C03", "program"),
    "traced.pt": (lambda: scripted(True), "C03", "program"),
    "net.torchscript": (lambda: scripted(False), "C03", "program"),
    "net.onnx": (lambda: b"\x08\x07\x12\x07pytorch" + bytes(100), "C18", "an ONNX model"),
    "net.h5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "C18", "an HDF5 file"),
    "renamed.pt": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "C18", "an HDF5 file"),
    "net.keras": (keras, "C18", "a Keras model"),
    "net.tflite": (lambda: b"\x1c\0\0\0TFL3" + bytes(100), "C18", "TensorFlow Lite"),
    "net.pb": (lambda: b"\x0a\x0b" + bytes(100), "C18", "a TensorFlow graph"),
    "net.npz": (arrays, "C18", "NumPy archive"),
    "net.npy": (lambda: b"\x93NUMPY\x01\x00" + bytes(100), "C18", "a NumPy array"),
    "net.gguf": (lambda: b"GGUF\x03\0\0\0" + bytes(100), "C18", "GGUF"),
    "old.pth": (lambda: b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "C01", "pickle"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_others_are_named_and_the_way_out_is_said(name, tmp_path):
    make, code, words = FOREIGN[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(CheckpointError, match=words) as caught:
        load(tmp_path / name)
    assert caught.value.code == code
    assert caught.value.hint
    if code in ("C01", "C03"):
        assert 'map_location="cpu"' in caught.value.hint


@pytest.mark.parametrize("name", ["net.th", "net.pkl", "model_best.pth.tar", "weights", "net.ckpt"])
def test_a_state_dict_is_known_by_its_content_not_its_name(name, tmp_path):
    torch.save({"state_dict": build("mnist-conv1").state_dict()}, tmp_path / name)
    assert load(tmp_path / name).source.startswith("mnist-conv1")


def test_a_tensorflow_folder_is_named(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(bytes(10))
    with pytest.raises(CheckpointError, match="TensorFlow SavedModel"):
        load(tmp_path)


def fake_timm(monkeypatch, *, classes=3, names=None, weights=True, fetch=None):
    settings = {"input_size": (3, 8, 8), "mean": (0.5,) * 3, "std": (0.5,) * 3, "tag": "openai"}

    def create_model(name, pretrained, num_classes=classes):
        if pretrained and fetch is not None:
            fetch()
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, max(num_classes, 1)))
        net.num_classes, net.pretrained_cfg = num_classes, settings | {"label_names": names}
        return net

    library = types.SimpleNamespace(
        list_models=lambda: ["tiny"],
        create_model=create_model,
        get_pretrained_cfg=lambda name, **_: types.SimpleNamespace(
            has_weights=weights, num_classes=classes
        ),
    )
    monkeypatch.setitem(sys.modules, "timm", library)
    monkeypatch.setattr("convscope.models._libraries.is_connected", lambda: fetch is None)
    return create_model


def test_timm_gives_the_names_that_it_knows(monkeypatch):
    fake_timm(monkeypatch, names=["a", "b", "c"])
    assert load("timm:tiny").class_names == ("a", "b", "c")
    assert load("timm:tiny").flags == ()


def test_timm_towers_are_flagged_and_headless_networks_refused(monkeypatch):
    fake_timm(monkeypatch, classes=512)
    assert any("no-classes" in flag for flag in load("timm:tiny").flags)
    fake_timm(monkeypatch, classes=0)
    with pytest.raises(ModelContractError, match="no head") as caught:
        load("timm:tiny")
    assert caught.value.hint


def test_timm_without_trained_weights_is_not_taken_with_random_ones(monkeypatch):
    fake_timm(monkeypatch, weights=False)
    with pytest.raises(CheckpointError, match="no trained weights"):
        load("timm:tiny")


def test_timm_with_ones_own_weights(monkeypatch, tmp_path):
    create = fake_timm(monkeypatch, weights=False)
    net = create("tiny", pretrained=False, num_classes=2)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match="shape differs") as caught:
        load("timm:tiny", weights=tmp_path / "net.pt")
    assert "--classes FILE" in caught.value.hint
    classifier = load("timm:tiny", weights=tmp_path / "net.pt", class_names=["x", "y"])
    assert classifier.class_names == ("x", "y")
    images = torch.rand(1, 3, 8, 8)
    assert torch.equal(classifier.logits(images), net((images - 0.5) / 0.5))


def test_timm_offline_is_one_quick_error(monkeypatch):
    import time

    def fetch():
        constants = pytest.importorskip("huggingface_hub.constants")
        assert constants.HF_HUB_OFFLINE, "the library must know that trying again is no use"
        raise OSError("not in the cache")

    pytest.importorskip("huggingface_hub")
    fake_timm(monkeypatch, fetch=fetch)
    start = time.perf_counter()
    with pytest.raises(ResourceError, match="cannot be reached") as caught:
        load("timm:tiny")
    assert time.perf_counter() - start < 5
    assert "--weights FILE" in caught.value.hint
    assert isinstance(caught.value, ConvscopeError)


def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    """The factory, the saved weights and every command that docs/models.md shows for them."""
    import re
    import shlex
    from pathlib import Path

    from PIL import Image

    page = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text()
    section = page.split("## Your own network")[1].split("\n## ")[0]
    code, saving, described = re.findall(r"^```python\n(.*?)^```", section, re.M | re.S)
    (shown,) = re.findall(r"^```bash\n(.*?)^```", section, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynet.py").write_text(
        code + "\nimport torch\n\n" + described.split("\n\n\ndescribed()")[0]
    )
    exec(code + saving, {})
    try:
        names = ("daisy", "rose", "tulip")
        (tmp_path / "classes.txt").write_text("\n".join(names))
        chance = np.random.default_rng(0)
        for name in names:
            (tmp_path / "photos" / name).mkdir(parents=True)
            for i in range(10):
                pixels = chance.integers(0, 256, (64, 64, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
        Image.fromarray(pixels).save(tmp_path / "photo.png")
        for line in shown.strip().splitlines():
            assert main(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)
        assert main(["models", "show", "mynet:described"]) == 0
        assert "daisy | rose | tulip" in capsys.readouterr().out
    finally:
        sys.modules.pop("mynet", None)
