"""What the attacks of an evaluation have done, block by block and all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convscope.attacks import AttackResult
from convscope.flags import count_of
from convscope.probe import Cost
from convscope.robustness import _checks
from convscope.robustness._results import Check, Stage
from convscope.robustness._suite import Planned
from convscope.sharding import Record

NOTHING = Cost(forwards=0, backwards=0, seconds=0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fallen:
    """What one attack of the suite did.

    Attributes:
        name: Of the stage.
        on_all: See `Planned`.
        black_box: See `Planned`.
        mask: ``(batch,)``, images that it fooled, or led to NaN or infinite logits.
        attacked: How many images it was run on.
        cost: What that took.
    """

    name: str
    on_all: bool
    black_box: bool
    mask: Tensor
    attacked: int
    cost: Cost


class Tally:
    """Which images are still robust, and what it cost: of a block, or of all.

    Args:
        images: ``(batch, channel, height, width)``.
        right: ``(batch,)``, classified correctly without an attack.
        nonfinite: ``(batch,)``, NaN or infinite logits.
    """

    def __init__(self, images: Tensor, right: Tensor, nonfinite: Tensor) -> None:
        self.right = right
        self.robust = right.clone()
        self.broken_by = torch.where(right, -1, -2)
        self.adversarials = images.clone()
        self.fallen: list[Fallen] = []
        self.nonfinite = nonfinite
        self.lost_gradients = 0
        self.outside = 0
        self.lost = 0
        self.cost = NOTHING

    def pay(self, result: AttackResult) -> None:
        """Add the cost and the failures of an attack."""
        self.cost += result.cost
        self.outside += count_of(result.flags, "budget-exceeded")
        self.lost_gradients += count_of(result.flags, "nonfinite-gradient")

    def note(self, planned: Planned, rows: Tensor, result: AttackResult | None) -> None:
        """Write a stage down; None: there were no rows to attack."""
        mask = torch.zeros_like(self.robust)
        if result is not None:
            self.pay(result)
            self.lost += result.lost_to_quantization
            mask[rows] = result.success | result.unreadable
            self.nonfinite[rows] |= result.unreadable
            # `rows` are positions among all images, `new` a mask over the attacked ones:
            # `rows[new]` are the images that nothing before has broken.
            new = result.success & self.robust[rows]
            self.adversarials[rows[new]] = result.adversarials[new]
        self.broken_by[mask & self.robust] = len(self.fallen)
        self.robust &= ~mask
        self.fallen.append(
            Fallen(
                name=planned.name,
                on_all=planned.on_all,
                black_box=planned.black_box,
                mask=mask,
                attacked=len(rows),
                cost=NOTHING if result is None else result.cost,
            )
        )

    def add_to_last(self, rows: Tensor, result: AttackResult) -> None:
        """Images that a check broke are not robust either."""
        self.adversarials[rows[result.success]] = result.adversarials[result.success]
        self.nonfinite[rows] |= result.unreadable
        hit = rows[result.success | result.unreadable]
        self.broken_by[hit] = len(self.fallen) - 1
        self.robust[hit] = False

    def record(self, originals: Tensor, **more: Any) -> Record:
        """The tally of a block, for `together`.

        Args:
            originals: The images of the block; only what differs from them is kept.
            more: Further numbers.
        """
        moved = (self.adversarials != originals).flatten(1).any(dim=1)
        masks = [stage.mask for stage in self.fallen]
        return Record(
            {
                "stages": [
                    [s.name, s.on_all, s.black_box, s.attacked, _listed(s.cost)]
                    for s in self.fallen
                ],
                "lost_gradients": self.lost_gradients,
                "outside": self.outside,
                "lost": self.lost,
                "cost": _listed(self.cost),
                **more,
            },
            {
                "right": _array(self.right),
                "robust": _array(self.robust),
                "broken_by": _array(self.broken_by),
                "nonfinite": _array(self.nonfinite),
                "moved": _array(moved),
                "adversarials": _array(self.adversarials[moved]),
                "masks": _array(torch.stack(masks)) if masks else np.zeros((0, len(moved)), bool),
            },
        )

    @classmethod
    def together(cls, records: Sequence[Record], originals: Tensor) -> Tally:
        """The tally of all blocks.

        Args:
            records: Of the blocks, in order.
            originals: All images.
        """

        def joined(name: str, axis: int = 0) -> Tensor:
            parts = [record.arrays[name] for record in records]
            return torch.from_numpy(np.concatenate(parts, axis)).to(originals.device)

        tally = cls(originals, joined("right"), joined("nonfinite"))
        tally.robust, tally.broken_by = joined("robust"), joined("broken_by")
        tally.adversarials[joined("moved")] = joined("adversarials")
        masks = joined("masks", axis=1)
        for number, mask in enumerate(masks):
            each = [record.numbers["stages"][number] for record in records]
            name, on_all, black_box = each[0][:3]
            costs = [cost_of(values) for *_, values in each]
            tally.fallen.append(
                Fallen(
                    name=name,
                    on_all=on_all,
                    black_box=black_box,
                    mask=mask,
                    attacked=sum(line[3] for line in each),
                    cost=sum(costs, NOTHING),
                )
            )
        for record in records:
            tally.lost_gradients += record.numbers["lost_gradients"]
            tally.outside += record.numbers["outside"]
            tally.lost += record.numbers["lost"]
            tally.cost += cost_of(record.numbers["cost"])
        return tally

    @property
    def stages(self) -> list[Stage]:
        """The suite as it is shown."""
        total, standing, shown = max(len(self.right), 1), self.right, []
        for stage in self.fallen:
            standing = standing & ~stage.mask
            alone = float((self.right & ~stage.mask).sum()) / total
            shown.append(
                Stage(
                    attack=stage.name,
                    attacked=stage.attacked,
                    broken=int(stage.mask.sum()),
                    accuracy=alone if stage.on_all else float("nan"),
                    robust=float(standing.sum()) / total,
                    forwards=stage.cost.forwards,
                    backwards=stage.cost.backwards,
                    seconds=stage.cost.seconds,
                )
            )
        return shown

    def weaker_wins(self) -> Check:
        """Images that one step breaks and APGD does not."""
        masks = [stage.mask for stage in self.fallen if stage.on_all]
        lost = int((masks[0] & ~masks[-1]).sum()) if len(masks) > 1 else 0
        share = lost / max(len(self.robust), 1)
        # Our choice, without a source: single images may fall to either attack by luck.
        if lost > max(0.01 * len(self.robust), 1):
            return _checks.warn(
                "weaker-wins", share, f"one step fools {share:.1%} that APGD does not"
            )
        return _checks.ok("weaker-wins", share, "stronger attacks fool what weaker ones do")

    def black_box(self) -> Check:
        """Images that only an attack without gradients broke."""
        count = max(len(self.robust), 1)
        for stage in self.fallen:
            if stage.black_box:
                share = float(stage.mask.sum()) / count
                # Our choice, without a source: less than by luck, because Square runs last, on
                # what is left.
                if int(stage.mask.sum()) > max(0.002 * count, 1):
                    return _checks.warn(
                        "black-box-stronger",
                        share,
                        f"{stage.name} fools {share:.1%} that gradients did not",
                    )
                return _checks.ok("black-box-stronger", share, "gradients are the stronger way")
        return _checks.skipped("black-box-stronger", "Square takes part from standard effort on")

    def within_budget(self) -> Check:
        """Were all adversarials inside, and how many survive saving?"""
        if self.outside:
            return _checks.warn("budget", float(self.outside), "adversarials left the ball")
        return _checks.ok(
            "budget", 0.0, f"all adversarials inside; {self.lost} would not survive 8-bit saving"
        )

    def all_finite(self) -> Check:
        """Did the network return numbers wherever an attack went?"""
        count = int(self.nonfinite.sum())
        if count:
            return _checks.warn(
                "non-finite",
                float(count),
                f"NaN or infinite logits for {count} of {len(self.robust)} images, as they are "
                "or under attack: none of them counts as robust",
            )
        if self.lost_gradients:
            return _checks.warn(
                "non-finite",
                float(self.lost_gradients),
                f"attacks met NaN or infinite gradients {self.lost_gradients} times and gave up "
                "there: images left then are not proven to be robust",
            )
        return _checks.ok(
            "non-finite", 0.0, "logits and gradients are finite wherever attacks went"
        )


def cost_of(numbers: Sequence[int | float]) -> Cost:
    """A cost, as a record holds it."""
    return Cost(forwards=int(numbers[0]), backwards=int(numbers[1]), seconds=float(numbers[2]))


def _listed(cost: Cost) -> list[int | float]:
    return [cost.forwards, cost.backwards, cost.seconds]


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()
