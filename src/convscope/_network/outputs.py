"""The logits in what a network returns, or a sentence on why there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from convscope.errors import ModelContractError
from convscope.types import Logits


def read_logits(
    returned: object,
    output: Callable[[object], Tensor] | None,
    count: int,
    classes: int,
    probabilities: bool,
) -> Logits:
    """The logits in what a network returned; see `Classifier.to_logits`.

    Args:
        returned: What the network returned.
        output: Picks the logits out of it.
        count: How many images the network was given.
        classes: How many classes it tells apart.
        probabilities: Whether they are probabilities: their logarithms are taken.

    Raises:
        ModelContractError: M01 for a tuple or dict without `output`, M02 for another shape.
    """
    if output is not None:
        returned = output(returned)
    if not isinstance(returned, Tensor):
        raise ModelContractError(
            f"the network returned {_describe(returned)}, not one tensor of logits",
            code="M01",
            hint=f"say which part holds the logits: wrap(..., output={_pick(returned)})",
        )
    expected = (count, classes)
    if tuple(returned.shape) != expected or not returned.is_floating_point():
        raise ModelContractError(
            f"the network returned {returned.dtype} of shape {tuple(returned.shape)}",
            code="M02",
            expected=f"floating-point logits of shape {expected}: (image, class)",
            hint="adapt it with wrap(..., output=lambda returned: ...); if the network was changed "
            "since it was wrapped, wrap it again",
        )
    if probabilities:
        return returned.clamp_min(torch.finfo(returned.dtype).tiny).log()
    return returned


def read_scores(
    returned: object,
    output: Callable[[object], Tensor] | None,
    count: int,
    probabilities: bool,
) -> Tensor:
    """As `read_logits`, as they are and of any number of classes above one.

    Raises:
        ModelContractError: M01, M02, or M03 for a single output.
    """
    scores = returned if output is None else output(returned)
    if isinstance(scores, Tensor) and scores.is_floating_point() and scores.numel() == count:
        way_out = (
            "output=lambda p: torch.cat([1 - p, p], dim=1), probabilities=True"
            if bool(((scores >= 0) & (scores <= 1)).all()) or probabilities
            else "output=lambda z: torch.cat([torch.zeros_like(z), z], dim=1)"
        )
        flat = "" if scores.ndim == 2 else " (with z = z.view(-1, 1))"
        raise ModelContractError(
            "the network has one output per image, not one per class",
            code="M03",
            expected="at least two logits: a single one, z, is the pair [0, z]",
            hint=f"wrap(..., {way_out}){flat}, with two class_names",
        )
    classes = scores.shape[1] if isinstance(scores, Tensor) and scores.ndim == 2 else 1
    return read_logits(returned, output, count, classes, False)


def sums_to_one(scores: Tensor) -> bool:
    """True for rows that are probabilities; a single column is a lone sigmoid, not that."""
    values = scores.detach().double()
    if values.shape[1] < 2 or values.min() < 0 or values.max() > 1:
        return False
    return bool((values.sum(dim=1) - 1).abs().max() <= 1e-5)


def _describe(returned: object) -> str:
    if isinstance(returned, tuple | list):
        return f"a {type(returned).__name__} of {len(returned)}"
    if isinstance(returned, Mapping):
        keys = ", ".join(map(str, list(returned)[:5]))
        return f"a {type(returned).__name__} with keys {keys}"
    return f"a {type(returned).__name__}"


def _pick(returned: object) -> str:
    if isinstance(returned, tuple | list):
        return "lambda returned: returned[0]"
    if isinstance(returned, Mapping) and "logits" not in returned and returned:
        return f"lambda returned: returned[{next(iter(returned))!r}]"
    if isinstance(returned, Mapping):
        return "lambda returned: returned['logits']"
    return "lambda returned: returned.logits"
