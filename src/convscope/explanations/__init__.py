"""Where a classifier looks: maps over the pixels of an image, filters and feature maps."""

from convscope.explanations._result import (
    Explanation,
    FeatureMaps,
    Filters,
    LayerMaps,
    OcclusionTable,
)
from convscope.explanations._targets import Targets

__all__ = [
    "Explanation",
    "FeatureMaps",
    "Filters",
    "LayerMaps",
    "OcclusionTable",
    "Targets",
]
