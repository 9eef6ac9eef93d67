"""What ``convscope train`` shows while it trains."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from convscope._durations import time_left
from convscope.cli._output import VOICE, progress, say, warn
from convscope.progress import watch

if TYPE_CHECKING:
    from convscope.training import Event, Measured, TrainSettings

LINE_SECONDS = 10.0
"""Where there is no terminal, a line at least so often."""


@contextmanager
def shown(settings: TrainSettings, steps: int) -> Iterator[Callable[[Event], None]]:
    """A consumer of events: a bar on a terminal; elsewhere one line per epoch and ten seconds."""
    from convscope.training import Measured, Started, Stepped, Warned

    terminal = sys.stderr.isatty() and VOICE.progress
    title = f"{settings.model} on {settings.data}"
    began, said = time.monotonic(), time.monotonic()
    first = 0

    def on_progress(share: float, what: str) -> None:
        nonlocal said
        if bar is not None:
            bar.describe(f"{title}: {what} {share:.0%}")
        elif time.monotonic() - said > LINE_SECONDS:
            said = time.monotonic()
            say(f"{title}: {what} {share:.0%}")

    def left(step: int) -> str:
        return time_left(time.monotonic() - began, (step - first) / max(steps - first, 1))

    with (
        progress(title, total=steps) if terminal else _no_bar() as bar,
        watch(on_progress),
    ):

        def on_event(event: Event) -> None:
            nonlocal began, said, first
            if isinstance(event, Warned):
                warn(event.text)
            elif isinstance(event, Started):
                began, first = time.monotonic(), event.step
                if bar is not None:
                    bar.advance(event.step)
                elif event.step:
                    say(f"resumed at step {event.step} of {event.steps}")
            elif isinstance(event, Stepped) and bar is not None:
                bar.advance(1)
            elif isinstance(event, Stepped) and time.monotonic() - said > LINE_SECONDS:
                said = time.monotonic()
                say(f"{title}: step {event.step} of {steps}{left(event.step)}")
            elif isinstance(event, Measured):
                line = f"{title}: {_summary(event, settings)}"
                if bar is not None:
                    bar.describe(line)
                elif event.epoch == int(event.epoch):
                    said = time.monotonic()
                    say(f"{line}{left(event.step)}")

        yield on_event


@contextmanager
def _no_bar() -> Iterator[None]:
    yield None


def _summary(point: Measured, settings: TrainSettings) -> str:
    validation = (
        f", validation accuracy {point.validation_accuracy:.2%}" if point.validation_images else ""
    )
    return (
        f"epoch {point.epoch:.3g}/{settings.epochs}, training loss {point.train_loss:.4f}"
        f"{validation}"
    )
