"""Max-pooling before the rectifier: the same numbers from a quarter of the work.

The largest of rectified values is the rectified largest value, to the bit, and so are gradients
(the first maximum wins both ways, and a value of zero or less passes none). On a small network a
third of the time goes into rectifying maps that are about to be pooled. Where a ReLU is followed
by a max-pooling in a plain sequence, nothing else can see what is between them; there the two
change places while a `Probe` runs the whole network, and only then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

IN_ORDER = "applies_children_in_order"
"""Class attribute of sequences with a forward of their own that still is a plain sequence."""


@contextmanager
def pool_first(module: nn.Module) -> Iterator[None]:
    """Within this context, pairs of ReLU and max-pooling in sequences are exchanged."""
    changed: list[tuple[nn.Sequential, dict[str, nn.Module]]] = []
    try:
        for child in module.modules():
            if isinstance(child, nn.Sequential) and _in_order(child):
                order = _exchanged(child)
                if order is not None:
                    changed.append((child, child._modules))
                    child._modules = order
        yield
    finally:
        for child, order in changed:
            child._modules = order


def _in_order(chain: nn.Sequential) -> bool:
    return type(chain) is nn.Sequential or IN_ORDER in type(chain).__dict__


def _exchanged(chain: nn.Sequential) -> dict[str, nn.Module] | None:
    """The children in another order; ``None`` if there is nothing to exchange."""
    items = list(chain._modules.items())
    found = False
    for i in range(len(items) - 1):
        first, second = items[i][1], items[i + 1][1]
        if type(first) is nn.ReLU and type(second) is nn.MaxPool2d and _plain(first, second):
            items[i], items[i + 1] = items[i + 1], items[i]
            found = True
    return dict(items) if found else None


def _plain(relu: nn.Module, pool: nn.MaxPool2d) -> bool:
    """Nobody listens, and the pooling gives values only."""
    hooks = (
        relu._forward_hooks, relu._forward_pre_hooks, relu._backward_hooks,
        pool._forward_hooks, pool._forward_pre_hooks, pool._backward_hooks,
    )  # fmt: skip
    return not pool.return_indices and not any(hooks)
