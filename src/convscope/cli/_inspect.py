"""``convscope inspect``: where a network looks, what its units like, and whether to believe it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts

from convscope.cli._inspect_images import look_at_images
from convscope.cli._inspect_trust import judge_methods
from convscope.cli._inspect_units import look_at_units
from convscope.cli._inspect_words import fill_of, reference_of
from convscope.cli._model_options import NOTHING, OwnNetwork
from convscope.cli._opened import words
from convscope.cli._output import data_place, next_step, warn
from convscope.errors import UsageError

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
    count: int | None = None,
    split: Literal["train", "validation", "test", "all"] | None = None,
    data: str | None = None,
    data_dir: Path | None = None,
    out: Path | None = None,
    seed: int = 0,
    skip_bad: Flag = False,
    offline: Flag = False,
    force: Flag = False,
    as_json: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
    network: OwnNetwork = NOTHING,
) -> None:
    """Look into a classifier: at images, at units, or at how far explanations can be trusted.

    Args:
        model: Run folder, .safetensors file, name of a network, hf:..., package.module:factory.
        images: What to look at: mnist:test/7, digits:test/0-9, "digits:test?class=7/0-4",
            photo.png, a folder.
        show: Comma-separated: filters, feature-maps, grad-cam, occlusion, saliency, ... By
            default grad-cam and occlusion.
        targets: true (labels where known, else predicted), predicted, all, or a class by name or
            number.
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
        count: Images that --trust judges on, a sample with every class in proportion: by default
            32, or 16 above 112 pixels.
        split: Of --trust: train, validation, test or all; by default as for `convscope eval`.
        data: digits, mnist, cifar10, shapes, pets, folder:DIRECTORY: training images for priors
            and comparisons, test images for --trust (shapes and pets have true masks).
        data_dir: Folder that holds the data files.
        out: Folder or FILE.html to write.
        seed: Of every draw.
        skip_bad: Leave files of a folder out that cannot be read; exit with 8 if there were any.
        offline: Never download.
        force: Write over what --out names.
        as_json: Print JSON.
        network: What the files of a network of your own do not say.
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
    classifier = network.load(model)
    for flag in classifier.flags:
        warn(flag)
    where = data_place(data_dir)
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
        look_at_images(
            classifier, images, show, targets, settings, data_dir, skip_bad, offline, out, force,
            as_json,
        )  # fmt: skip
        command = words("convscope", "attack", "projected-gradient", model, images[0])
        next_step(f"{command}{where}{network.again()} --epsilon 0.1")
    elif units is not None:
        if steps is not None and steps < 1:
            raise UsageError(f"--steps {steps}", code="U03", expected="at least 1")
        reference = reference_of(classifier, data, data_dir, offline, seed, skip_bad)
        other = None if judge is None else load(judge)
        look_at_units(
            classifier, units, at, recipe, steps, reference, other, seed, out, force, as_json
        )
        if data is None:
            command = words("convscope", "inspect", model, "--units", units)
            next_step(f"{command}{network.again()} --data DATA, to compare")
        else:
            command = words("convscope", "audit", model) + network.again()
            next_step(f"{command} {words('--data', data)}{where}")
    else:
        if data is None:
            raise UsageError("--trust needs --data", expected="such as --data digits")
        if count is not None and count < 1:
            raise UsageError(f"--count {count}", code="U03", expected="at least 1 image")
        judge_methods(
            classifier, show, data, data_dir, split, count, skip_bad, offline, seed, out, force,
            as_json,
        )  # fmt: skip
        command = words("convscope", "inspect", model, f"{data}:{split or 'all'}/0")
        next_step(f"{command}{where}{network.again()} --show grad-cam,occlusion")


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(inspect, name="inspect")
