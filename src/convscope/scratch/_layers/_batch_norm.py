"""The batch normalization layer."""

import numpy as np

from convscope.scratch._batch_norm import Moments, batch_norm, batch_norm_gradients, moments
from convscope.scratch._geometry import Array
from convscope.scratch._layers._layer import Layer


class BatchNorm(Layer):
    """Channels with mean 0 and variance 1, scaled and shifted by what is learned: `batch_norm`.

    In training the mean and variance are those of the batch, and running averages of them are
    kept: average += momentum * (batch - average), with the variance that divides by one less
    than the number of values. Otherwise the running averages are used.

    Args:
        channels: Channels of the images (C).
        momentum: Share of the newest batch in the running averages; 0.1 as in PyTorch.
        epsilon: Keeps the root away from zero; 1e-5 as in PyTorch.
        dtype: Type of the parameters.

    Example:
        >>> layer = BatchNorm(1, dtype=np.float64)
        >>> layer.forward(np.array([[[[1.0, 3.0]]]]), training=True).round(3)
        array([[[[-1.,  1.]]]])
        >>> layer.constants["running_mean"]  # 0 + 0.1 * (2 - 0)
        array([0.2])

    Source:
        Ioffe and Szegedy, "Batch normalization" (2015).
    """

    def __init__(
        self,
        channels: int,
        *,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        dtype: type[np.floating] = np.float32,
    ) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self.parameters = {"weight": np.ones(channels, dtype), "bias": np.zeros(channels, dtype)}
        self.constants = {
            "running_mean": np.zeros(channels, dtype),
            "running_var": np.ones(channels, dtype),
        }

    def forward(self, inputs: Array, *, training: bool = False) -> Array:
        """Images (N, C, H, W) to images of the same shape."""
        self._remember(inputs)
        if training:
            self._statistics = None
            self._update(moments(inputs), inputs.size // inputs.shape[1])
        else:
            self._statistics = Moments(
                self.constants["running_mean"].copy(), self.constants["running_var"].copy()
            )
        return batch_norm(
            inputs,
            self.parameters["weight"],
            self.parameters["bias"],
            statistics=self._statistics,
            epsilon=self.epsilon,
        )

    def backward(self, output_gradient: Array) -> Array:
        """Fill `gradients` (gamma is `weight`, beta is `bias`); return that of the images."""
        gradients = batch_norm_gradients(
            self._inputs,
            self.parameters["weight"],
            output_gradient,
            statistics=self._statistics,
            epsilon=self.epsilon,
        )
        self.gradients = {"weight": gradients.scale, "bias": gradients.shift}
        return gradients.images

    def _update(self, batch: Moments, values: int) -> None:
        unbiased = batch.variance * (values / (values - 1)) if values > 1 else batch.variance
        for name, newest in (("running_mean", batch.mean), ("running_var", unbiased)):
            average = self.constants[name]
            average += self.momentum * (newest - average)
