"""Where a classifier looks: maps over the pixels of an image, filters and feature maps.

Every entry of `EXPLANATIONS` is called as ``method(classifier, images, targets)`` and returns an
`Explanation`; `LAYER_VIEWS` show what is inside, for no class in particular.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convscope._registry import Registry, lazy
from convscope._watched import watched

if TYPE_CHECKING:
    from convscope.explanations._evaluation import Trust, TrustRow, images_in_all, trust
    from convscope.explanations._faithfulness import Faithfulness, deletion_insertion
    from convscope.explanations._grad_cam import grad_cam, hires_cam, layer_cam
    from convscope.explanations._integrated_gradients import integrated_gradients
    from convscope.explanations._layers import feature_maps, filters
    from convscope.explanations._occlusion import OCCLUSION_PRESETS, occlusion
    from convscope.explanations._pointing import (
        Localization,
        Mosaics,
        localization,
        mosaics,
        pointing,
    )
    from convscope.explanations._result import (
        Explanation,
        FeatureMaps,
        Filters,
        LayerMaps,
        OcclusionTable,
    )
    from convscope.explanations._rise import rise
    from convscope.explanations._saliency import input_times_gradient, saliency, smooth_grad
    from convscope.explanations._sanity import (
        Randomization,
        spearman,
        stability,
        weight_randomization,
    )
    from convscope.explanations._targets import Targets

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

EXPLANATIONS: Registry[Callable[..., Explanation]] = Registry(
    "convscope.explanations",
    {
        "saliency": (
            "_saliency:saliency",
            "Largest absolute gradient of a logit over the color channels.",
        ),
        "input-times-gradient": (
            "_saliency:input_times_gradient",
            "Pixels times the gradient of a logit, added up over the color channels.",
        ),
        "smooth-grad": (
            "_saliency:smooth_grad",
            "Gradients averaged over noisy copies of the image: saliency without its speckle.",
        ),
        "integrated-gradients": (
            "_integrated_gradients:integrated_gradients",
            "Share the change of a logit between two images out among the pixels.",
        ),
        "grad-cam": (
            "_grad_cam:grad_cam",
            "Activations of a layer, each map weighted by the mean of its gradient.",
        ),
        "hires-cam": (
            "_grad_cam:hires_cam",
            "Activations of a layer times their gradient, place by place.",
        ),
        "layer-cam": (
            "_grad_cam:layer_cam",
            "Activations of a layer times the positive part of their gradient, place by place.",
        ),
        "occlusion": (
            "_occlusion:occlusion",
            "Slide a window over the image and watch the scores fall.",
        ),
        "rise": (
            "_rise:rise",
            "Show random soft pieces of the image and credit the pixels that were in sight.",
        ),
    },
    aliases={
        "gradcam": "grad-cam",
        "cam": "grad-cam",
        "hirescam": "hires-cam",
        "layercam": "layer-cam",
        "ig": "integrated-gradients",
        "integratedgradients": "integrated-gradients",
        "integrated-gradient": "integrated-gradients",
        "smoothgrad": "smooth-grad",
        "vanilla-gradient": "saliency",
        "vanilla": "saliency",
        "gradient": "saliency",
        "gradients": "saliency",
        "grad": "saliency",
        "saliency-map": "saliency",
        "inputxgradient": "input-times-gradient",
        "input-x-gradient": "input-times-gradient",
        "gradient-x-input": "input-times-gradient",
        "gradxinput": "input-times-gradient",
        "occlusion-sensitivity": "occlusion",
        "occlude": "occlusion",
        "featuremaps": "feature-maps",
        "feature-map": "feature-maps",
        "activations": "feature-maps",
        "maps": "feature-maps",
        "filter": "filters",
        "kernels": "filters",
        "weights": "filters",
    },
)
"""Names that other libraries and papers use lead to ours, and to those of `LAYER_VIEWS`."""

PASSES = {
    "smooth-grad": 33,
    "integrated-gradients": 100,
    "occlusion": 50,
    "rise": 501,
}
"""About how many passes a method needs per image, where more than two: for estimates of time.
Those of integrated gradients were 34 on MNIST and 87 and 114 on CIFAR-10 (12 to 24 images)."""

LAYER_VIEWS: Registry[Callable[..., Any]] = Registry(
    "convscope.explanations",
    {
        "filters": (
            "_layers:filters",
            "The filters of a convolution, each stretched to the full range of grey or color.",
        ),
        "feature-maps": (
            "_layers:feature_maps",
            "Activations of layers, with dead and selective maps pointed out.",
        ),
    },
)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_grad_cam": "grad_cam hires_cam layer_cam",
            "_integrated_gradients": "integrated_gradients",
            "_layers": "feature_maps filters",
            "_occlusion": "occlusion OCCLUSION_PRESETS",
            "_result": "Explanation FeatureMaps Filters LayerMaps OcclusionTable",
            "_rise": "rise",
            "_saliency": "input_times_gradient saliency smooth_grad",
            "_targets": "Targets",
            "_evaluation": "Trust TrustRow images_in_all trust",
            "_faithfulness": "Faithfulness deletion_insertion",
            "_pointing": "Localization Mosaics localization mosaics pointing",
            "_sanity": "Randomization spearman stability weight_randomization",
        },
    )
