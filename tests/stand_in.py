"""A device that every machine has, and where tensors in the wrong place are found."""

from contextlib import contextmanager
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

BETWEEN = {Tensor.to, Tensor.copy_, Tensor.type_as, torch._has_compatible_shallow_copy_type}
"""Functions that take numbers from one device to another."""

INDEXED = {Tensor.__getitem__, Tensor.__setitem__}
"""Functions that may meet indices of the CPU, if the tensor is not on it."""


def _pieces(tensor, sizes, dim=0):
    dim %= tensor.ndim
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    return tuple(tensor.narrow(dim, start, n) for start, n in zip(starts, sizes, strict=True))


def unbound(tensor, dim=0):
    return tuple(tensor.select(dim, k) for k in range(tensor.shape[dim]))


def in_chunks(tensor, chunks, dim=0):
    size = -(-tensor.shape[dim] // chunks)
    return in_parts(tensor, size, dim)


def in_parts(tensor, size, dim=0):
    count = tensor.shape[dim]
    if isinstance(size, int):
        size = [min(size, count - start) for start in range(0, count, size)]
    return _pieces(tensor, list(size), dim)


PIECES = {
    torch.unbind: unbound, Tensor.unbind: unbound,
    torch.chunk: in_chunks, Tensor.chunk: in_chunks,
    torch.split: in_parts, Tensor.split: in_parts,
}  # fmt: skip
"""What gives several views at once, which lazy tensors get wrong, as one view after the other."""


@cache
def _lazy():
    """Its name, or why there is none; a process may ask for it once."""
    try:
        import torch._lazy.ts_backend

        torch._lazy.ts_backend.init()
        torch.ones(1, device="lazy").cpu()
    except Exception as error:
        return f"this torch has no lazy device: {error}"
    return torch.device("lazy", 0)


def stand_in():
    """Torch's lazy device: other tensors than those of the CPU, with real numbers.

    It refuses what CUDA refuses: two devices in one operation, an array of NumPy. As on CUDA,
    numbers without axes may come from the CPU, and so may indices.
    """
    found = _lazy()
    if isinstance(found, str):
        pytest.skip(found)
    return found


def a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU that torch can use")
    return torch.device("cuda", 0)


class OneDevice(TorchFunctionMode):
    """Refuses what the stand-in lets pass and a GPU does not, such as `where` of two devices."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        kinds = {x.device.type for x in tensors if x.ndim}
        moved = function in BETWEEN or getattr(function, "__name__", "") == "__set__"
        if len(kinds) > 1 and not moved:
            indexed = function in INDEXED and args[0].device.type != "cpu"
            assert indexed, f"{function} of tensors on {' and '.join(sorted(kinds))}"
        if function in PIECES and args[0].device.type == "lazy":
            return PIECES[function](*args, **kwargs)
        return function(*args, **kwargs)


LACKING = {
    'has no implementation for the backend "lazy': "has no grids of affine maps",
    "expected scalar type": "takes a Python number beside a number for a float64 tensor",
}
"""What torch's lazy device cannot do, by the words of its errors."""


@contextmanager
def what_the_stand_in_lacks():
    """Skip a test that meets it."""
    try:
        yield
    except RuntimeError as error:
        for words, lack in LACKING.items():
            if words in str(error):
                pytest.skip(f"the stand-in {lack}")
        raise
