"""One rule of randomness: without a generator, a fresh one with seed 0.

No draw of this package comes from a global random state, and none moves one. So two equal calls
give equal results, whatever the process drew before. What repeats on purpose takes `restarts=`,
or a generator that goes on from call to call.
"""

from __future__ import annotations

import torch
from torch import Generator


def source(generator: Generator | None) -> Generator:
    """`generator` itself, or a fresh one with seed 0.

    Called once where a public function begins: its draws then follow each other.

    Args:
        generator: Source of every draw of the caller, or ``None``.

    Example:
        >>> float(torch.rand((), generator=source(None))) == float(
        ...     torch.rand((), generator=source(None)))
        True
    """
    return torch.Generator().manual_seed(0) if generator is None else generator
