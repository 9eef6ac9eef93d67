"""How far the tests of a method are, told in pixels explained."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from convscope._random_weights import weighted_layers
from convscope._watched import watched
from convscope.classifier import Classifier
from convscope.explanations._result import Explanation
from convscope.explanations._trust._pointing import MOSAICS, Mosaics
from convscope.explanations._trust._randomization import MOST_STAGES
from convscope.explanations._trust._stability import NOISY_COPIES
from convscope.types import Images

FEW = 8
"""Images for the tests that run a method many times over."""


def images_in_all(classifier: Classifier, count: int) -> int:
    """About how many images a method is asked to explain when `trust` judges it on `count`."""
    stages = min(MOST_STAGES, len(weighted_layers(classifier.module)))
    return count + min(FEW, count) * (1 + stages + 1 + NOISY_COPIES) + MOSAICS


def pixels_in_all(classifier: Classifier, images: Images, tiles: Mosaics | None) -> int:
    """About how many pixels a method will be asked to explain, in all tests together."""
    single = images_in_all(classifier, len(images)) - MOSAICS
    return single * images[0].numel() + (0 if tiles is None else tiles.images.numel())


def heard_as(
    method: Callable[..., Explanation], tell: Callable[[float], None], in_all: int
) -> Callable[..., Explanation]:
    """`method`, which tells the share of all its pixels that it has explained."""
    done = 0

    def wrapped(classifier: Classifier, images: Images, targets: Tensor) -> Explanation:
        nonlocal done
        with watched(lambda share: tell(min(1.0, (done + share * images.numel()) / in_all))):
            found = method(classifier, images, targets)
        done += images.numel()
        tell(min(1.0, done / in_all))
        return found

    return wrapped


def tell_curve(
    on_progress: Callable[[str, float], None] | None, done: int, in_all: int, share: float
) -> None:
    if on_progress is not None:
        on_progress("curves", (done + share) / in_all)
