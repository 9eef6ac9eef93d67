"""Problem 5: a recurrent network that adds binary numbers, its weights found by hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convscope.figures import draw_addition
from convscope.scratch import ADDER_WEIGHTS, addition, run_adder
from convscope.studies._question import Question
from convscope.studies._study import Study

SHOWN = ("100111", "110010")
"""The sum that is shown bit by bit."""

BITS = 6
"""All pairs of numbers of so many bits are added."""

LONG = 256
"""Bits of the random numbers that are added, too."""

Number = {"kind": "number"}


def binary_adder(study: Study, question: Question) -> None:
    """The matrices, an addition bit by bit, all cases of one step, and all sums of six bits."""
    u, w, b, v, b_y, h_0 = (ADDER_WEIGHTS[name] for name in ("U", "W", "b", "v", "b_y", "h_0"))
    question.table(
        "matrices",
        ["hidden unit", *({"title": t, **Number} for t in (
            "U: first bit", "U: second bit", "W: unit 1", "W: unit 2", "W: unit 3",
            "b: threshold", "h₀", "v: output"))],
        [
            [f"{i + 1} (count ≥ {i + 1})", *map(int, (*u[i], *w[i], b[i], h_0[i], v[i]))]
            for i in range(3)
        ],
        caption="All weights: h(t) = step(U x(t) + W h(t − 1) + b) with step(z) = 1 for z > 0 and "
        f"else 0, and y(t) = step(v · h(t) + {int(b_y[0])}). x(t) are the two bits of place t, "
        "the lowest place first.",
        wide=True,
    )  # fmt: skip
    found = addition(*SHOWN)
    question.figure(
        "addition", draw_addition(found),
        alt=f"{found.first} + {found.second} = {found.total}, bit by bit",
        caption=f"{found.first} + {found.second} = {found.total} as on paper: each column is a "
        "step of the network, from right to left; a filled square is a 1. Unit 2 is the carry, "
        "which the next place counts (arrows).",
    )  # fmt: skip
    question.table(
        "step",
        [{"title": t, **Number} for t in (
            "first bit", "second bit", "carry before", "count", "h 1", "h 2 (carry)", "h 3",
            "bit of the sum")],
        [[int(value) for value in row] for row in one_step()],
        caption="One step for every pair of bits and every carry. The hidden units are the count "
        "as a thermometer; v adds the first, takes the second away and adds the third, so that 1 "
        "and 3 give a 1.",
    )  # fmt: skip
    pairs, right = all_sums(BITS)
    long_pairs = study.pick(100, 1000)
    long_right = random_sums(study, long_pairs)
    question.find(
        f"The network adds all {pairs:,} pairs of numbers of {BITS} bits as whole numbers are "
        f"added: {right:,} right; of {long_pairs:,} random pairs of {LONG} bits, {long_right:,}."
    )
    question.tile("sums right", f"{right + long_right:,} of {pairs + long_pairs:,}",
                  detail="by the recurrent adder")  # fmt: skip
    question.compare("hidden units", document="three, hard threshold", measured=len(v),
                     unit="count", words="hard threshold")  # fmt: skip
    question.compare(f"sums of {BITS} bits", document="right for numbers of any length",
                     measured=right, unit="count", words=f"of {pairs:,}",
                     at_least=pairs)  # fmt: skip
    question.compare(f"sums of {LONG} bits", document="right for numbers of any length",
                     measured=long_right, unit="count", words=f"of {long_pairs:,} random pairs",
                     at_least=long_pairs)  # fmt: skip
    for name, value in ADDER_WEIGHTS.items():
        question.number(name, value.tolist())
    question.number("sums", {"pairs": pairs, "right": right})
    question.discuss(
        "A place of a sum needs one number, the count of ones among two bits and the carry (0 to "
        "3), and two answers about it: the bit to write is 1 for 1 and 3, the carry for 2 and 3. "
        "One threshold cannot tell odd from even, three can: each hidden unit sums up the same "
        "three values and has a threshold of its own."
    )
    question.discuss(
        "Only unit 2 is looked at in the next step, therefore W has ones in its second column "
        "alone. h₀ = 0: nothing is carried into the lowest place. One more step with two zeros "
        "writes the last carry. By induction it is right for every length: a step makes the "
        "right count of whatever the right carry was."
    )


def one_step() -> NDArray[np.int64]:
    """Bits, carry, count, hidden units and output of every case of a step: ``(8, 8)``.

    The carry comes from the step before: two ones leave one, two zeros none.

    Example:
        >>> one_step()[-1].tolist()
        [1, 1, 1, 3, 1, 1, 1, 1]
    """
    cases = np.array([(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    before = np.repeat(cases[:, 2:], 2, axis=1)
    hidden, outputs = run_adder(np.stack([before, cases[:, :2]]))
    counts = cases.sum(axis=1, keepdims=True)
    rows: NDArray[np.int64] = np.hstack([cases, counts, hidden[1], outputs[1][:, None]])
    return rows


def all_sums(bits: int) -> tuple[int, int]:
    """Pairs of numbers of so many bits, and how many of them the network adds rightly.

    Example:
        >>> all_sums(2)
        (16, 16)
    """
    numbers = np.arange(2**bits)
    first, second = (grid.ravel() for grid in np.meshgrid(numbers, numbers))
    places = np.arange(bits + 1)[:, None]
    inputs = np.stack([first >> places & 1, second >> places & 1], axis=2)
    _, outputs = run_adder(inputs)
    sums = (outputs << places).sum(axis=0)
    return len(first), int((sums == first + second).sum())


def random_sums(study: Study, count: int) -> int:
    """How many of `count` sums of two random long numbers are those of Python's whole numbers."""
    draw = np.random.default_rng(study.seed)
    right = 0
    for _ in range(count):
        a, b = (int.from_bytes(draw.bytes(LONG // 8), "big") for _ in range(2))
        right += int(addition(f"{a:b}", f"{b:b}").total, 2) == a + b
    return right
