"""The audit's sections on what the network is made of, and on how it was trained."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from convscope._network.execution import execution_of
from convscope._network.hooks import layer_label
from convscope.errors import ConvscopeError
from convscope.figures import accuracy_curve, draw_network, error_curve, loss_curve, percent, svg
from convscope.files import ENVIRONMENT, read_json_table
from convscope.models import MODELS, LayerSummary, summarize
from convscope.reports import Section
from convscope.studies._context import Audit
from convscope.studies._overfitting import ends, has_risen
from convscope.training import Measured, read_history, read_settings

COLUMNS = (
    "step", "epoch", "learning_rate", "train_loss", "train_accuracy", "validation_loss",
    "validation_accuracy",
)  # fmt: skip
"""Of the table of a run."""


def architecture(audit: Audit, section: Section) -> None:
    """The layer table, totals, and the shares of parameters and multiply-adds."""
    classifier = audit.classifier
    found = summarize(classifier.module, classifier.input_shape)
    largest = max(found.rows, key=lambda row: row.parameters, default=None)
    most = ""
    if largest is not None and largest.parameters:
        where = layer_label(largest.name, largest.kind) or largest.kind
        most = f"; {percent(largest.share, 1)} of the parameters are in `{where}`"
    section.finding = f"{found.parameters:,} parameters and {found.work}{most}."
    number = {"kind": "number"}
    section.table(
        [
            {"title": "layer", "kind": "code"},
            "kind",
            number | {"title": "output"},
            number | {"title": "parameters"},
            {"title": "share", "kind": "percent"},
            number | {"title": "multiply-adds"},
            number | {"title": "receptive field"},
            number | {"title": "neurons"},
        ],
        [_row(row) for row in found.rows],
        caption="Layers in the order of the forward pass. The receptive field is the part of "
        "the image that one value depends on, in pixels.",
        name="layers",
    )
    section.facts(
        {
            "Network": classifier.source,
            "Input": f"{' x '.join(map(str, classifier.input_shape))}, pixels in [0, 1]"
            + _normalization(classifier.mean, classifier.std),
            "Classes": len(classifier.class_names),
            "Execution": str(execution_of(classifier)),
            "Parameters": f"{found.parameters:,}, {found.trainable:,} of them trainable",
            "Multiply-adds": found.work.replace(" multiply-adds", " per image", 1),
            "Neurons": f"{found.neurons:,} values computed by convolutions and dense layers; "
            f"{found.document_neurons:,} counting filter taps, flattened values, and "
            "outputs of dense layers",
        }
    )
    section.figure(
        "network",
        svg(draw_network(found)),
        alt="Share of parameters and multiply-adds per layer",
        caption="Parameters and multiply-adds per layer.",
    )
    audit.numbers["parameters"] = found.parameters


def _row(row: LayerSummary) -> list[object]:
    shape = "–" if row.output_shape is None else " x ".join(map(str, row.output_shape))
    field = row.receptive_field
    return [
        row.name,
        row.kind if row.calls == 1 else f"{row.kind}, {row.calls} calls",
        shape,
        row.parameters,
        row.share if row.parameters else None,
        row.multiply_adds or None,
        "unknown" if field is None else f"{field[0]} x {field[1]}",
        row.neurons or None,
    ]


def _normalization(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> str:
    if mean is None and std is None:
        return ""
    means = ", ".join(f"{value:.3g}" for value in mean or (0,))
    deviations = ", ".join(f"{value:.3g}" for value in std or (1,))
    return f"; normalized inside: mean {means}, std {deviations}"


def training(audit: Audit, section: Section) -> None:
    """Curves, settings and duration of the run folder."""
    folder = audit.run_folder
    points = read_history(folder) if folder is not None else ()
    if folder is None or not points:
        section.text(
            "The network did not come from a run folder with a `metrics.csv`, so nothing is known "
            "about its training."
        )
        return
    last, best = ends(points)
    section.finding = training_finding(last, best)
    section.figure("loss", svg(loss_curve(points)), alt="Training and validation loss over the "
                   "epochs", caption="Cross-entropy. Training loss is as optimized, with "
                   "augmentation if there is any.")  # fmt: skip
    section.figure(
        "accuracy",
        svg(accuracy_curve(points)),
        alt="Training and validation accuracy over the epochs",
    )
    section.figure("error", svg(error_curve(points)), alt="Training and validation error over "
                   "the epochs", caption="Share of misclassified images, in percent.")  # fmt: skip
    section.facts(
        {
            "Last point": _words(points[-1]),
            "Lowest validation loss": _words(best),
            **_settings(folder),
            **_environment(folder),
        }
    )
    section.table(
        [
            {
                "title": name.replace("_", " "),
                "kind": "percent" if name.endswith("accuracy") else "number",
            }
            for name in COLUMNS
        ],
        [[getattr(point, name) for name in COLUMNS] for point in _few(points)],
        caption=f"{len(points)} points were measured.",
        name="curve",
    )
    if has_risen(last, best):
        audit.report.alert(
            f"Validation loss rose from {_plain(best.validation_loss)} at epoch {_epoch(best)} to "
            f"{_plain(last.validation_loss)} at the end: the network has begun to overfit.",
            section="training",
        )


def training_finding(last: Measured, best: Measured) -> str:
    """How a run ended, and its lowest validation loss.

    Args:
        last: The last point.
        best: The end of an epoch with the lowest validation loss; the last point if none is finite.
    """
    epochs = f"{_epoch(last)} {'epoch' if _epoch(last) == '1' else 'epochs'}"
    if not last.validation_images:
        return (
            f"After {epochs}: training loss {_plain(last.train_loss)}; there were no validation "
            "images."
        )
    if not isfinite(best.validation_loss):
        return f"After {epochs} no validation loss is finite."
    if not isfinite(last.validation_loss):
        ending = "validation loss is NaN or infinite"
    else:
        ending = f"validation loss {_plain(last.validation_loss)}"
    text = f"After {epochs}: validation accuracy {percent(last.validation_accuracy, 2)}, {ending}"
    if best.step == last.step:
        return f"{text}, the lowest of the run."
    return f"{text}; the lowest was {_plain(best.validation_loss)} at epoch {_epoch(best)}."


def _epoch(point: Measured) -> str:
    return f"{point.epoch:,.2f}".rstrip("0").rstrip(".")


def _plain(loss: float) -> str:
    return f"{loss:,.0f}" if loss >= 100 else f"{loss:.3g}"


def _words(point: Measured) -> str:
    if not point.validation_images:
        return f"epoch {_epoch(point)}: training loss {point.train_loss:.4g}"
    return (
        f"epoch {_epoch(point)}: training loss {point.train_loss:.4g}, validation loss "
        f"{point.validation_loss:.4g}, validation accuracy "
        f"{percent(point.validation_accuracy, 2)}"
    )


def _few(points: tuple[Measured, ...], most: int = 12) -> list[Measured]:
    step = max(1, -(-len(points) // most))
    chosen = list(points[step - 1 :: step])
    return chosen if chosen and chosen[-1] is points[-1] else [*chosen, points[-1]]


def _settings(folder: Path) -> dict[str, object]:
    try:
        s = read_settings(folder / "config.toml")
    except ConvscopeError:
        return {"Settings": "config.toml is missing or damaged"}
    return {
        "Recipe": f"{s.model} on {s.data}, preset {s.preset}, seed {s.seed}",
        "Hyper-parameters": f"{s.epochs} epochs, {s.summary()}",
        **({"First weights": MODELS[s.model].initialization} if s.model in MODELS else {}),
        "Moving average": f"{s.ema:g} per step" if s.ema else "none",
        "Adversary": f"{s.adversary}, epsilon {s.epsilon:g}" if s.adversary != "none" else "none",
    }


def _environment(folder: Path) -> dict[str, object]:
    try:
        sessions = read_json_table(folder / "env.json", ENVIRONMENT)["sessions"]
        seconds = sum(float(s.get("seconds") or 0) for s in sessions)
        last = sessions[-1]
        words = f"torch {last['torch']}, {last['threads']} threads, {last['precision']}"
    except ConvscopeError as error:
        missing = not (folder / "env.json").exists()
        return {} if missing else {"Computed with": f"env.json cannot be used: {error.what}"}
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return {"Computed with": "env.json is damaged"}
    many = f" in {len(sessions)} sessions" if len(sessions) > 1 else ""
    return {"Duration": f"{seconds:.0f} s{many}", "Computed with": words}
