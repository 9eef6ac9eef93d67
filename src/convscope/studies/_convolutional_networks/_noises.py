"""One adversarial noise per class, and nine fixed images with each of them."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.attacks import NoiseTransfer, UniversalPerturbation, apply_noise, uap
from convscope.classifier import Classifier
from convscope.data import Split
from convscope.figures import line_chart, noise_error_curve, noise_success_curve, noise_tile
from convscope.pages import name_of
from convscope.studies._chosen import first_of_class, random_rows
from convscope.studies._comparison import span
from convscope.studies._convolutional_networks._maximizing import in_fives
from convscope.studies._convolutional_networks._training import best_model, best_network
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study

STEP = 0.1
"""What the gradient is multiplied with. Five times as much needs a fifth of the steps."""

IMAGES = 9
"""Fixed test images."""

GRID_SCALE = 2
"""Screen pixels per pixel at which eleven columns fit into a page."""


def class_noises(study: Study) -> UniversalPerturbation:
    """One noise per class on the best network, the same for both questions."""

    def make() -> UniversalPerturbation:
        found = study.dataset()
        train, validation = (
            split.subset(random_rows(split, study.pick(few, most), study.generator(k)))
            for split, few, most, k in (
                (found.train, len(found.train), 10_000, 61),
                (found.validation, 100, 1_000, 62),
            )
        )
        return uap(
            best_network(study),
            train.to_float(),
            train.labels,
            validation=(validation.to_float(), validation.labels),
            epsilon=None,
            steps=study.pick(40, 200),
            samples=study.pick(24, 64),
            update="gradient",
            step_size=STEP,
            generator=study.generator(6),
        )

    return study.once("class noises", make)


def adversarial_noises(study: Study, question: Question) -> None:
    """Errors and accuracy over the optimization, and the ten noises."""
    classifier, found = best_network(study), class_noises(study)
    tested = _tested(study)
    carried = apply_noise(
        classifier, tested.to_float(), tested.labels,
        noises=found.noises, noise_targets=found.targets,
    )  # fmt: skip
    rates, names = carried.target_rates, _names(classifier, found)
    hardest, easiest = int(rates.argmin()), int(rates.argmax())
    question.find(
        f"One noise per class makes {best_model(study)} predict its class for "
        f"{100 * float(rates.mean()):.1f} % of {len(tested):,} test images of other classes: "
        f"{100 * float(rates[hardest]):.1f} % for {names[hardest]}, "
        f"{100 * float(rates[easiest]):.1f} % for {names[easiest]}."
    )
    question.tile("one noise per class", f"{100 * float(rates.mean()):.1f} %",
                  detail="of test images of other classes follow it")  # fmt: skip
    question.compare(
        "test images of other classes predicted as the noise's class",
        document="asked for; an assignment has no number", measured=float(rates.mean()),
        unit="share", words=f"on average over {len(names)} noises",
    )  # fmt: skip
    _curves(question, found, names)
    question.pictures(
        "noises", [""] * 5,
        in_fives([("", [
            Picture(image=noise_tile(found, i), title=name, detail=f"{100 * float(rates[i]):.0f} %",
                    alt=f"The noise for class {name}")
            for i, name in enumerate(names)
        ])]),
        caption="The noise of each class: orange is brighter, blue is darker, no color is no "
        f"change; the strongest color is a change of {float(found.noises.abs().max()):.2f} of the "
        "pixel range. Below: the share of test images of other classes that are predicted as this "
        "class with it.",
    )  # fmt: skip
    _table(question, found, names, rates)
    question.number("rates", dict(zip(names, rates.tolist(), strict=True)))
    question.number("made_wrong", dict(zip(names, carried.error_rates.tolist(), strict=True)))
    question.number("largest_change", float(found.noises.abs().max()))
    gap = float(found.validation_rates[-1].mean() - rates.mean())
    question.discuss(
        "The network stays as it is; only the noise learns. The mean error falls from "
        f"{float(found.training_error[0].mean()):.2f} to "
        f"{float(found.training_error[-1].mean()):.3g} on training images and to "
        f"{float(found.validation_error[-1].mean()):.3g} on validation images, that is to "
        + (
            "nearly the same: one noise fits images that it was not made for."
            if float(found.validation_error[-1].mean())
            < 1.5 * float(found.training_error[-1].mean()) + 0.05
            else "more: the noise knows its training images."
        )
        + f" Success on test images is {abs(100 * gap):.1f} points "
        f"{'below' if gap > 0 else 'above'} that on validation images."
    )
    question.deviate(
        "the gradient of the cost of the wanted label is added to the noise",
        "the log-probability of the wanted label rises",
        "Taken literally the noise would drive images away from the class.",
    )
    question.deviate(
        "the training images",
        f"{found.images_used:,} of them, {found.settings['samples']} per noise and step, "
        f"{found.settings['steps']} steps of {STEP:g} times the mean gradient; the noise starts at "
        "zero, and image plus noise stays in the pixel range, as asked",
        "All images in every step would take hours and change little.",
    )


def nine_images(study: Study, question: Question) -> None:
    """Nine fixed test images, alone and plus each noise: true and predicted class."""
    classifier, found = best_network(study), class_noises(study)
    images, labels, rows = fixed_images(classifier, study.dataset().test)
    shown = apply_noise(
        classifier, images, labels, noises=found.noises, noise_targets=found.targets
    )
    names = _names(classifier, found)
    question.pictures(
        "grid", ["alone", *[f"+ noise {name}" for name in names]],
        [(f"T {name_of(classifier.class_names, int(labels[i]))}", _line(shown, i))
         for i in range(len(labels))],
        scale=GRID_SCALE,
        caption="Nine fixed test images in rows, alone and plus each of the ten noises: predicted "
        "(P) and true class (T). Orange: predicted as the class of the noise; yellow: as a third "
        "class; green: still as its own.",
    )  # fmt: skip
    question.table(
        "predictions",
        [{"title": "image", "kind": "number"}, "true class", "alone",
         *[f"+ noise {name}" for name in names]],
        [
            [rows[i], *(name_of(classifier.class_names, int(k)) for k in (
                labels[i], shown.predicted_before[i], *shown.predicted[:, i]))]
            for i in range(len(labels))
        ],
        caption="The same in words: position of the image among the test images, true class, "
        "predicted classes.",
        wide=True,
    )  # fmt: skip
    followed, kept, third, own = counts(shown)
    others = followed + kept + third
    question.find(
        f"Of {others} sums of an image and the noise of another class, {followed} are predicted as "
        f"the class of the noise, {third} as a third class and {kept} still as their own."
    )
    question.compare(
        "sums predicted as the noise's class", document="asked for; an assignment has no number",
        measured=followed, unit="count", words=f"of {others}",
    )  # fmt: skip
    question.number("followed", followed)
    question.number("of", others)
    question.number("predicted", shown.predicted.tolist())
    question.number("rows", rows)
    norms = found.noises.flatten(1).norm(dim=1)
    apart = float(torch.pdist(images.flatten(1)).mean())
    question.number("noise_norms", norms.tolist())
    question.number("distance_between_images", apart)
    hold = [
        name_of(classifier.class_names, int(labels[i]))
        for i in range(len(labels))
        if bool((shown.predicted[:, i] == labels[i])[shown.noise_targets != labels[i]].any())
    ]
    question.discuss(
        "The noises are those of the question before, and these images had no part in making them. "
        + (
            f"With some noise an image of {', '.join(hold)} keeps its class. "
            if hold
            else "No image keeps its class with the noise of another. "
        )
        + f"With the noise of their own class {own} of {len(labels)} are predicted as it. The "
        f"noises have L2 norms of {span(float(norms.min()), float(norms.max()), 1)}; two of the "
        f"nine images are {apart:.1f} apart on average, so that a noise is "
        f"{100 * float(norms.mean()) / apart:.0f} % as long as the difference of two digits."
    )
    question.deviate(
        "nine fixed test images",
        "the first test image of each of the classes 0 to 8 that is classified correctly",
        "So that anybody gets the same pictures.",
    )


def fixed_images(classifier: Classifier, split: Split) -> tuple[Tensor, Tensor, list[int]]:
    """An image of each of the first nine classes, their classes, and their positions."""
    count = min(IMAGES, classifier.num_classes)
    chosen = [first_of_class(classifier, split, label) for label in range(count)]
    images = torch.cat([image for image, _ in chosen])
    return images, torch.arange(count), [row for _, rows in chosen for row in rows]


def counts(shown: NoiseTransfer) -> tuple[int, int, int, int]:
    """What became of sums of images and noises.

    Args:
        shown: Noises with targets on images with labels.

    Returns:
        Of the sums with a noise of another class: predicted as the noise's class, still as their
        own, as a third one; and of those with the noise of their own class: as that.
    """
    noise, label = shown.noise_targets[:, None], shown.labels[None]
    other = noise != label
    followed, kept = shown.predicted == noise, shown.predicted == label
    return (
        int((other & followed).sum()),
        int((other & kept).sum()),
        int((other & ~followed & ~kept).sum()),
        int((~other & kept).sum()),
    )


def _line(shown: NoiseTransfer, row: int) -> list[Picture]:
    """One image alone and with every noise."""
    true, alone = int(shown.labels[row]), int(shown.predicted_before[row])
    written = name_of(shown.class_names, true)
    cells = [
        Picture(
            image=shown.images[row], title=f"P {name_of(shown.class_names, alone)}",
            detail=f"T {written}", tone="good" if alone == true else "warn",
        )
    ]  # fmt: skip
    for noise, target, got in zip(
        shown.noises, shown.noise_targets.tolist(), shown.predicted[:, row].tolist(), strict=True
    ):
        cells.append(
            Picture(
                image=(shown.images[row] + noise).clamp(0, 1),
                title=f"P {name_of(shown.class_names, got)}", detail=f"T {written}",
                tone="good" if got == true else "bad" if got == target else "warn",
                alt=f"A {written} plus the noise for {name_of(shown.class_names, target)}: "
                f"predicted {name_of(shown.class_names, got)}",
            )
        )  # fmt: skip
    return cells


def _curves(question: Question, found: UniversalPerturbation, names: list[str]) -> None:
    """Error and accuracy of training and of validation images, on average and per class."""
    held = found.validation_steps.tolist()
    question.figure(
        "error", noise_error_curve(found),
        alt="Mean training and validation error over the steps",
        caption="Error, the cross-entropy with the wanted class, over the steps: mean over the ten "
        "noises, on the images of each step and on validation images (held out).",
    )  # fmt: skip
    question.figure(
        "accuracy",
        line_chart(
            {
                "training": (100 * found.training_rates[held].mean(1)).tolist(),
                "validation": (100 * found.validation_rates.mean(1)).tolist(),
            },
            title="Accuracy", x="step", y="predicted as wanted, %", places=held, markers=True,
        ),
        alt="Mean training and validation accuracy over the steps",
        caption="Accuracy: the network is told that every image is of the noise's class. Mean over "
        "the ten noises; training: of the images of the step, a tenth of which are of this class; "
        "validation: of images of other classes only.",
    )  # fmt: skip
    for part, values, places in (
        ("training", found.training_error, list(range(len(found.training_error)))),
        ("validation", found.validation_error, held),
    ):
        question.figure(
            f"{part}-error-per-class",
            line_chart({name: values[:, i].tolist() for i, name in enumerate(names)},
                       title=f"{part.capitalize()} error of each noise", x="step",
                       y="mean −log p(class)", places=places, log=True),
            alt=f"{part.capitalize()} error of each of the ten noises over the steps",
            caption=f"{part.capitalize()} error of each noise, logarithmic: a line per class.",
        )  # fmt: skip
    question.figure(
        "accuracy-per-class", noise_success_curve(found),
        alt="Validation accuracy of each of the ten noises over the steps",
        caption="Share of validation images of other classes that are predicted as the noise's "
        "class: a line per class; the thick one is their mean.",
    )  # fmt: skip


def _table(
    question: Question, found: UniversalPerturbation, names: list[str], rates: Tensor
) -> None:
    share, number = {"kind": "percent"}, {"kind": "number"}
    norms = found.noises.flatten(1)
    question.table(
        "noises",
        ["noise for", number | {"title": "training error"}, number | {"title": "validation error"},
         share | {"title": "training accuracy"}, share | {"title": "on validation"},
         share | {"title": "on test images"},
         number | {"title": "L2 of the noise"}, number | {"title": "L∞"}],
        [
            [name, round(float(found.training_error[-1, i]), 4),
             round(float(found.validation_error[-1, i]), 4), float(found.training_rates[-1, i]),
             float(found.validation_rates[-1, i]), float(rates[i]),
             round(float(norms[i].norm()), 3), round(float(norms[i].abs().max()), 3)]
            for i, name in enumerate(names)
        ],
        caption="Each noise at the end: errors, and the shares of training, validation and test "
        "images that are predicted as its class.",
        wide=True,
    )  # fmt: skip


def _tested(study: Study) -> Split:
    test = study.dataset().test
    return test.subset(random_rows(test, study.pick(len(test), 2_000), study.generator(63)))


def _names(classifier: Classifier, found: UniversalPerturbation) -> list[str]:
    return [name_of(classifier.class_names, target) for target in found.targets.tolist()]
