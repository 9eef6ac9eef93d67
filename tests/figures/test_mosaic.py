import io

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from PIL import Image

from convscope.errors import UsageError
from convscope.figures import heat, mosaic, photo, pixels, png, stretched
from convscope.figures._mosaic import overlay
from convscope.figures._theme import DARK


def read(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_survive_the_way_through_a_png(channels):
    image = torch.randint(0, 256, (channels, 5, 7), generator=torch.Generator().manual_seed(0))
    back = read(png(pixels(image / 255)))[..., :3]
    assert (back == image.permute(1, 2, 0).expand(5, 7, 3).numpy()).all()


def test_nan_and_values_outside_the_range_are_drawn():
    image = torch.tensor([[[float("nan"), 9.0], [-9.0, float("inf")]]])
    assert pixels(image).tolist() == [[128, 255], [0, 255]]


def test_a_constant_map_is_black_and_a_stretched_one_uses_all_grays():
    assert stretched(torch.full((2, 2), 3.0)).max() == 0
    assert stretched(torch.tensor([[1.0, 3.0]])).tolist() == [[0, 255]]


def test_zero_of_a_signed_map_has_the_color_of_any_page_and_signs_have_their_own():
    colors = heat(torch.tensor([[-1.0, 0.0, 1.0]]), signed=True).astype(int)[0]
    assert colors[1, 3] == 0 and (colors[[0, 2], 3] == 255).all()
    assert colors[0][2] > colors[0][0] and colors[2][0] > colors[2][2]
    for paper in ("#ffffff", DARK["#ffffff"]):
        light = luminance(to_rgb(paper))
        for end in colors[[0, 2], :3] / 255:
            bright, dark = sorted((light, luminance(end)), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= 3, (paper, end)


def luminance(color):
    """As WCAG defines it for contrast."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_opacity_survives_the_way_through_a_png():
    map_ = heat(torch.randn(9, 7, generator=torch.Generator().manual_seed(0)), signed=True)
    assert (read(png(map_)) == map_).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("signed", [True, False])
def test_a_map_on_its_image_hides_nothing_where_it_is_zero(channels, signed):
    image = torch.rand(channels, 6, 6, generator=torch.Generator().manual_seed(0))
    values = torch.zeros(6, 6)
    values[2, 3] = 2.0
    laid = overlay(values, image, signed=signed).astype(int)
    plain = overlay(torch.zeros(6, 6), image, signed=signed).astype(int)
    assert (plain[..., 0] == plain[..., 1]).all() and (plain[..., 0] == plain[..., 2]).all()
    changed = (laid != plain).any(axis=2)
    assert changed[2, 3] and changed.sum() == 1
    light = image.mean(dim=0) if channels == 1 else (image * LUMA).sum(dim=0)
    order = light.flatten().argsort()
    assert (np.diff(plain[..., 0].flatten()[order.numpy()]) >= 0).all()


LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)


def test_maps_on_one_scale_are_comparable():
    weak, strong = torch.full((1, 1), 0.5), torch.full((1, 1), 1.0)
    assert (heat(weak, signed=False, limit=1.0) != heat(strong, signed=False, limit=1.0)).any()


@pytest.mark.parametrize("tile", [(4, 4), (4, 4, 3)])
def test_gaps_of_a_mosaic_are_transparent_and_tiles_are_not(tile):
    generator = np.random.default_rng(0)
    tiles = [generator.integers(0, 256, tile, dtype=np.uint8) for _ in range(5)]
    sheet = read(png(mosaic(tiles, columns=3)))
    assert sheet.shape == (9, 14, 4)
    assert (sheet[4, :, 3] == 0).all() and (sheet[:4, :4, 3] == 255).all()
    assert (sheet[5:, 10:, 3] == 0).all()


def test_a_gray_image_without_gaps_is_opaque():
    image = np.full((6, 6), 161, dtype=np.uint8)
    image[0] = 0
    image[:, 0] = 3
    assert (read(png(image))[..., 3] == 255).all()


def test_heat_maps_take_one_byte_per_pixel():
    image = Image.open(io.BytesIO(png(heat(torch.randn(28, 28), signed=True))))
    assert image.mode == "P"


def test_small_pictures_stay_exact_and_photographs_shrink():
    small = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    assert photo(small)[1] == "png"
    large = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    data, kind = photo(large)
    assert kind == "webp" and len(data) < len(png(large))


@pytest.mark.parametrize("size", [(63, 800), (800, 63), (10, 10_000)])
def test_strips_are_small_pictures_however_long_they_are(size):
    strip = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert photo(strip)[1] == "png" and np.array_equal(read(photo(strip)[0])[..., :3], strip)


@pytest.mark.parametrize("shape", [(2, 4, 4), (4, 4), (1, 1, 4, 4)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(UsageError, match="cannot draw an image of shape"):
        pixels(torch.zeros(shape))
