"""Lists, help and typos are answered without waiting for torch."""

import inspect
import subprocess
import sys
from typing import Literal

import pytest

from convscope.attacks import ATTACKS, SHARED
from convscope.cli._settings import (
    described,
    settings_of,
    settings_written,
    takes_target,
)
from convscope.cli._train_settings import PRESETS
from convscope.data import DATASETS
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS
from convscope.training import RECIPES, recipe

METHODS = [
    (registry, name) for registry in (ATTACKS, SHARED, EXPLANATIONS, LAYER_VIEWS)
    for name in registry
]  # fmt: skip

QUICK = """
data list
models list
attack list
attack settings pgd
attack fgsm --help
attack uap --help
inspect list
inspect settings occlusion
inspect rise --help
--help
doctor --help
demo --help
data --help
data download --help
models show --help
train --help
eval --help
predict --help
transfer --help
inspect --help
attack --help
attack evaluate --help
attack certify --help
attack transfer --help
attack survival --help
audit --help
eval mnist-conv1 --data digits --device gpu7
report --help
study
study --help
scratch --help
scratch train --help
adder --help
train mnist-conv2-fc-bm
train mnist-conv1 --data digts
train mnist-conv1 --preset fst
eval mnist-conv9 --data digits
eval mnist-conv2-fc --data digts
eval mnist-conv2-fc --data digits --fail-under acuracy=0.9
predict mnist-conv9 digits:test/7
predict mnist-conv2-fc mnsit:test/7
predict mnist-conv2-fc digits:test/7 --top 0
transfer mnist-conv2-fc --data digts
transfer mnist-conv2-fc --data digits --classifier forest
transfer mnist-conv2-fc --data digits --fail-under loss=1
inspect mnist-conv2-fc mnsit:test/7
inspect mnist-conv2-fc digits:test/7 --show gradcma
inspect mnist-conv2-fc digits:test/7 --show saliency --window 4
attack pgdd mnist-conv2-fc digits:test/7
attack pgd mnist-conv2-fc digits:test/7 --keep bset
attack evaluate mnist-conv2-fc --data digts
attack transfer mnist-conv1 mnist-conv2 --data digits --method nope
audit mnist-conv2-fc --data digits --out report.pdf
audit mnist-conv2-fc --data digits --only nonsense
audit mnist-conv2-fc --data digits --fail-under nonsense=1
scratch train mnist-conv9
data get digts
data download digts
""".strip().splitlines()


def test_lists_help_and_typos_import_nothing_heavy():
    """In one process: what is never imported there is never imported by any of them."""
    code = f"""
import contextlib, io, sys
from convscope.cli import main
for line in {QUICK!r}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main(line.split())
    found = {{"torch", "matplotlib", "sklearn", "transformers"}} & set(sys.modules)
    if found or code not in (0, 2, 3, 4):
        sys.exit(f"{{line}}: exit {{code}}, imports {{found}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", ["models list", "attack list", "data list", "--help"])
def test_a_list_costs_less_than_half_a_second(words):
    """Of one core: three seconds once went into importing torch to print twelve names."""
    code = (
        "import contextlib, io, resource; from convscope.cli import main\n"
        f"with contextlib.redirect_stdout(io.StringIO()): assert main({words.split()!r}) == 0\n"
        "used = resource.getrusage(resource.RUSAGE_SELF); print(used.ru_utime + used.ru_stime)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert float(done.stdout) < 1.0  # Half a second on an idle core; tests share theirs.


@pytest.mark.parametrize(("registry", "name"), METHODS, ids=[name for _, name in METHODS])
def test_the_tables_say_what_the_functions_say(registry, name):
    method = registry[name]
    first = inspect.getdoc(method).splitlines()[0]
    assert registry.about(name) == first.replace("`", "").strip()
    assert registry.home(name) == (method.__module__, method.__name__)
    assert described(registry, name).startswith(registry.about(name))
    assert settings_written(registry, name) == settings_of(method)
    targets = inspect.signature(method).parameters.get("targets")
    required = targets is not None and targets.default is inspect.Parameter.empty
    assert (takes_target(registry, name) == "required") is required


def test_every_setting_is_explained_in_full_without_marks():
    for registry, name in METHODS:
        for option, setting in settings_written(registry, name).items():
            words = f"{setting.words} {setting.shown_default} {setting.meaning}"
            assert setting.meaning.endswith((".", ")")), (name, option, setting.meaning)
            assert "`" not in words and "Tensor" not in words and "|" not in setting.words


def test_aliases_lead_to_what_there_is():
    for registry, others in ((ATTACKS, SHARED), (EXPLANATIONS, LAYER_VIEWS), (DATASETS, ())):
        for typed, name in registry.aliases.items():
            assert name in registry or name in others
            assert typed not in registry and typed not in others


def test_presets_are_those_of_training():
    assert tuple(RECIPES) == PRESETS
    with pytest.raises(ValueError, match=", ".join(PRESETS)):
        recipe("mnist-conv1", data="digits", preset="nope")


def test_settings_are_read_from_real_types_too():
    """A stranger's module without `from __future__ import annotations`, or with names as text."""

    def method(images, *, fast=False, size=None, mode="a", later=None): ...

    method.__annotations__ = {
        "fast": bool,
        "size": int | None,
        "mode": Literal["a", "b"],
        "later": "Sequence[str] | None",
    }
    found = settings_of(method)
    assert found["fast"].words == "a switch" and found["size"].words == "a whole number"
    assert found["mode"].choices == ("a", "b") and found["later"].words == "names with commas"
