"""Where a classifier looks: maps over the pixels of an image, filters and feature maps.

Every entry of `EXPLANATIONS` is called as ``method(classifier, images, targets)`` and returns an
`Explanation`; `LAYER_VIEWS` show what is inside, for no class in particular.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convscope._registry import Registry, Spec, lazy

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
    "ExplanationSpec",
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
    "weight_randomization",
]


@dataclass(frozen=True)
class ExplanationSpec(Spec):
    """What `EXPLANATIONS` knows of a method."""


LAYER_VIEWS: Registry[Callable[..., Any], ExplanationSpec] = Registry(
    "convscope.explanations",
    ExplanationSpec,
    {
        "filters": ExplanationSpec(
            "_layers:filters",
            "The filters of a convolution, each stretched to the full range of grey or color.",
            aliases=("filter", "kernels", "weights"),
        ),
        "feature-maps": ExplanationSpec(
            "_layers:feature_maps",
            "Activations of layers, with dead and selective maps pointed out.",
            aliases=("featuremaps", "feature-map", "activations", "maps"),
        ),
    },
)


EXPLANATIONS: Registry[Callable[..., Explanation], ExplanationSpec] = Registry(
    "convscope.explanations",
    ExplanationSpec,
    {
        "saliency": ExplanationSpec(
            "_saliency:saliency",
            "Largest absolute gradient of a logit over the color channels.",
            aliases=(
                "vanilla-gradient",
                "vanilla",
                "gradient",
                "gradients",
                "grad",
                "saliency-map",
            ),
        ),
        "input-times-gradient": ExplanationSpec(
            "_saliency:input_times_gradient",
            "Pixels times the gradient of a logit, added up over the color channels.",
            aliases=("inputxgradient", "input-x-gradient", "gradient-x-input", "gradxinput"),
        ),
        "smooth-grad": ExplanationSpec(
            "_saliency:smooth_grad",
            "Gradients averaged over noisy copies of the image: saliency without its speckle.",
            aliases=("smoothgrad",),
        ),
        "integrated-gradients": ExplanationSpec(
            "_integrated_gradients:integrated_gradients",
            "Share the change of a logit between two images out among the pixels.",
            aliases=("ig", "integratedgradients", "integrated-gradient"),
        ),
        "grad-cam": ExplanationSpec(
            "_grad_cam:grad_cam",
            "Activations of a layer, each map weighted by the mean of its gradient.",
            aliases=("gradcam", "cam"),
        ),
        "hires-cam": ExplanationSpec(
            "_grad_cam:hires_cam",
            "Activations of a layer times their gradient, place by place.",
            aliases=("hirescam",),
        ),
        "layer-cam": ExplanationSpec(
            "_grad_cam:layer_cam",
            "Activations of a layer times the positive part of their gradient, place by place.",
            aliases=("layercam",),
        ),
        "occlusion": ExplanationSpec(
            "_occlusion:occlusion",
            "Slide a window over the image and watch the scores fall.",
            aliases=("occlusion-sensitivity", "occlude"),
        ),
        "rise": ExplanationSpec(
            "_rise:rise",
            "Show random soft pieces of the image and credit the pixels that were in sight.",
        ),
    },
    beside=LAYER_VIEWS,
)


PASSES = {
    "smooth-grad": 33,
    "integrated-gradients": 100,
    "occlusion": 50,
    "rise": 501,
}
"""About how many passes a method needs per image, where more than two: for estimates of time.
Those of integrated gradients were 34 on MNIST and 87 and 114 on CIFAR-10 (12 to 24 images)."""


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
