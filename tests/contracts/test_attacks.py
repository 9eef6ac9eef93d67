"""What every entry of ATTACKS promises."""

import inspect

import pytest
import torch

from convscope.attacks import ATTACKS
from convscope.errors import UsageError
from tests.contracts.traces import accidents, snapshot, with_accident

each_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())

# Fewer steps than by default, where an attack has them: promises do not depend on their number.
FAST = {
    "steps": 4,
    "queries": 8,
    "restarts": 1,
    "search_steps": 2,
    "samples": 2,
}


def settings_for(attack, labels):
    parameters = inspect.signature(attack).parameters
    chosen = {name: value for name, value in FAST.items() if name in parameters}
    if "generator" in parameters:
        chosen["generator"] = torch.Generator().manual_seed(3)
    if "targets" in parameters and parameters["targets"].default is inspect.Parameter.empty:
        chosen["targets"] = (labels + 1) % 5
    return chosen


def name_of(attack):
    return next(name for name, entry in ATTACKS.items() if entry is attack)


def run(attack, case, **more):
    classifier, images, labels = case
    return attack(classifier, images, labels, **(settings_for(attack, labels) | more))


@each_attack
def test_gives_images_in_the_box_and_leaves_the_inputs_alone(attack, case):
    _, images, labels = case
    kept, kept_labels = images.clone(), labels.clone()
    result = run(attack, case)
    assert result.adversarials.shape == images.shape
    assert result.adversarials.dtype == torch.float32
    assert result.adversarials.min() >= 0 and result.adversarials.max() <= 1
    assert result.adversarials.isfinite().all()
    assert torch.equal(images, kept) and torch.equal(labels, kept_labels)
    assert images.grad is None and not images.requires_grad


@each_attack
def test_success_is_what_the_network_says_of_the_returned_image(attack, case):
    classifier, _, labels = case
    result = run(attack, case)
    with classifier.probe() as probe:
        said = probe.logits(result.adversarials).argmax(1)
    expected = said != labels if result.targets is None else said == result.targets
    assert torch.equal(result.success, expected)


@each_attack
def test_same_seed_same_images(attack, case):
    assert torch.equal(run(attack, case).adversarials, run(attack, case).adversarials)


SHOWN = []
"""Images per pass. A list of the module: what a closure holds is copied with the network."""


def count_images(network, inputs, output):
    SHOWN.append(len(inputs[0]))


@each_attack
def test_counts_every_pass(attack, case):
    """The network itself counts the images that it is shown; the first look at it is no cost."""
    classifier, *_ = case
    handle = classifier.module.register_forward_hook(count_images)
    try:
        classifier.describe()
        SHOWN.clear()
        result = run(attack, case)
    finally:
        handle.remove()
    assert 7 <= result.cost.forwards == sum(SHOWN) and result.cost.seconds > 0
    if ATTACKS.spec(name_of(attack)).black_box:
        assert result.cost.backwards == 0
    else:
        most = 5 if attack.__name__ == "deepfool" else 1  # It takes the gradient of every class.
        assert 0 < result.cost.backwards <= most * result.cost.forwards


@each_attack
def test_a_class_that_does_not_exist_is_refused(attack, case):
    classifier, images, labels = case
    wrong = labels.clone()
    wrong[0] = 5
    with pytest.raises(UsageError):
        attack(classifier, images, wrong, **settings_for(attack, labels))


WITH_BUDGET = {
    name: attack
    for name, attack in ATTACKS.items()
    if "epsilon" in inspect.signature(attack).parameters
}


@pytest.mark.parametrize("attack", WITH_BUDGET.values(), ids=WITH_BUDGET.keys())
@pytest.mark.parametrize("epsilon", [-0.1, float("nan"), float("inf")])
def test_u03_nonsense_budgets_are_refused(attack, case, epsilon):
    with pytest.raises(UsageError) as caught:
        run(attack, case, epsilon=epsilon)
    assert caught.value.code == "U03"


@each_attack
def test_an_empty_batch_is_no_error(attack, case):
    classifier, images, labels = case
    chosen = settings_for(attack, labels[:0])
    assert len(attack(classifier, images[:0], labels[:0], **chosen).adversarials) == 0


@each_attack
@accidents
def test_leaves_no_trace(attack, case, accident):
    classifier, *_ = case
    before = snapshot(classifier.module)
    with_accident(classifier.module, accident, lambda: run(attack, case))
    assert snapshot(classifier.module) == before


@each_attack
def test_settings_are_keyword_only_and_documented(attack):
    parameters = list(inspect.signature(attack).parameters.values())
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters[3:])
    words = inspect.getdoc(attack)
    assert "Source:" in words, "no source"
    missing = [p.name for p in parameters if f"    {p.name}: " not in words]
    assert not missing, f"undocumented: {missing}"
