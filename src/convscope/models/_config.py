"""config.json: what the weights beside it are, in words and numbers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from convscope.errors import CheckpointError
from convscope.files import MODEL_CONFIG, decoded, loads_json

SCHEMA = 1
REQUIRES = "0.1"
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that is needed to use a weight file.

    Attributes:
        architecture: A key of `MODELS`; with `origin`, its kind and name. Code is never named by a
            file.
        class_names: One per logit.
        input_shape: Channels, height, width.
        mean: Per-channel mean subtracted from pixels in [0, 1], or ``None``.
        std: Per-channel divisor, or ``None``.
        sha256: Of the weight file; empty if nobody wrote it down.
        weights: Name of the weight file in the same folder.
        source: A sentence on how the weights came about.
        extra: Whatever else the writer wants to keep, JSON only.
        origin: For a network that is not of `MODELS`: what it was made from, JSON only.
    """

    architecture: str
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    sha256: str = ""
    weights: str = "model.safetensors"
    source: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] | None = None

    def to_json(self) -> str:
        """Indented, keys in a fixed order, ending with a newline: the same config, same text."""
        body = self._body()
        body["config_sha256"] = _digest(body)
        return json.dumps(body, indent=2) + "\n"

    def with_checksum(self, sha256: str) -> ModelConfig:
        """The same config for a weight file of that SHA-256."""
        return replace(self, sha256=sha256)

    def _body(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "requires": REQUIRES,
            "architecture": self.architecture,
            "num_classes": len(self.class_names),
            "class_names": list(self.class_names),
            "input_shape": list(self.input_shape),
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
            "weights": self.weights,
            "sha256": self.sha256,
            "source": self.source,
            "extra": dict(self.extra),
            **({} if self.origin is None else {"origin": dict(self.origin)}),
        }


def parse_config(text: bytes, path: Path) -> tuple[ModelConfig, str]:
    """Read and check the text of a config.json.

    Returns:
        The config, and what is odd about it: empty if it is as it was written.

    Raises:
        CheckpointError: C07 cut short, C12 names and classes differ, C17 not a config or one of a
            newer convscope, C19 a weight file outside the folder.
    """
    body = _parse(text, path)
    schema = body.get("schema")
    if type(schema) is not int or schema < 1:
        _refuse("no schema number: not a config.json of convscope", path)
    if schema > SCHEMA:
        _refuse(
            f"written in schema {schema}, this convscope reads up to {SCHEMA}:"
            f" needs convscope >= {str(body.get('requires', '?'))[:20]}",
            path,
        )
    names = body.get("class_names")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise CheckpointError("class names are absent", code="C12", where=path)
    if body.get("num_classes") != len(names):
        raise CheckpointError(
            f"{body.get('num_classes')} classes but {len(names)} class names",
            code="C12",
            where=path,
        )
    weights = body.get("weights", "model.safetensors")
    if not isinstance(weights, str) or not _FILE_NAME.fullmatch(weights):
        raise CheckpointError(
            f"the weight file is named {weights!r}",
            code="C19",
            where=path,
            expected="a file in the same folder: letters, digits, dot, dash, underscore",
        )
    config = ModelConfig(
        architecture=_text(body, "architecture", path),
        class_names=tuple(names),
        input_shape=_shape(body.get("input_shape"), path),
        mean=_numbers(body, "mean", path),
        std=_numbers(body, "std", path),
        sha256=_text(body, "sha256", path).lower(),
        weights=weights,
        source=_text(body, "source", path),
        extra=body.get("extra") if isinstance(body.get("extra"), dict) else {},  # type: ignore[arg-type]
        origin=body.get("origin") if isinstance(body.get("origin"), dict) else None,
    )
    if config.std is not None and min(config.std) <= 0:
        _refuse(f"std is {config.std}", path)
    signature = body.pop("config_sha256", None)
    if signature is None:
        return config, "has no config_sha256: whether it was edited cannot be checked"
    return config, "" if signature == _digest(body) else "was edited after it was written"


def difference(config: ModelConfig, other: ModelConfig) -> str:
    """The first thing that decides predictions and differs, as a phrase; empty if nothing does.

    Example:
        >>> one = ModelConfig(architecture="a", class_names=("x",), input_shape=(1, 8, 8))
        >>> difference(one, replace(one, mean=(0.5,)))
        'mean is None, the weight file itself says (0.5,)'
    """
    for name in ("architecture", "input_shape", "mean", "std", "class_names"):
        mine, theirs = getattr(config, name), getattr(other, name)
        if mine != theirs:
            return f"{name} is {str(mine)[:60]}, the weight file itself says {str(theirs)[:60]}"
    return ""


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    words = decoded(text, MODEL_CONFIG, where=path)
    try:
        body = loads_json(words, deepest=MODEL_CONFIG.deepest, not_finite=True)
    except json.JSONDecodeError as error:
        if error.pos >= len(words.rstrip()) - 1 or "}" not in words[error.pos :]:
            raise CheckpointError("file incomplete", code="C07", where=path) from error
        _refuse(f"not JSON: {error}", path)
    except ValueError as error:
        _refuse(f"not JSON: {error}", path)
    if not isinstance(body, dict):
        _refuse("not a JSON table", path)
    return body


def _refuse(what: str, path: Path) -> NoReturn:
    raise CheckpointError(what, code="C17", where=path)


def _digest(body: Mapping[str, Any]) -> str:
    as_read = json.loads(json.dumps(body))  # Keys that are numbers become texts and sort as such.
    canonical = json.dumps(as_read, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _text(body: Mapping[str, Any], key: str, path: Path) -> str:
    value = body.get(key, "")
    if not isinstance(value, str):
        _refuse(f"{key} is {value!r}, not a text", path)
    return value


def _shape(value: Any, path: Path) -> tuple[int, int, int]:
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(type(side) is int and 1 <= side <= 16384 for side in value)
    ):
        _refuse(f"input_shape is {value!r}, not [channels, height, width]", path)
    return (value[0], value[1], value[2])


def _numbers(body: Mapping[str, Any], key: str, path: Path) -> tuple[float, ...] | None:
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(
        type(number) in (int, float) and abs(number) < 1e6 for number in value
    ):
        _refuse(f"{key} is {value!r}, not a list of numbers", path)
    channels = body["input_shape"][0]
    if len(value) not in (1, channels):
        _refuse(f"{key} has {len(value)} values for {channels} channels", path)
    return tuple(float(number) for number in value)
