"""Putting a transformation in front of a classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from convscope.classifier import Classifier


def in_front(classifier: Classifier, change: Callable[[Tensor], Tensor], name: str) -> Classifier:
    """`classifier` with `change` applied to its images first; the network is shared.

    Args:
        classifier: What is to be defended.
        change: Images to images; its gradient is what attacks see.
        name: For reports.
    """
    before = classifier.preprocess

    def preprocess(images: Tensor) -> Tensor:
        changed = change(images)
        return changed if before is None else before(changed)

    return replace(classifier, preprocess=preprocess, source=f"{name} before {classifier.source}")


def straight_through(images: Tensor, changed: Tensor) -> Tensor:
    """`changed`, with the gradient of the identity.

    Source:
        Athalye, Carlini, Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML
        2018, section 4.1 (BPDA with the identity).
    """
    return images + (changed - images).detach()
