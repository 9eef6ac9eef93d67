"""Readers of class names and of a processor's settings, fed with damaged files."""

import json

import pytest

from convscope.files import MODEL_CONFIG, read_json_table
from convscope.models._description import read_class_names
from convscope.models._processor import read_preprocessing
from tests.fuzz.damage import check_reader, data_file, needs_alarm


def preprocessing_of(path):
    return read_preprocessing(read_json_table(path, MODEL_CONFIG), 3, "here")


PREPROCESSOR = json.dumps({
    "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_rescale": True,
    "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 1 / 255,
    "do_center_crop": True, "do_normalize": True,
}).encode()  # fmt: skip

READERS = {
    "class names": data_file("classes.txt", b"cat\ndog\nbird\n", read_class_names),
    "preprocessor": data_file("preprocessor_config.json", PREPROCESSOR, preprocessing_of),
}


@needs_alarm
@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_in_the_family_and_nothing_hangs(name, tmp_path):
    check_reader(name, READERS[name], tmp_path)
