"""``convscope attack transfer``: made on one network, shown to others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import cyclopts

from convscope.cli._attack_list import chosen_attack
from convscope.cli._attack_settings import REQUIRED, settings_written, shown_default, takes_target
from convscope.cli._early import check_names, check_number, check_out, check_seed
from convscope.cli._opened import opened_data, opened_network, words
from convscope.cli._output import (
    Fraction,
    data_place,
    emit,
    next_step,
    table,
    warn,
    watching,
    wrote,
)
from convscope.errors import UsageError

if TYPE_CHECKING:
    from convscope.classifier import Classifier
    from convscope.cli._opened import OpenedData

Flag = Annotated[bool, cyclopts.Parameter(negative="")]
Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="")]


def transfer(
    *models: str,
    data: str,
    method: str = "mi-fgsm",
    epsilon: Fraction = 8 / 255,
    split: Literal["train", "validation", "test", "all"] | None = None,
    count: int = 200,
    skip_bad: Flag = False,
    data_dir: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    offline: Flag = False,
    force: Flag = False,
    as_json: Json = False,
) -> None:
    """Make adversarial images on each of several networks and show them to all the others.

    Counted are images that both networks classify correctly before.

    Args:
        models: Two or more: run folders, names of networks, hf:..., package.module:factory.
        data: digits, mnist, cifar10 or folder:DIRECTORY.
        method: The attack; mi-fgsm is made for transfer.
        epsilon: Radius in pixel units, such as 0.3 or 8/255.
        split: train, validation, test or all; by default as for `convscope eval`.
        count: At most so many images: a sample with every class in proportion.
        skip_bad: Leave files out that cannot be read; exit with 8 if there were any.
        data_dir: Folder that holds the data files.
        out: Folder, or FILE.html.
        seed: Of the sample.
        offline: Never download.
        force: Write over what --out names.
        as_json: Print JSON.
    """
    if len(models) < 2 or len(set(models)) < len(models):
        raise UsageError(
            f"transfer of {', '.join(models) or 'nothing'}",
            code="U01",
            expected="two or more different networks",
            hint="convscope attack transfer mnist-conv1 mnist-conv2 --data mnist --epsilon 0.2",
        )
    check_number("--count", count)
    check_number("--epsilon", epsilon, least=0)
    check_seed(seed)
    check_out(out, force=force)
    check_names(models=models, data=data)
    method = chosen_attack(method, shared=False)
    settings = _settings(method, epsilon)
    from convscope.robustness import model_transfer

    classifiers = {name: opened_network(name, named=True) for name in models}
    shapes = {classifier.input_shape for classifier in classifiers.values()}
    if len(shapes) > 1:
        raise UsageError("the networks take images of different sizes", code="M14")
    first = next(iter(classifiers.values()))
    opened = opened_data(
        first, data, split=split, count=count, seed=seed, data_dir=data_dir, offline=offline,
        skip_bad=skip_bad,
    )  # fmt: skip
    _same_classes(classifiers, opened)
    part = opened.split
    with watching(f"{method} on {len(models)} networks, {len(part)} images"):
        found = model_transfer(
            classifiers,
            part.to_float(),
            part.labels,
            attack=method,
            **settings,
        )
    if as_json:
        emit({**found.summary(), "data": data, **opened.facts()}, as_json=True)
    else:
        table(
            ["made on", *found.names],
            [
                [name, *(f"{float(share):.1%}" for share in found.rates[i])]
                for i, name in enumerate(found.names)
            ],
            title=f"share of images fooled by {method}, epsilon {shown_default(epsilon)}",
        )
    if out is not None:
        from convscope.cli._attack_output import write

        write(found, (), out, force=force)
        wrote(out)
    next_step(
        words("convscope", "attack", "evaluate", models[0], "--data", data)
        + data_place(data_dir)
        + f" --epsilon {shown_default(epsilon)}"
    )
    opened.raise_if_refused()


def _same_classes(classifiers: dict[str, Classifier], opened: OpenedData) -> None:
    """Refuse networks that give the classes of these data other numbers than the first one does.

    Raises:
        UsageError: M21, or what `match_classes` says.
    """
    from convscope.data import match_classes

    names = opened.dataset.class_names
    here = sorted(set(opened.split.labels.tolist()))
    for name, classifier in classifiers.items():
        numbers = match_classes(names, classifier.class_names, where=name).numbers
        wrong = [label for label in here if numbers[label] != label]
        if wrong:
            raise UsageError(
                f"{name} has no class {wrong[0]} called {names[wrong[0]]!r}",
                code="M21",
                expected="networks that give the classes of these data the same numbers",
            )


def _settings(method: str, epsilon: float) -> dict[str, float]:
    """The budget, for methods that have one; methods that need more than labels are refused."""
    from convscope.attacks import ATTACKS

    known = settings_written(ATTACKS, method)
    needed = [f"--{name}" for name, setting in known.items() if setting.default is REQUIRED]
    needed += ["--target"] * (takes_target(ATTACKS, method) == "required")
    if needed:
        raise UsageError(
            f"{method} needs {', '.join(needed)}",
            code="U01",
            expected="an attack that needs no more than images and labels",
        )
    if "epsilon" in known:
        return {"epsilon": epsilon}
    warn(f"{method} has no budget: --epsilon is not used")
    return {}
