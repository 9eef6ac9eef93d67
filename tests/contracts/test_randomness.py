"""One rule of randomness: without a generator, seed 0; the global random states never move."""

import inspect
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convscope import defenses, robustness, training
from convscope.attacks import (
    ATTACKS,
    SHARED,
    TRANSFORMS,
    compose,
    random_choice,
    random_crops,
    random_noise,
    random_rotations,
)
from convscope.classifier import Classifier
from convscope.data import Split
from convscope.explanations import EXPLANATIONS, trust
from convscope.models import MODELS, build
from convscope.visualizations import VISUALIZATION_RECIPES, class_images

FAST = {
    "steps": 3,
    "queries": 6,
    "search_steps": 2,
    "samples": 2,
    "masks": 8,
    "draws": 3,
    "num_samples": 3,
}
RANDOM_START = {"pgd": {"random_start": True}, "apgd": {"restarts": 2}}


def global_states():
    kind, numbers, *rest = np.random.get_state()  # noqa: NPY002 - it is what is watched
    states = [torch.get_rng_state().tolist(), (kind, numbers.tolist(), *rest)]
    if "beartype" not in sys.modules:  # The checker of the tests itself draws from Python's.
        states.append(random.getstate())
    return states


def with_states_watched(action):
    """What `action` returns, twice; the global states differ between the calls and stay put."""
    found = []
    for seed in (11, 12):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        before = global_states()
        found.append(action())
        assert global_states() == before
    return found


def tensors(result):
    return {
        name: value
        for name, value in vars(result).items()
        if isinstance(value, torch.Tensor) and name not in ("originals", "images_batch")
    }


def make_case():
    """A small network, images, labels; the conftest would switch the type checker on."""
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(48, 5),
    )  # fmt: skip
    numbers = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=numbers) / 4
    classifier = Classifier(module=module, class_names=tuple("abcde"), input_shape=(1, 6, 8))
    return classifier, torch.rand(7, 1, 6, 8, generator=numbers), torch.arange(7) % 5


def equal(first, second):
    mine, other = tensors(first), tensors(second)
    assert mine and mine.keys() == other.keys()
    for name, value in mine.items():
        assert torch.equal(value.nan_to_num(7.0), other[name].nan_to_num(7.0)), name


def settings(method, labels, **more):
    parameters = inspect.signature(method).parameters
    chosen = {k: v for k, v in FAST.items() if k in parameters} | more
    if "targets" in parameters and parameters["targets"].default is inspect.Parameter.empty:
        chosen["targets"] = (labels + 1) % 5
    return chosen


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(name):
    classifier, images, labels = make_case()
    chosen = settings(ATTACKS[name], labels, **RANDOM_START.get(name, {}))
    equal(*with_states_watched(lambda: ATTACKS[name](classifier, images, labels, **chosen)))


@pytest.mark.parametrize("name", ["pgd", "apgd"])
def test_attacks_through_random_transforms(name):
    classifier, images, labels = make_case()
    for view in (
        *TRANSFORMS.values(),
        compose(random_rotations(20.0), random_crops()),
        random_choice(random_noise(0.1), random_crops()),
    ):
        equal(
            *with_states_watched(
                lambda view=view: ATTACKS[name](
                    classifier, images, labels, steps=2, transforms=view, eot_samples=2
                )
            )
        )


@pytest.mark.parametrize("name", SHARED)
def test_attacks_whose_perturbation_is_shared(name):
    classifier, images, labels = make_case()
    chosen = settings(SHARED[name], labels)
    equal(*with_states_watched(lambda: SHARED[name](classifier, images, labels, **chosen)))


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_explanations(name):
    classifier, images, labels = make_case()
    chosen = settings(EXPLANATIONS[name], labels)
    equal(*with_states_watched(lambda: EXPLANATIONS[name](classifier, images, labels, **chosen)))


def test_trust():
    classifier, images, labels = make_case()
    first, second = with_states_watched(
        lambda: trust(classifier, images, labels, {"saliency": EXPLANATIONS["saliency"]})
    )
    assert str([replace(row, seconds=0.0) for row in first.rows]) == str(
        [replace(row, seconds=0.0) for row in second.rows]
    )


@pytest.mark.parametrize("name", VISUALIZATION_RECIPES)
def test_recipes(name):
    classifier, *_ = make_case()
    reference = torch.rand(20, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    recipe = VISUALIZATION_RECIPES[name](steps=3)
    equal(
        *with_states_watched(
            lambda: class_images(classifier, [0, 3], recipe=recipe, reference=reference)
        )
    )


@pytest.mark.parametrize("name", MODELS)
def test_networks(name):
    first, second = with_states_watched(lambda: build(name).state_dict())
    with_seed_0 = build(name, generator=torch.Generator().manual_seed(0)).state_dict()
    for key, value in first.items():
        assert torch.equal(value, second[key]) and torch.equal(value, with_seed_0[key]), key


def test_evaluation_of_a_split():
    classifier, images, labels = make_case()
    split = Split(name="test", images=(images * 255).byte(), labels=labels)
    first, second = with_states_watched(lambda: training.evaluate(classifier, split, sample=3))
    assert torch.equal(first.sample.rows, second.sample.rows)


WATCHED = ("evaluate", "curve", "certify", "transformation_robustness", "noise_transfer",
           "model_transfer", "survival")  # fmt: skip


def judged(name, classifier, images, labels):
    """One call of a function of `robustness`, small."""
    made = ATTACKS["pgd"](classifier, images, labels, epsilon=0.3, steps=2)
    views = {"turned": lambda x: x.flip(3)}
    return {
        "evaluate": lambda: robustness.evaluate(
            classifier, images, labels, epsilon=0.2, effort="quick"
        ),
        "curve": lambda: robustness.curve(
            classifier, images, labels, attack="square", epsilons=[0.1, 0.3], queries=5
        ),
        "certify": lambda: robustness.certify(classifier, images, labels, std=0.2, draws=20),
        "transformation_robustness": lambda: robustness.transformation_robustness(
            classifier, made, transformations=views
        ),
        "noise_transfer": lambda: robustness.noise_transfer(classifier, images, labels, made=made),
        "model_transfer": lambda: robustness.model_transfer(
            {"a": classifier, "b": classifier}, images, labels, attack="square", queries=5
        ),
        "survival": lambda: (
            robustness.survival(
                classifier, images, labels, targets=(labels + 1) % 5, steps=2, eot_samples=2
            ).eot
        ),
    }[name]


@pytest.mark.parametrize(
    "name",
    WATCHED,
)
def test_robustness(name):
    classifier, images, labels = make_case()
    equal(*with_states_watched(judged(name, classifier, images, labels)))


def test_comparison_of_defenses():
    classifier, images, labels = make_case()
    defended = {name: make(classifier) for name, make in defenses.DEFENSES.items()}
    first, second = with_states_watched(
        lambda: robustness.compare_defenses(
            classifier, defended, images, labels, epsilon=0.2, attack="square", queries=5
        )
    )
    assert first == second


def test_every_function_of_robustness_is_watched_here():
    functions = {n for n in robustness.__all__ if inspect.isfunction(getattr(robustness, n))}
    without_draws = {"certification_of", "curve_of", "robustness_of"}
    assert functions == {*WATCHED, "compare_defenses", *without_draws}


def test_restarts_begin_elsewhere_and_only_help(case):
    """What repeats on purpose says so: the second start sees other draws than the first."""
    classifier, images, labels = case
    for name in ("square", "pgd", "apgd"):
        chosen = settings(ATTACKS[name], labels) | {"epsilon": 0.05}
        once = ATTACKS[name](classifier, images, labels, **chosen)
        often = ATTACKS[name](classifier, images, labels, **chosen, restarts=4)
        assert (often.success >= once.success).all(), name
        assert often.cost.forwards > once.cost.forwards, name


EVERYTHING = """
import tests.contracts.test_randomness as watched
from convscope import robustness
for name in watched.ATTACKS:
    watched.test_attacks(name)
for name in watched.SHARED:
    watched.test_attacks_whose_perturbation_is_shared(name)
for name in watched.EXPLANATIONS:
    watched.test_explanations(name)
for name in watched.VISUALIZATION_RECIPES:
    watched.test_recipes(name)
for name in ("evaluate", "curve", "transformation_robustness", "noise_transfer", "model_transfer"):
    watched.test_robustness(name)
watched.test_trust()
watched.test_comparison_of_defenses()
assert len(watched.global_states()) == 3, "Python's own state was not watched"
"""


@pytest.mark.slow
def test_pythons_own_state_stays_where_it_is():
    """The same in a process without the tests' type checker, which draws from Python's state."""
    blocked = "import sys; sys.modules['beartype'] = None; sys.modules.pop('beartype')\n"
    here = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", blocked + EVERYTHING],
        capture_output=True, text=True, env=environment, cwd=here, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_given_generator_goes_on_from_call_to_call(case):
    classifier, images, labels = case
    generator = torch.Generator().manual_seed(5)

    def attack(source):
        return ATTACKS["pgd"](
            classifier, images, labels, steps=0, random_start=True, generator=source
        ).adversarials

    first, second = attack(generator), attack(generator)
    assert not torch.equal(first, second)
    assert torch.equal(first, attack(torch.Generator().manual_seed(5)))
