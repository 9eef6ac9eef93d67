"""Defenses: a classifier in, a defended classifier out.

They sit in front of the network, and gradients go through them (straight through, where they
round), so an attack on a defended classifier is adaptive without further ado. To see what a
defense is worth, use `convscope.robustness.compare_defenses`.
"""

from __future__ import annotations

from collections.abc import Callable

from convscope.classifier import Classifier
from convscope.defenses._bit_depth import bit_depth
from convscope.defenses._blur import blur
from convscope.defenses._median import median
from convscope.defenses._threshold import threshold

__all__ = ["DEFENSES", "bit_depth", "blur", "median", "threshold"]

DEFENSES: dict[str, Callable[..., Classifier]] = {
    "blur": blur,
    "bit-depth": bit_depth,
    "threshold": threshold,
    "median": median,
}
