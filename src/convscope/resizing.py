"""Resize: how an image file of any size becomes what one network takes.

A network learned from images that were brought to size in one particular way, and it predicts best
on images treated alike. The rule belongs to the `Classifier`; whoever decodes files for it obeys.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from PIL import Image

from convscope.errors import UsageError

Resample = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
LONGEST = 16_384


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Resize a decoded 8-bit image, then cut out its center.

    Args:
        shortest: The shorter side after resizing, in pixels; the longer side in proportion,
            rounded down. Give this or `size`, or neither: then nothing is resized.
        size: (height, width) after resizing, whatever the proportions were.
        crop: (height, width) of the window that is cut from the center; black is added where the
            image is smaller. None keeps all of it.
        resample: Pillow's filter of that name, antialiased.
        center: Where the window begins if an odd number of pixels is left over: ``"floor"`` as
            transformers has it, ``"round"`` (half to even) as torchvision and timm do.

    Raises:
        UsageError: U10, sizes without meaning, or `shortest` without `crop`.

    Example:
        >>> usual = Resize(shortest=256, crop=(224, 224))
        >>> usual.output, usual.resized(500, 375)
        ((224, 224), (341, 256))
        >>> str(usual)
        'shorter side 256, center 224 x 224, bilinear'

    Source:
        The rounding is that of torchvision's ``Resize`` and of transformers' image processors.
    """

    shortest: int | None = None
    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    resample: Resample = "bilinear"
    center: Literal["floor", "round"] = "floor"

    def __post_init__(self) -> None:
        sides = [*(self.size or ()), *(self.crop or ())]
        sides += [] if self.shortest is None else [self.shortest]
        if not all(type(side) is int and 1 <= side <= LONGEST for side in sides):
            raise UsageError(
                f"sizes of {sides}", code="U10", expected=f"whole numbers from 1 to {LONGEST:,}"
            )
        if self.shortest is not None and self.size is not None:
            raise UsageError("shortest and size exclude each other", code="U10")
        if self.crop is None and self.size is None:
            raise UsageError("the size that comes out is open", code="U10", expected="size or crop")
        if self.center not in ("floor", "round"):
            raise UsageError(f"center is {self.center!r}", code="U10", expected="floor or round")
        if self.resample not in get_args(Resample):
            raise UsageError(
                f"resample is {self.resample!r}",
                code="U10",
                expected=f"one of {', '.join(get_args(Resample))}",
            )

    @property
    def output(self) -> tuple[int, int]:
        """(height, width) of every image that comes out."""
        found = self.crop or self.size
        assert found is not None, "checked on construction"
        return found

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of an image after resizing, before the center is cut out.

        Args:
            height: Of the decoded image, in pixels.
            width: Of the decoded image, in pixels.
        """
        if self.size is not None:
            return self.size
        if self.shortest is None:
            return height, width
        longer = int(self.shortest * max(height, width) / min(height, width))
        return (longer, self.shortest) if width <= height else (self.shortest, longer)

    def apply(self, image: Image.Image, *, nearest: bool = False) -> Image.Image:
        """An image of exactly `output`.

        Args:
            image: Mode ``"L"`` or ``"RGB"``.
            nearest: Take the nearest pixel whatever `resample` says, for masks.

        Example:
            >>> Resize(shortest=4, crop=(3, 3)).apply(Image.new("L", (20, 10))).size
            (3, 3)
        """
        height, width = self.resized(image.height, image.width)
        if (width, height) != image.size:
            name = "NEAREST" if nearest else self.resample.upper()
            image = image.resize((width, height), Image.Resampling[name])
        if self.crop is None:
            return image
        tall, wide = self.crop
        over = (height - tall, width - wide)
        top, left = (n // 2 if self.center == "floor" else round(n / 2) for n in over)
        return image.crop((left, top, left + wide, top + tall))

    def __str__(self) -> str:
        """One line for reports."""
        parts = []
        if self.shortest is not None:
            parts.append(f"shorter side {self.shortest}")
        if self.size is not None:
            parts.append(f"resized to {self.size[0]} x {self.size[1]}")
        if self.crop is not None:
            parts.append(f"center {self.crop[0]} x {self.crop[1]}")
        return ", ".join([*parts, self.resample])
