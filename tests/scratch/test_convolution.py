import numpy as np
import pytest
import torch
from hypothesis import given

from convscope import scratch
from convscope.errors import UsageError
from convscope.scratch import _convolution as _windows
from convscope.scratch import naive

from .conftest import assert_same, convolutions, examples


def by_torch(images, kernels, bias, output_gradient=None, *, stride, padding, flip):
    """Outputs and the three gradients of torch's convolution, in float64."""
    x, k, b = (torch.tensor(a, requires_grad=True) for a in (images, kernels, bias))
    down, right = (stride, stride) if isinstance(stride, int) else stride
    vertical = scratch.padding_arithmetic(
        images.shape[2], kernels.shape[2], stride=down, padding=padding
    )
    horizontal = scratch.padding_arithmetic(
        images.shape[3], kernels.shape[3], stride=right, padding=padding
    )
    padded = torch.nn.functional.pad(x, (*horizontal[:2], *vertical[:2]))
    used = k.flip(2, 3) if flip else k
    outputs = torch.nn.functional.conv2d(padded, used, b, stride=(down, right))
    if output_gradient is None:
        return outputs.detach().numpy()
    gradients = torch.autograd.grad(outputs, (x, k, b), torch.tensor(output_gradient))
    return [gradient.numpy() for gradient in gradients]


@examples(300)
@given(convolutions())
def test_outputs_and_gradients_are_those_of_torch(case):
    images, kernels, bias, how = case
    outputs = scratch.convolve(images, kernels, bias, **how)
    assert_same(outputs, by_torch(images, kernels, bias, **how))
    dy = np.random.default_rng(0).standard_normal(outputs.shape)
    found = scratch.convolve_gradients(images, kernels, dy, **how)
    for ours, theirs in zip(found, by_torch(images, kernels, bias, dy, **how), strict=True):
        assert_same(ours, theirs)


@examples(60)
@given(convolutions(largest=6))
def test_the_fast_version_agrees_with_the_definition(case):
    images, kernels, bias, how = case
    outputs = scratch.convolve(images, kernels, bias, **how)
    assert_same(outputs, naive.convolve(images, kernels, bias, **how))
    dy = np.random.default_rng(0).standard_normal(outputs.shape)
    fast = scratch.convolve_gradients(images, kernels, dy, **how)
    slow = naive.convolve_gradients(images, kernels, dy, **how)
    for ours, theirs in zip(fast, slow, strict=True):
        assert_same(ours, theirs)


@examples(40)
@given(convolutions(largest=5))
def test_gradients_agree_with_central_differences(case):
    images, kernels, bias, how = case
    dy = np.random.default_rng(0).standard_normal(
        scratch.convolve(images, kernels, bias, **how).shape
    )
    found = scratch.convolve_gradients(images, kernels, dy, **how)

    def weighted_sum():
        return float((scratch.convolve(images, kernels, bias, **how) * dy).sum())

    for variable, gradient in zip((images, kernels, bias), found, strict=True):
        differences = scratch.numerical_gradient(weighted_sum, variable)
        assert scratch.relative_error(gradient, differences, floor=1e-3) < 1e-7


def test_cross_correlation_of_an_impulse_is_the_turned_kernel_and_convolution_the_kernel():
    impulse = np.zeros((1, 1, 5, 5))
    impulse[0, 0, 2, 2] = 1
    kernel = np.arange(9.0).reshape(1, 1, 3, 3)
    correlated = scratch.convolve(impulse, kernel)[0, 0]
    convolved = scratch.convolve(impulse, kernel, flip=True)[0, 0]
    assert (correlated == kernel[0, 0, ::-1, ::-1]).all()
    assert (convolved == kernel[0, 0]).all()


def test_true_convolution_is_numpys_in_one_dimension(generator):
    signal, kernel = generator.standard_normal(20), generator.standard_normal(5)
    found = scratch.convolve(
        signal[None, None, None], kernel[None, None, None], padding="valid", flip=True
    )
    assert_same(found[0, 0, 0], np.convolve(signal, kernel, "valid"))


def test_true_convolution_commutes(generator):
    # With padding on all sides ("full"), I * K = K * I; cross-correlation does not do that.
    small, large = generator.standard_normal((1, 1, 3, 3)), generator.standard_normal((1, 1, 5, 5))
    one = scratch.convolve(large, small, padding=2, flip=True)
    other = scratch.convolve(small, large, padding=4, flip=True)
    assert_same(one, other)
    assert not np.allclose(
        scratch.convolve(large, small, padding=2), scratch.convolve(small, large, padding=4)
    )


def test_bands_of_rows_change_nothing(monkeypatch, generator):
    images, kernels = (
        generator.standard_normal((2, 3, 9, 7)),
        generator.standard_normal((4, 3, 3, 2)),
    )
    dy = generator.standard_normal((2, 4, 9, 7))
    whole = scratch.convolve(images, kernels, padding="same")
    gradients = scratch.convolve_gradients(images, kernels, dy, padding="same")
    for numbers in (1, 300):
        monkeypatch.setattr(_windows, "BUFFER", numbers)
        assert_same(scratch.convolve(images, kernels, padding="same"), whole)
        again = scratch.convolve_gradients(images, kernels, dy, padding="same")
        for found, expected in zip(again, gradients, strict=True):
            assert_same(found, expected)


def test_order_in_memory_changes_nothing(generator):
    images, kernels = (
        generator.standard_normal((2, 3, 6, 6)),
        generator.standard_normal((4, 3, 3, 3)),
    )
    expected = scratch.convolve(images, kernels)
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for other in (channels_last, np.asfortranarray(images), images[:, :, ::-1][:, :, ::-1]):
        assert_same(scratch.convolve(other, kernels), expected)
        for found, same in zip(
            scratch.convolve_gradients(other, kernels, expected),
            scratch.convolve_gradients(images, kernels, expected),
            strict=True,
        ):
            assert_same(found, same)


def test_images_are_not_written_to_and_float32_stays(generator):
    images = generator.standard_normal((2, 1, 5, 5), dtype=np.float32)
    kernels = generator.standard_normal((2, 1, 3, 3), dtype=np.float32)
    images.flags.writeable = kernels.flags.writeable = False
    outputs = scratch.convolve(images, kernels, np.zeros(2, np.float32), padding="same")
    assert outputs.dtype == np.float32
    for gradient in scratch.convolve_gradients(images, kernels, outputs, padding="same"):
        assert gradient.dtype == np.float32


def test_one_image_does_not_depend_on_its_neighbours(generator):
    images = generator.standard_normal((5, 3, 8, 8), dtype=np.float32)
    kernels = generator.standard_normal((4, 3, 3, 3), dtype=np.float32)
    together = scratch.convolve(images, kernels)
    alone = np.concatenate([scratch.convolve(image[None], kernels) for image in images])
    assert (together == alone).all()


@pytest.mark.parametrize(
    "images, kernels, bias, match",
    [
        ((3, 8, 8), (4, 3, 3, 3), None, "images have shape"),
        ((2, 3, 8, 8), (4, 3, 3), None, "kernels have shape"),
        ((2, 3, 8, 8), (4, 2, 3, 3), None, "kernels have shape"),
        ((2, 3, 8, 8), (4, 3, 3, 3), (3,), "biases have shape"),
        ((2, 3, 8, 8), (4, 3, 9, 3), None, "does not fit"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(images, kernels, bias, match):
    with pytest.raises(UsageError, match=match):
        scratch.convolve(
            np.zeros(images), np.zeros(kernels), None if bias is None else np.zeros(bias)
        )


def test_gradients_of_another_shape_are_refused():
    images, kernels = np.zeros((2, 3, 8, 8)), np.zeros((4, 3, 3, 3))
    with pytest.raises(UsageError, match="output gradients have shape"):
        scratch.convolve_gradients(images, kernels, np.zeros((2, 4, 8, 8)))
    with pytest.raises(UsageError, match="images have shape"):
        scratch.convolve_kernel_gradient(images, (4, 2, 3, 3), np.zeros((2, 4, 6, 6)))
    with pytest.raises(UsageError, match="vertical, horizontal"):
        scratch.convolve(images, kernels, stride=(1, 2, 3))
