"""Names that people type for methods and data: those of other libraries, and former ones."""

import json
from functools import cache

import pytest

from convscope.attacks import ATTACKS, SHARED
from convscope.cli import main
from convscope.data import DATASETS, choose_dataset
from convscope.errors import UsageError
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS

THEIRS = {
    # torchattacks, Foolbox, CleverHans, AutoAttack's own code
    "fgsm": "FGSM FGM fast_gradient_method",
    "bim": "BIM IFGSM basic_iterative_method",
    "pgd": "PGD EOTPGD LinfPGD",
    "mi-fgsm": "MIFGSM",
    "apgd": "APGD apgd-ce apgd-dlr",
    "apgd-targeted": "APGDT apgd-t",
    "fab": "FAB fab_attack",
    "square": "Square square_attack",
    "auto-attack": "AutoAttack",
    "deepfool": "DeepFool deep_fool",
    "carlini-wagner": "CW CarliniWagner",
    "uap": "uap universal_perturbation",
    "adversarial-patch": "patch",
    # Captum, pytorch-grad-cam, tf-explain
    "saliency": "Saliency vanilla_gradient",
    "smooth-grad": "SmoothGrad",
    "input-times-gradient": "InputXGradient",
    "integrated-gradients": "IntegratedGradients",
    "occlusion": "Occlusion occlusion_sensitivity",
    "grad-cam": "GradCAM",
    "hires-cam": "HiResCAM",
    "layer-cam": "LayerCAM",
    "rise": "RISE",
    "filters": "kernels",
    "feature-maps": "activations",
    "attention-rollout": "rollout attention_map",
    "selected-maps": "interesting_maps deep_maps",
    # former names
    "l2-gradient-ascent": "until-fooled",
    "linf-gradient-ascent": "linf-iterative",
}

OWN = {
    "attack": {**ATTACKS.aliases, **SHARED.aliases},
    "inspect": {**EXPLANATIONS.aliases, **LAYER_VIEWS.aliases},
}
"""The aliases of the records, by the command that takes them."""


@pytest.mark.parametrize("name", THEIRS)
def test_names_of_other_libraries_are_understood(name):
    registry = next(r for r in (ATTACKS, SHARED, EXPLANATIONS, LAYER_VIEWS) if name in r)
    assert {registry.known(typed) for typed in THEIRS[name].split()} == {name}


def test_every_entry_with_other_names_is_known_by_one_of_them():
    for registry in (ATTACKS, SHARED, EXPLANATIONS, LAYER_VIEWS):
        named = {name for name, spec in registry.specs().items() if spec.aliases}
        assert named <= set(THEIRS)


@pytest.mark.parametrize("command", OWN)
def test_an_alias_is_its_entry_on_the_command_line(command, capsys):
    @cache
    def settings(word):
        assert main([command, "settings", word, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    for typed, name in OWN[command].items():
        assert settings(typed) == settings(name), typed


@pytest.mark.parametrize("registry", [ATTACKS, SHARED, EXPLANATIONS, LAYER_VIEWS])
def test_an_alias_is_its_entry_in_python(registry):
    for name, spec in registry.specs().items():
        for typed in spec.aliases:
            assert registry.chosen("method", typed) is registry[name]


@pytest.mark.parametrize("typed", ["digit", "cifar-10", "shape", "oxford-iiit-pet"])
def test_another_name_of_a_data_set_is_answered_with_its_name(typed):
    with pytest.raises(UsageError, match=f"did you mean {DATASETS.aliases[typed]}"):
        choose_dataset(typed)
