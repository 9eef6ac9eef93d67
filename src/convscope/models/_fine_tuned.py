"""Networks of other people that were trained further: run folders, and the way back from them.

A description is data. Layers come from this package or from transformers, timm and torchvision; a
network that is made by code of the user's, or lives in memory only, is asked for: no file names
code that is then run.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope._network.frozen_copy import frozen_copy
from convscope.classifier import Classifier
from convscope.errors import CheckpointError, ConvscopeError, UsageError, choose
from convscope.files import MODEL_CONFIG, read_bytes, write_durably
from convscope.models._config import ModelConfig, parse_config
from convscope.models._hugging_face import pick_logits
from convscope.models._libraries import require
from convscope.models._matching import compare_keys, fit_all, shapes_of
from convscope.models._processor import flip_channels
from convscope.models._registry import MODELS
from convscope.models._safetensors import read_tensors, read_whole, replace_durably, write_tensors
from convscope.resizing import Resize

REGISTERED, MEMORY, NAMED = "registered", "memory", "named"
BUILT = ("hf", "timm", "torchvision")
"""Kinds whose layers are made by a library from a name or a table of settings."""

SAME = 1e-4
"""Largest difference of logits between a network and its rebuild, as a share of the largest one."""

NEVER_KEPT = ("auto_map", "_name_or_path", "quantization_config", "_attn_implementation")
"""Entries of a transformers config that name code, places or other files."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a network was before it was trained further.

    Attributes:
        kind: ``"registered"`` (a network of `MODELS`), ``"hf"``, ``"timm"`` or ``"torchvision"``
            (made by that library, from a name or settings), ``"named"`` (whatever else a MODEL can
            be: the user has to name it again) or ``"memory"`` (a module that somebody held).
        name: Its name there, the MODEL, or for ``"memory"`` the name of its class.
        heads: The layers that were made anew for other classes.
        config: For ``"hf"``, the table of settings that transformers builds it from.
        flipped: Whether it takes blue, green, red.
        resize: How image files are brought to its size.
    """

    kind: str
    name: str
    heads: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    flipped: bool = False
    resize: Resize | None = None

    def to_table(self) -> dict[str, Any]:
        """What config.json keeps."""
        resize = None if self.resize is None else vars(self.resize)
        return {
            "kind": self.kind,
            "name": self.name,
            "heads": list(self.heads),
            "config": dict(self.config),
            "flipped": self.flipped,
            "resize": resize,
        }

    @classmethod
    def from_table(cls, table: Mapping[str, Any], path: Path) -> Origin:
        """What `to_table` gave.

        Raises:
            CheckpointError: C17, it is something else.
        """
        kinds = {"kind": str, "name": str, "heads": list, "config": dict, "flipped": bool}
        for name, kind in kinds.items():
            if not isinstance(table.get(name), kind):
                raise _damaged(f"origin has no {name}", path)
        if not all(isinstance(name, str) for name in table["heads"]):
            raise _damaged("origin names heads that are no texts", path)
        try:
            resize = _resize(table.get("resize"))
        except (TypeError, ConvscopeError) as error:
            raise _damaged(f"resize cannot be used ({error})", path) from None
        return cls(
            kind=table["kind"],
            name=table["name"],
            heads=tuple(table["heads"]),
            config=table["config"],
            flipped=table["flipped"],
            resize=resize,
        )


def _resize(table: Any) -> Resize | None:
    if table is None:
        return None
    values: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in table.items()
    }
    return Resize(**values)


def _damaged(what: str, path: Path) -> CheckpointError:
    return CheckpointError(what, code="C17", where=path)


def origin_of(classifier: Classifier, spec: str = "") -> Origin:
    """What a classifier is made from, as far as it can be told.

    Args:
        classifier: The classifier, as it was loaded or wrapped.
        spec: The MODEL that it was loaded as; empty for one that was made in Python.
    """
    module = classifier.module
    facts: dict[str, Any] = {
        "flipped": classifier.preprocess is flip_channels,
        "resize": classifier.resize,
    }
    settings: Any = getattr(module, "config", None)
    if type(module).__module__.startswith("transformers.") and hasattr(settings, "to_dict"):
        config = {key: v for key, v in settings.to_dict().items() if key not in NEVER_KEPT}
        origin = Origin(kind="hf", name=str(settings.model_type), config=config, **facts)
        return _checked(origin, classifier, spec)
    recorded = _described(Path(spec)) if spec and len(spec) < 4096 else None
    if recorded is not None and recorded.origin is not None:
        return replace(Origin.from_table(recorded.origin, Path(spec)), **facts)
    name = _registered(classifier)
    if name:
        return Origin(kind=REGISTERED, name=name, **facts)
    prefix, _, rest = spec.partition(":")
    if prefix in BUILT and rest:
        return _checked(Origin(kind=prefix, name=rest, **facts), classifier, spec)
    if spec:
        return Origin(kind=NAMED, name=spec, **facts)
    return Origin(kind=MEMORY, name=type(module).__name__, **facts)


def _checked(origin: Origin, classifier: Classifier, spec: str) -> Origin:
    """`origin`, if the network that is built from it does what the network at hand does."""
    try:
        rebuilt = _build(origin, Path(spec))
    except (ConvscopeError, RuntimeError):
        rebuilt = nn.Identity()
    if _is_twin(rebuilt, classifier):
        return origin
    if spec:
        return replace(origin, kind=NAMED, name=spec, config={})
    return replace(origin, kind=MEMORY, name=type(classifier.module).__name__, config={})


@torch.no_grad()
def _is_twin(rebuilt: nn.Module, classifier: Classifier) -> bool:
    """Whether `rebuilt`, given the weights of the classifier's network, has its logits."""
    shape = (2, *classifier.input_shape)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    twin = replace(classifier, module=rebuilt.to(classifier.device, classifier.dtype).eval())
    ours = replace(classifier, module=frozen_copy(classifier.module))
    try:
        rebuilt.load_state_dict(classifier.module.state_dict())
        wanted, found = (one.logits(images).float() for one in (ours, twin))
    except (ConvscopeError, RuntimeError):
        return False
    return bool((wanted - found).abs().max() <= SAME * wanted.abs().max())


def _registered(classifier: Classifier) -> str:
    """The name of a network of `MODELS`, if the classifier's is one."""
    module = classifier.module
    if not type(module).__module__.startswith(("convscope.", "torch.nn.")):
        return ""
    shapes = shapes_of(module.state_dict())
    for name, architecture in MODELS.items():
        try:
            outline = architecture.outline(classifier.num_classes, classifier.input_shape)
        except (UsageError, RuntimeError):
            continue
        if type(outline) is not type(module) or compare_keys(
            shapes, shapes_of(outline.state_dict())
        ):
            continue
        if _is_twin(architecture.build(classifier.num_classes, classifier.input_shape), classifier):
            return name
    return ""


def _described(path: Path) -> ModelConfig | None:
    """The config of a run folder, or of a weight file in one."""
    try:
        described = path / "config.json" if path.is_dir() else path.with_name("config.json")
        if path.suffix not in ("", ".safetensors") and not path.is_dir():
            return None
        config, _ = parse_config(read_bytes(described, MODEL_CONFIG), described)
    except (ConvscopeError, OSError, ValueError):
        return None
    return config if path.is_dir() or config.weights == path.name else None


def is_fine_tuned(path: Path | None) -> bool:
    """Whether a folder or weight file holds a network that was trained further from another."""
    config = None if path is None else _described(path)
    return config is not None and config.origin is not None


def new_head(layer: nn.Module, classes: int) -> None:
    """Give a dense layer or convolution room for `classes` rows of weights."""
    for name in ("weight", "bias"):
        old = layer._parameters.get(name)
        if old is not None:
            setattr(layer, name, nn.Parameter(old.new_zeros(classes, *old.shape[1:])))
    setattr(layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", classes)


def relabel(module: nn.Module, class_names: Sequence[str]) -> None:
    """Let a transformers network know its classes, in a config of its own."""
    settings = getattr(module, "config", None)
    if type(module).__module__.startswith("transformers.") and settings is not None:
        known: Any = copy.deepcopy(settings)
        known.id2label = dict(enumerate(class_names))
        known.label2id = {name: index for index, name in enumerate(class_names)}
        module.config = known
        if hasattr(module, "num_labels"):
            setattr(module, "num_labels", len(class_names))  # noqa: B010


def save_fine_tuned(
    folder: Path,
    *,
    module: nn.Module,
    origin: Origin,
    class_names: Sequence[str],
    input_shape: tuple[int, int, int],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    source: str,
) -> Path:
    """Write ``model.safetensors`` and ``config.json``, as `save_model` does for its networks.

    Args:
        folder: Where; it exists.
        module: The network with its new head.
        origin: What it was made from.
        class_names: One per logit.
        input_shape: Channels, height, width.
        mean: Per channel, subtracted from pixels in [0, 1].
        std: Per channel, the divisor.
        source: A sentence on how the weights came about.
    """
    config = ModelConfig(
        architecture=f"{origin.kind}:{origin.name}",
        class_names=tuple(class_names),
        input_shape=input_shape,
        mean=None if mean is None else tuple(map(float, mean)),
        std=None if std is None else tuple(map(float, std)),
        source=source,
        origin=origin.to_table(),
    )
    data = write_tensors(module.state_dict(), {"convscope": config.to_json()})
    config = config.with_checksum(hashlib.sha256(data).hexdigest())
    for name, content in ((config.weights, data), ("config.json", config.to_json().encode())):
        write_durably(folder / f"{name}.new", content)
        replace_durably(folder / f"{name}.new", folder / name)
    return folder


def load_fine_tuned(
    path: Path, config: ModelConfig, *, base: Classifier | None = None, allow_nonfinite: bool
) -> Classifier:
    """The classifier of a run that trained somebody's network further.

    Args:
        path: The weight file.
        config: Its description.
        base: The network that the run began with, for origins that cannot be built here.
        allow_nonfinite: Let NaN and infinity pass.

    Raises:
        CheckpointError: C11, the network has to be named or given; C10 to C19 for damage.
        UsageError: A library is missing.
    """
    origin = Origin.from_table(config.origin or {}, path)
    output: Callable[..., Any] | None
    if base is not None:
        module = frozen_copy(base.module).requires_grad_(True).eval()
        output, preprocess, probabilities = base.output, base.preprocess, base.probabilities
    else:
        module = _build(origin, path)
        output, probabilities = pick_logits if origin.kind == "hf" else None, False
        preprocess = flip_channels if origin.flipped else None
    known = dict(module.named_modules())
    for name in origin.heads:
        if not isinstance(known.get(name), nn.Linear | nn.Conv2d):
            raise CheckpointError(
                f"the network has no dense layer {name!r}", code="C10", where=path
            )
        new_head(known[name], len(config.class_names))
    relabel(module, config.class_names)
    if base is not None or origin.kind != REGISTERED:
        module.float()
    data = read_whole(path)
    digest = hashlib.sha256(data).hexdigest()
    if config.sha256 not in ("", digest):
        raise CheckpointError(
            f"damaged or from another run: its SHA-256 is {digest[:12]}..., the config says "
            f"{config.sha256[:12]}...",
            code="C08",
            where=path,
            hint="copy the whole folder again; nothing was loaded",
        )
    tensors, wanted = read_tensors(data, path).tensors, module.state_dict()
    table = compare_keys(shapes_of(tensors), shapes_of(wanted))
    if table:
        error = CheckpointError(
            f"not the weights of this {type(module).__name__}: {table.sentence()}",
            code="C10",
            where=path,
            hint="give the network that the run began with, in the same version",
        )
        error.add_note(str(table))
        raise error
    ready, odd = fit_all(tensors, wanted, path=path, allow_nonfinite=allow_nonfinite)
    with torch.no_grad():
        module.load_state_dict(ready, strict=True)
    return Classifier(
        module=module.eval(),
        class_names=config.class_names,
        input_shape=config.input_shape,
        mean=config.mean,
        std=config.std,
        preprocess=preprocess,
        output=output,
        probabilities=probabilities,
        source=f"{config.source or config.architecture} ({path}, sha256 {digest[:12]})",
        flags=odd,
        resize=origin.resize,
    )


def load_onto(path: Path, base: Classifier, *, allow_nonfinite: bool = False) -> Classifier:
    """The weights of a run in the network that it began with.

    Args:
        path: The run folder, or its weight file.
        base: The network; it is copied, not changed.
        allow_nonfinite: Let NaN and infinity pass.

    Raises:
        CheckpointError: The folder holds no such run, or one of another network.
    """
    config = _described(path)
    if config is None or config.origin is None:
        raise CheckpointError(
            "no network that was trained further", code="C11", where=path, expected="a run folder"
        )
    weights = path / config.weights if path.is_dir() else path
    return load_fine_tuned(weights, config, base=base, allow_nonfinite=allow_nonfinite)


def _build(origin: Origin, path: Path) -> nn.Module:
    """The layers of a network with whatever weights, in its first number of classes."""
    if origin.kind in BUILT:
        with torch.random.fork_rng(devices=[]):
            return _built(origin, path)
    if origin.kind == MEMORY:
        raise CheckpointError(
            f"the network was a {origin.name} in memory, which no file can make",
            code="C11",
            where=path,
            hint="convscope.models.load(FOLDER, module=...), with the network that it began with; "
            "or package.module:factory --weights FOLDER",
        )
    raise CheckpointError(
        f"the network began as {origin.name}; no file makes convscope run code of others",
        code="C11",
        where=path,
        hint=f"name it yourself, if you trust it: {origin.name} --weights {path.parent}",
    )


def _built(origin: Origin, path: Path) -> nn.Module:
    if origin.kind == "hf":
        return _build_transformers(origin.config, path)
    library = require(origin.kind)
    module: nn.Module
    if origin.kind == "timm":
        choose("timm network", origin.name.partition(".")[0], library.list_models())
        module = library.create_model(origin.name, pretrained=False)
    else:
        known = library.models.list_models(module=library.models)
        choose("torchvision network", origin.name, known)
        module = library.models.get_model(origin.name, weights=None)
    return module


def _build_transformers(config: Mapping[str, Any], path: Path) -> nn.Module:
    library = require("hf")
    table = {key: value for key, value in config.items() if key not in NEVER_KEPT}
    if "use_pretrained_backbone" in table:
        table["use_pretrained_backbone"] = False
    kind = table.pop("model_type", "")
    try:
        settings = library.AutoConfig.for_model(kind, **table)
        module: nn.Module = library.AutoModelForImageClassification.from_config(
            settings, trust_remote_code=False
        )
    except Exception as error:
        raise CheckpointError(
            f"transformers cannot build it: {' '.join(str(error).split())}",
            code="C11",
            where=path,
            hint="use the version of transformers that it was trained with, or a newer one",
        ) from error
    return module
