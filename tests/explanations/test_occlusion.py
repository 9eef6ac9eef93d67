"""Where the window goes, and the table that the course documents print."""

import pytest
import torch

from convscope.errors import UsageError
from convscope.explanations import OCCLUSION_PRESETS, occlusion
from tests.explanations.nets import linear, pooled


def test_positions_run_left_to_right_then_top_to_bottom():
    classifier, _ = linear(shape=(1, 28, 28))
    table = occlusion(classifier, torch.rand(1, 1, 28, 28), preset="14/7").table
    corners = [tuple(row[:2]) for row in table.windows.tolist()]
    assert corners == [(t, x) for t in (0, 7, 14) for x in (0, 7, 14)]
    assert table.window == (14, 14) and table.fill == "gray 0.5"


def test_presets_of_the_documents():
    assert OCCLUSION_PRESETS["12/4"] == {"window": 12, "stride": 4, "fill": 0.5}
    classifier, _ = linear(shape=(1, 28, 28))
    assert len(occlusion(classifier, torch.rand(1, 1, 28, 28), preset="12/4").table.windows) == 25


@pytest.mark.parametrize("size", [(7, 11), (10, 10), (5, 13)])
@pytest.mark.parametrize(("window", "stride"), [(3, 2), (4, 3), (5, 5), (2, 1)])
def test_every_pixel_is_hidden_and_the_last_window_ends_at_the_border(size, window, stride):
    classifier, _ = linear(shape=(1, *size))
    table = occlusion(classifier, torch.rand(1, 1, *size), window=window, stride=stride).table
    hidden = torch.zeros(size, dtype=torch.bool)
    for top, left, bottom, right in table.windows.tolist():
        assert bottom - top == window and right - left == window
        hidden[top:bottom, left:right] = True
    assert hidden.all()
    assert len({tuple(row) for row in table.windows.tolist()}) == len(table.windows)


def test_the_default_window_is_a_quarter_with_half_its_stride_and_mean_fill():
    classifier, _ = linear(shape=(1, 32, 32))
    table = occlusion(classifier, torch.rand(1, 1, 32, 32)).table
    assert (table.window, table.stride, table.fill) == ((8, 8), (4, 4), "mean color")


def test_the_table_is_the_probability_of_the_true_class_with_the_window_hidden():
    classifier = pooled()
    images, labels = torch.rand(3, 1, 12, 12), torch.tensor([2, 0, 1])
    table = occlusion(classifier, images, labels, window=6, stride=6, fill=0.5).table
    for row in range(3):
        for p, (top, left, bottom, right) in enumerate(table.windows.tolist()):
            hidden = images[row : row + 1].clone()
            hidden[:, :, top:bottom, left:right] = 0.5
            shares = classifier.logits(hidden).softmax(dim=1)[0].detach()
            assert torch.allclose(table.of_label[row, p], shares[labels[row]], atol=1e-6)
            assert table.predicted[row, p] == shares.argmax()


def test_all_classes_cost_one_pass():
    classifier, images = pooled(), torch.rand(3, 1, 12, 12)
    found = occlusion(classifier, images, "all", window=6, stride=6)
    assert found.cost.forwards == 3 * (4 + 1) and found.cost.backwards == 0


def test_probabilities_can_be_the_score():
    classifier, images = pooled(), torch.rand(2, 1, 12, 12)
    found = occlusion(classifier, images, 1, window=12, stride=12, score="probability")
    drop = found.table.clean[:, 1] - found.table.probabilities[:, 0, 1]
    assert torch.allclose(found.maps[:, 0, 0, 0], drop, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"window": 13}, "window's height is 13"),
        ({"window": 4, "stride": 5}, "stride 5"),
        ({"fill": 1.5}, "fill is 1.5"),
        ({"fill": "median"}, "unknown fill"),
        ({"preset": "9/9"}, "unknown occlusion preset"),
        ({"score": "loss"}, "unknown score"),
    ],
)
def test_settings_without_sense_are_refused(settings, text):
    with pytest.raises(UsageError, match=text):
        occlusion(pooled(), torch.rand(1, 1, 12, 12), **settings)
