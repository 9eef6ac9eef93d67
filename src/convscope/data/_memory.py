"""Whether something fits into memory, asked before it is read."""

from pathlib import Path

from convscope.errors import ResourceError

MOST_OF_FREE = 0.8


def free_memory() -> int | None:
    """Bytes that this machine can give without swapping; None where nobody tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def check_memory(needed: int, what: str, *, where: object = "") -> None:
    """Refuse work that needs more than most of the free memory.

    Args:
        needed: Bytes.
        what: What needs them.
        where: For the error text.

    Raises:
        ResourceError: With both sizes.
    """
    free = free_memory()
    if free is not None and needed > MOST_OF_FREE * free:
        raise ResourceError(
            f"{what} need {needed / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free",
            where=where,
            hint="use fewer or smaller images",
        )
