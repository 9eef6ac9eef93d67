"""Adapters: loaders of networks of other libraries, by the prefix of a MODEL.

To add one: a file with a loader ``load(name, about, *, allow_nonfinite) -> Classifier``, and its
record here. Help texts, refusals and ``convscope doctor`` are made from the records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convscope._registry import Registry, Spec

if TYPE_CHECKING:
    from convscope.classifier import Classifier


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
    },
)
FACTORY = "package.module:factory"


def adapter_forms(*, describable: bool = False) -> tuple[str, ...]:
    """How people write the MODELs of all adapters, or of those that take a description.

    Example:
        >>> adapter_forms(describable=True)
        ('torchvision:NAME', 'timm:NAME')
    """
    specs = ADAPTERS.specs().values()
    return tuple(form for s in specs if s.describable or not describable for form in s.forms)


def model_forms() -> str:
    """What a MODEL can be, in words.

    Example:
        >>> model_forms().split(", ")[2:4], model_forms().split(", ")[-1]
        (['a network with shipped weights', 'hf:OWNER/NAME'], 'timm:NAME or package.module:factory')
    """
    own = ("a run folder", "a .safetensors file", "a network with shipped weights")
    return f"{', '.join((*own, *adapter_forms()))} or {FACTORY}"
