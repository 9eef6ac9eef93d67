"""Does a map stay the same when the image hardly changes?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from convscope._arguments import checked
from convscope._random import source
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.explanations._result import Explanation
from convscope.types import Images

NOISY_COPIES = 10


@checked
def stability(
    classifier: Classifier,
    method: Callable[..., Explanation],
    images: Images,
    targets: Tensor,
    *,
    radius: float = 0.02,
    draws: int = NOISY_COPIES,
    generator: Generator | None = None,
) -> Tensor:
    """The largest relative change of a map under uniform noise of at most `radius`.

    Args:
        classifier: The network.
        method: A function of this package's explanations.
        images: ``(batch, channel, height, width)``.
        targets: ``(batch,)``.
        radius: Largest change of a pixel, in pixel units.
        draws: Noisy copies.
        generator: Source of the noise; by default one with seed 0.

    Returns:
        ``(batch,)``: 0 is unmoved; 1 means that the change is as large as the map.

    Source:
        Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", 2019 (max-sensitivity),
        divided by the norm of the map.
    """
    if draws < 1 or not radius >= 0:
        raise UsageError(
            f"draws={draws}, radius={radius}", code="U05", expected="at least 1 draw and radius 0"
        )
    drawn = source(generator)
    still = method(classifier, images, targets).maps.flatten(1)
    noise = radius * (
        2 * torch.rand(draws, *images.shape, generator=drawn, dtype=torch.float32).to(images) - 1
    )
    shaken = (images[None] + noise).clamp(0, 1).flatten(0, 1)
    many = method(classifier, shaken, targets.repeat(draws)).maps.flatten(1)
    change = (many.view(draws, *still.shape) - still).norm(dim=2).amax(dim=0)
    size = still.norm(dim=1)
    return torch.where(size > 0, change / size.clamp_min(1e-30), (change > 0).to(size))
