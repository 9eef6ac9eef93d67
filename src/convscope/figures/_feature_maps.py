"""What layers answer to an image."""

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.explanations import FeatureMaps, LayerMaps
from convscope.figures._mosaic import GAP, Pixels, mosaic, pixels, stretched
from convscope.figures._text import label
from convscope.figures._theme import axes, bare, figure, look

MOST = 64
"""Maps of one sheet."""


def draw_feature_maps(result: FeatureMaps, row: int = 0) -> Figure:
    """One image and its maps in every layer.

    Args:
        result: From `convscope.explanations.feature_maps`.
        row: Which image.
    """
    sheets = [map_sheet(layer, row, between=(255, 255, 255)) for layer in result.layers]
    ratios = [1.3] + [7.2 * s.shape[0] / s.shape[1] + 0.3 for s in sheets]
    with look():
        drawn = figure(7.4, sum(ratios) + 0.2)
        grid = drawn.add_gridspec(len(ratios), 1, height_ratios=ratios)
        made = axes(drawn, grid[0], title="image")
        made.imshow(pixels(result.images[row]), cmap="gray", vmin=0, vmax=255)
        made.set_anchor("W")
        bare(made)
        for i, (layer, sheet) in enumerate(zip(result.layers, sheets, strict=True)):
            made = axes(drawn, grid[i + 1], title=label(map_caption(layer), 90))
            made.imshow(sheet, cmap="gray", vmin=0, vmax=255)
            bare(made)
            made.spines[:].set_visible(False)
    return drawn


def map_sheet(
    layer: LayerMaps, row: int, *, columns: int = 16, between: tuple[int, int, int] = GAP
) -> Pixels:
    """The maps of one image as a native-resolution mosaic, each stretched by itself."""
    tiles = [stretched(values) for values in layer.maps[row, :MOST]]
    return mosaic(tiles, columns=columns, between=between)


def map_caption(layer: LayerMaps) -> str:
    """What the sheet shows, in one line."""
    count, height, width = layer.maps.shape[1:]
    shown = f"{MOST} of {count}" if count > MOST else f"{count}"
    dead = int(layer.dead.sum())
    return f"{layer.layer}: {shown} maps of {height} x {width}" + (f", {dead} dead" if dead else "")
