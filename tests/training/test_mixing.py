"""Mixup, CutMix, Cutout, microbatches, early stopping."""

import shutil
from dataclasses import replace

import pytest
import torch

from convscope.data import Augmentation, Split, open_dataset
from convscope.errors import UsageError
from convscope.training import Measured, TrainSettings, Warned, train
from convscope.training._batches import Batches, Normalize
from convscope.training._mixing import Mixing, beta, cut_out, paste
from convscope.training._process import World
from convscope.training._stopping import best_row, exported_row, is_exhausted
from convscope.training._train import _Run

NORMALIZE = Normalize((0.5,), (1.0,))
PLAIN = TrainSettings(model="mnist-conv1", data="digits", batch_size=6)

LEVELS = Split(
    name="train",
    images=(8 * torch.arange(24, dtype=torch.uint8)).view(-1, 1, 1, 1).repeat(1, 1, 8, 8),
    labels=torch.arange(24),
)
"""Each image is of one gray level, and of a class of its own."""


def images_of(labels):
    return LEVELS.to_float(labels)


def mixed(world=None, epoch=0, batch=0, **changes):
    batches = Batches(LEVELS, replace(PLAIN, **changes), world or World())
    return Mixing(batches, NORMALIZE)(epoch, batch)


def test_without_settings_nothing_is_mixed():
    batch = mixed()
    assert torch.equal(batch.images, images_of(batch.labels)) and batch.share == 1


def test_mixup_is_the_weighted_mean_of_two_images():
    batch = mixed(mixup=1.0)
    own, others = images_of(batch.labels), images_of(batch.others)
    assert torch.allclose(batch.images, batch.share * own + (1 - batch.share) * others)
    assert 0 < batch.share < 1
    assert sorted(batch.others.tolist()) == sorted(batch.labels.tolist())


def test_cutmix_shares_are_areas():
    batch = mixed(cutmix=1.0, batch=3)
    own = images_of(batch.labels)
    stayed = (batch.images == own).float().mean((1, 2, 3))
    apart = batch.others != batch.labels
    assert torch.allclose(stayed[apart], torch.tensor(batch.share))
    assert torch.equal(batch.images[~apart], own[~apart])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_pasted_window_has_the_area_that_is_said(share):
    images, others = torch.zeros(2, 1, 10, 10), torch.ones(2, 1, 10, 10)
    result, stayed = paste(images, others, torch.tensor([0.5, 0.5]), share)
    assert stayed == pytest.approx(1 - float(result.mean()))
    assert stayed == pytest.approx(share, abs=0.06)


def test_both_mix_now_one_now_the_other():
    whole = {round(v, 4) for v in LEVELS.to_float().flatten().tolist()}
    kinds = set()
    for position in range(12):
        result = mixed(mixup=1.0, cutmix=1.0, epoch=position // 4, batch=position % 4)
        pasted = {round(v, 4) for v in result.images[0].flatten().tolist()} <= whole
        kinds.add("cutmix" if pasted else "mixup")
    assert kinds == {"cutmix", "mixup"}


def test_cutout_covers_one_square_with_the_mean():
    images = torch.zeros(4, 1, 9, 9)
    result = cut_out(images, torch.full((4, 2), 0.5), 3, (0.5,))
    assert result.sum() == 4 * 9 * 0.5
    assert (result[:, :, 3:6, 3:6] == 0.5).all()


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {"cutout": 3},
        {"mixup": 0.4, "noise_std": 0.1, "augment": Augmentation(shift=2, degrees=10)},
        {"cutmix": 1.0, "cutout": 2},
    ],
)
def test_several_processes_mix_together_what_one_does(changes, size):
    """Also where an image is mixed with one of another process: the first batches have such."""
    apart = 0
    for batch in range(3):
        alone = mixed(batch=batch, **changes)
        for rank in range(size):
            mine = mixed(world=World(rank, size), batch=batch, **changes)
            assert torch.equal(mine.images, alone.images[rank::size])
            assert torch.equal(mine.labels, alone.labels[rank::size])
            assert torch.equal(mine.others, alone.others[rank::size])
            assert mine.share == alone.share
            apart += int((~torch.isin(mine.others, mine.labels)).sum())
    assert apart or not (changes.get("mixup") or changes.get("cutmix"))


def test_both_noisy_copies_are_covered_at_the_same_place():
    batch = mixed(cutout=3, noise_std=0.1, consistency=1.0)
    first, second = batch.images.chunk(2)
    assert len(first) == len(batch.labels)
    assert torch.equal(first == 0.5, second == 0.5) and (first == 0.5).any()


def test_a_batch_is_mixed_alike_whatever_came_before():
    first, again = mixed(mixup=1.0, epoch=2, batch=1), mixed(mixup=1.0, epoch=2, batch=1)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, mixed(mixup=1.0, epoch=2, batch=2).images)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 20.0])
def test_shares_are_of_the_beta_distribution(alpha):
    generator = torch.Generator().manual_seed(0)
    drawn = torch.tensor([beta(alpha, generator) for _ in range(4000)])
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.03)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def run_of(settings, dataset, folder):
    cpu, silent = torch.device("cpu"), _Silent()
    return _Run(settings, dataset, folder, cpu, World(), silent, lambda e: None, None, "", [])


def gradients_of(settings, dataset, folder):
    run = run_of(settings, dataset, folder)
    run.engine._training_step(run.state)
    return [p.grad.clone() for p in run.state.model.parameters()]


class _Silent:
    def __bool__(self):
        return False


@pytest.mark.parametrize("changes", [{"mixup": 1.0}, {"cutmix": 1.0}, {"label_smoothing": 0.1}])
def test_the_loss_of_mixed_images_is_that_of_both_classes_in_their_shares(
    dataset, settings, tmp_path, changes
):
    settings = replace(settings, model="mnist-conv1", **changes)
    run = run_of(settings, dataset, tmp_path)
    mixed = run.engine.mixing(0, 0)
    logits = torch.randn(len(mixed.labels), 10, generator=torch.Generator().manual_seed(0))
    loss = [
        torch.nn.functional.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
        for labels in (mixed.labels, mixed.others)
    ]
    assert (mixed.share == 1) is ("label_smoothing" in changes)
    found = run.engine._mixed_loss(run.state.objective, logits, mixed)
    assert found.item() == pytest.approx(
        float(mixed.share * loss[0] + (1 - mixed.share) * loss[1]), rel=1e-5
    )


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_the_training_error_counts_each_class_by_its_share(
    dataset, settings, tmp_path, mixup, parts
):
    """This network always says class 2; partners of a batch have its classes in another order."""
    settings = replace(settings, model="mnist-conv1", mixup=mixup, microbatches=parts)
    run = run_of(settings, dataset, tmp_path)
    with torch.no_grad():
        for parameter in run.state.model.parameters():
            parameter.zero_()
        run.state.model.fc1.bias[2] = 1.0
    mixed = run.engine.mixing(0, 0)
    if mixup:
        mixed = mixed._replace(others=torch.full_like(mixed.others, 2))
    run.engine.mixing = lambda epoch, batch: mixed
    run.engine.update(run.state, 1.0)
    wrong = (mixed.labels != 2).float().mean().item()
    assert wrong > 0
    assert run.state.metrics.error == pytest.approx(mixed.share * wrong)
    assert (mixed.share != 1) is bool(mixup)


@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_gradients_of_the_parts_add_up(dataset, settings, tmp_path, weights, mixup):
    dataset = replace(dataset, train=replace(dataset.train, labels=dataset.train.labels.clamp(1)))
    settings = replace(settings, model="mnist-conv1", class_weights=weights, mixup=mixup)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = gradients_of(settings, dataset, tmp_path / "whole")
    parts = gradients_of(replace(settings, microbatches=4), dataset, tmp_path / "parts")
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"microbatches": 4}, "6 images per update cannot be split into 4 equal parts"),
        ({"microbatches": 2, "adversary": "pgd", "epsilon": 0.1}, "with an adversary"),
        ({"microbatches": 0}, "microbatches is 0"),
        ({"mixup": 0.2, "adversary": "pgd", "epsilon": 0.1}, "images of one class each"),
        ({"mixup": -1.0}, "mixup is -1"),
        ({"cutout": -1}, "cutout is -1"),
        ({"patience": -1}, "patience is -1"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, words):
    with pytest.raises(UsageError, match=words):
        replace(PLAIN, **changes)


def point(epoch, loss):
    numbers = dict.fromkeys(
        ("learning_rate", "train_loss", "train_error", "train_accuracy", "validation_error"), 0.0
    )
    return Measured(
        step=int(10 * epoch), epoch=epoch, validation_loss=loss, validation_accuracy=0.0,
        validation_images=5, **numbers,
    )  # fmt: skip


def test_patience_counts_epochs_since_the_lowest_loss():
    points = [point(1.0, 3.0), point(1.5, 0.1), point(2.0, 1.0), point(3.0, 2.0)]
    assert best_row(points) is points[2]
    assert not is_exhausted(points, 2) and not is_exhausted(points, 0)
    points.append(point(4.0, float("nan")))
    assert is_exhausted(points, 2)
    assert exported_row(points, 2) is points[2] and exported_row(points, 0) is points[-1]
    assert not is_exhausted([], 1) and exported_row([], 1) is None


def test_patience_without_validation_images_is_refused(dataset, settings, tmp_path):
    """It would end the run after so many epochs, whatever it learns."""
    settings = replace(settings, patience=2, train_split="train+validation")
    with pytest.raises(UsageError, match="patience has nothing to wait for") as caught:
        train(settings, dataset, out=tmp_path / "run")
    assert caught.value.code == "T19" and not (tmp_path / "run").exists()


def test_a_run_without_progress_ends_early_and_exports_its_best_epoch(
    dataset, settings, tmp_path, digest
):
    """At this rate the loss rises: the first epochs are the best."""
    settings = replace(
        settings, epochs=12, patience=2, ema=0.0, optimizer="sgd", learning_rate=0.6,
        schedule="constant", evals_per_epoch=1,
    )  # fmt: skip
    result = train(settings, dataset, out=tmp_path / "run")
    rows = result.history
    assert len(rows) < 12
    assert result.exported is best_row(rows)
    assert rows[-1].epoch - result.exported.epoch == 2
    classifier = result.classifier
    logits = classifier.module(classifier.prepare(dataset.validation.to_float()))
    loss = torch.nn.functional.cross_entropy(logits, dataset.validation.labels).item()
    assert loss == pytest.approx(result.exported.validation_loss, rel=1e-4)
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"| validation loss | {result.exported.validation_loss:.4f} |" in card
    before = digest(tmp_path / "run")
    again = train(settings, dataset, out=tmp_path / "run", resume=True)
    assert again.history == rows and digest(tmp_path / "run") == before


def test_mixed_runs_learn(dataset, settings, tmp_path):
    settings = replace(settings, epochs=6, mixup=0.3, cutmix=0.5, cutout=3, microbatches=2)
    result = train(settings, dataset, out=tmp_path / "run")
    assert result.history[-1].validation_accuracy > 0.6


def test_batches_stay_as_they_were(dataset, settings):
    """Mixing has streams of its own: switching it on changes no other draw."""
    plain = Batches(dataset.train, settings, World()).load(0, 1)[0]
    after = Batches(dataset.train, replace(settings, mixup=0.5, cutout=2), World()).load(0, 1)[0]
    assert torch.equal(plain, after)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a compiler")
def test_compiled_runs_go_on_with_the_same_bits(dataset, settings, tmp_path, crash_after, digest):
    settings = replace(settings, compile=True)
    heard = []
    train(settings, dataset, out=tmp_path / "calm", on_event=heard.append)
    assert any(isinstance(e, Warned) and "compile is slower" in e.text for e in heard)
    with pytest.raises(RuntimeError, match="crash"):
        train(settings, dataset, out=tmp_path / "run", on_event=crash_after(7))
    train(settings, dataset, out=tmp_path / "run", resume=True)
    assert digest(tmp_path / "run") == digest(tmp_path / "calm")


def test_a_square_larger_than_the_images_is_refused_before_anything_is_trained(tmp_path):
    settings = TrainSettings(model="mnist-conv1", data="digits", epochs=1, cutout=28)
    with pytest.raises(UsageError, match="cutout is 28, and the images are 28"):
        train(settings, open_dataset("digits"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
