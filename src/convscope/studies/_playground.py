"""The section in which the network itself runs."""

from __future__ import annotations

import torch

from convscope.data import sample_rows
from convscope.playground import example, page_data, playable_network
from convscope.reports import Section
from convscope.studies._context import Audit

COMPARED = 1_000
"""Images on which the network in the page is compared with the original, at most."""

EXAMPLES = 12
EXAMPLE_BYTES = 60_000
"""Of all example images together, so that large ones are few."""


def compare_playable(work: Audit) -> None:
    """Make the network of the page before hours of other work, and prove it.

    Raises:
        ModelContractError: M26, M27 or M28 if it cannot be in the page.
    """
    rows = sample_rows(work.test.labels, COMPARED, seed=work.stream(31))
    if work.sized(1, 0) == 0:
        rows = rows[:64]
    work.playable = playable_network(work.classifier, work.test.to_float(rows))


def playground(work: Audit, section: Section) -> None:
    """The network, a few test images, and how exact it is."""
    made = work.playable
    assert made is not None, "asked for, and made before the first section"
    one = work.test.to_float(torch.tensor([0]))[0].numel()
    count = max(2, min(EXAMPLES, EXAMPLE_BYTES // one))
    rows = work.of_many_classes(torch.arange(len(work.test)), count, purpose=32)
    images = work.test.to_float(rows)
    examples = [
        example(image, f"{work.split} image {row}", label)
        for image, row, label in zip(
            images, rows.tolist(), work.test.labels[rows].tolist(), strict=True
        )
    ]
    section.playground(page_data(made, examples, epsilon=work.epsilon), made.weights)
    section.finding = (
        f"The network in this page predicts what the network predicts: on {made.compared:,} "
        f"{work.split} images no probability is further than {made.difference:.1e} from its own "
        f"({made.bits} bits per weight)."
    )
