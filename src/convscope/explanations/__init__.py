"""Where a classifier looks: maps over the pixels of an image, filters and feature maps.

Every entry of `EXPLANATIONS` is called as ``method(classifier, images, targets)`` and returns an
`Explanation`; `LAYER_VIEWS` show what is inside, for no class in particular.
"""

from collections.abc import Callable
from typing import Any

from convscope.explanations._feature_maps import feature_maps
from convscope.explanations._filters import filters
from convscope.explanations._occlusion import OCCLUSION_PRESETS, occlusion
from convscope.explanations._result import (
    Explanation,
    FeatureMaps,
    Filters,
    LayerMaps,
    OcclusionTable,
)
from convscope.explanations._saliency import input_times_gradient, saliency
from convscope.explanations._targets import Targets

EXPLANATIONS: dict[str, Callable[..., Explanation]] = {
    "saliency": saliency,
    "input-times-gradient": input_times_gradient,
    "occlusion": occlusion,
}

LAYER_VIEWS: dict[str, Callable[..., Any]] = {
    "filters": filters,
    "feature-maps": feature_maps,
}

__all__ = [
    "EXPLANATIONS",
    "LAYER_VIEWS",
    "OCCLUSION_PRESETS",
    "Explanation",
    "FeatureMaps",
    "Filters",
    "LayerMaps",
    "OcclusionTable",
    "Targets",
    "feature_maps",
    "filters",
    "input_times_gradient",
    "occlusion",
    "saliency",
]
