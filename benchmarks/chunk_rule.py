"""Where the Probe's chunk size comes from: microseconds per image over chunk sizes and layouts.

Run: python benchmarks/chunk_rule.py [--mobilenet DIRECTORY]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from record import record
from torch import Tensor, nn

from convscope.probe import rows_per_chunk


def mnist_net() -> nn.Module:
    """The course documents' network, written out so that this script stands alone."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1568, 500), nn.ReLU(), nn.Linear(500, 10)),
    )


def cifar_net() -> nn.Module:
    """Six 3 x 3 convolutions with batch norm, 64 to 128 channels."""
    layers: list[nn.Module] = []
    before = 3
    for width, pool in ((64, False), (64, True), (128, False), (128, True), (128, False)):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pool else []
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def microseconds(net: nn.Module, x: Tensor, chunk: int, last: bool, backward: bool) -> float:
    """Median over repeats of CPU time per image, in microseconds."""
    layout = torch.channels_last if last else torch.contiguous_format
    net = net.to(memory_format=layout)
    times = []
    for _ in range(5):
        start = time.process_time()
        for i in range(0, len(x), chunk):
            part = x[i : i + chunk].contiguous(memory_format=layout)
            with torch.set_grad_enabled(backward):
                part = part.detach().requires_grad_(backward)
                out = net(part)
                if backward:
                    torch.autograd.grad(out.logsumexp(1).sum(), part)
        times.append((time.process_time() - start) / len(x) * 1e6)
    return statistics.median(times)


def main() -> None:
    """Measure, one thread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mobilenet", help="a folder with transformers' MobileNetV2")
    options = parser.parse_args()
    torch.set_num_threads(1)
    nets = {"mnist": (mnist_net(), (1, 28, 28), 512), "cifar": (cifar_net(), (3, 32, 32), 256)}
    if options.mobilenet:
        from transformers import AutoModelForImageClassification

        class Logits(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = AutoModelForImageClassification.from_pretrained(options.mobilenet)

            def forward(self, x: Tensor) -> Tensor:
                return self.net(x).logits

        nets["mobilenet-224"] = (Logits(), (3, 224, 224), 32)
    figures: dict[str, object] = {}
    for name, (net, shape, count) in nets.items():
        net.eval().requires_grad_(False)
        x = torch.rand(count, *shape)
        rows: dict[str, dict[str, float]] = {}
        for chunk in (1, 4, 8, 16, 32, 64, 128, 256, 512):
            if chunk > count:
                continue
            rows[str(chunk)] = row = {}
            for last in (False, True):
                for back in (False, True):
                    label = "channels_last" if last else "nchw"
                    label += " forward+backward" if back else " forward"
                    row[label] = round(microseconds(net, x, chunk, last, back), 1)
        figures[name] = {
            "rule": rows_per_chunk(shape, torch.device("cpu")),
            "microseconds per image by chunk": rows,
        }
    record("chunk_rule", figures, threads=1, repeats=5)


if __name__ == "__main__":
    main()
