"""The loop: paint, run, score, gradient, step, project, repeat. Rows that are done leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from convscope._readable import readable
from convscope.ascent._regions import Region
from convscope.ascent._steps import Step, Watching
from convscope.errors import UsageError
from convscope.probe import Decode, Objective, Probe
from convscope.progress import at_step
from convscope.types import Counts, Curves, Mask, Values

Stop = Callable[[Tensor, Tensor], Tensor]
"""``stop(outputs, rows) -> done``, one bool per row."""

Keep = Literal["first", "best", "last"] | Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Which point of a row is the result; a function ``(x, values, outputs, rows) -> score`` keeps the
point of the highest score (-inf: never better than the start)."""

Between = Callable[[Tensor, int, Tensor], Tensor]
"""``between(x, k, rows) -> x``: done to images after the step, before the projection."""


@readable
@dataclass(frozen=True, kw_only=True)
class Ascent:
    """Where an ascent ended, and how it went.

    Attributes:
        images: The kept point of each row, shaped as the start.
        outputs: What the network returned for it.
        first_outputs: What it returned for the start.
        values: Objective of the kept point.
        history: Objective before each step and at the end, ``(step + 1, batch)``; NaN after a
            row has left.
        steps: How many steps each row took to its kept point.
        stopped: Rows for which `stop` came true.
        nonfinite: Rows that were given up because an output, a value or a gradient was NaN or
            infinite.
        unreadable: Those among them whose output was: the network itself failed there.
        zero_gradients: At how many steps each row's gradient was exactly zero.
    """

    images: Tensor
    outputs: Tensor
    first_outputs: Tensor
    values: Values
    history: Curves
    steps: Counts
    stopped: Mask
    nonfinite: Mask
    unreadable: Mask
    zero_gradients: Counts


def ascend(
    images: Tensor,
    probe: Probe,
    objective: Objective,
    *,
    step: Step,
    region: Region,
    steps: int,
    stop: Stop | None = None,
    keep: Keep = "first",
    decode: Callable[[Tensor, int, Tensor], Tensor] | None = None,
    between: Sequence[Between] = (),
    stop_at: str | None = None,
    num_samples: int = 1,
    fallback: Objective | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Ascent:
    """Move `images` uphill on `objective`, each row on its own.

    Args:
        images: Where to start, ``(batch, ...)``: images, or latents if `decode` is given.
        probe: An open probe; it counts every pass.
        objective: ``(x, outputs, rows) -> values``. `rows` are positions in `images`.
        step: How far to move; see `sign_step`, `l2_step`, `std_step`, `adam_step`.
        region: Where rows may be; the start is projected onto it first.
        steps: How many times to move.
        stop: Rows for which it is true leave the batch, which makes the rest cheaper.
        keep: ``"first"``: the point at which a row stopped, else its last; ``"best"``: the point
            of the highest objective seen (rows still leave at `stop`); ``"last"``: the last point,
            whatever `stop` said (then no row leaves). A function scores points itself.
        decode: ``(x, k, rows) -> images``, differentiable; may give `num_samples` views per row.
        between: Done after each step, before the projection.
        stop_at: Stop the network at this layer; `objective` and `stop` see its output.
        num_samples: Views per row that `decode` makes.
        fallback: Objective for rows whose gradient is exactly zero, such as the margin where
            cross-entropy saturates.
        on_step: Called with (step number, rows still active) for progress displays.

    Returns:
        The kept points and the history. No row's result depends on another row, up to the
        rounding of batched arithmetic.

    Raises:
        UsageError: U05 if `steps` is negative.
    """
    if steps < 0:
        raise UsageError(f"steps must be at least 0, got {steps}", code="U05")
    everyone = torch.arange(len(images), device=images.device)
    x = region.project(images.detach().clone(), everyone)
    step.start(x)
    record = _Record(x, steps, keep, probe.classifier.num_classes)
    watching = step if isinstance(step, Watching) else None
    rows = everyone
    for k in range(steps):
        if len(rows) == 0:
            break
        at_step(k, steps)
        if on_step is not None:
            on_step(k, len(rows))
        broken: list[Tensor] = []
        leaving: list[Tensor] = []

        def active(
            outputs: Tensor,
            part: Tensor,
            now: Tensor = rows,
            nonfinite: list[Tensor] = broken,
            leaves: list[Tensor] = leaving,
        ) -> Tensor:
            nonfinite.append(~_finite_rows(outputs))
            done = nonfinite[-1]
            if stop is not None and keep != "last":
                done = done | stop(outputs, now[part])
            leaves.append(done)
            return ~done

        found = probe.gradient(
            x,
            _for_rows(objective, rows),
            decode=_at_step(decode, k, rows),
            stop_at=stop_at,
            num_samples=num_samples,
            active=active if num_samples == 1 else None,
        )
        gradient = found.gradients
        done = torch.cat(leaving) if leaving else torch.zeros_like(rows, dtype=torch.bool)
        if num_samples != 1 and stop is not None and keep != "last":
            done = stop(found.outputs, rows)
        largest = gradient.flatten(1).abs().amax(dim=1)  # NaN and infinity show in it too.
        bad = ~(found.values.isfinite() & largest.isfinite()) & ~done
        mute = torch.cat(broken) if broken else _mute(found.outputs, num_samples)
        bad |= mute
        zero = (largest == 0) & ~done & ~bad
        record.note(
            k, rows, x, found.values, found.outputs, num_samples, done & ~bad, bad, zero, mute
        )
        if fallback is not None and bool(zero.any()):
            again = probe.gradient(
                x[zero],
                _for_rows(fallback, rows[zero]),
                decode=_at_step(decode, k, rows[zero]),
                stop_at=stop_at,
                num_samples=num_samples,
            )
            gradient = gradient.clone()
            gradient[zero] = again.gradients.nan_to_num(0.0)
        going = ~(done | bad)
        if not bool(going.all()):
            x, gradient, rows = x[going], gradient[going], rows[going]
            if len(rows) == 0:
                break
        if watching is not None:
            outputs = found.outputs[::num_samples][going]
            watching.observe(x, gradient, found.values[going], outputs, k, rows)
        moved = x + step(gradient, k, rows)
        for change in between:
            moved = change(moved, k, rows)
        x = region.project(moved, rows)
    if len(rows) > 0:
        if on_step is not None:
            on_step(steps, len(rows))
        _look_at_the_end(
            x, rows, probe, objective, decode, steps, stop_at, num_samples, stop, keep, record
        )
    return record.result()


def _look_at_the_end(
    x: Tensor,
    rows: Tensor,
    probe: Probe,
    objective: Objective,
    decode: Callable[[Tensor, int, Tensor], Tensor] | None,
    steps: int,
    stop_at: str | None,
    num_samples: int,
    stop: Stop | None,
    keep: Keep,
    record: _Record,
) -> None:
    """One forward pass without gradients: the last point counts too."""
    nobody = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    found = probe.gradient(
        x,
        _for_rows(objective, rows),
        decode=_at_step(decode, steps, rows),
        stop_at=stop_at,
        num_samples=num_samples,
        active=lambda outputs, part: nobody[part],
    )
    mute = _mute(found.outputs, num_samples)
    bad = ~found.values.isfinite() | mute
    done = nobody if stop is None else stop(found.outputs, rows) & ~bad
    record.note(steps, rows, x, found.values, found.outputs, num_samples, done, bad, nobody, mute)


class _Record:
    """What is kept of each row."""

    def __init__(self, x: Tensor, steps: int, keep: Keep, classes: int) -> None:
        count = len(x)
        self.keep = keep
        self.classes = classes
        self.images = x.clone()
        self.outputs: Tensor | None = None
        self.first_outputs: Tensor | None = None
        self.values = x.new_full((count,), -torch.inf)
        self.scores = self.values.clone()
        self.history = x.new_full((steps + 1, count), torch.nan)
        self.steps = torch.zeros(count, dtype=torch.int64, device=x.device)
        self.stopped = torch.zeros(count, dtype=torch.bool, device=x.device)
        self.nonfinite = self.stopped.clone()
        self.unreadable = self.stopped.clone()
        self.zeros = self.steps.clone()
        self.borrowed = False

    def note(
        self,
        k: int,
        rows: Tensor,
        x: Tensor,
        values: Tensor,
        outputs: Tensor,
        num_samples: int,
        done: Tensor,
        bad: Tensor,
        zero: Tensor,
        mute: Tensor,
    ) -> None:
        """Write down step `k` of `rows`; a point with NaN is never kept over an earlier one."""
        first = outputs[::num_samples] if num_samples > 1 else outputs
        if self.outputs is None:
            self.outputs = first.new_full((len(self.images), *first.shape[1:]), torch.nan)
            self.first_outputs = first.clone()
        choosy = callable(self.keep) or self.keep == "best"
        everyone = len(rows) == len(self.values)
        if everyone and not choosy and not bool(bad.any()):
            # Nobody has left and every point counts: no row needs to be picked out.
            self.history[k] = values
            self.images, self.outputs, self.values, self.scores = x, first, values, values
            self.borrowed = True
            self.steps.fill_(k)
            self.stopped |= done
            self.zeros += zero
            return
        self._own()
        self.history[k, rows] = values
        scores = self.keep(x, values, outputs, rows) if callable(self.keep) else values
        better = scores > self.scores[rows] if choosy else torch.ones_like(done)
        better |= done & (not callable(self.keep))
        take = better & ~bad if k > 0 else torch.ones_like(done)
        chosen = rows[take]
        self.scores[chosen] = scores[take]
        self.images[chosen] = x[take]
        self.outputs[chosen] = first[take]
        self.values[chosen] = values[take]
        self.steps[chosen] = k
        self.stopped[rows] |= done
        self.nonfinite[rows] |= bad
        self.unreadable[rows] |= mute
        self.zeros[rows] += zero.long()

    def _own(self) -> None:
        """Copy what was taken over whole: a step may still hold the same tensors."""
        if self.borrowed and self.outputs is not None:
            self.images, self.outputs = self.images.clone(), self.outputs.clone()
            self.values, self.scores = self.values.clone(), self.scores.clone()
            self.borrowed = False

    def result(self) -> Ascent:
        """Freeze."""
        nothing = self.images.new_zeros(0, self.classes)
        return Ascent(
            images=self.images,
            outputs=nothing if self.outputs is None else self.outputs,
            first_outputs=nothing if self.first_outputs is None else self.first_outputs,
            values=self.values,
            history=self.history,
            steps=self.steps,
            stopped=self.stopped,
            nonfinite=self.nonfinite,
            unreadable=self.unreadable,
            zero_gradients=self.zeros,
        )


def _for_rows(objective: Objective, rows: Tensor) -> Objective:
    """`objective` with positions in the shrunken batch turned into the caller's rows."""
    return lambda x, outputs, part: objective(x, outputs, rows[part])


def _at_step(
    decode: Callable[[Tensor, int, Tensor], Tensor] | None, k: int, rows: Tensor
) -> Decode | None:
    if decode is None:
        return None
    return lambda x, part: decode(x, k, rows[part])


def _mute(outputs: Tensor, num_samples: int) -> Tensor:
    """Rows for which the network returned NaN or infinity in any of their copies."""
    return (~_finite_rows(outputs)).view(-1, num_samples).any(dim=1)


def _finite_rows(x: Tensor) -> Tensor:
    return x.flatten(1).isfinite().all(dim=1)
