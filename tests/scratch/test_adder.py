import itertools
import random

import numpy as np
import pytest

from convscope.errors import UsageError
from convscope.scratch import add, addition, run_adder
from convscope.scratch._adder import H0, HIDDEN_BIAS, OUTPUT_BIAS, U, V, W


def step(total):
    return (total > 0).astype(int)


def test_the_proof_for_numbers_of_every_length():
    # From every one of the 8 hidden states and with every one of the 4 inputs, one step leads to
    # the thermometer of the count a + b + carry, writes the count's low bit and carries its high
    # bit, where the carry that went in is the state's second unit. h_0 carries 0. By induction,
    # every step is that of column addition.
    states = list(itertools.product((0, 1), repeat=3))
    for hidden, (a, b) in itertools.product(states, itertools.product((0, 1), repeat=2)):
        count = a + b + hidden[1]
        following = step(U @ (a, b) + W @ hidden + HIDDEN_BIAS)
        assert following.tolist() == [count >= 1, count >= 2, count == 3]
        assert following[1] == count // 2
        assert step(V @ following + OUTPUT_BIAS) == count % 2
    assert H0[1] == 0


def test_the_program_is_that_recurrence(generator):
    inputs = generator.integers(0, 2, (50, 2))
    hidden, outputs = run_adder(inputs)
    before = H0
    for t, x in enumerate(inputs):
        before = step(U @ x + W @ before + HIDDEN_BIAS)
        assert (hidden[t] == before).all()
        assert outputs[t] == step(V @ before + OUTPUT_BIAS)


def test_all_pairs_of_ten_bit_numbers():
    places, right = np.arange(11)[:, None], 0
    for pairs in np.split(np.arange(2**20), 64):
        first, second = np.divmod(pairs, 2**10)
        inputs = np.stack([first >> places & 1, second >> places & 1], axis=-1)
        _, outputs = run_adder(inputs)
        right += ((outputs << places).sum(axis=0) == first + second).sum()
    assert right == 1_048_576


@pytest.mark.parametrize("seed", range(5))
def test_numbers_of_ten_thousand_bits(seed):
    draw = random.Random(seed)
    first, second = (draw.getrandbits(draw.randint(1, 10_000)) for _ in range(2))
    assert int(add(f"{first:b}", f"{second:b}"), 2) == first + second


def test_a_carry_runs_through_ten_thousand_ones():
    assert add("1" * 10_000, "1") == "1" + "0" * 10_000


@pytest.mark.slow
def test_a_million_bits():
    assert add("1" * 1_000_000, "1") == "1" + "0" * 1_000_000


@pytest.mark.parametrize(
    "first, second, total",
    [
        ("100111", "110010", "1011001"),
        ("0", "0", "0"),
        ("1", "1", "10"),
        ("000", "0001", "1"),
        ("1", "1111", "10000"),
        ("0011", "1", "100"),
    ],
)
def test_examples(first, second, total):
    assert add(first, second) == add(second, first) == total


def test_the_record_is_lowest_bit_first_with_a_last_step_for_the_carry():
    found = addition("1011", "1")
    assert found.inputs.tolist() == [[1, 1], [1, 0], [0, 0], [1, 0], [0, 0]]
    assert found.outputs.tolist() == [0, 0, 1, 1, 0]
    assert found.hidden.sum(axis=1).tolist() == [2, 2, 1, 1, 0]
    assert found.total == "1100"


@pytest.mark.parametrize("wrong", ["2", "1 0", " 1", "1\n", "-1", "0b1", "1.0", "٣", "1０", "abc"])
def test_other_characters_are_refused_and_named(wrong):
    with pytest.raises(UsageError, match="is not a binary digit") as refusal:
        add("1", wrong)
    assert refusal.value.code == "U19"


@pytest.mark.parametrize("pair", [("", "1"), ("1", ""), ("", "")])
def test_empty_numbers_are_refused(pair):
    with pytest.raises(UsageError, match="an empty number"):
        add(*pair)
