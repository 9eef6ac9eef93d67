"""Architecture section: layers, parameters, multiply-adds, receptive fields."""

from __future__ import annotations

from convscope._execution import execution_of
from convscope.figures import draw_network, svg
from convscope.models import LayerSummary, summarize
from convscope.reports import Section
from convscope.studies._context import Audit


def architecture(audit: Audit, section: Section) -> None:
    """The layer table, totals, and the shares of parameters and multiply-adds."""
    classifier = audit.classifier
    found = summarize(classifier.module, classifier.input_shape)
    largest = max(found.rows, key=lambda row: row.parameters, default=None)
    section.finding = f"{found.parameters:,} parameters and {found.work}" + (
        f"; {100 * largest.share:.1f} % of the parameters are in {largest.name}."
        if largest is not None and largest.parameters
        else "."
    )
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
            f"{found.document_neurons:,} as the course documents count (filter taps, flattened "
            "values, outputs of dense layers)",
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
