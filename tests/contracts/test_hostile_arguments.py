"""Every argument of every public method, in every wrong and harmless spelling.

The answer is that of the plain spelling, or one error of the family that names the argument; never
a raw error, a warning, or another answer.
"""

import dataclasses
import inspect

import numpy as np
import pytest
import torch

from convscope import attacks, defenses, explanations, robustness, visualizations
from convscope.attacks import ATTACKS
from convscope.errors import ConvscopeError
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS
from convscope.probe import Cost
from convscope.visualizations import VISUALIZATIONS
from tests.conftest import make_case

FAST = {
    "steps": 2, "queries": 4, "restarts": 1, "search_steps": 1, "samples": 2, "classes": 2,
    "masks": 4, "draws": 2, "num_samples": 2, "tolerance": None, "most_steps": 4,
}  # fmt: skip


def public():
    """Every public function that works on a classifier, by name."""
    found = {**ATTACKS, **EXPLANATIONS, **LAYER_VIEWS, **VISUALIZATIONS}
    for package in (attacks, explanations, robustness, defenses, visualizations):
        for name in package.__all__:
            function = getattr(package, name)
            takes = (
                inspect.isfunction(function)
                and "classifier" in inspect.signature(function).parameters
            )
            if takes and function not in found.values() and name not in INTERNAL:
                found[f"{package.__name__.rpartition('.')[2]}.{name}"] = function
    return found


# Helpers of the command line, listed because other packages need them.
INTERNAL = {"total_images", "trust_passes", "passes_per_map", "judged_rows"}
# A whole evaluation per value: in the fast suite only what every function has.
LONG = {"robustness.evaluate", "explanations.trust", "auto-attack"}
EVERYWHERE = {"classifier", "images", "labels"}
METHODS = public()
LABELS = torch.tensor([0, 1])
CASE = make_case(1)
IMAGES = CASE[1][:2]


def given(method):
    """Arguments that work."""
    parameters = inspect.signature(method).parameters
    chosen = {name: value for name, value in FAST.items() if name in parameters}
    chosen["classifier"] = CASE[0]
    if "images" in parameters:
        chosen["images"] = IMAGES
    if "labels" in parameters:
        chosen["labels"] = LABELS
    if "targets" in parameters and parameters["targets"].default is inspect.Parameter.empty:
        chosen["targets"] = LABELS + 1
    if "toward" in parameters:
        chosen["toward"] = IMAGES.flip(0)
    if "units" in parameters:
        chosen["units"] = "5:0-1"
    if "recipe" in parameters:
        from convscope.visualizations import VISUALIZATION_RECIPES

        chosen["recipe"] = VISUALIZATION_RECIPES["zero-l2"](steps=2)
    if "epsilon" in parameters and parameters["epsilon"].default is inspect.Parameter.empty:
        chosen["epsilon"] = 0.1
    if "epsilons" in parameters:
        chosen["epsilons"] = [0.0, 0.1]
    if "methods" in parameters:
        chosen["masks"] = None
    if "effort" in parameters:
        chosen["effort"] = "quick"
    if "std" in parameters and parameters["std"].default is inspect.Parameter.empty:
        chosen |= {"std": 0.25, "draws": 20, "first_draws": 4}
    if "attack" in parameters:
        chosen |= {"attack": "fgsm"}
    for name, make in MADE.items():
        if name in parameters:
            chosen[name] = make()
    if "count" in parameters:
        chosen["count"] = 1
    if "control" in parameters:
        chosen["control"] = False
    return chosen


def attacked():
    return attacks.fgsm(CASE[0], IMAGES, LABELS, epsilon=0.1)


# What some functions need from another one.
MADE = {
    "result": attacked,
    "made": attacked,
    "noises": lambda: torch.zeros(1, 1, 6, 8),
    "defended": lambda: {"blur": defenses.blur(CASE[0], std=1.0)},
    "method": lambda: EXPLANATIONS["saliency"],
    "methods": lambda: {"saliency": EXPLANATIONS["saliency"]},
    "explanation": lambda: EXPLANATIONS["saliency"](CASE[0], IMAGES, 1),
}


def cases():
    for name, method in METHODS.items():
        for parameter in inspect.signature(method).parameters.values():
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                long = name == "robustness.evaluate" or (
                    name in LONG and parameter.name not in EVERYWHERE
                )
                yield pytest.param(
                    name, parameter.name, id=f"{name}-{parameter.name}",
                    marks=[pytest.mark.slow] if long else [],
                )  # fmt: skip


CASES = list(cases())

HOSTILE = {
    "text": "nonsense", "empty text": "", "fraction": "8/255", "bytes": b"8", "none": None,
    "true": True, "NaN": float("nan"), "infinity": float("inf"), "negative": -1, "huge": 10**30,
    "complex": 1 + 2j, "list": [1, 2], "ragged": [[1], [1, 2]], "empty list": [], "dict": {"a": 1},
    "object": object(), "class": int, "function": len, "array": np.array([0.5, 0.25]),
    "text array": np.array(["a", "b"]), "object array": np.array([object(), None]),
    "whole number": np.int64(1), "single": np.float32(0.5), "0-d": torch.tensor(0.5),
    "NaN tensor": torch.tensor([float("nan"), 0.5]), "double": torch.tensor([0.5, 0.5]).double(),
    "boolean": torch.tensor([True, False]), "complex tensor": torch.tensor([1j, 2j]),
    "sparse": torch.tensor([0.0, 0.5]).to_sparse(), "meta": torch.zeros(2, device="meta"),
    "grad": torch.tensor([0.5, 0.5], requires_grad=True), "empty": torch.zeros(0),
    "rank 5": torch.zeros(1, 1, 1, 1, 1), "bytes tensor": torch.tensor([1, 2], dtype=torch.uint8),
    "NaN images": torch.full((2, 1, 6, 8), float("nan")), "large images": IMAGES * 255,
    "byte images": (IMAGES * 255).byte(), "sparse images": IMAGES.to_sparse(),
    "meta images": IMAGES.to("meta"), "one image": IMAGES[0], "channels last": IMAGES.movedim(1, 3),
    "two channels": IMAGES.expand(-1, 2, -1, -1), "other size": torch.rand(2, 1, 7, 9),
}  # fmt: skip

# Wrong values of these are wrong for reasons that another argument's name explains as well; mosaics
# ask for images that the network classifies correctly.
ALIASES = {"images": ("images", "pixels", "image", "network"), "units": ("unit", "layer"),
           "classifier": ("classifier",), "layer": ("layer", "convolution"),
           "layers": ("layer",), "seen_map": ("seen_map", "no map")}  # fmt: skip


def in_parts(cases, count):
    """Each case with a part of the values; a different part of each is in the fast suite."""
    return [
        pytest.param(
            *case.values, part, id=f"{case.id}-{part}",
            marks=[*case.marks, *([] if place % count == part else [pytest.mark.slow])],
        )
        for place, case in enumerate(cases)
        for part in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "parameter", "part"), in_parts(CASES, 3))
def test_right_or_refused_by_name(name, parameter, part):
    method, wrong = METHODS[name], []
    takes_functions = parameter in FUNCTIONS
    for kind, value in list(HOSTILE.items())[part::3]:
        if takes_functions and callable(value):
            continue  # What somebody's own function does is theirs.
        try:
            method(**(given(method) | {parameter: value}))
        except ConvscopeError as error:
            words = f"{error}".lower()
            names = ALIASES.get(parameter, (parameter, parameter.replace("_", " ")))
            if not any(word in words for word in (*names, "classes correctly")):
                wrong.append(f"{kind}: does not name {parameter}: {error}")
        except Exception as error:
            wrong.append(f"{kind}: {type(error).__name__}: {str(error)[:150]}")
    assert not wrong, "\n" + "\n".join(wrong)


FUNCTIONS = ("transforms", "on_progress", "method")

HARMLESS = {
    "images": [IMAGES.numpy(), IMAGES.tolist(), list(IMAGES), IMAGES.clone().requires_grad_(True),
               IMAGES.to(memory_format=torch.channels_last), IMAGES.expand(2, 1, 6, 8)],
    "labels": [LABELS.numpy(), LABELS.tolist(), LABELS.int(), tuple(LABELS.tolist()),
               LABELS.to(torch.uint8)],
    "epsilon": [0.25, np.float32(0.25), np.float64(0.25), torch.tensor(0.25), [0.25, 0.25],
                np.array([0.25, 0.25]), torch.tensor([0.25, 0.25], requires_grad=True)],
    "steps": [2, np.int64(2), np.int32(2), torch.tensor(2)],
    "window": [4, np.int64(4), (4, 4), [4, 4]],
}  # fmt: skip


SPELLED = [
    case
    for case in CASES
    if case.values[1] in HARMLESS and case.values[0] not in (*LAYER_VIEWS, "explanations.mosaics")
]


@pytest.mark.parametrize(("name", "parameter", "part"), in_parts(SPELLED, 3))
def test_harmless_spellings_give_one_answer(name, parameter, part):
    method, answers = METHODS[name], []
    one = "Tensor" not in str(inspect.signature(method).parameters[parameter].annotation)
    plain, *others = [
        value
        for value in HARMLESS[parameter]
        if not (parameter == "epsilon" and one and np.ndim(value) > 0)
        and not (
            isinstance(value, torch.Tensor) and value.requires_grad and value.ndim == 1 and one
        )
    ]
    for value in (plain, *others[part::3]):
        answers.append(tensors(method(**(given(method) | {parameter: value}))))
    assert answers[0] and len(answers) > 1
    for answer in answers[1:]:
        assert all(
            torch.equal(a.nan_to_num(7), b.nan_to_num(7))
            for a, b in zip(answer, answers[0], strict=True)
        )


def tensors(found):
    """All that a result holds, except what it cost."""
    if isinstance(found, torch.Tensor):
        return [found.float()]
    if isinstance(found, (list, tuple)):
        return [x for part in found for x in tensors(part)]
    if dataclasses.is_dataclass(found) and not isinstance(found, Cost):
        names = [field.name for field in dataclasses.fields(found) if field.name != "seconds"]
        return [x for name in names for x in tensors(getattr(found, name))]
    return [torch.tensor(float(found))] if isinstance(found, (bool, int, float)) else []
