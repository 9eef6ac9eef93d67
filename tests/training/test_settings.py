"""TrainSettings and its TOML form."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from convscope.data import Augmentation
from convscope.errors import UsageError
from convscope.models import MODELS
from convscope.training import (
    PRESETS,
    TrainSettings,
    read_settings,
    recipe,
    settings_from_toml,
    settings_to_toml,
)

BASE = TrainSettings(model="mnist-conv1", data="digits")


@examples(deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    rate=st.floats(1e-12, 1e12),
    name=st.text(min_size=1, max_size=30).filter(lambda text: text.isprintable()),
    shift=st.integers(0, 100),
    degrees=st.floats(0, 1e6),
)
def test_toml_gives_back_the_same_settings(seed, rate, name, shift, degrees):
    settings = TrainSettings(
        model=name,
        data="folder:/tmp/a b",
        seed=seed,
        learning_rate=rate,
        augment=Augmentation(shift=shift, degrees=degrees),
    )
    assert settings_from_toml(settings_to_toml(settings)) == settings


def test_whole_numbers_in_places_of_fractions_are_the_same_settings():
    whole = TrainSettings(model="m", data="d", max_grad_norm=1, augment=Augmentation(degrees=8))
    assert settings_to_toml(whole) == settings_to_toml(settings_from_toml(settings_to_toml(whole)))
    assert "degrees = 8.0" in settings_to_toml(whole)


def test_toml_names_every_field():
    text = settings_to_toml(BASE)
    assert all(f"{field.name} = " in text or f"[{field.name}]" in text for field in fields(BASE))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("epoch = 3", "line 3: unknown setting 'epoch'\n  fix: did you mean epochs\\?"),
        ("learning_rate = '1e-3'", "line 3: learning_rate is '1e-3'\n  expected: a number"),
        ("epochs = 2.0", "epochs is 2.0\n  expected: a whole number"),
        ("epochs = true", "epochs is True"),
        ("optimizer = 'adamm'", "expected: one of adamw, adam, sgd, muon"),
        ("augment = 3", r"expected: \[augment\] table"),
        ("[augment]\ndegree = 3", "unknown setting 'augment.degree'\n  fix: did you mean degrees"),
        ("seed = 1\nseed = 2", "not valid TOML"),
        ("seed = -1", "seed is -1"),
        ("ema = 1.0", "ema is 1.0\n  expected: 0 <= ema < 1"),
        ("learning_rate = nan", "learning_rate is nan"),
        ("weight_decay = inf", "weight_decay is inf"),
        ("epsilon = 8", "did you mean 8/255"),
        ("adversary = 'pgd'", "epsilon is 0"),
        ("consistency = 5.0", "consistency is 5 with noise_std 0"),
    ],
)
def test_wrong_toml_is_refused_with_the_line_and_the_closest_name(line, words):
    with pytest.raises(UsageError, match=words):
        settings_from_toml(f'model = "mnist-conv1"\ndata = "digits"\n{line}')


def test_config_that_is_missing_a_folder_or_not_text(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_settings(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="a folder"):
        read_settings(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"model = '\xff'")
    with pytest.raises(UsageError, match="UTF-8"):
        read_settings(tmp_path / "latin.toml")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("model", MODELS)
def test_every_network_has_every_preset(model, preset):
    settings = recipe(model, data="mnist", preset=preset, seed=3)
    assert (settings.model, settings.preset, settings.seed) == (model, preset, 3)


@pytest.mark.parametrize("model", [name for name, spec in MODELS.specs().items() if not spec.color])
def test_digit_networks_are_never_trained_with_label_smoothing(model):
    assert all(recipe(model, preset=preset).label_smoothing == 0 for preset in PRESETS)


@pytest.mark.parametrize("model", MODELS)
def test_few_images_are_trained_on_by_the_optimizer_whose_rate_they_get(model):
    for preset in ("fast", "long"):
        assert recipe(model, data="digits", preset=preset).optimizer == "adamw"
        assert recipe(model, data="digits", preset=preset).learning_rate == 0.005


def test_the_paper_recipe_of_resnet20_is_that_of_its_paper():
    settings = recipe("cifar-resnet20", data="cifar10", preset="paper")
    assert settings.epochs * (50_000 // settings.batch_size) == pytest.approx(64_000, rel=1e-3)
    assert (settings.optimizer, settings.nesterov, settings.momentum) == ("sgd", False, 0.9)
    assert (settings.learning_rate, settings.weight_decay) == (0.1, 1e-4)
    assert settings.augment == Augmentation(flip="random", shift=4)


def test_the_homework_compares_both_networks_with_one_recipe():
    plain, normalized = (
        recipe(name, data="cifar10", preset="paper") for name in ("cifar-11x11", "cifar-11x11-bn")
    )
    assert replace(normalized, model=plain.model) == plain


def test_hyper_parameters_are_the_same_words_for_a_config_that_was_read_back():
    settings = recipe("cifar-best", data="cifar10", overrides={"augment": {"degrees": 12.0}})
    assert settings_from_toml(settings_to_toml(settings)).summary() == settings.summary()
    assert "muon" in settings.summary() and "degrees 12" in settings.summary()


def test_the_summary_names_everything_that_changes_the_network():
    plain = TrainSettings(model="mnist-conv1", data="digits")
    changes = {
        **{"mixup": 0.2, "cutmix": 1.0, "cutout": 8, "microbatches": 4, "patience": 3},
        **{"body_lr": 0.5, "freeze": "body", "sampling": "balanced", "precision": "fp32"},
    }
    for name, value in changes.items():
        words = replace(plain, **{name: value}).summary()
        assert (
            f"{name.replace('_', ' ')} {value:g}" in words
            if isinstance(value, float)
            else (f"{name.replace('_', ' ')} {value}" in words)
        )
    attacked = replace(plain, adversary="trades", epsilon=0.3, trades_weight=5.0).summary()
    assert "adversary trades, epsilon 0.3" in attacked and "trades weight 5" in attacked
    assert replace(plain, adversary_steps=3, trades_weight=5.0).summary() == plain.summary()


def test_overrides_reach_into_tables():
    settings = recipe("mnist-conv1", preset="long", overrides={"augment": {"degrees": 5}})
    assert settings.augment == Augmentation(shift=1, degrees=5.0)
    with pytest.raises(UsageError, match="did you mean batch_size"):
        recipe("mnist-conv1", batchsize=3)
    with pytest.raises(UsageError, match="unknown preset 'quick'"):
        recipe("mnist-conv1", preset="quick")


FORMER = {
    "clip": "max_grad_norm",
    "noise": "noise_std",
    "other_learning_rate": "nonfilter_lr",
    "points_per_epoch": "evals_per_epoch",
}


def formerly(text):
    """A config file as it was written under the former names."""
    for old, new in FORMER.items():
        assert f"{new} = " in text
        text = text.replace(f"{new} = ", f"{old} = ")
    return text.replace('preset = "paper"', 'preset = "faithful"')


@pytest.mark.parametrize("preset", PRESETS)
def test_former_names_are_read(preset):
    settings = recipe("cifar-11x11-bn", data="cifar10", preset=preset, evals_per_epoch=3)
    former = formerly(settings_to_toml(settings))
    assert former != settings_to_toml(settings)
    assert settings_from_toml(former) == settings
    assert recipe("mnist-conv1", clip=2.0).max_grad_norm == 2.0
    assert recipe("mnist-conv1", preset="faithful") == recipe("mnist-conv1", preset="paper")


@pytest.mark.parametrize("lines", ["clip = 1\nmax_grad_norm = 2", "max_grad_norm = 2\nclip = 1"])
def test_a_setting_under_both_names_is_refused(lines):
    with pytest.raises(UsageError, match="clip is the former name of max_grad_norm"):
        settings_from_toml(f'model = "m"\ndata = "d"\n{lines}')


def test_settings_are_values():
    assert replace(BASE, seed=0) == BASE
    assert replace(BASE, seed=1) != BASE
