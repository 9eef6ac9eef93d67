"""Problem 1 Part 2: feature maps of three depths, and how far each is a picture of the image."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from convscope.explanations import SelectedMaps, selected_maps
from convscope.figures import pixels, stretched
from convscope.studies._homework_2._materials import gray, network, photos, say_stand_in
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study

STAGES = ("early", "middle", "late")
MAPS = 5
TILE = 112
"""Pixels of a map on the page, at least: small maps are enlarged, every value a square."""

COARSE = 12
"""Maps with at most so many rows are no pictures, whatever explains their values."""

BRIGHT = 0.5
"""A position of a normalized map counts as bright from here on."""

Number = {"kind": "number"}
Share = {"kind": "percent"}


def feature_maps_of_three_layers(study: Study, question: Question) -> None:
    """Five early, five middle and five late maps, normalized, and what they have in common."""
    classifier = network(study)
    found = photos(study, classifier)
    maps = selected_maps(classifier, found.images[:1], count=MAPS)
    luma = gray(found.images[:1])[0]
    contours, seen = edges(luma), local_planes(found.images[0])
    rows, cells, table = [], [], []
    for stage, layer in zip(STAGES, maps.layers, strict=False):
        field = layer.receptive_field
        height, width = layer.maps.shape[-2:]
        line = []
        for channel, values in zip(layer.channels[0].tolist(), layer.maps[0], strict=True):
            facts = {
                "bright": bright_share(values),
                "brightness": correlation(values, shrunk(luma, height, width)),
                "contours": correlation(values, shrunk(contours, height, width)),
                "explained": explained(values, seen),
            }
            cells.append((stage, facts))
            line.append(
                Picture(
                    image=enlarged(stretched(values), TILE), title=f"map {channel}",
                    detail=f"{100 * facts['bright']:.0f} % bright",
                    alt=f"Map {channel} of {layer.layer}, {height} x {width}",
                )
            )  # fmt: skip
            table.append(
                [stage, channel, f"{height}×{width}",
                 "unknown" if field is None else f"{field[0]}×{field[1]}",
                 _short(values.min()), _short(values.max()), round(facts["bright"], 4),
                 round(facts["brightness"], 3), round(facts["contours"], 3),
                 round(facts["explained"], 4)]
            )  # fmt: skip
        rows.append((f"{stage}, {height} × {width}", line))
    side = max(len(picture.pixels) for _, line in rows for picture in line)
    question.pictures(
        "image", [found.names[0]], [("", [Picture(image=pixels(found.images[0]))])],
        caption="The image.",
    )  # fmt: skip
    question.pictures(
        "maps", [""] * MAPS, rows, scale=round(TILE / side, 3),
        caption="Five maps each of an early, a middle and a late layer. Every map is normalized by "
        "itself: its smallest value is black, its largest white. Maps are the most interesting of "
        "their layer: selective, spread and strong, and no copies of each other.",
    )  # fmt: skip
    question.table(
        "maps",
        ["stage", {"title": "map", **Number}, "size", "sees (pixels)",
         {"title": "smallest", **Number}, {"title": "largest", **Number},
         {"title": "bright", **Share}, {"title": "r with brightness", **Number},
         {"title": "r with contours", **Number},
         {"title": "explained", **Share}],
        table,
        caption="Sees: the receptive field of one value; it may be larger than the image. "
        "Smallest, largest: before normalization. Bright: positions above half of the range. r: "
        "correlation over positions with the image's brightness and with the strength of its "
        "contours, both averaged to the size of the map. Explained: the part of the map's variance "
        "that colors and edges of the image at the same place account for (adjusted R² of a linear "
        "fit).",
        wide=True,
    )  # fmt: skip
    means = {stage: _means([facts for s, facts in cells if s == stage]) for stage, _ in cells}
    question.number("means", means)
    first, last = means[STAGES[0]], means[list(means)[-1]]
    question.find(
        f"Colors and edges at the same place explain {100 * first['explained']:.0f} % of an early "
        f"map and {100 * last['explained']:.0f} % of a late one; {100 * first['bright']:.0f} % of "
        f"the positions of an early map are bright, {100 * last['bright']:.0f} % of a late one."
    )
    question.compare("maps", document="five early, five middle, five late",
                     measured=len(table), unit="count", words="maps of three layers")  # fmt: skip
    _discuss_maps(question, maps, means)
    question.deviate(
        "maps are chosen by eye",
        "by a measure of how much there is to see",
        "One seed, one choice. The measure is convscope.explanations.interest.",
    )
    say_stand_in(study, question)


def _discuss_maps(
    question: Question, maps: SelectedMaps, means: dict[str, dict[str, float]]
) -> None:
    for stage, layer in zip(STAGES, maps.layers, strict=False):
        height, width = layer.maps.shape[-2:]
        field, found = layer.receptive_field, means[stage]
        share = found["explained"]
        kind = (
            "They are pictures of the image: colors, light and dark, edges of one direction"
            if share > 0.5 and min(height, width) > COARSE
            else f"They are too coarse for a picture: {height} x {width} values say where "
            "something bright or dark is, and that explains much of so few values"
            if share > 0.5
            else "They are related to the image's colors and edges, and no copies of them"
            if share > 0.2
            else "They are no pictures of the image any more: they say that something is there, "
            "and about where"
        )
        sees = "" if field is None else f", each of which sees {field[0]} x {field[1]} pixels"
        question.discuss(
            f"{stage.capitalize()} ({layer.layer_label}): {layer.of:,} maps of {height} x {width} "
            f"values{sees}. In the five, {100 * share:.0f} % of the variance is explained by the "
            f"colors and edges at the same place (mean |r| with brightness "
            f"{found['brightness']:.2f}, with contours {found['contours']:.2f}), and "
            f"{100 * found['bright']:.0f} % of the positions are bright. {kind}."
        )


def edges(luma: Tensor) -> Tensor:
    """Strength of the contours ``(height, width)``: length of the gradient by central differences.

    Example:
        >>> edges(torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 3))[1].tolist()
        [0.0, 0.5, 0.5, 0.0]
    """
    across, down = slopes(luma)
    return (across.square() + down.square()).sqrt()


def slopes(luma: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences across and down ``(height, width)``; the border is repeated."""
    padded = F.pad(luma[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    across = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    return across, (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2


def shrunk(plane: Tensor, height: int, width: int) -> Tensor:
    """Means over the areas that the values of a map of this size stand for."""
    return F.adaptive_avg_pool2d(plane[None, None], (height, width))[0, 0]


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation over positions; 0 where one of the two is constant.

    Example:
        >>> line = torch.tensor([[1.0, 2.0, 3.0]])
        >>> correlation(line, 5 - 2 * line), correlation(line, torch.ones(1, 3))
        (-1.0, 0.0)
    """
    x, y = a.double().flatten(), b.double().flatten()
    x, y = x - x.mean(), y - y.mean()
    size = float(x.norm() * y.norm())
    return round(float(x @ y) / size, 12) if size > 0 else 0.0


def local_planes(image: Tensor) -> Tensor:
    """What is at each place of a color image: colors, slopes across and down, contours.

    Args:
        image: ``(3, height, width)``.

    Returns:
        ``(6, height, width)``.
    """
    luma = gray(image[None])[0]
    return torch.stack([*image, *slopes(luma), edges(luma)])


def explained(values: Tensor, planes: Tensor) -> float:
    """Share of a map's variance that a linear fit of these planes accounts for: adjusted R².

    Args:
        values: A map ``(height, width)``.
        planes: ``(plane, rows, columns)``, averaged to the size of the map.

    Returns:
        1 for a map that is a mixture of the planes, 0 for one that has nothing to do with them,
        is constant, or has too few positions to tell.

    Source:
        H. Theil, "Economic Forecasts and Policy", 1958: R² for so many terms and positions.
    """
    seen = F.adaptive_avg_pool2d(planes[None], (values.shape[0], values.shape[1]))[0].double()
    y = values.double().flatten()
    count, terms = len(y), len(planes)
    total = (y - y.mean()).square().sum()
    if count <= terms + 1 or not float(total) > 0:
        return 0.0
    x = torch.cat([seen.flatten(1), torch.ones(1, count, dtype=torch.float64)]).T
    fit = torch.linalg.lstsq(x, y[:, None], driver="gelsd").solution
    left = (y - (x @ fit)[:, 0]).square().sum() / total
    return max(0.0, 1 - float(left) * (count - 1) / (count - terms - 1))


def bright_share(values: Tensor) -> float:
    """Share of the positions of a map that are bright once it is normalized.

    Example:
        >>> bright_share(torch.tensor([[0.0, 1.0], [2.0, 4.0]]))
        0.25
    """
    low, high = values.min(), values.max()
    if not float(high) > float(low):
        return 0.0
    return float(((values - low) / (high - low) > BRIGHT).double().mean())


def enlarged(tile: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A small map with every value a square of whole pixels, at least as large as `side`.

    Example:
        >>> enlarged(np.array([[1, 2]], np.uint8), 4).tolist()
        [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    factor = max(1, math.ceil(side / max(tile.shape)))
    return tile.repeat(factor, axis=0).repeat(factor, axis=1)


def _means(facts: list[dict[str, float]]) -> dict[str, float]:
    """Means of sizes: correlations count whatever their sign."""
    return {key: sum(abs(one[key]) for one in facts) / len(facts) for key in facts[0]}


def _short(value: Tensor) -> float:
    return float(f"{float(value):.4g}")
