"""Judging: how much does it take to fool a classifier, and can the answer be trusted?"""

from __future__ import annotations

from convscope.attacks import NoiseTransfer
from convscope.robustness import _smoothing as smoothing
from convscope.robustness._compare_defenses import compare_defenses
from convscope.robustness._curve import curve
from convscope.robustness._evaluate import evaluate
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
from convscope.robustness._smoothing import certify
from convscope.robustness._transfer import model_transfer, noise_transfer, survival

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
    "certify",
    "compare_defenses",
    "curve",
    "evaluate",
    "model_transfer",
    "noise_transfer",
    "smoothing",
    "survival",
]
