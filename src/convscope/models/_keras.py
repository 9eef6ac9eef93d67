"""keras:FILE.keras: Keras 3 on its PyTorch backend."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ModelContractError, UsageError
from convscope.files import loads_json, usable_path
from convscope.models._description import Description
from convscope.models._factory import with_log_probabilities
from convscope.models._libraries import require
from convscope.models._safetensors import other_library, read_whole, refuse_impostors
from convscope.models._torch_file import check_stored

NOTHING = Description()
BACKEND = "KERAS_BACKEND"
"""Environment variable that Keras reads once, when it is imported."""

FILES = ("config.json", "metadata.json", "model.weights.h5")
MODULES = ("keras", "builtins")
"""Where the classes that a file names may come from."""

CODE = ("Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")
"""Classes that bring code or files of their own."""


class KerasNetwork(nn.Module):
    """A Keras model as a network of PyTorch: channels first goes in.

    Args:
        model: On the PyTorch backend.
        channels_last: Whether it takes ``(batch, height, width, channel)``.

    Attributes:
        layers: The layers of the model by name, so that methods can listen to them.
    """

    def __init__(self, model: Any, *, channels_last: bool) -> None:
        super().__init__()
        names = [layer.name.replace(".", "_") for layer in model.layers]
        self.layers = nn.ModuleDict(dict(zip(names, model.layers, strict=True)))
        self.model, self.channels_last = model, channels_last

    def forward(self, images: Tensor) -> Any:
        """What the model returns in inference."""
        inputs = images.permute(0, 2, 3, 1) if self.channels_last else images
        return self.model(inputs, training=False)


def load_keras(
    name: str, about: Description = NOTHING, *, allow_nonfinite: bool = False
) -> Classifier:
    """A classifier from a ``.keras`` file of Keras 3.

    Gradients work and layers are listed; most models have channels-last maps, for which Grad-CAM
    refuses. Softmax outputs become log-probabilities. Layers with code of their own (Lambda and
    the like) and classes from elsewhere than Keras are refused before Keras sees the file.

    Args:
        name: The file.
        about: Class names, mean and std, sizes that the file leaves open.
        allow_nonfinite: Let NaN and infinity pass in its weights.

    Raises:
        CheckpointError: C03 for code in the file, C04, C07, C08, C18, C19 for a damaged one.
        NumericalError: C13, NaN or infinity in the weights.
        UsageError: M22 if Keras is missing or runs on another backend; U11 if weights are given.
        ModelContractError: M22 without a size; see `Classifier.wrap`.
    """
    where = f"keras:{name}"
    if about.weights is not None:
        raise UsageError(f"{where} has its own weights", code="U11", expected="no --weights")
    path = usable_path(name, CheckpointError)
    data = read_whole(path)
    _check_file(data, path)
    with _torch_backend():
        library = require("keras")
        if library.backend.backend() != "torch":
            raise UsageError(
                f"Keras runs on {library.backend.backend()} in this process",
                code="M22",
                where=where,
                hint="set KERAS_BACKEND=torch before Keras is imported",
            )
    try:
        model = _load(library, data)
    except Exception as error:
        words = " ".join(str(error).split())
        raise CheckpointError(
            f"Keras cannot load it: {words[:300]}", code="C07", where=path,
            hint="convert older files in Keras: load_model(FILE).save('new.keras')",
        ) from error  # fmt: skip
    if not isinstance(model.input_shape, tuple) or len(model.input_shape) != 4:
        raise CheckpointError(
            f"its input {model.input_shape} is no batch of images", code="C21", where=path
        )
    shape, channels_last = _image_shape(model.input_shape[1:], about, where)
    network = KerasNetwork(model, channels_last=channels_last).eval()
    bad = [key for key, value in network.named_parameters() if not bool(value.isfinite().all())]
    if bad and not allow_nonfinite:
        from convscope.errors import NumericalError

        raise NumericalError(
            f"NaN or infinity in {', '.join(bad[:3])}", code="C13", where=path,
            hint="--allow-nonfinite loads it to look at",
        )  # fmt: skip
    found = Classifier.wrap(
        network,
        input_shape=shape,
        class_names=about.class_names,
        mean=about.mean,
        std=about.std,
        source=where,
    )
    return with_log_probabilities(found)


def _load(library: Any, data: bytes) -> Any:
    """The model of bytes that were checked: the file itself may change meanwhile."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model.keras"
        place.write_bytes(data)
        return library.models.load_model(place, compile=False, safe_mode=True)


def _check_file(data: bytes, path: Path) -> None:
    """Refuse archives with anything but a description and weights, and descriptions with code."""
    if data[:4] != b"PK\x03\x04":
        refuse_impostors(data, path)
        raise CheckpointError("not a .keras file, which is an archive", code="C18", where=path)
    names = check_stored(data, path)
    if "config.json" not in names or "model.weights.h5" not in names:
        raise other_library("another archive than a .keras file", path)
    if strange := [name for name in names if name not in FILES]:
        raise CheckpointError(f"the archive holds {strange[0]}, too", code="C03", where=path)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        try:
            tree = loads_json(archive.read("config.json"), deepest=200, not_finite=True)
        except (ValueError, json.JSONDecodeError) as error:
            raise CheckpointError("its config.json is damaged", code="C08", where=path) from error
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        if not isinstance(item, dict):
            continue
        waiting += item.values()
        module, kind = item.get("module"), item.get("class_name")
        known = module is None or (isinstance(module, str) and module.partition(".")[0] in MODULES)
        if not known or kind in CODE or (module == "builtins" and kind != "function"):
            raise CheckpointError(
                f"it brings code of its own: {kind} of {module}", code="C03", where=path,
                hint="call the model in a function of yours: python:module:function",
            )  # fmt: skip


@contextmanager
def _torch_backend() -> Iterator[None]:
    """Let Keras, if it is not imported yet, start on PyTorch."""
    if "keras" in sys.modules:
        yield
        return
    before = os.environ.get(BACKEND)
    os.environ[BACKEND] = "torch"
    try:
        importlib.invalidate_caches()
        yield
    finally:
        if before is None:
            os.environ.pop(BACKEND, None)
        else:
            os.environ[BACKEND] = before


def _image_shape(
    sizes: tuple[int | None, ...], about: Description, where: str
) -> tuple[tuple[int, int, int], bool]:
    """Channels, height, width; whether the model has channels last, as nearly all have."""
    last = not (sizes[0] in (1, 3, 4) and sizes[2] not in (1, 3, 4))
    own = (sizes[2], sizes[0], sizes[1]) if last else sizes
    given = about.input_shape or (None, None, None)
    found = tuple(size or other for size, other in zip(own, given, strict=True))
    if None in found or (about.input_shape and found != about.input_shape):
        raise ModelContractError(
            f"the model takes images of {' x '.join('?' if s is None else str(s) for s in own)}",
            code="M22" if None in found else "M14",
            where=where,
            hint="--input-shape gives the sizes that are open",
        )
    channels, height, width = (int(size or 0) for size in found)
    return (channels, height, width), last
