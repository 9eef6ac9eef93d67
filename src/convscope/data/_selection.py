"""Selection: images chosen for a method, and what chooses them must know."""

from dataclasses import dataclass
from typing import Protocol

from convscope._readable import readable
from convscope.types import Images, Labels


class TakesImages(Protocol):
    """Anything that says which images it takes: a `Classifier`, for example."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class."""
        ...


@readable
@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """Images chosen for a method.

    Args:
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) true classes, or None if they are not known for every image.
        names: What to call each image: ``"mnist:test/7"`` or the file's path.
        notes: What was done to some of them on the way (colors, transparency, orientation).
        refused: Files left out, with the reason.
    """

    images: Images
    labels: Labels | None
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)
