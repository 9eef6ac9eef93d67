"""``convscope inspect``: where a network looks, what excites its units, which maps to trust."""

from __future__ import annotations

from typing import Annotated

import cyclopts

from convscope.cli._inspect_modes import (
    Units,
    look_at_images,
    look_at_units,
    place_in_map,
)
from convscope.cli._inspect_trust import judge_methods
from convscope.cli._large import AT_ONCE, LargeOptions
from convscope.cli._methods import (
    chosen_explanations,
    list_explanation_settings,
    list_explanations,
    registry_of,
)
from convscope.cli._opened import opened_network
from convscope.cli._options import (
    NOTHING,
    NOWHERE,
    USUAL,
    CommonOptions,
    Flag,
    ModelName,
    OutputOptions,
    OwnNetwork,
    ReferenceData,
    SplitName,
    check_names,
    check_number,
    check_seed,
)
from convscope.cli._output import data_place, next_step, not_kept
from convscope.cli._settings import settings_written
from convscope.cli._words import shared_values, split_words
from convscope.errors import UsageError
from convscope.explanations import EXPLANATIONS, LAYER_VIEWS
from convscope.visualizations import VISUALIZATION_RECIPES

USUAL_METHODS = ["grad-cam", "occlusion"]


def inspect(
    model: ModelName,
    /,
    *words: Annotated[str, cyclopts.Parameter(allow_leading_hyphen=True)],
    show: str | None = None,
    targets: str | None = None,
    units: str | None = None,
    at: str | None = None,
    recipe: str | None = None,
    judge: str | None = None,
    trust: Flag = False,
    data: ReferenceData | None = None,
    split: SplitName | None = None,
    count: int | None = None,
    large: LargeOptions = AT_ONCE,
    common: CommonOptions = USUAL,
    output: OutputOptions = NOWHERE,
    network: OwnNetwork = NOTHING,
) -> None:
    """Look into a classifier: explain images, maximize units, evaluate explanations.

    Example: convscope inspect runs/m digits:test/7 --show occlusion --window 4 --stride 2.
    `convscope inspect list` lists the methods of --show; `convscope inspect METHOD --help`
    explains one and its settings.

    Args:
        model: The network.
        words: IMAGES to look at (mnist:test/7, digits:test/0-9, "digits:test?class=7/0-4",
            photo.png, a folder), and settings of the methods as --name value.
        show: Methods, with commas; by default grad-cam and occlusion.
        targets: true (labels where known, else predicted; the default), predicted, all, or a
            class by name or number.
        units: What to maximize: logits, logits:3, pool2:0-9. Takes --steps of the recipe.
        at: Where in a map: center (the default), mean, or ROW,COLUMN such as 3,4.
        recipe: How images of units are optimized: see the list above.
        judge: An independently trained model that predicts the pictures' classes.
        trust: Evaluate explanations on test images of --data.
        data: The data set: training images for priors and comparisons, test images for --trust.
        split: Of --trust: train, validation, test or all; by default as for `convscope eval`.
        count: At most this many images for --trust, a sample with every class in proportion: by
            default 32, or 16 above 112 pixels.
        large: Of --trust: going on after a kill, and many workers.
        common: What is the same everywhere.
        output: What to write.
        network: What the files of a network of your own do not say.
    """
    images, options = split_words(words)
    if [bool(images), units is not None, trust].count(True) != 1:
        raise UsageError(
            "specify exactly one of IMAGES, --units or --trust",
            code="U01",
            hint="convscope inspect MODEL digits:test/7 --show saliency,occlusion",
        )
    mode = "--trust" if trust else "IMAGES" if images else "--units"
    given = {
        "targets": targets, "at": at, "recipe": recipe, "judge": judge, "count": count,
        "split": split, "data": data, "show": show, "part": large.part, "shard": large.shard,
        "resume": large.resume or None, "engine": None if large.engine == "here" else "ray",
    }  # fmt: skip
    if trust:
        large.chosen()
    refuse_others(mode, {name: given[name] for name in NOT_IN[mode]})
    if options and trust:
        option = options[0].partition("=")[0]
        raise UsageError(
            f"--trust takes no {option}",
            code="U11",
            expected="settings of methods belong to IMAGES: --trust runs them with their defaults",
        )
    output.check()
    check_seed(common.seed)
    check_number("--count", count)
    check_names(models=[model, judge], data=data, images=images)
    _check_units(units, at, judge)
    known = [*LAYER_VIEWS, *EXPLANATIONS] if images else list(EXPLANATIONS)
    methods = None if show is None else chosen_explanations(show, known)
    settings = settings_of_methods(methods or USUAL_METHODS, options) if images else {}
    if trust and data is None:
        raise UsageError("--trust needs --data", code="U08", expected="such as --data digits")
    place = place_in_map(at or "center")
    again, where = network.again(), data_place(common.data_dir)
    classifier = opened_network(model, network=network, device=common.device)
    if images:
        look_at_images(classifier, images, settings, targets or "true", common, output)
        not_kept("the maps are", output.out, name="look")
        budget = "0.1" if classifier.input_shape[0] == 1 else "8/255"
        next_step("convscope attack pgd", model, images[0], *where, *again, "--epsilon", budget)
    elif units is not None:
        wish = Units(units, at=place, recipe=recipe, options=options, data=data, judge=judge)
        look_at_units(classifier, wish, common, output)
        not_kept("the pictures are", output.out, name="units")
        if data is not None:
            next_step("convscope audit", model, *again, "--data", data, *where)
    elif data is not None:
        look = [model, f"{data}:{split or 'all'}/0", *where, *again]
        judge_methods(classifier, methods, data, split, count, large, common, output, look)


def settings_of_methods(methods: list[str], options: list[str]) -> dict[str, dict[str, object]]:
    """Keyword arguments by method; a setting goes to every method that has it.

    Raises:
        UsageError: U11 for a setting that none of them has.
    """
    every = {
        name: settings_written(registry_of(name), name) for name in (*LAYER_VIEWS, *EXPLANATIONS)
    }
    return shared_values({name: every[name] for name in methods}, every, options)


def _check_units(units: str | None, at: str | None, judge: str | None) -> None:
    if units is None:
        return
    if not units.strip():
        raise UsageError("--units is empty", code="U01", expected="logits, logits:3 or pool2:0-9")
    if units.partition(":")[0] == "logits":
        if at is not None:
            raise UsageError(
                "--units logits takes no --at",
                code="U11",
                expected="--at belongs to layers of maps, such as pool2:0-9",
            )
    elif judge is not None:
        raise UsageError(
            f"a judge says nothing about {units}",
            code="U11",
            expected="--judge with --units logits: pictures of classes",
        )


HOMES = {
    "targets": "IMAGES",
    "at": "--units",
    "recipe": "--units",
    "judge": "--units",
    "show": "IMAGES and --trust",
    "count": "--trust",
    "engine": "--trust",
    "part": "--trust",
    "resume": "--trust",
    "shard": "--trust",
    "split": "--trust (for images: DATA:SPLIT/ROWS)",
    "data": "--units and --trust (for images: DATA:SPLIT/ROWS)",
}
"""What an option belongs to."""

NOT_IN = {
    "IMAGES": (
        "at",
        "recipe",
        "judge",
        "count",
        "split",
        "data",
        "part",
        "resume",
        "shard",
        "engine",
    ),
    "--units": ("targets", "show", "count", "split", "part", "resume", "shard", "engine"),
    "--trust": ("targets", "at", "recipe", "judge"),
}
"""Options that mean nothing for what is inspected."""


def refuse_others(mode: str, given: dict[str, object]) -> None:
    """Refuse options that have no meaning for what is inspected.

    Args:
        mode: What is inspected: ``"IMAGES"``, ``"--units"`` or ``"--trust"``.
        given: Options that do not belong to it; ``None`` where they were not given.

    Raises:
        UsageError: U11, with what each belongs to.
    """
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise UsageError(
            f"{mode} takes no {' or '.join(f'--{name}' for name in wrong)}",
            code="U11",
            expected="; ".join(f"--{name} belongs to {HOMES[name]}" for name in wrong),
        )


def register(app: cyclopts.App) -> None:
    """Add the command; its lists are those of the registries, entries of run time included."""
    group = cyclopts.App(
        name="inspect",
        help="Look into a classifier: explain images, maximize units, evaluate explanations.\n\n"
        f"Methods of --show: {', '.join((*LAYER_VIEWS, *EXPLANATIONS))}. Each has its page: "
        "`convscope inspect METHOD --help`.\n\n"
        f"Recipes of --units: {', '.join(VISUALIZATION_RECIPES)}.",
    )
    group.default(inspect)
    group.command(list_explanations, name="list")
    group.command(list_explanation_settings, name="settings")
    app.command(group)
