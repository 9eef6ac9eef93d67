"""What do single neurons look for?"""

from __future__ import annotations

from convscope.reports import Section
from convscope.studies._context import Audit, name_of
from convscope.studies._visualizations import picture_rows
from convscope.visualizations import Visualization, neuron_images

MOST = 10
QUICK = 5


def neurons(audit: Audit, section: Section) -> None:
    """The central neuron of some maps of the last pooling (or convolution), and its effect."""
    layer = late_layer(audit)
    if layer is None:
        section.text("The network has no layer of maps.")
        return
    name, channels = layer
    count = min(QUICK if audit.effort == "quick" else MOST, channels)
    found = neuron_images(
        audit.classifier,
        f"{name}:0-{count - 1}",
        at="center",
        reference=audit.reference,
        generator=audit.generator(30),
    )
    section.text(
        f"The central neuron of the first {count} of {channels} maps of `{found.layer_label}`; "
        f"recipe `{found.recipe}`."
    )
    picture_rows(section, found, audit.scale)
    for flag in found.flags:
        section.note(f"{flag[:1].upper()}{flag[1:]}.", level="warning")
    effects(section, found)


def late_layer(audit: Audit) -> tuple[str, int] | None:
    """Name and channels of the last pooling that leaves maps, else of the last convolution."""
    spatial = [
        x
        for x in audit.classifier.layers()
        if x.is_leaf and len(x.output_shape) == 3 and max(x.output_shape[1:]) > 1
    ]
    pooled = [x for x in spatial if "Pool" in x.kind]
    chosen = pooled or [x for x in spatial if x.kind == "Conv2d"]
    return (chosen[-1].name, chosen[-1].output_shape[0]) if chosen else None


def effects(section: Section, found: Visualization) -> None:
    """Which classes a picture of a neuron raises and lowers."""
    if found.effect is None:
        return
    rows = []
    for i, unit in enumerate(found.units):
        effect = found.effect[i]
        raised, lowered = int(effect.argmax()), int(effect.argmin())
        natural = None if found.natural is None else float(found.natural[i])
        rows.append(
            [
                unit,
                float(found.activations[i]),
                natural,
                f"{name_of(found.class_names, raised)} (+{float(effect[raised]):.3g})",
                f"{name_of(found.class_names, lowered)} ({float(effect[lowered]):.3g})",
            ]
        )
    number = {"kind": "number"}
    section.table(
        [
            {"title": "neuron", "kind": "code"},
            number | {"title": "activation reached"},
            number | {"title": "largest on real images"},
            "raises most",
            "lowers most",
        ],
        rows,
        caption="What each picture does to the logits, against the mean over real images.",
        name="effects",
    )
