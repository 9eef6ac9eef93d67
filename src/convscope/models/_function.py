"""python:module:function, a black box: whatever answers without being a network of PyTorch."""

from __future__ import annotations

from typing import Any

from convscope.classifier import Classifier
from convscope.errors import ModelContractError, UsageError
from convscope.models._description import Description
from convscope.models._factory import current_folder_first, named_callable

NOTHING = Description()


def load_function(
    name: str, about: Description = NOTHING, *, allow_nonfinite: bool = False
) -> Classifier:
    """Import ``module`` and make a black box of ``function``; see `Classifier.from_function`.

    This runs code that the user names; it is trusted as the user's own. The current folder is
    searched, too.

    Args:
        name: ``"module:function"`` or ``"package.module:function"``. The function gets a float32
            NumPy array ``(batch, channel, height, width)`` and returns one row of scores or
            probabilities per image.
        about: Size, names, mean and std; they win over attributes of the function of these names.
            The function may also have the attributes ``probabilities`` and ``batch_size``.
        allow_nonfinite: For compatibility with other adapters: a function has no weights.

    Raises:
        UsageError: There is no such module or function, U11 if weights are given.
        ModelContractError: M22 without a size, M18 if importing fails, M01 to M24 for what the
            function does.
    """
    where = f"python:{name}"
    if about.weights is not None:
        raise UsageError(
            f"{where} takes no weights: only its answers are known",
            code="U11",
            hint=f"load them in the function, or name a function that returns a network: {name}",
        )
    if not all(part.isidentifier() for part in name.replace(":", ".").split(".")) or (
        name.count(":") != 1
    ):
        raise UsageError(f"{where} names no function", expected="python:module:function")
    with current_folder_first():
        function = named_callable(name, "function")
    said = {key: _listed(function, key) for key in ("input_shape", "class_names", "mean", "std")}
    shape = about.input_shape or said["input_shape"]
    if shape is None:
        raise ModelContractError(
            f"{name} does not say the size of its images",
            code="M22",
            where=where,
            expected="channels, height and width",
            hint="add --input-shape 3,224,224 with your sizes, or in the module: "
            f"{name.partition(':')[2]}.input_shape = (3, 224, 224)",
        )
    wanted = Description.of(
        input_shape=shape,
        class_names=about.class_names or said["class_names"],
        mean=said["mean"] if about.mean is None else about.mean,
        std=said["std"] if about.std is None else about.std,
    )
    assert wanted.input_shape is not None
    options = {
        key: getattr(function, key)
        for key in ("probabilities", "batch_size")
        if hasattr(function, key)
    }
    with current_folder_first():
        return Classifier.from_function(
            function,
            input_shape=wanted.input_shape,
            class_names=wanted.class_names,
            mean=wanted.mean,
            std=wanted.std,
            source=where,
            **options,
        )


def _listed(function: Any, name: str) -> Any:
    value = getattr(function, name, None)
    return value if isinstance(value, list | tuple) else None
