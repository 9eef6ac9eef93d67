"""Tests of the tests: perfect maps pass, blind maps fail."""

import math

import pytest
import torch
from torch import nn

from convscope import results
from convscope._random_weights import with_random_weights
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.explanations import (
    EXPLANATIONS,
    Explanation,
    Trust,
    deletion_insertion,
    grad_cam,
    grid_pointing_game,
    input_times_gradient,
    localization,
    mosaics,
    saliency,
    spearman,
    stability,
    trust,
    trust_passes,
    weight_randomization,
)
from convscope.progress import watch
from tests.explanations.nets import Plain, linear, pooled, spelled


def explained(images, maps, targets=None):
    chosen = torch.zeros(len(images), maps.shape[1]).long() if targets is None else targets
    names = ("a", "b", "c", "d")
    return Explanation(images=images, maps=maps, targets=chosen, method="own", class_names=names)


def test_spearman_knows_order_and_ties():
    a = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert spearman(a, a.exp()) == 1 and spearman(a, -a) == -1
    assert spearman(a, torch.zeros_like(a)) == 0
    tied = torch.tensor([[1.0, 1.0, 2.0, 2.0]])
    assert math.isclose(spearman(a, tied).item(), 4 / math.sqrt(5 * 4), abs_tol=1e-6)


class Corner(nn.Module):
    """Class 0 is the mean of the upper left quarter, class 1 its opposite."""

    def forward(self, x):
        mean = x[:, :, :8, :8].mean(dim=(1, 2, 3)) * 12 - 6
        return torch.stack([mean, -mean], dim=1)


@pytest.fixture
def corner():
    classifier = Classifier.wrap(Corner(), input_shape=(1, 16, 16))
    images = torch.zeros(4, 1, 16, 16)
    images[:, :, :8, :8] = 1.0
    return classifier, images


def test_deletion_and_insertion_tell_a_perfect_map_from_its_opposite(corner):
    classifier, images = corner
    perfect = deletion_insertion(classifier, explained(images, images))
    opposite = deletion_insertion(classifier, explained(images, -images))
    assert perfect.insertion_minus_deletion > opposite.insertion_minus_deletion
    assert torch.allclose(perfect.deletion[:, 0], perfect.insertion[:, -1])
    assert torch.allclose(perfect.deletion[:, -1], perfect.insertion[:, 0])
    assert perfect.fractions[0] == 0 and perfect.fractions[-1] == 1
    assert (perfect.deletion.diff(dim=1) <= 1e-5).all()


def test_without_labels_maps_are_about_the_predicted_classes():
    classifier, images = pooled(), torch.rand(6, 1, 12, 12)
    predicted = classifier.predict(images, top=1).labels[:, 0]
    unlabeled = trust(classifier, images, None, {"saliency": saliency})
    labeled = trust(classifier, images, predicted, {"saliency": saliency})
    assert unlabeled.rows[0].insertion_minus_deletion == labeled.rows[0].insertion_minus_deletion
    assert any("predicted" in note for note in unlabeled.notes)
    assert not any("predicted" in note for note in labeled.notes)


def test_progress_names_every_method_and_ends_at_one():
    heard = []
    methods = {"occlusion": EXPLANATIONS["occlusion"], "saliency": saliency}
    images, labels = torch.rand(6, 1, 12, 12), torch.arange(6) % 4
    with watch(lambda share, what: heard.append((what, share))):
        trust(pooled(), images, labels, methods)
    assert list(dict.fromkeys(name for name, _ in heard)) == [*methods, "random map"]
    shares = [share for _, share in heard]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    passes = trust_passes(pooled(), 6, methods)
    curves = passes.pop("curves") / 3  # of each method, and of the random map
    work = {name: passes.get(name, 0) + curves for name in [*methods, "random map"]}
    done = 0
    for name, passes in work.items():
        of_it = [share * sum(work.values()) for who, share in heard if who == name]
        assert done <= of_it[0] + 1e-6 and of_it[-1] <= done + passes + 1e-6
        assert of_it[-1] > done + 0.9 * passes, "hardly anything is left to say at the end"
        done += passes


def test_equal_pixels_are_ranked_at_random_not_by_position(corner):
    classifier, images = corner
    flat = explained(images, torch.zeros_like(images))
    first = deletion_insertion(classifier, flat, generator=torch.Generator().manual_seed(1))
    second = deletion_insertion(classifier, flat, generator=torch.Generator().manual_seed(2))
    assert not torch.equal(first.deletion, second.deletion)


def test_pointing_is_the_share_in_the_right_quarter():
    maps = torch.zeros(1, 4, 4, 4)
    maps[0, 0, 0, 0] = 2.0
    maps[0, 1, 3, 3] = 1.0
    maps[0, 2, 2:, :2] = 1.0
    maps[0, 2, 0, 0] = 4.0
    maps[0, 3] = -1.0
    found = grid_pointing_game(explained(torch.zeros(1, 1, 4, 4), maps))
    assert found.tolist() == [[1.0, 0.0, 0.5, 0.25]]


def test_localization_counts_mass_and_hits():
    maps = torch.zeros(2, 1, 4, 4)
    maps[0, 0, 1, 1], maps[0, 0, 3, 3] = 3.0, 1.0
    maps[1, 0, 3, 3] = -1.0
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[:, :2, :2] = True
    found = localization(explained(torch.zeros(2, 1, 4, 4), maps), masks)
    assert found.relevance_mass.tolist() == [0.75, 0.25] and found.area.tolist() == [0.25, 0.25]
    assert found.pointing_hit[0]
    with pytest.raises(UsageError, match="masks have shape"):
        localization(explained(torch.zeros(2, 1, 4, 4), maps), masks[:, :3])


def quarters(count=40):
    """Four classes, told apart by gray level: a pooled network can be made to read them."""
    labels = torch.arange(count) % 4
    images = (labels.float() / 4 + 0.1)[:, None, None, None].expand(-1, 1, 12, 12).clone()
    return images, labels


def graded():
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(4, 4, bias=False))  # fmt: skip
    with torch.no_grad():
        net[0].weight[:] = 1.0
        net[0].bias[:] = -torch.tensor([0.0, 0.2, 0.45, 0.7])
        net[4].weight[:] = torch.tensor(
            [[1.0, -9, 0, 0], [0.5, 4, -16, 0], [0, 3, 9, -40], [0, 2, 5, 30]]
        )
    return Classifier.wrap(net, input_shape=(1, 12, 12))


def test_mosaics_show_four_different_classes_that_are_read_rightly():
    images, labels = quarters()
    made = mosaics(graded(), images, labels, count=5)
    assert made.images.shape == (5, 1, 24, 24) and not made.shrunk
    for image, targets in zip(made.images, made.targets, strict=True):
        corners = [image[0, 0, 0], image[0, 0, -1], image[0, -1, 0], image[0, -1, -1]]
        assert len(set(targets.tolist())) == 4
        assert torch.allclose(torch.stack(corners), targets / 4 + 0.1)


def test_mosaics_are_shrunk_for_networks_of_one_size():
    classifier = spelled(Plain)
    images = torch.rand(64, 1, 12, 12)
    labels = classifier.predict(images, 1).labels[:, 0]
    if len(set(labels.tolist())) < 4:
        with pytest.raises(UsageError, match="at least 4 classes"):
            mosaics(classifier, images, labels)
        with torch.no_grad():
            logits = classifier.logits(images)
            classifier.module.fc2.bias -= logits.mean(dim=0)
        labels = classifier.predict(images, 1).labels[:, 0]
    made = mosaics(classifier, images, labels, count=3)
    assert made.shrunk and made.images.shape == (3, 1, 12, 12)


def test_randomization_goes_from_the_bottom_up_and_ends_with_everything():
    classifier = spelled(Plain)
    images, labels = torch.rand(4, 1, 12, 12), torch.zeros(4).long()
    before = [p.clone() for p in classifier.module.parameters()]
    found = weight_randomization(classifier, saliency, images, labels)
    assert found.stages == ("conv1", "conv2", "fc1", "fc2")
    assert found.similarity.shape == (4, 4) and abs(found.final) < 0.6
    assert all(
        torch.equal(a, b) for a, b in zip(before, classifier.module.parameters(), strict=True)
    )


def test_a_map_that_ignores_the_weights_is_caught():
    def edges(classifier, images, targets):
        return explained(images, images.roll(1, 3) - images, targets[:, None])

    found = weight_randomization(
        spelled(Plain), edges, torch.rand(3, 1, 12, 12), torch.zeros(3).long()
    )
    assert torch.allclose(found.similarity, torch.ones_like(found.similarity))


def test_random_weights_are_fresh_where_asked_and_nowhere_else():
    classifier = spelled(Plain)
    state = torch.get_rng_state()
    other = with_random_weights(
        classifier, layers=["conv1"], generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(other.module.conv1.weight, classifier.module.conv1.weight)
    assert (other.module.conv1.bias == 0).all()
    assert torch.equal(other.module.conv2.weight, classifier.module.conv2.weight)


def test_stability_of_a_constant_and_of_a_proportional_map():
    classifier, _ = linear(shape=(1, 8, 8))
    images = torch.full((3, 1, 8, 8), 0.5)
    assert stability(classifier, saliency, images, torch.zeros(3).long()).max() == 0
    moved = stability(classifier, input_times_gradient, images, torch.zeros(3).long(), radius=0.05)
    assert (moved > 0.01).all() and (moved <= 0.1).all()


def test_stability_is_about_the_noise_that_changes_a_map_most():
    """The map is the image: a gray pixel moves by at most the radius, and almost so once."""
    classifier, _ = linear(shape=(1, 1, 1))
    itself = lambda classifier, images, targets: explained(images, images, targets[:, None])
    images, targets = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])
    moved = stability(classifier, itself, images, targets, radius=0.1, num_samples=200)
    assert 0.19 < float(moved) <= 0.2


def test_the_table_holds_every_method_foreign_maps_and_a_random_map(tmp_path):
    classifier = graded()
    images, labels = quarters(16)
    images = (images + 0.02 * torch.rand(16, 1, 12, 12)).clamp(0, 1)
    foreign = Explanation.wrap(classifier, images, torch.rand(16, 12, 12), method="other.X")
    masks = torch.zeros(16, 12, 12, dtype=torch.bool)
    masks[:, :6] = True
    found = trust(
        classifier,
        images,
        labels,
        {"grad-cam": grad_cam, "ixg": input_times_gradient},
        masks=masks,
        external=[foreign],
    )
    names = [row.method for row in found.rows]
    assert names == ["grad-cam", "ixg", "other.X", "random map"]
    assert found.rows[2].stability is None and found.rows[2].relevance_mass is not None
    assert (
        found.rows[0].grid_pointing_game > 0.5
        and abs(found.rows[-1].grid_pointing_game - 0.25) < 0.02
    )
    assert found.area == 0.5 and found.deletion.shape == (4, 17)
    assert found.similarity.shape == (4, len(found.stages))
    back = results.load(Trust, results.save(found, tmp_path / "trust"))
    assert back.rows == found.rows and back.stages == found.stages
    with pytest.raises(UsageError, match="other images"):
        trust(classifier, images[:8], labels[:8], {}, external=[foreign])


def test_the_same_seed_gives_the_same_table():
    classifier, (images, labels) = graded(), quarters(8)
    runs = [trust(classifier, images, labels, {"saliency": EXPLANATIONS["saliency"]}) for _ in "ab"]
    assert torch.equal(runs[0].deletion, runs[1].deletion)
    assert torch.equal(runs[0].similarity, runs[1].similarity)


def test_a_network_that_cannot_be_differentiated_is_judged_without_gradients():
    class Step(nn.Module):
        def forward(self, x):
            mean = x.mean(dim=(1, 2, 3)).detach()
            return torch.stack([mean, 1 - mean], dim=1)

    classifier = Classifier.wrap(Step(), input_shape=(1, 12, 12))
    images = torch.rand(4, 1, 12, 12)
    methods = {name: EXPLANATIONS[name] for name in ("saliency", "occlusion")}
    found = trust(classifier, images, torch.zeros(4).long(), methods)
    assert [row.method for row in found.rows] == ["occlusion", "random map"]
    assert any("saliency" in note for note in found.notes)


def test_pooled_networks_take_whole_mosaics():
    classifier = pooled(channels=3)
    images = torch.rand(40, 3, 12, 12)
    with torch.no_grad():
        classifier.module[4].bias -= classifier.logits(images).mean(dim=0)
    labels = classifier.predict(images, 1).labels[:, 0]
    if len(set(labels.tolist())) == 4:
        assert mosaics(classifier, images, labels, count=2).images.shape == (2, 3, 24, 24)
