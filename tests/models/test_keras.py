"""keras:FILE.keras: small models made here, compared with Keras' own predictions."""

import os
import sys
import zipfile

import numpy as np
import pytest
import torch

from convscope.errors import CheckpointError, ModelContractError, UsageError
from convscope.explanations import EXPLANATIONS
from convscope.models import load

if "keras" not in sys.modules:
    os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip("Keras runs on another backend here", allow_module_level=True)

# Keras' tensors in NumPy's older way of making arrays of them.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)


def model(*, softmax=True, functional=False):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    parts = [
        layers.Rescaling(2.0, offset=-1.0), layers.Conv2D(6, 3, padding="same", activation="relu"),
        layers.BatchNormalization(), layers.MaxPooling2D(), layers.Dropout(0.5),
        layers.GlobalAveragePooling2D(),
        layers.Dense(4, activation="softmax" if softmax else None, name="scores"),
    ]  # fmt: skip
    image = layers.Input((8, 6, 3))
    if not functional:
        return keras.Sequential([image, *parts])
    x = image
    for part in parts:
        x = part(x)
    return keras.Model(image, x)


@pytest.mark.parametrize("functional", [True, False])
@pytest.mark.parametrize("softmax", [True, False])
def test_predictions_are_those_of_keras_and_gradients_work(softmax, functional, tmp_path):
    made = model(softmax=softmax, functional=functional)
    made.save(tmp_path / "net.keras")
    classifier = load(f"keras:{tmp_path / 'net.keras'}", class_names=["a", "b", "c", "d"])
    images = torch.rand(5, 3, 8, 6)
    theirs = made.predict(images.permute(0, 2, 3, 1).numpy(), verbose=0)
    logits = classifier.logits(images).detach().numpy()
    ours = np.exp(logits) if softmax else logits
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
    assert classifier.probabilities is softmax and classifier.input_shape == (3, 8, 6)
    assert classifier.flags == () and "layers.scores" in [x.name for x in classifier.layers()]
    assert EXPLANATIONS["saliency"](classifier, images).maps.abs().max() > 0
    found = EXPLANATIONS["grad-cam"](classifier, images)
    assert "channels-last maps" in found.layer_kind and found.maps.shape == (5, 1, 8, 6)
    with classifier.probe() as probe:
        at_layer = probe.layer_gradients(found.layer, images, None)
    # Rows and columns are axes 1 and 2 here, channels the last.
    weights = at_layer.gradients[:, 0].mean(dim=(1, 2), keepdim=True)
    by_hand = (weights * at_layer.activations).sum(dim=3)
    assert torch.allclose(found.evidence["coarse"][:, 0], by_hand, atol=1e-6)


def test_options_and_what_does_not_fit(tmp_path):
    model().save(tmp_path / "net.keras")
    spec = f"keras:{tmp_path / 'net.keras'}"
    assert load(spec, mean=0.5, std=0.2).mean == (0.5,)
    with pytest.raises(ModelContractError, match="takes images of 3 x 8 x 6"):
        load(spec, input_shape=(3, 9, 9))
    with pytest.raises(UsageError, match="its own weights"):
        load(spec, weights="w.pt")


def rewritten(path, to, change=lambda name, data: data, more=()):
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, data in more:
            new.writestr(name, data)
    return f"keras:{to}"


def test_code_in_a_file_is_refused_before_keras_sees_it(tmp_path):
    model().save(tmp_path / "net.keras")
    good, bad = tmp_path / "net.keras", tmp_path / "bad.keras"
    for old, new in (
        (b'"module": "keras.layers", "class_name": "Rescaling"',
         b'"module": "os", "class_name": "system"'),
        (b'"class_name": "Rescaling"', b'"class_name": "Lambda"'),
        (b'"module": "keras.layers", "class_name": "Rescaling"',
         b'"module": "builtins", "class_name": "eval"'),
    ):  # fmt: skip
        spec = rewritten(good, bad, lambda name, data, a=old, b=new: data.replace(a, b))
        with pytest.raises(CheckpointError, match="code of its own") as caught:
            load(spec)
        assert caught.value.code == "C03"
    with pytest.raises(CheckpointError, match="assets"):
        load(rewritten(good, bad, more=[("assets/x.bin", b"x")]))
    data = good.read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 1):
        bad.write_bytes(data[:cut])
        with pytest.raises(CheckpointError):
            load(f"keras:{bad}")


def test_another_backend_is_refused(tmp_path, monkeypatch):
    model().save(tmp_path / "net.keras")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match="KERAS_BACKEND=torch"):
        load(f"keras:{tmp_path / 'net.keras'}")
