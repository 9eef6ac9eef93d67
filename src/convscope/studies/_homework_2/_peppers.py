"""Problem 1 Part 1: what a network that was trained on ImageNet sees in a photo of peppers."""

from __future__ import annotations

import torch

from convscope.figures import class_label, draw_predictions
from convscope.pages import name_of
from convscope.studies._homework_2._materials import network, photos, say_stand_in
from convscope.studies._question import Question
from convscope.studies._study import Study

Number = {"kind": "number"}
Share = {"kind": "percent"}


def peppers(study: Study, question: Question) -> None:
    """The three most probable classes of the peppers, and of the other images."""
    classifier = network(study)
    found = photos(study, classifier)
    predicted = classifier.predict(found.images, top=3)
    shares = predicted.probabilities.double()
    words = [
        "; ".join(f"{name_of(classifier.class_names, k)} {100 * p:.1f} %"
                  for k, p in zip(ks, ps, strict=True))
        for ks, ps in zip(predicted.labels.tolist(), shares.tolist(), strict=True)
    ]  # fmt: skip
    question.find(f"The network's three most probable classes of the {found.names[0]}: {words[0]}.")
    question.tile(
        f"top 1 of {found.names[0]}",
        class_label(classifier.class_names, int(predicted.labels[0, 0]), 24),
        detail=f"{100 * float(shares[0, 0]):.1f} %",
    )
    question.compare(
        f"top 3 of the {found.names[0]}", document="asked for: three classes, three probabilities",
        words=words[0],
    )  # fmt: skip
    for i, name in enumerate(found.names):
        one = classifier.predict(found.images[[i]], top=3)
        question.figure(
            f"top-{i + 1}", draw_predictions(one),
            alt=f"{name}: {words[i]}",
            caption=f"{name}: the image as the network is given it, and the probabilities of the "
            "three most probable classes, in percent.",
        )  # fmt: skip
    question.table(
        "top-3",
        ["image", {"title": "rank", **Number}, "class", {"title": "class number", **Number},
         {"title": "probability", **Share}],
        [
            [name, rank + 1, name_of(classifier.class_names, k), k, round(p, 4)]
            for name, ks, ps in zip(
                found.names, predicted.labels.tolist(), shares.tolist(), strict=True
            )
            for rank, (k, p) in enumerate(zip(ks, ps, strict=True))
        ],
        caption="The three most probable classes of each image that this study uses; numbers are "
        "those of this network.",
    )  # fmt: skip
    question.number("probabilities", shares.tolist())
    question.number("classes", predicted.labels.tolist())
    rest = 1 - float(shares[0].sum())
    doubt = float(shares[0, 1] / shares[0, 0])
    question.discuss(
        f"The three share {100 * (1 - rest):.1f} % of the probability; {100 * rest:.1f} % is left "
        f"for the other {classifier.num_classes - 3:,} classes. "
        + (
            "The first stands far above the second: the network is sure."
            if doubt < 0.2
            else f"The second has {100 * doubt:.0f} % of the first's probability: the network is "
            "not sure."
        )
        + f" What the network gets: {classifier.preprocessing()}."
    )
    question.deviate(
        "any network trained on ImageNet, such as VGG or ResNet",
        f"{classifier.source}; {_million(classifier.module)} million parameters",
        "It is the one in the data folder."
        if not study.fast
        else "--fast uses only what is in the package.",
    )
    say_stand_in(study, question)


def _million(module: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.2g}"
