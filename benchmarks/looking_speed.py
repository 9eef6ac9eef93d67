"""Explanations of all ten classes against captum and pytorch-grad-cam; class images in one call.

Same network, same images, same maps, one thread. Peers are called as their documentation shows.
"""

from __future__ import annotations

import argparse
import sys
import types
import warnings
from pathlib import Path
from typing import Any, ClassVar

import torch
from record import interleaved, record
from torch import Tensor, nn

from convscope.classifier import Classifier
from convscope.data import open_dataset
from convscope.explanations import grad_cam, integrated_gradients, occlusion, saliency
from convscope.models import build
from convscope.visualizations import class_images, noise_adam

CLASSES = range(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    name = "digits" if options.data_dir is None else "mnist"
    data = open_dataset(name, data_dir=options.data_dir)
    mean, std = data.mean_std()
    module = build("mnist-conv2-fc", generator=torch.Generator().manual_seed(0)).eval()
    classifier = Classifier.wrap(module, input_shape=(1, 28, 28), mean=mean, std=std)
    many = data.test.floats(slice(0, options.images))
    few = many[:16]
    figures: dict[str, Any] = {}
    for preset, window, stride in (("12/4", 12, 4), ("14/7", 14, 7)):
        compare(
            figures,
            f"occlusion {preset}, {len(few)} images, 10 classes",
            {
                "ours": lambda p=preset: occlusion(classifier, few, "all", preset=p).maps,
                "captum": lambda w=window, s=stride: captum_occlusion(classifier, few, w, s),
            },
            options.repeats,
        )
    compare(
        figures,
        f"saliency, {len(many)} images, 10 classes",
        {
            "ours": lambda: saliency(classifier, many, "all").maps,
            "captum": lambda: captum_saliency(classifier, many),
        },
        options.repeats,
    )
    labels = data.test.labels[: len(many)]
    compare(
        figures,
        f"integrated gradients, 50 steps, {len(many)} images, own class",
        {
            "ours": lambda: (
                integrated_gradients(
                    classifier, many, labels, baseline=0.0, steps=50, tolerance=None
                ).maps
            ),
            "captum": lambda: captum_integrated(classifier, many, labels, 50, None),
            "captum, internal_batch_size=64": lambda: captum_integrated(
                classifier, many, labels, 50, 64
            ),
        },
        options.repeats,
    )
    compare(
        figures,
        f"Grad-CAM at conv2, {len(many)} images, 10 classes",
        {
            "ours": lambda: grad_cam(classifier, many, "all", layer="conv2").maps,
            "captum": lambda: captum_grad_cam(classifier, many),
            "pytorch-grad-cam": lambda: peer_grad_cam(classifier, many),
        },
        options.repeats,
        same=("captum",),
    )
    compare(
        figures,
        "ten class images, 100 steps",
        {
            "ours": lambda: (
                class_images(classifier, recipe=noise_adam(steps=100), control=False).images
            ),
            "ten calls of the usual loop": lambda: sequential(classifier, 100),
        },
        options.repeats,
        same=(),
    )
    record(
        "looking_speed",
        figures,
        peers=("captum", "grad-cam"),
        data=name,
        threads=1,
        repeats=options.repeats,
        network="mnist-conv2-fc, fresh weights",
    )


def compare(
    figures: dict[str, Any],
    title: str,
    contestants: dict[str, Any],
    repeats: int,
    same: tuple[str, ...] | None = None,
) -> None:
    """Time contestants in turns and, where they should agree, say how far apart they are."""
    maps = {name: run() for name, run in contestants.items()}
    times = interleaved(contestants, repeats=repeats)
    best = min(v["cpu_seconds"] for k, v in times.items() if k != "ours")
    entry: dict[str, Any] = {
        "times": times,
        "ratios": {
            k: v["cpu_seconds"] / times["ours"]["cpu_seconds"]
            for k, v in times.items()
            if k != "ours"
        },
        "ratio_to_best_peer": best / times["ours"]["cpu_seconds"],
    }
    for name in same if same is not None else [k for k in maps if k != "ours"]:
        entry[f"largest difference from {name}"] = float((maps["ours"] - maps[name]).abs().max())
    figures[title] = entry


def captum_occlusion(classifier: Classifier, images: Tensor, window: int, stride: int) -> Tensor:
    from captum.attr import Occlusion

    method = Occlusion(classifier.logits)
    maps = [
        method.attribute(
            images,
            sliding_window_shapes=(1, window, window),
            strides=(1, stride, stride),
            baselines=0.5,
            target=k,
        )[:, 0]
        for k in CLASSES
    ]
    return torch.stack(maps, dim=1)


def captum_saliency(classifier: Classifier, images: Tensor) -> Tensor:
    from captum.attr import Saliency

    method = Saliency(classifier.logits)
    return torch.stack(
        [method.attribute(images.clone(), target=k).amax(dim=1) for k in CLASSES], dim=1
    )


def captum_integrated(
    classifier: Classifier, images: Tensor, labels: Tensor, steps: int, batch: int | None
) -> Tensor:
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(classifier.logits)
    return method.attribute(
        images, baselines=0.0, target=labels, n_steps=steps, internal_batch_size=batch
    ).detach()


def captum_grad_cam(classifier: Classifier, images: Tensor) -> Tensor:
    from captum.attr import LayerAttribution, LayerGradCam

    method = LayerGradCam(classifier.logits, classifier.module.conv2)
    maps = []
    for k in CLASSES:
        coarse = method.attribute(images, target=k)
        maps.append(LayerAttribution.interpolate(coarse, (28, 28), "bilinear")[:, 0].detach())
    return torch.stack(maps, dim=1)


def peer_grad_cam(classifier: Classifier, images: Tensor) -> Tensor:
    stand_in_for_torchvision()
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = classifier.module

        def forward(self, x: Tensor) -> Tensor:
            return self.net(classifier.prepare(x))

    maps = []
    with GradCAM(model=Whole(), target_layers=[classifier.module.conv2]) as method:
        for k in CLASSES:
            targets = [ClassifierOutputTarget(k)] * len(images)
            maps.append(torch.from_numpy(method(input_tensor=images, targets=targets)))
    for parameter in classifier.module.parameters():
        parameter.grad = None
    return torch.stack(maps, dim=1)


def stand_in_for_torchvision() -> None:
    """pytorch-grad-cam imports names of torchvision that Grad-CAM itself never uses."""

    class Unused(types.ModuleType):
        __path__: ClassVar[list[str]] = []

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return object

    try:
        import torchvision  # noqa: F401
    except Exception:
        for part in ("", ".transforms", ".transforms.functional", ".models"):
            sys.modules[f"torchvision{part}"] = Unused(f"torchvision{part}")


def sequential(classifier: Classifier, steps: int) -> Tensor:
    """One class after the other: whole network, Adam on the image, `.backward()`."""
    images = []
    for k in CLASSES:
        image = (0.5 + 0.05 * torch.randn(1, *classifier.input_shape)).clamp(0, 1)
        image.requires_grad_(True)
        optimizer = torch.optim.Adam([image], lr=0.05)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = -classifier.logits(image)[0, k]
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                image.clamp_(0, 1)
        images.append(image.detach())
    for parameter in classifier.module.parameters():
        parameter.grad = None
    return torch.cat(images)


if __name__ == "__main__":
    main()
