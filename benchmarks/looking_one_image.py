"""Every explanation of one image, against plain torch in four to eight lines.

    python benchmarks/looking_one_image.py [--hub FOLDER --photo FILE] [--repeats 15] [--only TITLE]

One thread, contestants in turns, the same maps. What a call costs beside the passes through the
network (copying it, checking images and classes, building the result) shows here only.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from peers import torch_grad_cam, torch_occlusion, torch_saliency
from record import interleaved, record, times_faster
from torch import Tensor, nn

import convscope
from convscope.classifier import Classifier
from convscope.data import select_images
from convscope.explanations import (
    grad_cam,
    hires_cam,
    input_times_gradient,
    integrated_gradients,
    layer_cam,
    occlusion,
    rise,
    saliency,
    smooth_grad,
)

Contestants = dict[str, Callable[[], Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hub", help="folder of an image classifier in transformers' format")
    parser.add_argument("--photo", help="a photo for it")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", default="", help="rows whose title contains this")
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    small = convscope.load("mnist-conv2-fc")
    digit = select_images(["digits:test/7"], like=small).images
    cases: list[tuple[str, Classifier, Tensor, str, Sequence[int], int, int]] = [
        ("mnist-conv2-fc, 28 px, 10 classes", small, digit, "relu2", range(10), 12, 4),
    ]
    if options.hub:
        large = convscope.load(f"hf:{options.hub}")
        photo = select_images([options.photo], like=large).images
        layer = grad_cam(large, photo).layer
        assert layer is not None
        with torch.no_grad():
            own = [int(large.logits(photo).argmax())]
        cases.append(("MobileNetV2, 224 px, one class", large, photo, layer, own, 32, 16))
    figures: dict[str, Any] = {}
    for words, classifier, image, layer, classes, window, stride in cases:
        classifier.module.requires_grad_(False)
        rows = contestants(classifier, image, layer, classes, window, stride)
        for name, both in rows.items():
            title = f"{name}, {words}"
            if options.only not in title:
                continue
            maps = [run() for run in both.values()]
            slow = name in ("occlusion", "RISE", "SmoothGrad", "integrated gradients")
            repeats = max(3, options.repeats // 3) if slow else options.repeats
            times = interleaved(both, repeats=repeats)
            figures[title] = {
                "plain torch / ours": times_faster(times, "convscope")["torch"],
                "largest difference": float((maps[0] - maps[1]).abs().max()),
                "largest value": float(maps[1].abs().max()),
                "milliseconds": {k: round(1e3 * t["cpu_seconds"], 2) for k, t in times.items()},
            }
            print(title, figures[title], flush=True)
    if not options.dry:
        record(
            "looking_one_image", figures, peers=("transformers",), threads=1,
            repeats=options.repeats, ratio="CPU time of plain torch by ours, turn by turn",
        )  # fmt: skip


def contestants(
    classifier: Classifier,
    x: Tensor,
    layer: str,
    classes: Sequence[int],
    window: int,
    stride: int,
) -> dict[str, Contestants]:
    """Ours beside plain torch, by method."""
    asked: Any = "all" if len(classes) == classifier.num_classes else torch.tensor(classes)
    at = classifier.module.get_submodule(layer)
    rows = 128 if x.shape[-1] < 100 else 4

    def gradients(images: Tensor) -> list[Tensor]:
        images = images.clone().requires_grad_(True)
        logits = classifier.logits(images)
        return [torch.autograd.grad(logits[:, k].sum(), images, retain_graph=True)[0]
                for k in classes]  # fmt: skip

    def times_gradient() -> Tensor:
        return torch.stack([(x * g).sum(dim=1) for g in gradients(x)], dim=1)

    def smooth() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noisy = torch.cat([x + 0.1 * torch.randn(x.shape, generator=generator) for _ in range(16)])
        total = [torch.zeros_like(x[0]) for _ in classes]
        for part in noisy.split(rows):
            for i, g in enumerate(gradients(part)):
                total[i] += g.square().sum(dim=0) / 16
        return torch.stack([squares.amax(dim=0) for squares in total])[None]

    def integrated() -> Tensor:
        places, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(32))
        places, weights = (places.float() + 1) / 2, weights.float() / 2
        total = [torch.zeros_like(x[0]) for _ in classes]
        for at_place, weight in zip(places.split(rows), weights.split(rows), strict=True):
            for i, g in enumerate(gradients(at_place[:, None, None, None] * x)):
                total[i] += (weight[:, None, None, None] * g).sum(dim=0)
        return torch.stack([(x[0] * g).sum(dim=0) for g in total])[None]

    def at_layer(combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        kept: list[Tensor] = []
        handle = at.register_forward_hook(lambda m, i, output: kept.append(output))
        logits = classifier.logits(x.clone().requires_grad_(True))
        handle.remove()
        maps = [
            combine(kept[0].detach(), torch.autograd.grad(logits[:, k].sum(), kept[0],
                                                          retain_graph=True)[0])
            for k in classes
        ]  # fmt: skip
        coarse = torch.stack([one.sum(dim=1) for one in maps], dim=1)
        return nn.functional.interpolate(
            coarse, size=x.shape[-2:], mode="bilinear", align_corners=False
        )

    @torch.no_grad()
    def masks() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        total = torch.zeros(len(classes), *x.shape[-2:])
        for count in [rows] * (512 // rows):
            coarse = (torch.rand(count, 1, 7, 7, generator=generator) < 0.5).float()
            mask = nn.functional.interpolate(
                coarse, size=x.shape[-2:], mode="bilinear", align_corners=False
            )
            shares = classifier.logits(x * mask).softmax(dim=1)[:, list(classes)]
            total += torch.einsum("nk,nhw->khw", shares, mask[:, 0])
        return total[None] / 256

    return {
        "saliency": {
            "convscope": lambda: saliency(classifier, x, asked).maps,
            "torch": lambda: torch_saliency(classifier, x, classes),
        },
        "input times gradient": {
            "convscope": lambda: input_times_gradient(classifier, x, asked).maps,
            "torch": times_gradient,
        },
        "Grad-CAM": {
            "convscope": lambda: grad_cam(classifier, x, asked, layer=layer).maps,
            "torch": lambda: torch_grad_cam(classifier, at, x, classes),
        },
        "HiResCAM": {
            "convscope": lambda: hires_cam(classifier, x, asked, layer=layer).maps,
            "torch": lambda: at_layer(lambda a, g: a * g),
        },
        "LayerCAM": {
            "convscope": lambda: layer_cam(classifier, x, asked, layer=layer).maps,
            "torch": lambda: at_layer(lambda a, g: a * g.clamp_min(0)),
        },
        "SmoothGrad": {
            "convscope": lambda: smooth_grad(classifier, x, asked).maps,
            "torch": smooth,
        },
        "integrated gradients": {
            "convscope": lambda: (
                integrated_gradients(
                    classifier, x, asked, baseline=0.0, steps=32, tolerance=None
                ).maps
            ),
            "torch": integrated,
        },
        "occlusion": {
            "convscope": lambda: (
                occlusion(classifier, x, asked, window=window, stride=stride, fill=0.5).maps
            ),
            "torch": lambda: torch_occlusion(classifier, x, window, stride, fill=0.5, rows=rows)[
                :, list(classes)
            ],
        },
        "RISE": {
            "convscope": lambda: rise(classifier, x, asked, masks=512).maps,
            "torch": masks,
        },
    }


if __name__ == "__main__":
    main()
