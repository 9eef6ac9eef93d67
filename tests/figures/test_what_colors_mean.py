"""Colors of maps of photographs, lines around filters, and colors on dark pages."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from convscope import figures
from convscope.attacks import fgsm
from convscope.classifier import Classifier
from convscope.explanations import Explanation, filters
from convscope.figures._theme import DARK
from tests.reports.conftest import dark_colors, style_sheet


def photo_map(side=112):
    """Weak everywhere, with a few strong specks, as gradients of photographs are."""
    maps = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    maps.view(-1)[:5] = 100.0
    return Explanation(
        images=torch.zeros(1, 1, side, side),
        maps=maps,
        targets=torch.zeros(1, 1).long(),
        method="own",
        signed=False,
        class_names=("a",),
    )


def test_specks_do_not_take_all_colors_of_a_photograph():
    found = photo_map()
    assert 0.9 < figures.row_limit(found, 0) <= 1.0 and figures.is_clipped(found, 0)


def test_small_and_smooth_maps_keep_their_largest_value():
    small = photo_map(28)
    assert figures.row_limit(small, 0) == 100.0 and not figures.is_clipped(small, 0)
    smooth = photo_map()
    smooth.maps.clamp_(max=1.0)
    assert figures.row_limit(smooth, 0) == 1.0 and not figures.is_clipped(smooth, 0)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("side", [28, 112])
def test_a_bar_of_colors_has_points_where_values_lie_beyond_it(signed, side):
    found = replace(photo_map(side), signed=signed)
    (bar,) = (one._colorbar for one in figures.draw(found).axes if hasattr(one, "_colorbar"))
    assert bar.extend == (("both" if signed else "max") if side == 112 else "neither")


def test_no_corner_of_a_filter_touches_the_page():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2))
    found = filters(Classifier.wrap(net, input_shape=(1, 8, 8)))
    sheet = figures.filter_sheet(found)
    edge = np.concatenate([sheet[0], sheet[-1], sheet[:, 0], sheet[:, -1]])
    assert len(np.unique(edge, axis=0)) == 1 and edge.min() > 0 and edge.max() < 255


def empty_map(largest, *, scale=10.0, **more):
    logits = torch.tensor([[scale, 0.0], [scale, 0.0]])
    maps = torch.zeros(2, 1, 8, 8)
    maps[0, 0, 2, 3], maps[1, 0, 2, 3] = largest, 1.0
    return Explanation(
        images=torch.zeros(2, 1, 8, 8),
        maps=maps,
        targets=torch.zeros(2, 1).long(),
        class_names=("a", "b"),
        logits=logits,
        signed=False,
        **{"method": "own", **more},
    )


def test_maps_that_are_zero_but_for_rounding_are_called_empty_and_drawn_as_zero():
    found = empty_map(3.0e-8)
    assert figures.is_empty(found, 0) and not figures.is_empty(found, 1)
    assert "empty" in figures.strength(found, 0) and figures.strength(found, 1) == "0 to 1"
    tile = figures.explanation_tile(found, 0)
    assert (tile == tile[0, 0]).all(), "one color: nothing to see"
    assert not (figures.explanation_tile(found, 1) == tile[0, 0]).all()
    figures.draw(found)


def test_what_is_small_depends_on_the_logits():
    assert not figures.is_empty(empty_map(3.0e-8, scale=1e-3), 0)
    assert figures.is_empty(empty_map(5e-6, method="occlusion"), 0)
    assert not figures.is_empty(empty_map(5e-6), 0)
    assert not figures.is_empty(empty_map(1e-12, settings={"squared": True}), 0)


@pytest.mark.parametrize("signed", [True, False])
def test_colors_belong_to_the_method_whatever_the_values_are(signed):
    """A signed method whose map happens to be positive keeps its clear zero and its orange."""
    positive = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    result = replace(empty_map(1.0), maps=positive, signed=signed)
    tile = figures.explanation_tile(result, 0)
    assert (
        tile == figures.heat(positive[0, 0], signed=signed, limit=float(positive[0].max()))
    ).all()
    assert figures.strength(result, 0).startswith("±" if signed else "0 to ")
    other = figures.explanation_tile(replace(result, signed=not signed), 0)
    assert tile.shape[2] == (4 if signed else 3) and other.shape[2] == (3 if signed else 4)
    assert (tile[..., :3] != other[..., :3]).any()


def attacked(channels, size):
    """The result of an attack that changed one pixel by `size` and another by half as much."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * 16, 2))
    classifier = Classifier.wrap(net, input_shape=(channels, 4, 4))
    images = torch.full((1, channels, 4, 4), 0.5)
    result = fgsm(classifier, images, torch.zeros(1).long(), epsilon=0.1)
    changed = images.clone()
    changed[0, :, 1, 1] += size
    changed[0, :, 2, 2] -= size / 2
    return replace(result, adversarials=changed)


@pytest.mark.parametrize(
    ("channels", "size", "words"),
    [
        (1, 1 / 2550, "2,550 ×"), (1, 0.002, "500 ×"), (1, 1 / 12.7, "12.7 ×"), (1, 0.4, "2.5 ×"),
        (3, 1 / 2550, "1,275 ×"), (3, 0.002, "250 ×"), (3, 8 / 255, "15.9 ×"), (3, 0.4, "1.25 ×"),
    ],
)  # fmt: skip
def test_a_difference_uses_all_colors_and_says_how_much_it_is_magnified(channels, size, words):
    found = attacked(channels, size)
    tile = figures.difference_tile(found, 0).astype(int)
    if channels == 1:
        assert tile[1, 1, 3] == 255 and tile[2, 2, 3] in range(120, 136) and tile[0, 0, 3] == 0
    else:
        assert (tile[1, 1] == 255).all() and (tile[2, 2] == 64).all() and (tile[0, 0] == 128).all()
    # Gray: a change of 1 would have the strongest color. Color: so many levels above mid-gray.
    reach = 1.0 if channels == 1 else (tile[1, 1].max() / 255 - 0.5)
    assert figures.difference_factor(found, 0) == pytest.approx(reach / size, rel=1e-3)
    assert figures.difference_words(found, 0) == words


@pytest.mark.parametrize("channels", [1, 3])
def test_no_difference_is_called_so_and_painted_as_none(channels):
    tile = figures.difference_tile(attacked(channels, 0.0), 0)
    assert (tile == tile[0, 0]).all()
    assert figures.difference_words(attacked(channels, 0.0), 0) == "no change"


@pytest.mark.parametrize("signed", [True, False])
def test_an_explanation_is_drawn_alone_and_on_its_image(signed):
    result = replace(empty_map(1.0), signed=signed)
    laid = figures.overlay_tile(result, 1)
    assert laid.shape == (8, 8, 3) and (laid[2, 3] != laid[0, 0]).any()
    said = [text.get_text() for text in figures.draw(result).findobj(Text)]
    assert said.count("on the image") == 2


def test_colors_adapt_to_dark_pages():
    """Figures and reports know nothing of each other; the colors are their contract."""
    css = style_sheet()
    for light, dark in DARK.items():
        for role in ("fill", "stroke"):
            assert f'[{role}="{light}"]{{{role}:{dark}}}' in css
    assert dark_colors() == set(DARK)
