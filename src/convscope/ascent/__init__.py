"""Gradient ascent on images: the one loop behind attacks and visualizations.

`ascend` repeats *paint, run, score, gradient, step, project*; what varies is handed over:

    objective   images, outputs, rows -> values   what to increase, one number per image
    step        gradient, k, rows -> update       how far to move at step k = 0, 1, ...
    region      where images may be               exact projections: not one ulp outside
    stop        outputs, rows -> done             rows that are done leave the batch
"""

from convscope.ascent._loop import Ascent, Keep, Stop, ascend
from convscope.ascent._regions import (
    Box,
    L2Ball,
    Region,
    anywhere,
    box,
    l2_ball,
    l2_norm,
    linf_ball,
)
from convscope.ascent._steps import (
    Step,
    Watching,
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
    "Region",
    "Step",
    "Stop",
    "Watching",
    "adam_step",
    "anywhere",
    "ascend",
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
]
