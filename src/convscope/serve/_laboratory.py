"""Everything about one image that the page shows at once, in parts, the quick ones first.

The parts are those of ``laboratory.js``; here the package's own methods make them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from convscope.attacks import pgd
from convscope.errors import ModelContractError, UsageError
from convscope.explanations import grad_cam, occlusion, saliency
from convscope.serve._jobs import Job
from convscope.serve._methods import target_of
from convscope.serve._networks import ServedNetwork

ATTACK_STEPS = 20
"""Of the attack beside the image, as in ``methods.js``."""

MOST_NUMBERS = 4_000_000
"""Probabilities of an occlusion table that go to a page."""

MOST_CHANGED = 16
"""Changed copies of an image that a page may ask about at once."""


def look(
    job: Job, served: ServedNetwork, request: Mapping[str, Any], arrays: Mapping[str, Tensor]
) -> None:
    """Post the parts that a page wants of an image.

    Args:
        job: Takes the parts.
        served: Network and data.
        request: ``want`` (names of parts), and ``explained``, ``layer``, ``window``, ``stride``,
            ``epsilon``, ``target``.
        arrays: ``image`` ``(channel, height, width)``, and ``changed``, copies of it, for
            ``"transforms"``.

    Raises:
        UsageError: U21 for a request that no page makes; U05, U08 for values that cannot be.
    """
    image = image_of(served, arrays)
    want = request.get("want")
    if not isinstance(want, list) or not all(name in PARTS for name in want):
        raise UsageError("parts that there are not", code="U21", hint="reload the page")
    with served.classifier.probe() as probe:
        logits = probe.logits(image[None])[0]
    predicted = int(logits.argmax())
    explained = target_of({"target": request.get("explained")}, served.classifier)
    asked = _Asked(served, image, predicted, predicted if explained is None else explained, request)
    if "prediction" in want:
        probabilities = logits.softmax(dim=0)
        job.post("prediction", {"probabilities": probabilities}, predicted=predicted)
    for name, make in PARTS.items():
        if name in want and make is not None:
            job.go_on()
            if served.classifier.black_box and name in NEEDS_GRADIENTS:
                continue
            make(job, asked, arrays)


class _Asked:
    """What a page asks about an image, read once."""

    def __init__(
        self, served: ServedNetwork, image: Tensor, predicted: int, explained: int,
        request: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.served, self.classifier, self.image = served, served.classifier, image
        self.predicted, self.explained, self.request = predicted, explained, request

    def whole(self, name: str, least: int, most: int) -> int:
        value: Any = self.request.get(name)
        if type(value) is not int or not least <= value <= most:
            raise UsageError(f"{name} {value!r}", code="U05", expected=f"{least} to {most}")
        return value

    def share(self, name: str) -> float:
        value: Any = self.request.get(name)
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise UsageError(f"{name} {value!r}", code="U03", expected="0 to 1")
        return float(value)


def image_of(served: ServedNetwork, arrays: Mapping[str, Tensor]) -> Tensor:
    """The image of a request, checked to be one of the network's.

    Raises:
        UsageError: U21 if there is none.
        ImageError: It has another shape, or pixels outside [0, 1].
    """
    if "image" not in arrays:
        raise UsageError("no image was sent", code="U21", hint="reload the page")
    return checked(served, arrays["image"][None])[0]


def checked(served: ServedNetwork, images: Tensor) -> Tensor:
    """Images of a request, whose size the page knows exactly.

    Raises:
        UsageError: U10 for another size.
        ImageError: Pixels outside [0, 1].
    """
    shape = served.classifier.input_shape
    if tuple(images.shape[1:]) != tuple(shape):
        raise UsageError(
            f"an image of {tuple(images.shape[1:])}", code="U10", expected=f"{tuple(shape)}"
        )
    return served.classifier.check_images(images)


def _saliency(job: Job, asked: _Asked, _: Any) -> None:
    found = saliency(asked.classifier, asked.image[None], asked.explained)
    job.post("saliency", {"map": found.maps[0, 0]}, explained=asked.explained)


def _maps(job: Job, asked: _Asked, _: Any) -> None:
    seen = asked.served.layers()[0]
    if seen is None or asked.request.get("layer") is None:
        return
    layer = asked.whole("layer", 1, len(seen.nodes) - 1)
    job.post("maps", {"values": seen.maps(asked.image, layer)}, layer=layer)


def _cam(job: Job, asked: _Asked, _: Any) -> None:
    try:
        found = grad_cam(asked.classifier, asked.image[None], asked.explained)
    except ModelContractError as error:
        job.post("cam", coarse=None, why=error.what)
        return
    coarse = found.evidence["coarse"][0, 0]
    job.post(
        "cam", {"coarse": coarse}, height=coarse.shape[0], width=coarse.shape[1],
        explained=asked.explained, layer=found.layer_label,
    )  # fmt: skip


def _transforms(job: Job, asked: _Asked, arrays: Mapping[str, Tensor]) -> None:
    changed = arrays.get("changed")
    if changed is None or len(changed) > MOST_CHANGED:
        raise UsageError("no changed images were sent", code="U21", hint="reload the page")
    images = checked(asked.served, changed)
    with asked.classifier.probe() as probe:
        job.post("transforms", {"probabilities": probe.logits(images).softmax(dim=1)})


def _attack(job: Job, asked: _Asked, _: Any) -> None:
    epsilon = asked.share("epsilon")
    target = target_of(asked.request, asked.classifier)
    if epsilon == 0:
        with asked.classifier.probe() as probe:
            logits = probe.logits(asked.image[None])[0]
        job.post(
            "attack", {"image": asked.image, "probabilities": logits.softmax(dim=0)},
            predicted=asked.predicted, success=asked.predicted == target,
        )  # fmt: skip
        return
    found = pgd(
        asked.classifier, asked.image[None], torch.tensor([asked.predicted]),
        targets=None if target is None else torch.tensor([target]), epsilon=epsilon,
        steps=ATTACK_STEPS, step_size=2.5 * epsilon / ATTACK_STEPS, random_start=False,
        keep="best",
    )  # fmt: skip
    logits = found.logits_after[0]
    job.post(
        "attack", {"image": found.adversarials[0], "probabilities": logits.softmax(dim=0)},
        predicted=int(logits.argmax()), success=bool(found.success[0]),
    )  # fmt: skip


def _occlusion(job: Job, asked: _Asked, _: Any) -> None:
    _, height, width = asked.classifier.input_shape
    window = asked.whole("window", 1, min(height, width))
    stride = asked.whole("stride", 1, window)
    count = (-(-(height - window) // stride) + 1) * (-(-(width - window) // stride) + 1)
    if count * asked.classifier.num_classes > MOST_NUMBERS:
        raise UsageError(
            f"{count:,} windows of {asked.classifier.num_classes:,} classes", code="U05",
            hint="a larger stride",
        )  # fmt: skip
    found = occlusion(
        asked.classifier,
        asked.image[None],
        asked.explained,
        window=window,
        stride=stride,
        fill="mean",
    )
    table = found.table
    assert table is not None, "occlusion makes one"
    tops = sorted(set(table.windows[:, 0].tolist()))
    lefts = sorted(set(table.windows[:, 1].tolist()))
    job.post(
        "occlusion", {"map": found.maps[0, 0], "probabilities": table.probabilities[0]},
        tops=tops, lefts=lefts, window=window,
    )  # fmt: skip


Make = Callable[[Job, _Asked, Mapping[str, Tensor]], None]

PARTS: dict[str, Make | None] = {
    "prediction": None,
    "saliency": _saliency,
    "maps": _maps,
    "cam": _cam,
    "transforms": _transforms,
    "attack": _attack,
    "occlusion": _occlusion,
}
"""Parts in their order; the first is made of what all of them begin with."""

NEEDS_GRADIENTS = {"saliency", "maps", "cam", "attack"}


def unit_image(
    job: Job, served: ServedNetwork, request: Mapping[str, Any], arrays: Mapping[str, Tensor]
) -> None:
    """Post an image that drives a map up.

    Raises:
        UsageError: U05, U21 for a map that there is not.
    """
    image = image_of(served, arrays)
    seen = served.layers()[0]
    if seen is None:
        raise UsageError("a network without layers to look at", code="U21")
    asked = _Asked(served, image, 0, 0, request)
    layer = asked.whole("layer", 1, len(seen.nodes) - 1)
    if len(seen.nodes[layer].shape) != 3:
        raise UsageError("that layer has no maps", code="U21")
    unit = asked.whole("unit", 0, seen.nodes[layer].shape[0] - 1)
    _, rows, columns = seen.nodes[layer].shape
    here = float(seen.maps(image, layer)[unit, rows // 2, columns // 2])
    made, value, steps = seen.unit_image(layer, unit)
    job.post(
        "unit", {} if made is None else {"image": made}, layer=layer, unit=unit, value=value,
        here=here, steps=steps,
    )  # fmt: skip


def arithmetic(
    served: ServedNetwork, request: Mapping[str, Any], arrays: Mapping[str, Tensor]
) -> dict[str, Any]:
    """One output value of a convolution, product by product.

    Raises:
        UsageError: U21 for a place that there is not.
    """
    image = image_of(served, arrays)
    seen = served.layers()[0]
    asked = _Asked(served, image, 0, 0, request)
    if seen is None:
        raise UsageError("a network without layers to look at", code="U21")
    layer = asked.whole("layer", 1, len(seen.nodes) - 1)
    node = seen.nodes[layer]
    if node.op != "conv2d":
        raise UsageError("that layer is no convolution", code="U21")
    units, rows, columns = node.shape
    return seen.arithmetic(
        image, layer, asked.whole("unit", 0, units - 1), asked.whole("row", 0, rows - 1),
        asked.whole("column", 0, columns - 1),
    )  # fmt: skip
