"""Explanations of ten classes, and ten class images, against each peer at its best.

    python benchmarks/looking_speed.py --data-dir DIR [--hub FOLDER --photos FOLDER] [--repeats 7]
        [--only TITLE]

Same network, same images, same maps, one thread, contestants in turns. Every method has the plain
torch that somebody who knows it would write, next to captum and pytorch-grad-cam. Captum's
perturbation methods answer for all classes in one call when `target` is left out; its gradient
methods need one call per class. `--hub` is the folder of MobileNetV2 (224 pixels) in transformers'
format; `--photos` a folder of photos for it. One image at a time is measured by
`looking_one_image.py`.
"""

from __future__ import annotations

import argparse
import copy
import resource
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peers import (
    PixelsIn,
    torch_class_images,
    torch_grad_cam,
    torch_occlusion,
    torch_saliency,
    unused_may_be_missing,
)
from record import interleaved, record, times_faster
from torch import Tensor, nn

import convscope
from convscope._network.runner import channels_last
from convscope.classifier import Classifier
from convscope.data import open_dataset, select_images
from convscope.explanations import grad_cam, integrated_gradients, occlusion, saliency
from convscope.models import build
from convscope.visualizations import class_images, noise_adam

CLASSES = range(10)
Contestants = dict[str, Callable[[], Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--hub", help="folder of an image classifier in transformers' format")
    parser.add_argument("--photos", type=Path, help="folder of photos for it")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=100, help="steps of the class images")
    parser.add_argument("--only", default="", help="rows whose title contains this")
    parser.add_argument("--name", default="looking_speed", help="of the result file")
    parser.add_argument("--dry", action="store_true", help="do not write the result file")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    name = "digits" if options.data_dir is None else "mnist"
    data = open_dataset(name, data_dir=options.data_dir)
    mean, std = data.mean_std()
    module = build("mnist-conv2-fc", generator=torch.Generator().manual_seed(0)).eval()
    # Frozen, as a peer at its best would have it: no gradient of a weight is ever computed.
    module.requires_grad_(False)
    classifier = Classifier.wrap(module, input_shape=(1, 28, 28), mean=mean, std=std)
    many, labels = data.test.to_float(slice(0, options.images)), data.test.labels[: options.images]
    # Before peers are imported: transformers would take stand-ins of torchvision for the real one.
    large = convscope.load(f"hf:{options.hub}") if options.hub else None
    figures: dict[str, Any] = {}
    rows: dict[str, tuple[Contestants, Sequence[str] | None]] = {}
    for window, stride in ((12, 4), (14, 7)):
        title = f"occlusion {window}/{stride}, {len(many[:16])} images, 10 classes"
        rows[title] = (occlusions(classifier, many[:16], window, stride), None)
    rows[f"saliency, {len(many)} images, 10 classes"] = (saliencies(classifier, many), None)
    title = f"integrated gradients, 50 steps, {len(many)} images, own class"
    rows[title] = (integrated(classifier, many, labels), None)
    rows[f"Grad-CAM at conv2, 28 px, {len(many)} images, 10 classes"] = (
        grad_cams(classifier, "conv2", many, CLASSES),
        ("captum, class by class", "torch"),
    )
    if large is not None:
        large.module.eval().requires_grad_(False)
        photos = torch.rand(8, *large.input_shape, generator=torch.Generator().manual_seed(0))
        layer = grad_cam(large, photos[:1], 0).layer
        assert layer is not None
        rows[f"Grad-CAM at {layer}, MobileNetV2, 224 px, {len(photos)} images, 10 classes"] = (
            grad_cams(large, layer, photos, CLASSES),
            ("captum, class by class", "torch"),
        )
        if options.photos is not None:
            files = sorted(map(str, options.photos.glob("n*.jpg")))[:16]
            chosen = select_images(files, like=large).images
            rows[f"Grad-CAM at {layer}, MobileNetV2, {len(chosen)} photos, predicted class"] = (
                grad_cams_of_predicted(large, layer, chosen),
                None,
            )
            rows["occlusion 32/16, MobileNetV2, 1 photo, predicted class"] = (
                occlusion_of_predicted(large, chosen[:1]),
                None,
            )
    residual = Classifier.wrap(
        build("cifar-resnet20", generator=torch.Generator().manual_seed(0)).eval(),
        input_shape=(3, 32, 32),
    )
    residual.module.requires_grad_(False)
    colored = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    rows["occlusion 8/4, resnet20, 32 px, 4 images, 10 classes"] = (
        occlusions(residual, colored, 8, 4, rows=32),
        None,
    )
    rows[f"ten class images, {options.steps} steps"] = (grown(classifier, options.steps), ())
    for title, (contestants, same) in rows.items():
        if options.only in title:
            figures[title] = compared(contestants, options.repeats, same)
            print(title, figures[title]["times faster"], flush=True)
    if not options.dry:
        record(
            options.name,
            figures,
            peers=("captum", "grad-cam", "transformers"),
            data=name,
            threads=1,
            repeats=options.repeats,
            network="mnist-conv2-fc, fresh weights, frozen; 224 px: MobileNetV2 1.0, random images",
            ratio="CPU time of a peer by ours, turn by turn",
        )


def compared(contestants: Contestants, repeats: int, same: Sequence[str] | None) -> dict[str, Any]:
    """Time contestants in turns; say how far the maps of `same` (None: all) are from ours."""
    maps = {name: run() for name, run in contestants.items()}
    times = interleaved(contestants, repeats=repeats)
    chosen = [name for name in maps if name != "convscope"] if same is None else same
    return {
        "times faster": times_faster(times, "convscope"),
        "largest difference": {
            name: float((maps["convscope"] - maps[name]).abs().max()) for name in chosen
        },
        "times": times,
        "peak memory of the process so far, MB": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        ),
    }


def occlusions(
    classifier: Classifier, images: Tensor, window: int, stride: int, *, rows: int = 128
) -> Contestants:
    from captum.attr import Occlusion

    # At its best a peer runs channels-last, too.
    module = copy.deepcopy(classifier.module).to(memory_format=torch.channels_last)
    turned = replace(classifier, module=module)

    def channels_last_logits(x: Tensor) -> Tensor:
        return turned.logits(channels_last(x))

    method, fast_method = Occlusion(classifier.logits), Occlusion(channels_last_logits)
    channels = images.shape[1]
    given: dict[str, Any] = {
        "sliding_window_shapes": (channels, window, window),
        "strides": (channels, stride, stride),
        "baselines": 0.5,
    }

    def all_at_once(together: int, method: Any = method) -> Tensor:
        maps = method.attribute(images, perturbations_per_eval=together, **given)
        return maps.reshape(len(images), 10, channels, *images.shape[2:])[:, :, 0]

    def by_class() -> Tensor:
        maps = [method.attribute(images, target=k, **given)[:, 0] for k in CLASSES]
        return torch.stack(maps, dim=1)

    return {
        "convscope": lambda: (
            occlusion(classifier, images, "all", window=window, stride=stride, fill=0.5).maps
        ),
        **{
            f"captum, target left out, {together} windows per pass": partial(all_at_once, together)
            for together in (1, 4, 8, 16)
        },
        **{
            f"captum, target left out, channels-last, {together} windows per pass": partial(
                all_at_once, together, fast_method
            )
            for together in (4, 8, 16)
        },
        "captum, class by class": by_class,
        f"torch, chunks of {rows} rows": lambda: torch_occlusion(
            classifier, images, window, stride, fill=0.5, rows=rows
        ),
    }


def occlusion_of_predicted(classifier: Classifier, images: Tensor) -> Contestants:
    """Captum can answer for one class here: for all it would hold 600 MB per hidden window."""
    from captum.attr import Occlusion

    method = Occlusion(classifier.logits)
    with torch.no_grad():
        target = classifier.logits(images).argmax(dim=1)

    def theirs(together: int) -> Tensor:
        return method.attribute(
            images,
            sliding_window_shapes=(3, 32, 32),
            strides=(3, 16, 16),
            baselines=0.5,
            target=target,
            perturbations_per_eval=together,
        )[:, :1]

    return {
        "convscope": lambda: (
            occlusion(classifier, images, target, window=32, stride=16, fill=0.5).maps
        ),
        **{
            f"captum, one class, {together} windows per pass": partial(theirs, together)
            for together in (1, 4, 8)
        },
    }


def saliencies(classifier: Classifier, images: Tensor) -> Contestants:
    from captum.attr import Saliency

    method = Saliency(classifier.logits)

    def by_class() -> Tensor:
        maps = [method.attribute(images.clone(), target=k).amax(dim=1) for k in CLASSES]
        return torch.stack(maps, dim=1)

    return {
        "convscope": lambda: saliency(classifier, images, "all").maps,
        "captum, class by class": by_class,
        "torch, one forward pass and ten gradients": lambda: torch_saliency(
            classifier, images, CLASSES
        ),
    }


def integrated(classifier: Classifier, images: Tensor, labels: Tensor) -> Contestants:
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(classifier.logits)

    def theirs(rows: int | None) -> Tensor:
        return method.attribute(
            images, baselines=0.0, target=labels, n_steps=50, internal_batch_size=rows
        ).detach()

    return {
        "convscope": lambda: (
            integrated_gradients(
                classifier, images, labels, baseline=0.0, steps=50, tolerance=None
            ).maps
        ),
        "captum, as documented": lambda: theirs(None),
        "captum, internal_batch_size=64": lambda: theirs(64),
    }


def grad_cams(
    classifier: Classifier, layer: str, images: Tensor, classes: Sequence[int]
) -> Contestants:
    from captum.attr import LayerAttribution, LayerGradCam

    with unused_may_be_missing():
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    at = classifier.module.get_submodule(layer)
    targets = torch.tensor(list(classes)).expand(len(images), -1)
    method = LayerGradCam(classifier.logits, at)
    size = tuple(images.shape[-2:])
    # Captum and pytorch-grad-cam take their gradients through the pixels of a frozen network.
    pixels = images.clone().requires_grad_(True)

    def captum() -> Tensor:
        maps = []
        for k in classes:
            coarse = method.attribute(pixels, target=k)
            up = LayerAttribution.interpolate(coarse, size, "bilinear")
            maps.append(up[:, 0].detach())
        return torch.stack(maps, dim=1)

    def pytorch_grad_cam() -> Tensor:
        net: nn.Module = PixelsIn(classifier)
        maps = []
        with GradCAM(model=net, target_layers=[at]) as peer:
            for k in classes:
                chosen = [ClassifierOutputTarget(k)] * len(images)
                maps.append(torch.from_numpy(peer(input_tensor=pixels, targets=chosen)))
        return torch.stack(maps, dim=1)

    return {
        "convscope": lambda: grad_cam(classifier, images, targets, layer=layer).maps,
        "captum, class by class": captum,
        "pytorch-grad-cam, class by class": pytorch_grad_cam,
        "torch": lambda: torch_grad_cam(classifier, at, images, classes),
    }


def grad_cams_of_predicted(classifier: Classifier, layer: str, images: Tensor) -> Contestants:
    """One call each, all photos in it; the class is known to everybody."""
    from captum.attr import LayerAttribution, LayerGradCam

    with unused_may_be_missing():
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    at = classifier.module.get_submodule(layer)
    with torch.no_grad():
        labels = classifier.logits(images).argmax(dim=1)
    method = LayerGradCam(classifier.logits, at)
    size = tuple(images.shape[-2:])
    pixels = images.clone().requires_grad_(True)

    def ours() -> Tensor:
        return shown(grad_cam(classifier, images, labels, layer=layer).maps[:, 0])

    def captum(rows: int) -> Tensor:
        maps = []
        for x, y in zip(pixels.split(rows), labels.split(rows), strict=True):
            coarse = method.attribute(x, target=y)
            maps.append(LayerAttribution.interpolate(coarse, size, "bilinear")[:, 0].detach())
        return shown(torch.cat(maps))

    def pytorch_grad_cam(rows: int) -> Tensor:
        net: nn.Module = PixelsIn(classifier)
        maps = []
        with GradCAM(model=net, target_layers=[at]) as peer:
            for x, y in zip(pixels.split(rows), labels.split(rows), strict=True):
                chosen = [ClassifierOutputTarget(k) for k in y.tolist()]
                maps.append(torch.from_numpy(peer(input_tensor=x, targets=chosen)))
        return shown(torch.cat(maps))

    return {
        "convscope": ours,
        **{f"captum, {rows} photos per call": partial(captum, rows) for rows in (16, 4)},
        **{
            f"pytorch-grad-cam, {rows} photos per call": partial(pytorch_grad_cam, rows)
            for rows in (16, 4)
        },
    }


def shown(maps: Tensor) -> Tensor:
    """The positive part, each map scaled to [0, 1]: what pytorch-grad-cam gives."""
    maps = maps.clamp_min(0)
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-7)


def grown(classifier: Classifier, steps: int) -> Contestants:
    recipe = noise_adam(steps=steps)
    return {
        "convscope": lambda: class_images(classifier, recipe=recipe, control=False).images,
        "torch, a batch of ten": lambda: torch_class_images(classifier, steps, together=True),
        "torch, one after the other": lambda: torch_class_images(classifier, steps, together=False),
    }


if __name__ == "__main__":
    main()
