"""What layers answer to an image."""

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.explanations import FeatureMaps, LayerMaps
from convscope.figures._mosaic import GAP, Pixels, mosaic, pixels, stretched
from convscope.figures._text import wrapped
from convscope.figures._theme import axes, bare, figure, look

MOST = 64
"""Maps of one sheet."""

FLAGGED = 4
"""Dead and selective maps that a caption names."""


def draw_feature_maps(result: FeatureMaps, row: int = 0) -> Figure:
    """One image and its maps in every layer.

    Args:
        result: From `convscope.explanations.feature_maps`.
        row: Which image.
    """
    sheets = [map_sheet(layer, row, between=(255, 255, 255)) for layer in result.layers]
    titles = [wrapped(map_caption(layer), 7.2) for layer in result.layers]
    ratios = [1.3] + [
        7.2 * s.shape[0] / s.shape[1] + 0.15 + 0.17 * len(title.splitlines())
        for s, title in zip(sheets, titles, strict=True)
    ]
    with look():
        drawn = figure(7.4, sum(ratios) + 0.2)
        grid = drawn.add_gridspec(len(ratios), 1, height_ratios=ratios)
        made = axes(
            drawn,
            grid[0],
            title="image; below, each map from its smallest value (black) to its largest (white)",
        )
        made.imshow(pixels(result.images[row]), cmap="gray", vmin=0, vmax=255)
        made.set_anchor("W")
        bare(made)
        for i, (title, sheet) in enumerate(zip(titles, sheets, strict=True)):
            made = axes(drawn, grid[i + 1], title=title)
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
    """What the sheet shows in one line, with dead maps and those that answer to few images."""
    count, height, width = layer.maps.shape[1:]
    shown = f"{MOST} of {count}" if count > MOST else f"{count}"
    words = f"{layer.layer_label}: {shown} maps of {height} x {width}"
    dead = layer.dead.nonzero()[:, 0].tolist()
    if dead:
        which = "this image" if len(layer.maps) == 1 else f"all {len(layer.maps)} images"
        words += f"; constant on {which}: {', '.join(map(str, dead[:FLAGGED]))}"
        words += f" and {len(dead) - FLAGGED} more" if len(dead) > FLAGGED else ""
    if len(layer.maps) > 1:
        best = layer.most_selective[:FLAGGED].tolist()
        words += f"; most selective: {', '.join(map(str, best))}"
    return words
