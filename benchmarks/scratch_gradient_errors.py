"""The largest relative error of every layer from scratch, in float64, against three judges.

Central differences (`convscope scratch check`), torch's autograd and the plain loops of
`convscope.scratch.naive`, the last two over random shapes, kernels, strides and paddings.

    python benchmarks/scratch_gradient_errors.py [--shapes 300] [--loops 60]
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from record import record

from convscope import scratch
from convscope.scratch import naive

Errors = dict[str, float]


def shape(generator, largest):
    """A random convolution or pooling that has at least one output."""
    kernel = generator.integers(1, 5, 2)
    padding = int(generator.integers(0, 3))
    sizes = [int(generator.integers(max(1, k - 2 * padding), largest + 1)) for k in kernel]
    stride = tuple(int(s) for s in generator.integers(1, 5, 2))
    counts = [int(c) for c in generator.integers(1, 4, 3)]
    return counts, tuple(int(k) for k in kernel), sizes, stride, padding


def convolution(generator, largest, judge) -> Errors:
    (n, c, f), kernel, sizes, stride, padding = shape(generator, largest)
    images = generator.standard_normal((n, c, *sizes))
    kernels, bias = generator.standard_normal((f, c, *kernel)), generator.standard_normal(f)
    how = {"stride": stride, "padding": padding, "flip": bool(generator.integers(2))}
    outputs = scratch.convolve(images, kernels, bias, **how)
    dy = generator.standard_normal(outputs.shape)
    found = (outputs, *scratch.convolve_gradients(images, kernels, dy, **how))
    if judge == "loops":
        expected = (
            naive.convolve(images, kernels, bias, **how),
            *naive.convolve_gradients(images, kernels, dy, **how),
        )
    else:
        x, k, b = (torch.tensor(a, requires_grad=True) for a in (images, kernels, bias))
        used = k.flip(2, 3) if how["flip"] else k
        y = functional.conv2d(x, used, b, stride, padding)
        expected = (y.detach(), *torch.autograd.grad(y, (x, k, b), torch.tensor(dy)))
    return compared("convolution", ("outputs", "inputs", "weight", "bias"), found, expected)


def pooling(generator, largest, judge) -> Errors:
    (n, c, _), kernel, sizes, stride, padding = shape(generator, largest)
    padding = min(padding, min(kernel) // 2)
    sizes = [max(size, k - 2 * padding) for size, k in zip(sizes, kernel, strict=True)]
    images = generator.integers(0, 5, (n, c, *sizes)).astype(np.float64)  # many ties
    how = {"size": kernel, "stride": stride, "padding": padding}
    largest_numbers = scratch.max_pool(images, **how)
    means = scratch.average_pool(images, **how)
    dy = generator.standard_normal(means.shape)
    found = (
        largest_numbers,
        scratch.max_pool_gradient(images, largest_numbers, dy, **how),
        means,
        scratch.average_pool_gradient(images.shape, dy, **how),
    )
    if judge == "loops":
        expected = (
            naive.max_pool(images, **how),
            naive.max_pool_gradient(images, largest_numbers, dy, **how),
            naive.average_pool(images, **how),
            naive.average_pool_gradient(images.shape, dy, **how),
        )
    else:
        x = torch.tensor(images, requires_grad=True)
        y = functional.max_pool2d(x, kernel, stride, padding)
        z = functional.avg_pool2d(x, kernel, stride, padding)
        (of_y,) = torch.autograd.grad(y, x, torch.tensor(dy))
        (of_z,) = torch.autograd.grad(z, x, torch.tensor(dy))
        expected = (y.detach(), of_y, z.detach(), of_z)
    names = ("max-pool outputs", "max-pool inputs", "average outputs", "average inputs")
    return compared("pooling", names, found, expected)


def dense(generator, largest, judge) -> Errors:
    n, d, k = (int(size) for size in generator.integers(1, largest + 1, 3))
    arrays = [generator.standard_normal(size) for size in ((n, d), (k, d), (k,))]
    dy = generator.standard_normal((n, k))
    found = (scratch.dense(*arrays), *scratch.dense_gradients(*arrays[:2], dy))
    if judge == "loops":
        expected = (naive.dense(*arrays), *naive.dense_gradients(*arrays[:2], dy))
    else:
        tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
        y = functional.linear(*tensors)
        expected = (y.detach(), *torch.autograd.grad(y, tensors, torch.tensor(dy)))
    return compared("dense", ("outputs", "inputs", "weight", "bias"), found, expected)


def batch_norm(generator, largest, judge) -> Errors:
    size = (4, *(int(s) for s in generator.integers(2, largest + 1, 3)))
    images, dy = generator.standard_normal(size), generator.standard_normal(size)
    scale, shift = generator.standard_normal(size[1]), generator.standard_normal(size[1])
    found = (
        scratch.batch_norm(images, scale, shift),
        *scratch.batch_norm_gradients(images, scale, dy),
    )
    if judge == "loops":
        expected = (
            naive.batch_norm(images, scale, shift),
            *naive.batch_norm_gradients(images, scale, dy),
        )
    else:
        x, g, b = (torch.tensor(a, requires_grad=True) for a in (images, scale, shift))
        y = functional.batch_norm(x, None, None, g, b, training=True)
        expected = (y.detach(), *torch.autograd.grad(y, (x, g, b), torch.tensor(dy)))
    names = ("outputs", "inputs", "weight", "bias")
    return compared("batch normalization", names, found, expected)


def loss(generator, largest, judge) -> Errors:
    n, k = int(generator.integers(1, largest + 1)), int(generator.integers(2, largest + 2))
    logits, labels = 3 * generator.standard_normal((n, k)), generator.integers(0, k, n)
    found = (
        np.array(scratch.cross_entropy(logits, labels)),
        scratch.cross_entropy_gradient(logits, labels),
    )
    if judge == "loops":
        expected = (
            np.array(naive.cross_entropy(logits, labels)),
            naive.cross_entropy_gradient(logits, labels),
        )
    else:
        z = torch.tensor(logits, requires_grad=True)
        y = functional.cross_entropy(z, torch.tensor(labels))
        expected = (y.detach(), *torch.autograd.grad(y, z))
    return compared("softmax and cross-entropy", ("outputs", "inputs"), found, expected)


def compared(layer, names, found, expected) -> Errors:
    return {
        f"{layer}: {name}": rounded(scratch.relative_error(np.asarray(ours), np.asarray(theirs)))
        for name, ours, theirs in zip(names, found, expected, strict=True)
    }


def rounded(error: float) -> float:
    """Two digits: the others are noise."""
    return float(f"{error:.1e}")


def worst(judge: str, count: int, largest: int) -> Errors:
    generator = np.random.default_rng(0)
    errors: defaultdict[str, float] = defaultdict(float)
    for layer in (convolution, pooling, dense, batch_norm, loss):
        for _ in range(count):
            for name, error in layer(generator, largest, judge).items():
                errors[name] = max(errors[name], error)
    return dict(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=int, default=300, help="per layer, against torch")
    parser.add_argument("--loops", type=int, default=60, help="per layer, against the loops")
    parser.add_argument("--data-dir", help="not used: random numbers do")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checks = scratch.check_gradients()
    differences = {f"{check.name}: {check.quantity}": rounded(check.error) for check in checks}
    by_torch = worst("torch", arguments.shapes, largest=9)
    by_loops = worst("loops", arguments.loops, largest=6)
    record(
        "scratch_gradient_errors",
        {
            "largest": {
                "central differences": max(differences.values()),
                "torch": max(by_torch.values()),
                "plain loops": max(by_loops.values()),
            },
            "against central differences": differences,
            "against torch": by_torch,
            "against plain loops": by_loops,
        },
        setting={
            "dtype": "float64",
            "error": "max |a - b| / max(|a|, |b|) over an array, largest over all shapes",
            "random shapes per layer, torch": arguments.shapes,
            "random shapes per layer, loops": arguments.loops,
        },
    )


if __name__ == "__main__":
    main()
