"""Notebooks in the browser, and networks that another library made."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convscope.classifier import Classifier
from convscope.errors import ConvscopeError, UsageError
from convscope.explanations import occlusion, saliency
from convscope.figures import explanation_tile
from convscope.models import ADAPTERS, export_model, load
from convscope.pages import name_of
from convscope.scratch import load_network
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study, StudyContent

SHIPPED = "mnist-conv2"
COMPARED = 100
"""Digits that predictions are compared on."""

TOLERANCE = 1e-4
"""How far scores may be apart, as a share of the largest: libraries add up in different orders."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way for a network of another library to come here.

    Attributes:
        title: What it is.
        model: How the MODEL is written.
        library: What has to be installed; empty if nothing.
        make: Writes the network for that library and opens it here, in a folder.
        gradients: Whether methods that need gradients work.
    """

    title: str
    model: str
    library: str
    make: Callable[[Classifier, Path], Classifier]
    gradients: bool = True


def notebooks(study: Study, question: Question) -> None:
    """The notebook of this study, and one network in three other libraries."""
    content = _content()
    code = 2 + sum(spec.snippet is not None for spec in content.questions)
    _notebook_table(question, content)
    own = load(SHIPPED)
    images = study.dataset().test.to_float(range(COMPARED)) if study.fast else _digits(study)
    opened: dict[str, Classifier] = {}
    rows: list[list[Any]] = []
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            classifier, why = _opened(way, own, Path(folder))
            if classifier is None:
                missing.append(way.title)
                rows.append([way.title, way.model, why, None, None, _yes(way.gradients)])
                continue
            opened[way.title] = classifier
            same, apart = compared(own, classifier, images)
            near = {"value": _yes(apart <= TOLERANCE), "tone": "good" if apart <= TOLERANCE
                    else "bad"}  # fmt: skip
            rows.append([way.title, way.model, "opened", same, near, _yes(way.gradients)])
        _maps(question, own, opened, images)
    agreeing = [row for row in rows if row[3] == len(images)]
    question.find(
        f"The study is also a notebook of {code} cells of code. The same network, opened from "
        f"{len(opened)} other programs, predicts the same for "
        + ("all" if len(agreeing) == len(opened) else "not all of")
        + f" {len(images)} digits"
        + (f"; not installed here: {', '.join(missing)}." if missing else ".")
    )
    question.compare("notebook in the browser", document="Jupyter", words="notebook.ipynb beside "
                     f"this page, {code} cells of code")  # fmt: skip
    question.compare(
        "networks of TensorFlow", document="TensorFlow", measured=len(opened), unit="count",
        words=f"of {len(WAYS)} ways tried here",
        note=f"not installed: {', '.join(missing)}" if missing else "",
    )  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "libraries",
        ["the network comes from", {"title": "MODEL", "kind": "code"},
         {"title": "here", "kind": "words"},
         number | {"title": f"same predictions, of {len(images)}"},
         f"scores within {TOLERANCE:g} of the largest", "gradients"],
        rows,
        caption=f"{SHIPPED}, whose weights come with the package, written for another library and "
        "opened again. Without gradients a network is a black box: predictions, occlusion, and "
        "attacks that only ask work, and the rest says so.",
        wide=True,
    )  # fmt: skip
    _way_table(question)
    question.number("opened", list(opened))
    question.discuss(
        'TensorFlow 2.16 and later save models as Keras 3 files: `model.save("net.keras")`, '
        "`convscope inspect keras:net.keras IMAGE`. Older SavedModels and graphs become ONNX by "
        "`python -m tf2onnx.convert --saved-model DIR --output net.onnx`, and whatever cannot be "
        "converted is a black box: ten lines that call it with a NumPy array."
    )
    question.deviate(
        "TensorFlow",
        "PyTorch; models of TensorFlow are opened from files",
        "Nothing of TensorFlow has to be installed to look into what it made.",
    )


def _content() -> StudyContent:
    from convscope.studies._snu_assignment_2 import CONTENT

    return CONTENT


def _digits(study: Study) -> Tensor:
    """Digits for a network of digits; the study's own images are photos."""
    return study.dataset("digits").test.to_float(range(COMPARED))


def _opened(way: Way, own: Classifier, folder: Path) -> tuple[Classifier | None, str]:
    """The network through another library, or why not."""
    if way.library and find_spec(way.library) is None:
        return None, f"not installed: {install_of(way.library)}"
    try:
        return way.make(own, folder), ""
    except (ConvscopeError, ImportError) as error:
        return None, f"not opened: {error}".splitlines()[0]


def install_of(library: str) -> str:
    """What to type to get a library.

    Example:
        >>> install_of("keras")
        'pip install keras'
    """
    for spec in ADAPTERS.specs().values():
        if spec.library == library:
            return spec.install
    return f"pip install {library}"


def compared(own: Classifier, other: Classifier, images: Tensor) -> tuple[int, float]:
    """Predictions that are the same, and how far scores are apart as a share of the largest.

    Scores are compared as log-probabilities: networks that end in a softmax have no others.
    """
    ours, theirs = (one.logits(images).detach().double().log_softmax(dim=1) for one in (own, other))
    same = int((ours.argmax(dim=1) == theirs.argmax(dim=1)).sum())
    return same, float((ours - theirs).abs().max() / ours.abs().max())


def through_keras(own: Classifier, folder: Path) -> Classifier:
    """The network built anew in Keras, as one would write it there; saved, and opened here."""
    file = folder / "net.keras"
    with _keras() as keras:
        layers = keras.layers
        made = keras.Sequential([
            layers.Input((28, 28, 1)),
            layers.Normalization(mean=_all(own.mean), variance=_squares(own.std)),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, name="fc1"),
        ])  # fmt: skip
        weights = {name: p.detach().numpy() for name, p in own.module.named_parameters()}
        for name in ("conv1", "conv2"):  # (F, C, height, width) to (height, width, C, F)
            kernel = weights[f"{name}.weight"].transpose(2, 3, 1, 0)
            made.get_layer(name).set_weights([kernel, weights[f"{name}.bias"]])
        # Channels come last in Keras, so the 32 x 7 x 7 values are flattened in another order.
        dense = weights["fc1.weight"].reshape(10, 32, 7, 7).transpose(2, 3, 1, 0).reshape(-1, 10)
        made.get_layer("fc1").set_weights([dense, weights["fc1.bias"]])
        made.save(file)
    return load(f"keras:{file}", class_names=list(own.class_names))


def through_onnx(own: Classifier, folder: Path) -> Classifier:
    """Exported as ONNX, the format that tf2onnx writes, and opened again."""
    file = folder / "net.onnx"
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of libraries that no network here needs
    try:
        export_model(own, "onnx", file)
    finally:
        log.setLevel(level)
    return load(f"onnx:{file}")


def through_function(own: Classifier, folder: Path) -> Classifier:
    """The network in NumPy behind a function that takes channels last: a black box."""
    from convscope.models import save_model

    run = folder / "run"
    save_model(run, module=own.module, architecture=SHIPPED, class_names=own.class_names,
               input_shape=own.input_shape, mean=own.mean, std=own.std)  # fmt: skip
    network = load_network(run)

    def predict(pixels: NDArray[np.float32]) -> NDArray[Any]:
        last = pixels.transpose(0, 2, 3, 1)  # what TensorFlow would be given
        scores: NDArray[Any] = network.forward(last.transpose(0, 3, 1, 2))
        return scores

    return Classifier.from_function(
        predict, input_shape=own.input_shape, class_names=own.class_names
    )


WAYS = (
    Way(title="Keras", model="keras:net.keras", library="keras", make=through_keras),
    Way(title="ONNX", model="onnx:net.onnx", library="onnxscript", make=through_onnx),
    Way(title="a function in NumPy", model="python:module:function", library="",
        make=through_function, gradients=False),
)  # fmt: skip


@contextmanager
def _keras() -> Iterator[Any]:
    """Keras on PyTorch, if it has not begun on something else."""
    name, before = "KERAS_BACKEND", os.environ.get("KERAS_BACKEND")
    begun = "keras" in sys.modules
    if not begun:
        os.environ[name] = "torch"
    try:
        library: Any = import_module("keras")
    finally:
        if not begun:
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before
    if library.backend.backend() != "torch":
        raise UsageError(
            f"Keras runs on {library.backend.backend()} here", code="M22",
            hint="start Python with KERAS_BACKEND=torch",
        )  # fmt: skip
    yield library


def _all(values: tuple[float, ...] | None) -> list[float]:
    return [0.0] if values is None else list(values)


def _squares(values: tuple[float, ...] | None) -> list[float]:
    return [1.0] if values is None else [value**2 for value in values]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _maps(
    question: Question, own: Classifier, opened: dict[str, Classifier], images: Tensor
) -> None:
    """One digit, explained through each library."""
    image, label = images[:1], own.predict(images[:1], top=1).labels[:, 0]
    cells: list[Picture | None] = []
    below: list[Picture | None] = []
    gradients = {way.title: way.gradients for way in WAYS} | {"PyTorch": True}
    everything = {"PyTorch": own, **opened}
    for title, classifier in everything.items():
        found = occlusion(classifier, image, label)
        cells.append(Picture(image=explanation_tile(found, 0), alt=f"Occlusion through {title}"))
        if gradients[title]:
            slopes = saliency(classifier, image, label)
            below.append(Picture(image=explanation_tile(slopes, 0),
                                 alt=f"Saliency through {title}"))  # fmt: skip
        else:
            below.append(None)
    question.pictures(
        "one-digit", [*everything, "image"],
        [
            ("occlusion", [*cells, Picture(image=image[0], title=name_of(own.class_names,
                                                                         int(label)))]),
            ("saliency", [*below, None]),
        ],
        caption="The first test digit explained through each library. Occlusion only asks for "
        "predictions: orange where hiding it speaks against the class. Saliency needs gradients: "
        "dark is zero, bright the largest. The maps are the same, whatever computes them.",
    )  # fmt: skip


def _notebook_table(question: Question, content: StudyContent) -> None:
    question.table(
        "notebook",
        ["question", {"title": "its cell is", "kind": "words"}],
        [[spec.heading, f"{spec.snippet.__name__.replace('_', ' ')}: {spec.cell}"]
         for spec in content.questions if spec.snippet is not None],
        caption="notebook.ipynb has a cell for the data, one for the network, and one for each "
        "question. The command jupyter lab notebook.ipynb opens it in the browser; Colab and "
        "Kaggle take it by upload, after pip install convscope.",
    )  # fmt: skip


def _way_table(question: Question) -> None:
    question.table(
        "adapters",
        [{"title": "MODEL", "kind": "code"}, {"title": "what it opens", "kind": "words"},
         {"title": "needs", "kind": "code"}],
        [[form, spec.about, spec.install or "–"]
         for spec in ADAPTERS.specs().values() for form in spec.forms],
        caption="Every command takes these where it takes a network.",
        wide=True,
    )  # fmt: skip
