"""A convolutional network from scratch: NumPy, the chain rule, and nothing else.

Every layer exists twice: as its definition in plain loops (`convscope.scratch.naive`) and as a
fast function here. Both agree, and their gradients agree with central differences
(`check_gradients`). Layers remember what their backward pass needs, a `Sequential` chains them,
and `fit` trains it. All images are (N, C, H, W).

A recurrent network that adds binary numbers, its weights written by hand, stands at the end of
the book: `run_adder`.
"""

from __future__ import annotations

from convscope.scratch import naive
from convscope.scratch._adder import ADDER_WEIGHTS, Addition, add, addition, run_adder
from convscope.scratch._batch_norm import (
    BatchNormGradients,
    Moments,
    batch_norm,
    batch_norm_gradients,
    moments,
)
from convscope.scratch._check import (
    GRADIENT_TOLERANCE,
    GradientCheck,
    apart,
    check_gradients,
    check_layer,
    numerical_gradient,
    relative_error,
)
from convscope.scratch._convolution import (
    ConvolutionGradients,
    convolve,
    convolve_gradients,
    convolve_input_gradient,
    convolve_kernel_gradient,
)
from convscope.scratch._dense import (
    DenseGradients,
    cross_entropy,
    cross_entropy_gradient,
    dense,
    dense_gradients,
    log_softmax,
    relu,
    relu_gradient,
    softmax,
)
from convscope.scratch._geometry import Axis, padding_arithmetic
from convscope.scratch._layers import (
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    Layer,
    MaxPool,
    Normalize,
    ReLU,
    he_normal,
)
from convscope.scratch._networks import NETWORKS, Inception, Sequential, build_network
from convscope.scratch._pooling import (
    average_pool,
    average_pool_gradient,
    max_pool,
    max_pool_gradient,
)
from convscope.scratch._training import (
    SGD,
    Adam,
    Optimizer,
    TrainingCurve,
    TrainingStep,
    accuracy,
    fit,
    one_cycle,
    predict,
)
from convscope.scratch._weights import load_network, load_weights, save_weights

__all__ = [
    "ADDER_WEIGHTS",
    "GRADIENT_TOLERANCE",
    "NETWORKS",
    "SGD",
    "Adam",
    "Addition",
    "AveragePool",
    "Axis",
    "BatchNorm",
    "BatchNormGradients",
    "Convolution",
    "ConvolutionGradients",
    "Dense",
    "DenseGradients",
    "GradientCheck",
    "Inception",
    "Layer",
    "MaxPool",
    "Moments",
    "Normalize",
    "Optimizer",
    "ReLU",
    "Sequential",
    "TrainingCurve",
    "TrainingStep",
    "accuracy",
    "add",
    "addition",
    "apart",
    "average_pool",
    "average_pool_gradient",
    "batch_norm",
    "batch_norm_gradients",
    "build_network",
    "check_gradients",
    "check_layer",
    "convolve",
    "convolve_gradients",
    "convolve_input_gradient",
    "convolve_kernel_gradient",
    "cross_entropy",
    "cross_entropy_gradient",
    "dense",
    "dense_gradients",
    "fit",
    "he_normal",
    "load_network",
    "load_weights",
    "log_softmax",
    "max_pool",
    "max_pool_gradient",
    "moments",
    "naive",
    "numerical_gradient",
    "one_cycle",
    "padding_arithmetic",
    "predict",
    "relative_error",
    "relu",
    "relu_gradient",
    "run_adder",
    "save_weights",
    "softmax",
]
