import io
import os
import socket
import struct
import time
import warnings
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convscope.data import ImageNotice, check_images, read_image
from convscope.data._image import decode, fit_to, read_pixels, to_plain
from convscope.data._image_structure import inspect_image
from convscope.errors import ImageError, ResourceError, UsageError

FORMATS = ["PNG", "JPEG", "GIF", "BMP", "WEBP"]


def photo(height=20, width=30, mode="RGB", seed=0):
    """A smooth picture, so that lossy formats keep it."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.sin(x / 5 + k + seed) + np.cos(y / 4 - k) for k in range(3)]
    pixels = ((np.stack(planes, -1) + 2) * 63).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image, kind="PNG", **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def write(folder, data, name="image.png"):
    path = folder / name
    path.write_bytes(data)
    return path


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_declaring(width, height):
    """A small file whose header promises a huge picture."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(10_000)))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def bmp_declaring(width, height):
    return (
        b"BM"
        + struct.pack("<IHHIIiiHHIIIIII", 154, 0, 0, 54, 40, width, height, 1, 24, *[0] * 6)
        + bytes(100)
    )


def gif_declaring(width, height):
    data = bytearray(encoded(photo(4, 4), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def webp_declaring(width, height):
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4)
    body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def jpeg_declaring(width, height):
    data = bytearray(encoded(photo(16, 16), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_is_read(tmp_path, kind, channels):
    path = write(tmp_path, encoded(photo(), kind), f"photo.{kind.lower()}")
    image = read_image(path, channels=channels)
    assert image.shape == (channels, 20, 30)
    assert image.dtype == torch.float32
    wanted = torch.from_numpy(np.array(photo(mode="L" if channels == 1 else "RGB"))) / 255
    wanted = wanted[None] if channels == 1 else wanted.permute(2, 0, 1)
    assert (image - wanted).abs().mean() < 0.05
    if kind in ("PNG", "BMP"):
        assert torch.equal(image, wanted.float())


@pytest.mark.parametrize(
    ("code", "data", "words"),
    [
        pytest.param("I01", b"", "empty", id="empty"),
        pytest.param("I02", png_declaring(16_000, 16_000), "16000x16000", id="png"),
        pytest.param("I02", bmp_declaring(16_000, 16_000), "16000x16000", id="bmp"),
        pytest.param("I02", bmp_declaring(16_000, -16_000), "16000x16000", id="bmp-upside-down"),
        pytest.param("I02", gif_declaring(16_000, 16_000), "16000x16000", id="gif"),
        pytest.param("I02", webp_declaring(16_000, 16_000), "16000x16000", id="webp"),
        pytest.param("I02", jpeg_declaring(16_000, 16_000), "16000x16000", id="jpeg"),
        pytest.param("I03", png_declaring(12_000, 12_000), "12000x12000", id="pillow-warns"),
        pytest.param("I03", png_declaring(5_000, 5_000), "at most 24 million", id="our-limit"),
        pytest.param("I04", png_declaring(30_000, 30_000), "16,384 on a side", id="30000"),
        pytest.param("I04", png_declaring(1, 10**6), "1x1000000", id="tall"),
        pytest.param("I04", png_declaring(10**6, 1), "1000000x1", id="wide"),
        pytest.param("I07", b"<html></html>" + bytes(64), "an HTML page", id="html"),
        pytest.param("I07", b"<svg xmlns='x'>", "an SVG drawing", id="svg"),
        pytest.param("I07", b"%PDF-1.4\n" + bytes(64), "a PDF document", id="pdf"),
        pytest.param("I07", b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(64), "PostScript", id="eps"),
        pytest.param("I07", b"8BPS" + bytes(64), "a Photoshop document", id="psd"),
        pytest.param("I07", b"II*\0" + bytes(64), "a TIFF image", id="tiff"),
        pytest.param("I07", b"RIFF\x10\0\0\0WAVE" + bytes(64), "not an image", id="wave"),
        pytest.param("I07", b"version https://git-lfs.github", "Git LFS", id="lfs"),
        pytest.param("I07", b"\x93NUMPY" + bytes(64), "NumPy", id="npy"),
        pytest.param("I06", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + chunk(b"IEND", b""),
                     "damaged", id="nothing-in-it"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(tmp_path, refused, extra_memory, code, data, words):
    path = write(tmp_path, data)
    start = time.process_time()
    used = extra_memory(lambda: refused(code, ImageError, read_image, path, channels=3))
    assert words in str(refused(code, ImageError, read_image, path, channels=3))
    assert used < 16
    assert time.process_time() - start < 1


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_cut_at_every_percent_is_called_cut(refused, kind, mode):
    data = encoded(photo(64, 64, mode), kind)
    decode(data, where="x")
    for percent in range(100):
        cut = data[: max(1, len(data) * percent // 100)]
        refused("I05", ImageError, decode, cut, where="x")
    refused("I05", ImageError, decode, data[:-1], where="x")


def test_progressive_jpeg_and_interlaced_cuts(refused):
    data = encoded(photo(64, 64), "JPEG", progressive=True)
    assert decode(data, where="x").image.size == (64, 64)
    for cut in range(1, len(data), 37):
        refused("I05", ImageError, decode, data[:cut], where="x")


def test_a_thumbnail_does_not_hide_the_cut(refused):
    inner = encoded(photo(16, 16), "JPEG")
    whole = encoded(photo(64, 64), "JPEG")
    marker = b"\xff\xe1" + struct.pack(">H", len(inner) + 2) + inner
    data = whole[:2] + marker + whole[2:]
    assert decode(data, where="x").image.size == (64, 64)
    refused("I05", ImageError, decode, data[:-2], where="x")


def test_what_follows_the_end_is_ignored():
    for kind in ("PNG", "JPEG", "GIF"):
        assert decode(encoded(photo(), kind) + b"more" * 99, where="x").image.size == (30, 20)


def test_wrong_ending_is_read_by_content_with_a_notice(tmp_path):
    path = write(tmp_path, encoded(photo(), "PNG"), "photo.jpg")
    with pytest.warns(ImageNotice, match=r"I08: named \.jpg but is PNG"):
        read_image(path, channels=3)


def test_cmyk_jpeg_has_its_true_colors():
    """Adobe writes CMYK inverted; red must stay red."""
    red = Image.new("RGB", (16, 16), (255, 0, 0)).convert("CMYK")
    data = encoded(red, "JPEG", quality=95)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    pixels = np.asarray(decode(data, where="x").image)
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 6


def test_16_bit_gray_is_scaled_not_saturated():
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    picture = decode(encoded(Image.fromarray(values)), where="x")
    assert np.asarray(picture.image).tolist() == [[0, 0, 1, 1, 128, 255]]
    assert picture.notes == ("I10: 16-bit gray scaled to 8 bits",)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_pixels_are_refused(refused, mode):
    error = refused("I11", ImageError, to_plain, Image.new(mode, (4, 4)))
    assert f"mode {mode}" in str(error)


def test_hidden_colors_do_not_come_out():
    hidden = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    picture = decode(encoded(hidden), where="x")
    assert np.asarray(picture.image).min() == 255
    assert picture.notes == ("I12: transparency laid over gray level 255",)
    assert np.asarray(decode(encoded(hidden), where="x", background=0).image).max() == 0


def test_half_transparent_is_mixed():
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    pixel = np.asarray(decode(encoded(half), where="x").image)[0, 0]
    assert pixel.tolist() == [255, 127, 127]


def test_palette_with_transparency_is_laid_over_the_background():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    data = encoded(image, transparency=0)
    assert np.asarray(decode(data, where="x").image)[0].tolist() == [[255, 255, 255], [0, 0, 255]]


def test_opaque_alpha_needs_no_note():
    assert decode(encoded(photo().convert("RGBA")), where="x").notes == ()


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [
        *[("1", "L"), ("L", "L"), ("LA", "L"), ("La", "L"), ("P", "RGB"), ("PA", "RGB")],
        *[("RGB", "RGB"), ("RGBA", "RGB"), ("RGBX", "RGB"), ("RGBa", "RGB"), ("CMYK", "RGB")],
        *[("YCbCr", "RGB"), ("HSV", "RGB")],
    ],
)
def test_every_mode_becomes_gray_or_rgb(mode, becomes):
    source = photo(mode="L") if mode in ("1", "L", "LA", "La") else photo()
    image = source
    for step in {"La": ["LA", "La"], "RGBa": ["RGBA", "RGBa"], "PA": ["P", "PA"]}.get(mode, [mode]):
        image = image.convert(step)
    plain, _ = to_plain(image)
    assert plain.mode == becomes
    difference = np.asarray(plain.convert("L")).astype(int) - np.asarray(source.convert("L"))
    assert np.abs(difference).mean() < (130 if mode == "1" else 12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_give_one_image(kind, orientation):
    upright = photo(24, 16)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    picture = decode(data, where="x")
    assert picture.image.size == (16, 24)
    difference = np.asarray(picture.image).astype(int) - np.asarray(upright)
    assert np.abs(difference).max() <= (60 if kind == "JPEG" else 0)
    assert bool(picture.notes) == (orientation > 1)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_meaningless_orientation_is_noted(value):
    exif = Image.Exif()
    exif[0x0112] = value
    picture = decode(encoded(photo(), "JPEG", exif=exif), where="x")
    assert picture.notes == ("I15: camera data unreadable, orientation unknown",)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_camera_data_do_not_stop_the_image(kind):
    data = encoded(photo(), kind, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 500)
    picture = decode(data, where="x")
    assert picture.image.size == (30, 20)
    assert picture.notes == ("I15: camera data unreadable, orientation unknown",)


def with_chunks(data, *chunks):
    return data[:33] + b"".join(chunks) + data[33:]


def test_png_texts_profiles_and_frames_are_dropped(extra_memory):
    text = chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(64 << 20)))
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(10 << 20)))
    frames = chunk(b"acTL", struct.pack(">II", 1000, 0))
    data = with_chunks(encoded(photo()), text, profile, frames)
    pictures = []
    assert extra_memory(lambda: pictures.append(decode(data, where="x"))) < 16
    assert np.array_equal(np.asarray(pictures[0].image), np.asarray(photo()))
    assert pictures[0].notes == (
        "I16: animated; the first frame is used",
        "I19: color profile ignored",
    )


@pytest.mark.parametrize("kind", ["iCCP", "gAMA", "cHRM", "tEXt", "tIME", "pHYs", "vpAg"])
def test_only_chunks_that_speak_of_colors_are_a_png_profile(kind):
    notes = decode(with_chunks(encoded(photo()), chunk(kind.encode(), bytes(8))), where="x").notes
    colors = kind in ("iCCP", "gAMA", "cHRM")
    assert notes == (("I19: color profile ignored",) if colors else ())


def test_a_jpeg_profile_is_noted():
    data = encoded(photo(), "JPEG", icc_profile=bytes(100_000))
    assert decode(data, where="x").notes == ("I19: color profile ignored",)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_only_the_first_frame_is_used(tmp_path, kind):
    frames = [photo(8, 8, seed=k) for k in range(100)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    path = write(tmp_path, data, f"film.{kind.lower()}")
    with pytest.warns(ImageNotice, match="I16: animated; the first frame"):
        image = read_image(path, channels=3)
    first = torch.from_numpy(np.array(frames[0])).permute(2, 0, 1) / 255
    assert (image - first).abs().mean() < 0.06


def test_channels_follow_a_stated_rule(tmp_path):
    gray = write(tmp_path, encoded(photo(mode="L")), "gray.png")
    color = write(tmp_path, encoded(photo()), "color.png")
    repeated, notes = read_pixels(gray, channels=3)
    assert torch.equal(repeated[0], repeated[2])
    assert notes == ("I17: gray repeated in three channels",)
    luma, notes = read_pixels(color, channels=1)
    red, green, blue = np.asarray(photo()).astype(float).transpose(2, 0, 1)
    exact = 0.299 * red + 0.587 * green + 0.114 * blue
    assert np.abs(luma[0].numpy() - exact).max() <= 1
    assert notes == ("I17: color reduced to luma (ITU-R 601)",)


def test_a_very_long_image_is_read_with_a_notice(tmp_path):
    path = write(tmp_path, encoded(Image.new("RGB", (4000, 30), (9, 9, 9))), "long.png")
    with pytest.warns(ImageNotice, match="I18: 4000x30"):
        image = read_image(path, channels=3, size=(32, 32))
    assert torch.equal(image, torch.full((3, 32, 32), 9 / 255))


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (20, 30), (64, 64)])
@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_one_pixel_and_every_fit(size, fit):
    for image in (Image.new("RGB", (1, 1), (200, 100, 50)), photo()):
        out = fit_to(image, channels=3, size=size, fit=fit)
        assert out.size == (size[1], size[0])


def test_crop_keeps_the_center_and_the_shape():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    out = fit_to(Image.fromarray(wide), channels=3, size=(10, 10))
    assert np.asarray(out).min() == 255


def test_pad_adds_black_borders():
    out = np.asarray(fit_to(Image.new("L", (20, 10), 255), channels=1, size=(20, 20), fit="pad"))
    assert out[:5].max() == 0 and out[15:].max() == 0 and out[5:15].min() == 255


@pytest.mark.parametrize("size", [(1, 400), (400, 1), (3, 900)])
def test_a_padded_thread_keeps_one_pixel(size):
    out = np.asarray(fit_to(Image.new("L", size, 255), channels=1, size=(20, 20), fit="pad"))
    assert (out > 0).sum() == 20


def test_resize_is_antialiased_and_pinned():
    """A fine checkerboard becomes gray; the bytes are the same on every machine."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    out = np.asarray(fit_to(Image.fromarray(board), channels=1, size=(16, 16)))
    assert np.abs(out.astype(int) - 128).max() <= 1
    shrunk = np.asarray(fit_to(photo(40, 60), channels=3, size=(16, 16)))
    assert zlib.crc32(shrunk.tobytes()) == 3233035176


def test_the_same_size_is_the_same_image():
    assert np.array_equal(np.asarray(fit_to(photo(), channels=3, size=(20, 30))), photo())


def test_things_that_are_no_files(tmp_path, refused, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as plug:
        monkeypatch.chdir(tmp_path)
        plug.bind("plug.png")
    for name in ("pipe.png", "plug.png", ".", "/dev/zero", "/dev/null"):
        start = time.process_time()
        error = refused("I22", ImageError, read_image, tmp_path / name, channels=3)
        assert "not a regular file" in str(error)
        assert time.process_time() - start < 0.5


def test_a_file_that_may_not_be_read(tmp_path, refused, monkeypatch):
    path = write(tmp_path, encoded(photo()))

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("convscope.files._door.os.open", forbidden)
    error = refused("I23", ResourceError, read_image, path, channels=3)
    assert error.exit_code == 6


@pytest.mark.parametrize(
    "name", ["missing.png", "a" * 300 + ".png", "nul\0.png", "surrogate\udc80.png", "new\nline.png"]
)
def test_paths_that_lead_nowhere(tmp_path, refused, name):
    refused("U02", ImageError, read_image, tmp_path / name, channels=3)


@pytest.mark.parametrize(
    "name",
    ["new\nline", "right\u202eto-left", "\U0001f600", "trailing ", "-dash", "con", "b" * 240],
)
def test_strange_names_work_and_are_escaped(tmp_path, refused, name):
    path = write(tmp_path, encoded(photo()), f"{name}.png")
    assert read_image(path, channels=3).shape == (3, 20, 30)
    refused("I01", ImageError, read_image, write(tmp_path, b"", f"{name}.png"), channels=3)


def test_undecodable_names_work(tmp_path):
    path = write(tmp_path, encoded(photo()), os.fsdecode(b"\x80.png"))
    assert read_image(path, channels=3).shape == (3, 20, 30)


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"channels": 2}, "channels is 2"),
        ({"channels": 3, "fit": "squeeze"}, "fit is 'squeeze'"),
        ({"channels": 3, "size": (0, 5)}, r"size is \(0, 5\)"),
        ({"channels": 3, "background": 2.0}, "background is 2.0"),
    ],
)
def test_settings_without_meaning(tmp_path, settings_, words):
    with pytest.raises(UsageError, match=words):
        read_image(write(tmp_path, encoded(photo())), **settings_)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.full((1, 1, 2, 2), 254.96), "reach from 254.96 to 254.96"),
        (torch.full((1, 1, 2, 2), -2.1), "normalization belongs into the Classifier"),
        (torch.full((1, 1, 2, 2), float("nan")), "NaN or infinite"),
        (torch.full((1, 1, 2, 2), float("inf")), "NaN or infinite"),
        (torch.zeros((1, 1, 2, 2), dtype=torch.uint8), "divide by 255"),
        (torch.zeros((2, 2)), r"shape \(2, 2\)"),
    ],
)
def test_tensors_that_are_no_images_are_refused(images, words):
    with pytest.raises(ImageError, match=words) as caught:
        check_images(images)
    assert caught.value.code == "I24"


def test_good_tensors_pass():
    check_images(torch.rand(2, 3, 4, 5))
    check_images(torch.zeros(0, 3, 4, 5))


CORPUS = {
    f"{kind}-{mode}": encoded(photo(16, 16, mode), kind)
    for kind in FORMATS
    for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "CMYK")
    if (kind, mode) not in {("JPEG", "P"), ("JPEG", "RGBA"), ("JPEG", "LA"), ("BMP", "LA")}
    and not (mode == "CMYK" and kind != "JPEG")
    and not (kind == "WEBP" and mode in ("P", "1", "LA"))
}


def survives(data):
    """Either an error of ours, or pixels."""
    try:
        picture = decode(data, where="mutant")
    except ImageError as error:
        assert error.code in {"I02", "I03", "I04", "I05", "I06", "I07", "I11"}
        return False
    pixels = np.asarray(fit_to(picture.image, channels=3, size=(8, 8)))
    assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
    return True


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_mutants_are_images_or_image_errors(data):
    mutant = bytearray(CORPUS[data.draw(st.sampled_from(sorted(CORPUS)))])
    for _ in range(data.draw(st.integers(1, 4))):
        mutant[data.draw(st.integers(0, len(mutant) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        survives(bytes(mutant))


@pytest.mark.slow
def test_a_hundred_thousand_mutants():
    rng = np.random.default_rng(0)
    names = sorted(CORPUS)
    good = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(100_000):
            mutant = bytearray(CORPUS[names[rng.integers(len(names))]])
            for place in rng.integers(0, len(mutant), rng.integers(1, 5)):
                mutant[place] = rng.integers(0, 256)
            good += survives(bytes(mutant))
    assert 5_000 < good < 95_000


@given(st.binary(max_size=300), st.sampled_from(sorted(CORPUS)), st.integers(0, 40))
@settings(max_examples=300, deadline=None)
def test_structure_walks_never_run_away(tail, name, keep):
    try:
        inspect_image(CORPUS[name][:keep] + tail, where="x")
    except ImageError as error:
        assert error.code in {"I01", "I05", "I07"}
