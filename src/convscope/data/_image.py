"""read_image: an image file as the tensor that networks take."""

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from convscope.data._file import read_file
from convscope.data._picture import Fit, decode, fit_to
from convscope.errors import ImageError, UsageError
from convscope.resizing import Resize

LARGEST_FILE = 1 << 27
SPOKEN = ("I08", "I15", "I16", "I18")


class ImageNotice(UserWarning):
    """Something about an image file that its reader should know."""


def read_image(
    path: Path | str,
    *,
    channels: int,
    size: tuple[int, int] | None = None,
    fit: Fit = "crop",
    background: float = 1.0,
    resize: Resize | None = None,
) -> Float[Tensor, "channel height width"]:
    """An image file as float32 in [0, 1].

    PNG, JPEG, GIF, BMP and WebP, recognized by content. The first frame, turned as its EXIF
    orientation says; transparency is laid over `background`; color profiles are ignored; 16-bit
    gray is scaled. Resizing is one antialiased bilinear step.

    Args:
        path: The file.
        channels: 1 (color becomes ITU-R 601 luma) or 3 (gray is repeated).
        size: (height, width) in pixels; None keeps the image's own.
        fit: ``"crop"`` cuts the longer sides off evenly, ``"stretch"`` changes the shape,
            ``"pad"`` adds black borders.
        background: Gray level in [0, 1] behind transparent pixels.
        resize: The network's own rule (`Classifier.resize`), in place of ``"crop"``.

    Returns:
        (channels, height, width).

    Raises:
        ImageError: Not a readable image (rows I01 to I22 of the catalogue).
        ResourceError: No permission to read the file.
        UsageError: Channels, size, fit or background without meaning.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "red.png"
        ...     Image.new("RGB", (4, 2), (255, 0, 0)).save(file)
        ...     image = read_image(file, channels=3)
        >>> image.shape, image[:, 0, 0].tolist()
        (torch.Size([3, 2, 4]), [1.0, 0.0, 0.0])
    """
    pixels, notes = read_pixels(
        Path(path), channels=channels, size=size, fit=fit, background=background, resize=resize
    )
    for note in notes:
        if note.startswith(SPOKEN):
            warnings.warn(f"{path}: {note}", ImageNotice, stacklevel=2)
    return pixels.to(torch.float32).div_(255)


def read_pixels(
    path: Path,
    *,
    channels: int,
    size: tuple[int, int] | None = None,
    fit: Fit = "crop",
    background: float = 1.0,
    resize: Resize | None = None,
) -> tuple[UInt8[Tensor, "channel height width"], tuple[str, ...]]:
    """As `read_image`, but bytes, and the notes instead of warnings."""
    if channels not in (1, 3):
        raise UsageError(f"channels is {channels}", expected="1 or 3", code="I17")
    if fit not in ("crop", "stretch", "pad"):
        raise UsageError(f"fit is {fit!r}", expected="crop, stretch or pad")
    if size is not None and min(size) < 1:
        raise UsageError(f"size is {size}", expected="(height, width), at least one pixel each")
    if not 0 <= background <= 1:
        raise UsageError(f"background is {background}", expected="a gray level in [0, 1]")
    file = _read_image_file(path)
    picture = decode(file, where=path, ending=path.suffix, background=round(background * 255))
    notes = list(picture.notes)
    if channels == 1 and picture.image.mode == "RGB":
        notes.append("I17: color reduced to luma (ITU-R 601)")
    if channels == 3 and picture.image.mode == "L":
        notes.append("I17: gray repeated in three channels")
    fitted = fit_to(picture.image, channels=channels, size=size, fit=fit, resize=resize)
    return to_tensor(fitted), tuple(notes)


def _read_image_file(path: Path) -> bytes:
    """The file's bytes; every refusal is an `ImageError`."""
    return read_file(path, limit=LARGEST_FILE, code="I02", kind=ImageError).data


def to_tensor(image: Image.Image) -> UInt8[Tensor, "channel height width"]:
    """Bytes of a gray or RGB image, channels first."""
    values = np.array(image, dtype=np.uint8)
    if values.ndim == 2:
        return torch.from_numpy(values)[None]
    return torch.from_numpy(values).permute(2, 0, 1).contiguous()
