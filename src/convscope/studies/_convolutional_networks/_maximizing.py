"""Images that maximize a logit, and images that maximize central neurons of the second max-pool."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from convscope.classifier import Classifier
from convscope.figures import ascent_curve, line_chart
from convscope.models import summarize
from convscope.pages import name_of
from convscope.studies._chosen import in_words, listed
from convscope.studies._convolutional_networks._training import (
    MODELS,
    best_model,
    first_by_validation,
    learned,
)
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study
from convscope.visualizations import (
    VISUALIZATION_RECIPES,
    Recipe,
    Visualization,
    class_images,
    neuron_images,
)

RECIPE = "gaussian-gradient"
READINGS = {
    "variance": "the variance of the blur",
    "printed": "its standard deviation",
    "usual": "4 k / n + 0.5, as the method is known elsewhere",
}
"""Ways to read sigma = 4 k / (n + 0.5)."""

LAYER = "pool2"
MAPS = 10
"""Maps of the second max-pool that are shown, of 32."""

FALLEN = 0.05
"""Share of its rise that a cost may lose until the end and still be called rising."""

TOLERATED = f"a fall by at most {100 * FALLEN:g} % of the rise is not counted"


def logits(study: Study, question: Question) -> None:
    """Ten images, the cost over the iterations, and three readings of the blur."""
    classifier = learned(study, best_model(study)).classifier
    judge_name = first_by_validation(
        {m: learned(study, m).history[-1] for m in MODELS if m != best_model(study)}
    )
    found = class_images(
        classifier, recipe=_recipe(), reference=study.dataset().train.to_float(_some(study)),
        evaluator=learned(study, judge_name).classifier, generator=study.generator(8),
    )  # fmt: skip
    judged, control = found.held_out, found.control
    assert judged is not None
    rising = risen(found)
    own = int((found.logits.argmax(dim=1) == found.channels).sum())
    question.find(
        f"{len(rising)} of {len(found.units)} costs rise to the end; {own} images are predicted as "
        f"their class by the network itself, and {judged.correct} by {judge_name}, for which they "
        "were not made."
    )
    question.tile("class images", f"{own} of {len(found.units)}",
                  detail=f"by another network: {judged.correct}")  # fmt: skip
    question.compare(
        "cost over the iterations", document="rises", measured=len(rising), unit="count",
        words=f"of {len(found.units)} rise to the end", at_least=len(found.units), note=TOLERATED,
    )  # fmt: skip
    lines = [("image", _class_cells(found, classifier))]
    if control is not None:
        lines.append(("random weights", [
            Picture(image=image, alt="The same recipe on random weights")
            for image in control.images
        ]))  # fmt: skip
    question.pictures(
        "images", [""] * 5, in_fives(lines),
        caption="For every class the image that maximizes its logit. Below it: class and logit "
        f"(green: {judge_name}, which had no part in it, predicts this class), and what the "
        "network itself predicts (P). Below these: the same recipe on the network with random "
        "weights.",
    )  # fmt: skip
    question.figure(
        "cost", ascent_curve(found), alt="Each logit over the iterations",
        caption="Cost, the logit that is maximized, over the iterations: a line per class.",
    )  # fmt: skip
    _table(question, found, judge_name)
    _readings(study, question, classifier, found)
    _numbers(question, found)
    question.number("predicted_as_intended", own)
    question.number("judged_as_intended", judged.correct)
    real = found.max_dataset_activation
    assert real is not None
    beyond = int((found.activations > real).sum())
    question.discuss(
        f"{beyond} of the {len(found.units)} logits end above the largest one on "
        f"{len(_some(study)):,} training images: the images are more of their class than any real "
        "one, to this network. "
        + (
            f"{judge_name} does not agree for {len(found.units) - judged.correct} of them: what is "
            "maximized is partly what this network alone responds to."
            if judged.correct < len(found.units)
            else f"{judge_name} agrees for all of them."
        )
    )
    question.deviate(
        "sigma = 4 k / (n + 0.5), a variance by its place in the formula and a deviation by its "
        "name",
        "the variance; the other readings are in the table and in the figure",
        "With the deviation the blur ends at 4 pixels; the table says what that does to the logit.",
    )
    question.deviate(
        "start N(128, ·) in gray levels, step 1 / std of the gradient",
        "start N(0.5, 0.1) in [0, 1], step 1 / 255 per std",
        "The same in other units; the assignment leaves the spread of the start open.",
    )
    question.deviate(
        "the image of the last iteration",
        "the image of the iteration with the highest cost",
        "Where the cost falls at the end, the last one shows less.",
    )


def neurons(study: Study, question: Question) -> None:
    """The central neurons of ten maps of the second max-pool."""
    model = first_by_validation({m: learned(study, m).history[-1] for m in MODELS[1:]})
    classifier = learned(study, model).classifier
    found = neuron_images(
        classifier, f"{LAYER}:0-{MAPS - 1}", at="center", recipe=_recipe(), control=False,
        reference=study.dataset().train.to_float(_some(study)), generator=study.generator(9),
    )  # fmt: skip
    assert found.max_dataset_activation is not None and found.max_dataset_images is not None
    assert found.dead is not None
    dead = [int(k) for k in found.channels[found.dead]]
    rising, real = risen(found), found.max_dataset_activation
    beyond = int((found.activations > real).sum())
    shape = next(row for row in summarize(classifier.module, classifier.input_shape).rows
                 if row.name == LAYER)  # fmt: skip
    field = shape.receptive_field
    assert field is not None and shape.output_shape is not None
    maps, height, width = shape.output_shape
    question.find(
        f"{beyond} of {MAPS} central neurons of {LAYER} reach more than on any of "
        f"{len(_some(study)):,} training images; {len(dead)} cannot be raised at all."
    )
    question.compare(
        "cost over the iterations", document="rises", measured=len(rising), unit="count",
        words=f"of {MAPS} rise to the end", at_least=MAPS, note=TOLERATED,
    )  # fmt: skip
    question.compare(
        "size of the second max-pool", document="7 x 7 x 32",
        words=f"{height} x {width} x {maps}",
    )  # fmt: skip
    numbers = [f"map {int(k)}" for k in found.channels]
    silent = [str(int(k)) for k in found.channels[real <= 0]]
    question.pictures(
        "images", [""] * 5,
        in_fives([
            ("image", [
                Picture(image=found.images[i], title=name,
                        detail=f"{float(found.activations[i]):.2f}"
                        + (", dead" if found.dead[i] else ""),
                        alt=f"Image that maximizes the central neuron of {name}")
                for i, name in enumerate(numbers)
            ]),
            ("best real image", [
                Picture(image=found.max_dataset_images[i], detail=f"{float(real[i]):.2f}",
                        alt=f"Training image that excites the central neuron of {name} most")
                for i, name in enumerate(numbers)
            ]),
        ]),
        caption=f"Images that maximize the central neuron of {MAPS} of the {maps} maps of "
        f"{LAYER}, and the training image on which this neuron is largest; below each, the value "
        f"of the neuron. It sees {field[0]} x {field[1]} pixels in the middle: farther out than "
        "the blur reaches, the image is the noise that it began with.",
    )  # fmt: skip
    question.figure(
        "cost", ascent_curve(found), alt="Each neuron over the iterations",
        caption="Cost, the value of the neuron, over the iterations: a line per map.",
    )  # fmt: skip
    kept = found.kept
    assert kept is not None
    number = {"kind": "number"}
    question.table(
        "neurons",
        [number | {"title": "map"}, number | {"title": "at the start"},
         number | {"title": "reached"}, number | {"title": "at iteration"},
         number | {"title": "largest on training images"}],
        [
            [int(found.channels[i]), round(float(found.history[0, i]), 3),
             round(float(found.activations[i]), 3), int(kept[i]), round(float(real[i]), 3)]
            for i in range(len(numbers))
        ],
        caption=f"The central neuron of each map of {LAYER}, in {model}.",
    )  # fmt: skip
    _numbers(question, found)
    question.number("dead", dead)
    question.number("receptive_field", list(field))
    question.discuss(
        f"A neuron of {LAYER} sees {field[0]} x {field[1]} of {classifier.input_shape[1]} x "
        f"{classifier.input_shape[2]} pixels, so that it answers to a stroke and not to a digit. "
        + (
            f"Nothing raises the neurons of map {listed([str(k) for k in dead])}: their ReLU is "
            "zero for every start that was tried. "
            if dead
            else "All ten can be raised. "
        )
        + (
            f"Never above zero on the training images: map {listed(silent)}."
            if silent
            else "Every one is above zero on some training image."
        )
    )
    question.discuss(
        f"{MAPS - len(rising)} of {MAPS} costs fall after their best iteration, which is "
        f"{float(kept.double().mean()):.0f} on average: the blur grows to 2 pixels, and what it "
        "leaves of a gradient is too wide for so small a window. The cost of a logit, which sees "
        "the whole image, is in the question before."
        if len(rising) < MAPS
        else f"All {MAPS} costs rise to the end, as the assignment says."
    )
    question.deviate(
        "the image of the last iteration",
        "the image of the iteration with the highest cost",
        "Where the cost falls at the end, the last one shows less.",
    )
    question.deviate(
        "ten of 32 maps",
        f"maps 0 to {MAPS - 1} of {model}",
        "A choice of the prettiest would say less.",
    )


def risen(found: Visualization) -> list[int]:
    """The units whose cost ends above its start and near its maximum."""
    start, end, best = found.history[0], found.history[-1], found.history.amax(dim=0)
    fine = (end > start) & (best - end <= FALLEN * (best - start))
    return torch.nonzero(fine)[:, 0].tolist()


def in_fives(lines: Sequence[tuple[str, list[Picture]]]) -> list[tuple[str, list[Picture]]]:
    """Lines of many pictures as lines of five: the first five of every line, then the next."""
    longest = max(len(cells) for _, cells in lines)
    return [
        (title, cells[start : start + 5])
        for start in range(0, longest, 5)
        for title, cells in lines
    ]


def _recipe(reading: str = "variance") -> Recipe:
    return VISUALIZATION_RECIPES[RECIPE](steps=200, blur_std=reading)


def _some(study: Study) -> range:
    """Training images that activations are compared with."""
    return range(min(len(study.dataset().train), study.pick(500, 5_000)))


def _class_cells(found: Visualization, classifier: Classifier) -> list[Picture]:
    judged = found.held_out
    assert judged is not None
    names = classifier.class_names
    return [
        Picture(
            image=found.images[i],
            title=f"{name_of(names, k)}: {float(found.activations[i]):.1f}",
            detail=f"P {in_words(classifier, found.logits[i], digits=0)}",
            tone="good" if int(judged.labels[i]) == k else "warn",
            alt=f"Image that maximizes the logit of {name_of(names, k)}",
        )
        for i, k in enumerate(found.channels.tolist())
    ]  # fmt: skip


def _table(question: Question, found: Visualization, judge_name: str) -> None:
    judged, kept, real = found.held_out, found.kept, found.max_dataset_activation
    assert judged is not None and kept is not None and real is not None
    number, share = {"kind": "number"}, {"kind": "percent"}
    shares, names = found.logits.softmax(dim=1), found.class_names
    question.table(
        "images",
        ["class", number | {"title": "logit at the start"}, number | {"title": "reached"},
         number | {"title": "at iteration"}, number | {"title": "largest on training images"},
         share | {"title": "its probability"}, f"{judge_name} predicts",
         share | {"title": "its probability there"}],
        [
            [name_of(names, k), round(float(found.history[0, i]), 2),
             round(float(found.activations[i]), 2), int(kept[i]), round(float(real[i]), 2),
             float(shares[i, k]), name_of(names, int(judged.labels[i])),
             float(judged.probabilities[i])]
            for i, k in enumerate(found.channels.tolist())
        ],
        caption="The image of each class: its logit, the probability of the class in the network "
        "that it was made for, and in another one.",
        wide=True,
    )  # fmt: skip


def _readings(
    study: Study, question: Question, classifier: Classifier, variance: Visualization
) -> None:
    """The mean logit over the iterations for each way to read the formula of the blur."""
    results = {"variance": variance} | {
        reading: class_images(
            classifier, recipe=_recipe(reading), control=False, generator=study.generator(8)
        )
        for reading in ("printed", "usual")
    }
    question.figure(
        "readings",
        line_chart({words: found.history.mean(1).tolist()
                    for words, found in zip(("variance", "standard deviation", "usual form"),
                                            results.values(), strict=True)},
                   title="Mean logit", x="iteration", y="mean of ten logits"),
        alt="Mean logit over the iterations for three readings of sigma",
        caption="The mean of the ten logits over the iterations, for three readings of the printed "
        "sigma.",
    )  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "readings",
        ["sigma is", number | {"title": "highest mean logit"}, number | {"title": "at iteration"},
         number | {"title": "mean logit at the end"}, number | {"title": "rise to the end, of 10"}],
        [
            [READINGS[reading], round(float(found.history.mean(1).max()), 2),
             int(found.history.mean(1).argmax()), round(float(found.history[-1].mean()), 2),
             len(risen(found))]
            for reading, found in results.items()
        ],
        caption="Three readings of sigma = 4 k / (n + 0.5).",
    )  # fmt: skip


def _numbers(question: Question, found: Visualization) -> None:
    question.number("start", found.history[0].tolist())
    question.number("end", found.history[-1].tolist())
    question.number("reached", found.activations.tolist())
