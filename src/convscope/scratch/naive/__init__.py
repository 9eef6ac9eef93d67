"""The layers as their definitions read: one number at a time, in plain loops.

Nobody trains a network with these. They are what the fast versions in `convscope.scratch` are
compared with, and the place to look up what a layer *is*. Names, arguments and results are the
same as there.
"""

from convscope.scratch.naive._batch_norm import batch_norm, batch_norm_gradients
from convscope.scratch.naive._convolution import convolve, convolve_gradients
from convscope.scratch.naive._dense import dense, dense_gradients
from convscope.scratch.naive._pooling import (
    average_pool,
    average_pool_gradient,
    max_pool,
    max_pool_gradient,
)
from convscope.scratch.naive._relu import relu, relu_gradient
from convscope.scratch.naive._softmax import cross_entropy, cross_entropy_gradient, softmax

__all__ = [
    "average_pool",
    "average_pool_gradient",
    "batch_norm",
    "batch_norm_gradients",
    "convolve",
    "convolve_gradients",
    "cross_entropy",
    "cross_entropy_gradient",
    "dense",
    "dense_gradients",
    "max_pool",
    "max_pool_gradient",
    "relu",
    "relu_gradient",
    "softmax",
]
