"""L2 regularization of weights only: that biases have none, and what its strength does."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from convscope.figures import Part, run_curves
from convscope.studies._convolutional_networks._training import WEIGHT_DECAY, learned
from convscope.studies._question import Question
from convscope.studies._study import Study
from convscope.training import TrainResult, evaluate

MODEL = "mnist-conv2-fc"
"""The network with most parameters, which has most need of it."""

STRENGTHS = (0.0, WEIGHT_DECAY, 10 * WEIGHT_DECAY)


@dataclass(frozen=True, kw_only=True)
class Decayed:
    """What one update takes from one tensor of a network because of L2.

    Attributes:
        name: Of the tensor.
        shape: Its sizes.
        share: Of ``rate * strength * value``: 1 if L2 acts on it, 0 if not.
    """

    name: str
    shape: tuple[int, ...]
    share: float


def weight_decay(study: Study, question: Question) -> None:
    """One update with L2 and without, tensor by tensor; then three strengths."""
    tensors = taken_by_l2(study)
    on = [one for one in tensors if one.share > 0.5]
    weights = [one for one in tensors if len(one.shape) > 1]
    exactly = on == weights and all(abs(one.share - round(one.share)) < 0.01 for one in tensors)
    question.find(
        f"L2 acts on {len(on)} of the {len(tensors)} tensors of {MODEL}: "
        + (
            "on all weights and on no bias."
            if exactly
            else f"on {', '.join(one.name for one in on)}. That is not what was asked for."
        )
    )
    question.compare(
        "tensors with L2", document="weights only", measured=len(on), unit="count",
        words=f"of {len(tensors)}: {', '.join(one.name for one in on)}",
    )  # fmt: skip
    number, share = {"kind": "number"}, {"kind": "percent"}
    question.table(
        "one-update",
        [{"title": "tensor", "kind": "code"}, "shape", number | {"title": "values"},
         number | {"title": "share taken by L2"}],
        [[one.name, " x ".join(map(str, one.shape)), torch.Size(one.shape).numel(),
          round(one.share, 3)] for one in tensors],
        caption="The same update of plain gradient descent with L2 and without: what L2 takes from "
        "each tensor, as a share of rate x strength x value. 1: it acts; 0: it does not.",
    )  # fmt: skip
    runs = {strength: learned(study, MODEL, weight_decay=strength) for strength in STRENGTHS}
    test = study.dataset().test
    accuracy = {s: evaluate(run.classifier, test).accuracy for s, run in runs.items()}
    norms = {s: (norm_of(run, True), norm_of(run, False)) for s, run in runs.items()}
    histories = {f"L2 {strength:g}": run.history for strength, run in runs.items()}
    parts: tuple[tuple[Part, str], ...] = (
        ("training", "trained on"),
        ("validation", "not trained on"),
    )
    for part, words in parts:
        question.figure(
            f"{part}-loss", run_curves(histories, "loss", parts=(part,), x="step"),
            alt=f"{part.capitalize()} loss over the iterations at three strengths of L2",
            caption=f"Cross-entropy of images that are {words}, over the iterations, logarithmic; "
            "the penalty itself is not part of it.",
        )  # fmt: skip
    question.table(
        "strengths",
        [number | {"title": "strength of L2"}, share | {"title": "training error"},
         share | {"title": "validation error"}, share | {"title": "test accuracy"},
         number | {"title": "L2 norm of the weights"}, number | {"title": "of the biases"}],
        [
            [f"{s:g}", run.history[-1].train_error, run.history[-1].validation_error, accuracy[s],
             round(norms[s][0], 3), round(norms[s][1], 3)]
            for s, run in runs.items()
        ],
        caption=f"{MODEL} at the end of training; {WEIGHT_DECAY:g} is what the networks above and "
        "below are trained with.",
    )  # fmt: skip
    question.number("taken_by_l2", {one.name: one.share for one in tensors})
    question.number("test_accuracies", {f"{s:g}": value for s, value in accuracy.items()})
    question.number("weight_norms", {f"{s:g}": value[0] for s, value in norms.items()})
    none, strong = norms[0.0][0], norms[STRENGTHS[-1]][0]
    best = max(accuracy, key=lambda s: accuracy[s])
    spread = 100 * (max(accuracy.values()) - min(accuracy.values()))
    question.discuss(
        f"At a strength of {STRENGTHS[-1]:g} the weights end with {100 * strong / none:.0f} % of "
        f"the norm that they have without L2. The accuracy on test images differs by {spread:.2f} "
        f"points between the strengths and is highest at {best:g}; one run each, so that a few "
        "tenths of a point mean little. Adam divides the penalty's gradient by the same running "
        "size as the rest of the gradient, so that a strength means less than with plain gradient "
        "descent."
    )
    question.deviate(
        "L2 regularization",
        f"weight_decay = {WEIGHT_DECAY:g}, an override of the preset paper, which has 0: "
        f"convscope train {MODEL} --preset paper --weight-decay {WEIGHT_DECAY:g}",
        "The strength times the weight is added to its gradient: the gradient of "
        "strength / 2 times the sum of squares.",
    )


def taken_by_l2(study: Study) -> list[Decayed]:
    """One update of plain gradient descent on all training images, with a strong L2 and without."""
    strength, rate = 0.5, 0.1
    images = len(study.dataset("digits").train)

    def after(updates: int, strength: float) -> TrainResult:
        return study.trained(
            MODEL, preset="paper", data="digits", optimizer="sgd", momentum=0.0, nesterov=False,
            learning_rate=rate, epochs=updates, batch_size=images, weight_decay=strength,
        )  # fmt: skip

    start = dict(after(0, 0.0).classifier.module.named_parameters())
    plain = dict(after(1, 0.0).classifier.module.named_parameters())
    decayed = dict(after(1, strength).classifier.module.named_parameters())
    found = []
    with torch.no_grad():
        for name, value in start.items():
            whole = rate * strength * value.double()
            taken = plain[name].double() - decayed[name].double()
            share = float((taken * whole).sum() / whole.square().sum())
            found.append(Decayed(name=name, shape=tuple(value.shape), share=share))
    return found


def norm_of(run: TrainResult, weights: bool) -> float:
    """L2 norm of all weights of a network, or of all its biases."""
    with torch.no_grad():
        squares = [
            float(value.double().square().sum())
            for value in run.classifier.module.parameters()
            if (value.ndim > 1) == weights
        ]
    return sum(squares) ** 0.5
