"""What every entry of EXPLANATIONS and VISUALIZATIONS promises."""

import inspect

import pytest
import torch

from convscope.errors import UsageError
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS
from convscope.visualizations import VISUALIZATION_RECIPES, VISUALIZATIONS
from tests.contracts.traces import accidents, snapshot, with_accident

each_explanation = pytest.mark.parametrize(
    "explain", EXPLANATIONS.values(), ids=EXPLANATIONS.keys()
)
each_recipe = pytest.mark.parametrize("recipe", VISUALIZATION_RECIPES)

FAST = {"masks": 20, "num_samples": 2}


def run(explain, case, targets=None, **more):
    classifier, images, _ = case
    parameters = inspect.signature(explain).parameters
    chosen = {name: value for name, value in FAST.items() if name in parameters}
    if "generator" in parameters:
        chosen["generator"] = torch.Generator().manual_seed(3)
    return explain(classifier, images, targets, **(chosen | more))


@each_explanation
@pytest.mark.parametrize("kind", ["predicted", "one", "per image", "all"])
def test_one_map_per_image_and_target(explain, case, kind):
    _, _, labels = case
    targets = {"predicted": None, "one": 3, "per image": labels, "all": "all"}[kind]
    result = run(explain, case, targets)
    count = 5 if kind == "all" else 1
    assert result.maps.shape == (7, count, 6, 8)
    assert result.targets.shape == (7, count)
    assert result.maps.isfinite().all() and result.maps.dtype == torch.float32


@each_explanation
def test_all_classes_at_once_are_the_single_ones(explain, case):
    everything = run(explain, case, "all")
    for target in (0, 4):
        single = run(explain, case, target)
        assert torch.allclose(everything.maps[:, target], single.maps[:, 0], atol=1e-5)


@each_explanation
def test_inputs_are_not_written_to(explain, case):
    _, images, _ = case
    kept = images.clone()
    run(explain, case)
    assert torch.equal(images, kept) and not images.requires_grad and images.grad is None


@each_explanation
def test_same_seed_same_maps(explain, case):
    assert torch.equal(run(explain, case).maps, run(explain, case).maps)


@each_explanation
def test_one_image_does_not_depend_on_its_neighbors(explain, case):
    classifier, images, _ = case
    together = run(explain, case, 2).maps
    alone = run(explain, (classifier, images[3:4], None), 2).maps
    assert torch.allclose(together[3:4], alone, atol=1e-6)


@each_explanation
@pytest.mark.parametrize("targets", [5, -1, torch.tensor([1, 2])])
def test_targets_that_do_not_exist_are_refused(explain, case, targets):
    with pytest.raises(UsageError):
        run(explain, case, targets)


@each_explanation
@accidents
def test_leaves_no_trace(explain, case, accident):
    classifier, *_ = case
    before = snapshot(classifier.module)
    with_accident(classifier.module, accident, lambda: run(explain, case))
    assert snapshot(classifier.module) == before


@each_explanation
def test_counts_its_passes_and_names_itself(explain, case):
    result = run(explain, case)
    assert result.cost.forwards >= 7 and result.method and result.class_names == tuple("abcde")


@pytest.mark.parametrize(
    "method", [*EXPLANATIONS.values(), *VISUALIZATIONS.values(), *LAYER_VIEWS.values()]
)
def test_settings_are_keyword_only_and_documented(method):
    parameters = list(inspect.signature(method).parameters.values())
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters[3:])
    words = inspect.getdoc(method)
    assert "Example:" in words and "Args:" in words
    missing = [p.name for p in parameters if f"    {p.name}: " not in words]
    assert not missing, f"undocumented: {missing}"


def visualize(case, recipe, **more):
    from convscope.visualizations import class_images

    classifier, images, _ = case
    settings = (
        {"steps": 3}
        if "steps" in inspect.signature(VISUALIZATION_RECIPES[recipe]).parameters
        else {}
    )
    return class_images(
        classifier, recipe=VISUALIZATION_RECIPES[recipe](**settings), reference=images, **more
    )


@each_recipe
def test_recipes_give_images_in_the_box_and_a_history(recipe, case):
    _, images, _ = case
    result = visualize(case, recipe)
    assert result.images.shape == (5, *images.shape[1:])
    assert result.images.min() >= 0 and result.images.max() <= 1
    assert result.history.shape[1] == 5 and result.history.isfinite().all()


@each_recipe
def test_recipes_repeat_themselves(recipe, case):
    assert torch.equal(visualize(case, recipe).images, visualize(case, recipe).images)


@each_recipe
@accidents
def test_recipes_leave_no_trace(recipe, case, accident):
    classifier, *_ = case
    before = snapshot(classifier.module)
    with_accident(classifier.module, accident, lambda: visualize(case, recipe))
    assert snapshot(classifier.module) == before
