"""``convscope data``: which data sets there are, where they lie, getting and checking them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cyclopts

from convscope.cli._options import Flag, Json
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
    from convscope.data import Dataset


def list_data(*, data_dir: Path | None = None, as_json: Json = False) -> None:
    """List the data sets and whether they are on this machine.

    Args:
        data_dir: Folder that holds the data files.
        as_json: Print JSON.
    """
    from convscope.data import DATASETS, data_folder, stored

    everything = [stored(name, data_dir) for name in DATASETS]
    rows: list[dict[str, Any]] = [
        {
            "name": one.name,
            "ready": one.ready,
            "about": one.about,
            "where": sorted({str(path.parent) for path in one.files}),
            "download_bytes": one.download_bytes,
        }
        for one in everything
    ]
    if as_json:
        emit(rows, as_json=True)
        return
    lines = [[r["name"], _state(r), r["about"], " ".join(r["where"])] for r in rows]
    layouts = "class folders, images with a list of labels, or images named by class"
    lines.append(["folder:DIRECTORY", "yours", layouts, ""])
    table(["data set", "state", "what it is", "where"], lines)
    say(f"data folder: {data_folder(data_dir)}  (change it with --data-dir or $CONVSCOPE_DATA)")
    absent = [one.name for one in everything if one.download_bytes]
    place = data_place(data_dir)
    next_step(
        f"convscope data get {absent[0]}{place}" if absent else f"convscope data verify{place}"
    )


def get_data(
    *names: str,
    data_dir: Path | None = None,
    to: Path | None = None,
    offline: Flag = False,
) -> None:
    """Download data sets; what is here already is left alone.

    Args:
        names: mnist, cifar10.
        data_dir: Folder to put them into.
        to: Also pack the one data set into this tar file, for a machine without network.
        offline: Never download.
    """
    from convscope.data import choose_dataset, get, pack, stored

    if not names:
        raise UsageError(
            "no data set was named", code="U01", expected="for example: data get mnist"
        )
    if to is not None and len(names) > 1:
        raise UsageError("--to packs one data set at a time", code="U01")
    for name in names:
        if choose_dataset(name).startswith("folder:"):
            raise UsageError(f"{name} is a folder of yours: there is nothing to get", code="U01")
    for name in names:
        before = stored(name, data_dir)
        if before.ready:
            say(f"{name} is here already")
        elif not offline and before.download_bytes:
            say(f"{name}: {before.download_bytes / 1e6:,.0f} MB to download")
        with showing_progress(name) as step:
            here = get(name, data_dir=data_dir, offline=offline, progress=step)
        for path in here.files if not before.ready else ():
            wrote(path)
        if to is not None:
            wrote(pack(name, to, data_dir=data_dir))
            say(f"copy it over; there: convscope data add {shlex.quote(to.name)}")
    if to is None:
        next_step(f"convscope data verify {names[0]}{data_place(data_dir)}")


def verify_data(
    *names: str,
    data_dir: Path | None = None,
    skip_bad: Flag = False,
    accept_modified_data: Flag = False,
    as_json: Json = False,
) -> None:
    """Read data sets from the first byte to the last and compare their checksums.

    Args:
        names: digits, mnist, ..., folder:DIRECTORY; all that are here by default.
        data_dir: Folder that holds the data files.
        skip_bad: Leave unreadable images of a folder out; exit with 8 if there were any.
        accept_modified_data: Go on with files whose checksum is not the registered one.
        as_json: Print JSON.
    """
    from convscope.data import DATASETS, choose_dataset, open_dataset, stored

    for name in names:
        choose_dataset(name)
    chosen = names or tuple(name for name in DATASETS if stored(name, data_dir).ready)
    facts = []
    refused = 0
    for name in chosen:
        with showing_progress(name) as step:
            dataset = open_dataset(
                name,
                data_dir=data_dir,
                offline=True,
                accept_modified=accept_modified_data,
                skip_bad=skip_bad,
                progress=step,
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


def show_where(*names: str, data_dir: Path | None = None, as_json: Json = False) -> None:
    """Say where data sets lie, or would be put.

    Args:
        names: digits, mnist, cifar10, shapes, pets; all by default.
        data_dir: Folder that holds the data files.
        as_json: Print JSON.
    """
    from convscope.data import DATASETS, choose_dataset, data_folder, stored

    folder = data_folder(data_dir)
    for name in names:
        if choose_dataset(name).startswith("folder:"):
            raise UsageError(f"{name} lies where it says", code="U01", expected=", ".join(DATASETS))
    found = {
        name: [str(path) for path in stored(name, data_dir).files] for name in names or DATASETS
    }
    if as_json:
        emit({"folder": str(folder), "files": found}, as_json=True)
        return
    say(f"data folder: {folder}")
    for name, files in found.items():
        if files:
            emit(None, text="\n".join(files))
        else:
            say(f"{name}: {'built in' if stored(name, data_dir).ready else 'not here'}")


def add_data(
    *sources: Path, data_dir: Path | None = None, accept_modified_data: Flag = False
) -> None:
    """Bring data files into the data folder, after opening and checking them.

    Args:
        sources: A tar file of `data get --to`, an official archive, or a folder with the files.
        data_dir: Folder to put them into.
        accept_modified_data: Take files whose checksum is not the registered one.
    """
    from convscope.data import add

    if not sources:
        raise UsageError(
            "no file was named", code="U01", expected="for example: data add mnist.tar"
        )
    for source in sources:
        name, files = add(source, data_dir=data_dir, accept_modified=accept_modified_data)
        for path in files:
            wrote(path)
        next_step(f"convscope data verify {name}{data_place(data_dir)}")


def _state(row: dict[str, Any]) -> str:
    if row["ready"]:
        return "ready"
    if not row["download_bytes"]:
        return "missing (yours to fetch)"
    return f"missing ({row['download_bytes'] / 1e6:,.0f} MB)"


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
    group = cyclopts.App(name="data", help="Data sets: list, get, verify, where, add.")
    app.command(group)
    group.command(list_data, name="list")
    group.command(get_data, name="get")
    group.command(verify_data, name="verify")
    group.command(show_where, name="where")
    group.command(add_data, name="add")
