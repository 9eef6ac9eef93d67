"""Objectives and the sharing out of images, against numbers worked out by hand."""

import pytest
import torch

from convscope.attacks._criteria import Criterion, logit_ratio
from convscope.attacks._uap import held_out

ROWS = torch.tensor([0])


@pytest.mark.parametrize(
    ("logits", "targeted", "expected"),
    [
        # Label 1. Untargeted: (largest other - z[1]) / (largest - third largest).
        ([5.0, 3.0, 2.0, -7.0], False, (5 - 3) / (5 - 2)),
        ([5.0, 3.0, 2.0], False, (5 - 3) / (5 - 2)),
        ([5.0, 3.0], False, (5 - 3) / (5 - 3)),
        # Target 0: (z[0] - z[1]) / (largest - mean of the third and the fourth).
        ([5.0, 3.0, 2.0, -7.0, -9.0], True, (5 - 3) / (5 - (2 - 7) / 2)),
        ([5.0, 3.0, 2.0, -7.0], True, (5 - 3) / (5 - (2 - 7) / 2)),
        ([5.0, 3.0, 2.0], True, (5 - 3) / (5 - 2)),
        ([1.0, 3.0], True, (1 - 3) / (3 - 1)),
    ],
)
def test_the_ratio_of_logits(logits, targeted, expected):
    targets = torch.tensor([0]) if targeted else None
    criterion = Criterion(labels=torch.tensor([1]), targets=targets)
    assert float(logit_ratio(criterion, torch.tensor([logits]), ROWS)) == pytest.approx(expected)


@pytest.mark.parametrize(("count", "apart"), [(2, [1]), (4, [1]), (5, [4]), (11, [4, 9])])
def test_every_fifth_image_is_held_out_or_the_second_of_a_few(count, apart):
    images = torch.arange(float(count))[:, None, None, None]
    training, (held, labels) = held_out(images, torch.arange(count), None)
    assert labels.tolist() == apart and held.flatten().tolist() == apart
    assert sorted(training.flatten().tolist() + apart) == list(range(count))
