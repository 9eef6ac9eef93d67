"""What the tests of `convscope.scratch` draw at random, and how they compare."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from convscope import scratch


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """One image is too little work for two BLAS threads: they would wait for each other."""
    with threadpool_limits(1, user_api="blas"):
        yield


def examples(number):
    """So many examples, the same on every machine, however slow it is."""
    return settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@st.composite
def convolutions(draw, largest=9):
    """Images, kernels, bias and settings of a convolution that has at least one output."""
    number, channels, filters = (draw(st.integers(1, 3)) for _ in range(3))
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    padding = draw(st.sampled_from(["same", "valid", 0, 1, 2, 3]))
    stride = draw(st.sampled_from([1, 2, 3, 5, (1, 2), (3, 1)]))
    zeros = padding if isinstance(padding, int) else 0
    size = [
        draw(st.integers(1 if padding == "same" else max(1, k - 2 * zeros), largest))
        for k in kernel
    ]
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images = generator.standard_normal((number, channels, *size))
    kernels = generator.standard_normal((filters, channels, *kernel))
    bias = generator.standard_normal(filters)
    flip = draw(st.booleans())
    return images, kernels, bias, {"stride": stride, "padding": padding, "flip": flip}


@st.composite
def poolings(draw, largest=9):
    """Images with many ties, and settings of a pooling that has at least one output."""
    number, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    padding = draw(st.integers(0, min(size) // 2))
    stride = draw(st.sampled_from([None, 1, 2, 3, 5, (1, 2), (3, 1)]))
    shape = [draw(st.integers(max(1, k - 2 * padding), largest)) for k in size]
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([2, 4, 1000]))
    images = generator.integers(0, levels, (number, channels, *shape)).astype(np.float64)
    return images - levels / 2, {"size": size, "stride": stride, "padding": padding}


def assert_same(found, expected, tolerance=1e-12):
    """Equal shapes, and numbers equal relative to the largest of them."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert scratch.relative_error(found, expected) <= tolerance
