"""Feature maps, occlusion, optimized images, and what inner maps do to the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convscope.explanations import feature_maps, occlusion
from convscope.figures import (
    colored,
    draw,
    line_chart,
    map_caption,
    overlay_tile,
    stretched,
)
from convscope.pages import name_of
from convscope.studies._chosen import first_of_class, first_of_each, in_words, listed
from convscope.studies._comparison import span
from convscope.studies._mnist_report._training import report_run
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study
from convscope.visualizations import class_images, logit_trajectory, zero_l2

PROBABILITIES = "cividis"
"""From 0 (dark) to 1 (bright yellow)."""


PULL = 0.03
"""Penalty on squared pixels while the mean of a map rises."""


def feature_maps_of_both_layers(study: Study, question: Question) -> None:
    """The maps of both convolutions, behind their ReLU, for one image."""
    classifier, test = report_run(study).classifier, study.dataset().test
    image, rows = first_of_class(classifier, test, 3)
    found = feature_maps(classifier, image, ["relu1", "relu2"])
    question.pictures(
        "image", [""], [("", [Picture(image=image[0], title="a 3")])],
        caption=f"The image: test image {rows[0]}, the first 3 that is classified correctly.",
    )  # fmt: skip
    for layer in found.layers:
        tiles = [Picture(image=stretched(one), alt=f"Map {i} of {layer.layer}")
                 for i, one in enumerate(layer.maps[0])]  # fmt: skip
        question.pictures(
            layer.layer, [""] * 8, [("", tiles[i : i + 8]) for i in range(0, len(tiles), 8)],
            scale=2 if layer.maps.shape[-1] > 14 else 4,
            caption=f"{map_caption(layer)}. Each map from its smallest value (black) to its "
            "largest (white).",
        )  # fmt: skip
    zero = {layer.layer: float((layer.maps == 0).float().mean()) for layer in found.layers}
    dead = {layer.layer: int(layer.dead.sum()) for layer in found.layers}
    question.number("share_of_zeros", zero)
    question.number("constant_maps", dead)
    question.find(
        "For this 3, "
        + " and ".join(f"{100 * share:.0f} % of the values of `{name}`"
                       for name, share in zero.items())
        + " are zero."
    )  # fmt: skip
    question.compare(
        "feature maps", document="32 and 32, shown",
        words=" and ".join(f"{layer.maps.shape[1]} of {layer.maps.shape[2]} x "
                           f"{layer.maps.shape[3]}" for layer in found.layers),
    )  # fmt: skip
    question.discuss(
        "The maps of the first layer are the digit with its edges of one direction brought out; "
        "those of the second have a quarter of the pixels and answer to curves and ends. "
        + (f"{sum(dead.values())} maps are constant for this image." if sum(dead.values()) else
           "No map is constant for this image.")
    )  # fmt: skip


def occlusion_of_all_digits(study: Study, question: Question) -> None:
    """For an image of each digit: the probability of its class at every position of the window."""
    classifier, test = report_run(study).classifier, study.dataset().test
    images, labels = first_of_each(classifier, test)
    found = occlusion(classifier, images, labels, preset="12/4", score="probability")
    table = found.table
    assert table is not None
    across = round(len(table.windows) ** 0.5)
    rows, lowest, lost = [], [], []
    for i in range(len(images)):
        shares = table.of_label[i].view(across, across)
        wrong = int((table.predicted[i] != labels[i]).sum())
        name = name_of(classifier.class_names, i)
        lowest.append(float(shares.min()))
        lost.append(wrong)
        rows.append(
            [
                Picture(image=images[i], title=f"a {name}",
                        detail=f"{100 * float(table.clean[i, i]):.1f} %"),
                Picture(image=probability_map(shares), detail=f"lowest {lowest[i]:.3f}",
                        title=f"{wrong} of {len(table.windows)} lost",
                        tone="bad" if wrong else "good"),
                Picture(image=overlay_tile(found, i),
                        alt=f"Where hiding lowers the probability of {name}"),
            ]
        )  # fmt: skip
    question.pictures(
        "maps", ["image", "probability of the true class", "its fall, laid over"] * 2,
        [("", [*a, *b]) for a, b in zip(rows[:5], rows[5:], strict=True)],
        caption="Two digits per row, three pictures each. Image with the probability of its "
        "class; probability of the true class with the window at each of 7 x 7 positions, placed "
        "as on the image, from 0 (dark blue) to 1 (yellow), with the number of positions at which "
        "another class is predicted; the image, orange where hiding lowers the "
        "probability.".replace("7 x 7", f"{across} x {across}"),
    )  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "digits",
        ["image", number | {"title": "probability of the whole image"},
         number | {"title": "lowest probability"}, "window of the lowest: top, left",
         number | {"title": "positions lost"}, "predicted there"],
        [_row(table.windows, table.of_label[i], table.predicted[i], float(table.clean[i, i]),
              classifier.class_names, i) for i in range(len(images))],
        caption=f"Of {len(table.windows)} positions each. Windows in pixels from the upper left.",
    )  # fmt: skip
    question.number("lowest_probability", lowest)
    question.number("positions_lost", lost)
    easy = [str(i) for i, count in enumerate(lost) if count == 0]
    hard = sorted(range(len(lost)), key=lambda i: -lost[i])[:3]
    question.find(
        f"Hiding a window of 12 x 12 pixels makes {sum(bool(count) for count in lost)} of "
        f"{len(lost)} digits be predicted as another one at some of {len(table.windows)} "
        f"positions; at no position: {listed(easy)}."
    )
    question.compare(
        "maps of the true class's probability", document="shown for images of the digits",
        words=f"all ten digits, {across} x {across} positions each",
    )  # fmt: skip
    question.discuss(
        f"Most positions are lost by {listed([f'{i} ({lost[i]})' for i in hard])}. The network "
        "needs the strokes that tell a digit from its neighbors; a gray window is also a shape of "
        "its own, which can look like a part of another digit."
    )


def _row(
    windows: Tensor,
    shares: Tensor,
    predicted: Tensor,
    clean: float,
    names: tuple[str, ...],
    label: int,
) -> list[object]:
    worst = int(shares.argmin())
    top, left = windows[worst, :2].tolist()
    others = sorted({name_of(names, k) for k in predicted.tolist() if k != label})
    return [
        f"a {name_of(names, label)}",
        round(clean, 4),
        round(float(shares[worst]), 4),
        f"{top}, {left}",
        int((predicted != label).sum()),
        ", ".join(others) or "–",
    ]


def probability_map(shares: Tensor, *, side: int = 28) -> NDArray[np.uint8]:
    """Probabilities ``(row, column)`` as colored squares that fill about `side` pixels."""
    square = max(1, round(side / len(shares)))
    tile = shares.repeat_interleave(square, 0).repeat_interleave(square, 1)
    return colored(tile.cpu().numpy(), PROBABILITIES)


def _half_way(logits: Tensor) -> int:
    """The step after which the logits have made half of their way, on average."""
    way = (logits - logits[0]).abs().mean(dim=(1, 2))
    return int((way >= 0.5 * way[-1]).nonzero()[0])


def image_optimization(study: Study, question: Question) -> None:
    """One image per class from a black start, with the cost over the iterations."""
    classifier = report_run(study).classifier
    found = class_images(
        classifier, recipe=zero_l2(steps=200, step_size=0.05), control=False,
        generator=study.generator(8),
    )  # fmt: skip
    names = [name_of(classifier.class_names, k) for k in range(classifier.num_classes)]
    right = int((found.logits.argmax(dim=1) == found.channels).sum())
    cells = [
        Picture(
            image=found.images[k], title=in_words(classifier, found.logits[k]),
            detail=f"of {names[k]}, logit {float(found.activations[k]):.1f}",
            tone="good" if int(found.logits[k].argmax()) == k else "bad",
        )
        for k in range(len(names))
    ]  # fmt: skip
    question.pictures(
        "images", [""] * 5, [("", cells[:5]), ("", cells[5:])],
        caption="One optimized image per class: what is predicted with which probability, and the "
        "logit of the class that it was made for.",
    )  # fmt: skip
    cost = -found.history
    question.figure(
        "cost",
        line_chart({name: cost[:, k].tolist() for k, name in enumerate(names)},
                   title="Cost", x="step", y="penalty − logit"),
        alt="Cost of each image over the steps",
        caption="Cost that falls and converges: the penalty 0.05 ||x||² minus the logit of the "
        "class, one line per class.",
    )  # fmt: skip
    fall = cost[0] - cost[-1]
    late = (cost[-21] - cost[-1]) / fall.clamp_min(1e-9)
    question.number("cost_first_last", [cost[0].tolist(), cost[-1].tolist()])
    question.find(
        f"The cost of every image falls, by {span(float(fall.min()), float(fall.max()), 1)}, "
        f"and {right} of {len(names)} images are predicted as their class."
        if bool((fall > 0).all())
        else f"The cost falls for {int((fall > 0).sum())} of {len(names)} images."
    )
    question.compare("cost", document="falls and converges",
                     words=f"falls; of the whole fall, the last 20 steps make at most "
                     f"{100 * float(late.max()):.1f} %")  # fmt: skip
    question.compare("images predicted as their class", document="shown", measured=right,
                     unit="count", words=f"of {len(names)}")  # fmt: skip
    question.discuss(
        "The images hold strokes that speak for a class and dots that do so only for this "
        "network: without a prior of what images look like, ascent finds whatever raises the "
        "logit. The penalty keeps pixels dark that do little."
    )
    question.deviate(
        "how strong the L2 is, is not told", "0.05 times the sum of squared pixels",
        "A penalty at which the images neither vanish nor fill with gray.",
    )  # fmt: skip


def inner_maps(study: Study, question: Question) -> None:
    """The logits of all classes while the mean of an inner map is maximized."""
    classifier = report_run(study).classifier
    chosen = "pool2:0-5"
    found = logit_trajectory(
        classifier,
        chosen,
        at="mean",
        steps=study.pick(100, 200),
        pull=PULL,
        generator=study.generator(9),
    )
    names = [name_of(classifier.class_names, k) for k in range(classifier.num_classes)]
    question.figure(
        "logits", draw(found), wide=True, alt="Logits of ten classes over the steps, per map",
        caption="One chart per map of the second max-pool whose mean is maximized: the logits of "
        "the ten classes over the steps of ascent, one line per class.",
    )  # fmt: skip
    question.figure(
        "activations",
        line_chart({unit: found.activations[:, i].tolist() for i, unit in enumerate(found.units)},
                   title="Activation", x="step", y="mean of the map"),
        alt="Activation of each map over the steps",
        caption="The means of the maps that are maximized, over the same steps.",
    )  # fmt: skip
    change = found.change
    cells = [
        Picture(image=found.images[i], title=in_words(classifier, found.logits[-1, i]),
                detail=found.units[i])
        for i in range(len(found.units))
    ]  # fmt: skip
    question.pictures(
        "images", [""] * len(cells), [("", cells)],
        caption="The images at the end, and what they are predicted as.",
    )  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "change", ["map", *(number | {"title": name} for name in names)],
        [[unit, *(round(float(value), 2) for value in change[i])]
         for i, unit in enumerate(found.units)],
        caption="Change of each class's logit from the first to the last step.", wide=True,
    )  # fmt: skip
    most = change.argmax(dim=1).tolist()
    least = change.argmin(dim=1).tolist()
    question.number("change", change.tolist())
    question.find(
        "Maximizing a map raises some classes and lowers others: "
        + "; ".join(
            f"map {unit.rpartition(':')[2]} raises {names[most[i]]} by "
            f"{float(change[i, most[i]]):.1f} and "
            f"{'lowers' if float(change[i, least[i]]) < 0 else 'hardly raises'} {names[least[i]]}"
            for i, unit in enumerate(found.units[:3])
        )
        + "."
    )
    question.compare(
        "effect on the logits over the iterations", document="shown for inner maps",
        words=f"{len(found.units)} maps, {found.logits.shape[0] - 1} steps",
    )  # fmt: skip
    raised = sorted({names[k] for k in most})
    question.discuss(
        (
            f"All {len(most)} maps raise {raised[0]} most: what fills any of them is a texture all "
            "over the image, and the dense layers take such a texture for that class. "
            if len(raised) == 1
            else f"The {len(most)} maps raise {listed(raised)} most: a map stands for a shape that "
            "some digits have and others lack. "
        )
        + f"The largest rise is {float(change.max()):.1f}, the largest fall "
        f"{float(change.min()):.1f}. Half of the change of the logits is reached within "
        f"{_half_way(found.logits)} of {len(found.logits) - 1} steps; then the map is nearly as "
        "active as pixels in [0, 1] can make it."
    )
    question.deviate(
        "which maps, start and step are not told",
        f"the first six maps of pool2 from N(0.5, 0.05), Adam at 0.05, {PULL:g} times the sum of "
        "squared pixels as a penalty",
        "As for the other images of the report; the penalty keeps texture from filling the image.",
    )
