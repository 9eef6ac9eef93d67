"""The logits of every class on the way, while units inside a network are maximized."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_positive, check_steps
from convscope._random import source
from convscope._readable import readable
from convscope.ascent import Point, adam_step, ascend, box
from convscope.classifier import Classifier
from convscope.devices import resolve_device
from convscope.errors import UsageError
from convscope.probe import Cost
from convscope.visualizations._units import At, select_units


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class LogitTrajectory:
    """Units that are maximized, and what the logits do meanwhile.

    Attributes:
        images: ``(unit, channel, height, width)`` of the last step, pixels in [0, 1].
        units: Names, such as ``"pool2:3"``.
        layer: The layer that the units belong to.
        activations: ``(step + 1, unit)``, activation before each step and at the end.
        logits: ``(step + 1, unit, class)``, logits of the images at the same moments.
        class_names: One name per class.
        settings: Of the ascent.
        cost: Forwards, backwards, seconds.
    """

    images: Float[Tensor, "unit channel height width"]
    units: tuple[str, ...]
    layer: str
    activations: Float[Tensor, "step unit"]
    logits: Float[Tensor, "step unit class"]
    class_names: tuple[str, ...]
    settings: dict[str, float | int | str | bool]
    cost: Cost

    @property
    def change(self) -> Float[Tensor, "unit class"]:
        """Logits at the end minus logits at the start."""
        return self.logits[-1] - self.logits[0]


@checked
def logit_trajectory(
    classifier: Classifier,
    units: str,
    *,
    at: At = "mean",
    steps: int = 200,
    step_size: float = 0.05,
    pull: float = 0.0,
    mean: float = 0.5,
    std: float = 0.05,
    generator: Generator | None = None,
    device: str | torch.device = "cpu",
) -> LogitTrajectory:
    """Maximize units inside a network and record the logits of every class at each step.

    One image per unit starts from the same Gaussian noise; Adam raises the unit's activation,
    minus ``pull ||x||^2``, over images in [0, 1].

    Args:
        classifier: The classifier to look into.
        units: Layer and channels, such as ``"pool2:0-9"``.
        at: Where in a map: its ``"mean"``, its ``"center"`` neuron, or (row, column).
        steps: How many.
        step_size: Adam's, in pixel units.
        pull: Weight of the penalty on the pixels.
        mean: Of the first pixels.
        std: Standard deviation of the first pixels.
        generator: Source of the noise; by default one with seed 0.
        device: Where the images are optimized, and come out. The network may be elsewhere.

    Returns:
        Activations and logits of every step.

    Raises:
        ResourceError: T27, the device is not there.
        UnknownLayer: If there is no such layer.
        UsageError: U05 if a channel or position does not exist, U06 for a bad number.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.Flatten(),
        ...                           torch.nn.Linear(27, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 5, 5))
        >>> logit_trajectory(classifier, "0:0-1", steps=4).logits.shape
        torch.Size([5, 2, 2])

    Source:
        G. Pradeep, "Deep Learning for Computer Vision, Assignment 2: Convolutional Neural
        Networks", IIT Madras, undated. It does not tell step and start; these are ours.
    """
    chosen = select_units(classifier, units, at)
    size = check_positive("step_size", step_size)
    if not 0 <= pull < float("inf"):
        raise UsageError(f"pull must be at least 0 and finite, got {pull}", code="U06")
    shape = (1, *classifier.input_shape)
    noise = torch.randn(shape, generator=source(generator), dtype=torch.float32)
    start = (mean + check_positive("std", std) * noise).clamp(0, 1)
    start = start.expand(len(chosen.names), -1, -1, -1).to(resolve_device(device), copy=True)
    activations: list[Tensor] = []
    logits: list[Tensor] = []

    def objective(x: Tensor, outputs: Tensor, rows: Tensor) -> Tensor:
        own = chosen.own_activation(outputs, rows)
        return own - pull * x.square().flatten(1).sum(dim=1) if pull else own

    with classifier.probe() as probe:

        def observer(point: Point) -> None:
            whole = chosen.own_activation(point.samples, point.rows)
            activations.append(whole.detach().clone())
            stopped = chosen.stop_at is not None
            logits.append(probe.logits(point.x) if stopped else point.samples.detach().clone())

        found = ascend(
            start,
            probe,
            objective,
            step=adam_step(size),
            region=box(),
            steps=check_steps(steps),
            keep="last",
            stop_at=chosen.stop_at,
            observer=observer,
        )
        cost = probe.cost()
    return LogitTrajectory(
        images=found.images,
        units=chosen.names,
        layer=chosen.layer,
        activations=torch.stack(activations),
        logits=torch.stack(logits),
        class_names=classifier.class_names,
        settings={"at": str(at), "steps": steps, "step_size": step_size, "pull": pull},
        cost=cost,
    )
