"""The layers of a network that came with weights: their order, the head, what is frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from convscope._network.outputs import read_logits
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UsageError, choose
from convscope.models import new_head
from convscope.training._settings import BODY, TrainSettings

TRIAL_IMAGES = 2
AGREE = 1e-4
"""Largest relative difference between logits that are meant to be the same."""


class Learner(nn.Module):
    """A network in training: normalized images in, logits out.

    Frozen layers stay in evaluation mode whatever mode the whole is put into.

    Args:
        network: The network, which belongs to the learner.
        output: Picks the logits out of what it returns.
        probabilities: Whether it ends in a softmax; logarithms are then taken.
        classes: How many logits there are.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        output: Callable[[object], Tensor] | None,
        probabilities: bool,
        classes: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.output, self.probabilities, self.classes = output, probabilities, classes
        self.held: list[nn.Module] = []

    def forward(self, inputs: Tensor) -> Tensor:
        """``(batch, class)`` logits of ``(batch, channel, height, width)`` normalized images."""
        returned = self.network(inputs)
        if self.output is None and isinstance(returned, tuple) and hasattr(returned, "logits"):
            # Networks with auxiliary heads return these too, but in training mode only.
            returned = returned.logits
        return read_logits(returned, self.output, len(inputs), self.classes, self.probabilities)

    def train(self, mode: bool = True) -> Learner:
        """Training mode for all layers that are not frozen."""
        super().train(mode)
        for layer in self.held:
            layer.training = False
        return self


@dataclass(frozen=True)
class Trial:
    """What running a network once has shown.

    Attributes:
        order: Names of the modules by their first call, a container before what is in it.
        calls: How often each was called.
        logits: ``(2, class)``.
        outputs: By name, what each module that was called once returned, if that is a tensor.
    """

    order: tuple[str, ...]
    calls: dict[str, int]
    logits: Tensor
    outputs: dict[str, Tensor]


@torch.no_grad()
def try_out(learner: Learner, inputs: Tensor) -> Trial:
    """Run a network in evaluation mode and note which module is called when."""
    calls: dict[str, int] = {}
    outputs: dict[str, Tensor] = {}

    def before(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            calls[name] = calls.get(name, 0) + 1

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: object, returned: object) -> None:
            if isinstance(returned, Tensor):
                # A copy: what comes after may work in place.
                outputs[name] = returned.clone()

        return hook

    handles = []
    with _evaluating(learner):
        try:
            for name, module in learner.network.named_modules():
                handles.append(module.register_forward_pre_hook(before(name)))
                if _could_be_head(module, learner.classes):
                    handles.append(module.register_forward_hook(after(name)))
            logits = learner(inputs.clone()).float()
        finally:
            for handle in handles:
                handle.remove()
    once = {name: value for name, value in outputs.items() if calls[name] == 1}
    return Trial(tuple(calls), calls, logits, once)


@contextmanager
def _evaluating(learner: Learner) -> Iterator[None]:
    mode = learner.training
    learner.eval()
    try:
        yield
    finally:
        learner.train(mode)


def _could_be_head(module: nn.Module, classes: int) -> bool:
    if isinstance(module, nn.Linear):
        rows = module.out_features
    elif isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
        rows = module.out_channels
    else:
        return False
    return rows == classes and isinstance(module._parameters.get("weight"), Tensor)


@dataclass(frozen=True)
class Head:
    """The layers that make the logits.

    Attributes:
        names: One layer, or several whose logits are averaged.
        is_last: Whether the logits are exactly what the one layer returns.
    """

    names: tuple[str, ...]
    is_last: bool


def find_head(learner: Learner, trial: Trial, inputs: Tensor, *, what: str) -> Head:
    """The last dense layer or 1x1 convolution, proven to make the logits.

    Proven means: it has a row of weights per class, runs once, and with its rows in another order
    the logits come in that order and are the same otherwise.

    Args:
        learner: The network; its weights are as they were on return.
        trial: What `try_out` found for `inputs`.
        inputs: ``(2, channel, height, width)`` normalized images.
        what: The network, for the error text.

    Raises:
        ModelContractError: T20, no such layer.
    """
    modules = dict(learner.network.named_modules())
    candidates = [name for name in trial.order if name in trial.outputs]
    for names in filter(None, dict.fromkeys((tuple(candidates[-1:]), tuple(candidates)))):
        layers = [modules[name] for name in names]
        if not _makes_the_logits(learner, layers, inputs):
            continue
        output = trial.outputs[names[-1]].flatten(1).float()
        is_last = len(names) == 1 and torch.equal(output, trial.logits)
        return Head(names, is_last)
    raise ModelContractError(
        f"no dense layer or 1x1 convolution makes the {learner.classes:,} logits",
        code="T20",
        where=what,
        expected="a network that ends in one layer with a row of weights per class",
        hint="give it a head for your classes in a function of your own: "
        "package.module:factory, or train(module, ...)",
    )


@torch.no_grad()
def _makes_the_logits(learner: Learner, layers: list[nn.Module], inputs: Tensor) -> bool:
    kept = [{name: p.clone() for name, p in layer._parameters.items() if p is not None}
            for layer in layers]  # fmt: skip
    turned = torch.arange(learner.classes).roll(1)
    try:
        with _evaluating(learner):
            for layer in layers:
                _redraw(layer, Generator().manual_seed(0))
            straight = learner(inputs.clone()).float()
            for layer in layers:
                for parameter in layer._parameters.values():
                    if parameter is not None:
                        parameter.copy_(parameter[turned])
            other = learner(inputs.clone()).float()
    finally:
        for layer, tensors in zip(layers, kept, strict=True):
            for name, value in tensors.items():
                layer._parameters[name].copy_(value)  # type: ignore[union-attr]
    scale = straight.abs().max()
    varies = bool((straight - straight[:, turned]).abs().max() > 10 * AGREE * scale)
    return varies and bool((straight[:, turned] - other).abs().max() <= AGREE * scale)


@torch.no_grad()
def _redraw(layer: nn.Module, generator: Generator) -> None:
    """Torch's own initialization of a dense layer or convolution, from `generator`."""
    weight, bias = layer._parameters["weight"], layer._parameters.get("bias")
    assert weight is not None
    bound = weight[0].numel() ** -0.5
    for parameter in (weight, bias):
        if parameter is not None:
            drawn = torch.rand(parameter.shape, generator=generator)
            parameter.copy_(bound * (2 * drawn - 1))


def draw_head(layer: nn.Module, classes: int, generator: Generator) -> None:
    """Give a layer fresh weights for `classes` classes; the layer object, its hooks too, stays.

    Args:
        layer: A dense layer or 1x1 convolution.
        classes: Rows of its new weights.
        generator: Where they come from.

    Example:
        >>> layer = nn.Linear(4, 10)
        >>> draw_head(layer, 3, torch.Generator().manual_seed(0))
        >>> layer
        Linear(in_features=4, out_features=3, bias=True)
    """
    new_head(layer, classes)
    _redraw(layer, generator)


@torch.no_grad()
def reorder_head(layer: nn.Module, rows: list[int]) -> None:
    """Put the classes of a head into another order."""
    for parameter in layer._parameters.values():
        if parameter is not None:
            parameter.copy_(parameter[rows])


@dataclass(frozen=True)
class Plan:
    """What is trained, how fast, and what stays in evaluation mode.

    Attributes:
        trained: Names of the parameters that are updated.
        shares: Their shares of the learning rate.
        held: Names of the modules that run as in evaluation.
    """

    trained: frozenset[str]
    shares: dict[str, float]
    held: tuple[str, ...]


def plan_training(
    network: nn.Module, trial: Trial, heads: tuple[str, ...], settings: TrainSettings
) -> Plan:
    """What `freeze`, `norm_statistics`, `body_lr` and `layer_decay` mean for a network.

    Args:
        network: The network.
        trial: The order in which its layers run.
        heads: Its head.
        settings: The settings.

    Raises:
        UsageError: U01 for a layer that there is not; T19 if nothing is left to train.
    """
    place = {name: number for number, name in enumerate(trial.order)}
    modules = dict(network.named_modules())
    parameters = {n: p for n, p in network.named_parameters() if p.is_floating_point()}
    at = {name: place[_called(name.rpartition(".")[0], place)] for name in parameters}
    of_head = {name for name in parameters if name.rpartition(".")[0] in heads}
    held: set[str] = set()
    frozen: set[str] = set()
    if settings.freeze == BODY:
        frozen = set(parameters) - of_head
        held = {name for name in modules if not any(_within(head, name) for head in heads)}
    elif settings.freeze:
        last = _last_place(settings.freeze, modules, place)
        frozen = {name for name in parameters if at[name] <= last}
        ends = {
            name: max((place[inner] for inner in place if _within(inner, name)), default=-1)
            for name in modules
        }
        held = {name for name, end in ends.items() if end <= last}
    if settings.norm_statistics == "frozen":
        held |= {name for name, m in modules.items() if m._buffers.get("running_mean") is not None}
    trained = set(parameters) - frozen
    if not trained:
        raise UsageError(
            f"freeze is {settings.freeze!r}: nothing is left to train",
            code="T19",
            expected="a layer before the head",
        )
    weighted = sorted(
        place[name]
        for name, module in modules.items()
        if name in place and any(p is not None and p.ndim >= 2 for p in module._parameters.values())
    )
    shares = {}
    for name in trained - of_head:
        after = sum(position > at[name] for position in weighted)
        shares[name] = settings.body_lr * settings.layer_decay**after
    return Plan(frozenset(trained), shares, tuple(sorted(held)))


def _called(name: str, place: dict[str, int]) -> str:
    """The module `name`, or the closest one around it that was called."""
    while name not in place:
        name = name.rpartition(".")[0]
    return name


def _within(name: str, container: str) -> bool:
    return not container or name == container or name.startswith(f"{container}.")


def _last_place(layer: str, modules: dict[str, nn.Module], place: dict[str, int]) -> int:
    choose("layer", layer, [name for name in modules if name])
    places = [number for name, number in place.items() if _within(name, layer)]
    if not places:
        raise UsageError(
            f"layer {layer!r} is not run for an image", code="U01", expected="a layer that is run"
        )
    return max(places)


def trial_inputs(classifier: Classifier) -> Tensor:
    """Two images of noise, as the network takes them."""
    generator = Generator().manual_seed(0)
    shape = (TRIAL_IMAGES, *classifier.input_shape)
    return classifier.prepare(torch.rand(shape, generator=generator)).float()
