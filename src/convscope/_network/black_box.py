"""A black box: a function that answers, without weights, layers or gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError, ModelContractError

ROWS = 64
"""Images that a function gets at once unless somebody says otherwise."""

TRIAL = 6
"""Images of the first look: a function may be slow, or paid by the call."""

REGISTRIES = (("convscope.explanations", "EXPLANATIONS"), ("convscope.attacks", "ATTACKS"))
"""Where the records are that say which methods work without gradients."""


class BlackBox(nn.Module):
    """Calls a function on NumPy arrays, at most `rows` images at once.

    Args:
        function: From a float32 array ``(batch, channel, height, width)`` of its own, which it may
            write to, to one row of scores or probabilities per image: an array, a tensor or lists.
        rows: The most images that it gets at once; 1 for what takes single images.
        name: What to call it in errors.

    Attributes:
        draws: Whether it draws from a global random state; known after the first look.
    """

    def __init__(
        self, function: Callable[[Any], Any], *, rows: int = ROWS, name: str = "the function"
    ) -> None:
        super().__init__()
        self.function, self.rows, self.name = function, rows, name
        self.draws = False

    def forward(self, images: Tensor) -> Tensor:
        """Scores ``(batch, class)`` without a graph, float32.

        Raises:
            ModelContractError: M14 if the function fails; M01, M02, M03 if it returns something
                else than one row of scores per image.
        """
        pixels = images.detach().to("cpu", torch.float32)
        parts = [self._answer(part) for part in torch.split(pixels, self.rows)]
        widths = {part.shape[1] for part in parts}
        if len(widths) > 1:
            raise self._shapeless(f"{sorted(widths)} scores per image, not always as many")
        return torch.cat(parts).to(images.device)

    def alike(self) -> BlackBox:
        """Another module around the same function."""
        made = BlackBox(self.function, rows=self.rows, name=self.name)
        made.draws = self.draws
        return made

    def _answer(self, part: Tensor) -> Tensor:
        count = len(part)
        try:
            # A copy: the function may keep it or write to it.
            returned = self.function(np.array(part.numpy(), order="C"))
            scores = self._read(returned)
        except ConvscopeError:
            raise
        except Exception as error:
            first = next(iter(str(error).splitlines()), "")
            raise ModelContractError(
                f"{self.name} failed on an array of shape {tuple(part.shape)}: "
                f"{type(error).__name__}: {first}",
                code="M14",
                expected="a function of one float32 array (batch, channel, height, width)",
                hint="check input_shape=(channel, height, width); --debug shows where it fails",
            ) from error
        if scores.ndim != 2 or len(scores) != count:
            labels = scores.shape == (count,)
            raise self._shapeless(
                f"an array of shape {tuple(scores.shape)} for {count} images",
                "return a score per class, as predict_proba does, not labels" if labels else "",
            )
        if scores.shape[1] == 1:
            raise ModelContractError(
                f"{self.name} returned one score per image, not one per class",
                code="M03",
                expected="at least two classes",
                hint="return both: [1 - p, p] of a probability p, [0, z] of a logit z",
            )
        return scores

    def _read(self, returned: object) -> Tensor:
        if returned is None or isinstance(returned, Mapping | str | bytes):
            raise ModelContractError(
                f"{self.name} returned a {type(returned).__name__}, not scores",
                code="M01",
                expected="an array or tensor (image, class)",
            )
        if isinstance(returned, Tensor):
            # It may be overwritten by the next call.
            return returned.detach().to("cpu", torch.float32, copy=True)
        return torch.from_numpy(np.array(returned, dtype=np.float32, order="C"))

    def _shapeless(self, what: str, hint: str = "") -> ModelContractError:
        return ModelContractError(
            f"{self.name} returned {what}",
            code="M02",
            expected="one row of scores or probabilities per image: (image, class)",
            hint=hint,
        )


def methods_without_gradients() -> tuple[str, ...]:
    """Names of the explanations and attacks whose records say that they need answers only.

    Example:
        >>> methods_without_gradients()
        ('occlusion', 'rise', 'square')
    """
    return tuple(
        name
        for package, registry in REGISTRIES
        for name, spec in getattr(import_module(package), registry).specs().items()
        if spec.black_box
    )


def refuse_black_box(module: nn.Module, what: str) -> None:
    """Refuse to look into a black box.

    Args:
        module: Any network.
        what: What would be needed: ``"gradients"``, ``"layers"`` or ``"weights"``.

    Raises:
        ModelContractError: M26.
    """
    if isinstance(module, BlackBox):
        raise ModelContractError(
            f"a black box has no {what}: only its answers are known",
            code="M26",
            expected="a network of PyTorch layers",
            hint=f"these need answers only: {', '.join(methods_without_gradients())}",
        )
