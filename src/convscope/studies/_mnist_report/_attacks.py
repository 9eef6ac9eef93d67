"""Images from noise, a 2 as other digits, a noise on other images, and three defenses."""

from __future__ import annotations

import torch

from convscope.attacks import AttackResult, added_noise, apply_noise, from_noise, toward_image
from convscope.defenses import blur, threshold
from convscope.figures import difference_tile, difference_words, draw, line_chart
from convscope.pages import name_of
from convscope.robustness import DefenseComparison, compare_defenses
from convscope.studies._chosen import first_of_class, in_words, listed, random_rows
from convscope.studies._comparison import span
from convscope.studies._mnist_report._training import PLAIN, report_run
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study
from convscope.training import evaluate

STEPS = 200
EPSILON = 0.2
"""Of the attacks that the defenses are tried against, in pixel units."""


def non_targeted(study: Study, question: Question) -> None:
    """Ten images from N(0.5, 0.05): cost and confidence over 200 iterations."""
    classifier = report_run(study).classifier
    classes = torch.arange(classifier.num_classes)
    names = [name_of(classifier.class_names, k) for k in classes.tolist()]
    found = from_noise(
        classifier, torch.zeros(len(classes), *classifier.input_shape), classes, targets=classes,
        steps=STEPS, confidence=0.9999, generator=study.generator(5),
    )  # fmt: skip
    own = found.logits_after.softmax(dim=1)[classes, classes]
    reached = int((found.logits_after.argmax(dim=1) == classes).sum())
    cells = [
        Picture(
            image=found.adversarials[k],
            title=in_words(classifier, found.logits_after[k], digits=2),
            detail=f"wanted {names[k]}, {int(found.steps[k])} steps",
            tone="bad" if int(found.logits_after[k].argmax()) == k else "good",
        )
        for k in classes.tolist()
    ]  # fmt: skip
    question.pictures(
        "images", [""] * 5, [("", cells[:5]), ("", cells[5:])],
        caption="One image per class: what is predicted with which probability (orange: as "
        "wanted), after how many steps.",
    )  # fmt: skip
    question.figure(
        "cost",
        line_chart({name: (-found.history[:, k]).tolist() for k, name in enumerate(names)},
                   title="Cost", x="step", y="−log p(class)", log=True),
        alt="Cost of each image over the steps",
        caption="Cost, the cross-entropy with the wanted class, over the steps; a line ends where "
        "the class has a probability of 0.9999.",
    )  # fmt: skip
    question.figure(
        "confidence",
        line_chart({name: (100 * found.history[:, k].exp()).tolist()
                    for k, name in enumerate(names)},
                   title="Confidence", x="step", y="probability of the class, %"),
        alt="Confidence of each image over the steps",
        caption="Probability of the wanted class over the same steps.",
    )  # fmt: skip
    question.number("probabilities", own.tolist())
    question.number("steps", found.steps.tolist())
    question.find(
        f"{reached} of {len(classes)} images are predicted as their class after at most {STEPS} "
        f"steps, with a confidence of "
        f"{span(100 * float(own.min()), 100 * float(own.max()), 2)} %."
    )
    question.tile("images from noise", f"{reached} of {len(classes)}", detail="predicted as wanted")
    question.compare("classes reached", document="all, with high confidence", measured=reached,
                     unit="count", words=f"of {len(classes)}", at_least=10)  # fmt: skip
    question.compare("cost", document="falls", words=_fall(found))
    sure = (found.history.exp() >= 0.99).float().argmax(dim=0)
    own_class = int(found.logits_before[0].argmax())
    others = [k for k in classes.tolist() if k != own_class]
    near, far = min(others, key=lambda k: int(sure[k])), max(others, key=lambda k: int(sure[k]))
    question.discuss(
        f"The noise itself is predicted as {in_words(classifier, found.logits_before[0])}; of the "
        f"other classes {names[near]} is nearest (99 % at step {int(sure[near])}) and "
        f"{names[far]} farthest (step {int(sure[far])}). None of the "
        "images looks like a digit: confidence says how far an image lies from the boundaries of "
        "the classes, not whether it is a digit at all."
    )


def _fall(found: AttackResult) -> str:
    first = -found.history[0]
    last = torch.stack([-column[~column.isnan()][-1] for column in found.history.T])
    return (
        f"from {float(first.mean()):.2f} to {float(last.mean()):.2g} on average, for "
        f"{int((last < first).sum())} of {len(first)} classes"
    )


def targeted(study: Study, question: Question) -> None:
    """A 2 that is predicted as 3, 6 and 8, at b = 1 and at stronger pulls."""
    classifier, test = report_run(study).classifier, study.dataset().test
    image, rows = first_of_class(classifier, test, 2)
    targets, steps = torch.tensor([3, 6, 8]), study.pick(150, 400)
    names = [name_of(classifier.class_names, k) for k in targets.tolist()]
    labels = torch.full_like(targets, 2)
    results = {
        pull: toward_image(
            classifier, image.expand(3, -1, -1, -1).contiguous(), labels, targets=targets,
            pull=pull, steps=steps, generator=study.generator(6),
        )
        for pull in (1.0, 30.0, 300.0)
    }  # fmt: skip
    lines, table = [], []
    for pull, found in results.items():
        distance = (found.adversarials - found.originals).square().flatten(1).mean(1).sqrt()
        cells = [
            Picture(
                image=found.adversarials[i], title=in_words(classifier, found.logits_after[i]),
                detail=f"rms {float(distance[i]):.3f}",
                tone="bad" if bool(found.success[i]) else "good",
            )
            for i in range(3)
        ]  # fmt: skip
        lines.append((f"b = {pull:g}", [Picture(image=image[0], title="the 2"), *cells]))
        table.append([pull, int(found.success.sum()), round(float(distance.mean()), 4)])
    question.pictures(
        "images", ["", *(f"as {name}" for name in names)], lines,
        caption="Images that are to look like the 2 on the left and be predicted as the class "
        "above: what is predicted (orange: as wanted), and the root mean squared difference to "
        "the 2. b = 1 is the report's.",
    )  # fmt: skip
    one = results[1.0]
    question.figure(
        "cost",
        line_chart({f"as {name}": (-one.history[:, i]).tolist() for i, name in enumerate(names)},
                   title="Cost at b = 1", x="step", y="cost", log=True),
        alt="Cost of the three images over the steps",
        caption="−log p(class) + mean squared difference over the steps, at b = 1, logarithmic.",
    )  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "pulls",
        [number | {"title": "b"}, number | {"title": "as wanted, of 3"},
         number | {"title": "root mean squared difference"}],
        table, caption="How many targets are reached, and how far the images are from the 2.",
    )  # fmt: skip
    reached = {pull: int(found.success.sum()) for pull, found in results.items()}
    question.number("reached", {f"{pull:g}": count for pull, count in reached.items()})
    question.number("test_image", rows[0])
    far, near = table[0][2], table[-1][2]
    question.find(
        f"At b = 1, {reached[1.0]} of 3 images are predicted as wanted (3, 6, 8), at a root mean "
        f"squared difference of {far:.3f} to the 2."
    )
    question.compare("a 2 predicted as 3, 6, 8", document="all three", measured=reached[1.0],
                     unit="count", words="of 3", at_least=3)  # fmt: skip
    question.discuss(
        "A mean squared difference is at most 1, and a cross-entropy of several units outweighs "
        f"it: at b = 1 the images are {far:.3f} away from the 2. With b at 300 the distance is "
        f"{near:.3f}, and {reached[300.0]} of 3 targets are reached."
    )
    question.deviate(
        "plain gradient steps", "Adam with a step of 0.02",
        "It needs no tuning of the step for each b.",
    )  # fmt: skip
    if study.fast:
        question.deviate("400 iterations", f"{steps} iterations", "--fast takes fewer steps.")


def calculated_noise(study: Study, question: Question) -> None:
    """The noises that make a 0 a 4 and a 5, and what they do to other images."""
    classifier, test = report_run(study).classifier, study.dataset().test
    image, _ = first_of_class(classifier, test, 0)
    targets = torch.tensor([4, 5])
    found = added_noise(
        classifier, image.expand(2, -1, -1, -1).contiguous(), torch.zeros(2, dtype=torch.int64),
        targets=targets,
    )  # fmt: skip
    question.pictures(
        "zero", ["a 0", "noise", "sum"],
        [
            (
                f"as a {target}",
                [
                    Picture(image=found.originals[i], tone="good",
                            title=in_words(classifier, found.logits_before[i])),
                    Picture(image=difference_tile(found, i), title=difference_words(found, i),
                            alt="The noise"),
                    Picture(image=found.adversarials[i], tone="bad",
                            title=in_words(classifier, found.logits_after[i])),
                ],
            )
            for i, target in enumerate(targets.tolist())
        ],
        caption="The 0, the noise (magnified by the factor below it: orange is brighter, blue is "
        "darker, no color is no change), and their sum; predictions with their probabilities.",
    )  # fmt: skip
    rows = random_rows(test, 10, study.generator(7))
    shown = apply_noise(
        classifier, test.to_float(rows), test.labels[rows], noises=found.perturbations,
        noise_targets=targets,
    )  # fmt: skip
    names = classifier.class_names
    lines = []
    for i, target in enumerate(targets.tolist()):
        cells = []
        for k in range(len(rows)):
            true, predicted = int(shown.labels[k]), int(shown.predicted[i, k])
            cells.append(
                Picture(
                    image=(shown.images[k] + shown.noises[i]).clamp(0, 1),
                    title=f"P {name_of(names, predicted)}", detail=f"T {name_of(names, true)}",
                    tone="good" if true == predicted else "bad",
                )
            )  # fmt: skip
        lines.append((f"noise of the {target}", cells))
    question.pictures(
        "others", [""] * len(rows), lines,
        caption="Random test images with each noise: predicted (P) and true class (T); orange: "
        "misclassified.",
    )  # fmt: skip
    many = test.subset(random_rows(test, min(len(test), 2000), study.generator(11)))
    everywhere = apply_noise(
        classifier, many.to_float(), many.labels, noises=found.perturbations, noise_targets=targets
    )
    share = {"kind": "percent"}
    rates: list[tuple[str, float, float]] = [
        (str(target), float(everywhere.target_rates[i]), float(everywhere.error_rates[i]))
        for i, target in enumerate(targets.tolist())
    ]
    question.table(
        "rates", ["noise of the", share | {"title": "predicted as it"},
                  share | {"title": "made wrong"}], rates,
        caption=f"Both noises on {len(many):,} test images: of images of other classes, and of "
        "those that are classified correctly without noise.",
    )  # fmt: skip
    question.number("rates", {row[0]: row[1:] for row in rates})
    question.find(
        "On images that it was not made for, the noise of the "
        + " and that of the ".join(f"{row[0]} makes {100 * row[2]:.1f} % wrong" for row in rates)
        + "; of those of other classes "
        + " and ".join(f"{100 * row[1]:.1f} % become a {row[0]}" for row in rates)
        + "."
    )
    for row in rates:
        question.compare(
            f"noise of the {row[0]} on other images", document="true and predicted shown",
            measured=row[2], unit="share", words="become wrong",
        )  # fmt: skip
    strokes = [f"{row[0]}" for row in rates if row[1] > 0.1]
    question.discuss(
        "A noise that was calculated for one 0 carries over to few other images"
        + (f", most as {listed(strokes)}" if strokes else "")
        + ": it takes away strokes of that 0 and adds what turns it into the other digit. On "
        "another image the same pixels mean something else."
    )


def defenses(study: Study, question: Question) -> None:
    """Blur, threshold and adversarial training against PGD, transferred and adaptive."""
    classifier, test = report_run(study).classifier, study.dataset().test
    count = study.pick(100, 500)
    some = test.subset(random_rows(test, min(count, len(test)), study.generator(10)))
    robust = study.network(
        PLAIN, preset="robust", epochs=study.pick(6, 5), batch_size=study.pick(64, 128),
        adversary="fgsm-rs", epsilon=EPSILON, adversary_ramp=1.0,
    )  # fmt: skip
    defended = {
        "blur": blur(classifier, std=1.0),
        "threshold": threshold(classifier, level=0.5),
        "adversarial training": robust,
    }
    found = compare_defenses(
        classifier, defended, some.to_float(), some.labels, epsilon=EPSILON, attack="apgd",
        steps=study.pick(20, 50), generator=study.generator(12),
    )  # fmt: skip
    clean = {"none": evaluate(classifier, test).accuracy, "robust": evaluate(robust, test).accuracy}
    question.figure(
        "comparison", draw(found), alt="Accuracy of each defense without and under attack",
        caption=f"Accuracy on {found.images} test images without attack, under an attack that was "
        f"made for the bare network, and under one that knows the defense; L∞ ≤ {EPSILON}.",
    )  # fmt: skip
    share = {"kind": "percent"}
    question.table(
        "accuracy",
        ["defense", share | {"title": "no attack"}, share | {"title": "transferred attack"},
         share | {"title": "adaptive attack"}],
        [[row.defense, row.clean, row.transfer, row.adaptive] for row in found.rows],
        caption="The last column counts: an attacker can know the defense.",
    )  # fmt: skip
    by_name = {row.defense: row for row in found.rows}
    question.number("accuracy", {row.defense: vars(row) for row in found.rows})
    question.number("clean_on_all_test_images", clean)
    best = max((row for row in found.rows if row.defense != "none"), key=lambda row: row.adaptive)
    question.find(
        f"Within L∞ ≤ {EPSILON} the bare network keeps {100 * by_name['none'].adaptive:.0f} % and "
        f"{best.defense} {100 * best.adaptive:.0f} % of {found.images} images, if the attack knows "
        "the defense."
    )
    for name, row in by_name.items():
        if name != "none":
            question.compare(
                name, document="proposed, not measured", measured=row.adaptive, unit="share",
                words=f"under an adaptive attack (transferred: {100 * row.transfer:.1f} %)",
            )  # fmt: skip
    question.discuss(_defense_words(found))
    question.deviate(
        "defenses are proposed only", f"tried against APGD within L∞ ≤ {EPSILON}",
        "A defense that was not attacked with knowledge of it proves nothing.",
    )  # fmt: skip


def _defense_words(found: DefenseComparison) -> str:
    gaps = [
        f"{row.defense} falls from {100 * row.transfer:.0f} % to {100 * row.adaptive:.0f} %"
        for row in found.rows
        if row.defense != "none" and row.transfer - row.adaptive > 0.02
    ]
    kept = [row.defense for row in found.rows
            if row.defense != "none" and row.transfer - row.adaptive <= 0.02]  # fmt: skip
    words = (
        f"Once the attack differentiates the defense, {listed(gaps)}."
        if gaps
        else "The attack gains nothing by knowing the defenses."
    )
    return words + (f" No lower than under the transferred attack: {listed(kept)}." if kept else "")
