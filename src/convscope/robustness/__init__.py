"""Judging: how much does it take to fool a classifier, and can the answer be trusted?"""

from __future__ import annotations

from convscope.attacks import NoiseTransfer
from convscope.robustness._curve import curve
from convscope.robustness._results import (
    Certification,
    Check,
    DefenseComparison,
    DefenseRow,
    ModelTransfer,
    RobustnessCurve,
    RobustnessEvaluation,
    Rung,
    Survival,
)

__all__ = [
    "Certification",
    "Check",
    "DefenseComparison",
    "DefenseRow",
    "ModelTransfer",
    "NoiseTransfer",
    "RobustnessCurve",
    "RobustnessEvaluation",
    "Rung",
    "Survival",
    "curve",
]
