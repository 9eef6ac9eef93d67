"""``convscope attack transfer``: made on one network, shown to others."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import cyclopts

from convscope.cli._opened import opened_network, opened_split, refuse_early
from convscope.cli._output import (
    data_place,
    emit,
    fraction,
    next_step,
    progress,
    table,
    warn,
    wrote,
)
from convscope.errors import UsageError

Flag = Annotated[bool, cyclopts.Parameter(negative="")]
Json = Annotated[bool, cyclopts.Parameter(name="--json", negative="")]


def transfer(
    *models: str,
    data: str,
    method: str = "momentum",
    epsilon: str = "8/255",
    split: str = "test",
    count: int = 200,
    data_dir: Path | None = None,
    out: Path | None = None,
    offline: Flag = False,
    force: Flag = False,
    as_json: Json = False,
) -> None:
    """Make adversarial images on each of several networks and show them to all the others.

    Counted are images that both networks read rightly before.

    Args:
        models: Two or more: run folders, names of networks, hf:..., package.module:factory.
        data: digits, mnist, cifar10 or folder:DIRECTORY.
        method: The attack; momentum is made for transfer.
        epsilon: Radius in pixel units, such as 0.3 or 8/255.
        split: train, validation or test.
        count: How many images, from the start of the split.
        data_dir: Folder that holds the data files.
        out: Folder, or FILE.html.
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
    if count < 1:
        raise UsageError(f"--count {count}", code="U05", expected="at least 1")
    radius = fraction(epsilon)
    refuse_early(out, force=force)
    settings = _settings(method, radius)
    from convscope.robustness import model_transfer

    classifiers = {name: opened_network(name, named=True) for name in models}
    shapes = {classifier.input_shape for classifier in classifiers.values()}
    if len(shapes) > 1:
        raise UsageError("the networks take images of different sizes", code="M14")
    part = opened_split(shapes.pop(), data, split, data_dir=data_dir, offline=offline)
    rows = range(min(count, len(part)))
    with progress(f"{method} on {len(models)} networks, {len(rows)} images", total=None):
        found = model_transfer(
            classifiers,
            part.floats(rows),
            part.labels[: len(rows)],
            attack=method,
            **settings,
        )
    if as_json:
        emit(found.summary(), as_json=True)
    else:
        table(
            ["made on", *found.names],
            [
                [name, *(f"{float(share):.1%}" for share in found.rates[i])]
                for i, name in enumerate(found.names)
            ],
            title=f"share misread of {method}, epsilon {epsilon}",
        )
    if out is not None:
        from convscope.cli._attack_output import write

        write(found, (), out, force=force)
        wrote(out)
    where = data_place(data_dir)
    next_step(f"convscope attack evaluate {models[0]} --data {data}{where} --epsilon {epsilon}")


def _settings(method: str, epsilon: float) -> dict[str, float]:
    """The budget, for methods that have one; methods that need more than labels are refused."""
    from convscope.attacks import ATTACKS
    from convscope.errors import choose

    parameters = inspect.signature(ATTACKS[choose("method", method, ATTACKS)]).parameters
    empty = inspect.Parameter.empty
    needed = [p.name for p in list(parameters.values())[3:] if p.default is empty]
    if needed:
        raise UsageError(
            f"{method} needs {', '.join(needed)}",
            code="U01",
            expected="an attack that needs no more than images and labels",
        )
    if "epsilon" in parameters:
        return {"epsilon": epsilon}
    warn(f"{method} has no budget: --epsilon is not used")
    return {}
