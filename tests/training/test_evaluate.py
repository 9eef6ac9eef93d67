"""Every number of an evaluation against scikit-learn, a formula or a hand count."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import nn

from convscope import results
from convscope._metrics import gates_of
from convscope.classifier import Classifier
from convscope.data import Split, open_dataset
from convscope.errors import DataError, ModelContractError, NumericalError, UsageError
from convscope.progress import watch
from convscope.stats import wilson
from convscope.training._evaluate import Evaluation, evaluate


class Told(nn.Module):
    """Reads its logits from the first pixels of the image: any table of logits can be judged."""

    def __init__(self, classes, scale):
        super().__init__()
        self.classes, self.scale = classes, scale

    def forward(self, x):
        return (x[:, 0, 0, : self.classes] - 0.5) * self.scale + no_ties(self.classes)


def no_ties(classes):
    return torch.arange(classes) * 1e-3


def told(n, classes, *, seed=0, scale=12.0, labels=None):
    chance = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 1, 2, max(classes, 2)), generator=chance, dtype=torch.uint8)
    if labels is None:
        labels = torch.randint(0, classes, (n,), generator=chance)
        # Half of the images are easy.
        rows = torch.arange(0, n, 2)
        images[rows, 0, 0, labels[rows]] = 255
    classifier = Classifier(
        module=Told(classes, scale),
        class_names=tuple(f"c{i}" for i in range(classes)),
        input_shape=(1, 2, max(classes, 2)),
    )
    split = Split(name="test", images=images, labels=labels)
    logits = (split.to_float()[:, 0, 0, :classes] - 0.5) * scale + no_ties(classes)
    return classifier, split, logits.double()


@pytest.mark.parametrize(("n", "classes"), [(500, 10), (37, 3), (1, 2), (64, 2)])
def test_numbers_of_scikit_learn(n, classes):
    classifier, split, logits = told(n, classes)
    result = evaluate(classifier, split)
    truth, read = split.labels.numpy(), logits.argmax(1).numpy()
    probabilities = logits.softmax(1).numpy()
    every = list(range(classes))
    assert result.n == n
    assert result.accuracy == pytest.approx(metrics.accuracy_score(truth, read))
    assert (result.confusion.numpy() == metrics.confusion_matrix(truth, read, labels=every)).all()
    assert result.loss == pytest.approx(
        metrics.log_loss(truth, probabilities, labels=every), rel=1e-6
    )
    present = np.unique(truth)
    recalls = metrics.recall_score(truth, read, labels=present, average=None, zero_division=0)
    assert result.per_class[present].numpy() == pytest.approx(recalls)
    assert result.mean_per_class == pytest.approx(recalls.mean())
    assert (result.predicted.numpy() == read).all()
    assert result.confidences.numpy() == pytest.approx(probabilities.max(1), rel=1e-5)
    for k, share in zip(result.top, result.top_accuracy, strict=True):
        if classes > 2:
            expected = metrics.top_k_accuracy_score(truth, probabilities, k=k, labels=every)
            assert share == pytest.approx(expected)


def test_mean_per_class_is_not_accuracy():
    """Ninety of class 0 read rightly, ten of class 1 read wrongly: 90 % and 50 %."""
    labels = torch.tensor([0] * 90 + [1] * 10)
    classifier, split, _ = told(100, 2, labels=labels)
    split.images[:, 0, 0] = torch.tensor([255, 0], dtype=torch.uint8)
    result = evaluate(classifier, split)
    assert result.accuracy == pytest.approx(0.9)
    assert result.mean_per_class == pytest.approx(0.5)


def test_classes_without_images_are_nan_and_do_not_count():
    labels = torch.tensor([0, 0, 2])
    classifier, split, _ = told(3, 4, labels=labels)
    split.images[:] = 0
    split.images[:, 0, 0, 0] = 255
    result = evaluate(classifier, split)
    assert result.per_class.isnan().tolist() == [False, True, False, True]
    assert result.per_class[0] == 1 and result.per_class[2] == 0
    assert result.mean_per_class == pytest.approx(0.5)


def test_calibration_error_by_its_definition():
    classifier, split, logits = told(800, 5, scale=4.0)
    result = evaluate(classifier, split)
    confidence, read = logits.softmax(1).float().max(1)
    confidence, right = confidence.double(), read == split.labels
    error = 0.0
    for index in range(15):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        if inside.any():
            gap = (confidence[inside].mean() - right[inside].double().mean()).abs()
            error += gap.item() * int(inside.sum()) / 800
            assert result.calibration_confidence[index] == pytest.approx(confidence[inside].mean())
            assert result.calibration_accuracy[index] == pytest.approx(
                right[inside].double().mean()
            )
        assert result.calibration_counts[index] == int(inside.sum())
    assert result.calibration_error == pytest.approx(error)
    assert 0 < result.calibration_error < 1


def test_perfect_confidence_is_calibrated():
    classifier, split, logits = told(60, 3, scale=1000.0)
    read = logits.argmax(1)
    result = evaluate(classifier, Split(name="test", images=split.images, labels=read))
    assert result.accuracy == 1
    assert result.calibration_error < 0.02
    assert len(result.mistakes.rows) == 0


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # statsmodels.stats.proportion.proportion_confint(hits, n, method="wilson"), to six digits.
    [(0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (9, 10, 0.595850, 0.982124)],
)
def test_wilson_interval_at_small_numbers(hits, n, low, high):
    assert wilson(hits, n) == pytest.approx((low, high), abs=1e-6)


def test_wilson_interval_solves_its_equation():
    """Both ends are shares p at which |hits/n - p| is 1.96 standard errors of p."""
    for hits, n in ((3, 50), (49, 50), (9_920, 10_000)):
        for p in wilson(hits, n):
            assert abs(hits / n - p) == pytest.approx(
                1.959963984540054 * math.sqrt(p * (1 - p) / n), rel=1e-9
            )


def test_mistakes_are_wrong_and_most_confident_first():
    classifier, split, logits = told(300, 6)
    result = evaluate(classifier, split, mistakes=10)
    rows = result.mistakes.rows
    assert len(rows) == 10
    assert (result.mistakes.labels == split.labels[rows]).all()
    assert (result.mistakes.predicted == logits.argmax(1)[rows]).all()
    assert (result.mistakes.predicted != result.mistakes.labels).all()
    assert (result.mistakes.confidences.diff() <= 0).all()
    wrong = logits.argmax(1) != split.labels
    most = logits.softmax(1).max(1).values[wrong].max()
    assert result.mistakes.confidences[0].item() == pytest.approx(most.item(), rel=1e-5)


def test_of_equal_scores_the_lower_class_is_read_and_placed_first():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 7))
    nn.init.zeros_(net[1].weight)
    nn.init.zeros_(net[1].bias)
    classifier = Classifier(module=net, class_names=tuple("abcdefg"), input_shape=(1, 2, 2))
    images = torch.zeros(7, 1, 2, 2, dtype=torch.uint8)
    result = evaluate(classifier, Split(name="test", images=images, labels=torch.arange(7)))
    assert result.predicted.tolist() == [0] * 7
    assert result.top == (1, 3, 5)
    assert result.top_accuracy == (1 / 7, 3 / 7, 5 / 7)


def test_the_random_sample_is_random_once_and_the_same_again():
    classifier, split, _ = told(300, 6)
    first, again = (evaluate(classifier, split, sample=12).sample.rows for _ in range(2))
    other = evaluate(
        classifier, split, sample=12, generator=torch.Generator().manual_seed(1)
    ).sample.rows
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(first.unique()) == 12
    assert len(evaluate(classifier, split, sample=1000).sample.rows) == 300


@pytest.mark.parametrize("classes", [2, 4, 7])
def test_every_metric_of_eval_is_measured(classes):
    result = evaluate(*told(40, classes)[:2])
    known = [name for name in gates_of("eval") if name[:3] != "top" or int(name[3:]) < classes]
    assert list(result.metrics()) == known
    assert all(0 <= value <= 1 for name, value in result.metrics().items() if name != "loss")
    assert result.metrics()["worst-class"] == result.per_class.min()
    summary = result.summary()
    assert summary["mean_per_class"] == result.mean_per_class
    assert summary["top"] == {
        str(k): v for k, v in zip(result.top, result.top_accuracy, strict=True)
    }


def test_blocks_change_nothing(monkeypatch):
    from convscope.training import _evaluate

    classifier, split, _ = told(100, 4)
    whole = evaluate(classifier, split)
    monkeypatch.setattr(_evaluate.AccuracyJudging, "size", 7)
    seen = []
    with watch(lambda share, what: seen.append(share)):
        blocks = evaluate(classifier, split)
    # The Probe, too, tells how far it is inside a block.
    assert seen == sorted(seen) and seen[-1] == 1.0 and len(set(seen)) >= 15
    assert torch.equal(whole.predicted, blocks.predicted)
    assert torch.equal(whole.confusion, blocks.confusion)
    assert whole.loss == pytest.approx(blocks.loss)


def test_an_empty_split_and_labels_beyond_the_classes():
    classifier, split, _ = told(10, 3)
    empty = Split(name="test", images=split.images[:0], labels=split.labels[:0])
    with pytest.raises(DataError, match="test split is empty"):
        evaluate(classifier, empty)
    for bad in (3, -1):
        labels = split.labels.clone()
        labels[4] = bad
        with pytest.raises(DataError, match=f"class {bad}"):
            evaluate(classifier, Split(name="test", images=split.images, labels=labels))


@pytest.mark.parametrize("given", ["digits", open_dataset])
def test_a_whole_data_set_is_no_split(given):
    classifier, _, _ = told(10, 3)
    given = given if isinstance(given, str) else given("digits")
    with pytest.raises(UsageError, match="split is a") as caught:
        evaluate(classifier, given)
    assert caught.value.code == "U14" and ".test" in str(caught.value)


def test_images_of_another_shape():
    classifier, _, _ = told(10, 3)
    split = Split(
        name="test",
        images=torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        labels=torch.zeros(2, dtype=torch.int64),
    )
    with pytest.raises(ModelContractError, match="3x8x8"):
        evaluate(classifier, split)


def test_nan_logits_are_an_error_not_a_class():
    classifier, split, _ = told(10, 3, scale=math.nan)
    with pytest.raises(NumericalError, match="10 of 10"):
        evaluate(classifier, split)


def test_evaluating_leaves_the_network_as_it_was():
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2))
    classifier = Classifier(module=net, class_names=("a", "b"), input_shape=(1, 2, 2))
    split = Split(
        name="test",
        images=torch.randint(0, 256, (9, 1, 2, 2), dtype=torch.uint8),
        labels=torch.zeros(9, dtype=torch.int64),
    )
    before = net[1].running_mean.clone()
    random = torch.get_rng_state()
    evaluate(classifier, split)
    assert net.training and torch.equal(net[1].running_mean, before)
    assert torch.equal(torch.get_rng_state(), random)


def test_an_evaluation_is_saved_and_read_back(tmp_path):
    classifier, split, _ = told(50, 12)
    result = evaluate(classifier, split)
    results.save(result, tmp_path / "evaluation")
    back = results.load(Evaluation, tmp_path / "evaluation")
    assert back.accuracy == result.accuracy and back.interval == result.interval
    assert torch.equal(back.confusion, result.confusion)
    assert torch.equal(back.mistakes.rows, result.mistakes.rows)
    assert back.top == (1, 3, 5) and back.class_names == result.class_names


def test_html_says_the_main_numbers():
    classifier, split, _ = told(50, 3)
    html = evaluate(classifier, split)._repr_html_()
    assert "of 50 images classified correctly" in html and "95 % interval" in html
