"""What the pages of attacks and explanations say and show, at the edges too."""

import csv
import re
from dataclasses import replace

import pytest
import torch
from matplotlib.colors import to_hex
from torch import nn

from convscope.attacks import fgsm
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.explanations import Explanation
from convscope.figures import draw_attack, verdict
from convscope.pages import agreement, scale_bars, some_are, write_result
from convscope.pages._attack_page import _finding, probability_bars, spoken
from convscope.pages._image_page import _predictions
from convscope.pages._write import refuse_taken_file
from convscope.reports import Report

LARGE = 20.0
BARS = re.compile(r'<svg class="bars".*?</svg>', re.DOTALL)


def attacked(channels=1, *, targets=None, count=4, **changes):
    """An attack on images whose class is the sign of their mean, and what is changed about it."""
    layer = nn.Linear(channels * 16, 2)
    layer.weight.data = torch.stack([torch.ones(channels * 16), -torch.ones(channels * 16)])
    layer.bias.data.zero_()
    classifier = Classifier.wrap(
        nn.Sequential(nn.Flatten(), layer),
        input_shape=(channels, 4, 4),
        class_names=["a name of more than twenty-two letters", "$5"],
    )
    images = torch.full((count, channels, 4, 4), 0.5)
    labels = torch.zeros(count).long()
    result = fgsm(classifier, images, labels, targets=targets, epsilon=8 / 255)
    return replace(result, **changes)


def outcome(before, after, **more):
    """An attack on as many images as there are classes before: 0 is right, 1 is wrong."""
    logits = [LARGE * nn.functional.one_hot(torch.tensor(k), 2).float() for k in (before, after)]
    return attacked(
        count=len(before),
        logits_before=logits[0],
        logits_after=logits[1],
        logits_quantized=logits[1],
        **more,
    )


def test_the_headline_counts_images_and_names_the_budget():
    said = _finding(outcome([0, 0, 0, 0], [1, 0, 1, 0]))
    assert said == "`fgsm` fools 2 of 4 images (50.0\u00a0%) within L∞ ≤ 8/255."
    said = _finding(outcome([0, 1, 0], [1, 1, 0]))
    assert said.endswith("fools 1 of 2 images (50.0\u00a0%) within L∞ ≤ 8/255. "
                         "1 more was misclassified before.")  # fmt: skip
    said = _finding(outcome([0], [1], epsilon=None, norm=None))
    assert said == "`fgsm` fools 1 of 1 image (100.0\u00a0%) without a budget."


def test_the_headline_says_that_there_was_nothing_to_fool():
    assert _finding(outcome([1, 1], [1, 1])) == (
        "`fgsm` had nothing to fool: all 2 images were misclassified before."
    )
    targets = torch.tensor([1])
    assert _finding(outcome([1], [1], targets=targets)) == (
        "`fgsm` had nothing to fool: the image was of the target class, or predicted as it, before."
    )


def test_an_image_without_finite_logits_keeps_its_row(tmp_path):
    nothing = torch.full((2, 2), float("nan"))
    nothing[1] = torch.tensor([0.0, LARGE])
    found = outcome([0, 0], [1, 1])
    found = replace(found, logits_after=nothing, logits_quantized=nothing)
    cell = probability_bars(found, 0)
    assert [bar["shares"][1] for bar in cell["bars"]] == [0.0, 0.0]
    assert "then –" in cell["alt"] and "count" not in cell["alt"]
    write_result(found, ("first", "second"), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert text.count('<svg class="bars"') == 2 and "cannot be shown" not in text


def test_bars_after_an_attack_have_the_color_of_its_success(tmp_path):
    found = outcome([0, 0], [1, 0])
    assert [probability_bars(found, i)["tone"] for i in range(2)] == ["bad", "good"]
    write_result(found, ("first", "second"), tmp_path / "a.html")
    first, second = BARS.findall((tmp_path / "a.html").read_text())
    assert re.findall(r'<rect [^>]*fill="(#\w+)"', first) == ["#3a9bd9", "#c8500a"] * 2
    assert re.findall(r'<rect [^>]*fill="(#\w+)"', second) == ["#3a9bd9", "#00805f"] * 2


def test_an_image_that_was_misclassified_before_is_not_called_fooled(tmp_path):
    found = outcome([0, 1, 0], [1, 1, 0])
    assert [verdict(found, i)[2] for i in range(3)] == ["bad", "", "good"]
    write_result(found, ("first", "second", "third"), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    bars = BARS.findall(text)[1]
    assert re.findall(r'<rect [^>]*fill="(#\w+)"', bars) == ["#3a9bd9", "#5f6770"] * 2
    assert "gray: misclassified before" in text
    drawn = draw_attack(found)
    frames = [to_hex(made.spines["left"].get_edgecolor()) for made in drawn.axes[2::4]]
    assert frames == ["#c8500a", "#5f6770", "#00805f"]
    assert "gray frame: misclassified before" in drawn.get_supxlabel()
    assert "gray" not in draw_attack(outcome([0], [1])).get_supxlabel()
    told = spoken(found)
    assert told["fooled"] == "50.0 % (1 of 2 images that were classified correctly before)"
    assert told["nothing to fool"] == "1 of 3 images (misclassified before)"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_of_few_images_each_prediction_is_told_before_and_after(count):
    found = outcome([0] * count, [1] * count)
    told = {k: v for k, v in spoken(found).items() if k.startswith("prediction")}
    names = found.class_names
    keys = (
        [f"prediction of image {row + 1}" for row in range(count)] if count > 1 else ["prediction"]
    )
    assert list(told) == (keys if count < 5 else [])
    for text in told.values():
        before, after = text.split(" -> ")
        assert before.startswith(repr(names[0])) and after.startswith(repr(names[1]))
        assert before.endswith(" %") and after.endswith(" %")


@pytest.mark.parametrize("targets", [None, torch.tensor([1, 1, 1])])
def test_the_table_of_images_counts_as_fooled_what_the_summary_counts(targets, tmp_path):
    found = outcome([0, 1, 0], [1, 1, 0], targets=targets)
    write_result(found, ("first", "second", "third"), tmp_path / "folder")
    with (tmp_path / "folder" / "images.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for column in ("fooled", "fooled as 8 bits"):
        assert [line[column] for line in lines] == ["True", "False", "False"]
    assert [line["no task"] for line in lines] == ["False", "True", "False"]
    assert found.summary()["success_rate"] == 1 / 2


@pytest.mark.parametrize(("channels", "words"), [(1, ["10 ×", "50 ×"]), (3, ["5 ×", "25 ×"])])
def test_under_each_difference_stands_its_own_factor(channels, words, tmp_path):
    found = attacked(channels, count=2)
    changed = found.originals.clone()
    changed[0, :, 1, 1] += 0.1
    changed[1, :, 1, 1] += 0.02
    found = replace(found, adversarials=changed)
    write_result(found, ("first", "second"), tmp_path / "a.html")
    assert re.findall(r"[\d.,]+ ×", (tmp_path / "a.html").read_text()) == words
    assert [made.get_title() for made in draw_attack(found).axes[1::4]] == words


def test_names_of_classes_on_a_page_are_not_escaped_for_figures(tmp_path):
    write_result(outcome([0], [1]), ("first",), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert "$5" in text and "\\$5" not in text


def explained(method, maps):
    maps = torch.as_tensor(maps)[:, None]
    return Explanation(
        images=torch.zeros(len(maps), 1, *maps.shape[2:]),
        maps=maps,
        targets=torch.zeros(len(maps), 1).long(),
        method=method,
        class_names=("a",),
    )


def strong_at(*places):
    """Maps of 10 x 10 pixels, one per row of pixels that is strong: the strongest tenth."""
    maps = torch.zeros(len(places), 10, 10)
    for i, row in enumerate(places):
        if row is not None:
            maps[i, row] = -1.0
    return maps


def test_two_methods_are_named_with_what_they_share():
    one, other = explained("saliency", strong_at(0, 1)), explained("rise", strong_at(0, 2))
    assert agreement([one, other]) == (
        "`saliency` and `rise` share 50 % of the strongest tenth of their pixels (10 % by chance)."
    )


def test_many_methods_are_compared_pair_by_pair():
    found = [explained(name, strong_at(row)) for name, row in (("a", 0), ("b", 0), ("c", 1))]
    assert agreement(found) == (
        "On average two methods share 33 % of the strongest tenth of their pixels "
        "(0 to 100 % by pair; 10 % by chance)."
    )


def test_empty_maps_are_not_compared():
    found = [explained("a", strong_at(0, 1)), explained("b", strong_at(0, None))]
    assert "share 100 % of" in agreement(found)
    empty = explained("c", strong_at(None, None))
    assert agreement([*found, empty]) == agreement(found)
    assert agreement([found[0], empty]) == agreement([found[0]]) == agreement([]) == ""
    assert agreement([explained("a", torch.zeros(0, 10, 10)) for _ in range(2)]) == ""


def test_maps_of_nan_are_empty():
    nan = explained("b", torch.full((1, 10, 10), float("nan")))
    assert agreement([explained("a", strong_at(0)), nan]) == ""


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("cat", None)] * 3, "All 3 images are predicted as cat."),
        ([("cat", None), ("dog", None)], "2 images are predicted as 2 different classes."),
        ([("cat", "cat"), ("cat", "dog")], "1 of 2 images is predicted as its true class."),
        ([("cat", "cat"), ("dog", "dog")], "2 of 2 images are predicted as their true class."),
    ],
)
def test_predictions_are_told_in_true_sentences(rows, words):
    told = [
        {"image": "x", "predicted": predicted} | ({} if true is None else {"true": true})
        for predicted, true in rows
    ]
    assert _predictions(told) == words


def test_counts_agree_with_their_verb():
    assert some_are(1, 1, "map") == "1 of 1 map is" and some_are(0, 4, "map") == "0 of 4 maps are"


def test_an_empty_folder_is_free_and_a_full_one_is_taken(tmp_path):
    refuse_taken_file(tmp_path, force=False)
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        refuse_taken_file(tmp_path, force=False)
    refuse_taken_file(tmp_path, force=True)


@pytest.mark.parametrize("signs", [(), (True,), (False,), (True, False), (False, True, False)])
def test_there_is_a_bar_of_colors_for_each_kind_of_map(signs):
    found = [
        Explanation(
            images=torch.zeros(1, 1, 4, 4), maps=torch.ones(1, 1, 4, 4), method="own",
            targets=torch.zeros(1, 1).long(), signed=signed, class_names=("a",),
        )
        for signed in signs
    ]  # fmt: skip
    section = Report(title="t").section("maps", "Maps")
    scale_bars(section, found)
    shown = [item["detail"] for block in section.blocks for item in block["items"]]
    expected = {True: "− largest … 0 … + largest", False: "0 … largest"}
    assert shown == [expected[kind] for kind in (True, False) if kind in signs]
