"""The one way from a MODEL as users write it to a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.devices import resolve_device
from convscope.errors import CheckpointError, UsageError
from convscope.files import usable_path
from convscope.models._description import Description
from convscope.models._factory import load_factory
from convscope.models._fine_tuned import is_fine_tuned, load_onto
from convscope.models._registry import (
    ADAPTERS,
    FACTORY,
    MODELS,
    TORCH_SUFFIXES,
    adapter_forms,
    check_shipped,
    unknown_model,
)
from convscope.models._shipped import damaged, shipped, shipped_config, shipped_path
from convscope.models._weights import load_file, load_folder


def load(
    spec: str | Path,
    *,
    allow_nonfinite: bool = False,
    weights: str | Path | None = None,
    input_shape: Sequence[int] | None = None,
    class_names: Sequence[str] | str | Path | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    module: nn.Module | Classifier | None = None,
    device: str | torch.device = "cpu",
) -> Classifier:
    """A classifier from wherever it is.

    Nothing from a file is ever executed, and no network loads half: a file that is cut, damaged,
    hostile or made for another network is refused with a sentence.

    Args:
        spec: In this order:

            - a prefix of `ADAPTERS`, such as ``hf:DIRECTORY``, ``hf:OWNER/NAME``,
              ``torchvision:NAME``, ``timm:NAME``: when that library is installed;
            - a folder that ``convscope train`` wrote, or a ``.safetensors`` file (a foreign
              ``.pt`` state_dict is read too, after many checks);
            - a name of `shipped` weights;
            - ``package.module:factory``: your own code, which is imported and run.
        allow_nonfinite: Load weights with NaN or infinity, to look at them.
        weights: With ``package.module:factory``, ``timm:NAME`` and other adapters that are
            describable: a file with the state_dict, ``.safetensors`` or ``.pt``; it must fit
            exactly. Or the folder of a run that trained this network further.
        input_shape: With these: channels, height and width, where the code does not say them.
        class_names: Likewise: one name per logit, or a file with one per line.
        mean: Likewise: per channel, for pixels in [0, 1].
        std: Likewise.
        module: With the folder of a run that trained a network in memory further: that network. It
            is copied, not changed.
        device: Where its weights are put: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or
            ``"auto"``. Images may stay on the CPU; methods take what they need to the network.

    Returns:
        The classifier, in evaluation mode, with its normalization; ``source`` says where it came
        from and ``flags`` what is odd about it.

    Raises:
        CheckpointError: C01 to C19, each with what to do (`convscope.error_codes`).
        NumericalError: C13, NaN or infinity in the weights.
        UsageError: A library that the spec needs is missing.
        ResourceError: Nothing can be read or fetched; T27, the device is not there.

    Example:
        >>> import tempfile, torch
        >>> from convscope.models import build, load, save_model
        >>> net = build("mnist-conv1", generator=torch.Generator().manual_seed(0))
        >>> folder = save_model(
        ...     tempfile.mkdtemp(), module=net, architecture="mnist-conv1",
        ...     class_names=[str(digit) for digit in range(10)], input_shape=(1, 28, 28),
        ... )
        >>> load(folder).predict(torch.zeros(2, 1, 28, 28), top=1).labels.shape
        torch.Size([2, 1])
    """
    place = resolve_device(device)
    about = Description.of(
        weights=weights, input_shape=input_shape, class_names=class_names, mean=mean, std=std
    )
    found = _found(spec, about, module, allow_nonfinite=allow_nonfinite)
    if found.device != place:
        found.module.to(place)
        if found.device.type != place.type:
            flag = f"it stays on the CPU: nothing of it can be moved to {place}"
            return replace(found, flags=(*found.flags, flag))
    return found


def _found(
    spec: str | Path,
    about: Description,
    module: nn.Module | Classifier | None,
    *,
    allow_nonfinite: bool,
) -> Classifier:
    """The classifier, where it was made."""
    text = str(spec)
    prefix, _, rest = text.partition(":")
    path = usable_path(spec, CheckpointError)
    if module is not None:
        _refuse_description(about, text)
        base = module if isinstance(module, Classifier) else _bare(module)
        return load_onto(path, base, allow_nonfinite=allow_nonfinite)
    if about.weights is not None and rest and is_fine_tuned(about.weights):
        base = load(
            text,
            input_shape=about.input_shape,
            class_names=about.class_names,
            mean=about.mean,
            std=about.std,
        )
        return load_onto(about.weights, base, allow_nonfinite=allow_nonfinite)
    if prefix in ADAPTERS and rest:
        if not ADAPTERS.spec(prefix).describable:
            _refuse_description(about, text)
        return ADAPTERS[prefix](rest, about, allow_nonfinite=allow_nonfinite)
    names_code = rest and all(part.isidentifier() for part in (*prefix.split("."), rest))
    if names_code and (about or not path.exists()):
        return load_factory(text, about, allow_nonfinite=allow_nonfinite)
    if about and path.exists() and not path.is_dir():
        return _described(load_file(path, allow_nonfinite=allow_nonfinite), about, text)
    _refuse_description(about, text)
    named = text in MODELS or text in shipped()
    if path.is_dir() and (not named or (path / "config.json").is_file()):
        return load_folder(path, allow_nonfinite=allow_nonfinite)
    if named:
        return _load_shipped(text, allow_nonfinite=allow_nonfinite)
    if path.exists() or path.suffix in (".safetensors", *TORCH_SUFFIXES):
        return load_file(path, allow_nonfinite=allow_nonfinite)
    raise unknown_model(text)


def _bare(module: nn.Module) -> Classifier:
    """A network whose description is in the folder of a run."""
    return Classifier(module=module, class_names=("?",), input_shape=(1, 1, 1))


def _load_shipped(name: str, *, allow_nonfinite: bool = False) -> Classifier:
    """A network with weights of this package, which are checked against their SHA-256.

    Raises:
        CheckpointError: C11, there are none; the text says how to train it. Others: they are not
            as they were shipped.
    """
    check_shipped(name)
    shipped_config(name)
    path = shipped_path(name)
    try:
        loaded = load_file(path, allow_nonfinite=allow_nonfinite)
    except CheckpointError as error:
        raise damaged(error) from None
    # Where the package is installed says nothing about the network.
    return replace(loaded, source=loaded.source.replace(f"({path}, ", "(shipped, "))


def _described(loaded: Classifier, about: Description, text: str) -> Classifier:
    """Weights of a registered network that came without a description, with one."""
    undescribed = [flag for flag in loaded.flags if flag.startswith("no description")]
    if about.weights is not None or not undescribed:
        _refuse_description(about, text)
    names = about.class_names or loaded.class_names
    if len(names) != loaded.num_classes:
        raise CheckpointError(
            f"the weights are for {loaded.num_classes} classes, {len(names)} are named",
            code="C12",
            where=text,
        )
    return replace(
        loaded,
        class_names=names,
        input_shape=about.input_shape or loaded.input_shape,
        mean=about.mean,
        std=about.std,
        flags=tuple(flag for flag in loaded.flags if flag not in undescribed),
    )


def _refuse_description(about: Description, text: str) -> None:
    if about:
        raise UsageError(
            f"{text} describes itself: it takes no other weights, size, names, mean or std",
            code="U11",
            expected=f"{', '.join((FACTORY, *adapter_forms(describable=True)))}, or a weight file "
            "of a registered network without a description, with these options",
        )
