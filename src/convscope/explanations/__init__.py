"""Explanations of classifiers: maps over the pixels of an image, filters and feature maps.

Every entry of `EXPLANATIONS` is called as ``method(classifier, images, targets)`` and returns an
`Explanation`; `LAYER_VIEWS` show what is inside, for no class in particular. To add a method: its
own file, its record in `EXPLANATIONS`, and its name in the imports and `__all__` below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convscope._registry import EFFORTS, Effort, Registry, Spec, lazy

if TYPE_CHECKING:
    from convscope.explanations._faithfulness import Faithfulness, deletion_insertion
    from convscope.explanations._grad_cam import grad_cam, hires_cam, layer_cam
    from convscope.explanations._integrated_gradients import integrated_gradients
    from convscope.explanations._layers import feature_maps, filters
    from convscope.explanations._occlusion import OCCLUSION_PRESETS, occlusion
    from convscope.explanations._pointing import (
        Localization,
        Mosaics,
        grid_pointing_game,
        localization,
        mosaics,
    )
    from convscope.explanations._result import (
        Explanation,
        FeatureMaps,
        Filters,
        LayerMaps,
        OcclusionTable,
        Targets,
    )
    from convscope.explanations._rise import rise
    from convscope.explanations._rollout import attention_rollout
    from convscope.explanations._saliency import input_times_gradient, saliency, smooth_grad
    from convscope.explanations._sanity import (
        Randomization,
        spearman,
        stability,
        weight_randomization,
    )
    from convscope.explanations._selected_maps import (
        LayerSelection,
        SelectedMaps,
        interest,
        selected_maps,
    )
    from convscope.explanations._trust import Trust, TrustRow, trust
    from convscope.explanations._trust_judging import (
        TrustJudging,
        total_images,
        trust_of,
        trust_passes,
    )

__all__ = [
    "EXPLANATIONS",
    "LAYER_VIEWS",
    "OCCLUSION_PRESETS",
    "Explanation",
    "ExplanationSpec",
    "Faithfulness",
    "FeatureMaps",
    "Filters",
    "LayerMaps",
    "LayerSelection",
    "LayerViewSpec",
    "Localization",
    "Mosaics",
    "OcclusionTable",
    "Randomization",
    "SelectedMaps",
    "Targets",
    "Trust",
    "TrustJudging",
    "TrustRow",
    "attention_rollout",
    "deletion_insertion",
    "feature_maps",
    "filters",
    "grad_cam",
    "grid_pointing_game",
    "hires_cam",
    "input_times_gradient",
    "integrated_gradients",
    "interest",
    "layer_cam",
    "localization",
    "mosaics",
    "occlusion",
    "passes_per_map",
    "rise",
    "saliency",
    "selected_maps",
    "smooth_grad",
    "spearman",
    "stability",
    "total_images",
    "trust",
    "trust_of",
    "trust_passes",
    "weight_randomization",
]


def _every_effort() -> dict[Effort, Mapping[str, Any]]:
    return {effort: {} for effort in EFFORTS}


@dataclass(frozen=True, kw_only=True)
class ExplanationSpec(Spec):
    """What `EXPLANATIONS` knows of a method; the defaults are those of one without a record.

    Attributes:
        signed: Whether maps have values on both sides of zero, for and against a class; ``None``:
            unknown, each `Explanation` of the method says it.
        passes: About how many passes a map needs, there and back counted apart.
        per_class: Whether each further class of an image costs passes.
        takes_layer: Whether it looks at a layer: it has the setting ``layer``.
        black_box: It needs answers only, no gradients and no layers.
        audit: Effort to the settings with which the method is shown in audits.
        no_audit: Why it is in no audit, if `audit` is empty.
        trusted: Efforts of the audits that put it to the tests of `trust`.
    """

    signed: bool | None = None
    passes: int = 2
    per_class: bool = True
    takes_layer: bool = False
    black_box: bool = False
    audit: Mapping[Effort, Mapping[str, Any]] = field(default_factory=_every_effort)
    no_audit: str = ""
    trusted: tuple[Effort, ...] = EFFORTS


@dataclass(frozen=True, kw_only=True)
class LayerViewSpec(Spec):
    """What `LAYER_VIEWS` knows of a view.

    Attributes:
        takes_images: Whether it is called with images, or with the classifier alone.
        needs_attention: Whether it is for transformers only, and refuses other networks (M15).
    """

    takes_images: bool = True
    needs_attention: bool = False


LAYER_VIEWS: Registry[Callable[..., Any], LayerViewSpec] = Registry(
    "convscope.explanations",
    LayerViewSpec,
    {
        "filters": LayerViewSpec(
            "_layers:filters",
            "The filters of a convolution, each stretched to the full range of gray or color.",
            aliases=("filter", "kernels", "weights"),
            takes_images=False,
        ),
        "feature-maps": LayerViewSpec(
            "_layers:feature_maps",
            "Activations of layers, with dead and selective maps pointed out.",
            aliases=("featuremaps", "feature-map", "activations", "maps"),
        ),
        "attention-rollout": LayerViewSpec(
            "_rollout:attention_rollout",
            "Attention of all blocks of a transformer, multiplied: where tokens gathered from.",
            aliases=("rollout", "attention", "attention-map"),
            needs_attention=True,
        ),
        "selected-maps": LayerViewSpec(
            "_selected_maps:selected_maps",
            "The few most interesting maps of an early, a middle and a late layer, for each image.",
            aliases=("selectedmaps", "interesting-maps", "deep-maps"),
        ),
    },
)


EXPLANATIONS: Registry[Callable[..., Explanation], ExplanationSpec] = Registry(
    "convscope.explanations",
    ExplanationSpec,
    {
        "grad-cam": ExplanationSpec(
            "_grad_cam:grad_cam",
            "Activations of a layer, each map weighted by the mean of its gradient.",
            aliases=("gradcam", "cam"),
            signed=True,
            takes_layer=True,
        ),
        "hires-cam": ExplanationSpec(
            "_grad_cam:hires_cam",
            "Activations of a layer times their gradient, place by place.",
            aliases=("hirescam",),
            signed=True,
            takes_layer=True,
            audit={"full": {}},
            trusted=("full",),
        ),
        "layer-cam": ExplanationSpec(
            "_grad_cam:layer_cam",
            "Activations of a layer times the positive part of their gradient, place by place.",
            aliases=("layercam",),
            signed=True,
            takes_layer=True,
            audit={"full": {}},
            trusted=("full",),
        ),
        "occlusion": ExplanationSpec(
            "_occlusion:occlusion",
            "Slide a window over the image and measure how the scores fall.",
            aliases=("occlusion-sensitivity", "occlude"),
            signed=True,
            passes=50,
            per_class=False,
            black_box=True,
        ),
        "integrated-gradients": ExplanationSpec(
            "_integrated_gradients:integrated_gradients",
            "Divide the change of a logit between two images among the pixels.",
            aliases=("ig", "integratedgradients", "integrated-gradient"),
            signed=True,
            # Measured: 34 on MNIST, 87 and 114 on CIFAR-10 (12 to 24 images).
            passes=100,
        ),
        "smooth-grad": ExplanationSpec(
            "_saliency:smooth_grad",
            "Gradients averaged over noisy copies of the image: saliency without its speckle.",
            aliases=("smoothgrad",),
            signed=False,
            passes=33,
            trusted=("full",),
        ),
        "rise": ExplanationSpec(
            "_rise:rise",
            "Show random soft pieces of the image and credit the pixels that were visible.",
            signed=True,
            passes=501,
            per_class=False,
            black_box=True,
            trusted=(),
        ),
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
            signed=False,
        ),
        "input-times-gradient": ExplanationSpec(
            "_saliency:input_times_gradient",
            "Pixels times the gradient of a logit, added up over the color channels.",
            aliases=("inputxgradient", "input-x-gradient", "gradient-x-input", "gradxinput"),
            signed=True,
            trusted=("full",),
        ),
    },
    beside=LAYER_VIEWS,
)
"""Methods by name, those first that point at objects best: the order of tables and reports."""


def passes_per_map(method: str) -> int:
    """About how many passes a map of a method needs: for estimates of time.

    Args:
        method: A name in `EXPLANATIONS`; of any other name, that of one forward and one backward
            pass is assumed.

    Example:
        >>> passes_per_map("saliency"), passes_per_map("rise"), passes_per_map("my-own")
        (2, 501, 2)
    """
    known = EXPLANATIONS.specs().get(method)
    return ExplanationSpec.passes if known is None else known.passes


if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_occlusion": "OCCLUSION_PRESETS",
            "_result": "Explanation FeatureMaps Filters LayerMaps OcclusionTable Targets",
            "_selected_maps": "interest LayerSelection SelectedMaps",
            "_trust": "Trust TrustRow trust",
            "_trust_judging": "TrustJudging total_images trust_of trust_passes",
            "_faithfulness": "Faithfulness deletion_insertion",
            "_pointing": "Localization Mosaics localization mosaics grid_pointing_game",
            "_sanity": "Randomization spearman stability weight_randomization",
        },
        EXPLANATIONS,
        LAYER_VIEWS,
    )
