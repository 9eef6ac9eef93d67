"""First weights."""

import numpy as np

from convscope.scratch._geometry import Array


def he_normal(
    shape: tuple[int, ...], generator: np.random.Generator, dtype: type[np.floating] = np.float32
) -> Array:
    """Normal numbers with variance 2 / fan-in, which keeps the size of signals through ReLUs.

    Args:
        shape: (outputs, inputs, ...); the fan-in is the product of all but the first.
        generator: Source of the numbers.
        dtype: Type of the result.

    Returns:
        An array of that shape.

    Example:
        >>> weights = he_normal((100, 50, 2, 2), np.random.default_rng(0))
        >>> round(float(weights.std()), 2)  # the root of 2 / 200
        0.1

    Source:
        He et al., "Delving deep into rectifiers" (2015), equation 10.
    """
    fan_in = int(np.prod(shape[1:]))
    return (generator.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(dtype)
