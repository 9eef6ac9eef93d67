"""Results at the prompt and in a notebook: a sentence, and a picture, never a page of numbers."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys

import pytest
import torch
from torch import nn

import convscope
from convscope import results, types
from convscope._readable import LONGEST, readable
from convscope.classifier import Classifier, Predictions
from convscope.explanations import Explanation, FeatureMaps, Filters, occlusion
from convscope.figures import FIGURES, FigureSpec, draw
from convscope.probe import Gradient
from tests.figures.results import all_results, classifier

RESULTS = all_results()
KINDS = [type(result).__name__ for result in RESULTS]
INTERNAL = {
    "Draws",
    "Split",
    "Dataset",
    "IdxFile",
    "Budget",
    "Trajectory",
    "Setting",
    "Architecture",
    "Weights",
    "Normalize",
}
INTERNAL |= {
    "Snapshot",
    "MaximizationProblem",
    "Recipe",
    "State",
    "Audit",
    "Inspection",
    "Structure",
    "Engine",
    "Network",
    "Trial",
    "Planned",
    "CertificationJudging",
    "RobustnessJudging",
    "AttackJudging",
    "CurveJudging",
    "FeaturesJudging",
    "TrustJudging",
    "Node",
    "Stored",
    "Fallen",
    "KnownDigest",
}


def result_types():
    """Every public dataclass that holds tensors or is called a result, or can be drawn."""
    found = {
        getattr(importlib.import_module(spec.package), name)
        for name, spec in FIGURES.specs().items()
    }
    for info in pkgutil.walk_packages(convscope.__path__, "convscope."):
        if info.name.endswith("__main__") or ".cli" in info.name:
            continue
        for kind in vars(importlib.import_module(info.name)).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                texts = [str(field.type) for field in dataclasses.fields(kind)]
                words = ("Tensor", "ndarray", "Images", "Logits", "Heatmaps", "Examples", "Module")
                named = kind.__name__.endswith("Result") or kind.__name__ == "PlayableNetwork"
                if named or any(word in text for text in texts for word in words):
                    found.add(kind)
    return sorted(
        (k for k in found if not k.__name__.startswith("_") and k.__name__ not in INTERNAL),
        key=lambda k: k.__name__,
    )


@pytest.mark.parametrize("kind", result_types(), ids=lambda kind: kind.__name__)
def test_every_result_type_has_a_sentence(kind):
    empty = object.__new__(kind)
    assert repr(empty).startswith(f"<{kind.__name__}")
    assert "tensor(" not in repr(empty) and len(repr(empty)) <= LONGEST


@pytest.mark.parametrize("kind", result_types(), ids=lambda kind: kind.__name__)
def test_a_result_is_frozen_made_by_keywords_and_equal_to_itself_alone(kind):
    """Comparing tensors gives no yes or no: two results that hold some cannot be compared."""
    parameters = inspect.signature(kind).parameters.values()
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in parameters)
    assert kind.__dataclass_params__.frozen
    arrays = {
        "Tensor",
        "ndarray",
        "Classifier",
        *(name for name in vars(types) if name[0].isupper()),
    }
    fields = [set(re.findall(r"\w+", str(field.type))) for field in dataclasses.fields(kind)]
    if any(words & arrays for words in fields):
        assert kind.__eq__ is object.__eq__


@pytest.mark.parametrize("result", RESULTS, ids=KINDS)
def test_a_result_prints_in_a_line_without_its_tensors(result):
    text = repr(result)
    assert text.startswith(f"<{type(result).__name__}: ") and text.endswith(">")
    assert len(text) <= LONGEST and "\n" not in text and "tensor(" not in text


def test_the_sentence_holds_the_headline_numbers_and_shapes():
    by_kind = dict(zip(KINDS, RESULTS, strict=True))
    assert "accuracy 90.00% (95 % interval 85.00% to 95.00%)" in repr(by_kind["Evaluation"])
    assert "maps 3 x 2 x 8 x 8" in repr(RESULTS[5]) and "3 images x 2 classes" in repr(RESULTS[5])
    assert "fooled" in repr(by_kind["AttackResult"])
    assert "clean_accuracy 0.9, robust_accuracy 0.5" in repr(by_kind["RobustnessEvaluation"])
    assert "Sequential, 4 classes, input 1 x 8 x 8" in repr(classifier(("a", "b", "c", "d")))


def test_short_vectors_and_scalars_are_numbers():
    found = Gradient(
        values=torch.tensor([0.5, 2.0]), gradients=torch.zeros(2, 3, 4, 4), outputs=torch.ones(2, 9)
    )
    assert repr(found) == "<Gradient: values (0.5, 2), gradients 2 x 3 x 4 x 4, outputs 2 x 9>"
    long = Gradient(values=torch.zeros(8), gradients=torch.zeros(2, 3), outputs=torch.zeros(0))
    assert repr(long) == "<Gradient: values (8 values), gradients 2 x 3, outputs (0 values)>"
    empty = Predictions(labels=torch.zeros(0, 3), probabilities=torch.zeros(0, 3), class_names=())
    assert repr(empty) == "<Predictions: labels 0 x 3, probabilities 0 x 3>"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234, "1,234"), (True, "True"), (2.5, "2.5"), ("a", "'a'"), ((1, 2), "(1, 2)"),
     (torch.tensor([0.5, 2.0]), "(0.5, 2)")],
)  # fmt: skip
def test_values_stand_before_shapes(value, text):
    @readable
    @dataclasses.dataclass
    class Row:
        images: object
        field: object

    assert repr(Row(torch.zeros(2, 3), value)) == f"<Row: field {text}, images 2 x 3>"


@pytest.mark.parametrize("result", RESULTS, ids=KINDS)
def test_a_notebook_shows_the_figure(result):
    html = result._repr_html_()
    assert html is not None and ("<img" in html or "<p>" in html)
    assert "<script" not in html


def test_hostile_names_are_escaped_in_html():
    bad = '"><script>alert(1)</script>'
    found = [r for r in all_results((bad, "b", "c", "d")) if type(r) in (Explanation, Filters)]
    assert len(found) >= 3 and all(bad in repr(r) or bad[:9] in repr(r) for r in found[:1])
    assert all("<script" not in result._repr_html_() for result in found)


def test_a_result_without_a_figure_shows_its_sentence():
    assert (
        Gradient(
            values=torch.ones(1), gradients=torch.ones(1), outputs=torch.ones(1, 1)
        )._repr_html_()
        is None
    )


def test_an_error_while_drawing_or_describing_does_not_escape(monkeypatch):
    result = RESULTS[1]

    def broken(*_):
        raise ValueError("no")

    specs = {**FIGURES.specs(), "FeatureMaps": FigureSpec(broken)}
    monkeypatch.setattr(FIGURES, "_specs", specs)
    assert next(r for r in RESULTS if type(r) is FeatureMaps)._repr_html_() is None

    @readable
    @dataclasses.dataclass
    class Odd:
        value: object
        headline = broken

    class Shapeless:
        dtype = property(broken)
        shape = property(broken)

    assert repr(Odd(Shapeless())).startswith("<") and repr(result)


def test_printing_does_not_load_matplotlib():
    code = (
        "import sys, torch, convscope\n"
        "from convscope.explanations import saliency\n"
        "net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))\n"
        "c = convscope.Classifier.wrap(net, input_shape=(1, 2, 2))\n"
        "repr(saliency(c, torch.rand(1, 1, 2, 2)))\n"
        "assert 'matplotlib' not in sys.modules\n"
    )
    import subprocess

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_drawn_figure_is_a_picture_without_pyplot():
    drawn = draw(RESULTS[1])
    assert drawn._repr_png_().startswith(b"\x89PNG")


def test_results_are_saved_and_loaded_as_before(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    images = torch.rand(2, 1, 4, 4)
    found = occlusion(Classifier.wrap(net, input_shape=(1, 4, 4)), images)
    again = results.load(type(found), results.save(found, tmp_path / "x"))
    assert torch.equal(again.maps, found.maps) and repr(again) == repr(found)
