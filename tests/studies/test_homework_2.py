from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from convscope.errors import ResourceError
from convscope.scratch import ADDER_WEIGHTS, run_adder
from convscope.studies import STUDIES, Study
from convscope.studies._homework_2 import CONTENT, _adder
from convscope.studies._homework_2._adder import all_sums, one_step, random_sums
from convscope.studies._homework_2._deeper_network import convolutions
from convscope.studies._homework_2._feature_maps import (
    bright_share,
    correlation,
    edges,
    enlarged,
    explained,
    local_planes,
    shrunk,
)
from convscope.studies._homework_2._materials import (
    chosen_photos,
    network,
    photos,
    target_class,
)
from convscope.studies._homework_2._paper import lines_of
from convscope.studies._homework_2._small_networks import (
    NORMALIZED,
    PLAIN,
    better,
    settings,
)

torch.set_num_threads(1)


def study(folder, **more):
    return Study(name="homework-2", spec=STUDIES.spec("homework-2"), out=folder, **more)


def drawn(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(3))


def test_every_row_of_the_homework_has_a_question():
    rows = [row for spec in CONTENT.questions for row in spec.rows]
    assert rows == [f"003.{number}" for number in range(1, 11)]


def test_a_mixture_of_the_planes_is_explained_and_noise_is_not():
    planes = local_planes(drawn(3, 32, 32))
    at_size = torch.nn.functional.adaptive_avg_pool2d(planes[None], (16, 16))[0]
    mixture = 3 * at_size[0] - 2 * at_size[4] + 0.5
    assert explained(mixture, planes) == pytest.approx(1, abs=1e-6)
    noise = torch.randn(16, 16, generator=torch.Generator().manual_seed(9))
    assert explained(noise, planes) < 0.1
    half = mixture / mixture.std() + noise / noise.std()
    assert explained(half, planes) == pytest.approx(0.5, abs=0.12)


def test_nothing_is_explained_in_a_constant_map_or_by_too_many_planes():
    planes = local_planes(drawn(3, 8, 8))
    assert explained(torch.full((8, 8), 0.3), planes) == 0
    assert explained(drawn(2, 2), planes) == 0


def test_correlation_is_that_of_numpy():
    a, b = drawn(5, 7), drawn(7, 5).T
    expected = np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1]
    assert correlation(a, b) == pytest.approx(expected, abs=1e-6)


def test_edges_are_slopes_of_a_plane():
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    found = edges(0.3 * columns + 0.4 * rows)
    torch.testing.assert_close(found[1:-1, 1:-1], torch.full((4, 7), 0.5))


def test_a_plane_is_shrunk_by_means():
    assert shrunk(torch.tensor([[0.0, 2.0], [4.0, 6.0]]), 1, 2).tolist() == [[2.0, 4.0]]


def test_bright_positions_of_a_constant_map_are_none():
    assert bright_share(torch.ones(3, 3)) == 0


def test_enlarged_maps_keep_every_value():
    tile = np.arange(6, dtype=np.uint8).reshape(2, 3)
    large = enlarged(tile, 10)
    assert large.shape == (8, 12)
    assert (large[::4, ::4] == tile).all() and (large[3::4, 3::4] == tile).all()
    assert enlarged(np.zeros((200, 200), np.uint8), 112).shape == (200, 200)


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_peppers_come_first_and_the_others_are_spread(tmp_path):
    names = [f"n0000000{i}_thing.jpg" for i in range(9)]
    folder = touch(tmp_path / "photos", *names, "peppers.png", "n07720875_bell_pepper.jpg", "a.txt")
    chosen = [file.name for file in chosen_photos(folder)]
    assert chosen == ["peppers.png", names[1], names[4], names[7]]
    few = touch(tmp_path / "few", "a.jpg", "b.jpg", "c.jpg", "peppers.jpg")
    assert [file.stem for file in chosen_photos(few)] == ["peppers", "a", "b", "c"]


@pytest.mark.parametrize("names", [(), ("peppers.png", "a.jpg", "b.jpg"), ("a.jpg",) * 5])
def test_missing_photos_are_refused_with_what_to_do(tmp_path, names):
    with pytest.raises(ResourceError, match="peppers") as found:
        chosen_photos(touch(tmp_path / "photos", *names))
    assert "copy them there" in str(found.value) and "--fast" in str(found.value)


def test_a_missing_network_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ResourceError, match="ImageNet network") as found:
        network(study(tmp_path, fast=False, data_dir=tmp_path))
    assert str(tmp_path / "imagenet") in str(found.value) and "--fast" in str(found.value)


def test_the_target_is_the_space_shuttle_wherever_it_stands():
    names = (*(f"class {i}" for i in range(812)), "space shuttle", "spatula")
    assert target_class(SimpleNamespace(class_names=names)) == 812
    assert target_class(SimpleNamespace(class_names=("background", *names))) == 813


def test_stand_ins_are_four_kinds_that_are_not_the_target(tmp_path):
    fast = study(tmp_path, fast=True)
    classifier = network(fast)
    found = photos(fast, classifier)
    assert found.images.shape == (4, 3, 32, 32) and len(set(found.names)) == 4
    predicted = classifier.predict(found.images, top=1).labels[:, 0]
    assert target_class(classifier) not in predicted.tolist()


@pytest.mark.parametrize("fast", [True, False])
def test_both_networks_of_the_homework_have_one_recipe(tmp_path, fast):
    plain, normalized = (settings(study(tmp_path, fast=fast), m) for m in (PLAIN, NORMALIZED))
    assert normalized.model != plain.model
    assert replace(normalized, model=PLAIN) == plain
    assert plain.train_split == "train+validation" and plain.preset == "paper"
    assert settings(study(tmp_path, fast=fast), better(study(tmp_path, fast=fast))) != plain


def test_convolutions_are_counted():
    rows = [SimpleNamespace(kind=kind) for kind in ("Conv2d", "ReLU", "Conv2d", "Linear")]
    assert convolutions(SimpleNamespace(rows=rows)) == 2


def test_one_step_counts():
    for a, b, carry, count, *hidden, total in one_step().tolist():
        assert count == a + b + carry
        assert hidden == [int(count >= 1), int(count >= 2), int(count >= 3)]
        assert total == count % 2


def by_hand(first, second, places):
    """The adder from its matrices, in plain Python."""
    w = {name: value.tolist() for name, value in ADDER_WEIGHTS.items()}
    h, total = w["h_0"], 0
    for t in range(places):
        x = (first >> t & 1, second >> t & 1)
        h = [
            int(sum(u * v for u, v in zip(w["U"][i], x, strict=True))
                + sum(u * v for u, v in zip(w["W"][i], h, strict=True)) + w["b"][i] > 0)
            for i in range(3)
        ]  # fmt: skip
        total += (sum(u * v for u, v in zip(w["v"], h, strict=True)) + w["b_y"][0] > 0) << t
    return total


def test_the_matrices_that_are_printed_add_all_numbers_of_five_bits():
    assert all(by_hand(a, b, 6) == a + b for a in range(32) for b in range(32))


def test_all_sums_are_right_and_a_wrong_adder_is_noticed(monkeypatch):
    assert all_sums(6) == (4096, 4096)

    def without_carry(inputs):
        hidden, _ = run_adder(inputs)
        return hidden, inputs.sum(axis=2) % 2

    monkeypatch.setattr(_adder, "run_adder", without_carry)
    # Without a carry a sum is right if no place has two ones: 3 of 4 pairs of bits in each.
    assert all_sums(3) == (64, 27)


def test_random_long_sums_are_right(tmp_path):
    assert random_sums(study(tmp_path), 5) == 5


def test_the_listing_counts_the_lines_of_a_function():
    assert lines_of(touch) == 5


def test_the_appendix_holds_every_file_of_the_study():
    from convscope.studies._study_page import _modules

    package = Path(_adder.__file__).parent
    listed = {name.rpartition(".")[2] for name in _modules(CONTENT)}
    assert listed >= {file.stem for file in package.glob("_*.py")} - {"__init__"}
