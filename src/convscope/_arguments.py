"""The door of every method: harmless spellings are accepted, the rest is refused by name.

A list, a NumPy array, a NumPy number or a 0-d tensor says the same as a tensor or a Python number.
A text where a number belongs, NaN, a sparse tensor or a float where a class number belongs does
not: it gets one error that names the argument. What a value means beyond that (is it a class, is
the radius sensible) is checked by the method.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Generator, Tensor, nn

from convscope._inputs import whole_numbers
from convscope.classifier import Classifier
from convscope.errors import ImageError, ModelContractError, UsageError, choose
from convscope.types import Images, Labels

Method = TypeVar("Method", bound=Callable[..., Any])


def checked(method: Method) -> Method:
    """Decorate ``method(classifier, images, ..., *, settings)`` so that its arguments are checked.

    Raises:
        ModelContractError: M22 if `classifier` is none.
        ImageError: I24 or M14 if `images` are no batch of the classifier's images.
        UsageError: U10 for labels, U14 for any other argument of a wrong type.
    """
    signature = inspect.signature(method)
    known: dict[str, Any] = {}

    @functools.wraps(method)
    def door(*args: Any, **kwargs: Any) -> Any:
        # The caller's autocast and inference mode must not change what a method computes.
        with contextlib.ExitStack() as calm:
            if torch.is_inference_mode_enabled():
                calm.enter_context(torch.inference_mode(False))
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    calm.enter_context(torch.autocast(kind, enabled=False))
            accepted, named = arguments(args, kwargs)
            return method(*accepted, **named)

    def arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not known:
            known.update(typing.get_type_hints(method))
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            words = f"{method.__name__}: {error}"
            raise UsageError(words, code="U14", expected=_shown(signature)) from error
        values = bound.arguments
        for name, value in values.items():
            if signature.parameters[name].kind in (
                inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
            ):  # fmt: skip
                continue
            values[name] = _accepted(name, value, known.get(name, Any), values)
        return bound.args, bound.kwargs

    return typing.cast(Method, door)


def _accepted(name: str, value: Any, hint: Any, values: dict[str, Any]) -> Any:
    if name == "classifier":
        return _classifier(value)
    classifier, images = _owner(values), values.get("images")
    if name == "images" and isinstance(classifier, Classifier):
        return classifier.check_images(value)
    choices = _choices(hint)
    if value is None and type(None) in choices:
        return None
    if Images in choices and isinstance(classifier, Classifier):
        return _like(name, classifier.check_images(value, name), classifier, images)
    if name in ("labels", "targets"):
        found = _classes(name, value, choices)
        one_each = isinstance(found, Tensor) and Labels in choices
        if not one_each or not isinstance(images, Tensor) or not isinstance(classifier, Classifier):
            return found
        return classifier.check_labels(found, len(images), name)
    for accept in (_flag, _whole, _real, _text, _object):
        found = accept(name, value, choices)
        if found is not _NO:
            return found
    raise UsageError(
        f"{name} is {_short(value)}",
        code="U14",
        expected=f"{name}: {' or '.join(dict.fromkeys(map(_words, choices)))}",
        hint=_hint(name, value, choices),
    )


_NO = object()


def _choices(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(part for item in typing.get_args(hint) for part in _choices(item))
    return (hint,)


def _classifier(value: Any) -> Classifier:
    if isinstance(value, Classifier):
        return value
    hint = "Classifier.wrap(network, input_shape=(channel, height, width))"
    raise ModelContractError(
        f"classifier is a {type(value).__name__}",
        code="M22",
        expected="a convscope.Classifier",
        hint=f"wrap it: {hint}" if isinstance(value, nn.Module) else hint,
    )


def _owner(values: dict[str, Any]) -> Any:
    """The classifier that images and labels are for; of several the first."""
    several = values.get("classifiers")
    if isinstance(several, Mapping) and several:
        return next(iter(several.values()))
    return values.get("classifier")


def _like(name: str, found: Tensor, classifier: Classifier, images: Any) -> Tensor:
    """Further images have to be as large as the first ones, or as the network takes them."""
    first = isinstance(images, Tensor) and images.ndim == 4
    shape = tuple(images.shape[1:]) if first else classifier.input_shape
    if tuple(found.shape[1:]) != shape:
        raise ImageError(
            f"{name} are of shape {tuple(found.shape[1:])}", code="M14", expected=f"{shape}"
        )
    return found


def _classes(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        if str in choices or typing.Literal["all"] in choices:
            if value == "all":
                return value
            expected = "classes by number, or 'all'"
            raise UsageError(f"{name} are {value!r:.80}", code="U10", expected=expected)
        raise UsageError(f"{name} are {value!r:.80}", code="U10", expected="whole numbers")
    if isinstance(value, bool | np.bool_) or value is None:
        raise UsageError(f"{name} are {value!r}", code="U10", expected="whole numbers")
    found = whole_numbers(value, name)
    if found.ndim == 0 and int in choices:
        return int(found)
    if Labels not in choices:
        found = found.reshape(1) if found.ndim == 0 else found
        if found.numel() == 0:
            raise UsageError(f"{name} are empty", code="U08", expected="at least one class")
    if found.ndim > 2:
        raise UsageError(f"{name} have shape {tuple(found.shape)}", code="U10", expected="(batch,)")
    return found


def _flag(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    return bool(value) if bool in choices and isinstance(value, bool | np.bool_) else _NO


def _number(value: Any) -> Any:
    """A Python number in a 0-d array or tensor, or the value itself."""
    if isinstance(value, Tensor):
        strided = value.layout == torch.strided and value.device.type != "meta"
        return value.item() if value.ndim == 0 and strided and not value.is_quantized else value
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        return value.item()
    return value


def _whole(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    plain = _number(value)
    if int not in choices or isinstance(plain, bool) or not isinstance(plain, numbers.Integral):
        return _NO
    if abs(int(plain)) > LARGEST:
        raise UsageError(
            f"{name} is {int(plain):.3g}", code="U05", expected=f"a whole number below {LARGEST:,}"
        )
    return int(plain)


LARGEST = 2**31 - 1
"""No count of anything here is larger; torch takes no larger sizes."""


def _real(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    """One number, or one per image where a tensor is welcome."""
    if float not in choices and not any(map(_is_tensor, choices)):
        return _NO
    plain = _number(value)
    if isinstance(plain, numbers.Real) and not isinstance(plain, bool):
        if math.isnan(plain):
            raise UsageError(
                f"{name} is NaN", code=_CODES.get(name, "U14"), expected="a finite number"
            )
        return float(plain) if float in choices else torch.as_tensor(float(plain))
    if not any(map(_is_tensor, choices)) or isinstance(value, str | bytes | bool):
        return _NO
    made = _tensor(value, masks=float not in choices)
    if made is None:
        return _NO
    if bool(made.isnan().any()):
        raise UsageError(f"{name} holds NaN", code=_CODES.get(name, "U14"), expected="numbers")
    return made


_CODES = {"epsilon": "U03", "step_size": "U06"}


def _tensor(value: Any, *, masks: bool) -> Tensor | None:
    """A dense tensor of numbers (or a mask) without a graph, or ``None``."""
    try:
        made = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
    except (TypeError, ValueError, RuntimeError):
        return None
    dense = made.layout == torch.strided and made.device.type != "meta" and not made.is_quantized
    if not dense or made.is_complex() or (made.dtype == torch.bool and not masks):
        return None
    return made.detach()


def _text(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if typing.get_origin(choice) is typing.Literal and isinstance(value, str):
            return choose(name, value, [x for x in typing.get_args(choice) if isinstance(x, str)])
    return str(value) if str in choices and isinstance(value, str) else _NO


def _object(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if choice is Any or choice is object:
            return value
        origin = typing.get_origin(choice) or choice
        if origin in (int, float, bool, str, typing.Literal, type(None)) or _is_tensor(choice):
            continue
        if origin is Callable:
            if callable(value):
                return value
            continue
        if origin in (dict, Mapping):
            if isinstance(value, Mapping) and _mapping(value, typing.get_args(choice)):
                return value
            continue
        if origin is Sequence:
            items = typing.get_args(choice)
            row = isinstance(value, list | tuple)
            if row and (not items or all(isinstance(item, items[0]) for item in value)):
                return value
            continue
        if isinstance(origin, type):
            if isinstance(value, origin) and not isinstance(value, str | tuple):
                return value
            if origin is tuple and isinstance(value, list | tuple):
                items = _tuple(tuple(value), typing.get_args(choice))
                if items is not _NO:
                    return items
            continue
        return value  # A hint that says nothing checkable.
    return _NO


def _mapping(value: Mapping[Any, Any], hints: tuple[Any, ...]) -> bool:
    """Whether keys and values are what the hints of a dict ask for, as far as that is plain."""
    if len(hints) != 2:
        return True
    kinds = [typing.get_origin(hint) or hint for hint in hints]
    return all(
        callable(item) if kind is Callable else not isinstance(kind, type) or isinstance(item, kind)
        for pair in value.items()
        for item, kind in zip(pair, kinds, strict=True)
    )


def _tuple(values: tuple[Any, ...], hints: tuple[Any, ...]) -> Any:
    """The values with plain numbers in them, if they are what the hints of a tuple ask for."""
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(values)
    if hints and len(hints) != len(values):
        return _NO
    found = []
    for value, hint in zip(values, hints or (Any,) * len(values), strict=True):
        plain = _number(value)
        kind = float if hint is float else hint
        fits = hint is Any or (
            isinstance(plain, numbers.Real if kind is float else kind)
            and not (isinstance(plain, bool) and kind is not bool)
        )
        if not fits:
            return _NO
        found.append(plain)
    return tuple(found)


def _is_tensor(choice: Any) -> bool:
    """A tensor, also one of the shapes that `convscope.types` names."""
    if choice is Tensor:
        return True
    return getattr(choice, "array_type", None) is Tensor


def _words(choice: Any) -> str:
    if choice is type(None):
        return "None"
    if _is_tensor(choice):
        return "numbers in a tensor, array or list"
    if typing.get_origin(choice) is typing.Literal:
        return " or ".join(map(repr, typing.get_args(choice)))
    if typing.get_origin(choice) is Sequence:
        return f"a list of {', '.join(map(_words, typing.get_args(choice)))}"
    return {
        int: "a whole number", float: "a number", bool: "True or False", str: "a text",
        Generator: "a torch.Generator",
    }.get(choice, getattr(choice, "__name__", str(choice)))  # fmt: skip


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        where = "" if value.device.type != "meta" else " on the meta device"
        return f"a tensor ({value.dtype}, {value.layout}, shape {tuple(value.shape)}){where}"
    if isinstance(value, str | bytes | numbers.Number | bool | type(None)):
        return f"{value!r:.80}"
    return f"a {type(value).__name__}"


def _hint(name: str, value: Any, choices: tuple[Any, ...]) -> str:
    if isinstance(value, str) and (float in choices or int in choices):
        return f"write {name}={value} without quotation marks" if _is_fraction(value) else ""
    if Generator in choices:
        return "torch.Generator().manual_seed(0)"
    return ""


def _is_fraction(text: str) -> bool:
    parts = text.split("/")
    return len(parts) <= 2 and all(part.strip().replace(".", "", 1).isdigit() for part in parts)


def _shown(signature: inspect.Signature) -> str:
    """The names of the arguments, required ones first, without their types."""
    names = [
        name if p.default is inspect.Parameter.empty else f"{name}=..."
        for name, p in signature.parameters.items()
    ]
    return ", ".join(names)
