"""Is a network left exactly as found? Every method, four kinds of ending, counted.

Run: python benchmarks/leave_no_trace.py

Endings: the method returns; a target that does not exist; a layer raises at its second call;
KeyboardInterrupt in a layer. Compared before and after: values, versions and identities of weights
and buffers, gradients, requires_grad, per-module modes, hooks, and the global random state.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from record import record
from torch import Tensor, nn

from convscope.attacks import ATTACKS
from convscope.classifier import Classifier
from convscope.errors import ConvscopeError
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS
from convscope.models import build
from convscope.visualizations import VISUALIZATION_RECIPES, class_images, neuron_images

FAST = {"steps": 3, "queries": 6, "restarts": 1, "search_steps": 1, "masks": 20, "draws": 2}
ENDINGS = ("returns", "bad target", "layer raises", "ctrl-c")


def digest(tensor: Tensor) -> str:
    """SHA-256 of the bytes."""
    return hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()


def picture(module: nn.Module) -> dict[str, Any]:
    """Everything about a network that a method could change."""
    return {
        "weights": [(n, id(p), p._version, digest(p)) for n, p in module.named_parameters()],
        "buffers": [(n, id(b), b._version, digest(b)) for n, b in module.named_buffers()],
        "requires_grad": [p.requires_grad for p in module.parameters()],
        "gradients": [p.grad is not None and digest(p.grad) for p in module.parameters()],
        "modes": [m.training for m in module.modules()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in module.modules()
        ],
        "random state": digest(torch.get_rng_state()),
    }


def found_network() -> Classifier:
    """A network in the middle of someone's training: mixed modes, flags and gradients."""
    torch.manual_seed(0)
    module = build("mnist-conv2-fc-bn", generator=torch.Generator().manual_seed(0))
    module.train()
    module.get_submodule("bn1").eval()
    module.get_submodule("conv1").weight.requires_grad_(False)
    bias = module.get_submodule("fc2").bias
    bias.grad = torch.ones_like(bias)
    names = tuple(str(i) for i in range(10))
    return Classifier(module=module, class_names=names, input_shape=(1, 28, 28))


def settings_of(method: Callable[..., Any]) -> dict[str, Any]:
    """Few steps, and a generator where there is one."""
    names = inspect.signature(method).parameters
    chosen: dict[str, Any] = {k: v for k, v in FAST.items() if k in names}
    if "generator" in names:
        chosen["generator"] = torch.Generator().manual_seed(0)
    return chosen


def methods(images: Tensor, labels: Tensor) -> dict[str, Callable[[Classifier, bool], Any]]:
    """Every registry entry as ``run(classifier, with a bad target)``."""
    found: dict[str, Callable[[Classifier, bool], Any]] = {}

    def attack(method: Callable[..., Any]) -> Callable[[Classifier, bool], Any]:
        names = inspect.signature(method).parameters
        chosen = settings_of(method)
        if "targets" in names and names["targets"].default is inspect.Parameter.empty:
            chosen["targets"] = (labels + 1) % 10
        if "toward" in names:
            chosen["toward"] = images.flip(0)
        return lambda c, bad: method(c, images, labels + (10 if bad else 0), **chosen)

    def explanation(method: Callable[..., Any]) -> Callable[[Classifier, bool], Any]:
        chosen = settings_of(method)
        return lambda c, bad: method(c, images, 10 if bad else 3, **chosen)

    def recipe(name: str) -> Callable[[Classifier, bool], Any]:
        made = VISUALIZATION_RECIPES[name](**settings_of(VISUALIZATION_RECIPES[name]))
        return lambda c, bad: class_images(c, [10 if bad else 3], recipe=made, reference=images)

    for name, method in ATTACKS.items():
        found[f"attack {name}"] = attack(method)
    for name, method in EXPLANATIONS.items():
        found[f"explanation {name}"] = explanation(method)
    for name in VISUALIZATION_RECIPES:
        found[f"class images {name}"] = recipe(name)
    made = VISUALIZATION_RECIPES["l2-blur"](steps=3)
    found["neuron images"] = lambda c, bad: neuron_images(
        c, "pool2:99" if bad else "pool2:0-3", recipe=made
    )
    views = {name: view for name, view in LAYER_VIEWS.items()
             if not LAYER_VIEWS.spec(name).needs_attention}  # fmt: skip
    for name, view in views.items():
        arguments = () if name == "filters" else (images,)
        found[name] = lambda c, bad, v=view, a=arguments: v(
            c, *a, **({"layers": ["nowhere"]} if bad and a else {"layer": "nowhere"} if bad else {})
        )
    return found


def ending(run: Callable[[Classifier, bool], Any], kind: str) -> tuple[list[str], bool]:
    """What changed, and whether the ending came about."""
    classifier = found_network()
    module = classifier.module
    calls: list[int] = []

    def fail(*_: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("a layer") if kind == "layer raises" else KeyboardInterrupt

    handle = None
    if kind in ("layer raises", "ctrl-c"):
        handle = module.get_submodule("relu2").register_forward_hook(fail)
    before = picture(module)
    happened = kind == "returns"
    try:
        run(classifier, kind == "bad target")
    except (RuntimeError, KeyboardInterrupt, ConvscopeError):
        happened = kind != "returns"
    after = picture(module)
    if handle is not None:
        handle.remove()
    return [key for key in before if before[key] != after[key]], happened


def main() -> None:
    """Count."""
    torch.set_num_threads(1)
    images = torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(40) % 10
    changes, cases, silent = [], 0, []
    every = methods(images, labels)
    for name, run in every.items():
        for kind in ENDINGS:
            changed, happened = ending(run, kind)
            cases += 1
            changes += [f"{name}, {kind}: {what}" for what in changed]
            if not happened:
                silent.append(f"{name}, {kind}")
    figures = {
        "methods": len(every),
        "endings": len(ENDINGS),
        "cases": cases,
        "kinds of change looked for": len(picture(found_network().module)),
        "changes": len(changes),
        "what changed": changes,
        "endings that a method does not have": silent,
    }
    record("leave_no_trace", figures, threads=1, images=len(images))


if __name__ == "__main__":
    main()
