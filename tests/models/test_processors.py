"""What an image processor of transformers does to photos is what we do, or we refuse."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.data import read_image
from convscope.errors import CheckpointError, ResourceError, UsageError
from convscope.models import load
from convscope.models._processor import (
    check_against,
    flip_channels,
    read_preprocessing,
    refuse_unknown,
)
from convscope.resizing import Resize

CASES = [
    ("MobileNetV2", {}),
    ("MobileNetV2", {"resample": 3, "size": {"shortest_edge": 100}}),
    (
        "MobileNetV2",
        {"size": {"height": 64, "width": 80}, "crop_size": {"height": 50, "width": 60}},
    ),
    ("MobileNetV2", {"size": {"shortest_edge": 64}}),
    ("MobileNetV1", {"do_resize": False}),
    ("ViT", {"resample": 1}),
    ("ViT", {"resample": 0, "size": {"height": 48, "width": 32}}),
    ("ViT", {"do_rescale": False}),
    ("ViT", {"do_normalize": False, "rescale_factor": 1 / 127.5}),
    ("ViT", {"crop_pct": 0.5}),
    ("Bit", {}),
    ("CLIP", {"resample": 2}),
    ("ConvNext", {"size": {"shortest_edge": 224}}),
    ("ConvNext", {"size": {"shortest_edge": 256}, "crop_pct": 0.95}),
    ("ConvNext", {"size": {"shortest_edge": 384}}),
    ("PoolFormer", {"crop_pct": 0.95}),
    ("PoolFormer", {"size": {"height": 100, "width": 120}}),
    ("Levit", {}),
    ("EfficientNet", {"rescale_offset": True, "rescale_factor": 1 / 127.5}),
    ("EfficientNet", {"include_top": False, "do_center_crop": True}),
    ("MobileViT", {}),
    ("MobileViT", {"do_flip_channel_order": False, "resample": 2}),
    ("Beit", {"do_center_crop": True, "crop_size": {"height": 200, "width": 180}}),
]


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("transformers")


@pytest.mark.parametrize(("kind", "settings"), CASES)
@pytest.mark.parametrize("size", [(250, 131), (60, 333)])
def test_pixels_are_those_of_the_processor(library, kind, settings, size, tmp_path):
    processor = getattr(library, f"{kind}ImageProcessorPil")(**settings)
    found = read_preprocessing(processor.to_dict(), 3, "here")
    check_against(processor, found, 3, "here")
    if found.notes:
        return
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    theirs = torch.as_tensor(
        processor(images=Image.open(tmp_path / "x.png"), return_tensors="pt")["pixel_values"]
    )
    ours = read_image(tmp_path / "x.png", channels=3, size=found.size, resize=found.resize)[None]
    ours = flip_channels(ours) if found.flipped else ours
    mean, std = (torch.tensor(values or (default,)).view(1, -1, 1, 1)
                 for values, default in ((found.mean, 0.0), (found.std, 1.0)))  # fmt: skip
    assert torch.allclose((ours - mean) / std, theirs.float(), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("kind", ["Perceiver", "TextNet", "Donut"])
def test_a_processor_that_does_something_else_is_refused_by_name(library, kind):
    processor = getattr(library, f"{kind}ImageProcessorPil")()
    with pytest.raises(CheckpointError, match=f"what {kind}ImageProcessor does") as caught:
        found = read_preprocessing(processor.to_dict(), 3, "here")
        check_against(processor, found, 3, "here")
    assert caught.value.code == "C17"


def test_a_setting_read_wrongly_would_be_noticed(library):
    processor = library.MobileNetV2ImageProcessorPil()
    wrong = read_preprocessing({**processor.to_dict(), "resample": 3}, 3, "here")
    with pytest.raises(CheckpointError, match="pixels differ"):
        check_against(processor, wrong, 3, "here")


def test_a_setting_that_nobody_knows_is_refused_by_name():
    refuse_unknown({"size": 8, "do_thumbnail": False, "do_pad": True}, "here")
    with pytest.raises(CheckpointError, match="not understood: do_thumbnail, gamma"):
        refuse_unknown({"size": 8, "do_thumbnail": True, "gamma": 2.2}, "here")


@pytest.mark.parametrize(
    "settings",
    [{"resample": 9}, {"rescale_factor": "x"}, {"rescale_factor": -1}, {"image_mean": [1, 2]},
     {"size": {"shortest_edge": 10**6}}],
)  # fmt: skip
def test_settings_without_meaning_are_refused(settings):
    with pytest.raises(CheckpointError):
        read_preprocessing(settings, 3, "here")


@pytest.mark.parametrize(
    ("settings", "words"),
    [({}, "open"), ({"shortest": 9}, "open"), ({"shortest": 3, "size": (2, 2)}, "exclude"),
     ({"size": (0, 2)}, "whole numbers"), ({"size": (2, 2), "resample": "cubic"}, "one of")],
)  # fmt: skip
def test_a_resize_without_meaning_is_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        Resize(**settings)


@pytest.fixture(scope="module")
def mobilenet(request, library):
    return request.getfixturevalue("shared") / "weights" / "mobilenet_v2_1.0_224"


def edited(mobilenet, folder, **changes):
    shutil.copytree(mobilenet, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


@pytest.mark.parametrize(
    "changes", [{}, {"resample": 3, "size": {"height": 224, "width": 224}, "do_center_crop": False}]
)
def test_logits_of_photos_are_those_of_transformers(library, mobilenet, shared, tmp_path, changes):
    folder = edited(mobilenet, tmp_path / "net", **changes)
    classifier = load(f"hf:{folder}")
    processor = library.AutoImageProcessor.from_pretrained(folder, backend="pil")
    photos = sorted((shared / "data" / "photos").iterdir())[::25]
    assert photos
    for path in photos:
        given = processor(images=Image.open(path).convert("RGB"), return_tensors="pt")
        image = read_image(path, channels=3, size=(224, 224), resize=classifier.resize)[None]
        with torch.no_grad():
            theirs = classifier.module(**given).logits
            assert float((classifier.logits(image) - theirs).abs().max()) < 1e-4


def test_an_unknown_setting_of_a_file_stops_the_load(mobilenet, tmp_path):
    folder = edited(mobilenet, tmp_path / "net", gamma=2.2)
    with pytest.raises(CheckpointError, match="gamma"):
        load(f"hf:{folder}")


def test_without_a_network_one_question_is_asked_and_no_more(library, monkeypatch, capfd):
    """Five tries of the library used to take 20 seconds, each with a line of its own."""
    import huggingface_hub

    class Deaf:
        asked = 0

        def head(self, url, timeout):
            Deaf.asked += 1
            raise ConnectionError(url)

    monkeypatch.setattr(huggingface_hub, "get_session", Deaf)
    with pytest.raises(ResourceError, match="the Hub cannot be reached"):
        load("hf:nobody/nothing-of-this-name")
    assert Deaf.asked == 1
    assert capfd.readouterr() == ("", "")
