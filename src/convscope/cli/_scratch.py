"""``convscope scratch`` and ``convscope adder``: networks in NumPy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from convscope.cli._opened import raise_if_refused
from convscope.cli._options import (
    AcceptModified,
    DataDir,
    DataName,
    Json,
    Offline,
    Seed,
    SkipBad,
    check_names,
    check_number,
    check_out,
    check_seed,
)
from convscope.cli._output import (
    data_place,
    emit,
    fresh_name,
    next_step,
    progress,
    say,
    table,
    warn,
    wrote,
)
from convscope.errors import GateFailed, UsageError, choose
from convscope.models import MODELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convscope.data import Dataset
    from convscope.scratch import Addition, Sequential, TrainingCurve, TrainingStep

IMAGES_SHOWN = 12_000
"""How many a training shows by default: ten epochs of the built-in digits, but one of MNIST."""


WIDEST = 64
"""Places up to which the hidden units are shown on the screen."""

SCRATCH_NETWORKS = tuple(name for name in MODELS if name.startswith("mnist-conv"))
"""Those that `convscope.scratch.NETWORKS` has, too: a typo is refused without importing it."""


def check(
    *,
    seed: Annotated[Seed, cyclopts.Parameter(help="Decides weights and inputs.")] = 0,
    figure: Path | None = None,
    as_json: Json = False,
) -> None:
    """Compare every backward pass with central differences in float64; a table of the errors.

    Args:
        seed: Decides weights and inputs.
        figure: Draw the errors into this file (.png, .svg or .pdf).
        as_json: Print JSON.
    """
    need_picture_name(figure)
    check_seed(seed)
    from dataclasses import asdict

    from convscope.scratch import check_gradients

    checks = check_gradients(seed=seed)
    if as_json:
        emit([asdict(row) | {"passed": row.passed} for row in checks], as_json=True)
    else:
        table(
            ["layer", "gradient of", "numbers", "max relative error", ""],
            [
                [row.name, row.quantity, row.numbers, f"{row.error:.1e}", _verdict(row.passed)]
                for row in checks
            ],
            title="Backward passes against central differences",
        )
    if figure is not None:
        from convscope.figures import draw_gradient_checks

        save_figure(draw_gradient_checks(checks), figure)
        wrote(figure)
    failed = [row for row in checks if not row.passed]
    if failed:
        raise GateFailed(
            f"{len(failed)} of {len(checks)} gradients are wrong, first {failed[0].quantity} of "
            f"{failed[0].name}: {failed[0].error:.1e}"
        )
    say(f"all {len(checks)} agree; the largest error is {max(row.error for row in checks):.1e}")
    next_step("convscope scratch train --data digits")


def train(
    network: str = "mnist-conv2",
    /,
    *,
    data: DataName = "digits",
    data_dir: DataDir | None = None,
    offline: Offline = False,
    skip_bad: SkipBad = False,
    accept_modified: AcceptModified = False,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimizer: Literal["adam", "sgd"] = "adam",
    learning_rate: float | None = None,
    seed: Annotated[
        Seed, cyclopts.Parameter(help="Decides the first weights and the order of the images.")
    ] = 0,
    out: Path | None = None,
    as_json: Json = False,
) -> None:
    """Train a network with NumPy alone, and judge it on the test images.

    Args:
        network: One of the mnist-conv... names of `convscope models list`.
        data: The data set.
        data_dir: Folder that holds the data files.
        offline: Never download.
        skip_bad: Leave images out that cannot be read; exit with 8 if there were any.
        accept_modified: Go on with data files whose checksum is not the known one.
        epochs: Times every image is shown; default: as often as makes about 12,000 images.
        batch_size: Images per step; default: 32, or 64 from 10,000 training images on.
        optimizer: adam, or sgd with momentum 0.9.
        learning_rate: The highest of one cycle; default: 0.005 for adam, 0.05 for sgd.
        seed: Decides the first weights and the order of the images.
        out: Folder for weights, which every other command can load, and training curves.
        as_json: Print the result as JSON.
    """
    import time

    choose("network", network, SCRATCH_NETWORKS)
    check_names(data=data)
    check_number("--epochs", epochs)
    check_number("--batch-size", batch_size)
    check_number("--learning-rate", learning_rate, least=1e-12)
    check_seed(seed)
    check_out(out, force=True, page=False)
    _use_one_thread()
    import numpy as np

    from convscope.data import open_dataset
    from convscope.scratch import SGD, Adam, accuracy, build_network, fit

    dataset = open_dataset(
        data, data_dir=data_dir, offline=offline, skip_bad=skip_bad, accept_modified=accept_modified
    )
    for warning in dataset.warnings:
        warn(warning)
    dataset.check_trainable()
    images, labels = dataset.train.pixels().numpy(), dataset.train.labels.numpy()
    epochs = max(1, round(IMAGES_SHOWN / len(images))) if epochs is None else epochs
    batch_size = (32 if len(images) < 10_000 else 64) if batch_size is None else batch_size
    rate = {"adam": 0.005, "sgd": 0.05}[optimizer] if learning_rate is None else learning_rate
    generator = np.random.default_rng(seed)
    mean, std = dataset.mean_std()
    built = build_network(
        network,
        generator=generator,
        num_classes=len(dataset.class_names),
        input_shape=dataset.input_shape,
        mean=tuple(mean),
        std=tuple(std),
    )
    say(f"{network}, {built.parameter_count:,} parameters, on {len(images):,} images of {data}")
    started = time.perf_counter()
    with progress(f"{network} on {data}", total=epochs * -(-len(images) // batch_size)) as bar:

        def on_step(step: TrainingStep) -> None:
            bar.advance(1)
            if step.step % 20 == 0:
                bar.describe(f"epoch {step.epoch}/{epochs}, loss {step.loss:.3f}")

        curve = fit(
            built,
            images,
            labels,
            optimizer=Adam(rate) if optimizer == "adam" else SGD(rate),
            epochs=epochs,
            batch_size=batch_size,
            generator=generator,
            validation=(dataset.validation.pixels().numpy(), dataset.validation.labels.numpy()),
            warm_up=0.3,
            on_step=on_step,
        )
    seconds = time.perf_counter() - started
    tested = dataset.split("test")
    right = accuracy(built, tested.pixels().numpy(), tested.labels.numpy())
    facts: dict[str, Any] = {
        "network": network,
        "data": data,
        "parameters": built.parameter_count,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "learning_rate": rate,
        "seed": seed,
        "validation_accuracy": float(curve.accuracies[-1]),
        "test_accuracy": right,
        "test_images": len(dataset.test),
        "seconds": round(seconds, 2),
    }
    if out is not None:
        save_run(out, built, curve, dataset, facts)
    emit(
        facts,
        as_json=as_json,
        text=f"test accuracy {right:.2%} ({len(dataset.test):,} images) after {epochs} epochs in "
        f"{seconds:.1f} s, with NumPy alone",
    )
    if out is not None:
        wrote(out)
        next_step("convscope eval", str(out), "--data", data, *data_place(data_dir))
    else:
        where = [*data_place(data_dir), "--out", fresh_name("runs/scratch")]
        next_step("convscope scratch train", network, "--data", data, *where)
    raise_if_refused(dataset)


def save_run(
    folder: Path,
    network: Sequential,
    curve: TrainingCurve,
    dataset: Dataset,
    facts: dict[str, Any],
) -> None:
    """Write weights that the torch half can load, and the training curves.

    Args:
        folder: Made if it is not there.
        network: What was trained.
        curve: How.
        dataset: On what.
        facts: Settings and results, for the config.
    """
    import torch

    from convscope.figures import draw_training_curve
    from convscope.models import build, save_model

    module = build(
        facts["network"], num_classes=len(dataset.class_names), input_shape=dataset.input_shape
    )
    arrays = network.parameters | network.constants
    module.load_state_dict(
        {name: torch.from_numpy(array) for name, array in arrays.items()}, strict=False
    )
    mean, std = dataset.mean_std()
    save_model(
        folder,
        module=module,
        architecture=facts["network"],
        class_names=dataset.class_names,
        input_shape=dataset.input_shape,
        mean=tuple(mean),
        std=tuple(std),
        source=f"trained with NumPy (convscope scratch train), seed {facts['seed']}, on "
        f"{dataset.name}",
        extra={"scratch": facts},
    )
    save_figure(draw_training_curve(curve), folder / "training.png")


def need_picture_name(file: Path | None) -> None:
    """Refuse a file to draw into whose ending is no picture format, before any work.

    Raises:
        UsageError: U03.
    """
    if file is not None and file.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(
            f"{file.name!r} is no picture file", code="U03", expected="a .png, .svg or .pdf file"
        )


def save_figure(drawn: Figure, file: Path) -> None:
    """Write a figure in the format of the file's ending."""
    import io

    from convscope.files import write_whole

    made = io.BytesIO()
    drawn.savefig(made, dpi=150, format=file.suffix[1:].lower())
    write_whole(file, made.getvalue())


def _use_one_thread() -> None:
    """Keep OpenBLAS from sharing the windows of one image, 0.1 ms of work, between threads.

    They would wait for each other: with two threads on two busy cores, training took fourteen
    times as long. ``--threads`` and the variables that OpenBLAS itself knows win.
    """
    if not {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"} & os.environ.keys():
        os.environ["OPENBLAS_NUM_THREADS"] = "1"


def _verdict(passed: bool) -> str:
    return "ok" if passed else "WRONG"


def add_numbers(
    first: str,
    second: str,
    /,
    *,
    figure: Path | None = None,
    as_json: Annotated[
        Json, cyclopts.Parameter(help="Print the sum, the hidden units and the outputs as JSON.")
    ] = False,
) -> None:
    """Add two binary numbers with a recurrent network, and show its hidden units bit by bit.

    Args:
        first: Binary digits, such as 100111.
        second: Binary digits, such as 110010.
        figure: Draw the hidden units into this file (.png, .svg or .pdf).
        as_json: Print the sum, the hidden units and the outputs as JSON.
    """
    need_picture_name(figure)
    from convscope.scratch import addition

    found = addition(first, second)
    if not as_json and len(found.outputs) <= WIDEST:
        for line in written_out(found):
            say(line)
    if figure is not None:
        from convscope.figures import draw_addition

        save_figure(draw_addition(found), figure)
    facts = {
        "first": found.first,
        "second": found.second,
        "total": found.total,
        "inputs": found.inputs.tolist(),
        "hidden": found.hidden.tolist(),
        "outputs": found.outputs.tolist(),
    }
    emit(facts, as_json=as_json, text=found.total)
    if figure is not None:
        wrote(figure)
    elif not as_json and len(found.outputs) <= WIDEST:
        next_step("convscope adder", first, second, "--figure", "adder.png")


def written_out(found: Addition) -> list[str]:
    """The addition as on paper, highest bit left, with the hidden units between."""
    rows = {
        "first": found.inputs[:, 0],
        "second": found.inputs[:, 1],
        "1 or more": found.hidden[:, 0],
        "2 or more": found.hidden[:, 1],
        "all 3": found.hidden[:, 2],
        "sum": found.outputs,
    }
    notes = {"2 or more": "   (the carry to the next place)"}
    return [
        f"{name:>9}  {' '.join(map(str, bits[::-1]))}{notes.get(name, '')}"
        for name, bits in rows.items()
    ]


def register(app: cyclopts.App) -> None:
    """Add the commands."""
    scratch = cyclopts.App(
        name="scratch", help="A convolutional network in NumPy: check its gradients, train it."
    )
    scratch.command(check)
    scratch.command(train)
    app.command(scratch)
    app.command(add_numbers, name="adder")
