"""Saliency maps and class representative images."""

from __future__ import annotations

import torch
from torch import Tensor

from convscope.classifier import Classifier
from convscope.explanations import saliency
from convscope.figures import (
    explanation_tile,
    line_chart,
    overlay_tile,
    row_limit,
)
from convscope.models import load
from convscope.pages import name_of
from convscope.studies._chosen import first_of_each
from convscope.studies._comparison import span
from convscope.studies._question import Picture, Question
from convscope.studies._snu_assignment_2._torch_twin import rounded
from convscope.studies._snu_assignment_2._training import chosen
from convscope.studies._study import Study
from convscope.visualizations import Recipe, Visualization, class_images, l2_blur

SHIPPED = "cifar-resnet20"
"""Trained on CIFAR-10, its weights come with the package."""

NEVER = 1_000_000
"""Steps between two blurs for no blur."""

RECIPE = {"step_size": 0.4, "pull": 1e-3, "every": 5, "blur_std": 0.7}
"""Of class images, found by eye: with the longer steps and rarer blur of the recipe's own defaults
scores are higher, and images of 32 x 32 pixels are mostly noise. Both are shown."""


def saliency_maps(study: Study, question: Question) -> None:
    """|d score / d pixel|, the largest over the channels, beside an image of every class."""
    classifier = chosen(study)[1].classifier
    images, labels = first_of_each(classifier, study.dataset().test)
    found = saliency(classifier, images, labels)
    error = float((found.maps[:, 0] - plain_saliency(classifier, images, labels)).abs().max())
    rows = []
    for i, label in enumerate(labels.tolist()):
        name = name_of(classifier.class_names, label)
        rows.append((name, [
            Picture(image=images[i], alt=f"Image of the class {name}"),
            Picture(image=explanation_tile(found, i), detail=f"up to {row_limit(found, i):.3g}",
                    alt=f"Saliency map of the class {name}"),
            Picture(image=overlay_tile(found, i), alt="The map laid over the image"),
        ]))  # fmt: skip
    half = len(rows) // 2
    paired = [
        (f"{a[0]}, {b[0]}", [*a[1], *b[1]]) for a, b in zip(rows[:half], rows[half:], strict=True)
    ]
    question.pictures(
        "maps", ["image", "saliency", "laid over"] * 2, paired,
        caption="The first test image of every class that is classified correctly; two to a row. "
        "Saliency: the absolute derivative of the score of the image's class by a pixel, the "
        "largest of its channels; dark is zero, bright the value written below (score per unit of "
        "pixel). One scale per image.",
    )  # fmt: skip
    share = concentration(found.maps[:, 0])
    steepest = int(found.maps.flatten(1).amax(dim=1).argmax())
    question.find(
        f"The most salient tenth of the pixels holds {100 * float(share.mean()):.0f} % of the "
        "saliency of an image, on average over ten."
    )
    question.compare("saliency maps", document="beside their images",
                     measured=len(images), unit="count", words="images, one of every class",
                     at_least=len(images))  # fmt: skip
    question.compare(
        "largest difference to torch's own derivative", document="none is given",
        measured=rounded(error), note="score per unit of pixel",
    )  # fmt: skip
    number, percent = {"kind": "number"}, {"kind": "percent"}
    question.table(
        "strength",
        ["class", number | {"title": "score"}, number | {"title": "largest saliency"},
         number | {"title": "mean saliency"}, percent | {"title": "in the top tenth of pixels"}],
        [
            [name_of(classifier.class_names, label),
             round(float(classifier.logits(images[[i]]).detach()[0, label]), 3),
             round(float(found.maps[i].max()), 3), round(float(found.maps[i].mean()), 4),
             float(share[i])]
            for i, label in enumerate(labels.tolist())
        ],
        caption="Score: logit of the image's class. Saliency in units of score per unit of pixel "
        "(black to white is 1).",
    )  # fmt: skip
    question.number("concentration", share.tolist())
    question.number("largest_difference_to_autograd", error)
    question.discuss(
        f"The strongest saliency is that of the {name_of(classifier.class_names, steepest)}: there "
        f"a change of one pixel by 0.1 moves the score by about "
        f"{0.1 * float(found.maps[steepest].max()):.2g}. If all pixels mattered alike, the top "
        "tenth would hold 10 %; a map that follows the object holds more. The maps are noisy all "
        "the same: the derivative says what an infinitely small change would do, and neighboring "
        "pixels may have opposite signs, which the absolute value hides. `convscope inspect --show "
        "smoothgrad,integrated-gradients` averages that out."
    )


def plain_saliency(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """The same in four lines of torch, to compare with.

    Args:
        classifier: The network.
        images: ``(batch, channel, height, width)``.
        labels: ``(batch,)``.

    Returns:
        ``(batch, height, width)``.
    """
    x = images.clone().requires_grad_(True)
    scores = classifier.logits(x).gather(1, labels[:, None]).sum()
    (gradient,) = torch.autograd.grad(scores, x)
    return gradient.abs().amax(dim=1)


def concentration(maps: Tensor) -> Tensor:
    """Share of each map's sum that lies in the largest tenth of its values.

    Args:
        maps: ``(batch, height, width)``, at least 0.

    Returns:
        ``(batch,)``.

    Example:
        >>> concentration(torch.ones(1, 10, 10)).item()
        0.10000000149011612
    """
    values = maps.flatten(1)
    top = values.topk(max(1, values.shape[1] // 10), dim=1).values.sum(dim=1)
    return top / values.sum(dim=1).clamp_min(torch.finfo(values.dtype).tiny)


def class_representatives(study: Study, question: Question) -> None:
    """Ten images from noise: score - lambda ||I||^2, blurred now and then; what each part does."""
    classifier, judge = _networks(study)
    steps = study.pick(40, 300)
    found = class_images(
        classifier, recipe=recipe_of(steps), evaluator=judge, control=False,
        generator=study.generator(5),
    )  # fmt: skip
    names = [name_of(classifier.class_names, k) for k in range(classifier.num_classes)]
    shares = found.logits.softmax(dim=1)
    own = shares.diagonal()
    right = int((shares.argmax(dim=1) == torch.arange(len(names))).sum())
    cells = [
        Picture(image=found.images[k], title=names[k],
                detail=f"{float(found.logits[k, k]):.1f}, {100 * float(own[k]):.0f} %",
                tone="good" if int(shares[k].argmax()) == k else "bad")
        for k in range(len(names))
    ]  # fmt: skip
    source = SHIPPED if study.fast else "the network trained above"
    question.pictures(
        "images", [""] * 5, [("", cells[:5]), ("", cells[5:])],
        caption=f"From noise, an image for each class of CIFAR-10 by gradient ascent in {source}: "
        "the score of the class it ends with, and its probability; green: predicted as the class.",
    )  # fmt: skip
    every = int(RECIPE["every"])
    places = [*range(every, len(found.history), every), len(found.history)]
    highest = torch.stack([found.history[k - every : k].amax(dim=0) for k in places])
    question.figure(
        "ascent",
        line_chart({name: highest[:, k].tolist() for k, name in enumerate(names)},
                    title="Ascent", x="step", y="score − λ ||I||²", places=places),
        alt="Objective of each of the ten images over the steps",
        caption="What is maximized, over the steps: a line per class, the highest value between "
        f"two blurs. Each blur, every {RECIPE['every']} steps, takes some of it away again. The "
        "image of the highest value is kept.",
    )  # fmt: skip
    _parts_of_the_recipe(study, question, classifier, found)
    read = "" if found.held_out is None else (
        f" An independently trained network ({SHIPPED}) predicts {found.held_out.correct} of them "
        "as their class."
    )  # fmt: skip
    scores = found.logits.diagonal()
    question.find(
        f"{right} of {len(names)} images are predicted as their class, with scores of "
        f"{span(float(scores.min()), float(scores.max()), 1)}." + read
    )
    question.tile("class images", f"{right} of {len(names)}", detail="predicted as their class")
    question.compare("class representative images", document="for classes of the student's choice",
                     measured=right, unit="count",
                     words=f"of {len(names)} predicted as their class",
                     at_least=len(names))  # fmt: skip
    question.number("scores", found.logits.diagonal().tolist())
    question.number("probabilities", own.tolist())
    if found.held_out is not None:
        question.number("correct_by_judge", found.held_out.correct)
    question.deviate(
        "the score minus λ ||I||² of an image around zero",
        "pixels stay in [0, 1] and begin around 0.5, so that the penalty darkens the image",
        "Everything here is in [0, 1], and what leaves it could not be saved.",
    )
    question.deviate(
        "learning rate, λ, blur and number of iterations are left open",
        f"λ {found.settings['pull']:g}, blur of {found.settings['blur_std']:g} pixels every "
        f"{found.settings['every']} of {steps} steps, step of length "
        f"{found.settings['step_size']:g} for 28 x 28 pixels",
        "Chosen by eye; what longer steps and a rarer blur make is shown below the images.",
    )


def _networks(study: Study) -> tuple[Classifier, Classifier | None]:
    """The network that class images are made for, and one that judges them."""
    shipped = load(SHIPPED, device=study.device)
    return (shipped, None) if study.fast else (chosen(study)[1].classifier, shipped)


def _parts_of_the_recipe(
    study: Study, question: Question, classifier: Classifier, both: Visualization
) -> None:
    """The same ascent without the penalty, without the blur, and without both."""
    steps = study.pick(40, 300)
    classes = torch.tensor(study.pick([0, 5, 8], list(range(classifier.num_classes))))
    rows, lines, numbers = [], [], {}
    variants: dict[str, dict[str, float]] = {
        "neither": {"pull": 0.0, "every": NEVER},
        "only λ": {"every": NEVER},
        "only blur": {"pull": 0.0},
        "both": {},
        "long steps": {"step_size": 1.0, "every": 10, "blur_std": 0.5},
    }
    for title, changes in variants.items():
        used = RECIPE | changes
        if title == "both":
            images, logits = both.images[classes], both.logits[classes]
        else:
            found = class_images(
                classifier, classes, recipe=recipe_of(steps, **changes), control=False,
                generator=study.generator(5),
            )  # fmt: skip
            images, logits = found.images, found.logits
        scores = logits.gather(1, classes[:, None])[:, 0]
        lines.append((title, [Picture(image=image, detail=f"{float(score):.1f}")
                              for image, score in zip(images, scores, strict=True)]))  # fmt: skip
        rough = float(roughness(images).mean())
        norm = float(images.flatten(1).norm(dim=1).mean())
        blur = f"{used['blur_std']:g} px every {used['every']:g} steps"
        rows.append([title, used["pull"], "no" if used["every"] == NEVER else blur,
                     used["step_size"], round(float(scores.mean()), 2), round(rough, 4),
                     round(norm, 2)])  # fmt: skip
        numbers[title] = {"score": float(scores.mean()), "roughness": rough, "norm": norm}
    question.pictures(
        "parts", [name_of(classifier.class_names, k) for k in classes.tolist()], lines,
        caption="The same ascent without the penalty, without the blur, and without both, and one "
        "with longer steps and a rarer, narrower blur; below each image its score.",
    )  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "parts",
        ["recipe", number | {"title": "λ"}, "blur", number | {"title": "step"},
         number | {"title": "mean score"},
         number | {"title": "mean step between neighbors"}, number | {"title": "mean ||I||"}],
        rows,
        caption="Step: length of an update in L2, for 28 x 28 pixels. Step between "
        "neighbors: mean absolute difference of pixels side by side, in [0, 1]; noise has "
        "a large one, a smooth image a small one.",
    )  # fmt: skip
    question.number("parts", numbers)
    plain, blurred, shrunk = (numbers[key] for key in ("neither", "only blur", "only λ"))
    mine, long = numbers["both"], numbers["long steps"]
    question.discuss(
        f"Without penalty and blur the mean score is {plain['score']:.1f} and neighboring pixels "
        f"differ by {plain['roughness']:.3f}. The blur changes that to {blurred['roughness']:.3f}, "
        f"at a score of {blurred['score']:.1f}; the penalty changes the length of the image from "
        f"{plain['norm']:.1f} to {shrunk['norm']:.1f}. "
        + (
            "What the blur takes from the score is high frequencies: patterns that excite the "
            "network and that no photograph has."
            if blurred["score"] < plain["score"]
            else "Here the blur costs no score: the ascent finds it again between two blurs."
        )
        + f" Longer steps and a rarer blur reach {long['score']:.1f} in place of "
        f"{mine['score']:.1f}, at {long['roughness'] / max(mine['roughness'], 1e-9):.1f} times the "
        "difference between neighbors: a higher score is not a better picture."
    )


def recipe_of(steps: int, **changes: float) -> Recipe:
    """The recipe of the class images.

    Args:
        steps: Of the ascent.
        changes: Settings that differ from `RECIPE`.
    """
    used = RECIPE | changes
    return l2_blur(
        steps=steps, step_size=used["step_size"], pull=used["pull"], every=int(used["every"]),
        blur_std=used["blur_std"],
    )  # fmt: skip


def roughness(images: Tensor) -> Tensor:
    """Mean absolute difference of neighboring pixels, ``(batch,)``.

    Example:
        >>> roughness(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])).item()
        0.5
    """
    across = (images[..., 1:] - images[..., :-1]).abs().flatten(1).mean(dim=1)
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).mean(dim=1)
    return (across + down) / 2
