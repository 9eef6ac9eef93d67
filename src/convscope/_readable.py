"""Results that show themselves in a line at the prompt, and as their figure in a notebook.

A dataclass prints its fields, and a result holds tensors: up to 33,000 characters of numbers that
nobody asked for. `readable` gives a class a short sentence instead.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound=type)

LONGEST = 360
"""Characters of a result's sentence."""

FEW = 6
"""Numbers that are printed one by one; of more, the shape or the length is said."""


def readable(cls: Kind) -> Kind:
    """Class decorator, above ``@dataclass``: a short ``repr``, and the figure in a notebook.

    The sentence names the class, its ``headline`` if it has a method of this name, and its fields:
    numbers and short texts as they are, arrays by their shape, longer vectors by their length.

    Example:
        >>> from dataclasses import dataclass
        >>> import numpy as np
        >>> @readable
        ... @dataclass(frozen=True)
        ... class Heights:
        ...     unit: str
        ...     mean: float
        ...     values: np.ndarray
        ...     def headline(self):
        ...         return f"{len(self.values)} mountains"
        >>> Heights("m", 4810.123456, np.zeros((82, 2)))
        <Heights: 82 mountains; unit 'm', mean 4810.12, values 82 x 2>
    """
    cls.__repr__ = _sentence  # type: ignore[assignment]
    if "_repr_html_" not in vars(cls):
        cls._repr_html_ = _picture  # type: ignore[attr-defined]
    return cls


def _sentence(result: Any) -> str:
    """One line, whatever a field holds."""
    name = type(result).__name__
    try:
        words = _words(result)
    except Exception:  # A repr must not fail: debuggers and tracebacks call it.
        return f"<{name}>"
    text = f"<{name}: {words}>" if words else f"<{name}>"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]}...>"


def _words(result: Any) -> str:
    values = [(f.name, getattr(result, f.name, None)) for f in fields(result)]
    shown = [(name, _shown(value)) for name, value in values if not name.startswith("_")]
    # Numbers and texts say more than shapes, which may fall off the end.
    plain = [f"{name} {text}" for name, (text, short) in shown if text and short]
    rest = [f"{name} {text}" for name, (text, short) in shown if text and not short]
    headline = getattr(result, "headline", None)
    first = f"{headline()}; " if callable(headline) else ""
    return first + ", ".join([*plain, *rest])


def _shown(value: Any) -> tuple[str, bool]:
    """A value in few characters, and whether it is a value and not a shape."""
    if value is None:
        return "", True
    if isinstance(value, bool | int):
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(
            value
        ), True  # fmt: skip
    if isinstance(value, float):
        return f"{value:.6g}", True
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else f"{value[:37]}..."), True
    shape = getattr(value, "shape", None)
    if shape is not None and hasattr(value, "dtype"):
        return _array(value, tuple(shape))
    if isinstance(value, Mapping):
        return f"of {len(value)}" if value else "", False
    if isinstance(value, tuple | list):
        if not value:
            return "", False
        if len(value) <= FEW and all(isinstance(x, int | float | str) for x in value):
            texts = [_shown(item)[0] for item in value]
            if sum(map(len, texts)) <= 60:
                return f"({', '.join(texts)})", True
        return f"of {len(value):,}", False
    if is_dataclass(value) and not isinstance(value, type):
        return f"a {type(value).__name__}", False
    return f"a {type(value).__name__}", False


def _array(value: Any, shape: tuple[int, ...]) -> tuple[str, bool]:
    count = math.prod(shape)
    on_cpu = getattr(getattr(value, "device", None), "type", "cpu") == "cpu"
    if len(shape) <= 1 and 0 < count <= FEW and on_cpu:
        numbers = value.tolist()
        texts = [_shown(x)[0] for x in (numbers if isinstance(numbers, list) else [numbers])]
        return (f"({', '.join(texts)})" if shape else texts[0]), True
    if len(shape) == 1:  # A bare length would read as a count of what the field names.
        return f"({count:,} {'value' if count == 1 else 'values'})", False
    return " x ".join(map(str, shape)) or "a number", False


def _picture(result: Any) -> str | None:
    """The figure of a result as HTML for notebooks, or ``None``: then its sentence is shown."""
    try:
        # By name, because results know nothing of figures: the arrow points the other way, and
        # matplotlib is loaded only when a notebook asks for a picture.
        figures = importlib.import_module("convscope.figures")
        if not figures.has_figure(result):
            return None
        from html import escape

        drawn = figures.draw(result)._repr_png_()
        encoded = importlib.import_module("base64").b64encode(drawn).decode()
        words = escape(_sentence(result))
        return (
            f'<img src="data:image/png;base64,{encoded}" alt="{words}" style="max-width: 100%">'
            f"<p><code>{words}</code></p>"
        )
    except Exception:  # A notebook shows the sentence instead of a traceback.
        return None
