"""Which attacks an evaluation runs, from weak to strong."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from convscope._random import stream
from convscope._registry import Effort
from convscope.attacks import ATTACKS, AttackResult, apgd, at_effort


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A stage of the suite before it is run.

    Attributes:
        name: Shown in the table.
        attack: What is run.
        settings: Its settings.
        on_all: Run on all images that are classified correctly; else only on those that withstood
            the stages before.
        black_box: It uses no gradients.
    """

    name: str
    attack: Callable[..., AttackResult]
    settings: dict[str, Any]
    on_all: bool = False
    black_box: bool = False

    @property
    def work(self) -> float:
        """About how many passes per image it needs, for progress displays."""
        steps = self.settings.get("steps", self.settings.get("queries", 2) / 2)
        classes = self.settings.get("classes", 1)
        return float(steps * classes * (1 if self.on_all else 0.5))

    def drawing(self, seed: int) -> dict[str, Any]:
        """Its settings, with a stream of its own where it draws.

        The stream begins anew for every block of images, and does not depend on what the stages
        before have drawn: all images see the same draws, whichever blocks they are in.
        """
        if "generator" not in inspect.signature(self.attack).parameters:
            return self.settings
        return self.settings | {"generator": stream(seed, self.name)}


def plan(
    effort: Effort, *, differentiable: bool = True, deterministic: bool = True
) -> list[Planned]:
    """The attacks of an effort, from weak to strong: what their records in `ATTACKS` say.

    Args:
        effort: How hard attacks try.
        differentiable: False: only the black-box attacks of the standard suite.
        deterministic: False: also an attack that averages over passes.
    """
    suite = []
    for name, spec in ATTACKS.specs().items():
        settings = at_effort(spec.suite, effort if differentiable else "standard")
        if settings is not None and (differentiable or spec.black_box):
            suite.append(
                Planned(
                    name=(spec.stage or name).format(**settings),
                    attack=ATTACKS[name],
                    settings=dict(settings),
                    on_all=spec.on_all,
                    black_box=spec.black_box,
                )
            )
    # Attacks without gradients come last: they only have to find what gradients missed.
    suite.sort(key=lambda planned: planned.black_box)
    if differentiable and not deterministic:
        averaged = {"steps": 30, "transforms": lambda g: lambda x: x}
        suite.append(Planned(name="apgd-averaged-8", attack=apgd, settings=averaged))
    return suite
