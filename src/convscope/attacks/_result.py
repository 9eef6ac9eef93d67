"""What every attack on given images returns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from convscope._readable import readable
from convscope.ascent import Region, anywhere
from convscope.attacks._criteria import Goal, finite
from convscope.attacks._flags import noticed
from convscope.attacks._quantize import saved_images
from convscope.probe import Cost, Probe
from convscope.types import ByteImages, Counts, Curves, Images, Labels, Logits, Mask, Values


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class AttackResult:
    """Images before and after an attack, and what the classifier says of both.

    Attributes:
        method: Name of the attack, as in `ATTACKS`.
        originals: ``(batch, channel, height, width)``, the images attacked.
        adversarials: What became of them, float32.
        saved: The 8-bit images that are written to files; inside the same region, moved by a few
            grey levels where plain rounding would lose the success.
        labels: The true classes.
        targets: The classes to reach; ``None``: any but the label.
        logits_before: Of `originals`.
        logits_after: Of `adversarials`.
        logits_saved: Of `saved`, as read back from 8 bits.
        steps: Steps each row took to its result.
        history: The objective before each step and at the end, ``(step + 1, batch)``; NaN where
            a row had left because it was done.
        zero_gradients: At how many steps each row's gradient was exactly zero.
        nonfinite: Rows for which the network returned NaN or infinity on the way; ``None``: not
            known.
        cost: Images run forwards and backwards, and seconds, all checks included.
        norm: ``"linf"`` or ``"l2"`` if a radius was declared, else ``None``.
        epsilon: The declared radius in pixel units (the largest, if each row had its own).
        settings: The method's other settings.
        flags: What a reader must know, in short sentences.
        class_names: One name per class.
    """

    method: str
    originals: Images
    adversarials: Images
    saved: ByteImages
    labels: Labels
    targets: Labels | None
    logits_before: Logits
    logits_after: Logits
    logits_saved: Logits
    steps: Counts
    history: Curves
    zero_gradients: Counts
    cost: Cost
    norm: str | None
    epsilon: float | None
    settings: dict[str, Any]
    flags: tuple[str, ...]
    class_names: tuple[str, ...]
    nonfinite: Mask | None = None

    def headline(self) -> str:
        """Such as ``"pgd fooled 37 of 40"``."""
        tasks = ~self.trivial
        return f"{self.method} fooled {int((self.fooled & tasks).sum()):,} of {int(tasks.sum()):,}"

    @property
    def goal(self) -> Goal:
        """What the attack wanted."""
        return Goal(labels=self.labels, targets=self.targets)

    @property
    def perturbations(self) -> Images:
        """What was added to each image."""
        return self.adversarials - self.originals

    @property
    def fooled(self) -> Mask:
        """True where the prediction is the target or, untargeted, not the label; NaN is False."""
        return self.goal.reached(self.logits_after, self._rows)

    @property
    def fooled_saved(self) -> Mask:
        """The same, judged on the 8-bit images."""
        return self.goal.reached(self.logits_saved, self._rows)

    @property
    def trivial(self) -> Mask:
        """Rows that were no task: wrong already, predicted as the target, or target = label."""
        already = self.goal.reached(self.logits_before, self._rows) | ~finite(self.logits_before)
        return already if self.targets is None else already | (self.targets == self.labels)

    @property
    def unreadable(self) -> Mask:
        """Rows for which the network returned NaN or infinity, at either end or on the way.

        They count neither as fooled nor as robust.
        """
        ends = (self.logits_before, self.logits_after, self.logits_saved)
        failed = ~(finite(ends[0]) & finite(ends[1]) & finite(ends[2]))
        return failed if self.nonfinite is None else failed | self.nonfinite

    @property
    def wrong_before(self) -> Mask:
        """True where the original is not predicted as its label."""
        return self._wrong(self.logits_before)

    @property
    def wrong_after(self) -> Mask:
        """True where the adversarial is not predicted as its label."""
        return self._wrong(self.logits_after)

    @property
    def success_rate(self) -> float:
        """Share of fooled rows among those that are not trivial; NaN if all are."""
        return _share(self.fooled, ~self.trivial)

    @property
    def success_rate_saved(self) -> float:
        """The same for the 8-bit images."""
        return _share(self.fooled_saved, ~self.trivial)

    @property
    def lost_by_saving(self) -> int:
        """How many rows fool as floats and not as 8-bit images."""
        return int((self.fooled & ~self.fooled_saved).sum())

    def distance(self, norm: str = "l2") -> Values:
        """How far each image moved, ``(batch,)``, computed in float64."""
        return _distances(self.adversarials, self.originals, norm)

    def distance_saved(self, norm: str = "l2") -> Values:
        """How far each 8-bit image is from its original, ``(batch,)``, computed in float64."""
        return _distances(self.saved, self.originals, norm)

    @property
    def predictions_before(self) -> Labels:
        """The classes the originals are read as."""
        return self.logits_before.argmax(dim=1)

    @property
    def predictions_after(self) -> Labels:
        """The classes the adversarials are read as."""
        return self.logits_after.argmax(dim=1)

    def _wrong(self, logits: Tensor) -> Mask:
        goal = Goal(labels=self.labels)
        return ~((goal.margin(logits, self._rows) < 0) & finite(logits))

    @property
    def _rows(self) -> Tensor:
        return torch.arange(len(self.labels), device=self.labels.device)

    def __len__(self) -> int:
        return len(self.originals)

    def summary(self) -> dict[str, Any]:
        """The numbers of the whole batch: its row in a table, its JSON.

        `fooled` is the share among the rows that were a task; `errors_before` and `errors_after`
        are shares of all rows; `target_probability` is the median over all rows.
        """
        count = max(len(self), 1)
        hit = self.fooled & ~self.trivial
        targets = self.targets
        if targets is not None:
            reached = self.logits_after.softmax(dim=1).gather(1, targets[:, None])[:, 0]
        hit_saved = self.fooled_saved & ~self.trivial
        return {
            "method": self.method,
            "images": len(self),
            "fooled": self.success_rate,
            "fooled_saved": self.success_rate_saved,
            "lost_by_saving": self.lost_by_saving,
            "trivial": int(self.trivial.sum()),
            "nonfinite": int(self.unreadable.sum()),
            "errors_before": float(self.wrong_before.float().mean()) if len(self) else 0.0,
            "errors_after": float(self.wrong_after.float().mean()) if len(self) else 0.0,
            "target_probability": None if targets is None else _median(reached),
            "norm": self.norm,
            "epsilon": self.epsilon,
            "median_linf": _median(self.distance("linf")[hit]),
            "median_l2": _median(self.distance("l2")[hit]),
            "median_linf_saved": _median(self.distance_saved("linf")[hit_saved]),
            "median_l2_saved": _median(self.distance_saved("l2")[hit_saved]),
            "mean_steps": float(self.steps.double().mean()) if len(self) else 0.0,
            "forwards_per_image": self.cost.forwards / count,
            "backwards_per_image": self.cost.backwards / count,
            "seconds": self.cost.seconds,
            "flags": list(self.flags),
            "settings": self.settings,
        }


def conclude(
    probe: Probe,
    originals: Images,
    adversarials: Images,
    goal: Goal,
    *,
    method: str,
    settings: dict[str, Any],
    region: Region | None = None,
    norm: str | None = None,
    epsilon: float | None = None,
    logits_before: Logits | None = None,
    logits_after: Logits | None = None,
    steps: Counts | None = None,
    history: Curves | None = None,
    zero_gradients: Counts | None = None,
    nonfinite: Mask | None = None,
    lost_gradients: int = 0,
    helped: bool = False,
    gradients: bool = True,
    flags: tuple[str, ...] = (),
) -> AttackResult:
    """Look at both ends and at the 8-bit images with the classifier, and say what was noticed.

    Args:
        probe: The open probe that the attack used: its counters become the cost.
        originals: The images attacked.
        adversarials: What became of them.
        goal: Labels and targets.
        method: Name of the attack.
        settings: Its settings, plain values.
        region: Where the attack promised to stay; checked here.
        norm: Of the declared ball.
        epsilon: Of the declared ball.
        logits_before: Of `originals`, if they are known already.
        logits_after: Of `adversarials`, likewise.
        steps: Per row; by default 0.
        history: ``(step + 1, batch)``; by default empty.
        zero_gradients: Per row; by default 0.
        nonfinite: Rows for which the network returned NaN or infinity on the way.
        lost_gradients: Rows given up because a gradient was NaN or infinite.
        helped: Rows without a gradient followed the margin instead.
        gradients: False for attacks without gradients: then bytes are only rounded.
        flags: Sentences of the method itself.
    """
    region = anywhere() if region is None else region
    before = probe.logits(originals) if logits_before is None else logits_before
    after = probe.logits(adversarials) if logits_after is None else logits_after
    saved, read = saved_images(
        probe, region, originals, adversarials, goal, after, gradients=gradients
    )
    readable = saved.to(originals.dtype) / 255
    nothing = torch.zeros(len(originals), dtype=torch.int64, device=originals.device)
    zeros = nothing if zero_gradients is None else zero_gradients
    result = AttackResult(
        method=method,
        originals=originals,
        adversarials=adversarials,
        saved=saved,
        labels=goal.labels,
        targets=goal.targets,
        logits_before=before,
        logits_after=after,
        logits_saved=read,
        steps=nothing if steps is None else steps,
        history=originals.new_zeros(0, len(originals)) if history is None else history,
        zero_gradients=zeros,
        cost=probe.cost(),
        norm=norm,
        epsilon=epsilon,
        settings=settings,
        flags=(),
        class_names=probe.classifier.class_names,
        nonfinite=torch.zeros_like(nothing, dtype=torch.bool) if nonfinite is None else nonfinite,
    )
    found = noticed(
        result,
        outside=int((~region.contains(adversarials)).sum()),
        coarse=int((~region.contains(readable)).sum()),
        helped=helped,
        lost_gradients=lost_gradients,
        notes=flags,
    )
    return replace(result, flags=found)


def _distances(found: Tensor, originals: Images, norm: str) -> Values:
    """Norms of the rows of ``found - originals``, in float64, some rows at a time.

    Args:
        found: Images, as float or as bytes.
        originals: What they were.
        norm: ``"linf"`` or ``"l2"``.
    """
    order = torch.inf if norm == "linf" else 2
    distances = originals.new_empty(len(originals))
    for start in range(0, len(originals), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        part = found[some]
        if part.dtype == torch.uint8:
            part = part.to(originals.dtype) / 255
        moved = (part.double() - originals[some].double()).flatten(1)
        distances[some] = torch.linalg.vector_norm(moved, ord=order, dim=1).to(originals.dtype)
    return distances


ROWS_AT_ONCE = 256
"""Images that are held in float64 at once."""


def _share(hits: Mask, among: Mask) -> float:
    count = int(among.sum())
    return float((hits & among).sum()) / count if count else float("nan")


def _median(values: Values) -> float | None:
    return float(values.double().quantile(0.5)) if len(values) else None
