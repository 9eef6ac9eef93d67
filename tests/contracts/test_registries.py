"""Records of the registries: what lists, help, audits and suites derive from them is true."""

import inspect
import json
import typing

import pytest
import torch
from torch import nn

from convscope._registry import Effort
from convscope.attacks import ATTACKS, SHARED, AttackSpec, at_effort, pgd
from convscope.classifier import Classifier
from convscope.cli import main
from convscope.reports import Report, Section
from convscope.robustness import evaluate
from convscope.studies._context import Audit
from convscope.studies._fooling import fooling, planned

EFFORTS = typing.get_args(Effort)
SPECS = {**ATTACKS.specs(), **SHARED.specs()}
each_attack = pytest.mark.parametrize("name", SPECS)


def parameters_of(name):
    return inspect.signature((ATTACKS if name in ATTACKS else SHARED)[name]).parameters


@each_attack
def test_an_attack_is_in_an_audit_or_says_why_not(name):
    spec = SPECS[name]
    assert bool(spec.audit) is not bool(spec.no_audit), "one of both"
    assert not spec.no_audit or spec.no_audit.endswith(".")
    assert any(name in planned(effort) for effort in EFFORTS) is bool(spec.audit)


@each_attack
def test_settings_for_audit_and_suite_are_settings_of_the_attack(name):
    for plan in (SPECS[name].audit, SPECS[name].suite):
        assert set(plan) <= set(EFFORTS)
        for settings in plan.values():
            assert set(settings) <= set(parameters_of(name))
    for settings in SPECS[name].suite.values():
        assert "{" not in SPECS[name].stage.format(**settings)


@each_attack
def test_what_a_record_says_of_an_attack_is_true(name):
    spec, parameters = SPECS[name], parameters_of(name)
    needs = "targets" in parameters and parameters["targets"].default is inspect.Parameter.empty
    assert spec.needs_target is needs
    if "norm" in parameters:
        assert set(spec.norms) == {"linf", "l2"}
        assert spec.norms[0] == parameters["norm"].default
    if spec.kind == "bounded":
        assert parameters["epsilon"].default == 8 / 255
    if spec.kind == "minimal":
        assert "epsilon" not in parameters or parameters["epsilon"].default is None
    assert (spec.kind == "shared") is (name in SHARED)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if spec.passes > 600 else [])
        for name, spec in SPECS.items()
        if spec.passes
    ],
)
def test_the_passes_of_a_record_are_those_of_an_image_that_withstands(name):
    """A linear network and an image so far inside its class that nothing within epsilon helps."""
    layer = nn.Linear(4, 10)
    layer.weight.data = torch.randn(10, 4, generator=torch.Generator().manual_seed(0)) / 100
    layer.bias.data = torch.tensor([5.0] + [0.0] * 9)
    classifier = Classifier.wrap(nn.Sequential(nn.Flatten(), layer), input_shape=(1, 2, 2))
    images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
    more = {"targets": labels + 1} if SPECS[name].needs_target else {}
    found = ATTACKS[name](classifier, images, labels, **more)
    assert not found.success.any()
    assert 0.8 * SPECS[name].passes <= found.cost.forwards <= 1.1 * SPECS[name].passes + 2
    assert SPECS[name].black_box is (found.cost.backwards == 0)


@pytest.fixture
def mine():
    """An attack of somebody else: a plain function, registered at run time."""

    def my_attack(
        classifier, images, labels, *, epsilon: float = 0.1, norm: str = "linf", strength: int = 3
    ):
        """Do what nobody has done.

        Args:
            classifier: The network.
            images: Images.
            labels: Labels.
            epsilon: Radius.
            norm: Of the radius.
            strength: How hard it tries.
        """
        return pgd(classifier, images, labels, epsilon=epsilon, norm=norm, steps=strength)

    ATTACKS["my-attack"] = my_attack
    yield my_attack
    del ATTACKS["my-attack"]


class Few:
    """What the section on attacks asks of an audit, for a network that is not trained."""

    def __init__(self, effort):
        layer = nn.Linear(16, 3)
        layer.weight.data = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
        self.classifier = Classifier.wrap(nn.Sequential(nn.Flatten(), layer), input_shape=(1, 4, 4))
        self.images = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(1))
        self.labels = self.classifier.predict(self.images, top=1).labels[:, 0]
        self.effort, self.epsilon, self.scale = effort, 0.1, 3.0
        self.report = Report(title="a test")
        self.attacked_rows = torch.arange(4)
        self.test = self
        self.shown = (self.images, self.labels)

    def to_float(self, rows):
        return self.images[rows]


def test_an_attack_registered_at_run_time_is_in_the_audit_with_its_defaults(mine):
    assert planned("quick")["my-attack"] == {}
    spec = ATTACKS.spec("my-attack")
    assert spec.kind == "bounded" and spec.about == "Do what nobody has done."
    audit = Few("quick")
    section = Section("fooling", "Attacks")
    fooling(typing.cast(Audit, audit), section)
    (table,) = [block for block in section.blocks if block["type"] == "table"]
    assert len(table["rows"]) == len(planned("quick")) and "my-attack" in planned("quick")
    assert [row[0] for row in table["rows"]].count("pgd") == 2  # pgd itself, and what calls it


def test_an_attack_registered_at_run_time_is_on_the_command_line(mine, capsys):
    assert main(["attack", "list"]) == 0
    assert "my-attack" in capsys.readouterr().out
    assert main(["attack", "settings", "my-attack"]) == 0
    assert "--strength" in capsys.readouterr().out
    assert main(["attack", "my-attack", "--help"]) == 0
    said = capsys.readouterr().out
    assert "Do what nobody has done." in said and "How hard it tries." in said
    words = ["attack", "my-attack", "mnist-conv1", "digits:test/0-1", "--strength", "2", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["steps"] == 2
    assert main([*words[:4], "--strengt", "2"]) == 2
    assert "did you mean strength" in capsys.readouterr().err


def test_an_attack_that_needs_a_target_is_in_no_audit_and_says_why(mine):
    def other(classifier, images, labels, *, targets):
        """Go somewhere."""

    ATTACKS["other"] = other
    try:
        spec = ATTACKS.spec("other")
        assert spec.needs_target and spec.no_audit and "other" not in planned("full")
    finally:
        del ATTACKS["other"]


def test_an_attack_with_a_record_takes_part_in_the_suite(mine):
    suite = {"quick": {"strength": 2}}
    ATTACKS["my-attack"] = AttackSpec(mine, suite=suite, stage="mine-{strength}", on_all=True)
    audit = Few("quick")
    found = evaluate(audit.classifier, audit.images, audit.labels, epsilon=0.1, effort="quick")
    assert [stage.attack for stage in found.suite] == ["fgsm", "pgd-40", "apgd-ce-30", "mine-2"]


def test_an_effort_has_the_settings_of_the_one_below():
    plan = {"standard": {"steps": 5}}
    assert at_effort(plan, "quick") is None
    assert at_effort(plan, "standard") == at_effort(plan, "full") == {"steps": 5}
