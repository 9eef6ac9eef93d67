"""Convolution and max-pool, forward and backward, without a library for networks."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from convscope.figures import draw_gradient_checks, heat, stretched
from convscope.scratch import (
    GRADIENT_TOLERANCE,
    BatchNorm,
    Convolution,
    Dense,
    GradientCheck,
    Inception,
    Layer,
    MaxPool,
    ReLU,
    apart,
    check_layer,
    convolve,
    convolve_input_gradient,
    max_pool,
    max_pool_gradient,
    naive,
    relative_error,
)
from convscope.studies._question import Picture, Question
from convscope.studies._snu_assignment_2._torch_twin import (
    Array,
    by_layer,
    by_loops,
    by_torch,
    enlarged,
    largest,
    rounded,
)
from convscope.studies._study import Study

Build = Callable[[np.random.Generator], tuple[Layer, tuple[int, ...]]]

DIAGONAL = np.array([[2.0, 1.0, 0.0], [1.0, 0.0, -1.0], [0.0, -1.0, -2.0]])
"""A kernel that answers to edges from the lower left to the upper right."""


def _convolution(kernel: int | tuple[int, int], **how: Any) -> Build:
    def build(generator: np.random.Generator) -> tuple[Layer, tuple[int, ...]]:
        layer = Convolution(2, 3, kernel, generator=generator, dtype=np.float64, **how)
        layer.parameters["bias"] += 0.1 * generator.standard_normal(3)
        return layer, (2, 2, 6, 7)

    return build


def _inception(generator: np.random.Generator) -> tuple[Layer, tuple[int, ...]]:
    block = Inception(
        3, ones=2, threes=3, fives=2, pool=2, reduce3=2, reduce5=2, generator=generator,
        dtype=np.float64,
    )  # fmt: skip
    for name, array in block.parameters.items():
        if name.endswith("bias"):  # with zeros, a window of zeros lies on the kink of the ReLU
            array += 0.1 * generator.standard_normal(array.shape)
    return block, (2, 3, 4, 4)


CASES: dict[str, Build] = {
    "convolution 3x3, same": _convolution(3, padding="same"),
    "convolution 3x3, valid": _convolution(3),
    "convolution 3x3, stride 2, 1 zero": _convolution(3, stride=2, padding=1),
    "convolution 4x4, same": _convolution(4, padding="same"),
    "convolution 2x3, stride 2": _convolution((2, 3), stride=2),
    "convolution 1x1": _convolution(1),
    "flipped kernel 3x2, same": _convolution((3, 2), padding="same", flip=True),
    "max-pool 2x2": lambda g: (MaxPool(2), (2, 3, 6, 6)),
    "max-pool 3x3, stride 2, 1 around": lambda g: (MaxPool(3, stride=2, padding=1), (2, 2, 7, 6)),
    "relu": lambda g: (ReLU(), (3, 4, 5)),
    "dense": lambda g: (Dense(12, 5, generator=g, dtype=np.float64), (3, 12)),
    "batch normalization": lambda g: (BatchNorm(3, dtype=np.float64), (4, 3, 3, 2)),
    "inception block": _inception,
}


def layers_by_hand(study: Study, question: Question) -> None:
    """Every layer against central differences, torch and plain loops; the loops themselves."""
    checks, rows = checked_layers(study.seed)
    passed = sum(check.passed for check in checks)
    worst = max(check.error for check in checks)
    of_torch = largest([row[4] for row in rows])
    of_loops = largest([row[5] for row in rows])
    question.find(
        f"{passed} of {len(checks)} gradients agree with central differences; the largest relative "
        f"error is {worst:.0e}. Outputs and gradients agree with torch to {of_torch:.0e}."
    )
    question.tile("gradients that agree", f"{passed} of {len(checks)}",
                  detail="with central differences")  # fmt: skip
    question.compare(
        "gradients that agree with central differences", document="convolution and max-pool",
        measured=passed, unit="count", words=f"of {len(checks)}, {len(CASES)} layers",
        at_least=len(checks),
    )  # fmt: skip
    question.compare("largest relative error, central differences", document="none is given",
                     measured=rounded(worst))  # fmt: skip
    question.compare("largest relative error, torch", document="none is given",
                     measured=rounded(of_torch))  # fmt: skip
    number = {"kind": "number"}
    summary: list[list[Any]] = []
    for name in CASES:
        of = [row for row in rows if row[0] == name]
        worst_of = [largest([row[column] for row in of]) for column in (3, 4, 5)]
        loops = None if any(row[5] is None for row in of) else worst_of[2]
        summary.append([name, len(of) - 1, worst_of[0], worst_of[1], loops])
    question.table(
        "layers",
        ["layer", number | {"title": "gradients"}, number | {"title": "central differences"},
         number | {"title": "torch"}, number | {"title": "plain loops"}],
        summary,
        caption="Largest difference as a share of the largest number, in float64: the worst of a "
        "layer's gradients against central differences, of its outputs and gradients against torch "
        "and plain loops. An inception block is made of the layers above it and has no loops.",
        wide=True,
    )  # fmt: skip
    with question.section.details("Every output and every gradient"):
        question.table(
            "gradients",
            ["layer", {"title": "what", "kind": "code"}, number | {"title": "numbers"},
             number | {"title": "central differences"}, number | {"title": "torch"},
             number | {"title": "plain loops"}],
            rows,
            caption="outputs: the forward pass; all else: the gradient of this, the backward pass.",
            wide=True,
        )  # fmt: skip
    question.figure(
        "gradients", draw_gradient_checks(checks),
        alt="Relative error of each gradient on a logarithmic axis, far left of the tolerance",
        caption="The same against central differences: a dot per gradient (inputs, weight, bias); "
        f"dashed: {GRADIENT_TOLERANCE:g}, which a right gradient stays below.",
    )  # fmt: skip
    _on_an_image(study, question)
    with question.section.details("Forward and backward, written out in loops"):
        for function in (
            naive.convolve, naive.convolve_gradients, naive.max_pool, naive.max_pool_gradient
        ):  # fmt: skip
            question.section.code(source_of(function), caption=f"scratch.naive.{function.__name__}")
    question.number("worst", {"central_differences": worst, "torch": of_torch, "loops": of_loops})
    question.discuss(
        "Central differences with a step of 1e-5 are right to about ten digits, so that "
        f"{worst:.0e} is as close as they come; torch differentiates exactly, and there the "
        f"difference is {of_torch:.0e}, the rounding of sums in another order. "
        "The backward pass of a convolution hands the gradient of each output to both factors of "
        "each of its products; that of a max-pool hands it to the pixel that won its window, to "
        "the first where several are equal, as torch does."
    )
    question.deviate(
        "convolution and max-pool",
        f"{len(CASES)} layers: also ReLU, dense, batch normalization, and the inception block",
        "A network has them, and a gradient that nobody checked is a guess.",
    )


def checked_layers(seed: int) -> tuple[list[GradientCheck], list[list[Any]]]:
    """All cases: checks against central differences, and the rows of the table.

    Args:
        seed: Of weights, inputs and output gradients.

    Returns:
        The checks, and for each quantity: layer, quantity, count, and the errors against central
        differences, torch and loops; `None` where there is nothing to compare with.
    """
    checks: list[GradientCheck] = []
    rows: list[list[Any]] = []
    for name, build in CASES.items():
        generator = np.random.default_rng(seed)
        layer, shape = build(generator)
        inputs = apart(shape, generator)
        found = check_layer(name, layer, inputs, generator)
        checks += found
        by_differences = {check.quantity: rounded(check.error) for check in found}
        dy = generator.standard_normal(layer.forward(inputs, training=True).shape)
        ours, torchs = by_layer(layer, inputs, dy), by_torch(layer, inputs, dy)
        loops = by_loops(layer, inputs, dy)
        for quantity, values in ours.items():
            rows.append(
                [
                    name, quantity, values.size, by_differences.get(quantity),
                    rounded(relative_error(values, torchs[quantity])),
                    None if loops is None else rounded(relative_error(values, loops[quantity])),
                ]
            )  # fmt: skip
    return checks, rows


def gray_picture(study: Study) -> Array:
    """The first training image, colors averaged, ``(1, 1, height, width)`` in float64."""
    image = study.dataset().train.to_float([0])
    return np.asarray(image.double().mean(dim=1, keepdim=True).numpy())


def _on_an_image(study: Study, question: Question) -> None:
    """One image forward through convolution and max-pool, and the gradient of a sum back."""
    image, kernel = gray_picture(study), DIAGONAL[None, None]
    maps = convolve(image, kernel, padding="same")
    pooled = max_pool(maps)
    of_maps = max_pool_gradient(maps, pooled, np.ones_like(pooled))
    of_image = convolve_input_gradient(image.shape, kernel, of_maps, padding="same")
    question.pictures(
        "forward-and-backward", ["", "", ""],
        [
            ("forward", [
                Picture(image=stretched(image[0, 0]), title="image", detail=_size(image)),
                Picture(image=heat(maps[0, 0], signed=True), title="convolution",
                        detail=_size(maps)),
                Picture(image=enlarged(heat(pooled[0, 0], signed=True), len(image[0, 0])),
                        title="max-pool",
                        detail=_size(pooled)),
            ]),
            ("backward", [
                Picture(image=heat(of_image[0, 0], signed=True), title="for the image",
                        detail=_size(of_image)),
                Picture(image=heat(of_maps[0, 0], signed=True), title="for the maps",
                        detail=f"{int(of_maps.sum())} of {of_maps.size} won"),
                Picture(image=enlarged(heat(np.ones_like(pooled[0, 0]), signed=True),
                                       len(image[0, 0])), title="begins here",
                        detail="1 everywhere"),
            ]),
        ],
        caption="Above, from left to right: an image, its convolution with a 3 x 3 kernel for "
        "diagonal edges, and the 2 x 2 max-pool of that. Below, from right to left: the gradient "
        "of the sum of the pooled values. Each window gives its 1 to the pixel that won; in the "
        "background, where all four are equal, to the first. Orange is above zero, blue below, no "
        "color is zero; the image is black to white.",
    )  # fmt: skip


def _size(values: Array) -> str:
    return f"{values.shape[2]} x {values.shape[3]}"


def source_of(function: Callable[..., Any]) -> str:
    """The code of a function without its docstring.

    Example:
        >>> print(source_of(_size))
        def _size(values: Array) -> str:
            return f"{values.shape[2]} x {values.shape[3]}"
    """
    source = textwrap.dedent(inspect.getsource(function))
    lines = source.splitlines()
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.FunctionDef)
    if ast.get_docstring(tree) is not None:
        first = tree.body[0]
        del lines[first.lineno - 1 : first.end_lineno]
    return "\n".join(lines)
