"""``convscope attack transfer``: images made on one network, shown to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convscope.attacks import ATTACKS
from convscope.cli._methods import chosen_attack
from convscope.cli._opened import OpenedData, opened_data, opened_network
from convscope.cli._options import (
    NOWHERE,
    USUAL,
    CommonOptions,
    DataName,
    OutputOptions,
    SplitName,
    check_names,
    check_number,
    check_seed,
)
from convscope.cli._output import (
    Fraction,
    data_place,
    emit,
    next_step,
    table,
    warn,
    watching,
)
from convscope.cli._settings import REQUIRED, settings_written, shown_default, takes_target
from convscope.errors import UsageError

if TYPE_CHECKING:
    from convscope.classifier import Classifier


def transfer(
    *models: str,
    data: DataName,
    method: str = "mi-fgsm",
    epsilon: Fraction = 8 / 255,
    split: SplitName | None = None,
    count: int = 200,
    common: CommonOptions = USUAL,
    output: OutputOptions = NOWHERE,
) -> None:
    """Make adversarial images on each of several networks and show them to all the others.

    Counted are images that both networks classify correctly before.

    Args:
        models: Two or more networks, each as in the other commands.
        data: The data set.
        method: The attack; mi-fgsm is made for transfer.
        epsilon: Radius in pixel units, such as 0.3 or 8/255.
        split: train, validation, test or all; by default as for `convscope eval`.
        count: At most this many images: a sample with every class in proportion.
        common: What is the same everywhere.
        output: What to write.
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
    check_seed(common.seed)
    output.check()
    check_names(models=models, data=data)
    method = chosen_attack(method, shared=False)
    settings = _budget_of(method, epsilon)
    from convscope.robustness import model_transfer

    classifiers = {name: opened_network(name, named=True, device=common.device) for name in models}
    shapes = {classifier.input_shape for classifier in classifiers.values()}
    if len(shapes) > 1:
        raise UsageError("the networks take images of different sizes", code="M14")
    first = next(iter(classifiers.values()))
    opened = opened_data(first, data, split=split, count=count, common=common)
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
    if common.as_json:
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
    output.write(found)
    next_step(
        "convscope attack evaluate", models[0], "--data", data, *data_place(common.data_dir),
        "--epsilon", shown_default(epsilon),
    )  # fmt: skip
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


def _budget_of(method: str, epsilon: float) -> dict[str, float]:
    """The budget, for methods that have one; methods that need more than labels are refused."""
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
