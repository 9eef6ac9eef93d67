"""Convolution against cross-correlation, stride, and how many zeros go where."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from convscope.figures import heat, stretched
from convscope.scratch import convolve, padding_arithmetic
from convscope.studies._question import Picture, Question
from convscope.studies._snu_assignment_2._by_hand import gray_picture
from convscope.studies._snu_assignment_2._torch_twin import (
    Array,
    enlarged,
    precisely,
    rounded,
    same_by_torch,
)
from convscope.studies._study import Study

LETTER = np.array(
    [[1, 1, 1, 1, 0], [1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0]],
    dtype=np.float64,
)
"""An F: whoever turns it by 180 degrees sees it."""

EDGE = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
"""Sobel's kernel: as convolution, orange where it gets brighter to the right."""

BLUR = np.outer([1.0, 2.0, 1.0], [1.0, 2.0, 1.0]) / 16
"""Looks the same when it is turned."""

KERNELS = {"letter F": LETTER, "Sobel": EDGE, "blur": BLUR}
SIZES = range(1, 8)
STRIDES = (1, 2, 3, 4)


def convolution_and_padding(study: Study, question: Question) -> None:
    """Two operations on two pictures, outputs at four strides, zeros for seven kernels."""
    image = gray_picture(study)
    turned = _flip_or_not(question, image)
    strides = _strides(question, image)
    paddings = _paddings(question, image.shape[2])
    same = sum(bool(row[-1]) for row in paddings)
    question.find(
        "What networks call convolution is cross-correlation: turning the kernel by 180 degrees "
        f"makes one the other, {precisely(turned)}. The padding rules agree with torch "
        f"for {same} of {len(paddings)} kernels."
    )
    question.tile(
        "padding rules as in torch", f"{same} of {len(paddings)}", detail="kernels 1 to 7"
    )
    question.compare(
        "“same”, odd kernel k", document="(k − 1) / 2 left and right, k − 1 in all",
        words=_agreement([row for row in paddings if row[0] % 2]),
    )  # fmt: skip
    question.compare(
        "“same”, even kernel k", document="k / 2 − 1 left, k / 2 right, k − 1 in all",
        words=_agreement([row for row in paddings if row[0] % 2 == 0]),
    )  # fmt: skip
    fits = sum(row[6] == row[7] for row in paddings)
    question.compare("“valid”, output", document="m − (k − 1)",
                     words=f"the same for {fits} of {len(paddings)} kernels")  # fmt: skip
    question.number("strides", strides)
    question.number("kernels_as_in_torch", same)
    size = image.shape[2]
    question.discuss(
        "A network learns its kernels, so that it does not matter to it which of the two it "
        "computes: it learns them turned. It matters for kernels from a book, and for the "
        "convolution theorem, which holds for convolution alone, as the table shows. "
        f"An even kernel has no middle: one zero more has to go to one side, and here, in torch "
        f"and in TensorFlow it goes to the right and to the bottom. Without zeros {size} pixels "
        f"become {size - 6} under a 7 x 7 kernel, and pixels at the border are seen less often "
        "than others; with zeros the size stays, and the network sees an edge around every image."
    )


def _agreement(rows: list[list[Any]]) -> str:
    found = ", ".join(f"{row[0]}: {row[1]} + {row[2]}" for row in rows)
    held = sum(bool(row[-1]) for row in rows)
    return f"{found}; as in torch for {held} of {len(rows)}"


def fourier_convolution(image: Array, kernel: Array) -> Array:
    """The convolution of mathematics by the convolution theorem, where the kernel lies inside.

    Args:
        image: ``(height, width)``.
        kernel: ``(rows, columns)``.

    Returns:
        ``(height - rows + 1, width - columns + 1)``.

    Example:
        >>> fourier_convolution(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 10.0]])).round(6)
        array([[12., 23.]])
    """
    shape = [n + k - 1 for n, k in zip(image.shape, kernel.shape, strict=True)]
    product = np.fft.rfft2(image, shape) * np.fft.rfft2(kernel, shape)
    whole = np.fft.irfft2(product, shape)
    rows, columns = kernel.shape
    inside: Array = whole[rows - 1 : image.shape[0], columns - 1 : image.shape[1]]
    return inside


def _flip_or_not(question: Question, image: Array) -> float:
    """Pictures of both operations; how nearly one with a turned kernel is the other."""
    dots = np.zeros((1, 1, 25, 25))
    for place in ((4, 5), (12, 17), (19, 6)):
        dots[0, 0, *place] = 1.0
    lines = []
    for title, picture, name in (("three dots", dots, "letter F"), ("a picture", image, "Sobel")):
        kernel = KERNELS[name]
        one, other = (
            convolve(picture, kernel[None, None], padding="same", flip=flip)[0, 0]
            for flip in (False, True)
        )
        signed = bool((kernel < 0).any())
        tile = (lambda values: heat(values, signed=True)) if signed else stretched
        lines.append((title, [
            Picture(image=stretched(picture[0, 0]), alt=title),
            Picture(image=enlarged(tile(kernel), picture.shape[2]), detail=name),
            Picture(image=tile(one), alt=f"Cross-correlation of {title} with {name}"),
            Picture(image=tile(other), alt=f"Convolution of {title} with {name}"),
        ]))  # fmt: skip
    question.pictures(
        "convolution-or-cross-correlation",
        ["picture", "kernel", "cross-correlation", "convolution"], lines, scale=4,
        caption="Cross-correlation lays the kernel on the picture as it is; convolution turns it "
        "by 180 degrees first. Of a dot, convolution makes the kernel, cross-correlation the "
        "kernel turned. Of a picture under Sobel's kernel one is the negative of the other: orange "
        "is above zero, blue below, no color is zero; all else is black to white. The kernel is "
        "enlarged.",
    )  # fmt: skip
    rows, worst = [], 0.0
    for name, kernel in KERNELS.items():
        k = kernel[None, None]
        plain, flipped = (convolve(image, k, flip=flip)[0, 0] for flip in (False, True))
        by_turning = convolve(image, k[:, :, ::-1, ::-1])[0, 0]
        worst = max(worst, float(np.abs(flipped - by_turning).max()))
        theorem = fourier_convolution(image[0, 0], kernel)
        rows.append([
            name, rounded(float(np.abs(plain - flipped).max())),
            rounded(float(np.abs(flipped - by_turning).max())),
            _near_zero(np.abs(flipped - theorem).max()), _near_zero(np.abs(plain - theorem).max()),
        ])  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "convolution-or-cross-correlation",
        ["kernel", number | {"title": "one − the other"},
         number | {"title": "the same, kernel turned"},
         number | {"title": "Fourier − convolution"},
         number | {"title": "Fourier − cross-correlation"}],
        rows,
        caption="Largest differences on the picture above, pixels in [0, 1]: of cross-correlation "
        "and convolution, first with one kernel, then with the kernel turned for "
        "cross-correlation; of the product of both Fourier transforms (the convolution theorem) "
        "and either. What is below 1e-12 is rounding and is written as 0.",
        wide=True,
    )  # fmt: skip
    return worst


def _near_zero(value: float) -> float:
    return 0.0 if value < 1e-12 else rounded(float(value))


def _strides(question: Question, image: Array) -> dict[str, bool]:
    """Outputs at several strides, their sizes, and what they leave out."""
    kernel, size = EDGE[None, None], image.shape[2]
    dense = convolve(image, kernel)
    rows, cells, kept = [], [], {}
    for stride in STRIDES:
        found = convolve(image, kernel, stride=stride)
        valid = padding_arithmetic(size, 3, stride=stride, padding="valid")
        same = padding_arithmetic(size, 3, stride=stride, padding="same")
        every = bool(np.array_equal(found, dense[:, :, ::stride, ::stride]))
        theirs = functional.conv2d(torch.tensor(image), torch.tensor(kernel), stride=stride)
        kept[str(stride)] = every and found.shape == tuple(theirs.shape)
        rows.append([stride, f"⌊({size} − 3) / {stride}⌋ + 1 = {(size - 3) // stride + 1}",
                     found.shape[2], theirs.shape[2], f"{same.left} + {same.right}", same.output,
                     "yes" if every else "no"])  # fmt: skip
        assert valid.output == found.shape[2]
        tile = enlarged(heat(found[0, 0], signed=True), dense.shape[2])
        cells.append(Picture(image=tile, title=f"stride {stride}",
                             detail=f"{found.shape[2]} x {found.shape[3]}"))  # fmt: skip
    question.pictures(
        "strides", [""] * len(cells), [("", cells)], scale=4,
        caption="The picture under Sobel's kernel, moved by 1 to 4 pixels at a time: the same "
        "values, fewer of them, drawn larger. Orange is above zero, blue below.",
    )  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "strides",
        [number | {"title": "stride"}, "without zeros, by the formula",
         number | {"title": "here"}, number | {"title": "torch"},
         "“same”: zeros left + right", number | {"title": "output"},
         "every s-th value of stride 1"],
        rows,
        caption=f"A 3 x 3 kernel on {size} pixels. With a stride s, “same” means ⌈m / s⌉ values, "
        "and as many zeros as that takes.",
        wide=True,
    )  # fmt: skip
    return kept


def _paddings(question: Question, size: int) -> list[list[Any]]:
    """The table of zeros: kernel, left, right, total, output, rule, valid, formula, agreement."""
    rows: list[list[Any]] = []
    for kernel in SIZES:
        same = padding_arithmetic(size, kernel, padding="same")
        valid = padding_arithmetic(size, kernel, padding="valid")
        theirs = same_by_torch(size, kernel)
        half = (kernel - 1) // 2
        rule = (half, half) if kernel % 2 else (kernel // 2 - 1, kernel // 2)
        rows.append([
            kernel, same.left, same.right, same.total, same.output,
            f"{theirs[0]} + {theirs[1]}", valid.output, size - (kernel - 1),
            (same.left, same.right) == rule == theirs,
        ])  # fmt: skip
    number = {"kind": "number"}
    question.table(
        "padding",
        [number | {"title": "kernel k"}, number | {"title": "“same”: left"},
         number | {"title": "right"}, number | {"title": "total"}, number | {"title": "output"},
         "torch: left + right", number | {"title": "“valid”: output"},
         number | {"title": "m − (k − 1)"}, "rule, here and torch agree"],
        [[*row[:-1], {"value": "yes" if row[-1] else "no", "tone": "good" if row[-1] else "bad"}]
         for row in rows],
        caption=f"Zeros around m = {size} pixels, per axis; stride 1. What torch does is read off "
        "its output for a kernel with a single 1.",
        wide=True,
    )  # fmt: skip
    return rows
