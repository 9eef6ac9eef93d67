"""Look closely at a few images or units: pages and folders for ``convscope inspect``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from convscope import results
from convscope.classifier import Classifier
from convscope.errors import UsageError
from convscope.explanations import (
    EXPLANATIONS,
    LAYER_VIEWS,
    Explanation,
    FeatureMaps,
    Trust,
    passes_per_map,
)
from convscope.figures import draw
from convscope.figures import draw_feature_maps as draw_maps
from convscope.files import checked_path, disk_errors, whole_folder
from convscope.progress import announce, stage
from convscope.reports import Report, render
from convscope.studies._inspection_pages import (
    MOST_ON_PAGE,
    TRUST_LEAD,
    image_page,
    trust_section,
    unit_section,
)
from convscope.studies._inspection_tables import (
    Inspection,
    effect_rows,
    occlusion_rows,
    prediction_rows,
    trust_rows,
    unit_rows,
    write_csv,
)
from convscope.types import Images
from convscope.visualizations import Visualization


def inspect_images(
    classifier: Classifier,
    images: Images,
    *,
    show: Sequence[str],
    names: tuple[str, ...],
    labels: Tensor | None = None,
    targets: Any = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Inspection:
    """Run the named explanations and layer views on the same images.

    Says how far it is to whoever listens by `convscope.progress.watch`.

    Args:
        classifier: The network to look into.
        images: ``(batch, channel, height, width)``.
        show: Names in `EXPLANATIONS` or `LAYER_VIEWS`.
        names: What to call the images.
        labels: True classes, if known.
        targets: As explanations take them.
        settings: Keyword settings by method.
    """
    given = settings or {}
    found: dict[str, Any] = {}
    done, total = 0, sum(map(passes_per_map, show))
    for name in show:
        options, passes = dict(given.get(name, {})), passes_per_map(name)
        with stage(done / total, (done + passes) / total, name):
            if name in EXPLANATIONS:
                found[name] = EXPLANATIONS[name](classifier, images, targets, **options)
            elif LAYER_VIEWS.spec(name).takes_images:
                found[name] = LAYER_VIEWS[name](classifier, images, **options)
            else:
                found[name] = LAYER_VIEWS[name](classifier, **options)
        done += passes
        announce(done / total)
    with classifier.probe() as probe:
        logits = probe.logits(images)
    return Inspection(
        classifier=classifier,
        images=images,
        names=names,
        labels=labels,
        logits=logits,
        found=found,
    )


def write_images(work: Inspection, out: Path, *, title: str, force: bool = False) -> None:
    """A page if `out` ends in ``.html``, else a folder of pictures, tables and results."""
    if out.suffix.lower() == ".html":
        report = Report(title=title, subtitle=work.classifier.source)
        image_page(report, work)
        write_page(report, out, force=force)
        return
    with fresh_folder(out, force=force) as folder:
        for name, result in work.found.items():
            if isinstance(result, FeatureMaps):
                for row in range(min(len(work.images), MOST_ON_PAGE)):
                    draw_maps(result, row).savefig(folder / f"{name}-{row}.png", dpi=150)
            else:
                draw(result).savefig(folder / f"{name}.png", dpi=150)
            if isinstance(result, Explanation) and result.table is not None:
                rows = occlusion_rows(result.table, result.class_names, work.names)
                write_csv(folder / f"{name}.csv", rows)
            results.save(result, folder / "results" / name, force=force)
        write_csv(folder / "predictions.csv", prediction_rows(work))


def write_units(found: Visualization, out: Path, *, title: str, force: bool = False) -> None:
    """Pictures of units as a page or a folder."""
    if out.suffix.lower() == ".html":
        report = Report(title=title)
        unit_section(report, found)
        write_page(report, out, force=force)
        return
    with fresh_folder(out, force=force) as folder:
        draw(found).savefig(folder / "units.png", dpi=150)
        write_csv(folder / "units.csv", unit_rows(found))
        write_csv(folder / "effect.csv", effect_rows(found))
        results.save(found, folder / "results" / "units", force=force)


def write_trust(found: Trust, out: Path, *, title: str, force: bool = False) -> None:
    """The table of trust as a page or a folder."""
    if out.suffix.lower() == ".html":
        report = Report(title=title)
        trust_section(report.section("trust", "Whom to believe", TRUST_LEAD), found)
        write_page(report, out, force=force)
        return
    with fresh_folder(out, force=force) as folder:
        draw(found).savefig(folder / "trust.png", dpi=150)
        write_csv(folder / "trust.csv", trust_rows(found))
        results.save(found, folder / "results" / "trust", force=force)


def write_page(report: Report, out: Path, *, force: bool) -> None:
    """One HTML file and nothing else."""
    refuse_taken_file(out, force=force)
    with disk_errors(out), tempfile.TemporaryDirectory() as temporary:
        folder = report.write(Path(temporary) / "report")
        render(folder, out)


def refuse_taken_file(out: Path, *, force: bool) -> None:
    """Before the work: may `out` be written?

    Raises:
        UsageError: U13 if it exists and not `force`.
    """
    checked_path(out)
    taken = out.exists() and not (out.is_dir() and not any(out.iterdir()))
    if taken and not force:
        raise UsageError("already exists", code="U13", where=out, hint="another --out, or --force")


@contextmanager
def fresh_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when the block is through, or is not there."""
    refuse_taken_file(out, force=force)
    with whole_folder(out, force=force) as draft:
        yield draft
