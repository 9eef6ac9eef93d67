"""Do several threads on one classifier get the answers of one thread, and is the network as found?

Run: python benchmarks/threads.py

Four threads make fifty rounds each, a method and a prediction, on the same classifier. Each answer
is compared, bit for bit, with the one that a single thread got before.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from leave_no_trace import found_network, methods, picture
from record import record
from torch import Tensor

from convscope.classifier import Classifier

THREADS, CALLS = 4, 50
FIELDS = ("maps", "adversarials", "images", "logits", "logits_after")


def answer(found: Any) -> list[Tensor]:
    """The tensors of a result that must not depend on who else is running."""
    return [getattr(found, name) for name in FIELDS if isinstance(getattr(found, name, 0), Tensor)]


def same(one: list[Tensor], two: list[Tensor]) -> bool:
    """Bit for bit, NaN included."""
    return all(
        torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0)) for a, b in zip(one, two, strict=True)
    )


def main() -> None:
    """Count."""
    torch.set_num_threads(1)
    images = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(8) % 10
    classifier = found_network()
    every = methods(images, labels)
    right = {name: answer(methods(images, labels)[name](classifier, False)) for name in every}
    predicted = classifier.predict(images).labels
    before = picture(classifier.module)
    wrong: list[str] = []
    errors: list[str] = []
    calls = [0] * THREADS
    names = list(every)

    def work(number: int, shared: Classifier) -> None:
        for turn in range(CALLS):
            name = names[(number * 7 + turn) % len(names)]
            try:
                found = answer(methods(images, labels)[name](shared, False))
                if not same(found, right[name]):
                    wrong.append(name)
                if not torch.equal(shared.predict(images).labels, predicted):
                    wrong.append("predict")
                calls[number] += 2
            except Exception as error:
                errors.append(f"{name}: {type(error).__name__}: {error}")

    workers = [threading.Thread(target=work, args=(k, classifier)) for k in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    changed = [key for key, value in picture(classifier.module).items() if value != before[key]]
    record(
        "threads",
        {
            "threads": THREADS,
            "calls": sum(calls),
            "answers that differ": len(wrong),
            "which": sorted(set(wrong)),
            "errors": errors,
            "what changed in the network": changed,
        },
        threads=1,
    )


if __name__ == "__main__":
    main()
