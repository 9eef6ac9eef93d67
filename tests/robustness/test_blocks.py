"""Many images, block by block: the same curve and the same verdicts in bounded memory."""

import pytest
import torch

from convscope.robustness import _curve, _evaluate, curve, evaluate


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of seven rows; those of the attacks themselves are tested with them."""

    def shrink():
        monkeypatch.setattr(_curve, "block_rows", lambda shape: 7)
        monkeypatch.setattr(_evaluate.RobustnessJudging, "size", 7)

    return shrink


@pytest.mark.parametrize("attack", ["square", "pgd"])
def test_the_curve_does_not_depend_on_blocks(digits, small_blocks, attack):
    classifier, images, labels = digits
    settings = {"attack": attack, "epsilons": [0.05, 0.1, 0.2]}
    settings |= {"queries": 20} if attack == "square" else {"steps": 5}
    whole = curve(classifier, images[:20], labels[:20], **settings)
    small_blocks()
    cut = curve(classifier, images[:20], labels[:20], **settings)
    assert torch.equal(whole.smallest, cut.smallest)
    assert torch.equal(whole.accuracies, cut.accuracies)


@pytest.mark.slow
def test_the_judge_does_not_depend_on_blocks(digits, small_blocks):
    classifier, images, labels = digits
    whole = evaluate(classifier, images[:20], labels[:20], epsilon=0.05, effort="quick")
    small_blocks()
    cut = evaluate(classifier, images[:20], labels[:20], epsilon=0.05, effort="quick")
    assert torch.equal(whole.broken_by, cut.broken_by)
    assert torch.allclose(whole.adversarials, cut.adversarials, atol=1e-5)
    assert [(r.attacked, r.broken, r.robust) for r in whole.suite] == [
        (r.attacked, r.broken, r.robust) for r in cut.suite
    ]
    assert [(c.name, c.verdict, c.number) for c in whole.checks] == [
        (c.name, c.verdict, pytest.approx(c.number)) for c in cut.checks
    ]
