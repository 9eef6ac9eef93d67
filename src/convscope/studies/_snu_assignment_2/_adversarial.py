"""Adversarial examples: difference and 10 x difference."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.attacks import AttackResult, l2_gradient_ascent
from convscope.classifier import Classifier
from convscope.figures import heat, line_chart, pixels
from convscope.pages import name_of
from convscope.studies._chosen import first_of_each, in_words, random_rows
from convscope.studies._question import Picture, Question
from convscope.studies._snu_assignment_2._training import chosen
from convscope.studies._study import Study

HARDLY = 24
"""Gray levels of 255 below which a change of single pixels is hardly seen in a photo."""


def adversarial_examples(study: Study, question: Question) -> None:
    """From an image to another class by L2-normalized gradients: difference and 10x difference."""
    classifier, test = chosen(study)[1].classifier, study.dataset().test
    images, labels = first_of_each(classifier, test)
    targets = (labels + 1) % classifier.num_classes
    found = l2_gradient_ascent(classifier, images, labels, targets=targets,
                               steps=study.pick(100, 200))  # fmt: skip
    shown = min(5, len(images))
    question.pictures(
        "examples", ["image", "adversarial", "difference", "10 x difference"],
        [("", _row_of_four(classifier, found, i)) for i in range(shown)],
        caption="An image and its class; the image after ascent of the score of another class, "
        "which ends as soon as that is predicted (orange); what was added, at its true strength "
        "and ten times as strong. " + _legend(images),
    )  # fmt: skip
    _steps_table(question, classifier, found)
    names = [name_of(classifier.class_names, k) for k in found.labels.tolist()]
    aims = [name_of(classifier.class_names, k) for k in targets.tolist()]
    question.figure(
        "scores",
        line_chart({f"{a} → {b}": found.history[:, i].tolist()
                     for i, (a, b) in enumerate(zip(names, aims, strict=True))},
                    title="Score of the wanted class", x="step", y="score (logit)"),
        alt="Score of the wanted class over the steps, a line per image",
        caption="Score of the wanted class over the steps; a line ends where the network predicts "
        "that class.",
    )  # fmt: skip
    rows = random_rows(test, study.pick(60, 500), study.generator(6))
    many, true = test.to_float(rows), test.labels[rows]
    classes = classifier.num_classes
    further = torch.randint(classes - 1, true.shape, generator=study.generator(7))
    wanted = (true + 1 + further) % classes
    wide = l2_gradient_ascent(classifier, many, true, targets=wanted, steps=study.pick(100, 200))
    tasks = ~wide.already_misclassified
    reached = wide.success & tasks
    rate, steps = float(reached.sum()) / max(int(tasks.sum()), 1), wide.steps[reached].double()
    l2, linf = (wide.distance(norm)[reached] for norm in ("l2", "linf"))
    stops = stopped_at_once(classifier, found)
    question.find(
        f"{100 * rate:.1f} % of {int(tasks.sum())} random test images become a random other class, "
        f"after a median of {float(steps.median()):.0f} steps, with a change of "
        f"{float(l2.median()):.2f} in L2 and {255 * float(linf.median()):.0f} of 255 gray levels "
        "at the most changed pixel."
    )
    question.tile("adversarial examples", f"{100 * rate:.1f} %", detail="of random images and "
                  "targets")  # fmt: skip
    question.compare("adversarial examples", document="one is asked for",
                     measured=int(found.success.sum()), unit="count",
                     words=f"of {len(found)} reach their class", at_least=1)  # fmt: skip
    question.compare("stops when the class is the target", document="yes",
                     words=f"yes: {stops} of {len(found)} were not a step earlier")  # fmt: skip
    question.number("rate", rate)
    question.number("median_steps", float(steps.median()))
    question.number("median_l2", float(l2.median()))
    question.number("median_linf", float(linf.median()))
    question.number("steps", found.steps.tolist())
    quantized = float(wide.success_quantized[reached].double().mean())
    norms = float(many[reached].flatten(1).norm(dim=1).median())
    question.discuss(
        f"The median change is {100 * float(l2.median()) / norms:.1f} % of the length of an image. "
        + (
            "At its true strength it can hardly be seen; ten times as strong it looks like noise "
            "that follows the edges a little. "
            if 255 * float(linf.median()) < HARDLY
            else "That can be seen without magnification: on digits, which are black and white and "
            "well apart, the network is hard to fool, and the change draws parts of the other "
            "digit. Color photos need far less. "
        )
        + f"{100 * quantized:.1f} % of the examples still are when they are saved with 8 bits per "
        "channel. The step has the same length whatever the gradient: without the normalization "
        "nothing would move where the network is sure of itself."
    )
    question.deviate(
        "learning rate is left open",
        f"steps of length {found.settings['step_size']:g} in L2, pixels in [0, 1], which they do "
        "not leave",
        "Longer steps overshoot and change more than they have to; shorter ones take longer.",
    )


def stopped_at_once(classifier: Classifier, found: AttackResult) -> int:
    """How many images that are predicted as their target now were not, one step before.

    Args:
        classifier: The network.
        found: From `l2_gradient_ascent`; its last steps are made once more, one by one.
    """
    size = found.settings["step_size"]
    count = 0
    for i in range(len(found)):
        x, aim = found.originals[[i]], found.targets
        assert aim is not None
        for _ in range(int(found.steps[i]) - 1):
            x = x.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(classifier.logits(x)[0, aim[i]], x)
            x = (x.detach() + size * gradient / gradient.norm()).clamp(0, 1)
        before = int(classifier.logits(x.detach()).argmax())
        count += int(bool(found.success[i]) and before != int(aim[i]))
    return count


def strengthened(change: Tensor, factor: float) -> NDArray[np.uint8]:
    """What was added to an image, times a factor, on the scale of the image itself.

    Args:
        change: ``(1 or 3, height, width)``.
        factor: 1 for its true strength.

    Returns:
        Of one channel: orange is brighter, blue darker, the strongest color a change of 1. Of
        three: gray is no change, white and black one of 0.5. What is beyond is cut off.
    """
    if len(change) == 1:
        return heat(factor * change[0], signed=True, limit=1.0)
    return pixels(0.5 + factor * change)


def _legend(images: Tensor) -> str:
    if images.shape[1] == 1:
        return "Differences: orange is brighter, blue is darker, the strongest color is black to " \
            "white."  # fmt: skip
    return "Differences: gray is no change, colors are what was added; half of black to white is " \
        "the most that can be shown."  # fmt: skip


def _row_of_four(classifier: Classifier, found: AttackResult, i: int) -> list[Picture]:
    change = found.perturbations[i]
    before, after = (in_words(classifier, logits[i]).rsplit(", ", 1)
                     for logits in (found.logits_before, found.logits_after))  # fmt: skip
    return [
        Picture(image=found.originals[i], title=before[0], detail=before[1], tone="good"),
        Picture(image=found.adversarials[i], title=after[0],
                detail=f"{after[1]}, {int(found.steps[i])} steps",
                tone="bad" if bool(found.success[i]) else "good"),
        Picture(image=strengthened(change, 1.0), detail=f"L2 {float(change.norm()):.2f}",
                alt="What was added"),
        Picture(image=strengthened(change, 10.0),
                detail=f"L∞ {255 * float(change.abs().max()):.0f}/255",
                alt="What was added, ten times as strong"),
    ]  # fmt: skip


def _steps_table(question: Question, classifier: Classifier, found: AttackResult) -> None:
    number, percent = {"kind": "number"}, {"kind": "percent"}
    assert found.targets is not None
    shares, rows = found.logits_after.softmax(dim=1), []
    l2, linf = found.distance("l2"), found.distance("linf")
    for i, (label, target) in enumerate(zip(found.labels, found.targets, strict=True)):
        top = int(shares[i].argmax())
        rows.append([
            name_of(classifier.class_names, int(label)),
            name_of(classifier.class_names, int(target)),
            {"value": name_of(classifier.class_names, top),
             "tone": "bad" if bool(found.success[i]) else ""},
            int(found.steps[i]), float(shares[i, target]), round(float(l2[i]), 3),
            round(255 * float(linf[i]), 1),
        ])  # fmt: skip
    question.table(
        "steps",
        ["image", "wanted", "predicted", number | {"title": "steps"},
         percent | {"title": "probability of the wanted class"}, number | {"title": "L2"},
         number | {"title": "L∞, gray levels"}],
        rows,
        caption="An image of every class, toward the class that follows it.",
        wide=True,
    )  # fmt: skip
