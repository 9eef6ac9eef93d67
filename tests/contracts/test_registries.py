"""Records of the registries: what lists, help, audits and suites derive from them is true."""

import inspect
import json
import typing

import pytest
import torch
from torch import nn

from convscope._registry import Effort
from convscope.attacks import ATTACKS, SHARED, AttackSpec, at_effort
from convscope.classifier import Classifier
from convscope.cli import main
from convscope.robustness import evaluate
from tests.contracts.run_time import Few, with_my_attack

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
    if "epsilon" in parameters and name in ATTACKS:
        assert parameters["epsilon"].default in (8 / 255, None)
    if spec.kind == "minimal":
        assert "epsilon" not in parameters or parameters["epsilon"].default is None
    assert (spec.kind == "shared") is (name in SHARED)


FEW_PASSES = 110
"""So many are run in the fast suite, too."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if spec.passes > FEW_PASSES else [])
        for name, spec in ATTACKS.specs().items()
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


@pytest.mark.parametrize("name", [name for name in ATTACKS if SPECS[name].passes > FEW_PASSES])
def test_many_passes_follow_from_the_settings_by_default(name):
    """What is too slow to be counted: so many steps, toward so many classes, and some looks."""
    if name == "auto-attack":
        members = sum(SPECS[member].passes for member in ("apgd", "apgd-targeted", "square", "fab"))
        more = SPECS["square"].suite["full"]["queries"] - parameters_of("square")["queries"].default
        assert SPECS[name].passes == members + more
        return
    given = {key: one.default for key, one in parameters_of(name).items()}
    steps = given.get("steps", given.get("queries"))
    runs = given.get("classes", 1) * given.get("search_steps", 1)
    assert steps * runs < SPECS[name].passes <= (steps + 2) * runs + 12


def test_somebody_has_counted_the_passes_of_every_attack():
    assert all(spec.passes for spec in ATTACKS.specs().values())


@each_attack
def test_a_record_names_the_norms_that_the_attack_bounds_or_minimizes(name):
    spec = SPECS[name]
    if spec.kind in ("bounded", "minimal"):
        assert spec.norms
    assert [norm for norm in ("linf", "l2") if name.startswith(f"{norm}-")] in ([], [*spec.norms])


def test_the_suite_grows_with_effort_and_ends_with_all_members_of_auto_attack():
    suites = [
        {name for name, spec in SPECS.items() if at_effort(spec.suite, effort) is not None}
        for effort in EFFORTS
    ]
    assert suites[0] < suites[1] < suites[2]
    assert {"apgd", "apgd-targeted", "square", "fab"} <= suites[2]
    # The spread between the stages of the smallest suite says whether gradients are hidden.
    assert {name for name, spec in SPECS.items() if spec.on_all} == suites[0]
    assert {name for name, spec in SPECS.items() if spec.stage} == suites[2]


mine = pytest.fixture(with_my_attack)


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
