"""The result of an attack on given images, and the flags that can be counted on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from convscope._inputs import check_norm
from convscope._readable import readable
from convscope.attacks._criteria import Criterion, is_finite
from convscope.flags import Flag, Severity
from convscope.probe import Cost
from convscope.types import ByteImages, Counts, Curves, Images, Labels, Logits, Mask, Values


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class AttackResult:
    """Images before and after an attack, and the logits of both.

    Attributes:
        method: Name of the attack, as in `ATTACKS`.
        originals: ``(batch, channel, height, width)``, the images attacked.
        adversarials: What became of them, float32.
        quantized: The 8-bit images that are written to files; inside the same region, moved by
            a few gray levels where plain rounding would lose the success.
        labels: The true classes.
        targets: The classes to reach; ``None``: any but the label.
        logits_before: Of `originals`.
        logits_after: Of `adversarials`.
        logits_quantized: Of `quantized`, as read from 8-bit files.
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
        flags: What a reader must know.
        class_names: One name per class.
    """

    method: str
    originals: Images
    adversarials: Images
    quantized: ByteImages
    labels: Labels
    targets: Labels | None
    logits_before: Logits
    logits_after: Logits
    logits_quantized: Logits
    steps: Counts
    history: Curves
    zero_gradients: Counts
    cost: Cost
    norm: str | None
    epsilon: float | None
    settings: dict[str, Any]
    flags: tuple[Flag, ...]
    class_names: tuple[str, ...]
    nonfinite: Mask | None = None

    def headline(self) -> str:
        """Such as ``"pgd fooled 37 of 40"``."""
        tasks = ~self.already_misclassified
        return f"{self.method} fooled {int((self.success & tasks).sum()):,} of {int(tasks.sum()):,}"

    @property
    def criterion(self) -> Criterion:
        """When an image counts as adversarial."""
        return Criterion(labels=self.labels, targets=self.targets)

    @property
    def perturbations(self) -> Images:
        """What was added to each image."""
        return self.adversarials - self.originals

    @property
    def success(self) -> Mask:
        """True where the prediction is the target or, untargeted, not the label; NaN is False."""
        return self.criterion.is_adversarial(self.logits_after, self._rows)

    @property
    def success_quantized(self) -> Mask:
        """The same, judged on the 8-bit images."""
        return self.criterion.is_adversarial(self.logits_quantized, self._rows)

    @property
    def already_misclassified(self) -> Mask:
        """Rows that were no task: wrong already, predicted as the target, or target = label."""
        before = self.logits_before
        already = self.criterion.is_adversarial(before, self._rows) | ~is_finite(before)
        return already if self.targets is None else already | (self.targets == self.labels)

    @property
    def unreadable(self) -> Mask:
        """Rows for which the network returned NaN or infinity, at either end or on the way.

        They count neither as fooled nor as robust.
        """
        ends = (self.logits_before, self.logits_after, self.logits_quantized)
        failed = ~(is_finite(ends[0]) & is_finite(ends[1]) & is_finite(ends[2]))
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
        """Share of adversarial rows among those that were a task; NaN if none was."""
        return _share(self.success, ~self.already_misclassified)

    @property
    def success_rate_quantized(self) -> float:
        """The same for the 8-bit images."""
        return _share(self.success_quantized, ~self.already_misclassified)

    @property
    def lost_to_quantization(self) -> int:
        """How many rows are adversarial as floats and not as 8-bit images."""
        return int((self.success & ~self.success_quantized).sum())

    def distance(self, norm: str = "l2") -> Values:
        """How far each image moved, ``(batch,)``, computed in float64."""
        return _distances(self.adversarials, self.originals, norm)

    def distance_quantized(self, norm: str = "l2") -> Values:
        """How far each 8-bit image is from its original, ``(batch,)``, computed in float64."""
        return _distances(self.quantized, self.originals, norm)

    @property
    def predictions_before(self) -> Labels:
        """The predicted classes of the originals."""
        return self.logits_before.argmax(dim=1)

    @property
    def predictions_after(self) -> Labels:
        """The predicted classes of the adversarials."""
        return self.logits_after.argmax(dim=1)

    def _wrong(self, logits: Tensor) -> Mask:
        criterion = Criterion(labels=self.labels)
        return ~((criterion.margin(logits, self._rows) < 0) & is_finite(logits))

    @property
    def _rows(self) -> Tensor:
        return torch.arange(len(self.labels), device=self.labels.device)

    def __len__(self) -> int:
        return len(self.originals)

    def summary(self) -> dict[str, Any]:
        """The numbers of the whole batch: its row in a table, its JSON.

        `success_rate` is the share among the rows that were a task; `errors_before` and
        `errors_after` are shares of all rows; `target_probability` is the median over all rows.
        """
        count = max(len(self), 1)
        hit = self.success & ~self.already_misclassified
        targets = self.targets
        if targets is not None:
            probability = self.logits_after.softmax(dim=1).gather(1, targets[:, None])[:, 0]
        hit_quantized = self.success_quantized & ~self.already_misclassified
        return {
            "method": self.method,
            "images": len(self),
            "success_rate": self.success_rate,
            "success_rate_quantized": self.success_rate_quantized,
            "lost_to_quantization": self.lost_to_quantization,
            "already_misclassified": int(self.already_misclassified.sum()),
            "nonfinite": int(self.unreadable.sum()),
            "errors_before": float(self.wrong_before.float().mean()) if len(self) else 0.0,
            "errors_after": float(self.wrong_after.float().mean()) if len(self) else 0.0,
            "target_probability": None if targets is None else _median(probability),
            "norm": self.norm,
            "epsilon": self.epsilon,
            "median_linf": _median(self.distance("linf")[hit]),
            "median_l2": _median(self.distance("l2")[hit]),
            "median_linf_quantized": _median(self.distance_quantized("linf")[hit_quantized]),
            "median_l2_quantized": _median(self.distance_quantized("l2")[hit_quantized]),
            "mean_steps": float(self.steps.double().mean()) if len(self) else 0.0,
            "forwards_per_image": self.cost.forwards / count,
            "backwards_per_image": self.cost.backwards / count,
            "seconds": self.cost.seconds,
            "flags": list(self.flags),
            "settings": self.settings,
        }


COUNTED = ("zero-gradient", "zero-gradient-helped", "saturated", "nonfinite", "nonfinite-gradient",
           "target-predicted", "target-is-label", "nothing-to-fool", "budget-exceeded",
           "no-8-bit-image")  # fmt: skip
"""Codes that `result_flags` gives; all others are the methods' own."""


def notes_of(*many: Iterable[Flag]) -> tuple[Flag, ...]:
    """The flags of the methods themselves, each once."""
    return tuple(dict.fromkeys(f for flags in many for f in flags if f.code not in COUNTED))


def result_flags(
    result: AttackResult,
    *,
    outside: int,
    coarse: int,
    helped: bool,
    lost_gradients: int = 0,
    notes: Iterable[Flag] = (),
) -> tuple[Flag, ...]:
    """The flags of a result; what can be counted on it is counted here.

    Args:
        result: Whose flags are wanted.
        outside: Rows beyond the budget.
        coarse: Rows for which no 8-bit image lies inside the budget.
        helped: Rows without a gradient followed the margin instead.
        lost_gradients: Rows given up because a gradient was NaN or infinite.
        notes: Flags of the method itself.
    """
    flags: list[Flag] = list(notes)
    total = len(result)

    def note(code: str, severity: Severity, count: int, sentence: str) -> None:
        if count:
            flags.append(Flag(code, severity, count, total, sentence))

    zero = int((result.zero_gradients > 0).sum())
    note(
        "zero-gradient-helped" if helped else "zero-gradient",
        "warning",
        zero,
        f"zero gradient in {zero} of {total} rows" + (": margin used instead" if helped else ""),
    )
    # One probability is exactly 1 and the others exactly 0: cross-entropy has no gradient here.
    usable = is_finite(result.logits_before)
    flat = int((((result.logits_before.softmax(dim=1) % 1) == 0).all(dim=1) & usable).sum())
    if result.logits_before.shape[1] > 1:
        note("saturated", "note", flat, f"logits saturate softmax in {flat} of {total} rows")
    lost = int(result.unreadable.sum())
    note(
        "nonfinite",
        "warning",
        lost,
        f"NaN or infinite logits in {lost} of {total} rows: neither fooled nor robust",
    )
    note(
        "nonfinite-gradient",
        "warning",
        lost_gradients,
        f"NaN or infinite gradients in {lost_gradients} of {total} rows: given up there",
    )
    if result.targets is not None:
        same = int((result.predictions_before == result.targets).sum())
        true = int((result.labels == result.targets).sum())
        note("target-predicted", "note", same, f"target==prediction in {same} rows: not counted")
        note("target-is-label", "note", true, f"target==label in {true} rows: not counted")
    elif bool(result.already_misclassified.all()):
        note(
            "nothing-to-fool",
            "note",
            total,
            "no image was classified correctly before: nothing to fool",
        )
    note("budget-exceeded", "error", outside, f"budget exceeded in {outside} rows")
    note("no-8-bit-image", "note", coarse, f"no 8-bit image inside the budget for {coarse} rows")
    return tuple(flags)


def _distances(images: Tensor, originals: Images, norm: str) -> Values:
    """Norms of the rows of ``images - originals``, in float64, some rows at a time.

    Args:
        images: As float or as bytes.
        originals: What they were.
        norm: ``"linf"`` or ``"l2"``.
    """
    order = torch.inf if check_norm(norm) == "linf" else 2
    distances = originals.new_empty(len(originals))
    for start in range(0, len(originals), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        part = images[some]
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
