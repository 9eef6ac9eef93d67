"""What the package says of a network, against plain torch."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convscope.classifier import Classifier


def output_of(returned: object) -> Tensor:
    """Logits of a tensor, an object of transformers, or the first of a tuple."""
    found = getattr(returned, "logits", returned)
    return found[0] if isinstance(found, tuple | list) else found


def awaken(module: nn.Module) -> nn.Module:
    """Random parameters where a library begins with zeros, so that every layer has a say."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in module.parameters():
            if value.numel() > 1 and bool((value == value.flatten()[0]).all()):
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return module.eval()


@dataclass
class Subject:
    """A network, its classifier, a twin that nobody touches, images and labels."""

    name: str
    module: nn.Module
    twin: nn.Module
    classifier: Classifier
    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, name: str, build, side: int) -> Subject:
        torch.manual_seed(0)
        module = awaken(build())
        twin = copy.deepcopy(module)
        shape = (3, side, side)
        images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
        classifier = Classifier.wrap(module, input_shape=shape, output=output_of)
        with torch.no_grad():
            labels = output_of(twin(images.clone())).argmax(1)
        return cls(name, module, twin, classifier, images, labels)

    def plain(self, images: Tensor) -> Tensor:
        """Logits by plain torch."""
        return output_of(self.twin(images.clone()))

    def tolerance(self) -> float:
        with torch.no_grad():
            return 2e-5 * max(1.0, float(self.plain(self.images).abs().max()))


CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def places_that_move(subject: Subject, layer: str) -> list[bool]:
    """For each quarter of the image: whether a change there moves that quarter of the maps most.

    It is the test that rows are rows and columns are columns, whatever form a layer has.
    """
    classifier, image = subject.classifier, subject.images[:1]
    side = image.shape[2] // 2
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(2))
    changed = image.repeat(4, 1, 1, 1)
    for number, (row, column) in enumerate(CORNERS):
        inside = (
            ...,
            slice(row * side, (row + 1) * side),
            slice(column * side, (column + 1) * side),
        )
        changed[number][inside] = noise[0][inside]
    with classifier.probe() as probe:
        everything = torch.cat([image, changed])
        maps = probe.as_maps(layer, probe.activations(layer, everything))
    moved = (maps[1:] - maps[:1]).square().sum(1)
    height, width = moved.shape[1] / 2, moved.shape[2] / 2
    found = []
    for number in range(4):
        energy = [
            float(
                moved[
                    number,
                    int(r * height + 0.5 * r) : int((r + 1) * height + 0.999 * (1 - r)) or 1,
                    int(c * width + 0.5 * c) : int((c + 1) * width + 0.999 * (1 - c)) or 1,
                ].mean()
            )
            for r, c in CORNERS
        ]
        found.append(energy.index(max(energy)) == number)
    return found
