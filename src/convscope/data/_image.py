"""Read one image file: pixels, orientation, color, size."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from convscope.data._file import FileBytes, read_file
from convscope.data._image_structure import UNREADABLE, Structure, inspect_image
from convscope.errors import ImageError, UsageError
from convscope.resizing import Resize

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from numpy.typing import NDArray
    from torch import Tensor

MOST_PIXELS = 24_000_000
LONGEST_SIDE = 16_384
PILLOW_WARNS = 89_478_485  # Pillow's own limit, which only warns; twice that is its error
LONGEST_ASPECT = 20
ENDINGS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".webp": "WEBP",
}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Fit = Literal["crop", "stretch", "pad"]


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Args:
        image: Mode ``"L"`` or ``"RGB"``.
        notes: What was done to it, each with its code (`convscope.error_codes`).
    """

    image: Image.Image
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PictureHeader:
    """What the header of an image says.

    Args:
        width: Pixels, after the camera's orientation.
        height: Pixels, after the camera's orientation.
        gray: Whether it has no colors.
    """

    width: int
    height: int
    gray: bool


def decode(data: bytes, *, where: object, ending: str = "", background: int = 255) -> Picture:
    """Pixels of an image file.

    Args:
        data: The whole file.
        where: For the error texts.
        ending: File name ending, compared with the content.
        background: Gray level 0 to 255 behind transparent pixels.

    Returns:
        The first frame, upright.

    Raises:
        ImageError: ``I01`` to ``I07`` or ``I11``.
    """
    structure = inspect_image(data, where=where)
    notes = []
    if ENDINGS.get(ending.lower(), structure.format) != structure.format:
        notes.append(f"I08: named {ending} but is {structure.format}")
    if structure.animated:
        notes.append("I16: animated; the first frame is used")
    notes.extend(f"I19: {what} ignored" for what in structure.dropped)
    with _open(structure, where) as image:
        try:
            image.load()
            profile = "icc_profile" in image.info
            turned, turn_notes = _upright(image, structure.orientation)
            plain, plain_notes = to_plain(turned, background=background)
        except ImageError as error:
            error.where = str(where)
            raise
        except Exception as error:
            raise _damaged(error, where) from None
    if profile:
        notes.append("I19: color profile ignored")
    if max(plain.size) > LONGEST_ASPECT * min(plain.size):
        notes.append(f"I18: {plain.width}x{plain.height} is a very long image")
    return Picture(plain, (*notes, *turn_notes, *plain_notes))


def read_header(data: bytes, *, where: object) -> PictureHeader:
    """Size and kind of an image, without decoding it.

    Raises:
        ImageError: As `decode`, but damage behind the header stays unseen.
    """
    structure = inspect_image(data, where=where)
    with _open(structure, where) as image:
        width, height = image.size
        if structure.orientation >= 5:
            width, height = height, width
        return PictureHeader(width, height, image.mode in ("1", "L", "LA", "La", "I;16", "I;16B"))


def _open(structure: Structure, where: object) -> Image.Image:
    """The lazily opened image, its declared size within limits."""
    _check_size(*structure.size, where)
    try:
        image = Image.open(io.BytesIO(structure.data), formats=(structure.format,))
    except Exception as error:
        raise _damaged(error, where) from None
    try:
        _check_size(*image.size, where)
    except ImageError:
        image.close()
        raise
    return image


def _check_size(width: int, height: int, where: object) -> None:
    if max(width, height) > LONGEST_SIDE:
        raise _too_large(f"declares {width}x{height} pixels", "I04", where)
    if width * height > MOST_PIXELS:
        code = "I02" if width * height > 2 * PILLOW_WARNS else "I03"
        raise _too_large(f"declares {width}x{height} pixels", code, where)


def _too_large(what: str, code: str, where: object) -> ImageError:
    return ImageError(
        what,
        code=code,
        where=where,
        expected=f"at most {MOST_PIXELS / 1e6:.0f} million pixels and {LONGEST_SIDE:,} on a side",
        hint="make the image smaller first",
    )


def _damaged(error: Exception, where: object) -> ImageError:
    text = str(error).lower()
    if "truncated" in text or isinstance(error, EOFError):
        return ImageError("image file is cut off", code="I05", where=where, hint="copy it again")
    return ImageError(
        f"image is damaged ({type(error).__name__}: {error})", code="I06", where=where
    )


def _upright(image: Image.Image, orientation: int) -> tuple[Image.Image, tuple[str, ...]]:
    """The image as the camera was held."""
    if orientation == UNREADABLE:
        return image, ("I15: camera data unreadable, orientation unknown",)
    if orientation == 1:
        return image, ()
    return image.transpose(TURNS[orientation]), (f"I14: turned as its EXIF says ({orientation})",)


def to_plain(image: Image.Image, *, background: int = 255) -> tuple[Image.Image, tuple[str, ...]]:
    """Gray (``"L"``) or ``"RGB"`` from any mode.

    16-bit gray is scaled by 1 / 257 (Pillow's own conversion would saturate), transparency is laid
    over the background, other color spaces are converted by Pillow.

    Args:
        image: Any mode.
        background: Gray level 0 to 255 behind transparent pixels.

    Returns:
        The image and notes on what was done.

    Raises:
        ImageError: ``I11``: 32-bit pixels, whose range nobody declared, or an unknown mode.

    Example:
        >>> deep = Image.fromarray(np.array([[0, 257, 65535]], dtype=np.uint16))
        >>> np.asarray(to_plain(deep)[0]).tolist()
        [[0, 1, 255]]
    """
    mode = image.mode
    if mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)), (
            "I10: 16-bit gray scaled to 8 bits",
        )
    if mode in ("I", "F"):
        raise ImageError(
            f"pixels are 32-bit numbers (mode {mode}) of unknown range",
            code="I11",
            expected="8 or 16 bits per pixel",
            hint="scale it to 8 bits and save it as PNG",
        )
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        gray = mode in ("LA", "La", "L", "1")
        if mode == "La":
            image = image.convert("LA")
        colors = image.convert("RGBA")
        lowest = int(np.asarray(colors.getchannel("A")).min())
        canvas = Image.new("RGBA", colors.size, (background, background, background, 255))
        merged = Image.alpha_composite(canvas, colors).convert("L" if gray else "RGB")
        notes = () if lowest == 255 else (f"I12: transparency laid over gray level {background}",)
        return merged, notes
    if mode in ("L", "RGB"):
        return image, ()
    try:
        return image.convert("L" if mode == "1" else "RGB"), ()
    except ValueError:
        raise ImageError(f"pixels of mode {mode} are not supported", code="I11") from None


def fit_to(
    image: Image.Image,
    *,
    channels: int,
    size: tuple[int, int] | None,
    fit: Fit = "crop",
    resample: Image.Resampling = Image.Resampling.BILINEAR,
    resize: Resize | None = None,
) -> Image.Image:
    """The image with the wanted channels and size.

    One antialiased bilinear resize (Pillow's, in whole numbers) does everything: cropping is a
    window of the source, so nothing is resampled twice. A network that says how it wants its
    images (`resize`) gets them that way.

    Args:
        image: Mode ``"L"`` or ``"RGB"``.
        channels: 1 (ITU-R 601 luma) or 3 (gray is repeated).
        size: (height, width), or None for the image's own.
        fit: ``"crop"`` cuts the longer sides off evenly, ``"stretch"`` changes the shape,
            ``"pad"`` adds black borders.
        resample: Nearest for masks, which have no values in between.
        resize: The network's own rule; it stands in for ``"crop"`` where it makes that size.

    Returns:
        Mode ``"L"`` or ``"RGB"`` of exactly that size.
    """
    image = image.convert("L" if channels == 1 else "RGB")
    if resize is not None and fit == "crop" and size in (None, resize.output):
        tall, wide = resize.resized(image.height, image.width)
        if max(tall, wide) > LONGEST_SIDE or tall * wide > MOST_PIXELS:
            raise _too_large(f"would have {wide}x{tall} pixels after resizing", "I03", "")
        return resize.apply(image, nearest=resample == Image.Resampling.NEAREST)
    if size is None or image.size == (size[1], size[0]):
        return image
    height, width = size
    scale = max(width / image.width, height / image.height)
    if fit == "pad":
        scale = min(width / image.width, height / image.height)
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        canvas = Image.new(image.mode, (width, height))
        corner = ((width - inner[0]) // 2, (height - inner[1]) // 2)
        canvas.paste(image.resize(inner, resample), corner)
        return canvas
    seen = (width / scale, height / scale) if fit == "crop" else image.size
    left, top = (image.width - seen[0]) / 2, (image.height - seen[1]) / 2
    box = (max(0.0, left), max(0.0, top), min(image.width, left + seen[0]),
           min(image.height, top + seen[1]))  # fmt: skip
    return image.resize((width, height), resample, box=box)


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
        ImageError: Not a readable image (I01 to I22).
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
    return pixels.float().div_(255)


def decode_image(
    data: bytes,
    name: str,
    *,
    channels: int,
    size: tuple[int, int] | None = None,
    fit: Fit = "crop",
    resize: Resize | None = None,
) -> tuple[Float[Tensor, "channel height width"], tuple[str, ...]]:
    """As `read_image`, of bytes that are in memory; the notes are given, not warned of.

    Size and structure are checked before a pixel is decoded.

    Args:
        data: The content of an image file.
        name: What it is called, for messages and to compare its ending with the content.
        channels: As for `read_image`.
        size: As for `read_image`.
        fit: As for `read_image`.
        resize: As for `read_image`.

    Returns:
        (channels, height, width), and a sentence with its code for each thing that was done.

    Raises:
        ImageError: Not a readable image (I01 to I22).

    Example:
        >>> content = io.BytesIO()
        >>> Image.new("L", (4, 2), 255).save(content, "PNG")
        >>> image, notes = decode_image(content.getvalue(), "white.png", channels=1)
        >>> image.shape, notes
        (torch.Size([1, 2, 4]), ())
    """
    pixels, notes = fitted_pixels(
        data, Path(name), channels=channels, size=size, fit=fit, resize=resize
    )
    return pixels.float().div_(255), notes


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
    return fitted_pixels(
        read_image_file(path).data, path, channels=channels, size=size, fit=fit,
        background=background, resize=resize,
    )  # fmt: skip


def fitted_pixels(
    data: bytes,
    path: Path,
    *,
    channels: int,
    size: tuple[int, int] | None,
    fit: Fit = "crop",
    background: float = 1.0,
    resize: Resize | None = None,
) -> tuple[UInt8[Tensor, "channel height width"], tuple[str, ...]]:
    """As `read_pixels`, of the bytes of a file that has been read."""
    import torch

    pixels, notes = decoded_array(
        data, path, ending=path.suffix, channels=channels, size=size, fit=fit,
        background=background, resize=resize,
    )  # fmt: skip
    return torch.from_numpy(pixels), notes


def decoded_array(
    data: bytes,
    where: object,
    *,
    ending: str,
    channels: int,
    size: tuple[int, int] | None,
    fit: Fit = "crop",
    background: float = 1.0,
    resize: Resize | None = None,
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """As `fitted_pixels`, without torch: what the processes that decode do."""
    picture = decode(data, where=where, ending=ending, background=round(background * 255))
    notes = list(picture.notes)
    if channels == 1 and picture.image.mode == "RGB":
        notes.append("I17: color reduced to luma (ITU-R 601)")
    if channels == 3 and picture.image.mode == "L":
        notes.append("I17: gray repeated in three channels")
    fitted = fit_to(picture.image, channels=channels, size=size, fit=fit, resize=resize)
    return to_array(fitted), tuple(notes)


def read_image_file(path: Path) -> FileBytes:
    """The file's bytes and their hash; every refusal is an `ImageError`."""
    return read_file(path, limit=LARGEST_FILE, code="I02", kind=ImageError)


def to_tensor(image: Image.Image) -> UInt8[Tensor, "channel height width"]:
    """Bytes of a gray or RGB image, channels first."""
    import torch

    return torch.from_numpy(to_array(image))


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """Bytes of a gray or RGB image, channels first; no torch is needed."""
    values = np.array(image, dtype=np.uint8)
    if values.ndim == 2:
        return values[None]
    return np.ascontiguousarray(values.transpose(2, 0, 1))
