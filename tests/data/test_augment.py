import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.data import Augmentation, augment, draw_augmentation
from convscope.data._augment import apply, coin, flip, sampling_matrices, shift
from convscope.data._augment import warp as warp_by
from convscope.errors import UsageError


def random_images(count=4, channels=3, height=9, width=7, seed=0):
    return torch.rand(
        (count, channels, height, width), generator=torch.Generator().manual_seed(seed)
    )


def warp(images, settings_, numbers):
    matrices = sampling_matrices(settings_, numbers, images.shape[2], images.shape[3])
    return warp_by(images, matrices, padding=settings_.padding)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


EVERYTHING = Augmentation(
    shift=2, flip="random", degrees=15, scale=0.1, shear=0.1, translate=1.5, crop=0.8
)


def slow_shift(image, rows, columns, padding):
    margin = max(abs(rows), abs(columns))
    mode = "reflect" if padding == "reflection" else "constant"
    padded = F.pad(image[None], (margin,) * 4, mode=mode)[0]
    height, width = image.shape[1:]
    top, left = margin - rows, margin - columns
    return padded[:, top : top + height, left : left + width]


@given(st.integers(0, 4), st.sampled_from(["zeros", "reflection"]), st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_shift_equals_the_readable_loop(most, padding, seed):
    images = random_images(5, 2, 8, 6, seed)
    shifts = torch.randint(-most, most + 1, (5, 2), generator=generator(seed))
    moved = shift(images, shifts, padding=padding)
    for image, (rows, columns), out in zip(images, shifts.tolist(), moved, strict=True):
        assert torch.equal(out, slow_shift(image, rows, columns, padding))


def test_shift_takes_any_memory_format():
    images = random_images()
    shifts = torch.tensor([[1, -2], [0, 0], [2, 2], [-1, 1]])
    rows_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(shift(rows_last, shifts), shift(images, shifts))


def test_a_shift_wider_than_the_image_is_refused():
    with pytest.raises(UsageError, match="cannot shift 9x7 images by 7 pixels"):
        shift(random_images(1), torch.tensor([[7, 0]]), padding="reflection")


def test_flip_mirrors_only_the_chosen_rows():
    images = random_images()
    mirrored = torch.tensor([True, False, True, False])
    out = flip(images, mirrored)
    assert torch.equal(out[0], images[0].flip(2))
    assert torch.equal(out[1], images[1])


def test_rotation_by_90_degrees_is_rot90_on_square_images():
    images = random_images(2, 1, 8, 8)
    numbers = torch.zeros(2, 8)
    numbers[0, 0], numbers[1, 0] = 1, -1
    out = warp(images, Augmentation(degrees=90), numbers)
    assert torch.allclose(out[0], images[0].rot90(1, (1, 2)), atol=1e-5)
    assert torch.allclose(out[1], images[1].rot90(-1, (1, 2)), atol=1e-5)


def test_rotation_keeps_true_angles_on_wide_images():
    wide = torch.zeros(1, 1, 9, 31)
    wide[0, 0, 4, 11:20] = 1
    numbers = torch.zeros(1, 8)
    numbers[0, 0] = 1
    out = warp(wide, Augmentation(degrees=90), numbers)
    assert torch.allclose(out[0, 0, :, 15], torch.ones(9), atol=1e-5)
    assert out.sum().item() == pytest.approx(9, abs=1e-3)


def test_whole_pixel_translation_is_a_shift():
    images = random_images(1, 3, 8, 8)
    numbers = torch.zeros(1, 8)
    numbers[0, 3], numbers[0, 4] = 1, -0.5
    out = warp(images, Augmentation(translate=2), numbers)
    assert torch.allclose(out, shift(images, torch.tensor([[-1, 2]])), atol=1e-5)


def test_crop_resizes_the_window_to_the_full_image():
    images = random_images(1, 1, 8, 8)
    numbers = torch.zeros(1, 8)
    numbers[0, 5] = numbers[0, 6] = 1
    out = warp(images, Augmentation(crop=0.5), numbers)
    window = F.interpolate(images[:, :, 4:, 4:], size=(8, 8), mode="bilinear")
    assert torch.allclose(out[:, :, 1:7, 1:7], window[:, :, 1:7, 1:7], atol=1e-5)


def test_zoom_makes_content_larger():
    dot = torch.zeros(1, 1, 21, 21)
    dot[0, 0, 8:13, 8:13] = 1
    numbers = torch.zeros(1, 8)
    numbers[0, 1] = 1
    larger = warp(dot, Augmentation(scale=0.4), numbers)
    assert larger.sum().item() == pytest.approx(25 * 1.4**2, rel=0.05)


def test_shear_moves_rows_by_the_printed_amount():
    line = torch.zeros(1, 1, 21, 21)
    line[0, 0, :, 10] = 1
    numbers = torch.zeros(1, 8)
    numbers[0, 2] = 1
    out = warp(line, Augmentation(shear=0.5), numbers)[0, 0]
    columns = torch.arange(21.0)
    top, bottom = (out[row] @ columns / out[row].sum() for row in (4, 16))
    assert abs(top - bottom).item() == pytest.approx(0.5 * 12, abs=0.1)


def test_augmented_pixels_stay_in_the_unit_box_and_input_is_untouched():
    images = random_images(16, 3, 12, 10)
    before = images.clone()
    for padding in ("zeros", "reflection"):
        settings_ = Augmentation(**{**EVERYTHING.__dict__, "padding": padding})
        out = augment(images, settings_, generator())
        assert out.shape == images.shape
        assert out.min() >= 0 and out.max() <= 1
    assert torch.equal(images, before)


def test_nothing_switched_on_is_the_identity():
    images = random_images()
    assert torch.equal(augment(images, Augmentation(), generator()), images)


def test_same_generator_same_images_and_global_rng_is_left_alone():
    state = torch.get_rng_state()
    first = augment(random_images(), EVERYTHING, generator(3))
    second = augment(random_images(), EVERYTHING, generator(3))
    assert torch.equal(first, second)
    assert not torch.equal(first, augment(random_images(), EVERYTHING, generator(4)))
    assert torch.equal(state, torch.get_rng_state())


def test_half_a_batch_with_its_draws_equals_half_of_the_batch():
    images = random_images(10)
    draws = draw_augmentation(EVERYTHING, 10, generator=generator(5))
    whole = apply(images, EVERYTHING, draws)
    rows = torch.arange(1, 10, 2)
    assert torch.equal(apply(images[rows], EVERYTHING, draws[rows]), whole[rows])


def test_alternating_flip_shows_both_sides_in_any_two_epochs():
    images = random_images(50)
    rows = torch.arange(1000, 1050)
    alternating = Augmentation(flip="alternating")
    epochs = [augment(images, alternating, generator(e), e, rows=rows) for e in range(4)]
    assert torch.equal(epochs[0], epochs[2])
    assert torch.equal(epochs[1], epochs[3])
    assert torch.equal(epochs[0], epochs[1].flip(3))


def test_alternating_flip_knows_an_image_by_its_row():
    alternating = Augmentation(flip="alternating")
    draws = draw_augmentation(alternating, 64, generator=generator(), rows=torch.arange(64))
    order = torch.randperm(64, generator=generator())
    shuffled = draw_augmentation(alternating, 64, generator=generator(9), rows=order)
    assert torch.equal(draws.mirrored[order], shuffled.mirrored)


def test_alternating_flip_needs_rows():
    with pytest.raises(UsageError, match="needs rows="):
        augment(random_images(), Augmentation(flip="alternating"), generator())


def test_coin_is_fair_and_seeds_are_independent():
    rows = torch.arange(20_000)
    deviation = 4 * math.sqrt(0.25 / len(rows))
    for seed in range(3):
        assert abs(coin(rows, seed).float().mean().item() - 0.5) < deviation
    assert abs((coin(rows, 0) == coin(rows, 1)).float().mean().item() - 0.5) < deviation
    neighbors = (coin(rows)[1:] == coin(rows)[:-1]).float().mean().item()
    assert abs(neighbors - 0.5) < deviation


def test_random_flip_mirrors_half_of_the_images():
    draws = draw_augmentation(Augmentation(flip="random"), 20_000, generator=generator())
    assert abs(draws.mirrored.float().mean().item() - 0.5) < 0.015


def test_shifts_are_uniform_over_all_offsets():
    draws = draw_augmentation(Augmentation(shift=2), 20_000, generator=generator())
    counts = torch.bincount(draws.shifts[:, 0] + 2)
    assert counts.numel() == 5
    assert counts.min() > 3700 and counts.max() < 4300


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"shift": -1}, "shift is -1"),
        ({"flip": "sideways"}, "flip is 'sideways'"),
        ({"degrees": float("nan")}, "degrees is nan"),
        ({"translate": float("inf")}, "translate is inf"),
        ({"scale": 1.0}, "scale is 1.0"),
        ({"crop": 0.0}, "crop is 0.0"),
        ({"padding": "mirror"}, "padding is 'mirror'"),
    ],
)
def test_settings_without_meaning_are_refused(bad, text):
    with pytest.raises(UsageError, match=text):
        Augmentation(**bad)
