"""Gradient-sign attacks: FGSM, BIM, PGD, MI-FGSM."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._inputs import check_count, check_norm, check_positive, check_radius, check_steps
from convscope._random import source
from convscope.ascent import l2_step, momentum_step, sign_step
from convscope.attacks._base import Expectation, Task, attack_by_ascent, of_rows
from convscope.attacks._blocks import in_turns, streamed
from convscope.attacks._criteria import direction_of, objective_of
from convscope.attacks._result import AttackResult
from convscope.attacks._transforms import RandomTransform
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.flags import Flag
from convscope.types import Images, Keep, Labels, Norm, ObjectiveName


@checked
@streamed
def pgd(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    epsilon: float | Tensor = 8 / 255,
    norm: Norm = "linf",
    steps: int = 40,
    step_size: float | Tensor | None = None,
    random_start: bool = False,
    restarts: int = 1,
    objective: ObjectiveName = "cross-entropy",
    keep: Keep = "first",
    momentum: float = 0.0,
    transforms: RandomTransform | None = None,
    eot_samples: int = 8,
    generator: Generator | None = None,
) -> AttackResult:
    """Projected gradient ascent on the loss within the epsilon-ball around each image.

    Repeats ``x <- project(x + step_size * direction(gradient))``: for ``"linf"`` the direction is
    the gradient's sign, for ``"l2"`` the unit gradient. Pixels stay in [0, 1]. A row leaves as
    soon as it is adversarial. Cross-entropy is climbed by way of the log-odds, which lead the
    same way and do not saturate. Rows whose gradient is exactly zero nevertheless follow the
    margin, and are counted.

    Args:
        classifier: The network to fool; it is left as it was.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        epsilon: Radius in pixel units, one or one per image; 8/255 is eight gray levels.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.
        steps: Number of steps; 0 only looks at the start.
        step_size: Distance per step in pixel units, one or one per image. By default
            ``2.5 * epsilon / steps``: enough to reach the border and to turn back.
        random_start: Begin at a random point of the ball: the same offset for every image, so
            that no result depends on the neighbors.
        restarts: Starts; all but the first from random points, each for rows not yet adversarial.
        objective: ``"cross-entropy"``, ``"margin"``, ``"dlr"``, ``"logit"`` or ``"probability"``.
        keep: ``"first"``: the first adversarial point, cheapest; ``"best"``: take every step and
            keep the point of the highest objective.
        momentum: Decay of accumulated gradients; 0: none.
        transforms: Draws transforms that the result has to survive, such as
            ``random_rotations(30)``; on the command line names with commas: flip, crop, rotation,
            grayscale, noise.
        eot_samples: How many transforms are drawn per step (expectation over transformation).
        generator: Source of randomness; by default one with seed 0.

    Returns:
        Images before and after, on the device of `images`.

    Raises:
        UsageError: U03 for an impossible epsilon, U05 steps, U06 step size, U08 labels.

    Example:
        A network that calls an image bright when its pixels sum to more than two:

        >>> linear = torch.nn.Linear(4, 2)
        >>> linear.weight.data = torch.tensor([[-1.0] * 4, [1.0] * 4])
        >>> linear.bias.data = torch.tensor([2.0, -2.0])
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), linear)
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.75), torch.tensor([1])
        >>> result = pgd(classifier, images, labels, epsilon=0.5, steps=2)
        >>> result.success, result.steps
        (tensor([True]), tensor([1]))

    Source:
        Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018,
        section 2.1. Their random start is the default there; here it is an option, because it
        makes rows that one step breaks cost more. With `transforms`: Athalye et al.,
        "Synthesizing Robust Adversarial Examples", ICML 2018.
    """
    task = Task.of(classifier, images, labels, targets, epsilon, norm)
    check_steps(steps)
    across = momentum == 0 and (random_start or restarts > 1)
    size, flags = _step_size(step_size, task.radii, steps, images, across=across)
    check_count("restarts", restarts)
    check_count("eot_samples", eot_samples)
    if momentum:
        check_positive("momentum", momentum)
    generator = source(generator)
    settings = {
        "steps": steps,
        "step_size": _plain(size),
        "random_start": random_start,
        "objective": objective,
        "momentum": momentum,
        "keep": keep,
        "eot_samples": eot_samples if transforms is not None else 0,
    } | ({"restarts": restarts} if restarts > 1 else {})

    def from_start(rows: Tensor, number: int) -> AttackResult:
        part, length = task.part(rows), of_rows(size, rows)
        step_rule = sign_step(length) if norm == "linf" else l2_step(length)
        random = random_start or number > 0
        return attack_by_ascent(
            classifier,
            part.images,
            part.criterion,
            method="mi-fgsm" if momentum else "pgd",
            objective=(direction_of if transforms is None else objective_of)(
                objective, part.criterion
            ),
            step=momentum_step(step_rule, momentum) if momentum else step_rule,
            steps=steps,
            budget=part.budget,
            start=part.random_start(generator) if random else None,
            keep="best" if keep == "best" else "first",
            stop=keep != "best",
            expectation=Expectation.over(transforms, eot_samples, generator),
            flags=flags,
            settings=settings,
        )

    result = in_turns(images, [partial(from_start, number=n) for n in range(restarts)])
    return replace(result, originals=images)


@checked
@streamed
def fgsm(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    epsilon: float | Tensor = 8 / 255,
    norm: Norm = "linf",
) -> AttackResult:
    """One gradient-sign step as long as the radius, from the image itself.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        epsilon: Radius in pixel units.
        norm: ``"linf"`` moves every pixel by epsilon, ``"l2"`` the image along its gradient.

    Returns:
        Images before and after.

    Raises:
        UsageError: U03 for an impossible epsilon, U08 for labels that are no classes.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> fgsm(classifier, images, labels, epsilon=0.25).distance("linf") <= 0.25
        tensor([True])

    Source:
        Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015,
        section 4. Ours leaves images alone that are misclassified already.
    """
    radii = check_radius(epsilon, check_norm(norm), images)
    result = pgd(
        classifier,
        images,
        labels,
        targets=targets,
        epsilon=radii,
        norm=norm,
        steps=1,
        step_size=radii if bool((radii > 0).all()) else None,
    )
    return replace(result, method="fgsm", settings={})


@checked
@streamed
def bim(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    epsilon: float | Tensor = 8 / 255,
    norm: Norm = "linf",
    steps: int = 10,
    step_size: float | Tensor | None = None,
) -> AttackResult:
    """Iterated gradient-sign steps from the image itself, without a random start.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        epsilon: Radius in pixel units, one or one per image.
        norm: ``"linf"``: signs of the gradient; ``"l2"``: unit gradients.
        steps: Number of steps.
        step_size: Distance per step in pixel units, one or one per image; by default
            ``1.25 * epsilon / steps``, as far in all as in the paper.

    Returns:
        Images before and after.

    Raises:
        UsageError: U03 for an impossible epsilon, U05 steps, U06 step size, U08 labels.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> bim(classifier, images, labels, epsilon=0.1).distance("linf") <= 0.1
        tensor([True])

    Source:
        Kurakin, Goodfellow, Bengio, "Adversarial Examples in the Physical World", ICLR workshop
        2017, section 2.2. There min(epsilon + 4, 1.25 epsilon) steps of one gray level, all of
        them taken; ours are as many as asked for, and a row leaves as soon as it is adversarial.
    """
    radii = check_radius(epsilon, check_norm(norm), images)
    result = pgd(
        classifier,
        images,
        labels,
        targets=targets,
        epsilon=radii,
        norm=norm,
        steps=steps,
        step_size=_if_positive(1.25 * radii / max(steps, 1)) if step_size is None else step_size,
    )
    return replace(
        result,
        method="bim",
        settings={name: result.settings[name] for name in ("steps", "step_size")},
    )


@checked
@streamed
def mi_fgsm(
    classifier: Classifier,
    images: Images,
    labels: Labels,
    *,
    targets: Labels | None = None,
    epsilon: float | Tensor = 8 / 255,
    norm: Norm = "linf",
    steps: int = 10,
    step_size: float | None = None,
    decay: float = 1.0,
    keep: Keep = "best",
) -> AttackResult:
    """Iterated FGSM with momentum: made for transfer to other networks.

    Args:
        classifier: The network to fool.
        images: ``(batch, channel, height, width)``, pixels in [0, 1].
        labels: ``(batch,)``, the true classes.
        targets: ``(batch,)``, the classes to reach. ``None``: any wrong class.
        epsilon: Radius in pixel units.
        norm: How distance is measured, ``"linf"`` or ``"l2"``.
        steps: Number of steps.
        step_size: Distance per step in pixel units; by default ``epsilon / steps``, as in the
            paper.
        decay: Share of the accumulated gradient that is kept per step; 1 keeps all.
        keep: ``"best"`` takes every step, as transfer wants; ``"first"`` stops at success.

    Returns:
        Images before and after.

    Raises:
        UsageError: U03, U05, U06, U08.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 2, 2))
        >>> images, labels = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])
        >>> mi_fgsm(classifier, images, labels, epsilon=0.1).method
        'mi-fgsm'

    Source:
        Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, algorithm 1.
    """
    radii = check_radius(epsilon, check_norm(norm), images)
    check_positive("decay", decay)
    return pgd(
        classifier,
        images,
        labels,
        targets=targets,
        epsilon=radii,
        norm=norm,
        steps=steps,
        step_size=_if_positive(radii / max(steps, 1)) if step_size is None else step_size,
        momentum=decay,
        keep=keep,
    )


def _step_size(
    step_size: float | Tensor | None, radii: Tensor, steps: int, images: Images, *, across: bool
) -> tuple[Tensor, tuple[Flag, ...]]:
    """The size as a tensor, and what to say about it.

    From the image itself, in the middle, a walk needs one radius to reach every border; from a
    random point it may have to go `across` the ball.
    """
    if step_size is None:
        return 2.5 * radii / max(steps, 1), ()
    size = torch.as_tensor(step_size, dtype=torch.float64, device=images.device)
    if size.ndim > 1 or (size.ndim == 1 and len(size) != len(images)):
        raise UsageError(
            f"step_size has shape {tuple(size.shape)} for {len(images)} images",
            code="U06",
            expected="one number, or one per image",
        )
    if size.numel():
        check_positive("step_size", float(size.min()))
        check_positive("step_size", float(size.max()))
    flags = []
    if bool((size > radii).any()) and bool((radii > 0).any()):
        flags.append(_note("step-above-epsilon", "step size above epsilon: every step is cut back"))
    if across and steps > 1 and bool((steps * size < 0.999 * 2 * radii).any()):
        words = "steps * step_size < 2 * epsilon: the walk cannot cross the ball"
        flags.append(_note("short-walk", words))
    if not across and steps > 1 and bool((steps * size < 0.999 * radii).any()):
        words = "steps * step_size < epsilon: the walk cannot reach the border"
        flags.append(_note("short-walk", words))
    return size, tuple(flags)


def _if_positive(size: Tensor) -> Tensor | None:
    """A default step size; ``None``, for which `pgd` has its own, where one would be zero."""
    return size if bool((size > 0).all()) else None


def _note(code: str, text: str) -> Flag:
    return Flag(code, "note", 0, 0, text)


def _plain(size: Tensor) -> float:
    return float(size.max()) if size.numel() else 0.0
