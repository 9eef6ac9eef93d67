"""What do the layers compute?"""

from __future__ import annotations

from convscope.explanations import feature_maps, filters
from convscope.figures import filter_caption, filter_sheet, map_caption, map_sheet, pixels, png
from convscope.reports import Section
from convscope.studies._context import Audit, name_of

DEAD_TEST = 64
"""Images that a map must ignore to be called dead."""


def filter_pictures(audit: Audit, section: Section) -> None:
    """The filters of the first convolution, and of the next one the part that sees map 0."""
    layers = [x.name for x in audit.classifier.layers() if x.kind == "Conv2d"]
    for i, layer in enumerate(layers[:2]):
        found = filters(audit.classifier, layer)
        sheet = filter_sheet(found)
        section.picture(
            f"filters-{layer}",
            png(sheet),
            alt=filter_caption(found),
            caption=filter_caption(found) + ". Each is stretched by itself: black is its smallest "
            f"weight, white its largest; weights range from {float(found.low.min()):.3g} to "
            f"{float(found.high.max()):.3g}.",
            scale=max(1, min(12, 640 // sheet.shape[1])),
        )
        if i == 0 and len(layers) > 2:
            section.text(f"The network has {len(layers)} convolutions; the first two are shown.")


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
            png(pixels(images[row])),
            alt=f"Test image, {true}",
            caption=f"Test image {int(audit.shown_rows[row])}: {true}.",
            scale=audit.scale,
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
    _dead(audit, section, [layer.layer for layer in found.layers])


def _dead(audit: Audit, section: Section, layers: list[str]) -> None:
    """Judged on more images than are shown: a map may well be silent for two."""
    many = feature_maps(audit.classifier, audit.test.floats(slice(0, DEAD_TEST)), layers)
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
                f"{len(dead)} of {layer.maps.shape[1]} maps of {layer.layer_label} are dead: "
                f"the same value everywhere on {len(many.images)} test images.",
                section="feature-maps",
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
        caption=f"Judged on {len(many.images)} test images. Selective maps answer to one image "
        "much more than to the others.",
        name="maps",
    )
