"""Tensors to native-resolution PNG: one pixel of data is one pixel of the file.

A page enlarges such a file without blurring and a 32-map mosaic costs 20 KB, a tenth of what a
plotted figure would.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import Colormap
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from convscope.errors import UsageError
from convscope.figures._theme import POSITIVE, SIGNED

Pixels = NDArray[np.uint8]
"""8 bits: gray ``(height, width)``, color ``(..., 3)``, or color with opacity ``(..., 4)``."""

GAP = (161, 160, 161)
"""Color of the lines between tiles, which `png` turns transparent; no tile keeps it."""

SHADES, FEW_SHADES = 129, 33
"""Colors of a large and a small heat map: each costs bytes. Odd, so that zero is one."""

OVERLAY_SHADES = 17
"""Grays, and opacities, of a small map on its image: the exact map stands beside it."""


LUMINANCE = (0.299, 0.587, 0.114)
GRAYS = (40, 216)
"""Black and white of an image below a map: colors stand out against both."""

COVER = 0.75
"""Opacity of the strongest color above an image."""


def to_numpy(values: ArrayLike | Tensor) -> NDArray[Any]:
    """Numbers of a result as an array of the CPU: every figure takes tensors through this door.

    Example:
        >>> import torch
        >>> to_numpy(torch.ones(2, requires_grad=True)).tolist()
        [1.0, 1.0]
    """
    if isinstance(values, Tensor):
        array: NDArray[Any] = values.detach().cpu().numpy()
        return array
    return np.asarray(values)


def pixels(image: Tensor | NDArray[np.floating]) -> Pixels:
    """An image ``(1 or 3, height, width)`` in [0, 1] as 8-bit pixels; NaN becomes mid-gray.

    Example:
        >>> import torch
        >>> pixels(torch.ones(1, 2, 2)).tolist()
        [[255, 255], [255, 255]]
    """
    array = to_numpy(image).astype(np.float32)
    if array.ndim != 3 or array.shape[0] not in (1, 3):
        raise UsageError(
            f"cannot draw an image of shape {array.shape}", expected="(1 or 3, height, width)"
        )
    array = np.nan_to_num(array, nan=0.5, posinf=1.0, neginf=0.0)
    data = (array.clip(0, 1) * 255).round().astype(np.uint8)
    return data[0] if data.shape[0] == 1 else np.ascontiguousarray(data.transpose(1, 2, 0))


def stretched(values: Tensor | NDArray[np.floating]) -> Pixels:
    """A map ``(height, width)`` as gray pixels, its smallest value black, its largest white."""
    array = _finite(values)
    low, high = float(array.min()), float(array.max())
    scaled = (array - low) / (high - low) if high > low else np.zeros_like(array)
    return (scaled * 255).round().astype(np.uint8)


def heat(
    values: Tensor | NDArray[np.floating], *, signed: bool, limit: float | None = None
) -> Pixels:
    """A map ``(height, width)`` as colors.

    Args:
        values: Raw map.
        signed: Blue below zero, orange above, transparent at zero; otherwise dark to bright. It is
            a matter of what the numbers are, not of whether any of them is negative.
        limit: The value that gets the strongest color; by default the largest magnitude here.

    Returns:
        ``(height, width, 3)``, with opacity ``(height, width, 4)`` if signed.
    """
    array = _finite(values)
    top = float(np.abs(array).max()) if limit is None else limit
    top = top if top > 0 and math.isfinite(top) else 1.0
    return colored(array / (2 * top) + 0.5, SIGNED) if signed else colored(array / top, POSITIVE)


def overlay(
    values: Tensor | NDArray[np.floating],
    image: Tensor | NDArray[np.floating],
    *,
    signed: bool,
    limit: float | None = None,
) -> Pixels:
    """A map laid over its image, whose own colors are taken out.

    Args:
        values: Raw map ``(height, width)``.
        image: ``(1 or 3, height, width)`` in [0, 1].
        signed: As for `heat`.
        limit: As for `heat`: a pixel with this value is covered most, one with half of it half as
            much, and where the map is zero the image is left as it is.

    Returns:
        ``(height, width, 3)``.

    Example:
        >>> overlay(np.zeros((1, 1)), np.ones((1, 1, 1)), signed=True).tolist()
        [[[216, 216, 216]]]
    """
    array = _finite(values)
    top = float(np.abs(array).max()) if limit is None else limit
    top = top if top > 0 and math.isfinite(top) else 1.0
    colors = heat(array, signed=signed, limit=top)
    shades = OVERLAY_SHADES if max(array.shape) <= 64 else SHADES
    strength = (np.clip(np.abs(array) / top, 0, 1) * (shades - 1)).round() / (shades - 1)
    seen = pixels(image).astype(np.float32)
    light = seen if seen.ndim == 2 else seen @ np.asarray(LUMINANCE, np.float32)
    low, high = GRAYS
    gray = low + np.round(light / 255 * (shades - 1)) * (high - low) / (shades - 1)
    cover = (COVER * strength)[..., None]
    mixed = gray[..., None] * (1 - cover) + colors[..., :3] * cover
    return mixed.round().astype(np.uint8)


def scale_bar(*, signed: bool, length: int = 57, height: int = 4) -> Pixels:
    """The colors of a map from its smallest to its largest value, left to right."""
    values = np.linspace(-1 if signed else 0, 1, length, dtype=np.float32)
    return heat(np.tile(values, (height, 1)), signed=signed, limit=1.0)


def change_tile(change: Tensor | NDArray[np.floating], *, limit: float) -> Pixels:
    """What is added to an image ``(1 or 3, height, width)``, at full range.

    Args:
        change: Of one channel: orange is brighter, blue is darker. Of three: gray is no change.
        limit: The change that gets the strongest color.
    """
    array = to_numpy(change)
    if len(array) == 1:
        return heat(array[0], signed=True, limit=limit)
    return pixels(array / (2 * (limit or 1.0)) + 0.5)


def colored(scaled: NDArray[np.floating], colors: str | Colormap) -> Pixels:
    """Values in [0, 1] through a color map, ``(height, width, 3)``, or 4 if it has opacity."""
    shades = FEW_SHADES if max(scaled.shape) <= 64 else SHADES
    known = matplotlib.colormaps[colors] if isinstance(colors, str) else colors
    table = (known(np.linspace(0, 1, shades)) * 255).round()
    if (table[:, 3] == 255).all():
        table = table[:, :3]
    index = (np.clip(scaled, 0, 1) * (shades - 1)).round().astype(np.intp)
    return table.astype(np.uint8)[index]


def mosaic(
    tiles: Sequence[Pixels],
    *,
    columns: int,
    gap: int = 1,
    between: tuple[int, int, int] = GAP,
) -> Pixels:
    """Equal tiles on a grid, left to right, top to bottom.

    Args:
        tiles: Gray or color, all of one size.
        columns: Tiles per row.
        gap: Pixels between tiles.
        between: Color of the gaps; by default they become transparent in a PNG.

    Example:
        >>> mosaic([np.zeros((2, 2), np.uint8)] * 3, columns=2).shape
        (5, 5)
    """
    if not tiles:
        raise UsageError("a mosaic needs at least one tile")
    color = any(tile.ndim == 3 for tile in tiles)
    height, width = tiles[0].shape[:2]
    columns = max(1, min(columns, len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    sheet = np.empty((*shape, 3) if color else shape, dtype=np.uint8)
    sheet[:] = between if color else between[0]
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        if color and tile.ndim == 2:
            tile = np.repeat(tile[:, :, None], 3, axis=2)
        taken = tile == GAP[0] if not color else (tile == np.array(GAP, np.uint8)).all(axis=2)
        if taken.any():
            tile = tile.copy()
            tile[taken] = GAP[1]
        sheet[top : top + height, left : left + width] = tile
    return sheet


def png(data: Pixels) -> bytes:
    """The bytes of a PNG file without any metadata, as small as its colors allow.

    Pixels of the color `GAP`, which only mosaics hold, are transparent.
    """
    image = Image.fromarray(data)
    options: dict[str, Any] = {}
    if data.ndim == 3 and data.shape[2] == 4:
        image, options = _with_opacity(data)
    elif data.ndim == 3:
        image, options = _with_palette(image)
        if not options and bool((data == np.array(GAP, np.uint8)).all(axis=2).any()):
            options = {"transparency": GAP}
    elif bool((data == GAP[0]).any()) and min(data.shape) > 1 and _has_gap(data):
        options = {"transparency": GAP[0]}
    out = io.BytesIO()
    image.save(out, format="PNG", **{"optimize": True, **options})
    return out.getvalue()


def lossless(data: Pixels) -> bytes:
    """The smaller of PNG and lossless WebP: a report holds hundreds of tiles.

    Example:
        >>> from PIL import Image
        >>> tile = np.arange(64, dtype=np.uint8).reshape(8, 8)
        >>> bool((np.asarray(Image.open(io.BytesIO(lossless(tile))).convert("L")) == tile).all())
        True
    """
    out = io.BytesIO()
    Image.fromarray(data).save(out, format="WEBP", lossless=True, quality=100, method=4)
    return min(png(data), out.getvalue(), key=len)


def photo(data: Pixels, *, quality: int = 85) -> tuple[bytes, str]:
    """The smaller of PNG and WebP for large pictures; PNG, which loses nothing, for small ones.

    Returns:
        The bytes and the file extension, ``"png"`` or ``"webp"``.
    """
    exact = png(data)
    if min(data.shape[:2]) < 64 or len(exact) < 20_000:
        return exact, "png"
    out = io.BytesIO()
    Image.fromarray(data).save(out, format="WEBP", quality=quality, method=4)
    return (out.getvalue(), "webp") if len(out.getvalue()) < len(exact) else (exact, "png")


def _has_gap(data: Pixels) -> bool:
    """Whether a gray sheet has whole lines of the gap's level: then it is a mosaic."""
    gap = data == GAP[0]
    return bool(gap.all(axis=0).any() or gap.all(axis=1).any())


def _with_palette(image: Image.Image) -> tuple[Image.Image, dict[str, Any]]:
    """Heat maps have at most 256 colors: one byte per pixel instead of three, nothing lost."""
    found = image.getcolors(256)
    if found is None:
        return image, {}
    colors: list[Any] = sorted((color for _, color in found), key=lambda color: color != GAP)
    packed = [(r << 16) | (g << 8) | b for r, g, b in colors]
    data = np.asarray(image).astype(np.uint32)
    keys = (data[..., 0] << 16) | (data[..., 1] << 8) | data[..., 2]
    order = np.argsort(packed)
    index = order[np.searchsorted(np.array(packed)[order], keys)]
    out = Image.frombytes("P", image.size, index.astype(np.uint8).tobytes())
    out.putpalette([v for color in colors for v in color])
    return out, {"transparency": 0} if colors[0] == GAP else {"optimize": True}


def _with_opacity(data: Pixels) -> tuple[Image.Image, dict[str, Any]]:
    """Signed maps have few colors and a palette of opacities beside that of colors."""
    colors, index = np.unique(data.reshape(-1, 4), axis=0, return_inverse=True)
    if len(colors) > 256:
        return Image.fromarray(data), {}
    order = np.argsort(colors[:, 3], kind="stable")
    place = np.argsort(order).astype(np.uint8)
    out = Image.frombytes("P", data.shape[1::-1], place[index.reshape(-1)].tobytes())
    out.putpalette(colors[order, :3].reshape(-1).tolist())
    return out, {"transparency": colors[order, 3].tobytes(), "optimize": False}


def _finite(values: Tensor | NDArray[np.floating]) -> NDArray[np.float32]:
    array = to_numpy(values).astype(np.float32)
    if array.ndim != 2:
        raise UsageError(f"cannot draw a map of shape {array.shape}", expected="(height, width)")
    return np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)
