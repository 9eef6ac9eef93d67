"""``convscope models``: which networks there are, and what they are made of."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import cyclopts

from convscope.cli._options import NOTHING, Device, Flag, Json, OwnNetwork, check_names
from convscope.cli._output import emit, next_step, table, warn
from convscope.devices import resolve_device
from convscope.errors import ModelContractError, UsageError
from convscope.models import MODELS, model_forms, shipped, shipped_config


def list_models(pattern: str = "*", /, *, as_json: Json = False) -> None:
    """List the networks that can be trained by name, and further weights that are shipped.

    Args:
        pattern: Only names like this, such as "mnist*".
        as_json: Print JSON.
    """
    ready = shipped()
    names = [name for name in listed(ready) if fnmatchcase(name, pattern)]
    if not names:
        raise UsageError(
            f"no network is called like {pattern!r}", expected=f"for example {', '.join(MODELS)}"
        )
    rows: list[dict[str, Any]] = []
    for name in names:
        config = None if name in MODELS else shipped_config(name)
        spec = MODELS.spec(name if config is None else config.architecture)
        rows.append(
            {
                "name": name,
                "input_shape": spec.input_shape,
                "parameters": spec.parameters,
                "shipped": name in ready,
                "description": spec.about
                if config is None
                else f"{config.architecture} with other weights: {config.source}",
            }
        )
    if as_json:
        emit(rows, as_json=True)
        return
    table(
        ["network", "input", "parameters", "weights", "layers"],
        [
            [
                row["name"],
                "x".join(map(str, row["input_shape"])),
                f"{row['parameters']:,}",
                "shipped" if row["shipped"] else "train it",
                row["description"],
            ]
            for row in rows
        ],
    )
    next_step("convscope models show", names[0])


def listed(ready: Sequence[str]) -> list[str]:
    """Names of networks, each followed by further weights of it.

    Args:
        ready: Names of shipped weights.
    """
    further = {name: shipped_config(name).architecture for name in ready if name not in MODELS}
    return [
        each
        for name in MODELS
        for each in (name, *(more for more, of in further.items() if of == name))
    ]


def show_model(
    model: str,
    /,
    *,
    allow_nonfinite: Flag = False,
    device: Device = "cpu",
    as_json: Json = False,
    network: OwnNetwork = NOTHING,
) -> None:
    """Show a network: classes, preprocessing, layers, shapes, parameters, receptive fields.

    Args:
        model: Any MODEL; a name of `convscope models list` also works without weights.
        allow_nonfinite: Load weights with NaN or infinity.
        device: Where the network runs, once, to show its shapes.
        as_json: Print JSON.
        network: What the files of a network of your own do not say.
    """
    is_run = (Path(model) / "config.json").is_file()
    fresh = model in MODELS and model not in shipped() and not is_run
    if not fresh:
        check_names(models=[model])
    from convscope.models import SUMMARY_COLUMNS, summarize

    facts: dict[str, Any] = {"model": model}
    if fresh:
        given = shlex.join(network.again())
        if given:
            raise UsageError(
                f"{model} is built fresh: {given} says nothing about it",
                code="U11",
                hint=f"convscope models show {model}",
            )
        architecture = MODELS[model]
        module, shape = architecture.build().to(resolve_device(device)), architecture.input_shape
        facts |= {"source": "fresh weights (none are shipped)", "num_classes": 10}
    else:
        classifier = network.load(model, allow_nonfinite=allow_nonfinite, device=device)
        module, shape = classifier.module, classifier.input_shape
        facts |= {
            "source": classifier.source,
            "num_classes": classifier.num_classes,
            "class_names": classifier.class_names,
            "mean": classifier.mean,
            "std": classifier.std,
            "resize": None if classifier.resize is None else str(classifier.resize),
            "preprocessing": classifier.preprocessing(),
            "probabilities": classifier.probabilities,
            "flags": classifier.flags,
        }
        if model in shipped() and not is_run:
            facts["model_card"] = shipped_config(model).extra
        for flag in classifier.flags:
            warn(flag)
    try:
        summary = summarize(module, shape)
    except ModelContractError as error:
        if error.code not in LAYERLESS:
            raise
        _show_layerless(facts, shape, error, as_json=as_json)
        return
    if as_json:
        emit({**facts, **asdict(summary)}, as_json=True)
        return
    table(
        SUMMARY_COLUMNS,
        summary.cells(),
        title=f"{model}: {facts['source']}",
    )
    emit(None, text=summary.totals())
    _show_facts(facts)


LAYERLESS = ("M17", "M26")
"""Codes of networks whose layers cannot be seen."""


def _show_layerless(
    facts: dict[str, Any], shape: tuple[int, ...], error: ModelContractError, *, as_json: bool
) -> None:
    """All but the layers, and why there are none."""
    if as_json:
        emit({**facts, "input_shape": shape, "rows": [], "layers": error.what}, as_json=True)
        return
    emit(None, text=f"{facts['model']}: {facts['source']}")
    emit(None, text=f"input {'x'.join(map(str, shape))} · {error.what}")
    _show_facts(facts)


def _show_facts(facts: dict[str, Any]) -> None:
    """Class names and preprocessing; nothing of a network with fresh weights."""
    if names := facts.get("class_names"):
        shown = [str(name) for name in names[:12]] + (["..."] if len(names) > 12 else [])
        emit(None, text=f"{len(names)} classes: {' | '.join(shown)}")
        emit(None, text=facts["preprocessing"])
        if facts["probabilities"]:
            emit(None, text="it returns probabilities: logits are their logarithms")


def register(app: cyclopts.App) -> None:
    """Add the command."""
    text = f"Which networks there are, and their layers.\n\nA MODEL is {model_forms()}."
    models = cyclopts.App(name="models", help=text)
    models.command(list_models, name="list")
    models.command(show_model, name="show")
    app.command(models)
