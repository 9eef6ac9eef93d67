"""What every command that takes a MODEL lets people say about a network of their own."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from convscope.cli._output import fraction, progress
from convscope.errors import UsageError
from convscope.models import check_model_name

if TYPE_CHECKING:
    from convscope.classifier import Classifier

GROUP = cyclopts.Group(
    "Your own network",
    help="For MODEL = package.module:factory, timm:NAME or torchvision:NAME, and for a weight file "
    "without a description.",
)


@dataclass(frozen=True)
class ModelOptions:
    """Flags that describe a network whose files do not."""

    weights: Path | None = None
    "Its state_dict: .safetensors, or .pt with tensors."
    input_shape: str | None = None
    "Channels, height and width of its images: 3,224,224."
    classes: Path | None = None
    "File with one class name per line, or JSON, in the order of the outputs."
    mean: str | None = None
    "Mean per channel that it subtracts from pixels in [0, 1]: 0.485,0.456,0.406."
    std: str | None = None
    "Standard deviation per channel that it divides by."

    def load(self, model: str, *, allow_nonfinite: bool = False) -> Classifier:
        """The classifier that `model` names, with what the flags say.

        Raises:
            UsageError: A flag makes no sense, or `model` describes itself.
        """
        input_shape = None if self.input_shape is None else shape_of(self.input_shape)
        mean = None if self.mean is None else numbers_of("mean", self.mean)
        std = None if self.std is None else numbers_of("std", self.std)
        check_model_name(model)
        with progress(f"loading {model}", total=None, transient=True):
            from convscope.models import load

            return load(
                model,
                allow_nonfinite=allow_nonfinite,
                weights=self.weights,
                input_shape=input_shape,
                class_names=self.classes,
                mean=mean,
                std=std,
            )

    def again(self) -> str:
        """The flags that were given, as they are written behind MODEL in a suggested command."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        return "".join(
            f" --{name.replace('_', '-')} {shlex.quote(str(value))}"
            for name, value in given.items()
        )

    def without(self, names: set[str]) -> tuple[ModelOptions, list[str]]:
        """Leave flags of these names to an attack that has settings of the same name.

        Returns:
            The other flags, and words such as ``["--mean", "0.5"]`` for the attack.
        """
        taken = [name for name in ("classes", "mean", "std", "weights") if name in names]
        words = [
            word
            for name in taken
            if getattr(self, name) is not None
            for word in (f"--{name}", str(getattr(self, name)))
        ]
        return replace(self, **dict.fromkeys(taken)), words


def shape_of(text: str) -> tuple[int, ...]:
    """``"3,224,224"`` and ``"3x224x224"`` as numbers.

    Raises:
        UsageError: U10.

    Example:
        >>> shape_of("1,28,28"), shape_of("3x224x224")
        ((1, 28, 28), (3, 224, 224))
    """
    parts = text.lower().replace("x", ",").split(",")
    if len(parts) != 3 or not all(p.strip().isascii() and p.strip().isdigit() for p in parts):
        raise UsageError(
            f"--input-shape {text!r}",
            code="U10",
            expected="channels, height and width: 3,224,224, or 1,28,28 for gray digits",
        )
    return tuple(int(part[:9]) for part in parts)


def numbers_of(name: str, text: str) -> tuple[float, ...]:
    """``"0.5,0.5,0.5"`` as numbers; fractions such as 127/255 too.

    Raises:
        UsageError: U03.
    """
    try:
        return tuple(fraction(part) for part in text.split(","))
    except UsageError as error:
        error.where = f"--{name}"
        raise


OwnNetwork = Annotated[ModelOptions, cyclopts.Parameter(name="*", group=GROUP)]
NOTHING = ModelOptions()
