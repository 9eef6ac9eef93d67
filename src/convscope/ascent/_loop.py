"""The loop of gradient ascent: decode, run, evaluate, differentiate, step, project; repeat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from convscope._readable import readable
from convscope.ascent._regions import Region
from convscope.ascent._steps import Point, StatefulStep, Step
from convscope.errors import UsageError
from convscope.probe import Decode, Gradient, Objective, Probe
from convscope.progress import at_step
from convscope.types import Counts, Curves, Mask, Values

Stop = Callable[[Tensor, Tensor], Tensor]
"""``stop(outputs, rows) -> done``, one bool per row."""

Keep = Literal["first", "best", "last"] | Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Which point of a row is the result; a function ``(x, values, outputs, rows) -> score`` keeps the
point of the highest score (-inf: never better than the start)."""

Between = Callable[[Tensor, int, Tensor], Tensor]
"""``between(x, k, rows) -> x``: done to images after the step, before the projection."""

StepDecode = Callable[[Tensor, int, Tensor], Tensor]
"""``decode(x, k, rows) -> images``: what the network sees at step k."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
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
    decode: StepDecode | None = None,
    between: Sequence[Between] = (),
    stop_at: str | None = None,
    num_samples: int = 1,
    fallback: Objective | None = None,
    observer: Callable[[Point], None] | None = None,
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
        decode: ``(x, k, rows) -> images``, differentiable; may give `num_samples` images per row.
        between: Done after each step, before the projection.
        stop_at: Stop the network at this layer; `objective` and `stop` see its output.
        num_samples: Images per row that `decode` makes.
        fallback: Objective for rows whose gradient is exactly zero, such as the margin where
            cross-entropy saturates.
        observer: Shown every point, that of the end included, before rows leave.

    Returns:
        The kept points and the history. No row's result depends on another row, up to the
        rounding of batched arithmetic.

    Raises:
        UsageError: U05 if `steps` is negative.
    """
    if steps < 0:
        raise UsageError(f"steps must be at least 0, got {steps}", code="U05")
    rows = torch.arange(len(images), device=images.device)
    x = region.project(images.detach().clone(), rows)
    step.start(x)
    leave = None if keep == "last" else stop
    problem = _Problem(probe, objective, fallback, leave, decode, stop_at, num_samples)
    recorder = _Recorder(x, steps, keep, probe.classifier.num_classes)
    for k in range(steps):
        if len(rows) == 0:
            break
        at_step(k, steps)
        point, status = problem.evaluate(x, k, rows)  # decode, run, objective, gradient
        recorder.note(point, status)
        if observer is not None:
            observer(point)
        point = point.of(status.going)
        rows = point.rows
        if len(rows) == 0:
            break
        if isinstance(step, StatefulStep):
            step.observe(point)
        x = point.x + step(point.gradients, k, rows)
        for change in between:
            x = change(x, k, rows)
        x = region.project(x, rows)
    if len(rows) > 0:
        point, status = problem.evaluate_last(x, steps, rows, stop)
        recorder.note(point, status)
        if observer is not None:
            observer(point)
    return recorder.result()


@dataclass(frozen=True, eq=False)
class _Status:
    """What a point means for its rows, each ``(row,)`` bool.

    Attributes:
        done: The stopping rule came true.
        nonfinite: An output, the value or the gradient is NaN or infinite: the row is given up.
        zero: The gradient is exactly zero.
        unreadable: An output is NaN or infinite.
    """

    done: Tensor
    nonfinite: Tensor
    zero: Tensor
    unreadable: Tensor

    @property
    def going(self) -> Tensor:
        """Rows that take the next step."""
        return ~(self.done | self.nonfinite)


@dataclass(frozen=True, eq=False)
class _Problem:
    """What is ascended, and how a point of it is evaluated."""

    probe: Probe
    objective: Objective
    fallback: Objective | None
    stop: Stop | None
    decode: StepDecode | None
    stop_at: str | None
    num_samples: int

    def evaluate(self, x: Tensor, k: int, rows: Tensor) -> tuple[Point, _Status]:
        """Outputs, values and gradients of `x`; rows that are done get no backward pass."""

        def active(outputs: Tensor, part: Tensor) -> Tensor:
            return ~(self._stopped(outputs, rows[part]) | ~_finite_rows(outputs))

        at_x = self._gradient(self.objective, x, k, rows, active if self.num_samples == 1 else None)
        unreadable = self._unreadable(at_x.outputs)
        done = self._stopped(at_x.outputs, rows)
        largest = at_x.gradients.flatten(1).abs().amax(dim=1)  # NaN and infinity show in it too.
        nonfinite = unreadable | ~(done | (at_x.values.isfinite() & largest.isfinite()))
        zero = (largest == 0) & ~done & ~nonfinite
        gradients = at_x.gradients
        if self.fallback is not None and bool(zero.any()):
            again = self._gradient(self.fallback, x[zero], k, rows[zero], None)
            gradients = gradients.clone()
            gradients[zero] = again.gradients.nan_to_num(0.0)
        point = self._point(x, k, rows, replace(at_x, gradients=gradients))
        return point, _Status(
            done=done & ~nonfinite, nonfinite=nonfinite, zero=zero, unreadable=unreadable
        )

    def evaluate_last(
        self, x: Tensor, k: int, rows: Tensor, stop: Stop | None
    ) -> tuple[Point, _Status]:
        """One forward pass without gradients: the last point counts too."""
        nobody = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        at_x = self._gradient(self.objective, x, k, rows, lambda outputs, part: nobody[part])
        unreadable = self._unreadable(at_x.outputs)
        nonfinite = ~at_x.values.isfinite() | unreadable
        done = nobody if stop is None else stop(at_x.outputs, rows) & ~nonfinite
        return self._point(x, k, rows, at_x), _Status(
            done=done, nonfinite=nonfinite, zero=nobody, unreadable=unreadable
        )

    def _gradient(
        self,
        objective: Objective,
        x: Tensor,
        k: int,
        rows: Tensor,
        active: Callable[[Tensor, Tensor], Tensor] | None,
    ) -> Gradient:
        """As `Probe.gradient`; positions in the shrunken batch become the caller's rows."""
        return self.probe.gradient(
            x,
            lambda some, outputs, part: objective(some, outputs, rows[part]),
            decode=_at_step(self.decode, k, rows),
            stop_at=self.stop_at,
            num_samples=self.num_samples,
            active=active,
        )

    def _point(self, x: Tensor, k: int, rows: Tensor, at_x: Gradient) -> Point:
        return Point(
            k=k, rows=rows, x=x, values=at_x.values, gradients=at_x.gradients,
            samples=at_x.outputs, num_samples=self.num_samples,
        )  # fmt: skip

    def _stopped(self, outputs: Tensor, rows: Tensor) -> Tensor:
        if self.stop is None:
            return torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        return self.stop(outputs, rows)

    def _unreadable(self, outputs: Tensor) -> Tensor:
        """Rows for which the network returned NaN or infinity in any of their samples."""
        return (~_finite_rows(outputs)).view(-1, self.num_samples).any(dim=1)


class _Recorder:
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

    def note(self, point: Point, status: _Status) -> None:
        """Write a point down; one with NaN is never kept over an earlier one."""
        if self.outputs is None:
            shape = (len(self.images), *point.outputs.shape[1:])
            self.outputs = point.outputs.new_full(shape, torch.nan)
            self.first_outputs = point.outputs.clone()
        choosy = callable(self.keep) or self.keep == "best"
        if len(point.rows) == len(self.values) and not choosy and not bool(status.nonfinite.any()):
            self._take_over(point, status)
            return
        self._own()
        k, rows = point.k, point.rows
        self.history[k, rows] = point.values
        scores = (
            self.keep(point.x, point.values, point.samples, rows)
            if callable(self.keep)
            else point.values
        )
        better = scores > self.scores[rows] if choosy else torch.ones_like(status.done)
        better |= status.done & (not callable(self.keep))
        take = better & ~status.nonfinite if k > 0 else torch.ones_like(status.done)
        chosen = rows[take]
        self.scores[chosen] = scores[take]
        self.images[chosen] = point.x[take]
        self.outputs[chosen] = point.outputs[take]
        self.values[chosen] = point.values[take]
        self.steps[chosen] = k
        self.stopped[rows] |= status.done
        self.nonfinite[rows] |= status.nonfinite
        self.unreadable[rows] |= status.unreadable
        self.zeros[rows] += status.zero.long()

    def _take_over(self, point: Point, status: _Status) -> None:
        """Nobody has left and every point counts: no row needs to be picked out."""
        self.history[point.k] = point.values
        self.images, self.outputs = point.x, point.outputs
        self.values, self.scores = point.values, point.values
        self.borrowed = True
        self.steps.fill_(point.k)
        self.stopped |= status.done
        self.zeros += status.zero

    def _own(self) -> None:
        """Copy what was taken over whole: a step may still hold the same tensors."""
        if self.borrowed and self.outputs is not None:
            self.images, self.outputs = self.images.clone(), self.outputs.clone()
            self.values, self.scores = self.values.clone(), self.scores.clone()
            self.borrowed = False

    def result(self) -> Ascent:
        """All rows together."""
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


def _finite_rows(x: Tensor) -> Tensor:
    return x.flatten(1).isfinite().all(dim=1)


def _at_step(decode: StepDecode | None, k: int, rows: Tensor) -> Decode | None:
    return None if decode is None else lambda some, part: decode(some, k, rows[part])
