"""Which layers have maps, and which of them class activation maps look at by default.

A layer that will do has one row per image whose axes are channel, row and column in some order, or
tokens of which each has a place; a gradient of the logits reaches its places; and everything that
the logits know of the image passes through it, so that it is a sum and not one branch of it. By
default it is the last such layer, and only where no layer after it goes on with positions in a
form that could not be followed. The last block of a transformer with a class token hands on that
token alone: its other tokens get no gradient, and the block before it is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convscope._network.axes import Layout, Order, Seen, survey_axes
from convscope._network.execution import fingerprint, remember
from convscope._network.hooks import require_hooks
from convscope._network.runner import ClassifierLike, Runner, without_autocast
from convscope._network.snapshot import snapshot
from convscope._network.trial_run import in_worker_thread
from convscope.errors import ModelContractError

MOST_AFTER = 1 / 3
"""Share of the layers with weights and maps that may come after a default layer."""


@dataclass(frozen=True, kw_only=True)
class Maps:
    """What is known of the layers of one network.

    Attributes:
        default: Name of the layer that class activation maps look at, or empty.
        whole: Layers that would do: maps that everything passes through.
        branches: Layers with maps beside which information passes.
        layouts: What each call's axes are, by name with number.
        orders: How maps are made of the outputs that have any, by name with number.
        why_not: Why there is no default.
    """

    default: str
    whole: tuple[str, ...]
    branches: tuple[str, ...]
    layouts: Mapping[str, Layout]
    orders: Mapping[str, Order]
    why_not: str


def maps_of(classifier: ClassifierLike, runner: Runner, mine: dict[Any, Any]) -> Maps:
    """The maps of a classifier's network; looked at once for each structure.

    Args:
        classifier: Remembers what was found, if nothing in its network can change unseen.
        runner: Runs the copy that is looked at.
        mine: Remembers it otherwise.
    """
    held = snapshot(classifier)
    known = mine if held is None else classifier._executions
    key = ("maps", fingerprint(classifier.module), held)
    if key not in known:
        remember(known, key, _survey(classifier, runner))
    found: Maps = known[key]
    return found


def _survey(classifier: ClassifierLike, runner: Runner) -> Maps:
    """Look at every layer during two runs on random images, apart."""
    shape = (2, *classifier.input_shape)
    generator = torch.Generator(device="cpu").manual_seed(0)
    images = torch.rand(shape, generator=generator, device="cpu", dtype=torch.float32)

    def survey() -> Maps:
        with torch.inference_mode(False), torch.no_grad(), without_autocast(classifier.device):
            return _find_maps(
                runner.module,
                images,
                runner.prepare_default_layout,
                runner.run_with_hooks,
                lambda out: runner.to_logits(out, 2),
            )

    return in_worker_thread(survey)


def _find_maps(
    module: nn.Module,
    images: Tensor,
    prepare: Callable[[Tensor], Tensor],
    run: Callable[[Tensor], object],
    logits_of: Callable[[object], Tensor],
) -> Maps:
    """Look at every layer during two runs of `module`.

    Args:
        module: A private copy of the network.
        images: At least two images, pixels.
        prepare: From pixels to what the network takes.
        run: Runs `module`.
        logits_of: Picks the logits out of what it returns.
    """
    require_hooks(module)
    seen = survey_axes(module, images, prepare, run)
    total = Counter(call.path for call in seen)
    names = [call.path if total[call.path] == 1 else f"{call.path}#{call.number}" for call in seen]
    layouts = {name: call.layout for name, call in zip(names, seen, strict=True)}
    maps = [
        (name, call)
        for name, call in zip(names, seen, strict=True)
        if call.order is not None and call.order.rows * call.order.columns > 1
    ]
    state = _passing(module, prepare(images), [call for _, call in maps], run, logits_of)
    whole = [(name, call) for (name, call), s in zip(maps, state, strict=True) if s == "whole"]
    branches = [name for (name, _), s in zip(maps, state, strict=True) if s == "branch"]
    placed = {id(call) for _, call in maps}
    used = {id(call) for (_, call), s in zip(maps, state, strict=True) if s}
    default, why_not = "", "no layer has maps that the logits depend on"
    if whole:
        name, last = _representative(whole)
        after = seen[names.index(name) + 1 :]
        counts = {id(call) for call in seen if _works_on_places(call)} - (placed - used)
        weighted = [call for call in seen if id(call) in counts]
        later = [call for call in after if id(call) in counts]
        other = next((call for call in after if _goes_on(call, last)), None)
        if other is not None:
            why_not = f"after {name!r} the network goes on with {_form(other)} ({other.path!r})"
        elif len(later) > MOST_AFTER * len(weighted):
            why_not = f"after {name!r}, the last layer that all passes through, much is still done"
        else:
            default, why_not = name, ""
    elif branches:
        why_not = "no layer's output holds all of the picture: each is one branch of a sum"
    return Maps(
        default=default,
        whole=tuple(name for name, _ in whole),
        branches=tuple(branches),
        layouts=layouts,
        orders={name: call.order for name, call in zip(names, seen, strict=True)
                if call.order is not None},
        why_not=why_not,
    )  # fmt: skip


def default_layer(maps: Maps, labels: Mapping[str, str] | None = None) -> str:
    """The layer that class activation maps look at if nobody says which.

    Raises:
        ModelContractError: M15, with the layers that would do.
    """
    if maps.default:
        return maps.default
    names = [*maps.whole, *maps.branches]
    raise ModelContractError(
        f"no layer to look at by default: {maps.why_not}",
        code="M15",
        expected="a late layer of maps (channel, row, column) that everything passes through",
        hint=f"choose one with layer=: {_listed(names, labels)}"
        if names
        else "use a method that looks at pixels: saliency, integrated-gradients, occlusion, rise",
    )


def require_maps(maps: Maps, layer: str, labels: Mapping[str, str] | None = None) -> str:
    """Refuse a layer whose axes are known to be something else than maps.

    Returns:
        A remark: empty, or that the axes could not be followed.

    Raises:
        ModelContractError: M15.
    """
    name = _call_of(maps, layer)
    if name in maps.orders:
        return ""
    layout = maps.layouts.get(name, "unknown")
    if layout == "unknown":
        return "axes-unverified"
    raise ModelContractError(
        f"layer {(labels or {}).get(layer, layer)!r} has {_LAYOUTS.get(layout, layout)}",
        code="M15",
        expected="maps: (image, channel, row, column), or tokens of which each has a place",
        hint=f"layers that would do: {_listed([*maps.whole, *maps.branches], labels)}"
        if maps.whole or maps.branches
        else "use a method that looks at pixels: saliency, integrated-gradients, occlusion, rise",
    )


def order_of(maps: Maps, layer: str) -> Order | None:
    """How maps are made of a layer's output, if that is known."""
    return maps.orders.get(_call_of(maps, layer))


def _call_of(maps: Maps, layer: str) -> str:
    """A shared module by its plain name means its last call."""
    if layer in maps.layouts:
        return layer
    calls = [name for name in maps.layouts if name.rpartition("#")[0] == layer]
    return calls[-1] if calls else layer


_LAYOUTS = {
    "other": "outputs whose axes are not rows and columns of the image",
}


def _listed(names: Sequence[str], labels: Mapping[str, str] | None) -> str:
    names = [(labels or {}).get(name, name) for name in names]
    shown = names if len(names) <= 8 else ["...", *names[-7:]]
    return ", ".join(shown)


def _representative(whole: list[tuple[str, Seen]]) -> tuple[str, Seen]:
    """The last output, under the name of the layer that made it rather than its containers'."""
    last = whole[-1][1].tensor
    same = [(name, call) for name, call in whole if call.tensor == last]
    leaves = [(name, call) for name, call in same if call.leaf]
    return leaves[-1] if leaves else same[0]


def _works_on_places(call: Seen) -> bool:
    """A layer with weights and several places, in whatever form; a gate or a head has none."""
    if call.order is not None:
        return call.weighted and call.order.rows * call.order.columns > 1
    return call.weighted and sum(size > 1 for size in call.shape) >= 2


def _goes_on(call: Seen, last: Seen) -> bool:
    """Whether a later output still has positions, in a form that is not maps."""
    if call.tensor == last.tensor or call.order is not None or len(call.shape) < 2:
        return False
    if last.layout != "maps" and call.layout == "other":
        return False  # Heads and products of attention, each known to be no map.
    if call.layout == "unknown" and len(call.shape) == 3 and call.shape[1:] == last.shape[1:]:
        return False
    return sum(size > 1 for size in call.shape) >= 2


def _form(call: Seen) -> str:
    return f"outputs of shape {call.shape}"


def _passing(
    module: nn.Module,
    images: Tensor,
    calls: list[Seen],
    run: Callable[[Tensor], object],
    logits_of: Callable[[object], Tensor],
) -> list[str]:
    """For each call: ``"whole"``, ``"branch"``, or ``""`` if no gradient reaches its places."""
    wanted = {(call.path, call.number): call for call in calls}
    nodes: dict[tuple[str, int], Any] = {}
    outputs: dict[tuple[str, int], Tensor] = {}
    counts: Counter[str] = Counter()
    handles: list[Any] = []

    def listener(path: str) -> Callable[..., None]:
        def hook(child: nn.Module, inputs: object, output: object) -> None:
            key = (path, counts[path])
            counts[path] += 1
            if key in wanted and isinstance(output, Tensor) and output.grad_fn is not None:
                nodes[key] = output.grad_fn
                if wanted[key].layout == "tokens":
                    outputs[key] = output

        return hook

    modules = dict(module.named_modules())
    try:
        for path in dict.fromkeys(call.path for call in calls):
            handles.append(modules[path].register_forward_hook(listener(path)))
        with torch.enable_grad():
            start = images.detach().requires_grad_(True)
            logits = logits_of(run(start.clone()))
    finally:
        for handle in handles:
            handle.remove()
    if logits.grad_fn is None:
        return ["" for _ in calls]
    reached = _reachable(logits.grad_fn, None)
    without = _without_gradient(logits, outputs, wanted)
    found = []
    for call in calls:
        key = (call.path, call.number)
        node = nodes.get(key)
        if node is None or node not in reached or key in without:
            found.append("")
            continue
        around = _reachable(logits.grad_fn, node)
        passes = any(getattr(n, "variable", None) is start for n in around)
        found.append("branch" if passes else "whole")
    return found


def _without_gradient(
    logits: Tensor,
    outputs: Mapping[tuple[str, int], Tensor],
    calls: Mapping[tuple[str, int], Seen],
) -> set[tuple[str, int]]:
    """Token outputs of which only tokens without a place matter to the logits."""
    if not outputs:
        return set()
    generator = torch.Generator(device="cpu").manual_seed(0)
    weights = torch.randn(logits.shape, generator=generator, dtype=torch.float32, device="cpu")
    with torch.enable_grad():
        value = (logits.float() * weights.to(logits.device)).sum()
        gradients = torch.autograd.grad(
            value, list(outputs.values()), allow_unused=True, retain_graph=True
        )
    found = set()
    for key, gradient in zip(outputs, gradients, strict=True):
        order = calls[key].order
        if gradient is None or order is None:
            continue
        largest, placed = gradient.abs().amax(), order.maps(gradient).abs().amax()
        if largest > 0 and placed <= 1e-6 * largest:
            found.add(key)
    return found


def _reachable(root: Any, barrier: Any) -> set[Any]:
    """Nodes of the autograd graph behind `root` on ways that avoid `barrier`."""
    seen: set[Any] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if node is None or node in seen or node is barrier:
            continue
        seen.add(node)
        stack.extend(following for following, _ in node.next_functions)
    return seen
