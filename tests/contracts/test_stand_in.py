"""Every method runs with the network, and with the images too, on another device than the CPU.

Without a GPU the other device is torch's lazy one: a tensor that is made in the wrong place is an
error there, as it is on CUDA. Results are those of the CPU.
"""

import inspect
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from convscope import robustness, training
from convscope.attacks import ATTACKS, SHARED, TRANSFORMS
from convscope.classifier import Classifier
from convscope.data import Split
from convscope.defenses import DEFENSES
from convscope.explanations import (
    EXPLANATIONS,
    LAYER_VIEWS,
    deletion_insertion,
    localization,
    trust,
)
from convscope.figures import draw
from convscope.results import load, save
from convscope.visualizations import (
    VISUALIZATION_RECIPES,
    class_images,
    logit_trajectory,
    neuron_images,
)
from tests.stand_in import OneDevice, stand_in, what_the_stand_in_lacks

FAST = {
    "steps": 3,
    "queries": 6,
    "search_steps": 2,
    "samples": 2,
    "masks": 8,
    "draws": 3,
    "num_samples": 3,
    "restarts": 2,
}


@pytest.fixture(params=["network", pytest.param("images too", marks=pytest.mark.slow)])
def there(request):
    """What is on the device: the network alone, as in the commands, or images as well."""
    return request.param == "images too"


def classifier_on(place):
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(48, 5),
    )  # fmt: skip
    numbers = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=numbers) / 2
    return Classifier.wrap(
        module.to(place), input_shape=(1, 6, 8), class_names=tuple("abcde"), mean=(0.4,), std=(0.3,)
    )


def images():
    return torch.rand(7, 1, 6, 8, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 5


def settings(method, labels, **more):
    parameters = inspect.signature(method).parameters
    chosen = {k: v for k, v in FAST.items() if k in parameters} | more
    if "targets" in parameters and parameters["targets"].default is inspect.Parameter.empty:
        chosen["targets"] = (labels + 1) % 5
    if "layer" in parameters:  # Axes are not followed on a device without memory.
        chosen["layer"] = "0"
    return chosen


def tensors(value, path=""):
    """Every tensor in a result, by its place."""
    if isinstance(value, Tensor):
        return {path: value}
    if is_dataclass(value):
        value = {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, tuple | list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {}
    return {k: v for key, item in value.items() for k, v in tensors(item, f"{path}/{key}").items()}


def compared(run, device, there):
    """The result on the device; it has to be that of the CPU, and where its images are."""
    x, labels = images()
    expected = tensors(run(classifier_on("cpu"), x, labels))
    with OneDevice(), what_the_stand_in_lacks():
        if there:
            x, labels = x.to(device), labels.to(device)
        result = run(classifier_on(device), x, labels)
    found = tensors(result)
    assert found.keys() == expected.keys() and found
    for name, value in found.items():
        allowed = {"cpu", device.type if there else "cpu"}
        assert value.device.type in allowed, f"{name} is on {value.device}"
        if device.type == "cuda" and not name.endswith(("maps", "logits", "images")):
            continue  # Where a sign decides, rounding in another order makes another image.
        mine, other = value.cpu(), expected[name]
        assert mine.dtype == other.dtype, name
        assert torch.allclose(mine.double(), other.double(), atol=1e-4, equal_nan=True), name
    return result


def test_the_stand_in_refuses_what_a_gpu_refuses():
    here, far = torch.ones(3), torch.ones(3, device=stand_in())
    for mixed in (
        lambda: here + far,
        lambda: torch.cat([far, here]),
        lambda: torch.where(far > 0, far, here),
        lambda: here[torch.tensor([0, 2]).to(far.device)],
        lambda: here.masked_fill(far > 0, 0.0),
        far.numpy,
    ):
        with OneDevice(), pytest.raises((AssertionError, RuntimeError, TypeError)):
            mixed()
    with OneDevice():
        assert (far[torch.tensor([0, 2])] * torch.tensor(2.0)).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(name, device, there):
    attack = ATTACKS[name]
    compared(lambda c, x, labels: attack(c, x, labels, **settings(attack, labels)), device, there)


@pytest.mark.parametrize("name", SHARED)
def test_attacks_whose_perturbation_is_shared(name, device, there):
    attack = SHARED[name]
    compared(lambda c, x, labels: attack(c, x, labels, **settings(attack, labels)), device, there)


@pytest.mark.parametrize("view", TRANSFORMS)
def test_attacks_through_transforms(view, device, there):
    compared(
        lambda c, x, labels: ATTACKS["pgd"](
            c, x, labels, steps=2, transforms=TRANSFORMS[view], eot_samples=2
        ),
        device,
        there,
    )


@pytest.mark.parametrize("targets", ["predicted", "per image", "all"])
@pytest.mark.parametrize("name", EXPLANATIONS)
def test_explanations(name, targets, device, there):
    explain = EXPLANATIONS[name]

    def run(c, x, labels):
        asked = {"predicted": None, "per image": labels, "all": "all"}[targets]
        return explain(c, x, asked, **settings(explain, labels))

    compared(run, device, there)


@pytest.mark.parametrize("name", LAYER_VIEWS)
def test_views_of_layers(name, device, there):
    view = LAYER_VIEWS[name]
    parameters = list(inspect.signature(view).parameters)

    def run(c, x, labels):
        given = (x,) if parameters[1:2] == ["images"] else ()
        return view(c, *given, **settings(view, labels))

    if name != "filters":
        pytest.skip("needs the axes of layers, which are not followed on the stand-in")
    compared(run, device, there)


@pytest.mark.parametrize("name", VISUALIZATION_RECIPES)
def test_recipes(name, device, there):
    def run(c, x, labels):
        recipe = VISUALIZATION_RECIPES[name](steps=3)
        return class_images(c, [0, 3], recipe=recipe, reference=x, evaluator=c, device=x.device)

    compared(run, device, there)


def test_images_of_units_and_what_the_logits_do_meanwhile(device, there):
    compared(
        lambda c, x, labels: neuron_images(
            c, "2:0-3", recipe=VISUALIZATION_RECIPES["l2-blur"](steps=3), device=x.device
        ),
        device,
        there,
    )
    compared(
        lambda c, x, labels: logit_trajectory(c, "2:0-1", steps=3, device=x.device), device, there
    )


JUDGED = {
    "evaluate": lambda c, x, labels: robustness.evaluate(
        c, x, labels, epsilon=0.2, effort="quick"
    ),
    "curve": lambda c, x, labels: robustness.curve(
        c, x, labels, attack="square", epsilons=[0.1, 0.3], queries=5
    ),
    "bisected curve": lambda c, x, labels: robustness.curve(
        c, x, labels, attack="fgsm", epsilons=[0.1, 0.3]
    ),
    "certify": lambda c, x, labels: robustness.certify(c, x, labels, std=0.2, draws=20),
    "transformation_robustness": lambda c, x, labels: robustness.transformation_robustness(
        c, ATTACKS["fgsm"](c, x, labels, epsilon=0.3), transformations={"turned": torch.fliplr}
    ),
    "noise_transfer": lambda c, x, labels: robustness.noise_transfer(
        c, x, labels, made=ATTACKS["fgsm"](c, x, labels, epsilon=0.3)
    ),
    "model_transfer": lambda c, x, labels: robustness.model_transfer(
        {"a": c, "b": c}, x, labels, attack="square", queries=5
    ),
    "survival": lambda c, x, labels: robustness.survival(
        c, x, labels, targets=(labels + 1) % 5, steps=2, eot_samples=2
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", JUDGED)
def test_judging(name, device, there):
    compared(JUDGED[name], device, there)


@pytest.mark.parametrize("name", DEFENSES)
def test_defenses(name, device, there):
    compared(lambda c, x, labels: DEFENSES[name](c).predict(x), device, there)


def test_tests_of_explanations(device, there):
    def run(c, x, labels):
        maps = EXPLANATIONS["saliency"](c, x)
        masks = (x > 0.5).float()
        return (
            deletion_insertion(c, maps),
            localization(maps, masks[:, 0].bool()),
            [replace(row, seconds=0.0) for row in trust(
                c, x, labels, {"saliency": EXPLANATIONS["saliency"]}).rows],
        )  # fmt: skip

    compared(run, device, there)


def test_predictions_and_evaluation(device, there):
    compared(lambda c, x, labels: c.predict(x, top=2), device, there)
    x, labels = images()
    split = Split(name="test", images=(x * 255).byte(), labels=labels)
    with OneDevice():
        found = training.evaluate(classifier_on(device), split, sample=3)
    expected = training.evaluate(classifier_on("cpu"), split, sample=3)
    assert found.accuracy == expected.accuracy and found.confusion.device.type == "cpu"


RESULTS = {
    "Predictions": lambda c, x, labels: c.predict(x, top=2),
    "AttackResult": lambda c, x, labels: ATTACKS["fgsm"](c, x, labels, epsilon=0.3),
    "UniversalPerturbation": lambda c, x, labels: SHARED["uap"](
        c, x, labels, **settings(SHARED["uap"], labels)
    ),
    "AdversarialPatch": lambda c, x, labels: SHARED["adversarial-patch"](
        c, x, labels, **settings(SHARED["adversarial-patch"], labels)
    ),
    "Explanation": lambda c, x, labels: EXPLANATIONS["occlusion"](c, x, labels),
    "Visualization": lambda c, x, labels: class_images(
        c, [0, 3], recipe=VISUALIZATION_RECIPES["pca"](steps=2), reference=x
    ),
    "LogitTrajectory": lambda c, x, labels: logit_trajectory(c, "2:0", steps=2, device=x.device),
    "RobustnessEvaluation": JUDGED["evaluate"],
    "RobustnessCurve": JUDGED["curve"],
    "Certification": JUDGED["certify"],
    "TransformationRobustness": JUDGED["transformation_robustness"],
    "NoiseTransfer": JUDGED["noise_transfer"],
    "Survival": JUDGED["survival"],
}  # fmt: skip


@pytest.mark.parametrize("name", RESULTS)
def test_figures_and_files_are_made_of_results_wherever_these_are(name, device, tmp_path):
    x, labels = images()
    with OneDevice(), what_the_stand_in_lacks():
        result = RESULTS[name](classifier_on(device), x.to(device), labels.to(device))
    assert type(result).__name__ == name
    draw(result)
    save(result, tmp_path / "result")
    again = tensors(load(type(result), tmp_path / "result"))
    assert {value.device.type for value in again.values()} == {"cpu"}


SEEN = []


def note_the_setting(module, inputs, output):
    SEEN.append(torch.backends.cudnn.allow_tf32)


def test_a_probe_runs_in_whole_float32(device):
    """TF32, which torch has on for whoever does not ask, rounds to ten bits; it comes back."""
    before = torch.backends.cudnn.allow_tf32
    classifier = classifier_on(device)
    classifier.module[0].register_forward_hook(note_the_setting)
    SEEN.clear()
    classifier.predict(images()[0])
    assert SEEN and not any(SEEN) and torch.backends.cudnn.allow_tf32 is before
