"""Test-time augmentation: views, their weights, and what evaluations say of it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from convscope.classifier import Classifier
from convscope.data import Split
from convscope.errors import UsageError
from convscope.training import evaluate, train
from convscope.training._tta import TTA, averaged, views


def numbered(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tta", TTA)
def test_weights_add_up_to_one_and_the_image_comes_first(tta):
    images = numbered(2, 3, 6, 6)
    weights, first = [], None
    for weight, view in views(images, tta):
        weights.append(weight)
        first = view if first is None else first
    assert sum(weights) == 1
    assert torch.equal(first, images)


def test_mirror_shift_moves_by_one_pixel_both_ways():
    images = numbered(1, 1, 5, 5)
    shown = [view for _, view in views(images, "mirror-shift")]
    assert len(shown) == 6
    assert torch.equal(shown[1], images.flip(3))
    inside = (slice(None), slice(None), slice(1, 4), slice(1, 4))
    assert torch.equal(shown[2][inside], images[:, :, 2:, 2:])
    assert torch.equal(shown[4][inside], images[:, :, :3, :3])
    assert torch.equal(shown[3][:, :, 1:4, 1:4], images.flip(3)[:, :, 2:, 2:])


def test_logits_are_averaged_over_the_views():
    images = numbered(4, 1, 3, 3)
    plain, mean = averaged(lambda x: x[:, 0, 0], images, "mirror")
    torch.testing.assert_close(plain, images[:, 0, 0])
    torch.testing.assert_close(mean, (images[:, 0, 0] + images[:, 0, 0].flip(1)) / 2)


def test_evaluation_reports_both_accuracies():
    class Left(nn.Module):
        """Class 1 where the left pixel is brighter than the right one."""

        def forward(self, x):
            return torch.stack([x[:, 0, 0, 1], x[:, 0, 0, 0] * 1.5], dim=1)

    images = torch.tensor([[0, 200], [200, 0]], dtype=torch.uint8).view(2, 1, 1, 2)
    split = Split(name="test", images=images, labels=torch.tensor([0, 1]))
    classifier = Classifier(module=Left(), class_names=("right", "left"), input_shape=(1, 1, 2))
    plain, mirrored = evaluate(classifier, split), evaluate(classifier, split, tta="mirror")
    assert (plain.accuracy, plain.accuracy_without_tta, plain.tta) == (1.0, 1.0, "none")
    # With its mirror image each pixel is on both sides: the logit of class 1 always wins.
    assert (mirrored.accuracy, mirrored.accuracy_without_tta) == (0.5, 1.0)
    assert mirrored.summary()["accuracy_without_tta"] == 1.0
    assert "tta" not in plain.summary()
    assert "100.00% without" in mirrored.headline()
    with pytest.raises(UsageError, match="mirror"):
        evaluate(classifier, split, tta="mirorr")


def test_a_run_measures_what_it_exports_once_more_with_the_augmentation(
    tmp_path, dataset, settings
):
    result = train(replace(settings, tta="mirror"), dataset, out=tmp_path / "run")
    judged = evaluate(result.classifier, dataset.validation, tta="mirror")
    assert result.tta_accuracy == pytest.approx(judged.accuracy)
    assert (
        f"with mirror test-time augmentation | {judged.accuracy:.2%}"
        in (tmp_path / "run" / "README.md").read_text()
    )
