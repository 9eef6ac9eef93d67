"""The network of a run: a fresh one of the registry, or a copy of one that came with weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope._network.execution import may_crash_channels_last
from convscope._network.frozen_copy import FrozenCopy
from convscope.classifier import Classifier
from convscope.data import Dataset
from convscope.errors import ModelContractError, UsageError
from convscope.models import (
    MODELS,
    Origin,
    build,
    load,
    load_onto,
    origin_of,
    relabel,
    save_fine_tuned,
    save_model,
)
from convscope.training._batches import Normalize, stream
from convscope.training._layers import (
    AGREE,
    Head,
    Learner,
    draw_head,
    find_head,
    plan_training,
    reorder_head,
    trial_inputs,
    try_out,
)
from convscope.training._settings import TrainSettings

NEEDS_WEIGHTS = {
    "freeze": "",
    "norm_statistics": "batch",
    "head_init": "random",
    "body_lr": 1.0,
    "layer_decay": 1.0,
}
"""Settings for networks that come with weights, and their values for those that do not."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a run trains, and how it is kept.

    Attributes:
        model: Normalized images in, logits out; it belongs to the run.
        normalize: Pixels to its input.
        memory_format: In which order its numbers lie in memory.
        shares: By parameter, the share of the learning rate; 1 for those that are not named.
        head: The layers that make the logits, if they are known.
        fresh_head: Whether the head knows nothing yet.
        whitening: Name of the convolution that whitens the training images; empty: none.
        base: What it was copied from; ``None`` for a network of the registry.
        origin: What that was.
    """

    model: nn.Module
    normalize: Normalize
    memory_format: torch.memory_format = torch.channels_last
    shares: dict[str, float]
    head: Head | None = None
    fresh_head: bool = False
    whitening: str = ""
    base: Classifier | None = None
    origin: Origin | None = None

    def save(self, folder: Path, model: nn.Module, settings: TrainSettings, data: Dataset) -> None:
        """Write the classifier.

        Args:
            folder: Where; it exists.
            model: `model` of this network, or its moving average.
            settings: What was trained.
            data: On what.
        """
        source = (
            f"{settings.model} trained on {data.name} "
            f"(preset {settings.preset}, seed {settings.seed})"
        )
        module = model.network if isinstance(model, Learner) else model
        if self.base is None or (self.origin is not None and self.origin.kind == "registered"):
            save_model(
                folder,
                module=module,
                architecture=settings.model if self.origin is None else self.origin.name,
                class_names=data.class_names,
                input_shape=data.input_shape,
                mean=self.normalize.mean,
                std=self.normalize.std,
                source=source,
            )
            return
        assert self.origin is not None
        save_fine_tuned(
            folder,
            module=module,
            origin=self.origin,
            class_names=data.class_names,
            input_shape=data.input_shape,
            mean=self.base.mean,
            std=self.base.std,
            source=source,
        )

    def load(self, folder: Path) -> Classifier:
        """The classifier that `save` wrote into a run folder."""
        if self.origin is not None and self.origin.kind in ("memory", "named"):
            assert self.base is not None
            return load_onto(folder, self.base)
        return load(str(folder))


def fresh_network(settings: TrainSettings, data: Dataset) -> Network:
    """A network of the registry with parameters of its seed, and the data's mean and std.

    Raises:
        UsageError: T19, a setting is about weights that there are none of.
    """
    idle = [name for name, plain in NEEDS_WEIGHTS.items() if getattr(settings, name) != plain]
    if idle:
        raise UsageError(
            f"{' and '.join(idle)} would change nothing: {settings.model} begins without weights",
            code="T19",
            expected="a network that comes with weights: a run folder, hf:DIRECTORY, timm:NAME ...",
        )
    mean, std = data.mean_std()
    architecture = MODELS[settings.model]
    model = build(
        settings.model,
        num_classes=len(data.class_names),
        input_shape=data.input_shape,
        generator=stream(settings.seed, "weights"),
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(fnmatchcase(name, part) for part in architecture.frozen))
    return Network(
        model=model,
        # A channel without variation is only shifted.
        normalize=Normalize(mean, tuple(value or 1.0 for value in std)),
        shares={},
        whitening=architecture.whitening,
    )


def copied_network(
    classifier: Classifier, settings: TrainSettings, data: Dataset, *, spec: str = ""
) -> Network:
    """A private copy of a network, with a head for the classes of the data.

    Args:
        classifier: The network; it stays as it is.
        settings: What to freeze, how fast to train.
        data: The data.
        spec: The MODEL that it was loaded as, if it was.

    Raises:
        ModelContractError: T20, it cannot be trained, or has no head that can be replaced; M14,
            the images have another shape than it takes.
        UsageError: As `plan_training`.
    """
    _check(classifier, data)
    copied = FrozenCopy(classifier.module, (classifier.preprocess, classifier.output))
    network = copied.module.float()
    preprocess, output = copied.extras
    learner = Learner(
        network,
        output=output,
        probabilities=classifier.probabilities,
        classes=classifier.num_classes,
    ).eval()
    inputs = trial_inputs(classifier)
    trial = try_out(learner, inputs)
    head = find_head(learner, trial, inputs, what=classifier.source)
    origin = origin_of(classifier, spec)
    names = data.class_names
    fresh = set(names) != set(classifier.class_names)
    layers = [network.get_submodule(name) for name in head.names]
    if fresh:
        generator = stream(settings.seed, "weights")
        for layer in layers:
            draw_head(layer, len(names), generator)
        learner.classes = len(names)
        origin = replace(origin, heads=tuple(dict.fromkeys((*origin.heads, *head.names))))
    elif names != classifier.class_names:
        for layer in layers:
            reorder_head(layer, [classifier.class_names.index(name) for name in names])
    relabel(network, names)
    plan = plan_training(network, trial, head.names, settings)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in plan.trained)
    learner.held = [network.get_submodule(name) for name in plan.held]
    memory_format = _memory_format(learner, inputs)
    one = (1.0,) * classifier.input_shape[0]
    return Network(
        model=learner,
        normalize=Normalize(
            classifier.mean or tuple(0.0 for _ in one),
            classifier.std or one,
            preprocess,
            memory_format,
        ),
        memory_format=memory_format,
        shares={f"network.{name}": share for name, share in plan.shares.items()},
        head=head,
        fresh_head=fresh,
        base=classifier,
        origin=origin,
    )


def _check(classifier: Classifier, data: Dataset) -> None:
    module = classifier.module
    scripted = any(isinstance(m, torch.jit.ScriptModule) for m in nn.Module.modules(module))
    if scripted or not any(p.is_floating_point() for p in nn.Module.parameters(module)):
        raise ModelContractError(
            "the network is scripted" if scripted else "the network has no weights to train",
            code="T20",
            where=classifier.source,
            expected="a torch.nn.Module with parameters",
        )
    if data.input_shape != tuple(classifier.input_shape):
        shown, wanted = (
            "x".join(map(str, shape)) for shape in (data.input_shape, classifier.input_shape)
        )
        raise ModelContractError(
            f"the images of {data.name} are {shown}, the network takes {wanted}",
            code="M14",
            hint="open image files for it: open_dataset(..., input_shape=classifier.input_shape, "
            "resize=classifier.resize)",
        )


def _memory_format(learner: Learner, inputs: Tensor) -> torch.memory_format:
    """Channels last, if the network computes the same that way, forward and backward.

    Not tried where a convolution in groups has another number of channels behind it: the backward
    pass of timm's fastvit_t8, which has such, ends the process in torch 2.14 when it is run that
    way. Which operation does it is not known; such a convolution alone does not.
    """
    fast = torch.channels_last
    if may_crash_channels_last(learner):
        return torch.contiguous_format
    twin = FrozenCopy(learner).module
    try:
        twin.to(memory_format=fast)  # type: ignore[call-overload]
        with torch.no_grad():
            plain, other = learner(inputs), twin(inputs.contiguous(memory_format=fast))
        for parameter in twin.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        with torch.random.fork_rng(devices=[]):
            twin.train()
            labels = torch.zeros(len(inputs), dtype=torch.int64)
            logits = twin(inputs.contiguous(memory_format=fast))
            F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
    except RuntimeError:
        return torch.contiguous_format
    agree = (plain - other).abs().max() <= AGREE * plain.abs().max().clamp_min(1e-6)
    return fast if bool(agree) else torch.contiguous_format
