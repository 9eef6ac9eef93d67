"""What is odd about the content of a data set: a single class, or images in two splits."""

from __future__ import annotations

from collections.abc import Sequence

from convscope.data._split import Split
from convscope.data._stored import digest_of


def content_warnings(
    train: Split, validation: Split, test: Split, *, digests: Sequence[bytes] | None = None
) -> tuple[str, ...]:
    """What is odd about a data set as a whole: one class only, or images in two splits (D11, D25).

    Args:
        train: Training images.
        validation: Validation images.
        test: Test images.
        digests: A hash of the pixels of every image, split after split, if they are known.

    Returns:
        Sentences; none for ordinary data.
    """
    warnings = []
    for split in (train, validation, test):
        if len(split) and int(split.labels.min()) == int(split.labels.max()):
            warnings.append(
                f"D11: all {len(split)} labels of the {split.name} split are class "
                f"{int(split.labels[0])}"
            )
    if digests is None:
        lists = [_digest_list(split) for split in (train, validation, test)]
    else:
        ends = [0, len(train), len(train) + len(validation), len(digests)]
        lists = [list(digests[ends[k] : ends[k + 1]]) for k in range(3)]
    known = set(lists[0])
    for split, own in zip((validation, test), lists[1:], strict=True):
        shared = sum(digest in known for digest in own)
        if shared:
            warnings.append(
                f"D25: {shared} of {len(split)} {split.name} images are also in the training "
                "split, pixel for pixel: scores on them are too good"
            )
    both = set(lists[1])
    shared = sum(digest in both for digest in lists[2])
    if shared:
        warnings.append(
            f"D25: {shared} of {len(test)} test images are also in the validation split"
        )
    return tuple(warnings)


def _digest_list(split: Split) -> list[bytes]:
    return [digest_of(image) for part in split.parts() for image in part.numpy()]
