"""Where a classifier looks: maps over the pixels of an image, filters and feature maps.

Every entry of `EXPLANATIONS` is called as ``method(classifier, images, targets)`` and returns an
`Explanation`; `LAYER_VIEWS` show what is inside, for no class in particular.
"""

from collections.abc import Callable
from typing import Any

from convscope.explanations._feature_maps import feature_maps
from convscope.explanations._filters import filters
from convscope.explanations._grad_cam import grad_cam, hires_cam, layer_cam
from convscope.explanations._integrated_gradients import integrated_gradients
from convscope.explanations._occlusion import OCCLUSION_PRESETS, occlusion
from convscope.explanations._result import (
    Explanation,
    FeatureMaps,
    Filters,
    LayerMaps,
    OcclusionTable,
)
from convscope.explanations._rise import rise
from convscope.explanations._saliency import input_times_gradient, saliency
from convscope.explanations._smooth_grad import smooth_grad
from convscope.explanations._targets import Targets
from convscope.explanations._trust import (
    Faithfulness,
    Localization,
    Mosaics,
    Randomization,
    Trust,
    TrustRow,
    deletion_insertion,
    images_in_all,
    localization,
    mosaics,
    pointing,
    spearman,
    stability,
    trust,
    weight_randomization,
)
from convscope.explanations._watched import watched

EXPLANATIONS: dict[str, Callable[..., Explanation]] = {
    "saliency": saliency,
    "input-times-gradient": input_times_gradient,
    "smooth-grad": smooth_grad,
    "integrated-gradients": integrated_gradients,
    "grad-cam": grad_cam,
    "hires-cam": hires_cam,
    "layer-cam": layer_cam,
    "occlusion": occlusion,
    "rise": rise,
}

PASSES = {
    "smooth-grad": 33,
    "integrated-gradients": 100,
    "occlusion": 50,
    "rise": 501,
}
"""About how many passes a method needs per image, where more than two: for estimates of time.
Those of integrated gradients were 34 on MNIST and 87 and 114 on CIFAR-10 (12 to 24 images)."""

LAYER_VIEWS: dict[str, Callable[..., Any]] = {
    "filters": filters,
    "feature-maps": feature_maps,
}

__all__ = [
    "EXPLANATIONS",
    "LAYER_VIEWS",
    "OCCLUSION_PRESETS",
    "PASSES",
    "Explanation",
    "Faithfulness",
    "FeatureMaps",
    "Filters",
    "LayerMaps",
    "Localization",
    "Mosaics",
    "OcclusionTable",
    "Randomization",
    "Targets",
    "Trust",
    "TrustRow",
    "deletion_insertion",
    "feature_maps",
    "filters",
    "grad_cam",
    "hires_cam",
    "images_in_all",
    "input_times_gradient",
    "integrated_gradients",
    "layer_cam",
    "localization",
    "mosaics",
    "occlusion",
    "pointing",
    "rise",
    "saliency",
    "smooth_grad",
    "spearman",
    "stability",
    "trust",
    "watched",
    "weight_randomization",
]
