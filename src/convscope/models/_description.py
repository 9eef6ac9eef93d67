"""What a person says about a network that a file does not: weights, size, names, mean and std."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from convscope.errors import CheckpointError, DataError, ModelContractError, UsageError
from convscope.files import CLASS_NAMES, decoded, loads_json, read_bytes, usable_path
from convscope.models._architecture import InputShape

LONGEST_NAME = 1000


@dataclass(frozen=True, kw_only=True)
class Description:
    """Facts about a network of one's own; what is ``None`` is taken from the network.

    Attributes:
        weights: File with its state_dict: .safetensors, or a .pt of tensors.
        input_shape: Channels, height and width of its images.
        class_names: One per logit, in order.
        mean: Per channel, subtracted from pixels in [0, 1].
        std: Per channel, the divisor.
    """

    weights: Path | None = None
    input_shape: InputShape | None = None
    class_names: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return any(value is not None for value in vars(self).values())

    @classmethod
    def of(
        cls,
        *,
        weights: str | Path | None = None,
        input_shape: Sequence[int] | None = None,
        class_names: Sequence[str] | str | Path | None = None,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
    ) -> Description:
        """Check what was said.

        Args:
            weights: A file.
            input_shape: Three whole numbers.
            class_names: The names, or a file that `read_class_names` reads.
            mean: One number, or one per channel.
            std: Likewise, above 0.

        Raises:
            UsageError: A value makes no sense.
            DataError: The list of class names cannot be read.
        """
        shape = None if input_shape is None else tuple(input_shape)
        if shape is not None and (
            len(shape) != 3 or not all(type(side) is int and 1 <= side <= 16384 for side in shape)
        ):
            raise UsageError(
                f"input_shape is {shape}",
                code="U10",
                expected="channels, height, width, such as 3,224,224 or 1,28,28",
            )
        if isinstance(class_names, str | Path):
            class_names = read_class_names(class_names)
        return cls(
            weights=None if weights is None else usable_path(weights),
            input_shape=shape,
            class_names=None if class_names is None else tuple(map(str, class_names)),
            mean=_numbers("mean", mean),
            std=_numbers("std", std),
        )


def read_class_names(path: str | Path) -> tuple[str, ...]:
    r"""The names of classes, one per logit in their order.

    Args:
        path: A text file with one name per line, or JSON: a list of names, or a table from class
            number to name (as ``id2label``) or to a row that ends with the name (as ImageNet's
            ``imagenet_class_index.json``).

    Raises:
        DataError: It cannot be read, or does not name every class.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "classes.txt"
        >>> _ = file.write_text("cat\ndog\n")
        >>> read_class_names(file)
        ('cat', 'dog')
    """
    path = usable_path(path, DataError)
    text = decoded(read_bytes(path, CLASS_NAMES), CLASS_NAMES, where=path)
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("[", "{"):
        names = _from_json(text, path)
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise DataError("names no classes", where=path, expected="one name per line")
    if longest := next((name for name in names if len(name) > LONGEST_NAME), ""):
        raise DataError(
            f"a class name of {len(longest):,} characters",
            where=path,
            expected=f"one name of at most {LONGEST_NAME:,} characters per line",
        )
    return tuple(names)


def _from_json(text: str, path: Path) -> list[str]:
    def refuse(what: str) -> DataError:
        return DataError(
            what,
            where=path,
            expected='a list of names, or a table from class number to name: {"0": "cat", ...}',
        )

    try:
        tree = loads_json(text, deepest=4)
    except json.JSONDecodeError as error:
        raise refuse(f"not JSON: {error}") from None
    except ValueError as error:
        raise refuse(str(error)) from None
    if isinstance(tree, Mapping):
        wanted = [str(number) for number in range(len(tree))]
        if set(tree) != set(wanted):
            raise refuse(f"its keys are not the class numbers 0 to {len(tree) - 1}")
        tree = [tree[number] for number in wanted]
    if not isinstance(tree, list):
        raise refuse(f"holds a {type(tree).__name__}")
    names = [row[-1] if isinstance(row, list) and row else row for row in tree]
    if not all(isinstance(name, str) for name in names):
        raise refuse("holds names that are no texts")
    return names


@contextmanager
def naming_classes(about: Description) -> Iterator[None]:
    """Weights that do not fit a library's network may have a head of another size: say how."""
    try:
        yield
    except CheckpointError as error:
        if error.code == "C10" and about.class_names is None:
            error.hint = "with another number of classes, name them: --classes FILE, one per line"
        raise


def guessed_shape(module: nn.Module) -> str:
    """An input shape to show in a hint: with the channels that the first convolution takes."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            channels = layer.in_channels or 3  # a lazy layer does not know yet
            return "1, 28, 28" if channels == 1 else f"{channels}, 224, 224"
    return "3, 224, 224"


def need_shape(name: str, module: nn.Module, where: str) -> ModelContractError:
    """The error for a network whose images nobody described."""
    shape = guessed_shape(module)
    return ModelContractError(
        f"{name} returned a {type(module).__name__} without input_shape",
        code="M22",
        where=where,
        expected="channels, height and width of its images",
        hint=f"add --input-shape {shape.replace(' ', '')} with your sizes, or return "
        f"Classifier.wrap(module, input_shape=({shape}), class_names=[...])",
    )


def _numbers(name: str, given: Sequence[float] | float | None) -> tuple[float, ...] | None:
    if given is None:
        return None
    values = (given,) if isinstance(given, int | float) else tuple(given)
    least = 0.0 if name == "std" else -1e6
    if not values or not all(
        isinstance(value, int | float) and least <= value < 1e6 for value in values
    ):
        raise UsageError(
            f"{name} is {given}",
            code="U10",
            expected="one number, or one per channel, for pixels in [0, 1]",
        )
    if name == "std" and min(values) <= 0:
        raise UsageError(f"std is {given}", code="U10", expected="numbers above 0")
    return tuple(float(value) for value in values)
