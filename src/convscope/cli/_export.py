"""``convscope export``: a network in the format of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts

from convscope.cli._opened import opened_network
from convscope.cli._options import (
    NOTHING,
    Device,
    Flag,
    Force,
    Json,
    ModelName,
    OwnNetwork,
    check_names,
)
from convscope.cli._output import emit, wrote
from convscope.errors import UsageError, choose
from convscope.models import EXPORTS

Format = Annotated[
    str,
    cyclopts.Parameter(
        help=" ".join(f"{name}: {spec.about}" for name, spec in EXPORTS.specs().items())
    ),
]


def export(
    model: ModelName,
    /,
    *,
    to: Format,
    out: Path | None = None,
    allow_nonfinite: Flag = False,
    force: Force = False,
    device: Device = "cpu",
    as_json: Json = False,
    network: OwnNetwork = NOTHING,
) -> None:
    """Write a network in another format, load it again and compare the logits.

    Args:
        model: Any MODEL but a black box.
        to: Format.
        out: File or folder; by default "network" with the ending of the format, here.
        allow_nonfinite: Load weights with NaN or infinity.
        force: Write over what is there.
        device: Where the network runs that is compared with what was written.
        as_json: Print JSON.
        network: What the files of a network of your own do not say.
    """
    name = choose("format", EXPORTS.known(to), EXPORTS)
    check_names(models=[model])
    place = out or Path(f"network{EXPORTS.spec(name).ending}")
    ending = EXPORTS.spec(name).ending
    if place.suffix != ending and (ending or place.suffix in ENDINGS):
        raise UsageError(
            f"--out {place.name!r}",
            code="U03",
            expected=f"a file that ends in {ending}" if ending else "a folder",
        )
    if place.exists() and not force:
        raise UsageError(
            "already exists", code="U13", where=place, hint="another --out, or --force"
        )
    classifier = opened_network(
        model, network=network, device=device, allow_nonfinite=allow_nonfinite
    )
    from convscope.models import export_model

    done = export_model(classifier, name, place, force=force)
    if as_json:
        emit(done, as_json=True)
        return
    wrote(place)
    if done["reload"] is None:
        emit(None, text=f"weights for the code of the network: MODULE:FACTORY --weights {place}")
    else:
        emit(
            None,
            text=f"loads again as {done['reload']}; logits differ by "
            f"{done['difference']:.1e} of the largest",
        )


ENDINGS = tuple(spec.ending for spec in EXPORTS.specs().values() if spec.ending)
"""Of files."""


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(export, name="export")
