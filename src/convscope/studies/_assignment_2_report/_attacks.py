"""Images from noise, images that look like a digit, and noise added to images."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.attacks import AttackResult, added_noise, apply_noise, from_noise, toward_image
from convscope.figures import difference_tile, difference_words, line_chart
from convscope.pages import name_of
from convscope.studies._assignment_2_report._training import document_run
from convscope.studies._chosen import first_of_class, in_words, listed, random_rows
from convscope.studies._comparison import span
from convscope.studies._question import Picture, Question
from convscope.studies._study import Study

PULL = 1000.0
"""Beta of the report."""

PULLS = (30.0, 100.0, 300.0, PULL)
OTHERS = 10
"""Random images that a noise is added to on the page; rates are over all test images."""


def non_targeted(study: Study, question: Question) -> None:
    """One image per class from N(0.5, 0.05), with the cost on the way."""
    classifier = document_run(study).classifier
    classes = torch.arange(classifier.num_classes)
    blank = torch.zeros(len(classes), *classifier.input_shape)
    found = from_noise(
        classifier, blank, classes, targets=classes, generator=study.generator(7)
    )  # fmt: skip
    shares = found.logits_after.softmax(dim=1)
    own = shares[classes, classes]
    reached = int((shares.argmax(dim=1) == classes).sum())
    question.find(
        f"{reached} of {len(classes)} images are predicted as their class, with probabilities of "
        f"{span(100 * float(own.min()), 100 * float(own.max()), 1)} %, and none looks like a "
        "digit."
    )
    question.tile("images from noise", f"{reached} of {len(classes)}", detail="predicted as wanted")
    question.compare("classes reached", document="all ten", measured=reached, unit="count",
                     words=f"of {len(classes)}", at_least=10)  # fmt: skip
    cells = [
        Picture(
            image=found.adversarials[k], title=in_words(classifier, found.logits_after[k]),
            detail=f"wanted {name_of(classifier.class_names, k)}, {int(found.steps[k])} steps",
            tone="bad" if int(shares[k].argmax()) == k else "good",
        )
        for k in classes.tolist()
    ]  # fmt: skip
    question.pictures(
        "images", [""] * 5, [("", cells[:5]), ("", cells[5:])],
        caption="An image per class: what is predicted with which probability (orange: as wanted), "
        "and after how many steps of gradient ascent.",
    )  # fmt: skip
    names = [name_of(classifier.class_names, k) for k in classes.tolist()]
    question.figure(
        "cost",
        line_chart({name: (-found.history[:, k]).tolist() for k, name in enumerate(names)},
                    title="Cost", x="step", y="−log p(class)", log=True),
        alt="Cost of each of the ten images over the steps",
        caption="Cost, the cross-entropy with the wanted class, over the steps: a line per class; "
        "it ends where the class has a probability of 0.99.",
    )  # fmt: skip
    slowest = int(found.steps.argmax())
    question.number("probabilities", own.tolist())
    question.number("steps", found.steps.tolist())
    question.discuss(
        f"The cost falls for every class; {names[slowest]} takes longest, {int(found.steps.max())} "
        f"steps, and {names[int(found.steps.argmin())]} least, {int(found.steps.min())}. The noise "
        f"itself is predicted as {in_words(classifier, found.logits_before[0])}. A network that "
        "knows ten classes only has to call everything one of them."
    )
    question.deviate(
        "a fixed number of steps",
        "an image is done once its class has a probability of 0.99",
        "Going on changes the image and not what it shows.",
    )


def targeted(study: Study, question: Question) -> None:
    """Ten targets each for a 7 and a 2 at the report's beta, and at smaller ones."""
    classifier, test = document_run(study).classifier, study.dataset().test
    classes = torch.arange(classifier.num_classes)
    steps = study.pick(100, 300)
    results: dict[tuple[int, float], AttackResult] = {}
    for digit in (7, 2):
        image, _ = first_of_class(classifier, test, digit)
        ten = image.expand(len(classes), -1, -1, -1).contiguous()
        labels = torch.full_like(classes, digit)
        for pull in PULLS:
            results[digit, pull] = toward_image(
                classifier, ten, labels, targets=classes, pull=pull, steps=steps,
                generator=study.generator(8),
            )  # fmt: skip
    kept = {key: _reached(found) for key, found in results.items()}
    best = max(PULLS, key=lambda pull: (sum(kept[d, pull] for d in (7, 2)), pull))
    for digit in (7, 2):
        chosen = dict.fromkeys((PULL, best))
        rows = [
            (f"beta {pull:g}", _row_of_ten(classifier.class_names, results[digit, pull]))
            for pull in chosen
        ]
        question.pictures(
            f"looks-like-a-{digit}", [f"as {k}" for k in range(len(classes))], rows,
            caption=f"Images that are to look like a {digit} and be predicted as the class above: "
            f"what is predicted (orange: as wanted), and the root mean squared difference to the "
            f"{digit}. beta {PULL:g} is the report's"
            + (f", beta {best:g} reaches most." if best != PULL else "."),
        )  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "betas",
        [number | {"title": "beta"}, number | {"title": "like a 7: as wanted, of 10"},
         number | {"title": "like a 2: as wanted, of 10"},
         number | {"title": "root mean squared difference"}],
        [
            [pull, kept[7, pull], kept[2, pull],
             round(float(torch.cat([_distance(results[d, pull]) for d in (7, 2)]).mean()), 4)]
            for pull in PULLS
        ],
        caption="How many of ten targets are reached at each beta, and how far the images are from "
        "the digit on average. 1000 is the report's; the class of the digit itself counts.",
    )  # fmt: skip
    for digit in (7, 2):
        question.compare(
            f"targets reached like a {digit}, beta 1000", document="ten, with correct predictions",
            measured=kept[digit, PULL], unit="count", words="of 10", at_least=10,
            note=f"{kept[digit, best]} of 10 at beta {best:g}" if best != PULL else "",
        )  # fmt: skip
    question.number("reached", {f"{d} at {pull:g}": count for (d, pull), count in kept.items()})
    question.find(
        f"At the report's beta of 1000, {kept[7, PULL]} of 10 images like a 7 and {kept[2, PULL]} "
        f"of 10 like a 2 are predicted as wanted; at {best:g}, {kept[7, best]} and {kept[2, best]}."
    )
    question.tile("targets reached at beta 1000", f"{kept[7, PULL] + kept[2, PULL]} of 20",
                  detail=f"at beta {best:g}: {kept[7, best] + kept[2, best]}")  # fmt: skip
    missed = [str(k) for k in classes.tolist() if not _success(results[7, PULL])[k]]
    question.discuss(
        "The two parts of the objective pull against each other. With beta at 1000, a mean squared "
        "difference of 0.01 costs as much as a probability of exp(−10), so that images stay "
        "nearer to the digit than some classes allow"
        + (f": like a 7, {listed(missed)} are missed." if missed else ".")
        + f" With a beta of {best:g} the classes win, and the images still look like the digit."
    )
    question.deviate(
        "plain gradient steps",
        "Adam with a step of 0.02",
        "At a beta of 1000 plain steps have to be below 0.8 / beta times the number of pixels, or "
        "they jump over the digit; Adam needs no such tuning.",
    )


def adding_noise(study: Study, question: Question) -> None:
    """True image, noise, noisy image; then the noise on random images and on all."""
    classifier, test = document_run(study).classifier, study.dataset().test
    rows = random_rows(test, OTHERS, study.generator(9))
    others, labels = test.to_float(rows), test.labels[rows]
    everything = test.subset(random_rows(test, min(len(test), 2000), study.generator(10)))
    rates = {}
    for target, true in ((7, 3), (4, 9)):
        image, _ = first_of_class(classifier, test, true)
        found = added_noise(classifier, image, torch.tensor([true]), targets=torch.tensor([target]))
        noise, aim = found.perturbations, torch.tensor([target])
        question.pictures(
            f"noise-towards-{target}", ["true image", "noise", "noisy image"],
            [("", [
                Picture(image=found.originals[0], tone="good",
                        title=in_words(classifier, found.logits_before[0])),
                Picture(image=difference_tile(found, 0), title=difference_words(found, 0),
                        alt="The noise: orange is brighter, blue is darker"),
                Picture(image=found.adversarials[0], tone="bad",
                        title=in_words(classifier, found.logits_after[0])),
            ])],
            caption=f"A {true} that becomes a {target} in {int(found.steps[0])} steps. The noise "
            "is magnified by the factor written below it: orange is brighter, blue is darker, no "
            "color is no change.",
        )  # fmt: skip
        shown = apply_noise(classifier, others, labels, noises=noise, noise_targets=aim)
        everywhere = apply_noise(
            classifier, everything.to_float(), everything.labels, noises=noise, noise_targets=aim
        )
        _on_others(question, shown, noise, target)
        rates[target] = {
            "as_target": float(everywhere.target_rates[0]),
            "errors": float(everywhere.error_rates[0]),
            "l2": float(found.distance("l2")[0]), "linf": float(found.distance("linf")[0]),
            "steps": int(found.steps[0]),
            "confidence": float(found.logits_after.softmax(dim=1)[0, target]),
        }  # fmt: skip
        question.compare(
            f"noise towards {target} on other images", document="shown for a few images",
            measured=rates[target]["as_target"], unit="share",
            words=f"become a {target}; {100 * rates[target]['errors']:.1f} % become wrong",
            note=f"a {target}: of images of other classes; wrong: of images that were right",
        )  # fmt: skip
    share = {"kind": "percent"}
    number = {"kind": "number"}
    question.table(
        "rates",
        ["noise towards", number | {"title": "L2 of the noise"}, number | {"title": "L∞"},
         share | {"title": "other images predicted as it"}, share | {"title": "made wrong"}],
        [[str(target), round(found["l2"], 3), round(found["linf"], 3), found["as_target"],
          found["errors"]] for target, found in rates.items()],
        caption=f"Each noise, made for one image, on {len(everything):,} test images: the share "
        "predicted as its class is that of images of other classes, the share made wrong that of "
        "images that were right before.",
    )  # fmt: skip
    question.number("rates", rates)
    question.find(
        "Of the other images, the noise that makes one a 7 makes "
        f"{100 * rates[7]['as_target']:.1f} % a 7; that for a 4 makes "
        f"{100 * rates[4]['as_target']:.1f} % a 4."
    )
    worst = max(rates, key=lambda target: rates[target]["as_target"])
    question.discuss(
        f"The noise belongs to its image: of the two, the one towards {worst} carries over "
        "better. Where it fails, it lies on pixels that say something about the first image only; "
        "a noise made for many images at once (a universal perturbation, `convscope attack uap`) "
        "does far better at the same size."
    )
    question.deviate(
        "which images become a 7 and a 4 is not told",
        "the first 3 and the first 9 of the test set that are classified correctly",
        "So that anybody gets the same pictures.",
    )


def _reached(found: AttackResult) -> int:
    return int(_success(found).sum())


def _success(found: AttackResult) -> Tensor:
    assert found.targets is not None
    return found.logits_after.argmax(dim=1) == found.targets


def _distance(found: AttackResult) -> Tensor:
    return (found.adversarials - found.originals).square().flatten(1).mean(dim=1).sqrt()


def _row_of_ten(names: tuple[str, ...], found: AttackResult) -> list[Picture]:
    shares, distance = found.logits_after.softmax(dim=1), _distance(found)
    success = _success(found)
    cells = []
    for k in range(len(found)):
        top = int(shares[k].argmax())
        cells.append(
            Picture(
                image=found.adversarials[k],
                title=f"{name_of(names, top)} {100 * float(shares[k, top]):.0f} %",
                detail=f"rms {float(distance[k]):.3f}", tone="bad" if success[k] else "good",
            )
        )  # fmt: skip
    return cells


def _on_others(question: Question, shown: object, noise: Tensor, target: int) -> None:
    from convscope.attacks import NoiseTransfer

    assert isinstance(shown, NoiseTransfer)
    names = shown.class_names
    before, after = [], []
    for i in range(len(shown.labels)):
        true, alone = int(shown.labels[i]), int(shown.predicted_before[i])
        with_noise = int(shown.predicted[0, i])
        before.append(
            Picture(image=shown.images[i], title=f"P {name_of(names, alone)}",
                    detail=f"T {name_of(names, true)}",
                    tone="good" if alone == true else "bad")
        )  # fmt: skip
        after.append(
            Picture(image=(shown.images[i] + noise[0]).clamp(0, 1),
                    title=f"P {name_of(names, with_noise)}",
                    detail=f"{100 * float(shown.probabilities[0, i]):.0f} %",
                    tone="good" if with_noise == true else "bad")
        )  # fmt: skip
    question.pictures(
        f"towards-{target}-on-others", [""] * len(before),
        [("without noise", before), ("with noise", after)],
        caption=f"The noise towards {target} on random test images: prediction (P) without and "
        "with it, true class (T); orange: misclassified.",
    )  # fmt: skip
