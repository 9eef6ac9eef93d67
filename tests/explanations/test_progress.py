"""Hearing how far a method is."""

import pytest
import torch

from convscope.explanations import EXPLANATIONS, integrated_gradients
from convscope.progress import watch
from tests.explanations.nets import Plain, spelled


def heard_from(explain):
    heard = []
    with watch(lambda share, what: heard.append(share)):
        explain()
    return heard


SLOW = [name for name, spec in EXPLANATIONS.specs().items() if spec.passes > 2]


@pytest.mark.parametrize("name", SLOW)
def test_every_slow_method_ends_at_one_and_never_falls(name):
    classifier, images = spelled(Plain), torch.rand(3, 1, 12, 12)
    heard = heard_from(lambda: EXPLANATIONS[name](classifier, images, "all"))
    assert heard[-1] == pytest.approx(1) and heard == sorted(heard)


def test_further_passes_of_integrated_gradients_move_on():
    classifier, images = spelled(Plain), torch.rand(3, 1, 12, 12)
    heard = heard_from(
        lambda: integrated_gradients(
            classifier, images, 0, steps=16, tolerance=0.0, most_steps=64, baseline=0.0
        )
    )
    # 16, 32 and 64 points, in one chunk or more each; no pass repeats what was said before.
    assert {round(112 * share) for share in heard} >= {16, 48, 112}
    assert len(set(heard[:-1])) == len(heard) - 1


def test_one_pass_that_is_enough_leaps_to_the_end():
    classifier, images = spelled(Plain), torch.rand(2, 1, 12, 12)
    heard = heard_from(
        lambda: integrated_gradients(classifier, images, 0, steps=16, tolerance=1e9, most_steps=32)
    )
    assert heard[-2:] == [pytest.approx(1 / 3), 1.0]
