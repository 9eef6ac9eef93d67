"""Metrics: one record per number that is reported, shown in the terminal, or asked for by a gate.

To add a metric of a classifier on a split: its record here, and an attribute or property of
`convscope.training.Evaluation` of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Command = Literal["eval", "audit", "attack evaluate", "transfer"]


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """What is known of a metric.

    Attributes:
        name: What people type in ``--fail-under NAME=NUMBER``.
        better: Whether a gate is a lower limit (``"higher"``) or an upper limit (``"lower"``).
        about: One sentence.
        gate: The commands that have it as a gate.
        unit: ``"share"`` is a number from 0 to 1.
        title: Its name in tables; empty: `name` without hyphens.
        over_classes: Whether it needs an image of every class.
        aliases: Other names that people type.
    """

    name: str
    better: Literal["higher", "lower"]
    about: str
    gate: tuple[Command, ...]
    unit: Literal["share", "nats", "seconds", "count"] = "share"
    title: str = ""
    over_classes: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def attribute(self) -> str:
        """Its name in Python and JSON."""
        return self.name.replace("-", "_")

    def text(self, value: float) -> str:
        """A value for people.

        Example:
            >>> METRICS["accuracy"].text(0.98765), METRICS["seconds-per-image"].text(0.0021)
            ('98.77 %', '2.1 ms')
        """
        if self.unit == "share":
            return f"{100 * value:.2f} %"
        if self.unit == "seconds":
            return f"{1000 * value:.2g} ms"
        return f"{value:,.0f}" if self.unit == "count" else f"{value:.4f}"


def _records(*specs: MetricSpec) -> dict[str, MetricSpec]:
    return {spec.name: spec for spec in specs}


METRICS = _records(
    MetricSpec(
        name="accuracy",
        better="higher",
        about="Share of images that are classified correctly.",
        gate=("eval", "audit", "attack evaluate", "transfer"),
        aliases=("acc", "clean", "clean-accuracy"),
    ),
    MetricSpec(
        name="mean-per-class",
        better="higher",
        about="Mean of the accuracies of the classes: every class counts the same.",
        gate=("eval", "audit", "transfer"),
        over_classes=True,
        aliases=("balanced-accuracy",),
    ),
    MetricSpec(
        name="worst-class",
        better="higher",
        about="Accuracy of the class with the lowest one.",
        gate=("eval", "audit", "transfer"),
        over_classes=True,
    ),
    MetricSpec(
        name="robust",
        better="higher",
        about="Accuracy under the strongest of several attacks.",
        gate=("audit", "attack evaluate"),
        aliases=("robust-accuracy",),
    ),
    MetricSpec(
        name="certified",
        better="higher",
        about="Share of images that are classified correctly with a proof up to one std.",
        gate=("audit",),
        aliases=("certified-accuracy",),
    ),
    *(
        MetricSpec(
            name=f"top{k}",
            better="higher",
            about=f"Share of images whose class is among the {k} most probable ones.",
            gate=("eval",),
            aliases=(f"top-{k}",),
        )
        for k in (1, 3, 5)
    ),
    MetricSpec(
        name="calibration-error",
        better="lower",
        about="Mean distance of confidence and accuracy.",
        gate=("eval", "audit"),
        aliases=("ece", "error", "calibration"),
    ),
    MetricSpec(
        name="loss",
        better="lower",
        about="Mean cross-entropy.",
        gate=("eval",),
        unit="nats",
        title="loss (nats)",
    ),
    MetricSpec(
        name="seconds-per-image",
        better="lower",
        about="Median time of a forward pass of one image.",
        gate=("audit",),
        unit="seconds",
        title="per image",
    ),
    MetricSpec(
        name="parameters",
        better="lower",
        about="Number of parameters.",
        gate=("audit",),
        unit="count",
    ),
)
"""Metrics by name, in the order of reports."""


def gates_of(command: Command) -> tuple[str, ...]:
    """The gates of a command.

    Example:
        >>> gates_of("attack evaluate")
        ('accuracy', 'robust')
    """
    return tuple(name for name, spec in METRICS.items() if command in spec.gate)
