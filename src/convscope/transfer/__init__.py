"""Transfer learning: what a network knows of images, and a linear classifier for classes of yours.

`transfer` takes the features in front of a network's last layer, fits one of
`TRANSFER_CLASSIFIERS` to them, chooses its regularization by cross-validation and looks at the test
images once. To add a classifier: a function that makes it, and its record below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from convscope._registry import Registry, Spec, lazy

if TYPE_CHECKING:
    from convscope.transfer._cache import FeatureCache, feature_cache_folder
    from convscope.transfer._features import FeatureLayer, feature_layer, layer_features
    from convscope.transfer._judging import FeaturesJudging
    from convscope.transfer._result import TransferMistakes, TransferResult
    from convscope.transfer._transfer import rehearse_learning, transfer, transfer_of

__all__ = [
    "TRANSFER_CLASSIFIERS",
    "FeatureCache",
    "FeatureLayer",
    "FeaturesJudging",
    "TransferClassifierSpec",
    "TransferMistakes",
    "TransferResult",
    "feature_cache_folder",
    "feature_layer",
    "layer_features",
    "rehearse_learning",
    "transfer",
    "transfer_of",
]


@dataclass(frozen=True, kw_only=True)
class TransferClassifierSpec(Spec):
    """What `TRANSFER_CLASSIFIERS` knows of a classifier.

    Attributes:
        parameter: How its regularization is called: ``"C"`` (less with every larger value) or
            ``"alpha"`` (more).
        values: Those that cross-validation tries, the strongest regularization first.
    """

    parameter: Literal["C", "alpha"] = "C"
    values: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)


TRANSFER_CLASSIFIERS: Registry[Callable[..., Any], TransferClassifierSpec] = Registry(
    "convscope.transfer",
    TransferClassifierSpec,
    {
        "logistic": TransferClassifierSpec(
            "_classifiers:logistic",
            "Multinomial logistic regression.",
            aliases=("logistic-regression", "lr"),
        ),
        "svm": TransferClassifierSpec(
            "_classifiers:svm",
            "Linear support vector machine, one class against the rest, squared hinge.",
            aliases=("linear-svm", "svc"),
            values=(0.01, 0.1, 1.0, 10.0, 100.0),
        ),
        "ridge": TransferClassifierSpec(
            "_classifiers:ridge",
            "Ridge regression on +1 and -1, one class against the rest.",
            aliases=("ridge-classifier", "least-squares"),
            parameter="alpha",
            values=(100.0, 10.0, 1.0, 0.1, 0.01),
        ),
    },
)
"""Linear classifiers by name: functions ``(value, seed)`` that make one of scikit-learn."""

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_cache": "FeatureCache feature_cache_folder",
            "_features": "feature_layer FeatureLayer layer_features",
            "_judging": "FeaturesJudging",
            "_result": "TransferMistakes TransferResult",
            "_transfer": "rehearse_learning transfer transfer_of",
        },
        TRANSFER_CLASSIFIERS,
    )
