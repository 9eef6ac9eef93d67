"""What commands that attack or judge begin with: a network, and the part of a data set for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli._options import NOTHING, USUAL, Common, ModelOptions
from convscope.cli._output import showing_progress, warn
from convscope.errors import DataError, PartlyRefused, UsageError

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.data import ClassMatch, Dataset, Selection, Split


def opened_network(
    model: str,
    *,
    named: bool = False,
    network: ModelOptions = NOTHING,
    device: str = "cpu",
    allow_nonfinite: bool = False,
) -> Classifier:
    """Load a network, move it to its device, and say what is odd about it.

    Args:
        model: What was typed.
        named: Whether warnings name it, as is needed where there are several.
        network: What the files do not say.
        device: As `convscope.devices.resolve_device` takes it.
        allow_nonfinite: Load weights with NaN or infinity.

    Raises:
        ResourceError: T27, the device is not there.
    """
    from convscope.training import tune_allocator

    tune_allocator()
    # Images and results stay on the CPU; a probe hands chunks over and takes them back.
    classifier = network.load(model, allow_nonfinite=allow_nonfinite, device=device)
    for flag in classifier.flags:
        warn(f"{model}: {flag}" if named else flag)
    return classifier


def opened_images(classifier: Classifier, specs: Sequence[str], common: Common) -> Selection:
    """The images that were named, as the network takes them; warnings are printed.

    Args:
        classifier: The network.
        specs: Images as typed.
        common: Where data are.
    """
    from convscope.data import select_images

    with showing_progress("reading images"):
        images = select_images(
            specs, like=classifier, data_dir=common.data_dir, offline=common.offline,
            skip_bad=common.skip_bad, accept_modified=common.accept_modified,
        )  # fmt: skip
    for note in images.notes:
        warn(note)
    return images


def opened_training_data(
    data: str,
    base: Classifier | None,
    *,
    data_dir: Path | None,
    offline: bool,
    accept_modified: bool,
    skip_bad: bool,
) -> Dataset:
    """A data set to train on, in the size that `base` takes; the caller prints its warnings.

    Args:
        data: As typed.
        base: The network that is trained further, if there is one.
        data_dir: Folder that holds the data files.
        offline: Never download.
        accept_modified: Go on with data files whose checksum is not the known one.
        skip_bad: Leave images out that cannot be read.
    """
    from convscope.data import open_dataset

    with showing_progress("reading images"):
        dataset = open_dataset(
            data,
            data_dir=data_dir,
            offline=offline,
            accept_modified=accept_modified,
            skip_bad=skip_bad,
            input_shape=None if base is None else base.input_shape,
            resize=None if base is None else base.resize,
        )
    dataset.check_trainable()
    return dataset


@dataclass(frozen=True, kw_only=True)
class OpenedData:
    """A data set in the classes of a network, and the part of it that a command works on.

    Attributes:
        dataset: With the network's class numbers; images of other classes are left out.
        split: The images, all or a sample of the split that was chosen.
        match: How the classes were matched.
        of: Images in the split that `split` is a sample of.
        absent: Classes of the data without an image in `split`.
        labeled: Whether the labels of `split` are classes of the network.
    """

    dataset: Dataset
    split: Split
    match: ClassMatch
    of: int
    absent: tuple[str, ...]
    labeled: bool = True

    def facts(self) -> dict[str, Any]:
        """For machines: which images were chosen, and what is not among them."""
        return {
            "split": self.split.name,
            "images": len(self.split),
            "of": self.of,
            "absent_classes": list(self.absent),
            "matching": {
                "how": self.match.how if self.labeled else "not at all",
                "left_out": dict(self.match.left_out),
                "notes": list(self.match.notes),
            },
            "warnings": list(self.dataset.warnings),
            "refused": list(self.dataset.refused),
        }

    def raise_if_refused(self) -> None:
        """End with exit code 8 if files were left out; the work is done by now.

        Raises:
            PartlyRefused: D21 with their number; each is listed on stderr.
        """
        raise_if_refused(self.dataset)


def raise_if_refused(dataset: Dataset) -> None:
    """End with exit code 8 if files of a data set were left out, and list them.

    Raises:
        PartlyRefused: D21 with their number.
    """
    raise_if_left_out(dataset.refused)


def raise_if_left_out(refused: Sequence[str]) -> None:
    """End with exit code 8 if there are reasons why files were left out, and list them.

    Raises:
        PartlyRefused: D21 with their number.
    """
    for reason in refused:
        warn(reason)
    if refused:
        count = len(refused)
        raise PartlyRefused(
            f"{count} item{'s were' if count > 1 else ' was'} left out; the rest is done",
            code="D21",
        )


def opened_data(
    classifier: Classifier,
    data: str,
    *,
    split: str | None = None,
    count: int | None = None,
    common: Common = USUAL,
    labels_needed: bool = True,
) -> OpenedData:
    """A part of a data set, as the network takes its images and numbers its classes.

    Says what was left out and which classes are not there.

    Args:
        classifier: The network.
        data: A data set's name or ``folder:DIRECTORY``.
        split: ``train``, ``validation``, ``test`` or ``all``; by default what suits
            (`Dataset.split_to_judge`).
        count: At most this many images: a sample with every class in proportion (`sample_rows`).
        common: Where the data are, and the seed of the sample.
        labels_needed: False: images whose classes the network does not have are welcome, too. If
            these are most classes, all images are kept, without labels.
    """
    if count is not None and count < 1:
        raise UsageError(f"{count} images", code="U05", expected="at least 1")
    from convscope.data import (
        ClassMatch,
        absent_sentence,
        match_classes,
        match_dataset,
        open_dataset,
        sample_rows,
    )

    with showing_progress("reading images"):
        found = open_dataset(
            data,
            data_dir=common.data_dir,
            offline=common.offline,
            accept_modified=common.accept_modified,
            skip_bad=common.skip_bad,
            input_shape=classifier.input_shape,
            resize=classifier.resize,
            check_classes=partial(match_classes, network=classifier.class_names, where=data)
            if labels_needed
            else None,
        )
    labeled = True
    try:
        dataset, match = match_dataset(found, classifier)
        labeled = labels_needed or 2 * len(match.left_out) <= len(found.class_names)
    except DataError:
        if labels_needed:
            raise
        labeled = False
    if not labeled:
        numbers = tuple(range(len(found.class_names)))
        dataset, match = found, ClassMatch(numbers=numbers, how="equal")
        warn("the network has no class for most of these images: predicted classes stand in")
    for warning in dataset.warnings:
        warn(warning)
    if split is None:
        split, note = dataset.split_to_judge(classifier.source)
        if note:
            warn(note)
    part = dataset.split(split)
    of = len(part)
    if count is not None and count < of:
        part = part.subset(sample_rows(part.labels, count, seed=common.seed))
    absent = match.absent(found.class_names, part.labels)
    if absent:
        warn(absent_sentence(absent, len(part)))
    return OpenedData(
        dataset=dataset, split=part, match=match, of=of, absent=absent, labeled=labeled
    )


def said_class(number: int, names: tuple[str, ...], typed: str = "") -> dict[str, Any]:
    """A target as number and name, for JSON; warn where a number may mislead."""
    from convscope.data import about_class

    warning = about_class(number, names, typed=typed)[1]
    if warning:
        warn(warning)
    return {"number": number, "name": names[number]}
