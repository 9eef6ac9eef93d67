"""The weights of a convolution as small pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convscope._arguments import checked
from convscope._taps import layer_label, plain_name, require_hooks
from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UnknownLayer, UsageError
from convscope.explanations._result import Filters


@checked
def filters(
    classifier: Classifier, layer: str | None = None, *, seen_map: int | None = None
) -> Filters:
    """The filters of a convolution, each stretched to the full range of grey or color.

    Filters that see three color channels become color pictures. Deeper ones see many maps; their
    picture is the slice that looks at one of them.

    Args:
        classifier: The classifier to look into.
        layer: Name of a convolution; by default the first.
        seen_map: Which input map's weights to show; by default map 0 where a choice is needed.

    Returns:
        Raw weights, and pictures ``(filter, 1 or 3, height, width)``.

    Raises:
        UnknownLayer: If `layer` is not a 2-D convolution of the network.
        UsageError: If the filters do not see a map of that number.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten())
        >>> classifier = Classifier.wrap(net, input_shape=(1, 5, 5))
        >>> filters(classifier).pictures.shape
        torch.Size([4, 1, 3, 3])
    """
    require_hooks(classifier.module)
    convolutions = [
        name for name, module in classifier.module.named_modules() if isinstance(module, nn.Conv2d)
    ]
    if not convolutions:
        raise ModelContractError(
            "the network has no nn.Conv2d module",
            code="M15",
            expected="at least one, to show the filters of",
            hint="look at pixels instead: saliency, occlusion",
        )
    name = convolutions[0] if layer is None else plain_name(layer)
    if name not in convolutions:
        shown = [layer_label(one, "Conv2d") for one in convolutions]
        raise UnknownLayer(
            f"no convolution named {name!r}; this network has {', '.join(shown)}",
            code="M15",
        )
    with classifier.probe() as probe:
        weights = probe.weight(name)
    seen = weights.shape[1]
    colored = seen == 3 and classifier.input_shape[0] == 3 and name == convolutions[0]
    if seen_map is None and not colored and seen > 1:
        seen_map = 0
    if seen_map is not None:
        if not 0 <= seen_map < seen:
            raise UsageError(
                f"the filters of {name!r} see no map {seen_map}",
                code="U05",
                expected=f"0 to {seen - 1}",
            )
        weights = weights[:, seen_map : seen_map + 1]
    low, high = weights.flatten(1).amin(dim=1), weights.flatten(1).amax(dim=1)
    return Filters(
        layer=name,
        layer_kind=type(classifier.module.get_submodule(name)).__name__,
        weights=weights,
        pictures=_stretched(weights, low, high),
        low=low,
        high=high,
        seen_map=seen_map,
        columns=_columns(len(weights)),
    )


def _stretched(weights: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Each filter to [0, 1]; a constant one to mid-grey."""
    spread = (high - low)[:, None, None, None]
    stretched = (weights - low[:, None, None, None]) / torch.where(spread > 0, spread, 1)
    return torch.where(spread > 0, stretched, torch.full_like(stretched, 0.5))


def _columns(count: int) -> int:
    """The widest row of at most 16 that divides `count` evenly, else 8."""
    even = [columns for columns in range(4, 17) if count % columns == 0]
    return max(even) if even else min(count, 8)
