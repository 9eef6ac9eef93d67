"""An attack on many images, block by block: by one process or many, with one result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from convscope.attacks._adversarial_patch import AdversarialPatch
from convscope.attacks._blocks import block_rows, part_of_setting, put_together
from convscope.attacks._result import AttackResult
from convscope.attacks._uap import UniversalPerturbation
from convscope.classifier import Classifier
from convscope.errors import DataError
from convscope.files import plain_json
from convscope.probe import rows_per_chunk
from convscope.results import (
    packed_images,
    packed_result,
    unpacked_images,
    unpacked_result,
)
from convscope.sharding import Record

BLOCK = 128
"""Images of a block at most. Measured on mnist-conv2-fc, one thread: 1,000 images with quick effort
take 13.9 CPU seconds in blocks of 128, 14.7 of 256, 17.0 of 1,000, 15.2 of 64."""

SHARED_RESULTS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (UniversalPerturbation, AdversarialPatch)
}


def judged_rows(classifier: Classifier) -> int:
    """Images of a block: by their shape and the kind of device alone.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 2))
        >>> judged_rows(Classifier.wrap(net, input_shape=(1, 28, 28)))
        128
    """
    shape = classifier.input_shape
    return max(min(BLOCK, block_rows(shape)), rows_per_chunk(shape, classifier.device))


@dataclass(frozen=True, kw_only=True)
class AttackJudging:
    """An attack, block by block: a `convscope.sharding.Judging`.

    All blocks see the same draws. A method that makes one perturbation for all images is one block.

    Args:
        classifier: The network to fool.
        pixels: ``pixels(rows)``: images of some rows.
        labels: Of all rows.
        method: Name of the attack.
        run: The attack.
        arguments: Its settings; tensors with an entry per image are cut into blocks.
        seed: Of its draws, if it draws.
        whole: All images are one block.
        said: What else tells settings apart, such as the words on the command line: transforms are
            functions, which JSON cannot hold.
    """

    classifier: Classifier
    pixels: Callable[[slice], Tensor]
    labels: Tensor
    method: str
    run: Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    whole: bool = False
    said: Sequence[str] = ()
    kind: str = "attack"

    @property
    def rows(self) -> int:
        """How many images there are."""
        return len(self.labels)

    @cached_property
    def size(self) -> int:
        """Images of a block."""
        return max(1, self.rows) if self.whole else judged_rows(self.classifier)

    @property
    def settings(self) -> dict[str, Any]:
        """What the result depends on besides network and images."""
        plain = {
            name: getattr(value, "__qualname__", type(value).__name__) if callable(value) else value
            for name, value in self.arguments.items()
        }
        return {
            "method": self.method,
            "arguments": plain_json(plain),
            "said": list(self.said),
            "seed": self.seed,
            "whole": self.whole,
            "classes": list(self.classifier.class_names),
        }

    def head(self) -> Record:
        """Nothing."""
        return Record()

    def judge(self, rows: slice, head: Record) -> Record:
        """The attack on some images."""
        settings = {
            name: part_of_setting(value, rows, self.rows) for name, value in self.arguments.items()
        }
        if "generator" in inspect.signature(self.run).parameters:
            settings["generator"] = torch.Generator().manual_seed(self.seed)
        images = self.pixels(rows)
        labels = self.labels[rows].to(images.device)
        result = self.run(self.classifier, images, labels, **settings)
        tree, arrays = packed_result(result)
        if not isinstance(result, AttackResult):
            return Record({"result": tree}, arrays)
        originals = {"originals": packed_images(images)}
        return Record({"result": tree, "cost": _cost(result)}, arrays | originals)

    def inputs(self, rows: slice) -> Mapping[str, NDArray[Any]]:
        """Nothing: results hold images and labels."""
        return {}


def attack_of(records: Sequence[Record]) -> AttackResult:
    """The result of all blocks together.

    Args:
        records: Of an `AttackJudging`, in order.
    """
    parts = [_result(record) for record in records]
    if len(parts) == 1:
        return parts[0]
    images = torch.cat([part.originals for part in parts])
    return put_together(images, parts)


def shared_result_of(records: Sequence[Record]) -> UniversalPerturbation | AdversarialPatch:
    """The result of a method that makes one perturbation for all images.

    Args:
        records: Of an `AttackJudging` of one block.

    Raises:
        DataError: T24, it is none.
    """
    (record,) = records
    tree = record.numbers["result"]
    if tree["type"] not in SHARED_RESULTS:
        raise DataError(f"a result of type {tree['type']!r:.80}", code="T24")
    return unpacked_result(SHARED_RESULTS[tree["type"]], tree, record.arrays)


def _result(record: Record) -> AttackResult:
    originals = unpacked_images(record.arrays["originals"]).numpy()
    arrays = {**record.arrays, "originals": originals}
    return unpacked_result(AttackResult, record.numbers["result"], arrays)


def _cost(result: AttackResult) -> list[int | float]:
    return [result.cost.forwards, result.cost.backwards, result.cost.seconds]
