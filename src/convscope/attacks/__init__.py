"""Ways to fool a classifier.

An attack on given images is a function

    attack(classifier, images, labels, *, targets=None, ...settings) -> AttackResult

To add one: write it in its own file here, name it in `ATTACKS`, add an equation test, an example.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convscope.attacks._added_noise import added_noise
from convscope.attacks._adversarial_patch import AdversarialPatch, adversarial_patch
from convscope.attacks._apgd import apgd, apgd_targeted
from convscope.attacks._auto_attack import auto_attack
from convscope.attacks._carlini_wagner import carlini_wagner
from convscope.attacks._ddn import ddn
from convscope.attacks._deepfool import deepfool
from convscope.attacks._fab import fab
from convscope.attacks._from_noise import from_noise
from convscope.attacks._goal import Goal
from convscope.attacks._linf_iterative import linf_iterative
from convscope.attacks._noise import NoiseTransfer, apply_noise
from convscope.attacks._projected_gradient import fast_gradient, momentum, projected_gradient
from convscope.attacks._result import AttackResult
from convscope.attacks._square import square
from convscope.attacks._toward_image import toward_image
from convscope.attacks._universal_noise import UniversalNoise, universal_noise
from convscope.attacks._until_fooled import until_fooled
from convscope.attacks._views import VIEWS, chain, crops, either, mirrors, noises, rotations

__all__ = [
    "ATTACKS",
    "SHARED",
    "VIEWS",
    "AdversarialPatch",
    "AttackResult",
    "Goal",
    "NoiseTransfer",
    "UniversalNoise",
    "added_noise",
    "adversarial_patch",
    "apgd",
    "apgd_targeted",
    "apply_noise",
    "auto_attack",
    "carlini_wagner",
    "chain",
    "crops",
    "ddn",
    "deepfool",
    "either",
    "fab",
    "fast_gradient",
    "from_noise",
    "linf_iterative",
    "mirrors",
    "momentum",
    "noises",
    "projected_gradient",
    "rotations",
    "square",
    "toward_image",
    "universal_noise",
    "until_fooled",
]

ATTACKS: dict[str, Callable[..., AttackResult]] = {
    "fast-gradient": fast_gradient,
    "projected-gradient": projected_gradient,
    "momentum": momentum,
    "apgd": apgd,
    "apgd-targeted": apgd_targeted,
    "fab": fab,
    "square": square,
    "auto-attack": auto_attack,
    "ddn": ddn,
    "deepfool": deepfool,
    "carlini-wagner": carlini_wagner,
    "until-fooled": until_fooled,
    "linf-iterative": linf_iterative,
    "added-noise": added_noise,
    "from-noise": from_noise,
    "toward-image": toward_image,
}

SHARED: dict[str, Callable[..., Any]] = {
    "universal-noise": universal_noise,
    "adversarial-patch": adversarial_patch,
}
"""Methods whose one perturbation serves many images; same call, results of their own kind."""
