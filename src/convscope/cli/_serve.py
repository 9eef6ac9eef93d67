"""``convscope serve``: networks in a page on this machine, and a shelf of experiments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cyclopts

from convscope.cli._opened import opened_data, opened_network
from convscope.cli._options import (
    NOTHING,
    AcceptModified,
    Common,
    DataDir,
    DataName,
    Device,
    Offline,
    OwnNetwork,
    SkipBad,
    SplitName,
    check_names,
    check_number,
)
from convscope.cli._output import say
from convscope.cli._serve_methods import served_methods
from convscope.errors import UsageError

if TYPE_CHECKING:
    from convscope.serve import ServedNetwork

PORT = 7860
SMALL = 64
"""Sides in pixels up to which one thread is quicker than several for a single image."""

Models = Annotated[str, cyclopts.Parameter(help="Networks, by what commands call MODEL.")]


def serve(
    *models: Models,
    data: DataName | None = None,
    split: SplitName | None = None,
    folder: Path | None = None,
    port: int = PORT,
    open_page: Annotated[bool, cyclopts.Parameter(name="--open", negative="")] = False,
    data_dir: DataDir | None = None,
    device: Device = "cpu",
    skip_bad: SkipBad = False,
    accept_modified: AcceptModified = False,
    offline: Offline = False,
    network: OwnNetwork = NOTHING,
) -> None:
    """Serve networks to a browser on this machine: predict, explain, fool, compare runs.

    The page of playable reports for networks of any size, computed here: draw, drop or paste an
    image, and run every explanation, attack and recipe with its settings. With --folder also runs,
    reports and studies, two runs side by side, and the curves of a run in progress. It listens at
    127.0.0.1 alone and wants the token in the address that it prints. Ctrl-C ends it.

    Args:
        models: Networks.
        data: The data set: example images, and what methods learn from that need many.
        split: Of the data: train, validation, test or all; by default as for `convscope eval`.
        folder: A folder with runs, reports and studies; it is only read.
        port: To listen at; 0: any that is free.
        open_page: Open the page in the browser.
        data_dir: Folder that holds the data files.
        device: Where the networks run: cpu, cuda, or auto (cuda if there is one).
        skip_bad: Leave files out that cannot be read.
        accept_modified: Go on with data files whose checksum is not the known one.
        offline: Never download.
        network: What the files of a network of your own do not say.
    """
    if not models and folder is None:
        raise UsageError(
            "nothing to serve",
            code="U01",
            expected="such as convscope serve mnist-conv2-fc --data digits, or --folder runs",
        )
    check_number("--port", port, least=0, most=65535)
    check_names(models=models, data=data)
    if folder is not None and not folder.is_dir():
        raise UsageError("no such folder", code="U02", where=folder, hint="--folder runs")
    from convscope.serve import needs_web

    needs_web()
    common = Common(
        data_dir=data_dir, device=device, skip_bad=skip_bad, accept_modified=accept_modified,
        offline=offline,
    )  # fmt: skip
    served = [opened(model, data, split, common, network) for model in models]
    if served and "OMP_NUM_THREADS" not in os.environ and all(_is_small(one) for one in served):
        import torch

        torch.set_num_threads(1)
    from convscope.serve import run_server

    def started(address: str) -> None:
        print(address, flush=True)
        say("open this address in a browser on this machine; Ctrl-C ends the server")
        if open_page:
            import webbrowser

            webbrowser.open(address)

    run_server(served, served_methods(), folder=folder, port=port, on_start=started)
    say("the server has ended")


def opened(
    model: str, data: str | None, split: str | None, common: Common, network: OwnNetwork
) -> ServedNetwork:
    """A network with its data, ready to be served."""
    from convscope.serve import ServedNetwork

    classifier = opened_network(model, named=True, network=network, device=common.device)
    if data is None:
        return ServedNetwork(name=model, classifier=classifier)
    found = opened_data(classifier, data, split=split, common=common, labels_needed=False)
    return ServedNetwork(
        name=model, classifier=classifier, dataset=found.dataset, data=found.split,
        labeled=found.labeled,
    )  # fmt: skip


def _is_small(served: ServedNetwork) -> bool:
    return max(served.classifier.input_shape[1:]) <= SMALL


def register(app: cyclopts.App) -> None:
    """Add the command."""
    app.command(serve)
