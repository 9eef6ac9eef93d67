"""What the records of EXPLANATIONS say is true, and lists, audits and trust tables follow them."""

import inspect
import json
import re
from pathlib import Path

import pytest
import torch

from convscope._registry import EFFORTS
from convscope.classifier import Classifier
from convscope.cli import main
from convscope.data import Dataset, Split
from convscope.explanations import (
    EXPLANATIONS,
    LAYER_VIEWS,
    Explanation,
    ExplanationSpec,
    passes_per_map,
    trust_passes,
)
from convscope.studies import audit
from convscope.visualizations import VISUALIZATION_RECIPES, VISUALIZATIONS

LOOKING = Path(__file__).parents[2] / "docs" / "looking.md"
FAST = {"masks": 20, "num_samples": 2}

each_record = pytest.mark.parametrize("name", EXPLANATIONS)
registries = pytest.mark.parametrize(
    "registry", [EXPLANATIONS, LAYER_VIEWS, VISUALIZATIONS, VISUALIZATION_RECIPES]
)


@registries
def test_lines_are_those_of_the_docstrings(registry):
    for name in registry:
        assert registry.about(name) == inspect.getdoc(registry[name]).partition("\n")[0], name


@each_record
def test_every_entry_reaches_an_audit_or_says_why_not(name):
    spec = EXPLANATIONS.spec(name)
    assert bool(spec.audit) != bool(spec.no_audit)
    assert set(spec.audit) <= set(EFFORTS) and set(spec.trusted) <= set(EFFORTS)
    parameters = inspect.signature(EXPLANATIONS[name]).parameters
    for settings in spec.audit.values():
        assert set(settings) <= set(parameters)


@each_record
def test_a_record_says_what_the_method_does(name, case):
    classifier, images, _ = case
    spec, explain = EXPLANATIONS.spec(name), EXPLANATIONS[name]
    parameters = inspect.signature(explain).parameters
    settings = {key: value for key, value in FAST.items() if key in parameters}
    one = explain(classifier, images, 0, **settings)
    assert one.method == name and one.signed is spec.signed
    assert one.signed or bool((one.maps >= 0).all())
    assert ("layer" in parameters) is spec.takes_layer is (one.layer is not None)
    every = explain(classifier, images, "all", **settings)
    passes = [each.cost.forwards + each.cost.backwards for each in (one, every)]
    assert (passes[1] > passes[0]) is spec.per_class


@each_record
def test_estimated_passes_are_about_those_of_the_defaults(name, case):
    """Within a factor of five: integrated gradients stop when they are exact."""
    classifier, images, _ = case
    cost = EXPLANATIONS[name](classifier, images, 0).cost
    passes = (cost.forwards + cost.backwards) / len(images)
    assert passes / 5 <= passes_per_map(name) <= 5 * passes


@each_record
def test_audits_test_only_what_they_show(name):
    assert set(EXPLANATIONS.spec(name).trusted) <= set(EXPLANATIONS.spec(name).audit)


def test_the_documentation_says_which_methods_audits_test():
    words = " ".join(LOOKING.read_text().split())
    every = {name for name, spec in EXPLANATIONS.specs().items() if spec.trusted == EFFORTS}
    said = re.search(r"Audits test (.*?) at every effort, (.*?) at `full`, and (.*?) never", words)
    full = {name for name, spec in EXPLANATIONS.specs().items() if spec.trusted == ("full",)}
    never = {name for name, spec in EXPLANATIONS.specs().items() if not spec.trusted}
    assert [set(re.findall("`(.*?)`", part)) for part in said.groups()] == [every, full, never]
    assert every | full | never == set(EXPLANATIONS)


def brightness(classifier, images, targets=None):
    """The brightness of the image, whatever the class."""
    if targets is None:
        targets = torch.zeros(len(images)).long()
    classes = targets[:, None] if targets.ndim == 1 else targets
    gray = images.mean(dim=1, keepdim=True)
    return Explanation(
        images=images,
        maps=gray.expand(-1, classes.shape[1], -1, -1).contiguous(),
        targets=classes,
        method="brightness",
        signed=False,
        class_names=classifier.class_names,
    )


@pytest.fixture
def registered():
    EXPLANATIONS["brightness"] = brightness
    yield EXPLANATIONS.spec("brightness")
    del EXPLANATIONS["brightness"]


def test_a_function_without_a_record_gets_one(registered):
    assert registered.about == "The brightness of the image, whatever the class."
    assert set(registered.audit) == set(EFFORTS) == set(registered.trusted)
    assert passes_per_map("brightness") == ExplanationSpec.passes == 2


def test_an_entry_of_run_time_appears_in_lists_and_help(registered, capsys):
    assert main(["inspect", "--help"]) == 0
    assert "brightness" in capsys.readouterr().out


def small_audit(tmp_path, sections):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 4)
    )
    classifier = Classifier.wrap(net, input_shape=(1, 8, 8), class_names=tuple("abcd"))
    images = torch.randint(0, 256, (24, 1, 8, 8), dtype=torch.uint8)
    labels = classifier.predict(images.float() / 255, top=1).labels[:, 0]
    parts = [
        Split(name=name, images=images, labels=labels) for name in ("train", "validation", "test")
    ]
    data = Dataset(
        name="own",
        class_names=tuple("abcd"),
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        source="random pixels",
        hashes={},
    )
    return audit(classifier, data, out_folder=tmp_path / "report", sections=sections)


def test_an_entry_of_run_time_appears_in_the_audit_and_its_trust_table(registered, tmp_path):
    result = small_audit(tmp_path, ["looking", "trust"])
    report = json.loads((result.folder / "report.json").read_text())
    assert result.failed == (), report
    sections = {section["id"]: json.dumps(section) for section in report["sections"]}
    assert "brightness" in sections["looking"] and "brightness" in sections["trust"]
    quick = [name for name, spec in EXPLANATIONS.specs().items() if "quick" in spec.audit]
    tested = [name for name, spec in EXPLANATIONS.specs().items() if "quick" in spec.trusted]
    assert all(name in sections["looking"] for name in quick)
    assert all(name in sections["trust"] for name in tested)
    assert "hires-cam" not in sections["looking"]
    table = next(
        block
        for section in report["sections"]
        for block in section["blocks"]
        if section["id"] == "trust" and block["type"] == "table"
    )
    rows = {row[0]["value"] if isinstance(row[0], dict) else row[0] for row in table["rows"]}
    assert rows >= {*tested} and not rows & ({*EXPLANATIONS} - {*tested})


def test_work_is_estimated_from_the_records(case):
    classifier, _, _ = case
    work = trust_passes(classifier, 16, ["saliency", "rise"])
    assert work["rise"] * passes_per_map("saliency") == work["saliency"] * passes_per_map("rise")
