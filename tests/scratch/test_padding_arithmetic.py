import pytest
from hypothesis import given
from hypothesis import strategies as st

from convscope.errors import UsageError
from convscope.scratch import padding_arithmetic

from .conftest import examples


@pytest.mark.parametrize(
    "padding, kernel, left, right, total, output",
    [
        ("valid", 1, 0, 0, 0, 28),
        ("valid", 2, 0, 0, 0, 27),
        ("valid", 3, 0, 0, 0, 26),
        ("valid", 4, 0, 0, 0, 25),
        ("valid", 5, 0, 0, 0, 24),
        ("same", 1, 0, 0, 0, 28),
        ("same", 2, 0, 1, 1, 28),
        ("same", 3, 1, 1, 2, 28),
        ("same", 4, 1, 2, 3, 28),
        ("same", 5, 2, 2, 4, 28),
        ("same", 6, 2, 3, 5, 28),
        ("same", 7, 3, 3, 6, 28),
        (1, 3, 1, 1, 2, 28),
        (2, 3, 2, 2, 4, 30),
    ],
)
def test_the_table_for_28_pixels(padding, kernel, left, right, total, output):
    axis = padding_arithmetic(28, kernel, padding=padding)
    assert (axis.left, axis.right, axis.total, axis.output) == (left, right, total, output)


@examples(100)
@given(st.integers(1, 60), st.integers(1, 12))
def test_same_keeps_the_size_and_puts_the_odd_zero_right(size, kernel):
    axis = padding_arithmetic(size, kernel, padding="same")
    assert axis.output == size
    assert axis.total == kernel - 1
    assert axis.right - axis.left == (kernel + 1) % 2


@examples(100)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 7))
def test_same_with_a_stride_divides_the_size_with_as_few_zeros_as_possible(size, kernel, stride):
    axis = padding_arithmetic(size, kernel, stride=stride, padding="same")
    assert axis.output == -(-size // stride)
    covered = (axis.output - 1) * stride + kernel
    assert axis.total == max(0, covered - size)


@examples(100)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 7), st.integers(0, 5))
def test_the_last_window_fits_and_another_would_not(size, kernel, stride, padding):
    padded = size + 2 * padding
    if kernel > padded:
        with pytest.raises(UsageError, match="does not fit"):
            padding_arithmetic(size, kernel, stride=stride, padding=padding)
        return
    count = padding_arithmetic(size, kernel, stride=stride, padding=padding).output
    assert (count - 1) * stride + kernel <= padded < count * stride + kernel


@pytest.mark.parametrize("padding", ["full", -1, 1.0, True, None])
def test_an_unknown_padding_is_refused(padding):
    with pytest.raises(UsageError, match="padding"):
        padding_arithmetic(28, 3, padding=padding)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"kernel": 0}, {"stride": 0}])
def test_lengths_below_one_are_refused(wrong):
    lengths = {"size": 28, "kernel": 3, "stride": 1} | wrong
    with pytest.raises(UsageError, match="from 1 on"):
        padding_arithmetic(lengths["size"], lengths["kernel"], stride=lengths["stride"])
