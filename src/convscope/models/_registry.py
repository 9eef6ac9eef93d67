"""What a MODEL can be: networks that are built by name, and adapters of other libraries by prefix.

To add a network: a file with its layers, and its record in `MODELS`. To add an adapter: a file with
a loader ``load(name, about, *, allow_nonfinite) -> Classifier``, and its record in `ADAPTERS`. Help
texts, refusals and ``convscope doctor`` are made from the records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from convscope._registry import Registry, Spec
from convscope.errors import CheckpointError, choose
from convscope.files import usable_path
from convscope.models._shipped import shipped

if TYPE_CHECKING:
    from torch import Generator, nn

    from convscope.classifier import Classifier
    from convscope.models._architecture import Architecture, InputShape


@dataclass(frozen=True)
class ModelSpec(Spec):
    """What `MODELS` knows of a network, for lists and recipes that do not build it.

    Attributes:
        input_shape: Channels, height and width of the images it was made for.
        parameters: Their number with ten classes.
        normalized: Whether it has batch normalization.
        recipe: The family in `convscope.training.RECIPES` whose numbers it is trained with; empty
            for the general ones.
    """

    input_shape: InputShape = (1, 28, 28)
    parameters: int = 0
    normalized: bool = False
    recipe: str = ""

    @property
    def color(self) -> bool:
        """Whether it was made for color images."""
        return self.input_shape[0] == 3


class ModelRegistry(Registry["Architecture", ModelSpec]):
    """`MODELS`: the record of a network that is registered at run time is read off the network."""

    def __setitem__(self, name: str, entry: Architecture | ModelSpec) -> None:
        spec = entry if isinstance(entry, ModelSpec) else ModelSpec(entry)
        if not isinstance(spec.home, str):
            from torch import nn

            outline = spec.home.outline()
            spec = replace(
                spec,
                about=spec.about or spec.home.description,
                input_shape=spec.home.input_shape,
                parameters=sum(parameter.numel() for parameter in outline.parameters()),
                normalized=any(isinstance(m, nn.BatchNorm2d) for m in outline.modules()),
            )
        super().__setitem__(name, spec)


MODELS = ModelRegistry(
    "convscope.models",
    ModelSpec,
    {
        "mnist-conv1": ModelSpec(
            "_mnist:mnist_conv1",
            "32 3x3 filters, ReLU, 2x2 max-pool, logits",
            input_shape=(1, 28, 28),
            parameters=63_050,
            recipe="mnist-conv1",
        ),
        "mnist-conv1-bn": ModelSpec(
            "_mnist:mnist_conv1_bn",
            "32 3x3 filters, ReLU, 2x2 max-pool, logits, batch normalization",
            input_shape=(1, 28, 28),
            parameters=63_114,
            normalized=True,
            recipe="mnist-conv1",
        ),
        "mnist-conv2": ModelSpec(
            "_mnist:mnist_conv2",
            "twice (32 3x3 filters, ReLU, 2x2 max-pool), logits",
            input_shape=(1, 28, 28),
            parameters=25_258,
            recipe="mnist-conv2",
        ),
        "mnist-conv2-bn": ModelSpec(
            "_mnist:mnist_conv2_bn",
            "twice (32 3x3 filters, ReLU, 2x2 max-pool), logits, batch normalization",
            input_shape=(1, 28, 28),
            parameters=25_386,
            normalized=True,
            recipe="mnist-conv2",
        ),
        "mnist-conv2-fc": ModelSpec(
            "_mnist:mnist_conv2_fc",
            "twice (32 3x3 filters, ReLU, 2x2 max-pool), 500 hidden units, logits",
            input_shape=(1, 28, 28),
            parameters=799_078,
            recipe="mnist-conv2-fc",
        ),
        "mnist-conv2-fc-bn": ModelSpec(
            "_mnist:mnist_conv2_fc_bn",
            "twice (32 3x3 filters, ReLU, 2x2 max-pool), 500 hidden units, "
            "logits, batch normalization",
            input_shape=(1, 28, 28),
            parameters=799_206,
            normalized=True,
            recipe="mnist-conv2-fc-bn",
        ),
        "mnist-tiny": ModelSpec(
            "_mnist_best:mnist_tiny",
            "16 5x5 filters with stride 2, 16, 16, 16 3x3 filters, GELU, "
            "3x3 max-pool, logits, batch normalization",
            input_shape=(1, 28, 28),
            parameters=8_890,
            normalized=True,
            recipe="mnist-tiny",
        ),
        "mnist-best": ModelSpec(
            "_mnist_best:mnist_best",
            "32 5x5 filters with stride 2, 32, 64, 64, 64 3x3 filters, GELU, "
            "3x3 max-pool, logits, batch normalization",
            input_shape=(1, 28, 28),
            parameters=108_458,
            normalized=True,
            recipe="mnist-best",
        ),
        "cifar-11x11": ModelSpec(
            "_cifar:cifar_11x11",
            "64 11x11, 128 3x3, 128 3x3 filters without padding, global average, logits",
            input_shape=(3, 32, 32),
            parameters=246_026,
            recipe="cifar-11x11",
        ),
        "cifar-11x11-bn": ModelSpec(
            "_cifar:cifar_11x11_bn",
            "64 11x11, 128 3x3, 128 3x3 filters without padding, global average, "
            "logits, batch normalization",
            input_shape=(3, 32, 32),
            parameters=246_666,
            normalized=True,
            recipe="cifar-11x11-bn",
        ),
        "cifar-11x11-same": ModelSpec(
            "_cifar:cifar_11x11_same",
            "64 11x11, 128 3x3, 128 3x3 filters, zero-padded, global average, logits",
            input_shape=(3, 32, 32),
            parameters=246_026,
        ),
        "cifar-11x11-same-bn": ModelSpec(
            "_cifar:cifar_11x11_same_bn",
            "64 11x11, 128 3x3, 128 3x3 filters, zero-padded, global average, "
            "logits, batch normalization",
            input_shape=(3, 32, 32),
            parameters=246_666,
            normalized=True,
        ),
        "cifar-resnet20": ModelSpec(
            "_cifar:cifar_resnet20",
            "ResNet-20: 3 stages of 3 residual blocks with 16, 32, 64 filters, global average",
            input_shape=(3, 32, 32),
            parameters=269_722,
            normalized=True,
            recipe="cifar-resnet20",
        ),
        "cifar-vgg": ModelSpec(
            "_cifar:cifar_vgg",
            "3 blocks of two 3x3 convolutions with 64, 128, 256 filters, global maximum",
            input_shape=(3, 32, 32),
            parameters=1_148_874,
            normalized=True,
            recipe="cifar-vgg",
        ),
        "cifar-inception": ModelSpec(
            "_cifar_inception:cifar_inception",
            "64 3x3 filters, 4 inception blocks (1x1, 3x3, 5x5, pooling), global average",
            input_shape=(3, 32, 32),
            parameters=340_914,
            normalized=True,
            recipe="cifar-inception",
        ),
        "cifar-best": ModelSpec(
            "_cifar_best:cifar_best",
            "patch whitening, 3 blocks of two 3x3 convolutions with 64, 248, 256 filters, "
            "GELU, global maximum",
            input_shape=(3, 32, 32),
            parameters=1_913_432,
            normalized=True,
            recipe="cifar-best",
        ),
        "cifar-best-quick": ModelSpec(
            "_cifar_best:cifar_best_quick",
            "patch whitening, 3 blocks of two 3x3 convolutions with 64, 128, 128 filters, "
            "ReLU, global maximum",
            input_shape=(3, 32, 32),
            parameters=569_656,
            normalized=True,
            recipe="cifar-best-quick",
        ),
    },
)


TORCH_SUFFIXES = (".pt", ".pth", ".th", ".pt2", ".bin", ".ckpt", ".pkl", ".pickle", ".t7")


def build(
    name: str,
    *,
    num_classes: int = 10,
    input_shape: InputShape | None = None,
    generator: Generator | None = None,
) -> nn.Module:
    """A network of the registry with fresh parameters.

    Args:
        name: A key of `MODELS`.
        num_classes: Number of logits.
        input_shape: Channels, height, width of the images; the architecture's own by default.
        generator: Source of the parameters: the same seed gives the same parameters. ``None``: a
            fresh generator with seed 0; torch's global generator is not used and does not move.

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


def check_shipped(name: str) -> None:
    """Refuse a network of the registry whose weights do not come with the package.

    Raises:
        CheckpointError: C11; the text says how to train it.
    """
    if name not in shipped():
        known = shipped()
        raise CheckpointError(
            f"{name} is a network without shipped weights",
            code="C11",
            expected=f"one of {', '.join(known)}" if known else "no weights are shipped yet",
            hint=f"train it: convscope train {name} --data digits --out runs/{name}",
        )


@dataclass(frozen=True)
class AdapterSpec(Spec):
    """What `ADAPTERS` knows of an adapter; its name is the prefix of the MODELs that it loads.

    Attributes:
        forms: How people write such a MODEL.
        library: The library that it imports.
        install: What to type to get the library.
        describable: Whether weights, size, class names, mean and std may be given from outside; if
            not, the network describes itself.
    """

    forms: tuple[str, ...] = ()
    library: str = ""
    install: str = ""
    describable: bool = True


ADAPTERS: Registry[Callable[..., Classifier], AdapterSpec] = Registry(
    "convscope.models",
    AdapterSpec,
    {
        "hf": AdapterSpec(
            "_hugging_face:load_hugging_face",
            "Image classifiers of transformers, in a folder or on the Hub.",
            forms=("hf:OWNER/NAME", "hf:DIRECTORY"),
            library="transformers",
            install='pip install "convscope[hub]"',
            describable=False,
        ),
        "torchvision": AdapterSpec(
            "_torchvision:load_torchvision",
            "Classifiers of torchvision with their default weights.",
            forms=("torchvision:NAME",),
            library="torchvision",
            install="pip install torchvision",
        ),
        "timm": AdapterSpec(
            "_timm:load_timm",
            "Classifiers of timm with their pretrained weights.",
            forms=("timm:NAME",),
            library="timm",
            install="pip install timm",
        ),
        "onnx": AdapterSpec(
            "_onnx:load_onnx",
            "Image classifiers in ONNX files, as networks of PyTorch layers.",
            forms=("onnx:FILE",),
            library="onnx",
            install='pip install "convscope[onnx]"',
        ),
        "keras": AdapterSpec(
            "_keras:load_keras",
            "Image classifiers of Keras 3, on its PyTorch backend.",
            forms=("keras:FILE.keras",),
            library="keras",
            install="pip install keras",
        ),
        "torchscript": AdapterSpec(
            "_programs:load_torchscript",
            "Programs of torch.jit.save, if you trust who made them.",
            forms=("torchscript:FILE",),
        ),
        "export": AdapterSpec(
            "_programs:load_exported",
            "Programs of torch.export.save: checked for arithmetic on tensors only.",
            forms=("export:FILE",),
        ),
        "python": AdapterSpec(
            "_function:load_function",
            "Functions of your own that only answer: black boxes.",
            forms=("python:module:function",),
        ),
    },
)
FACTORY = "package.module:factory"


def adapter_forms(*, describable: bool = False) -> tuple[str, ...]:
    """How people write the MODELs of all adapters, or of those that take a description.

    Example:
        >>> adapter_forms(describable=True)[:2]
        ('torchvision:NAME', 'timm:NAME')
    """
    specs = ADAPTERS.specs().values()
    return tuple(form for s in specs if s.describable or not describable for form in s.forms)


def model_forms() -> str:
    """What a MODEL can be, in words.

    Example:
        >>> model_forms().split(", ")[2:4], model_forms().rpartition(" or ")[2]
        (['a network with shipped weights', 'hf:OWNER/NAME'], 'package.module:factory')
    """
    own = ("a run folder", "a .safetensors file", "a network with shipped weights")
    return f"{', '.join((*own, *adapter_forms()))} or {FACTORY}"


def check_model_name(spec: str | Path) -> None:
    """Refuse what can only be a typo: no file, no folder, no name and no prefix of `load`.

    Raises:
        CheckpointError: C11, with the closest names, or how to train a network without weights.
    """
    text = str(spec)
    path = usable_path(spec, CheckpointError)
    prefix, colon, _ = text.partition(":")
    if text in MODELS and not path.exists():
        check_shipped(text)
    if text in MODELS or text in shipped() or path.exists():
        return
    if path.suffix in (".safetensors", *TORCH_SUFFIXES):
        return
    if colon and text != f"{prefix}:" and "/" not in prefix:
        return
    raise unknown_model(text)


def unknown_model(text: str) -> CheckpointError:
    """The refusal of a MODEL that is nothing."""
    near = get_close_matches(text, [*MODELS, *shipped()], n=2, cutoff=0.6)
    return CheckpointError(
        f"no model {text!r}",
        code="C11",
        expected=model_forms(),
        hint=f"did you mean {' or '.join(near)}?" if near else "convscope models list",
    )


@dataclass(frozen=True)
class ExportSpec(Spec):
    """What `EXPORTS` knows of a format; its home writes a file or folder that is not there yet.

    Attributes:
        ending: Of the file; empty for a folder.
        library: What it needs.
        install: How to get that.
    """

    ending: str = ""
    library: str = ""
    install: str = ""


EXPORTS: Registry[Callable[..., str | None], ExportSpec] = Registry(
    "convscope.models",
    ExportSpec,
    {
        "onnx": ExportSpec(
            "_export:to_onnx",
            "An ONNX file from pixels to logits, mean and std inside.",
            ending=".onnx",
            library="onnxscript",
            install='pip install "convscope[onnx]"',
        ),
        "safetensors": ExportSpec(
            "_export:to_safetensors",
            "The weights, bit by bit; classes, size, mean and std in the header.",
            ending=".safetensors",
        ),
        "hf": ExportSpec(
            "_export:to_hugging_face",
            "A folder of transformers, for networks of transformers.",
            library="transformers",
            install='pip install "convscope[hub]"',
        ),
        "torch-export": ExportSpec(
            "_export:to_torch_export",
            "A program of torch.export from pixels to logits, mean and std inside.",
            ending=".pt2",
        ),
    },
)
