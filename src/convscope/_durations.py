"""Durations in words: of clocks, and of what is left of a job."""

from __future__ import annotations

SOON = 0.005
"""Share of the work from which on the rest is estimated; before it, the guess would be absurd."""


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours if there are any.

    Example:
        >>> clock(7), clock(95), clock(3725)
        ('0:07', '1:35', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def time_left(gone: float, share: float) -> str:
    """How long the rest takes at the pace so far, as the end of a line; empty if nobody can tell.

    Args:
        gone: Seconds so far.
        share: Part of the work that is done, from 0 to 1.

    Example:
        >>> time_left(10, 0.25), time_left(10, 1e-6), time_left(10, 1)
        (', about 0:30 left', '', '')
    """
    return f", about {clock(gone * (1 - share) / share)} left" if SOON <= share < 1 else ""
