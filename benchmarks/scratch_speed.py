"""Convolution and max-pooling from scratch against torch, ONNX Runtime and the usual NumPy ways.

One thread each, float32, N = 64, 32 -> 32 channels, 3x3 "same". Contestants take turns; times are
medians of the CPU time of the process. Every contestant's result is first compared with torch's.
ONNX Runtime (`pip install onnx onnxruntime`) has no backward pass: it is in the forward table.

    python benchmarks/scratch_speed.py [--repeats 15] [--blas SkylakeX]

`--blas` makes OpenBLAS use the kernels of that processor (set before NumPy is imported); without
it OpenBLAS chooses. Both are worth a look where it does not know the processor.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--repeats", type=int, default=15)
parser.add_argument("--blas", default="", help="OPENBLAS_CORETYPE, such as SkylakeX or Haswell")
parser.add_argument("--data-dir", help="not used: random numbers do")
parser.add_argument("--dry", action="store_true", help="do not write the result file")
arguments = parser.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
if arguments.blas:
    os.environ["OPENBLAS_CORETYPE"] = arguments.blas

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.lib.stride_tricks import as_strided, sliding_window_view  # noqa: E402
from threadpoolctl import threadpool_info  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from record import interleaved, record  # noqa: E402

from convscope import scratch  # noqa: E402

N, CHANNELS, KERNEL = 64, 32, 3


def padded(images):
    return np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))


# The usual ways, as they are written in courses and answers: NCHW arrays, whole batch at once.


def strided_windows(images):
    """All windows as one matrix (C k k, H W N) by as_strided and a copy."""
    x = padded(images)
    n, c, height, width = images.shape
    s = x.strides
    windows = as_strided(
        x, (c, KERNEL, KERNEL, n, height, width), (s[1], s[2], s[3], s[0], s[2], s[3])
    )
    return windows.reshape(c * KERNEL * KERNEL, -1)


def strided_forward(images, kernels):
    n, _, height, width = images.shape
    columns = strided_windows(images)
    product = kernels.reshape(len(kernels), -1) @ columns
    return product.reshape(-1, n, height, width).transpose(1, 0, 2, 3), columns


def strided_both(images, kernels, dy):
    """Forward, and backward with one GEMM each and the columns added back in nine slices."""
    _, columns = strided_forward(images, kernels)
    n, c, height, width = images.shape
    rows = dy.transpose(1, 0, 2, 3).reshape(len(kernels), -1)
    of_kernels = (rows @ columns.T).reshape(kernels.shape)
    of_columns = kernels.reshape(len(kernels), -1).T @ rows
    of_columns = of_columns.reshape(c, KERNEL, KERNEL, n, height, width)
    of_padded = np.zeros((c, n, height + 2, width + 2), images.dtype)
    for m in range(KERNEL):
        for k in range(KERNEL):
            of_padded[:, :, m : m + height, k : k + width] += of_columns[:, m, k]
    return of_padded[:, :, 1:-1, 1:-1].transpose(1, 0, 2, 3), of_kernels


def windows(images):
    return sliding_window_view(padded(images), (KERNEL, KERNEL), axis=(2, 3))


def turned(kernels):
    return kernels[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)


def einsum_forward(images, kernels):
    return np.einsum("nchwij,fcij->nfhw", windows(images), kernels, optimize=True)


def einsum_both(images, kernels, dy):
    einsum_forward(images, kernels)
    of_kernels = np.einsum("nchwij,nfhw->fcij", windows(images), dy, optimize=True)
    return einsum_forward(dy, turned(kernels)), of_kernels


def tensordot_forward(images, kernels):
    return np.tensordot(windows(images), kernels, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)


def tensordot_both(images, kernels, dy):
    tensordot_forward(images, kernels)
    of_kernels = np.tensordot(dy, windows(images), axes=((0, 2, 3), (0, 2, 3)))
    return tensordot_forward(dy, turned(kernels)), of_kernels


def ours_both(images, kernels, dy):
    scratch.convolve(images, kernels, padding="same")
    return (
        scratch.convolve_input_gradient(images.shape, kernels, dy, padding="same"),
        scratch.convolve_kernel_gradient(images, kernels.shape, dy, padding="same"),
    )


def torch_both(images, kernels, dy):
    outputs = torch.nn.functional.conv2d(images, kernels, padding=1)
    return torch.autograd.grad(outputs, (images, kernels), dy)


def channels_last(array):
    """The same (N, C, H, W) numbers with channels together in memory."""
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def convolution(size: int) -> dict[str, object]:
    generator = np.random.default_rng(0)
    images = generator.standard_normal((N, CHANNELS, size, size), dtype=np.float32)
    kernels = generator.standard_normal((CHANNELS, CHANNELS, KERNEL, KERNEL), dtype=np.float32)
    dy = generator.standard_normal(images.shape, dtype=np.float32)
    last, dy_last = channels_last(images), channels_last(dy)
    t_images = torch.tensor(images).requires_grad_()
    t_kernels = torch.tensor(kernels).requires_grad_()
    t_dy = torch.tensor(dy)
    how = {"memory_format": torch.channels_last}
    l_images = torch.tensor(images).to(**how).requires_grad_()
    l_kernels = torch.tensor(kernels).to(**how).requires_grad_()
    l_dy = torch.tensor(dy).to(**how)
    both = {
        "torch channels_last": lambda: torch_both(l_images, l_kernels, l_dy),
        "torch NCHW": lambda: torch_both(t_images, t_kernels, t_dy),
        "scratch": lambda: ours_both(last, kernels, dy_last),
        "scratch, NCHW memory": lambda: ours_both(images, kernels, dy),
        "strided im2col, one GEMM": lambda: strided_both(images, kernels, dy),
        "sliding_window_view, einsum": lambda: einsum_both(images, kernels, dy),
        "sliding_window_view, tensordot": lambda: tensordot_both(images, kernels, dy),
    }
    reference = [gradient.numpy() for gradient in both["torch NCHW"]()]
    for name, run in both.items():
        for found, expected in zip(run(), reference, strict=True):
            error = scratch.relative_error(np.asarray(found), expected)
            if not error < 1e-4:
                raise SystemExit(f"{name} differs from torch by {error}")
    session, feed = onnx_convolution(images, kernels)
    if not np.allclose(session(feed), reference_forward(t_images, t_kernels), atol=1e-3):
        raise SystemExit("ONNX Runtime differs from torch")
    forward = {
        "ONNX Runtime": lambda: session(feed),
        "torch channels_last": lambda: torch.nn.functional.conv2d(
            l_images.detach(), l_kernels.detach(), padding=1
        ),
        "scratch": lambda: scratch.convolve(last, kernels, padding="same"),
        "strided im2col, one GEMM": lambda: strided_forward(images, kernels),
        "sliding_window_view, einsum": lambda: einsum_forward(images, kernels),
        "sliding_window_view, tensordot": lambda: tensordot_forward(images, kernels),
    }
    return {
        "forward and backward": table(both),
        "forward": table(forward),
    }


def reference_forward(images, kernels):
    return torch.nn.functional.conv2d(images.detach(), kernels.detach(), padding=1).numpy()


def onnx_convolution(images, kernels):
    """A convolution as ONNX Runtime runs it: one thread, kernels as a constant of the graph."""
    import onnx
    import onnxruntime

    shape = list(images.shape)
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    number = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "convolution",
        [onnx.helper.make_tensor_value_info("x", number, shape)],
        [onnx.helper.make_tensor_value_info("y", number, shape)],
        [onnx.numpy_helper.from_array(kernels, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 9
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
    )
    return lambda feed: session.run(None, feed)[0], {"x": images}


def max_pooling(size: int) -> dict[str, object]:
    generator = np.random.default_rng(0)
    # No two numbers are equal: the usual mask gives a gradient to every winner of a tie.
    numbers = generator.permutation(N * CHANNELS * size * size).astype(np.float32)
    images = numbers.reshape(N, CHANNELS, size, size)
    dy = generator.standard_normal((N, CHANNELS, size // 2, size // 2), dtype=np.float32)
    last, dy_last = channels_last(images), channels_last(dy)
    how = {"memory_format": torch.channels_last}
    t_images, t_dy = torch.tensor(images).requires_grad_(), torch.tensor(dy)
    l_images = torch.tensor(images).to(**how).requires_grad_()
    l_dy = torch.tensor(dy).to(**how)

    def by_torch(x, gradient):
        return torch.autograd.grad(torch.nn.functional.max_pool2d(x, 2), x, gradient)[0]

    def ours(x, gradient):
        return scratch.max_pool_gradient(x, scratch.max_pool(x), gradient)

    def reshaped():
        """The usual way: a reshaped view, the maximum over it, and a mask."""
        view = images.reshape(N, CHANNELS, size // 2, 2, size // 2, 2)
        outputs = view.max(axis=(3, 5))
        mask = view == outputs[:, :, :, None, :, None]
        spread = np.broadcast_to(dy[:, :, :, None, :, None], mask.shape)
        gradient = np.where(mask, spread, np.float32(0))
        return gradient.reshape(images.shape)

    runs = {
        "torch NCHW": lambda: by_torch(t_images, t_dy),
        "torch channels_last": lambda: by_torch(l_images, l_dy),
        "scratch": lambda: ours(last, dy_last),
        "scratch, NCHW memory": lambda: ours(images, dy),
        "reshape and mask": reshaped,
    }
    reference = runs["torch NCHW"]().numpy()
    for name, run in runs.items():
        if not np.array_equal(np.asarray(run()), reference):
            raise SystemExit(f"{name} differs from torch")
    return table(runs)


def table(contestants) -> dict[str, object]:
    """Milliseconds, and every time as a multiple of ours."""
    times = interleaved(contestants, repeats=arguments.repeats, warmup=2)
    ours = times["scratch"]["cpu_seconds"]
    return {
        name: {
            "cpu_ms": round(1000 * time["cpu_seconds"], 3),
            "times_ours": round(time["cpu_seconds"] / ours, 2),
        }
        for name, time in times.items()
    }


def main() -> None:
    torch.set_num_threads(1)
    blas = next(pool for pool in threadpool_info() if pool["user_api"] == "blas")
    figures: dict[str, object] = {}
    for size in (28, 14):
        pictures = convolution(size)
        both = pictures["forward and backward"]
        ratio = both["scratch"]["cpu_ms"] / both["torch channels_last"]["cpu_ms"]
        forward = pictures["forward"]
        onnx_ratio = forward["scratch"]["cpu_ms"] / forward["ONNX Runtime"]["cpu_ms"]
        figures[f"convolution {size}x{size}"] = {
            "ours / torch channels_last": round(ratio, 2),
            "ours / ONNX Runtime, forward alone": round(onnx_ratio, 2),
            **pictures,
        }
        figures[f"max-pool 2x2 of {size}x{size}"] = {"forward and backward": max_pooling(size)}
    suffix = f"_{arguments.blas.lower()}" if arguments.blas else ""
    if arguments.dry:
        print(figures)
        return
    record(
        f"scratch_speed{suffix}",
        figures,
        peers=("onnxruntime",),
        setting={
            "images": N,
            "channels": CHANNELS,
            "kernel": "3x3 same",
            "dtype": "float32",
            "threads": 1,
            "repeats": arguments.repeats,
            "time": "median CPU time of the process, contestants in turns",
            "blas": f"{blas['internal_api']} {blas['version']}, kernels for {blas['architecture']}",
        },
    )


if __name__ == "__main__":
    main()
