"""``convscope inspect``: where a network looks, what its units like, and whether to believe it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from convscope.cli._early import check_names, check_number, check_out, check_seed
from convscope.cli._inspect_images import look_at_images
from convscope.cli._inspect_trust import judge_methods
from convscope.cli._inspect_units import look_at_units
from convscope.cli._inspect_words import (
    fill_of,
    method_names,
    options_of_methods,
    place_in_map,
    reference_of,
    refuse_others,
)
from convscope.cli._model_options import NOTHING, OwnNetwork
from convscope.cli._opened import opened_network, words
from convscope.cli._output import data_place, fresh_name, next_step, not_kept
from convscope.errors import UsageError, choose
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS
from convscope.visualizations import VISUALIZATION_RECIPES

Flag = Annotated[bool, cyclopts.Parameter(negative="")]


def inspect(
    model: str,
    images: Annotated[list[str] | None, cyclopts.Parameter(negative="")] = None,
    /,
    *,
    show: str | None = None,
    targets: str | None = None,
    layer: str | None = None,
    layers: str | None = None,
    seen_map: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    fill: str | None = None,
    preset: str | None = None,
    units: str | None = None,
    at: str | None = None,
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
        show: Methods and layer views of the lists above, with commas. By default grad-cam and
            occlusion.
        targets: true (labels where known, else predicted; the default), predicted, all, or a
            class by name or number.
        layer: Layer of filters and of methods that explain a layer, such as grad-cam.
        layers: Comma-separated layers of feature-maps.
        seen_map: Show the part of filters that sees this map.
        window: Side of the occluding window in pixels.
        stride: How far the window moves, in pixels.
        fill: What it (or the mask of rise) shows: mean, blur, or a grey level such as 0.5.
        preset: Window of the course documents: 12/4 or 14/7.
        units: What to maximize: logits, logits:3, pool2:0-9.
        at: Where in a map: center (the default), mean, or ROW,COLUMN such as 3,4.
        recipe: How images of units are optimized: see the list above.
        steps: Steps of the recipe, or of integrated-gradients.
        judge: An independently trained model that predicts the pictures' classes.
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
    given: dict[str, object] = {
        "targets": targets, "layer": layer, "layers": layers, "seen-map": seen_map,
        "window": window, "stride": stride, "fill": fill, "preset": preset, "at": at,
        "recipe": recipe, "judge": judge, "count": count, "split": split, "steps": steps,
        "data": data, "show": show,
    }  # fmt: skip
    mode = "--trust" if trust else "IMAGES" if images else "--units"
    refuse_others(mode, {name: given[name] for name in NOT_IN[mode]}, HOMES)
    check_out(out, force=force)
    check_seed(seed)
    check_number("--count", count)
    check_number("--steps", steps)
    check_number("--window", window)
    check_number("--stride", stride)
    check_number("--seen-map", seen_map, least=0)
    check_names(models=[model, judge], data=data, images=images or ())
    if units is not None and not units.strip():
        raise UsageError("--units is empty", code="U01", expected="logits, logits:3 or pool2:0-9")
    if units is not None and units.partition(":")[0] == "logits":
        refuse_others("--units logits", {"at": at}, {"at": "layers of maps, such as pool2:0-9"})
    elif judge is not None:
        raise UsageError(
            f"a judge says nothing about {units}",
            code="U11",
            expected="--judge with --units logits: pictures of classes",
        )
    if layers is not None and not all(name.strip() for name in layers.split(",")):
        raise UsageError(f"--layers {layers!r}", code="U01", expected="names with commas between")
    known = [*LAYER_VIEWS, *EXPLANATIONS] if images else list(EXPLANATIONS)
    methods = None if show is None else method_names(show, known)
    if images:
        methods = methods or ["grad-cam", "occlusion"]
        settings = options_of_methods(
            methods,
            {
                "layer": layer, "seen_map": seen_map, "window": window, "stride": stride,
                "layers": None if layers is None else [name.strip() for name in layers.split(",")],
                "fill": fill_of(fill), "preset": preset, "steps": steps,
            },
        )  # fmt: skip
    if trust and data is None:
        raise UsageError("--trust needs --data", expected="such as --data digits")
    place = place_in_map(at or "center")
    if preset is not None:
        choose("preset", preset, ("12/4", "14/7"))
    classifier = opened_network(model, network=network)
    where = data_place(data_dir)
    again = network.again()
    if images:
        look_at_images(
            classifier, images, methods or [], targets or "true", settings, seed, data_dir,
            skip_bad, offline, out, force, as_json,
        )  # fmt: skip
        not_kept("the maps are", out, name="look")
        command = words("convscope", "attack", "pgd", model, images[0])
        next_step(f"{command}{where}{again} --epsilon 0.1")
    elif units is not None:
        reference = reference_of(classifier, data, data_dir, offline, seed, skip_bad)
        other = None if judge is None else opened_network(judge, named=True)
        look_at_units(
            classifier, units, place, recipe, steps, reference, other, seed, out, force, as_json
        )
        not_kept("the pictures are", out, name="units")
        if data is not None:
            command = words("convscope", "audit", model) + again
            next_step(f"{command} {words('--data', data)}{where}")
    else:
        assert data is not None
        judge_methods(
            classifier, methods, data, data_dir, split, count, skip_bad, offline, seed, out, force,
            as_json,
        )  # fmt: skip
        not_kept("the tables are", out, name="trust")
        command = words("convscope", "inspect", model, f"{data}:{split or 'all'}/0")
        next_step(
            f"{command}{where}{again} --show grad-cam,occlusion --out {fresh_name('look.html')}"
        )


OF_IMAGES = ("targets", "layer", "layers", "seen-map", "window", "stride", "fill", "preset")
OF_UNITS = ("at", "recipe", "judge")
NOT_IN = {
    "IMAGES": (*OF_UNITS, "count", "split", "data"),
    "--units": (*OF_IMAGES, "show", "count", "split"),
    "--trust": (*OF_IMAGES, *OF_UNITS, "steps"),
}
"""Options that mean nothing for what is inspected."""

HOMES = {
    **dict.fromkeys(OF_IMAGES, "IMAGES"),
    **dict.fromkeys(OF_UNITS, "--units"),
    "show": "IMAGES and --trust",
    "steps": "IMAGES and --units",
    "count": "--trust",
    "split": "--trust (for images: DATA:SPLIT/ROWS)",
    "data": "--units and --trust (for images: DATA:SPLIT/ROWS)",
}


def register(app: cyclopts.App) -> None:
    """Add the command; its lists are those of the registries, entries of run time included."""
    app.command(
        inspect,
        name="inspect",
        help="Look into a classifier: at images, at units, or at how far explanations can be "
        f"trusted.\n\nMethods: {', '.join(EXPLANATIONS)}.\n\n"
        f"Layer views: {', '.join(LAYER_VIEWS)}.\n\n"
        f"Recipes of --units: {', '.join(VISUALIZATION_RECIPES)}.",
    )
