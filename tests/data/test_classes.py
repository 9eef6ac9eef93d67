"""Classes of data and network are matched by name, or not at all."""

import json

import pytest
import torch

from convscope.data import Dataset, Split, about_class, class_number, match_classes, match_dataset
from convscope.data._names import imagenet_classes, imagenet_offset
from convscope.errors import DataError, UsageError

IMAGENET = [name for _, name in imagenet_classes()]
TENSORFLOW = ["background", *IMAGENET]


class Network:
    input_shape = (1, 1, 1)

    def __init__(self, names):
        self.class_names = tuple(names)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("bell pepper, capsicum", 1),
        ("bell pepper", 1),
        ("bell_pepper", 1),
        ("Bell-Pepper", 1),
        ("capsicum", 1),
        ("Cardigan", 2),
        ("cardigan", 3),
        ("jack_o_lantern", 4),
        ("crayfish", 6),
        ("crawfish", 6),
        ("CARDIGAN", None),
        ("crane", None),
        ("7", None),
        ("pepper", None),
        ("", None),
    ],
)
def test_a_name_counts_if_one_class_answers(name, number):
    names = ["dog", "bell pepper, capsicum", "Cardigan, Cardigan Welsh corgi", "cardigan",
             "jack-o'-lantern", "spiny lobster, crayfish", "crayfish, crawfish", "crane",
             "crane"]  # fmt: skip
    found = match_classes(["dog", name], names)
    assert found.numbers == (0, number)
    assert ([left for left, _ in found.left_out] == [name]) is (number is None)


def test_one_unknown_name_takes_no_other_name_with_it():
    """A class of the data that the network lacks once made all be matched by number: b was a."""
    found = match_classes(["b", "unknown"], ["a", "b"])
    assert found.numbers == (1, None)
    assert found.left_out == (("unknown", "no such class"),)
    assert "left out: 'unknown' (no such class)" in found.notes


def test_a_name_that_occurs_twice_leaves_the_others_alone():
    data = sorted(set(IMAGENET))
    found = match_classes(data, IMAGENET)
    assert [left for left, _ in found.left_out] == ["crane", "maillot"]
    assert found.numbers.count(None) == 2
    for name, number in zip(data, found.numbers, strict=True):
        assert number is None or IMAGENET[number] == name


def test_a_whole_name_that_begins_another_is_not_clear_unless_both_are_there():
    names = ["maillot", "maillot, tank suit"]
    assert match_classes(["tank suit", "maillot"], names).numbers == (1, None)
    assert match_classes(["maillot, tank suit", "maillot"], names).numbers == (1, 0)


@pytest.mark.parametrize(("names", "offset"), [(IMAGENET, 0), (TENSORFLOW, 1)])
def test_wordnet_ids_say_which_crane(names, offset):
    data = ["n02012849", "n03126707_crane", "n01440764", "n02963159_cardigan", "n99999999"]
    found = match_classes(data, names)
    assert found.numbers == (*(n + offset for n in (134, 517, 0, 474)), None)
    assert imagenet_offset(names) == offset
    assert ("background" in found.notes[0]) is bool(offset)


def test_wordnet_ids_are_worth_their_word_elsewhere():
    found = match_classes(
        ["n01440764", "n02102040_English_springer"], ["English springer", "tench"]
    )
    assert found.numbers == (1, 0)


def test_a_network_that_is_named_by_wordnet_ids():
    found = match_classes(["n01440764_tench", "n02012849"], [identity for identity, _ in
                          imagenet_classes()])  # fmt: skip
    assert found.numbers == (0, 134)


def test_1001_other_classes_are_not_imagenet():
    assert imagenet_offset(["background", *(f"thing {n}" for n in range(1000))]) is None
    assert imagenet_offset([*TENSORFLOW[1:], "one more"]) is None


@pytest.mark.parametrize(
    ("data", "network", "numbers"),
    [
        (list("0123"), [f"class {n}" for n in range(4)], (0, 1, 2, 3)),
        (list("31"), [f"class {n}" for n in range(4)], (3, 1)),
        (["a", "b"], ["LABEL_0", "LABEL_1"], (0, 1)),
        (["class 0", "class 1"], ["a", "b"], (0, 1)),
    ],
)
def test_without_names_the_order_counts_and_is_said(data, network, numbers):
    found = match_classes(data, network)
    assert found.numbers == numbers and found.how == "order"
    assert bool(found.notes) is (numbers != (0, 1, 2, 3))


@pytest.mark.parametrize(
    ("data", "network"),
    [(["x", "y"], ["a", "b"]), (["a", "b", "c"], ["LABEL_0", "LABEL_1"]),
     (["0", "1"], TENSORFLOW), (["812"], IMAGENET)],
)  # fmt: skip
def test_nothing_is_ever_matched_by_number(refused, data, network):
    refused("M21", DataError, match_classes, data, network)


def test_digits_have_names_and_words():
    assert match_classes(["seven", "7 - seven", "two"], list("0123456789")).numbers == (7, 7, 2)


def test_two_classes_that_fall_together_are_said():
    found = match_classes(["tench", "Tinca tinca"], ["tench, Tinca tinca", "dog"])
    assert found.numbers == (0, 0)
    assert any("fall together" in note for note in found.notes)


def make_data(names, labels):
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None]
    parts = {
        name: Split(name=name, images=images, labels=torch.tensor(labels))
        for name in ("train", "validation", "test")
    }
    return Dataset(name="some", class_names=names, source="", hashes={}, **parts)


def test_images_of_classes_left_out_are_left_out_and_keep_their_places():
    data = make_data(("b", "unknown", "a"), [0, 1, 2, 0])
    found, match = match_dataset(data, Network("abc"))
    assert found.test.labels.tolist() == [1, 0, 1]
    assert found.test.images.flatten().tolist() == [0, 2, 3]
    assert [found.test.position(row) for row in range(3)] == [0, 2, 3]
    assert found.class_names == ("a", "b", "c")
    assert any("3 images are of classes left out" in warning for warning in found.warnings)
    again, match = match_dataset(found, Network("abc"))
    assert again is found and match.how == "equal"


def test_absent_classes_have_names():
    match = match_classes(["b", "a", "x"], ["a", "b"])
    assert match.absent(["b", "a", "x"], torch.tensor([0, 0])) == ("b",)


@pytest.mark.parametrize(
    ("text", "number"), [("812", 812), ("space shuttle", 813), ("space_heater", 812), ("0", 0)]
)
def test_a_target_by_name_or_number(text, number):
    assert class_number(text, TENSORFLOW) == number


@pytest.mark.parametrize(
    ("text", "words"), [("crane", "135 and 518"), ("1001", "0 to 1000"), ("-1", "0 to 1000"),
                        ("space shutle", "did you mean space shuttle")],
)  # fmt: skip
def test_a_target_that_is_none(refused, text, words):
    assert words in str(refused("U08", UsageError, class_number, text, TENSORFLOW))


def test_a_number_of_imagenet_is_told_from_the_network_s_own():
    shown, warning = about_class(812, TENSORFLOW, typed="812")
    assert shown == "812 'space heater'"
    assert "'space shuttle', is class 813 here" in warning
    assert about_class(812, TENSORFLOW, typed="space heater")[1] == ""
    assert about_class(812, IMAGENET, typed="812") == ("812 'space shuttle'", "")


def test_the_labels_of_a_real_network_are_all_found_but_the_cranes(shared):
    config = json.loads((shared / "weights/mobilenet_v2_1.0_224/config.json").read_text())
    names = [config["id2label"][str(number)] for number in range(1001)]
    found = match_classes(sorted(set(names)), names)
    assert [left for left, _ in found.left_out] == ["crane"]
    first_words = [name.split(",")[0] for name in names]
    found = match_classes(first_words, names)
    wrong = [n for n, number in enumerate(found.numbers) if number not in (n, None)]
    assert wrong == [] and len(found.left_out) <= 4


@pytest.mark.parametrize(("alike", "offset"), [(500, 0), (499, None)])
def test_half_of_the_names_are_enough_to_be_imagenet(alike, offset):
    names = [*IMAGENET[:alike], *(f"thing {n}" for n in range(1000 - alike))]
    assert imagenet_offset(names) == offset
