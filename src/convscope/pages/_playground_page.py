"""The playground of a network where it is not part of a report: in a notebook, or as a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from torch import Tensor

from convscope._readable import readable
from convscope.classifier import Classifier
from convscope.errors import ModelContractError
from convscope.files import write_whole
from convscope.pages._write import refuse_taken_file
from convscope.playground import (
    PlayableNetwork,
    example,
    page_data,
    playable_network,
)
from convscope.reports import Report, page
from convscope.types import Images

LARGEST_FRAME = 3_000_000
"""Bytes of a page inside a notebook, which is saved with it."""

SHOWN, SHOWN_BYTES = 12, 60_000
"""Images to pick from, and their bytes together: large ones are few."""

HEIGHT = 720
"""Pixels on the screen; the page scrolls inside, and the lower edge can be pulled."""


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class PlayablePage:
    """A page in which a network runs; a notebook shows it.

    Attributes:
        network: What runs in it, and how exact that is.
        html: The page: one file that needs nothing else.
        height: Of the frame in a notebook, pixels.
    """

    network: PlayableNetwork
    html: str = field(repr=False)
    height: int

    def headline(self) -> str:
        """What it is and how large."""
        return f"a page of {len(self.html) / 1e6:.2f} MB with {self.network.bits} bits per weight"

    def save(self, out: Path | str, *, force: bool = False) -> Path:
        """Write the page as a file, to be opened or sent.

        Args:
            out: The HTML file.
            force: Whether it may replace one.

        Returns:
            Where it is.

        Raises:
            UsageError: U13 if it exists and not `force`.
            ResourceError: If the disk refuses.
        """
        out = Path(out)
        refuse_taken_file(out, force=force)
        write_whole(out, self.html.encode("utf-8", errors="backslashreplace"))
        return out

    def _repr_html_(self) -> str:
        """The page in a frame of no origin: its scripts run, and reach nothing of the notebook."""
        return framed(self.html, height=self.height)


def framed(html: str, *, title: str = "Playground", height: int = HEIGHT) -> str:
    """A page in a frame of no origin, for a notebook: scripts run in it, and reach nothing outside.

    Args:
        html: The whole page.
        title: What the frame is called by programs that read pages aloud.
        height: Pixels on the screen.

    Example:
        >>> framed("<p>hello", title="A page")[:69]
        '<iframe sandbox="allow-scripts" title="A page" srcdoc="&lt;p&gt;hello'
    """
    return (
        f'<iframe sandbox="allow-scripts" title="{escape(title)}" srcdoc="{escape(html)}" '
        f'style="width: 100%; height: {height}px; border: 1px solid #8888; '
        'border-radius: 8px; resize: vertical"></iframe>'
    )


def framed_network(network: PlayableNetwork) -> str | None:
    """The playground of a network, without images to begin with, in a frame for a notebook.

    Returns:
        HTML, or ``None`` if the page has more than `LARGEST_FRAME` bytes.
    """
    channels = network.graph["nodes"][0]["shape"][0]
    html = _page_of(network, [], title="Playground", epsilon=_usual_epsilon(channels))
    return framed(html) if len(html) <= LARGEST_FRAME else None


def framed_report(folder: Path | str, *, title: str = "Report") -> str | None:
    """A report, with the network if it holds one, in a frame for a notebook.

    Returns:
        HTML, or ``None`` if the page has more than `LARGEST_FRAME` bytes.

    Raises:
        DataError: If there is no readable ``report.json``.
    """
    html, _ = page(folder, alone=True)
    return framed(html, title=title) if len(html) <= LARGEST_FRAME else None


def playable_page(
    classifier: Classifier,
    images: Images,
    labels: Tensor | None = None,
    *,
    title: str = "Playground",
    epsilon: float | None = None,
    height: int = HEIGHT,
    largest: int = LARGEST_FRAME,
) -> PlayablePage:
    """The playground of a network, to play with in a notebook or to save as one file.

    In a notebook the last line of a cell shows it. The page is the same as in a report
    (``docs/playground.md``); it stands in a frame with ``sandbox="allow-scripts"`` and no origin,
    so that nothing in it reaches the notebook.

    Args:
        classifier: As for `playable_network`.
        images: ``(batch, channel, height, width)``, pixels in [0, 1]: the page is compared with the
            network on all of them, and offers the first twelve, or fewer if they are large.
        labels: ``(batch,)``, class numbers; without, nothing is said of right and wrong.
        title: Of the page; any text.
        epsilon: Of the attack at first, pixel units; by default 0.1 for gray and 8/255 for color.
        height: Of the frame in a notebook, pixels.
        largest: Bytes that the page may have.

    Returns:
        The page.

    Raises:
        ModelContractError: M26 for a black box; M27 with the name of the layer that a page cannot
            do; M28 if the network, or the page, is too large.
        UsageError: U05 without images.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> classifier = Classifier.wrap(net, input_shape=(1, 4, 4), class_names=("yes", "no"))
        >>> shown = playable_page(classifier, torch.rand(8, 1, 4, 4))
        >>> shown._repr_html_().startswith('<iframe sandbox="allow-scripts" title="Playground"')
        True
    """
    network = playable_network(classifier, images)
    images = classifier.check_images(images).cpu()
    if labels is not None:
        labels = classifier.check_labels(labels, len(images)).cpu()
    if epsilon is None:
        epsilon = _usual_epsilon(images.shape[1])
    count = max(1, min(SHOWN, SHOWN_BYTES // images[0].numel()))
    examples = [
        example(image, f"image {row}", -1 if labels is None else int(labels[row]))
        for row, image in enumerate(images[:count])
    ]
    html = _page_of(network, examples, title=title, epsilon=epsilon)
    if len(html) > largest:
        raise ModelContractError(
            f"the page with the network has {len(html) / 1e6:.1f} MB",
            code="M28",
            expected=f"at most {largest / 1e6:.1f} MB",
            hint="a smaller network or smaller images, or a larger `largest`",
        )
    return PlayablePage(network=network, html=html, height=height)


def _usual_epsilon(channels: int) -> float:
    return 0.1 if channels == 1 else 8 / 255


def _page_of(
    network: PlayableNetwork, examples: list[dict[str, Any]], *, title: str, epsilon: float
) -> str:
    report = Report(title=title, generator="convscope")
    section = report.section("playground", "Playground")
    section.playground(page_data(network, examples, epsilon=epsilon), network.weights)
    section.finding = (
        f"What runs here predicts what the network predicts: on {network.compared:,} images no "
        f"probability is further than {network.difference:.1e} from its own."
    )
    html, _ = page(report, alone=True)
    return html
