"""Is a network left as found when real SIGINTs arrive at random instants, in every method?

Run: python benchmarks/signals.py

A child process sends SIGINT after a random delay while a method runs again and again on a network
in the middle of someone's training (mixed modes, frozen parts, gradients). Afterwards values,
versions and identities of parameters and buffers, gradients, requires_grad, modes, hooks and the
attributes of every module are compared. A second part interrupts the opening of a Probe on a
network of 7 million parameters. A signal that arrives before the first line of the method or after
its last one is counted apart: it interrupts nothing.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import time
from collections.abc import Callable
from functools import partial

import torch
from leave_no_trace import found_network, methods, picture
from record import record
from torch import nn

from convscope.classifier import Classifier

PER_METHOD = 64
OPENINGS = 250


def sender() -> tuple[int, int]:
    """A child that sends SIGINT to this process after each delay written to the pipe."""
    read, write = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child:
        os.close(read)
        return child, write
    os.close(write)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while data := os.read(read, 8):
        time.sleep(struct.unpack("d", data)[0])
        os.kill(parent, signal.SIGINT)
    os._exit(0)


def interrupted(run: Callable[[], object], delay: float, pipe: int) -> bool:
    """Run until the signal comes; whether it came while `run` was running."""
    inside = False
    try:
        os.write(pipe, struct.pack("d", delay))
        while True:
            inside = True
            run()
            inside = False
    except KeyboardInterrupt:
        return inside


def attributes(module: nn.Module) -> list[list[str]]:
    """Names of everything that modules hold."""
    return [sorted(vars(child)) for child in module.modules()]


def seven_million() -> Classifier:
    """A VGG-like network of 7.1 million parameters."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (64, 128, 256, 256, 512, 512):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(True)]
        channels = width
    layers += [nn.Conv2d(512, 512, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    module = nn.Sequential(*layers, nn.Linear(512, 10)).train()
    return Classifier(module=module, class_names=tuple("0123456789"), input_shape=(3, 16, 16))


def main() -> None:
    """Count."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    dice = random.Random(0)
    child, pipe = sender()
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(8) % 10
    changed: list[str] = []
    inside = outside = 0
    every = methods(images, labels)
    for name, run in every.items():
        classifier = found_network()
        started = time.perf_counter()
        run(classifier, False)
        once = time.perf_counter() - started
        before = picture(classifier.module), attributes(classifier.module)
        for _ in range(PER_METHOD):
            hit = interrupted(partial(run, classifier, False), dice.random() * once, pipe)
            inside, outside = inside + hit, outside + (not hit)
            if (picture(classifier.module), attributes(classifier.module)) != before:
                changed.append(name)
                before = picture(classifier.module), attributes(classifier.module)
    large = seven_million()
    size = sum(p.numel() for p in large.module.parameters())
    with large.probe():
        pass
    started = time.perf_counter()
    with large.probe():
        opening = time.perf_counter() - started
    before = picture(large.module), attributes(large.module)
    opened = 0
    large_changed = 0

    def open_one() -> None:
        with large.probe():
            pass

    for _ in range(OPENINGS):
        opened += interrupted(open_one, dice.random() * opening, pipe)
        large_changed += (picture(large.module), attributes(large.module)) != before
    os.close(pipe)
    os.waitpid(child, 0)
    record(
        "signals",
        {
            "methods": len(every),
            "signals while a method ran": inside,
            "signals between two runs": outside,
            "networks changed": len(changed),
            "what changed": changed,
            "parameters of the large network": size,
            "openings of a Probe interrupted": opened,
            "seconds of one opening": opening,
            "large networks changed": large_changed,
        },
        threads=1,
    )


if __name__ == "__main__":
    main()
