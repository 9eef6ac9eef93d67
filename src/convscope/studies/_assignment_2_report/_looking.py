"""Filters, activation maps, and what a gray window hides."""

from __future__ import annotations

from collections import Counter

import torch

from convscope.explanations import OcclusionTable, feature_maps, filters, occlusion
from convscope.figures import (
    draw,
    explanation_tile,
    map_caption,
    overlay_tile,
    stretched,
)
from convscope.pages import name_of
from convscope.studies._assignment_2_report._training import document_run
from convscope.studies._chosen import first_of_class, first_of_each, listed
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study

MAP = 23
"""The "layer" of conv2 that the report shows."""

REPORTED = {
    7: "only position 2 fails: 9, 0.1734",
    9: "positions 2, 4 and 5 fail: 4, 7 and 7",
}
"""What the report has for its own 7 and 9."""


def filters_of_both_layers(study: Study, question: Question) -> None:
    """All filters of conv1; of conv2 what map 23 of the first layer goes through, and filter 23."""
    classifier = document_run(study).classifier
    first, slices = filters(classifier, "conv1"), filters(classifier, "conv2", seen_map=MAP)
    with classifier.probe() as probe:
        own = probe.weight("conv2")[MAP]
    question.figure(
        "conv1", draw(first), alt="The 32 filters of conv1",
        caption="conv1: all 32 filters, 3 x 3 weights each; dark is the smallest weight of a "
        "filter, bright its largest.",
    )  # fmt: skip
    question.figure(
        "conv2-map-23", draw(slices), alt="The part of each conv2 filter that sees map 23",
        caption=f"conv2: of each of its 32 filters the 3 x 3 weights that see map {MAP} of the "
        "layer before.",
    )  # fmt: skip
    cells = [Picture(image=stretched(weights), alt=f"Weights for map {i}", detail=f"map {i}")
             for i, weights in enumerate(own)]  # fmt: skip
    question.pictures(
        "conv2-filter-23", [""] * 16, [("", cells[:16]), ("", cells[16:])], scale=12,
        caption=f"conv2: the whole filter {MAP}, one square for each of the 32 maps that it sees; "
        "dark is the smallest weight of a square, bright its largest.",
    )  # fmt: skip
    spread = first.weights.flatten(1).std(dim=1)
    low, high = float(first.weights.min()), float(first.weights.max())
    question.find(
        f"The 32 filters of conv1 have weights from {low:.2f} to {high:.2f}; those of conv2 have "
        "32 such squares each, of which the report shows one."
    )
    question.compare("filters of conv1", document="32 shown", measured=len(first.weights),
                     unit="count")  # fmt: skip
    question.number("conv1_range", [low, high])
    mean = first.weights.flatten(1).mean(dim=1)
    edges = int((spread > mean.abs()).sum())
    question.discuss(
        f"In {edges} of the 32 filters of conv1 the weights vary more than their mean is large: "
        "they answer to edges and strokes of one direction; the others are nearer to a blur. "
        "Filters of conv2 see 32 maps at once, so that one square of nine weights says little."
    )
    question.deviate(
        f'"layer {MAP}" of conv2',
        f"both: the weights that see map {MAP}, and filter {MAP} as a whole",
        "The words allow both readings.",
    )


def activation_maps(study: Study, question: Question) -> None:
    """The maps of both convolutions, behind their ReLU, for one image; which ones are dead."""
    classifier, test = document_run(study).classifier, study.dataset().test
    images, _ = first_of_each(classifier, test)
    found = feature_maps(classifier, images, ["relu1", "relu2"])
    digit = 7
    question.pictures(
        "image", [""], [("", [Picture(image=images[digit], title=f"a {digit}")])],
        caption="The image: the first 7 of the test set that is classified correctly.",
    )  # fmt: skip
    for layer in found.layers:
        tiles = [Picture(image=stretched(one), alt=f"Map {i} of {layer.layer}")
                 for i, one in enumerate(layer.maps[digit])]  # fmt: skip
        question.pictures(
            layer.layer, [""] * 8, [("", tiles[i : i + 8]) for i in range(0, len(tiles), 8)],
            scale=2 if layer.maps.shape[-1] > 14 else 4,
            caption=f"{map_caption(layer)}. Each map from its smallest value (black) to its "
            "largest (white), for the image above.",
        )  # fmt: skip
    dead = {layer.layer: layer.dead.nonzero()[:, 0].tolist() for layer in found.layers}
    zero = {layer.layer: float((layer.maps == 0).float().mean()) for layer in found.layers}
    question.number("dead_maps", dead)
    question.number("share_of_zeros", zero)
    question.find(
        "Behind the ReLU "
        + " and ".join(f"{100 * share:.0f} % of the values of `{name}`" for name, share in
                       zero.items())
        + " are zero for ten images, one of each digit."
    )  # fmt: skip
    question.compare(
        "activation maps", document="shown for both convolutions",
        words=" and ".join(f"{layer.maps.shape[1]} maps of {layer.maps.shape[2]} x "
                           f"{layer.maps.shape[3]}" for layer in found.layers),
    )  # fmt: skip
    count = sum(map(len, dead.values()))
    question.discuss(
        "The maps of the first layer look like the digit with edges of one direction brought out; "
        "those of the second are coarser and answer to parts of strokes. "
        + (
            f"{count} maps are the same everywhere for all ten images: they do nothing here."
            if count
            else "No map is constant on all ten images."
        )
    )


def occlusion_of_two_digits(study: Study, question: Question) -> None:
    """Nine occluded images each of a 7 and a 9, with the probability and the prediction."""
    classifier, test = document_run(study).classifier, study.dataset().test
    digits = (7, 9)
    chosen = [first_of_class(classifier, test, digit) for digit in digits]
    images = torch.cat([image for image, _ in chosen])
    found = occlusion(classifier, images, torch.tensor(digits), preset="14/7")
    table = found.table
    assert table is not None
    failures: dict[int, list[int]] = {}
    rows = []
    for i, digit in enumerate(digits):
        cells, failed = [], []
        for position, (top, left, bottom, right) in enumerate(table.windows.tolist()):
            occluded = images[i].clone()
            occluded[:, top:bottom, left:right] = 0.5
            probability = float(table.of_label[i, position])
            predicted = int(table.predicted[i, position])
            name = name_of(classifier.class_names, predicted)
            right_one = predicted == digit
            if not right_one:
                failed.append(position + 1)
            cells.append(
                Picture(
                    image=occluded, title=f"{position + 1}: {name}", detail=f"{probability:.4f}",
                    tone="good" if right_one else "bad",
                    alt=f"A {digit} with position {position + 1} hidden: predicted {name}",
                )
            )  # fmt: skip
            rows.append(
                [f"a {digit}", position + 1, f"{top}, {left}", f"{probability:.4f}",
                 {"value": name, "tone": "" if right_one else "bad"}]
            )  # fmt: skip
        failures[digit] = failed
        question.pictures(
            f"nine-of-a-{digit}", ["", "", ""],
            [("", cells[first : first + 3]) for first in (0, 3, 6)], scale=3,
            caption=f"A {digit} with the window at positions 1 to 9, left to right and top to "
            "bottom: the number and what is predicted (orange: no longer the digit), below it the "
            f"probability of {digit}.",
        )  # fmt: skip
        question.compare(
            f"a {digit}", document=REPORTED[digit],
            words=_failure_words(table, i, classifier.class_names, failed),
            note="another image of the digit",
        )  # fmt: skip
        question.number(
            f"digit_{digit}",
            {"position": list(range(1, 10)), "probability": table.of_label[i].tolist(),
             "predicted": table.predicted[i].tolist(), "test_image": chosen[i][1][0]},
        )  # fmt: skip
    question.table(
        "positions",
        ["image", {"title": "number", "kind": "number"}, "top, left",
         "probability of the true class", "prediction"],
        rows,
        caption="The table of the report: number of the figure, probability of the true class, "
        "prediction. Top and left edge of the window are in pixels.",
    )  # fmt: skip
    maps = [
        (
            f"a {digit}",
            [
                Picture(image=images[i], detail="image"),
                Picture(image=explanation_tile(found, i), detail="fall of the logit"),
                Picture(image=overlay_tile(found, i), detail="on the image"),
            ],
        )
        for i, digit in enumerate(digits)
    ]
    question.pictures(
        "maps", ["image", "map", "laid over"], maps,
        caption="Mean fall of the true class's logit over the windows that cover a pixel: orange "
        "where hiding it lowers the logit, blue where hiding it raises it, no color for zero. "
        "One scale per image.",
    )  # fmt: skip
    question.find(
        " ".join(
            f"The {digit} is lost at {len(failed)} of 9 positions"
            + (f" ({listed([str(p) for p in failed])})." if failed else ".")
            for digit, failed in failures.items()
        )
    )
    question.discuss(_occlusion_words(table, digits))
    question.deviate(
        "a 7 and a 9 of the report",
        f"the first of each in the test set that is classified correctly "
        f"(rows {chosen[0][1][0]} and {chosen[1][1][0]})",
        "The report does not say which images it shows.",
    )


def _failure_words(
    table: OcclusionTable, row: int, names: tuple[str, ...], failed: list[int]
) -> str:
    if not failed:
        return "no position fails"
    parts = [
        f"position {p}: {name_of(names, int(table.predicted[row, p - 1]))}, "
        f"{float(table.of_label[row, p - 1]):.4f}"
        for p in failed
    ]
    return "; ".join(parts)


def _occlusion_words(table: OcclusionTable, digits: tuple[int, ...]) -> str:
    sentences = []
    for i, digit in enumerate(digits):
        worst = int(table.of_label[i].argmin()) + 1
        wrong = Counter(k for k in table.predicted[i].tolist() if k != digit)
        sentences.append(
            f"Hiding position {worst} lowers the probability of {digit} most, to "
            f"{float(table.of_label[i, worst - 1]):.4f} (whole image: "
            f"{float(table.clean[i, digit]):.4f})"
            + (
                "; what the network then predicts: "
                + listed([f"{k} ({n} of 9)" for k, n in wrong.most_common()])
                if wrong
                else ""
            )
            + "."
        )
    return " ".join(sentences) + (
        " A gray window is something the network never saw in training: part of the fall is due to "
        "the window's edges, not to what it hides."
    )
