"""One network of every family of torchvision, with random parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

SIDE = 96
NAMES = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vgg11_bn",
    "vit_b_16",
    "vit_b_32",
    "wide_resnet50_2",
    "maxvit_t",
]
OWN_SIZE = {"vit_b_16": 224, "vit_b_32": 224, "maxvit_t": 224}


def networks() -> Iterator[tuple[str, Callable[[], nn.Module], int]]:
    """Name, how it is built, side in pixels."""
    from torchvision import models

    for name in NAMES:
        aux = (
            {"aux_logits": False, "init_weights": True}
            if name in ("googlenet", "inception_v3")
            else {}
        )

        def build(name=name, aux=aux) -> nn.Module:
            return models.get_model(name, weights=None, num_classes=10, **aux)

        yield f"torchvision {name}", build, OWN_SIZE.get(name, SIDE)
