"""``convscope inspect``: where a network looks, what its units like, and whether to believe it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from convscope.cli._inspect_words import (
    counted,
    fill_of,
    place_in_map,
    reference_of,
    shares_of_work,
    targets_of,
)
from convscope.cli._output import emit, next_step, progress, say, table, warn, wrote
from convscope.errors import PartlyRefused, UsageError, choose

if TYPE_CHECKING:
    from torch import Tensor

    from convscope.classifier import Classifier

LARGEST_FOR_RISE = 112
"""Sides in pixels up to which ``--trust`` judges RISE without being asked."""

Flag = Annotated[bool, cyclopts.Parameter(negative="")]


def inspect(
    model: str,
    images: Annotated[list[str] | None, cyclopts.Parameter(negative="")] = None,
    /,
    *,
    show: str | None = None,
    targets: str = "true",
    layer: str | None = None,
    layers: str | None = None,
    seen_map: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    fill: str | None = None,
    preset: str | None = None,
    units: str | None = None,
    at: str = "center",
    recipe: str | None = None,
    steps: int | None = None,
    judge: str | None = None,
    trust: Flag = False,
    count: int = 32,
    data: str | None = None,
    data_dir: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    offline: Flag = False,
    force: Flag = False,
    as_json: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
) -> None:
    """Look into a classifier: at images, at units, or at how far explanations can be trusted.

    Args:
        model: Run folder, .safetensors file, name of a network, hf:..., package.module:factory.
        images: What to look at: mnist:test/7, digits:test/0-9, photo.png, a folder.
        show: Comma-separated: filters, feature-maps, grad-cam, occlusion, saliency, ... By
            default grad-cam and occlusion.
        targets: true (labels where known, else predicted), predicted, all, or a class.
        layer: Layer of filters, grad-cam, hires-cam and layer-cam.
        layers: Comma-separated layers of feature-maps.
        seen_map: Show the part of filters that sees this map.
        window: Side of the occluding window in pixels.
        stride: How far the window moves, in pixels.
        fill: What it shows: mean, blur, or a grey level such as 0.5.
        preset: Window of the course documents: 12/4 or 14/7.
        units: What to maximize: logits, logits:3, pool2:0-9.
        at: Where in a map: center, mean, or ROW,COLUMN.
        recipe: gaussian-gradient, l2-blur, zero-l2, noise-adam, pca, spectrum, fourier.
        steps: Steps of the recipe.
        judge: An independently trained model that reads the pictures.
        trust: Judge explanations on test images of --data.
        count: Images that --trust judges on.
        data: digits, mnist, cifar10, shapes, pets, folder:DIRECTORY: training images for priors
            and comparisons, test images for --trust (shapes and pets have true masks).
        data_dir: Folder that holds the data files.
        out: Folder or FILE.html to write.
        seed: Of every draw.
        offline: Never download.
        force: Write over what --out names.
        as_json: Print JSON.
    """
    modes = [bool(images), units is not None, trust]
    if sum(modes) != 1:
        raise UsageError(
            "what shall be inspected?",
            expected="exactly one of IMAGES, --units or --trust",
            hint="convscope inspect MODEL digits:test/7 --show saliency,occlusion",
        )
    from convscope.models import load

    if out is not None:
        from convscope.studies._inspection import refuse_taken_file

        refuse_taken_file(out, force=force)
    classifier = load(model)
    for flag in classifier.flags:
        warn(flag)
    where = "" if data_dir is None else f" --data-dir {data_dir}"
    if images:
        settings: dict[str, dict[str, Any]] = {
            "filters": {"layer": layer, "seen_map": seen_map},
            **{name: {"layer": layer} for name in ("grad-cam", "hires-cam", "layer-cam")},
            "feature-maps": {"layers": layers.split(",") if layers else None},
            "occlusion": {
                "window": window,
                "stride": stride,
                "fill": fill_of(fill),
                "preset": preset,
            },
        }
        _images(classifier, images, show, targets, settings, data_dir, offline, out, force, as_json)
        next_step(f"convscope attack projected-gradient {model} {images[0]}{where} --epsilon 0.1")
    elif units is not None:
        if steps is not None and steps < 1:
            raise UsageError(f"--steps {steps}", code="U03", expected="at least 1")
        reference = reference_of(classifier, data, data_dir, offline, seed)
        other = None if judge is None else load(judge)
        _units(classifier, units, at, recipe, steps, reference, other, seed, out, force, as_json)
        if data is None:
            next_step(f"convscope inspect {model} --units {units} --data DATA, to compare")
        else:
            next_step(f"convscope audit {model} --data {data}{where}")
    else:
        if data is None:
            raise UsageError("--trust needs --data", expected="such as --data digits")
        if count < 1:
            raise UsageError(f"--count {count}", code="U03", expected="at least 1 image")
        _trust(classifier, show, data, data_dir, count, offline, seed, out, force, as_json)
        next_step(f"convscope inspect {model} {data}:test/0{where} --show grad-cam,occlusion")


def _images(
    classifier: Classifier,
    specs: list[str],
    show: str | None,
    targets: str,
    settings: dict[str, dict[str, Any]],
    data_dir: Path | None,
    offline: bool,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    from convscope.data import select_images
    from convscope.explanations import EXPLANATIONS, LAYER_VIEWS, PASSES
    from convscope.studies._inspection import inspect_images, write_images
    from convscope.studies._inspection_tables import occlusion_rows, prediction_rows

    known = [*LAYER_VIEWS, *EXPLANATIONS]
    names = [n.strip().replace("_", "-") for n in (show or "grad-cam,occlusion").split(",")]
    methods = [choose("explanation", name, known) for name in names]
    chosen = select_images(specs, like=classifier, data_dir=data_dir, offline=offline)
    for note in chosen.notes:
        warn(note)
    given = {name: {k: v for k, v in s.items() if v is not None} for name, s in settings.items()}
    work_of = {name: PASSES.get(name, 2) for name in methods}
    with progress(f"looking at {counted(len(chosen))}", total=100) as bar:
        work = inspect_images(
            classifier,
            chosen.images,
            show=methods,
            names=chosen.names,
            labels=chosen.labels,
            targets=targets_of(classifier, targets, chosen.labels),
            settings=given,
            on_progress=shares_of_work(bar, work_of, "looking by"),
        )
    rows = prediction_rows(work)
    tables = {
        name: occlusion_rows(found.table, classifier.class_names, chosen.names)
        for name, found in work.found.items()
        if getattr(found, "table", None) is not None
    }
    if as_json:
        costs = {n: f.cost for n, f in work.found.items() if getattr(f, "cost", None) is not None}
        emit({"images": rows, "tables": tables, "cost": costs}, as_json=True)
    else:
        table(list(rows[0]), [list(row.values()) for row in rows])
        for lines in tables.values():
            if len(chosen) == 1:
                table(list(lines[0]), [list(line.values()) for line in lines])
    if out is not None:
        title = chosen.names[0] if len(chosen) == 1 else counted(len(chosen))
        write_images(work, out, title=f"Looking at {title}", force=force)
        wrote(out)
    if chosen.refused:
        for reason in chosen.refused:
            warn(reason)
        raise PartlyRefused(f"{len(chosen.refused)} images could not be read; the rest is done")


def _units(
    classifier: Classifier,
    units: str,
    at: str,
    recipe: str | None,
    steps: int | None,
    reference: Tensor | None,
    judge: Classifier | None,
    seed: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    import torch

    from convscope.studies._inspection import write_units
    from convscope.studies._inspection_tables import effect_rows, unit_rows
    from convscope.visualizations import chosen_recipe, neuron_images

    made = chosen_recipe(recipe, reference, **({} if steps is None else {"steps": steps}))
    with progress(f"growing images of {units}", total=float(made.settings["steps"])) as bar:
        found = neuron_images(
            classifier,
            units,
            at=place_in_map(at),
            recipe=made,
            reference=reference,
            judge=judge,
            generator=torch.Generator().manual_seed(seed),
            on_step=lambda k, rows: bar.advance(1 if k else 0),
        )
    rows = unit_rows(found)
    if as_json:
        emit({"recipe": found.recipe, "units": rows, "effect": effect_rows(found)}, as_json=True)
    else:
        table(list(rows[0]), [list(row.values()) for row in rows], title=found.recipe)
        if found.layer != "logits":
            effects = effect_rows(found)
            table(list(effects[0]), [list(row.values()) for row in effects], title="logits change")
    if found.judgement is not None:
        say(f"the judge reads {found.judgement.right} of {len(found.units)} as intended")
    if out is not None:
        write_units(found, out, title=f"Units of {units.partition(':')[0]}", force=force)
        wrote(out)


def _trust(
    classifier: Classifier,
    show: str | None,
    data: str,
    data_dir: Path | None,
    count: int,
    offline: bool,
    seed: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    import torch

    from convscope.data import open_dataset
    from convscope.explanations import EXPLANATIONS, PASSES
    from convscope.studies._inspection import write_trust
    from convscope.studies._inspection_tables import trust_rows
    from convscope.studies._trust import trust_on

    large = min(classifier.input_shape[1:]) > LARGEST_FOR_RISE
    usual = ",".join(name for name in EXPLANATIONS if not (name == "rise" and large))
    if large and show is None:
        say("rise needs 501 passes per map and is left out for images of this size; --show adds it")
    names = [n.strip().replace("_", "-") for n in (show or usual).split(",")]
    methods = {n: EXPLANATIONS[choose("explanation", n, EXPLANATIONS)] for n in names}
    dataset = open_dataset(
        data, data_dir=data_dir, offline=offline, input_shape=classifier.input_shape
    )
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(dataset.test), generator=generator)[:count].sort().values
    work = {name: PASSES.get(name, 2) for name in methods} | {"curves": 8 * (len(methods) + 1)}
    with progress("judging explanations", total=100) as bar:
        found = trust_on(
            classifier,
            dataset.test.subset(rows),
            methods,
            classes=len(dataset.class_names),
            generator=generator,
            on_progress=shares_of_work(bar, work, "judging"),
        )
    lines = trust_rows(found)
    if as_json:
        emit({"images": found.images, "methods": lines, "notes": found.notes}, as_json=True)
    else:
        table(list(lines[0]), [list(line.values()) for line in lines], title="whom to believe")
    for text in found.notes:
        warn(text)
    if out is not None:
        write_trust(found, out, title=f"Whom to believe: {dataset.name}", force=force)
        wrote(out)


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(inspect, name="inspect")
