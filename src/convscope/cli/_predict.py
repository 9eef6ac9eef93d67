"""``convscope predict``: the most probable classes of any number of images."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import cyclopts

from convscope.cli._opened import opened_network
from convscope.cli._options import (
    NOTHING,
    NOWHERE,
    USUAL,
    CommonOptions,
    ModelName,
    OutputOptions,
    OwnNetwork,
    check_names,
    check_number,
)
from convscope.cli._output import (
    SCREENFUL,
    Progress,
    counted,
    data_place,
    emit,
    next_step,
    progress,
    say,
    warn,
    wrote,
)
from convscope.errors import PartlyRefused, UsageError, printable

if TYPE_CHECKING:
    from convscope.classifier import Classifier, Predictions
    from convscope.data import ImageStream

BAR = 24
"""Letters of the bar of a certain class."""


def predict(
    model: ModelName,
    /,
    *images: str,
    top: int = 3,
    common: CommonOptions = USUAL,
    output: OutputOptions = NOWHERE,
    network: OwnNetwork = NOTHING,
) -> None:
    """Predict images: the most probable classes of each, with their probabilities.

    Images are read, predicted and let go a batch at a time, however many there are. One that
    cannot be read is left out and listed, and the exit code is 8.

    Args:
        model: The network.
        images: photo.png, "photos/*.jpg", a folder, mnist:test/0-9, folder:DIRECTORY; several.
        top: How many classes of each image.
        common: What is the same everywhere.
        output: What to write.
        network: What the files of a network of your own do not say.
    """
    if not images:
        raise UsageError(
            "no images were named",
            code="U01",
            expected="such as convscope predict MODEL photo.png",
        )
    output.check()
    check_number("--top", top)
    check_names(models=[model], images=images)
    classifier = opened_network(model, network=network, device=common.device)
    from convscope.data import refuse_nothing_read, stream_images
    from convscope.pages import class_rows, joined_predictions, write_predictions

    stream = stream_images(
        images, like=classifier, data_dir=common.data_dir, offline=common.offline,
        skip_bad=common.skip_bad, accept_modified=common.accept_modified,
    )  # fmt: skip
    lines = _Lines(at_once=not common.as_json and not sys.stdout.isatty())
    refused: list[str] = []
    with progress(f"predicting {counted(stream.count)}", total=stream.count) as bar:
        found = joined_predictions(
            lines.passed_on(_predicted(classifier, stream, top, refused, bar))
        )
    refuse_nothing_read(stream.count, refused)
    rows = class_rows(found)
    if common.as_json:
        emit({"images": _by_image(rows), "top": top, "refused": refused}, as_json=True)
    else:
        lines.finish(rows, written=output.out is not None)
    if output.out is not None:
        write_predictions(
            found, output.out, source=classifier.source, force=output.force, formats=output.kinds
        )
        wrote(output.out)
    for reason in refused:
        warn(reason)
    if refused:
        raise PartlyRefused(
            f"{counted(len(refused))} could not be read; the rest is done", code="I21"
        )
    place = [*data_place(common.data_dir), *network.again()]
    next_step("convscope inspect", model, images[0], *place, "--out", "look.html")


def _predicted(
    classifier: Classifier,
    stream: ImageStream,
    top: int,
    refused: list[str],
    bar: Progress,
) -> Iterator[Predictions]:
    """What is predicted of each piece; warnings are printed and refusals kept on the way."""
    from dataclasses import replace

    names: list[tuple[str, ...]] = []

    def batches() -> Iterator[Any]:
        for piece in stream.pieces:
            for note in piece.notes:
                warn(note)
            refused.extend(piece.refused)
            bar.advance(len(piece.refused))
            names.append(piece.names)
            yield piece.images

    for count, part in enumerate(classifier.predict_each(batches(), top)):
        bar.advance(len(part))
        yield replace(part, image_names=names[count])
        names[count] = ()


class _Lines:
    """The rows on stdout: in a pipe as they come, on a terminal in blocks when all are there."""

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once

    def passed_on(self, parts: Iterator[Predictions]) -> Iterator[Predictions]:
        """Each part, printed if lines are printed as they come."""
        from convscope.pages import class_rows

        for count, part in enumerate(parts):
            if self.at_once:
                if count == 0:
                    print("image\trank\tnumber\tclass\tprobability")
                for row in class_rows(part):
                    cells = [*list(row.values())[:-1], f"{row['probability']:.4g}"]
                    print("\t".join(printable(str(cell), limit=2000) for cell in cells))
                sys.stdout.flush()
            yield part

    def finish(self, rows: Sequence[dict[str, Any]], *, written: bool) -> None:
        """On a terminal: a block per image, the first of many."""
        if self.at_once:
            return
        blocks = _by_image(rows)
        for block in blocks[:SCREENFUL]:
            print("\n".join(block_lines(block)))
        if len(blocks) > SCREENFUL:
            place = "what --out names" if written else "--json, and --out NAME writes them"
            say(f"the first {SCREENFUL} of {len(blocks):,} images; all are in {place}")


def _by_image(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as one entry per image, with its classes."""
    blocks = []
    for _, several in groupby(enumerate(rows), lambda pair: pair[0] - pair[1]["rank"]):
        lines = [row for _, row in several]
        keys = ("number", "class", "probability")
        blocks.append(
            {
                "image": lines[0]["image"],
                "classes": [{key: line[key] for key in keys} for line in lines],
            }
        )
    return blocks


def block_lines(block: dict[str, Any]) -> list[str]:
    r"""An image and its classes, with bars, for a terminal.

    Example:
        >>> classes = [{"class": "bell pepper", "probability": 0.75}]
        >>> print("\n".join(block_lines({"image": "peppers.png", "classes": classes})))
        peppers.png
          bell pepper  0.750  ██████████████████
    """
    names = [printable(entry["class"], limit=60) for entry in block["classes"]]
    width = max(map(len, names), default=0)
    lines = [printable(block["image"], limit=2000)]
    for name, entry in zip(names, block["classes"], strict=True):
        share = entry["probability"]
        lines.append(f"  {name:<{width}}  {share:.3f}  {_bar(share)}".rstrip())
    return lines


def _bar(share: float) -> str:
    """A bar to an eighth of a letter."""
    whole, eighths = divmod(round(8 * BAR * share), 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip()


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(predict)
