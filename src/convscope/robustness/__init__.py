"""Robustness evaluation: suites, curves, certificates, transfer, defenses."""

from __future__ import annotations

from convscope.attacks import NoiseTransfer
from convscope.robustness._curve import CurveJudging, curve, curve_of
from convscope.robustness._evaluate import RobustnessJudging, evaluate, robustness_of
from convscope.robustness._results import (
    Certification,
    Check,
    DefenseComparison,
    DefenseRow,
    ModelTransfer,
    RobustnessCurve,
    RobustnessEvaluation,
    Stage,
    TransformationRobustness,
)
from convscope.robustness._smoothing import CertificationJudging, certification_of, certify
from convscope.robustness._survival import Survival, survival
from convscope.robustness._transfer import (
    compare_defenses,
    model_transfer,
    noise_transfer,
    transformation_robustness,
)

__all__ = [
    "Certification",
    "CertificationJudging",
    "Check",
    "CurveJudging",
    "DefenseComparison",
    "DefenseRow",
    "ModelTransfer",
    "NoiseTransfer",
    "RobustnessCurve",
    "RobustnessEvaluation",
    "RobustnessJudging",
    "Stage",
    "Survival",
    "TransformationRobustness",
    "certification_of",
    "certify",
    "compare_defenses",
    "curve",
    "curve_of",
    "evaluate",
    "model_transfer",
    "noise_transfer",
    "robustness_of",
    "survival",
    "transformation_robustness",
]
