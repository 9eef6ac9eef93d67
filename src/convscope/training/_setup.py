"""What a run begins with: the network, the engine that trains it, and its first state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.data import Dataset
from convscope.devices import resolve_device
from convscope.errors import UsageError
from convscope.training._batches import (
    Batches,
    Validation,
    balanced_weights,
    fitting_batch,
)
from convscope.training._checkpoints import (
    State,
)
from convscope.training._loop import Engine, resolve_precision
from convscope.training._network import Network, copied_network, fresh_network
from convscope.training._objective import build_objective
from convscope.training._process import World
from convscope.training._recipes import recipe
from convscope.training._settings import TrainSettings
from convscope.training._whitening import whiten


def network_and_settings(
    what: TrainSettings | Classifier | nn.Module,
    dataset: Dataset,
    settings: TrainSettings | None,
) -> tuple[Classifier | None, TrainSettings]:
    """The network to copy, if one was given, and the settings."""
    if isinstance(what, TrainSettings):
        if settings is not None:
            raise UsageError(
                "settings are given twice", code="U11", expected="train(settings, ...)"
            )
        return None, what
    if isinstance(what, nn.Module):
        what = Classifier.wrap(what, input_shape=dataset.input_shape)
    if not isinstance(what, Classifier):
        raise UsageError(
            f"cannot train a {type(what).__name__}",
            code="U12",
            expected="TrainSettings, a Classifier or a torch.nn.Module",
        )
    if settings is None:
        name = type(what.module).__name__
        settings = recipe(name, data=dataset.name, preset="finetune")
        size = fitting_batch(settings.batch_size, len(dataset.train))
        settings = replace(settings, batch_size=size)
    return what, settings


def network_for(
    base: Classifier | None, settings: TrainSettings, dataset: Dataset, *, spec: str = ""
) -> Network:
    """The network to train: a new one, or a copy of `base`."""
    if base is None:
        return fresh_network(settings, dataset)
    return copied_network(base, settings, dataset, spec=spec)


def engine_and_state(
    settings: TrainSettings,
    dataset: Dataset,
    network: Network,
    world: World,
    *,
    stop: Callable[[], bool],
    device: torch.device | None = None,
) -> tuple[Engine, State]:
    """What trains, and where it begins."""
    device = resolve_device(settings.device) if device is None else device
    normalize = network.normalize
    precision = resolve_precision(settings.precision, device)
    engine = Engine(
        settings=settings,
        batches=Batches(dataset.train, settings, world, device),
        normalize=normalize,
        validation=Validation(
            dataset.validation,
            normalize,
            seed=settings.seed,
            subset=settings.validation_images,
            device=device,
        ),
        precision=precision,
        device=device,
        world=world,
        stop=stop,
    )
    weights = (
        balanced_weights(dataset.train.labels, len(dataset.class_names)).to(device)
        if settings.class_weights == "balanced"
        else None
    )
    objective = build_objective(
        settings,
        normalize,
        steps_per_epoch=engine.batches.steps_per_epoch,
        world=world,
        class_weights=weights,
    )
    state = State.fresh(
        network.model,
        settings,
        objective,
        device=device,
        memory_format=network.memory_format,
        shares=network.shares,
        precision=precision,
    )
    return engine, state


def fill_whitening(network: Network, state: State, dataset: Dataset) -> None:
    """Compute the whitening convolution of training images, if the network begins with one."""
    if not network.whitening:
        return
    layer = state.model.get_submodule(network.whitening)
    assert isinstance(layer, nn.Conv2d)
    whiten(layer, dataset.train, network.normalize)
    if state.ema:
        state.ema.module.load_state_dict(state.model.state_dict())
