"""The environment of a run, and the model card that records it."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convscope import files
from convscope._identity import images_digest, machine
from convscope.data import Dataset, known_digest
from convscope.errors import ConvscopeError, DataError, printable
from convscope.models import MODELS
from convscope.training._checkpoints import write_atomically
from convscope.training._events import Measured
from convscope.training._settings import TrainSettings
from convscope.training._stopping import exported_row

NAME = "env.json"


def fingerprint(*, precision: str, device: str, processes: int) -> dict[str, str | int]:
    """Everything that the bits of a run depend on, besides settings and data."""
    return {
        **machine(),
        "processes": processes,
        "precision": precision,
        "device": device if device == "cpu" else torch.cuda.get_device_name(),
    }


def data_digest(dataset: Dataset) -> str:
    """SHA-256 over the pixels and labels of the training and validation images."""
    parts = (dataset.train, dataset.validation)
    known = known_digest([part.images for part in parts], [part.labels for part in parts])
    return images_digest(*parts) if known is None else known


@dataclass
class Environment:
    """The contents of ``env.json``.

    Args:
        path: The file.
        content: What it holds.
    """

    path: Path
    content: dict[str, Any]

    @classmethod
    def open(
        cls,
        folder: Path,
        dataset: Dataset,
        *,
        precision: str,
        device: str,
        processes: int,
        step: int,
        total: int,
    ) -> tuple[Environment, list[str]]:
        """Start a session: read the file of earlier ones, compare, write.

        Args:
            folder: The run folder.
            dataset: The data of this session.
            precision: Arithmetic of this session.
            device: ``"cpu"`` or ``"cuda"``.
            processes: World size.
            step: Updates done before this session.
            total: Updates of the whole run; a session without work leaves no mark.

        Returns:
            The environment, and one sentence for each difference that voids the bitwise promise.

        Raises:
            DataError: D24, the data set is not the one the run began with.
        """
        now = fingerprint(precision=precision, device=device, processes=processes)
        digest = data_digest(dataset)
        path = folder / NAME
        drift: list[str] = []
        before: dict[str, Any] = {}
        if step:
            try:
                before = read_environment(path)
            except ConvscopeError as error:
                drift.append(
                    f"{NAME} cannot be used ({error.what}): whether data and software are those "
                    "of the start is not known; not bit-exact from here on"
                )
        sessions = list(before.get("sessions", []))
        if before:
            recorded = before.get("data", {}).get("sha256")
            if recorded != digest:
                raise DataError(
                    "the images or labels changed since this run began",
                    code="D24",
                    where=dataset.source,
                    expected=f"data with SHA-256 {str(recorded)[:16]}...",
                    hint="bring the old data back, or train into another folder",
                )
            if step == total:
                return cls(path, before), []
            last = sessions[-1] if sessions else {}
            drift += [
                f"{key} {last.get(key)} -> {value}: not bit-exact from here on"
                for key, value in now.items()
                if last.get(key) != value
            ]
        started = datetime.now(UTC).isoformat(timespec="seconds")
        sessions.append({**now, "from_step": step, "started": started, "drift": drift})
        content = {
            "schema": 1,
            "convscope": _version("convscope"),
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "system": platform.system(),
            "data": {
                "name": dataset.name,
                "source": dataset.source,
                "sha256": digest,
                "files": dict(dataset.hashes),
            },
            "bit_exact": not drift and bool(before.get("bit_exact", True)),
            "sessions": sessions,
        }
        environment = cls(path, content)
        environment.write()
        return environment, drift

    def finish(self, seconds: float) -> None:
        """Note how long this session took."""
        self.content["sessions"][-1].setdefault("seconds", round(seconds, 3))
        self.write()

    def write(self) -> None:
        """Replace the file."""
        write_atomically(self.path, json.dumps(self.content, indent=2).encode())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def read_environment(path: Path) -> dict[str, Any]:
    """What an ``env.json`` holds, as far as anything here relies on it.

    Raises:
        CheckpointError: Missing, damaged, or of another form.
        ResourceError: It may not be read.
    """
    environment = files.read_json_table(path, files.ENVIRONMENT)
    sessions, data = environment.get("sessions"), environment.get("data", {})
    if not isinstance(sessions, list) or not all(isinstance(one, dict) for one in sessions):
        raise files.ENVIRONMENT.error(
            f"sessions is {str(sessions)[:40]!r}, not a list of sessions", code="C08", where=path
        )
    if not isinstance(data, dict):
        raise files.ENVIRONMENT.error("data is not a table", code="C08", where=path)
    return environment


def model_card(
    settings: TrainSettings,
    dataset: Dataset,
    history: Sequence[Measured],
    *,
    bit_exact: bool,
    flops: int = 0,
    tta_accuracy: float = math.nan,
) -> str:
    """The text of a run's ``README.md``.

    It has no dates, so that a resumed run writes the same bytes as one that was left alone.

    Args:
        settings: What was trained.
        dataset: On what.
        history: The rows of ``metrics.csv``.
        bit_exact: Whether every session of the run had the same software and threads.
        flops: Floating-point operations of the whole run.
        tta_accuracy: Validation accuracy with test-time augmentation; NaN: not measured.
    """
    last = exported_row(history, settings.patience)
    classes = ", ".join(printable(name, 40) for name in dataset.class_names[:20])
    more = ", ..." if len(dataset.class_names) > 20 else ""
    exported = "moving average of the parameters" if settings.ema else "parameters of the last step"
    if last is None:
        result = "| validation accuracy | not trained |\n"
    elif last.validation_images:
        result = (
            f"| validation accuracy | {last.validation_accuracy:.2%} "
            f"of {last.validation_images} |\n"
            f"| validation loss | {last.validation_loss:.4f} |\n"
        )
    else:
        result = "| validation accuracy | no validation images: all were trained on |\n"
    if not math.isnan(tta_accuracy):
        result += f"| with {settings.tta} test-time augmentation | {tta_accuracy:.2%} |\n"
    if last is not None:
        result += (
            f"| training accuracy (augmented images, last interval) | {last.train_accuracy:.2%} |\n"
        )
    if last is not None and flops:
        result += f"| floating-point operations (3 x forward x images shown) | {flops:.3g} |\n"
    start = (
        f"| first weights | {MODELS[settings.model].initialization} |\n"
        if settings.model in MODELS
        else ""
    )
    shown = dataset.name if dataset.name == settings.data else f"{settings.data} ({dataset.name})"
    adversary = (
        f"Trained against {settings.adversary} in an L-infinity ball of {settings.epsilon:g}.\n"
        if settings.adversary != "none"
        else "Not trained against adversaries: small changes of an image can change its class.\n"
    )
    return f"""# {printable(settings.model)} trained on {printable(shown)}

| | |
|---|---|
| network | {printable(settings.model)} |
| data | {printable(shown)}: {len(dataset.train)} training, {len(dataset.validation)} validation images |
| classes | {classes}{more} |
| recipe | {settings.preset}, {settings.epochs} epochs of {settings.optimizer}, seed {settings.seed} |
| hyper-parameters | {settings.summary()} |
{start}| exported | {exported} |
{result}| same bits when repeated on the same machine and threads | {"yes" if bit_exact else "no: see env.json"} |

Input: {dataset.input_shape[0]}x{dataset.input_shape[1]}x{dataset.input_shape[2]} images with pixels in [0, 1];
`config.json` holds the normalization, which is part of the classifier.

The test images were not used. Evaluate the classifier once, when all choices are made:

    convscope eval RUN_FOLDER --data {printable(settings.data)}

## Limits
It knows only the classes above and predicts one of them for any image.
{adversary}
## Files
`model.safetensors` + `config.json`: the classifier. `config.toml`: every setting; `convscope train --config` repeats the run.
`metrics.csv`: curves by step. `env.json`: versions, threads, SHA-256 of the data. `checkpoints/`: state to resume from.
"""  # noqa: E501
