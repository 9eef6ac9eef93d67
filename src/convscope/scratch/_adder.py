"""A recurrent network that adds binary numbers, with weights written by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convscope._readable import readable
from convscope.errors import UsageError
from convscope.scratch._geometry import Array

U = np.array([[1, 1], [1, 1], [1, 1]])
"""Weights of the two input bits: every hidden unit counts both."""

W = np.array([[0, 1, 0], [0, 1, 0], [0, 1, 0]])
"""Weights of the hidden units before: every unit also counts the carry, the second of them."""

HIDDEN_BIAS = np.array([0, -1, -2])
"""Thresholds of the hidden units: the count must be above 0, above 1, above 2."""

V = np.array([1, -1, 1])
"""Weights of the output: a count of one, but not two, or else three."""

OUTPUT_BIAS = 0
"""Threshold of the output."""

H0 = np.array([0, 0, 0])
"""Hidden units before the first bit: nothing is carried."""

ADDER_WEIGHTS = {
    "U": U,
    "W": W,
    "b": HIDDEN_BIAS,
    "v": V,
    "b_y": np.array([OUTPUT_BIAS]),
    "h_0": H0,
}
"""All numbers of the network by their symbols in `run_adder`."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Addition:
    """An addition, bit by bit. Everything is in the order of the network: lowest bit first.

    Attributes:
        first: The first number, as it was given.
        second: The second number, as it was given.
        total: Their sum, highest bit first, without leading zeros.
        inputs: The bits of both numbers, padded with zeros (T, 2).
        hidden: The three hidden units after each step (T, 3).
        outputs: The bits of the sum (T,).
    """

    first: str
    second: str
    total: str
    inputs: Array
    hidden: Array
    outputs: Array


def add(first: str, second: str) -> str:
    """The sum of two binary numbers.

    Args:
        first: Binary digits, highest first, of any length.
        second: Binary digits; it may be longer or shorter.

    Returns:
        Binary digits without leading zeros.

    Raises:
        UsageError: An empty text, or anything but 0 and 1 in it.

    Example:
        >>> add("100111", "110010")
        '1011001'
    """
    return addition(first, second).total


def addition(first: str, second: str) -> Addition:
    """The sum of two binary numbers, with everything the network went through.

    The numbers are reversed (lowest bit first), and the shorter one gets zeros at its upper end.
    One more step with two zeros lets the last carry out.

    Args:
        first: Binary digits, highest first, of any length.
        second: Binary digits; it may be longer or shorter.

    Returns:
        The sum and the hidden units of every step.

    Raises:
        UsageError: An empty text, or anything but 0 and 1 in it.

    Example:
        >>> result = addition("11", "1")
        >>> result.total
        '100'
        >>> result.hidden  # counts 2, 2, 1
        array([[1, 1, 0],
               [1, 1, 0],
               [1, 0, 0]])
    """
    bits = [_bits(first), _bits(second)]
    inputs = np.zeros((max(map(len, bits)) + 1, 2), np.int64)
    for number, column in zip(bits, inputs.T, strict=True):
        column[: len(number)] = number
    hidden, outputs = run_adder(inputs)
    digits = (outputs[::-1] + ord("0")).astype(np.uint8).tobytes().decode("ascii")
    return Addition(
        first=first,
        second=second,
        total=digits.lstrip("0") or "0",
        inputs=inputs,
        hidden=hidden,
        outputs=outputs,
    )


def run_adder(inputs: Array) -> tuple[Array, Array]:
    """The recurrent network, for one pair of numbers or for many at once.

        h_t = step(U x_t + W h_{t-1} + b_h)          y_t = step(v . h_t + b_y)

    with step(z) = 1 if z > 0, else 0. Column addition needs one number per place, the count

        n_t = a_t + b_t + c_{t-1}       (two bits and the carry; 0, 1, 2 or 3)

    and two answers about it: the bit to write is 1 for n = 1 and n = 3, and the carry c_t is 1 for
    n = 2 and n = 3. One threshold cannot tell odd from even, so three hidden units hold the count
    as a thermometer:

        h = (n >= 1, n >= 2, n >= 3)

    Each unit adds up the same three things and has its own threshold. The second unit *is* the
    carry, so the count is a_t + b_t + (h_{t-1})_2:

            | 1 1 |          | 0 1 0 |          |  0 |           | 0 |
        U = | 1 1 |      W = | 0 1 0 |    b_h = | -1 |     h_0 = | 0 |
            | 1 1 |          | 0 1 0 |          | -2 |           | 0 |

    The bit to write is 1 with one unit on or with three, not with none or two. Switched on one
    after the other, the units add 1, take it away, and add it again:

        v = (1, -1, 1)     b_y = 0          n = 0: 0     n = 1: 1     n = 2: 0     n = 3: 1

    Why it is right for numbers of every length: whatever the hidden units were, they are a
    thermometer of the right count after one step if their second unit was the right carry. That
    is so at the start, where h_0 carries nothing, and so by induction at every step. There are 8
    hidden states and 4 inputs; the tests go through all 32 cases.

    Args:
        inputs: x_1 to x_T, lowest bits first: (T, 2), or (T, pairs, 2).

    Returns:
        h_1 to h_T (T, 3) or (T, pairs, 3), and y_1 to y_T (T,) or (T, pairs).

    Example:
        >>> hidden, outputs = run_adder(np.array([[1, 1], [0, 0]]))  # 1 + 1
        >>> outputs
        array([0, 1])
    """
    seen = inputs @ U.T + HIDDEN_BIAS
    hidden = np.empty(seen.shape, np.int64)
    state = np.broadcast_to(H0, seen.shape[1:])
    for t, now in enumerate(seen):
        hidden[t] = state = now + state @ W.T > 0
    return hidden, (hidden @ V + OUTPUT_BIAS > 0).astype(np.int64)


def _bits(number: str) -> Array:
    """The binary digits of a text, lowest first.

    Raises:
        UsageError: U19.
    """
    if not number:
        raise UsageError("an empty number", code="U19", expected="binary digits such as 100111")
    for place, character in enumerate(number, start=1):
        if character not in "01":
            raise UsageError(
                f"{character!r} in place {place} of {number!r} is not a binary digit",
                code="U19",
                expected="only 0 and 1, such as 100111",
            )
    return np.frombuffer(number.encode("ascii"), np.uint8)[::-1].astype(np.int64) - ord("0")
