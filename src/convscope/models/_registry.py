"""Every network that can be built by name.

The dictionary lives here, not in the package's ``__init__``, because saving and loading look
networks up in it. To add one: a file with its layers, a line in each of the two tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from convscope._registry import Registry, Spec
from convscope.errors import CheckpointError, choose
from convscope.files import usable_path

if TYPE_CHECKING:
    from torch import Generator, nn

    from convscope.models._architecture import Architecture, InputShape


@dataclass(frozen=True)
class ModelSpec(Spec):
    """What `MODELS` knows of a network."""


MODELS: Registry[Architecture, ModelSpec] = Registry(
    "convscope.models",
    ModelSpec,
    {
        "mnist-conv1": ModelSpec(
            "_mnist:mnist_conv1",
            "32 3x3 filters, ReLU, 2x2 max-pool, logits",
        ),
        "mnist-conv1-bn": ModelSpec(
            "_mnist:mnist_conv1_bn",
            "32 3x3 filters, ReLU, 2x2 max-pool, logits, batch normalization",
        ),
        "mnist-conv2": ModelSpec(
            "_mnist:mnist_conv2",
            "twice (32 3x3 filters, ReLU, 2x2 max-pool), logits",
        ),
        "mnist-conv2-bn": ModelSpec(
            "_mnist:mnist_conv2_bn",
            "twice (32 3x3 filters, ReLU, 2x2 max-pool), logits, batch normalization",
        ),
        "mnist-conv2-fc": ModelSpec(
            "_mnist:mnist_conv2_fc",
            "twice (32 3x3 filters, ReLU, 2x2 max-pool), 500 hidden units, logits",
        ),
        "mnist-conv2-fc-bn": ModelSpec(
            "_mnist:mnist_conv2_fc_bn",
            "twice (32 3x3 filters, ReLU, 2x2 max-pool), 500 hidden units, "
            "logits, batch normalization",
        ),
        "cifar-11x11": ModelSpec(
            "_cifar:cifar_11x11",
            "64 11x11, 128 3x3, 128 3x3 filters without padding, global average, logits",
        ),
        "cifar-11x11-bn": ModelSpec(
            "_cifar:cifar_11x11_bn",
            "64 11x11, 128 3x3, 128 3x3 filters without padding, global average, "
            "logits, batch normalization",
        ),
        "cifar-11x11-same": ModelSpec(
            "_cifar:cifar_11x11_same",
            "64 11x11, 128 3x3, 128 3x3 filters, zero-padded, global average, logits",
        ),
        "cifar-11x11-same-bn": ModelSpec(
            "_cifar:cifar_11x11_same_bn",
            "64 11x11, 128 3x3, 128 3x3 filters, zero-padded, global average, "
            "logits, batch normalization",
        ),
        "cifar-resnet20": ModelSpec(
            "_cifar:cifar_resnet20",
            "ResNet-20: 3 stages of 3 residual blocks with 16, 32, 64 filters, global average",
        ),
        "cifar-vgg": ModelSpec(
            "_cifar:cifar_vgg",
            "3 blocks of two 3x3 convolutions with 64, 128, 256 filters, global maximum",
        ),
    },
)


SIZES: dict[str, tuple[InputShape, int]] = {
    "mnist-conv1": ((1, 28, 28), 63_050),
    "mnist-conv1-bn": ((1, 28, 28), 63_114),
    "mnist-conv2": ((1, 28, 28), 25_258),
    "mnist-conv2-bn": ((1, 28, 28), 25_386),
    "mnist-conv2-fc": ((1, 28, 28), 799_078),
    "mnist-conv2-fc-bn": ((1, 28, 28), 799_206),
    "cifar-11x11": ((3, 32, 32), 246_026),
    "cifar-11x11-bn": ((3, 32, 32), 246_666),
    "cifar-11x11-same": ((3, 32, 32), 246_026),
    "cifar-11x11-same-bn": ((3, 32, 32), 246_666),
    "cifar-resnet20": ((3, 32, 32), 269_722),
    "cifar-vgg": ((3, 32, 32), 1_148_874),
}
"""Images and parameters of each network with ten classes, for lists that do not build them."""

FORMS = (
    "a run folder, a .safetensors file, a network with shipped weights, hf:OWNER/NAME,"
    " hf:DIRECTORY, torchvision:NAME, timm:NAME or package.module:factory"
)
TORCH_SUFFIXES = (".pt", ".pth", ".th", ".pt2", ".bin", ".ckpt", ".pkl", ".pickle", ".t7")


def build(
    name: str,
    *,
    num_classes: int = 10,
    input_shape: InputShape | None = None,
    generator: Generator | None = None,
) -> nn.Module:
    """A network of the registry with fresh weights.

    Args:
        name: A key of `MODELS`.
        num_classes: Number of logits.
        input_shape: Channels, height, width of the images; the architecture's own by default.
        generator: Source of the weights: the same seed gives the same weights. ``None`` is torch's
            global generator.

    Returns:
        A module in training mode, ``(batch, *input_shape)`` to ``(batch, num_classes)``.

    Raises:
        UsageError: Unknown name, or images too small for the network.

    Example:
        >>> import torch
        >>> net = build("mnist-conv2-fc", generator=torch.Generator().manual_seed(0))
        >>> sum(p.numel() for p in net.parameters())
        799078
        >>> [name for name, _ in net.named_children()][:4]
        ['conv1', 'relu1', 'pool1', 'conv2']
    """
    architecture = MODELS[choose("network", name, MODELS)]
    return architecture.build(num_classes, input_shape, generator=generator)


def check_model_name(spec: str | Path) -> None:
    """Refuse what can only be a typo: no file, no folder, no name and no prefix of `load`.

    Raises:
        CheckpointError: C11, with the closest names, or how to train a network without weights.
    """
    from convscope.models._shipped import check_shipped

    text = str(spec)
    path = usable_path(spec, CheckpointError)
    prefix, colon, _ = text.partition(":")
    if text in MODELS and not path.exists():
        check_shipped(text)
    if text in MODELS or path.exists() or path.suffix in (".safetensors", *TORCH_SUFFIXES):
        return
    if colon and text != f"{prefix}:" and "/" not in prefix:
        return
    raise unknown_model(text)


def unknown_model(text: str) -> CheckpointError:
    """The refusal of a MODEL that is nothing."""
    near = get_close_matches(text, MODELS, n=2, cutoff=0.6)
    return CheckpointError(
        f"no model {text!r}",
        code="C11",
        expected=FORMS,
        hint=f"did you mean {' or '.join(near)}?" if near else "convscope models list",
    )
