"""``convscope data``: the data sets, what of them is on this machine, downloads and checks."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts

from convscope.cli._options import AcceptModified, DataDir, Json, Offline, SkipBad
from convscope.cli._output import (
    data_place,
    emit,
    next_step,
    say,
    showing_progress,
    table,
    warn,
    wrote,
)
from convscope.errors import PartlyRefused, UsageError

if TYPE_CHECKING:
    from convscope.data import AddressSpec, Dataset, Status

IntoDir = Annotated[DataDir, cyclopts.Parameter(help="Folder to put the data files into.")]


def list_data(*, data_dir: DataDir | None = None, as_json: Json = False) -> None:
    """List the data sets and whether they are on this machine.

    Args:
        data_dir: Folder that holds the data files.
        as_json: Print JSON.
    """
    from convscope.data import ADDRESSES, DATASETS, data_folder, status

    everything = [status(name, data_dir) for name in DATASETS]
    if as_json:
        emit([_row(one) for one in everything], as_json=True)
        return
    lines = [[one.name, _state(one), one.about, " ".join(_folders(one))] for one in everything]
    lines += [[spec.form, _yours(spec), spec.about, ""] for spec in ADDRESSES.specs().values()]
    table(["data set", "state", "what it is", "where"], lines)
    say(f"data folder: {data_folder(data_dir)}  (change it with --data-dir or $CONVSCOPE_DATA)")
    absent = [one.name for one in everything if one.download_bytes]
    place = data_place(data_dir)
    if absent:
        next_step("convscope data download", absent[0], *place)
    else:
        next_step("convscope data verify", *place)


def download_data(
    *names: str,
    data_dir: IntoDir | None = None,
    to: Path | None = None,
    offline: Offline = False,
) -> None:
    """Download data sets; what is here already is left alone.

    Args:
        names: Data sets of `convscope data list`.
        data_dir: Folder to put the data files into.
        to: Also pack the one data set into this tar file, for a machine without network.
        offline: Never download.
    """
    from convscope.data import download, export_data, status

    if not names:
        raise UsageError(
            "no data set was named", code="U01", expected="for example: data download mnist"
        )
    if to is not None and len(names) > 1:
        raise UsageError("--to packs one data set at a time", code="U01")
    for name, before in {name: status(name, data_dir) for name in names}.items():
        if before.ready:
            say(f"{name} is here already")
        elif not offline and before.download_bytes:
            say(f"{name}: {before.download_bytes / 1e6:,.0f} MB to download")
        with showing_progress(name):
            here = download(name, data_dir=data_dir, offline=offline)
        for path in here.files if not before.ready else ():
            wrote(path)
        if to is not None:
            wrote(export_data(name, to, data_dir=data_dir))
            say(f"copy it over; there: convscope data import {shlex.quote(to.name)}")
    if to is None:
        next_step("convscope data verify", names[0], *data_place(data_dir))


def verify_data(
    *names: str,
    data_dir: DataDir | None = None,
    skip_bad: Annotated[
        SkipBad,
        cyclopts.Parameter(
            help="Leave unreadable images of a folder out; exit with 8 if there were any."
        ),
    ] = False,
    accept_modified: AcceptModified = False,
    as_json: Json = False,
) -> None:
    """Read data sets from the first byte to the last and compare their checksums.

    Args:
        names: Data sets of `convscope data list`, or your own; all that are here by
            default.
        data_dir: Folder that holds the data files.
        skip_bad: Leave unreadable images of a folder out; exit with 8 if there were any.
        accept_modified: Go on with files whose checksum is not the registered one.
        as_json: Print JSON.
    """
    from convscope.data import DATASETS, choose_dataset, open_dataset, status

    for name in names:
        choose_dataset(name)
    chosen = names or tuple(name for name in DATASETS if status(name, data_dir).ready)
    facts = []
    refused = 0
    for name in chosen:
        with showing_progress(name):
            dataset = open_dataset(
                name,
                data_dir=data_dir,
                offline=True,
                accept_modified=accept_modified,
                skip_bad=skip_bad,
            )
        facts.append(_facts(dataset))
        refused += len(dataset.refused)
        for warning in (*dataset.warnings, *dataset.refused):
            warn(f"{name}: {warning}")
    if as_json:
        emit(facts, as_json=True)
    else:
        rows = [
            [f["name"], " / ".join(f"{n:,}" for n in f["sizes"].values()), f["classes"],
             f["verdict"], " ".join(f"{k}={v[:12]}" for k, v in f["sha256"].items())]
            for f in facts
        ]  # fmt: skip
        table(["data set", "train / validation / test", "classes", "verdict", "sha256"], rows)
    if refused:
        raise PartlyRefused(f"{refused} files were left out", code="D21")


def show_where(*names: str, data_dir: DataDir | None = None, as_json: Json = False) -> None:
    """Say where data sets lie, or would be put.

    Args:
        names: Data sets of `convscope data list`; all by default.
        data_dir: Folder that holds the data files.
        as_json: Print JSON.
    """
    from convscope.data import DATASETS, data_folder, status

    folder = data_folder(data_dir)
    found = [status(name, data_dir) for name in names or DATASETS]
    if as_json:
        files = {one.name: [str(path) for path in one.files] for one in found}
        emit({"folder": str(folder), "files": files}, as_json=True)
        return
    say(f"data folder: {folder}")
    for one in found:
        if one.files:
            emit(None, text="\n".join(str(path) for path in one.files))
        else:
            words = "built in" if one.built_in else "not here"
            say(f"{one.name}: {words if one.ready is not None else 'its record does not say'}")


def export_data(name: str, to: Path, *, data_dir: DataDir | None = None) -> None:
    """Write a data set that is here into one tar file, for a machine without a network.

    Args:
        name: A data set of `convscope data list`.
        to: The tar file to write.
        data_dir: Folder that holds the data files.
    """
    from convscope.data import export_data as write

    wrote(write(name, to, data_dir=data_dir))
    say(f"copy it over; there: convscope data import {shlex.quote(to.name)}")


def import_data(
    *sources: Path, data_dir: IntoDir | None = None, accept_modified: AcceptModified = False
) -> None:
    """Bring data files into the data folder, after opening and checking them.

    Args:
        sources: A tar file of `data export`, an official archive, or a folder with the files.
        data_dir: Folder to put the data files into.
        accept_modified: Take files whose checksum is not the registered one.
    """
    from convscope.data import import_data as bring

    if not sources:
        raise UsageError(
            "no file was named", code="U01", expected="for example: data import mnist.tar"
        )
    for source in sources:
        name, files = bring(source, data_dir=data_dir, accept_modified=accept_modified)
        for path in files:
            wrote(path)
        next_step("convscope data verify", name, *data_place(data_dir))


def _row(one: Status) -> dict[str, Any]:
    """What JSON says of a data set: its record and what of it is here."""
    from convscope.data import DATASETS

    record = DATASETS.spec(one.name)
    return {
        "name": one.name,
        "ready": one.ready,
        "about": one.about,
        "where": _folders(one),
        "download_bytes": one.download_bytes,
        "built_in": one.built_in,
        "classes": record.classes,
        "input_shape": record.shape,
        "license": record.license,
    }


def _folders(one: Status) -> list[str]:
    return sorted({str(path.parent) for path in one.files})


def _state(one: Status) -> str:
    if one.ready is None:
        return "not known"
    if one.ready:
        return "ready"
    if not one.download_bytes:
        return "missing (yours to fetch)"
    return f"missing ({one.download_bytes / 1e6:,.0f} MB)"


def _yours(spec: AddressSpec) -> str:
    """The state of data of one's own: there is none, but a library may be missing."""
    if spec.library and find_spec(spec.library) is None:
        return f"yours (needs {spec.library}: {spec.install})"
    return "yours"


def _facts(dataset: Dataset) -> dict[str, Any]:
    modified = any(warning.startswith("D24") for warning in dataset.warnings)
    return {
        "name": dataset.name,
        "source": dataset.source,
        "sizes": {split.name: len(split) for split in dataset.splits},
        "classes": len(dataset.class_names),
        "input_shape": list(dataset.input_shape),
        "verdict": "modified" if modified else "refused some" if dataset.refused else "ok",
        "sha256": dataset.hashes,
        "warnings": list(dataset.warnings),
        "refused": list(dataset.refused),
    }


def register(app: cyclopts.App) -> None:
    """Add the group of commands to the program."""
    from convscope.data import DATASETS

    known = ", ".join(DATASETS)
    group = cyclopts.App(
        name="data", help=f"Data sets ({known}, your folders): find, download, check them."
    )
    app.command(group)
    group.command(list_data, name="list")
    group.command(download_data, name="download")
    group.command(verify_data, name="verify")
    group.command(show_where, name="where")
    group.command(export_data, name="export")
    group.command(import_data, name="import")
    group.command(download_data, name="get", show=False)  # what they were called once
    group.command(import_data, name="add", show=False)
