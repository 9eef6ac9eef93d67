"""What the study of the first course assignment works out by itself."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from convscope.attacks import NoiseTransfer
from convscope.data import Split
from convscope.studies import STUDIES, Study
from convscope.studies._convolutional_networks._data import by_chance, in_both, neighbors
from convscope.studies._convolutional_networks._maximizing import in_fives, risen
from convscope.studies._convolutional_networks._noises import counts
from convscope.studies._convolutional_networks._training import first_by_validation
from convscope.studies._convolutional_networks._weight_decay import taken_by_l2


@pytest.fixture
def study(tmp_path):
    torch.set_num_threads(1)
    name = "convolutional-networks"
    return Study(name=name, spec=STUDIES.spec(name), out=tmp_path)


def test_l2_takes_rate_times_strength_times_weight_and_nothing_from_a_bias(study):
    found = taken_by_l2(study)
    assert len(found) == 8
    for one in found:
        wanted = 1.0 if one.name.endswith("weight") else 0.0
        assert one.share == pytest.approx(wanted, abs=1e-3), one.name


def test_the_best_network_is_chosen_by_accuracy_then_by_loss():
    def end(accuracy, loss):
        return SimpleNamespace(validation_accuracy=accuracy, validation_loss=loss)

    ends = {"a": end(0.9, 0.1), "b": end(0.95, 0.3), "c": end(0.95, 0.2)}
    assert first_by_validation(ends) == "c"


def test_sums_are_counted_by_what_they_are_predicted_as():
    """Three images of classes 0, 1, 2 with the noises of classes 0 and 1."""
    shown = NoiseTransfer(
        noises=torch.zeros(2, 1, 2, 2),
        noise_targets=torch.tensor([0, 1]),
        images=torch.zeros(3, 1, 2, 2),
        labels=torch.tensor([0, 1, 2]),
        predicted_before=torch.tensor([0, 1, 2]),
        predicted=torch.tensor([[0, 0, 2], [2, 1, 1]]),
        probabilities=torch.ones(2, 3),
        class_names=("0", "1", "2"),
    )
    # Noise 0: own, followed, kept. Noise 1: a third class, own, followed.
    assert counts(shown) == (2, 1, 1, 2)


def test_a_cost_rises_if_it_ends_above_its_start_and_near_its_best():
    history = torch.tensor([[0.0, 0.0, 1.0, 0.0], [5.0, 10.0, 0.9, 10.0], [10.0, 9.6, 0.5, 8.0]])
    assert risen(SimpleNamespace(history=history)) == [0, 1]


def test_lines_of_many_become_lines_of_five():
    lines = [("a", list(range(7))), ("b", list(range(10, 17)))]
    assert in_fives(lines) == [
        ("a", [0, 1, 2, 3, 4]), ("b", [10, 11, 12, 13, 14]), ("a", [5, 6]), ("b", [15, 16]),
    ]  # fmt: skip


def test_images_in_two_parts_are_found_and_sorted_labels_are_noticed():
    def split(name: str, *values: int) -> Split:
        images = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
        return Split(name=name, images=images.clone(), labels=torch.zeros(len(values)).long())

    assert in_both(split("train", 1, 2, 3), split("test", 3, 4, 1)) == 2
    labels: Tensor = torch.arange(10).repeat_interleave(10)
    assert neighbors(labels) == pytest.approx(90 / 99)
    assert by_chance(labels) == pytest.approx(0.1)


def test_what_is_made_once_gives_its_inputs_to_every_question(study):
    made = []

    def make():
        made.append(len(study.dataset().test))
        return made[-1]

    study.once("images", make)
    study.used = {}
    assert study.once("images", make) == made[0] and len(made) == 1
    assert list(study.used) == ["data digits"]
