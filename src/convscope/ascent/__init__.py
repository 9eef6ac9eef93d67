"""Gradient ascent on images: the one loop behind attacks and visualizations.

`ascend` repeats *decode, run, evaluate, differentiate, step, project*; what varies is handed over:

    objective   images, outputs, rows -> values   what to increase, one number per image
    step        gradient, k, rows -> update       how far to move at step k = 0, 1, ...
    region      where images may be               exact projections: not one ulp outside
    stop        outputs, rows -> done             rows that are done leave the batch
"""

from __future__ import annotations

from convscope.ascent._loop import Ascent, Keep, Stop, ascend
from convscope.ascent._regions import (
    Box,
    L2Ball,
    Region,
    ball,
    box,
    l2_ball,
    l2_norm,
    linf_ball,
    unconstrained,
)
from convscope.ascent._steps import (
    Point,
    StatefulStep,
    Step,
    adam_step,
    blurred,
    gaussian_blur,
    l2_step,
    momentum_step,
    normalized,
    plain_step,
    sign_step,
    std_step,
)

__all__ = [
    "Ascent",
    "Box",
    "Keep",
    "L2Ball",
    "Point",
    "Region",
    "StatefulStep",
    "Step",
    "Stop",
    "adam_step",
    "ascend",
    "ball",
    "blurred",
    "box",
    "gaussian_blur",
    "l2_ball",
    "l2_norm",
    "l2_step",
    "linf_ball",
    "momentum_step",
    "normalized",
    "plain_step",
    "sign_step",
    "std_step",
    "unconstrained",
]
