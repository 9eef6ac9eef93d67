"""The section in which the network itself runs: of an audit, and of a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from convscope.data import Split, sample_rows
from convscope.playground import PlayableNetwork, example, page_data, playable_network
from convscope.reports import Section
from convscope.studies._context import Audit, default_epsilon, has_large_images
from convscope.studies._stages import is_missing_part

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.studies._study import Study, StudyContent

COMPARED, FEW_COMPARED = 1_000, 64
"""Images on which the network in the page is compared with the original, at most; large ones."""

EXAMPLES = 12
EXAMPLE_BYTES = 60_000
"""Of all example images together, so that large ones are few."""

COMPARING, SHOWING = 31, 32
"""Streams of random numbers."""


def compare_playable(work: Audit) -> None:
    """Make the network of the page before hours of other work, and prove it.

    Raises:
        ModelContractError: M26, M27 or M28 if it cannot be in the page.
    """
    work.playable = compared(work.classifier, work.test, seed=work.stream(COMPARING))


def playground(work: Audit, section: Section) -> None:
    """The network, a few test images, and how exact it is."""
    made = work.playable
    assert made is not None, "asked for, and made before the first section"
    show_network(
        section,
        made,
        work.test,
        seed=work.stream(SHOWING),
        called=f"{work.split} image",
        epsilon=work.epsilon,
    )


@dataclass(frozen=True, kw_only=True)
class StudyPlayground:
    """The section of a page of a study.

    Attributes:
        section: Empty if there was an error.
        error: Why the network is not in it.
    """

    section: Section
    error: Exception | None = None


def study_playground(study: Study, content: StudyContent) -> StudyPlayground:
    """The section in which the network of a study runs, or what is in the way.

    Args:
        study: In progress; the network is trained if no question has trained it yet.
        content: Whose `network` it is.

    Raises:
        Interrupted: SIGINT or SIGTERM came during a training; everything is saved.
    """
    from convscope.studies import AUDIT_SECTIONS
    from convscope.training import Interrupted

    spec = AUDIT_SECTIONS.spec("playground")
    section = Section("playground", spec.title, spec.about)
    try:
        classifier, test = content.network(study), study.dataset().test
        made = compared(classifier, test, seed=study.seed * 1009 + COMPARING)
        show_network(
            section,
            made,
            test,
            seed=study.seed * 1009 + SHOWING,
            called="test image",
            epsilon=default_epsilon(classifier),
        )
    except Interrupted as stop:
        raise type(stop)(
            "stopped while training the network of the playground; everything is saved",
            hint="the same command goes on where it stopped",
        ) from None
    except Exception as error:
        if is_missing_part(error):
            raise
        return StudyPlayground(section=section, error=error)
    section.text(f"This is the network `{classifier.source}` of this study.")
    return StudyPlayground(section=section)


def compared(classifier: Classifier, test: Split, *, seed: int) -> PlayableNetwork:
    """The network as a page holds it, compared on a sample of images.

    Raises:
        ModelContractError: M26, M27 or M28 if it cannot be in the page.
    """
    most = FEW_COMPARED if has_large_images(classifier) else COMPARED
    rows = sample_rows(test.labels, COMPARED, seed=seed)[:most]
    return playable_network(classifier, test.to_float(rows))


def show_network(
    section: Section,
    made: PlayableNetwork,
    test: Split,
    *,
    seed: int,
    called: str,
    epsilon: float,
) -> None:
    """Fill a section with a network, a few images of many classes, and how exact it is.

    Args:
        section: To fill.
        made: The network.
        test: Images.
        seed: Decides which are shown.
        called: What one of them is called.
        epsilon: Of the attack when the page opens, pixel units.
    """
    one = test.to_float(torch.tensor([0]))[0].numel()
    count = max(2, min(EXAMPLES, EXAMPLE_BYTES // one))
    rows: Tensor = sample_rows(test.labels, count, seed=seed, balanced=True)
    examples = [
        example(image, f"{called} {row}", label)
        for image, row, label in zip(
            test.to_float(rows), rows.tolist(), test.labels[rows].tolist(), strict=True
        )
    ]
    section.playground(page_data(made, examples, epsilon=epsilon), made.weights)
    section.finding = (
        f"The network in this page predicts what the network predicts: on {made.compared:,} "
        f"{called}s no probability is further than {made.difference:.1e} from its own "
        f"({made.bits} bits per weight)."
    )
