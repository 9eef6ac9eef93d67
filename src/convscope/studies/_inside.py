"""The audit's sections of filters, feature maps, and optimized images of neurons and classes."""

from __future__ import annotations

from convscope.explanations import Filters, feature_maps, filters, selected_maps
from convscope.figures import (
    ascent_curve,
    filter_caption,
    filter_sheet,
    lossless,
    map_caption,
    map_sheet,
    percent,
    pixels,
    png,
    svg,
)
from convscope.pages import name_of, picture_rows, selected_galleries, some_are
from convscope.reports import Section
from convscope.studies._context import Audit
from convscope.visualizations import Visualization, class_images, neuron_images

MOST = 10
QUICK = 5
FEW = 3
"""Optimized images where images are large."""
MOST_TOLD = 3
"""Failed classes named in an alert."""

DEEP = 112
"""Sides in pixels from which a layer has more maps than one looks at: some are selected, too."""

DEAD_TEST = (64, 16)
"""Images for which a map must be constant to be called dead: small ones, large ones."""


def neurons(audit: Audit, section: Section) -> None:
    """The central neuron of some maps of the last pooling (or convolution), and its effect."""
    layer = late_layer(audit)
    if layer is None:
        section.text("The network has no layer of maps.")
        return
    name, channels = layer
    count = min(audit.sized(QUICK if audit.effort == "quick" else MOST, FEW), channels)
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
    if found.max_dataset_activation is not None:
        above = int((found.activations > found.max_dataset_activation).sum())
        where = f" (`{found.layer_label}`)" if found.layer_label else ""
        section.finding = (
            f"{some_are(above, len(found.units), 'neuron')} driven higher by the optimized image "
            f"than by any of the {len(audit.reference):,} reference images{where}."
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
    """Which classes an image of a neuron raises and lowers."""
    if found.effect is None:
        return
    rows = []
    for i, unit in enumerate(found.units):
        effect = found.effect[i]
        raised, lowered = int(effect.argmax()), int(effect.argmin())
        largest = found.max_dataset_activation
        rows.append(
            [
                unit,
                float(found.activations[i]),
                None if largest is None else float(largest[i]),
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
        caption="What each image does to the logits, against the mean over real images.",
        name="effects",
    )


def filter_pictures(audit: Audit, section: Section) -> None:
    """The filters of the first convolution, and of the next one the part that sees map 0."""
    layers = [x.name for x in audit.classifier.layers() if x.kind == "Conv2d"]
    if not layers:
        section.text("The network has no convolutions.")
    for i, layer in enumerate(layers[:2]):
        found = filters(audit.classifier, layer)
        sheet = filter_sheet(found)
        if i == 0:
            section.finding = _filters_finding(found, len(layers))
        section.picture(
            f"filters-{layer}",
            png(sheet),
            alt=filter_caption(found),
            caption=filter_caption(found)
            + ". Each is stretched independently: black is its smallest "
            f"weight, white its largest; weights range from {float(found.low.min()):.3g} to "
            f"{float(found.high.max()):.3g}.",
            scale=max(1, min(12, 700 // sheet.shape[1])),
        )
        if i == 0 and len(layers) > 2:
            section.text(f"The network has {len(layers)} convolutions; the first two are shown.")


def _filters_finding(found: Filters, layers: int) -> str:
    """How many filters the first of some convolutions has, and the range of their weights."""
    count, *shape = found.weights.shape
    first = "The only convolution" if layers == 1 else f"The first of {layers} convolutions"
    named = f", `{found.layer_label}`," if found.layer_label else ""
    return (
        f"{first}{named} has {count:,} {'filter' if count == 1 else 'filters'} of "
        f"{' x '.join(map(str, shape))} weights, from {float(found.low.min()):.3g} to "
        f"{float(found.high.max()):.3g}."
    )


def maps(audit: Audit, section: Section) -> None:
    """Feature maps in an early, a middle and a late layer (the late one twice); dead maps."""
    images, labels = audit.shown
    count = 1 if audit.effort == "quick" else 2
    images, labels = images[:count], labels[:count]
    found = feature_maps(audit.classifier, images)
    for row in range(len(images)):
        true = name_of(audit.classifier.class_names, int(labels[row]))
        section.picture(
            f"image-{row}",
            lossless(pixels(images[row])),
            alt=f"Test image, {true}",
            caption=f"Test image {int(audit.shown_rows[row])}: {true}.",
            scale=audit.scale,
            address=f"image/{audit.test.position(int(audit.shown_rows[row]))}",
        )
        for layer in found.layers if row == 0 else found.layers[-1:]:
            side = max(layer.maps.shape[2:])
            sheet = map_sheet(layer, row, columns=16 if side <= 16 else 8)
            section.picture(
                f"{layer.layer}-{row}",
                png(sheet),
                alt=f"Feature maps of {layer.layer_label} for {true}",
                caption=map_caption(layer) + ", each stretched from black to white.",
                scale=max(1, min(4, 760 // sheet.shape[1])),
            )
    if min(images.shape[2:]) >= DEEP:
        section.text("The most interesting maps of each layer for the first of these images.")
        selected_galleries(section, selected_maps(audit.classifier, images[:1]), 0)
    _dead(audit, section, [layer.layer for layer in found.layers])


def _dead(audit: Audit, section: Section, layers: list[str]) -> None:
    """Dead maps among more images than are shown: a map may well be constant for two."""
    tested_rows = slice(0, audit.sized(*DEAD_TEST))
    many = feature_maps(audit.classifier, audit.test.to_float(tested_rows), layers)
    tested = "1 test image" if len(many.images) == 1 else f"{len(many.images)} test images"
    rows = []
    for layer in many.layers:
        dead = layer.dead.nonzero()[:, 0].tolist()
        best = layer.most_selective[:5].tolist()
        rows.append(
            [
                layer.layer_label,
                layer.maps.shape[1],
                {"value": len(dead), "tone": "warn" if dead else ""},
                ", ".join(map(str, best)),
                float(layer.low.min()),
                float(layer.high.max()),
            ]
        )
        if dead:
            audit.report.alert(
                f"{some_are(len(dead), layer.maps.shape[1], 'map')} dead in {layer.layer_label}: "
                f"the same value everywhere on {tested}.",
                section="feature-maps",
            )
    counts = [(int(layer.dead.sum()), layer.maps.shape[1]) for layer in many.layers]
    dead_maps, all_maps = sum(dead for dead, _ in counts), sum(count for _, count in counts)
    shown = "the layer" if len(counts) == 1 else f"the {len(counts)} layers"
    section.finding = (
        f"{some_are(dead_maps, all_maps, 'map')} dead in {shown} shown: the same value everywhere "
        f"on {tested}."
    )
    number = {"kind": "number"}
    section.table(
        [
            {"title": "layer", "kind": "code"},
            number | {"title": "maps"},
            number | {"title": "dead"},
            "most selective",
            number | {"title": "smallest"},
            number | {"title": "largest"},
        ],
        rows,
        caption=f"Evaluated on {tested}. Selective maps are much more "
        "active for one image than for the others.",
        name="maps",
    )


def class_pictures(audit: Audit, section: Section) -> None:
    """An optimized image per class, with controls and the ascent."""
    classes = sorted(audit.classes(audit.sized(MOST, FEW)))
    found = class_images(
        audit.classifier,
        classes,
        reference=audit.reference,
        evaluator=audit.judge,
        generator=audit.generator(20),
    )
    right = found.predicted_as_intended
    if right is not None:
        section.finding = (
            f"{some_are(int(right.sum()), len(right), 'optimized image')} predicted as the "
            "intended class."
        )
    picture_rows(section, found, audit.scale)
    failures(audit, section, found)
    section.figure(
        "ascent",
        svg(ascent_curve(found)),
        alt="Objective over the steps of the ascent",
        caption="The objective that was climbed, step by step.",
    )
    rows = []
    for i, unit in enumerate(found.units):
        largest = found.max_dataset_activation
        top = int(found.logits[i].argmax())
        share = float(found.logits[i].softmax(dim=0)[int(found.channels[i])])
        rows.append(
            [
                unit,
                float(found.activations[i]),
                None if largest is None else float(largest[i]),
                share,
                {
                    "value": name_of(found.class_names, top),
                    "tone": "" if top == int(found.channels[i]) else "bad",
                },
            ]
        )
    number = {"kind": "number"}
    section.table(
        [
            "class",
            number | {"title": "logit reached"},
            number | {"title": "largest on real images"},
            {"title": "probability", "kind": "percent"},
            "predicted as",
        ],
        rows,
        caption="The last column is what this network predicts for the image that was optimized "
        "for the class. A logit far above that of any real image means: this is not a typical "
        "member of the class, but an exaggeration.",
        name="classes",
    )
    section.facts(
        {"recipe": found.recipe, **{k.replace("_", " "): str(v) for k, v in found.settings.items()}}
    )
    held_out(section, found)


def failures(audit: Audit, section: Section, found: Visualization) -> None:
    """Say which images the network does not predict as what they were optimized for."""
    for flag in found.flags:
        section.note(f"{flag[:1].upper()}{flag[1:]}.", level="warning")
    right = found.predicted_as_intended
    if right is None or bool(right.all()):
        return
    wrong = (~right).nonzero()[:, 0].tolist()
    told = []
    for i in wrong[:MOST_TOLD]:
        top = int(found.logits[i].argmax())
        share = float(found.logits[i].softmax(dim=0)[int(found.channels[i])])
        real = (
            ""
            if found.max_dataset_activation is None
            else f"; best real image {float(found.max_dataset_activation[i]):.4g}"
        )
        told.append(
            f"{found.units[i]} is predicted as {name_of(found.class_names, top)} "
            f"({found.units[i]} {percent(share, 2)}, logit {float(found.activations[i]):.4g}{real})"
        )
    more = f"; and {len(wrong) - MOST_TOLD} more" if len(wrong) > MOST_TOLD else ""
    audit.report.alert(
        f"{some_are(len(wrong), len(found.units), 'optimized image')} not predicted as the "
        f"intended class: {'; '.join(told)}{more}. These do not show what the network learned.",
        level="warning",
        section=section.id,
    )


def held_out(section: Section, found: Visualization) -> None:
    """Predictions of an independent network for the images."""
    verdict = found.held_out
    if verdict is None:
        section.text(
            "No independently trained network was given as a held-out evaluator, so nothing here "
            "says whether others recognize these images."
        )
        return
    count = len(found.units)
    mean = percent(float(verdict.probabilities.mean()), 0)
    section.text(
        f"A held-out evaluator ({verdict.source}) classifies {verdict.correct} of {count} as the "
        f"class they were optimized for, with a mean probability of {mean}."
    )
