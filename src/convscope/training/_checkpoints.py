"""Checkpoints: the state of a run, written whole, read back bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from convscope import files
from convscope.errors import CheckpointError, ConvscopeError, DataError
from convscope.files import disk_errors as _disk_errors
from convscope.training import _faults
from convscope.training._batches import CPU
from convscope.training._objective import Objective
from convscope.training._optim import (
    EMA,
    Optimizer,
    build_optimizers,
    load_state_dict,
    state_dict,
)
from convscope.training._settings import TrainSettings

SCHEMA = 1
"""Names of files, tensors and numbers on disk; they stay when names in the code change."""
KEPT = 2
_MANIFEST = "MANIFEST.json"
_STEP = re.compile(r"step-(\d{8})")


@dataclass
class Snapshot:
    """The state of a run between two steps.

    Args:
        step: Updates done.
        tensors: By file (``"model"``, ``"optimizer"``, ``"average"``), tensors by name.
        numbers: Everything that is not a tensor, as JSON can hold it.
        metrics: The text of ``metrics.csv`` up to this step.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]]
    numbers: dict[str, Any] = field(default_factory=dict)
    metrics: str = ""


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: ``checkpoints`` inside the run folder; made when the first one is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, snapshot: Snapshot, *, kept: int = KEPT) -> Path:
        """Commit `snapshot`, then remove all but the newest `kept`.

        Raises:
            ResourceError: The disk is full or refuses to write; older checkpoints are untouched.
        """
        final = self.folder / f"step-{snapshot.step:08d}"
        draft = self.folder / f".tmp-{final.name}-{os.getpid()}"
        with disk_errors(self.folder, cleanup=draft):
            _faults.hit("ckpt.mkdir")
            draft.mkdir(parents=True)
            manifest = {"schema": SCHEMA, "files": {}}
            for name, content in _files(snapshot):
                _write(draft / name, content, f"ckpt.write.{Path(name).stem}")
                manifest["files"][name] = hashlib.sha256(content).hexdigest()  # type: ignore[index]
            text = json.dumps(manifest, indent=2).encode()
            _write(draft / _MANIFEST, text, "ckpt.write.manifest")
            _faults.hit("ckpt.fsync")
            _flush_folder(draft)
            _faults.hit("ckpt.rename")
            if final.exists():
                _set_aside(final, "old")
            draft.rename(final)
            _flush_folder(self.folder)
            _faults.hit("ckpt.prune")
            for old in self._newest_first()[kept:]:
                shutil.rmtree(_set_aside(old, "old"), ignore_errors=True)
        return final

    def clean_up(self) -> None:
        """Remove what killed processes left half-written. Call it with the folder locked."""
        for stale in self.folder.glob(".tmp-*"):
            shutil.rmtree(stale, ignore_errors=True)

    def newest(
        self, take: Callable[[Snapshot], None] | None = None
    ) -> tuple[Snapshot | None, list[str]]:
        """The newest checkpoint that is whole, and a sentence about each that is not.

        Damaged ones are renamed to ``damaged-...`` when an older one can be used in their place.

        Args:
            take: Puts a snapshot to use; a `CheckpointError` from it means that this one does not
                serve, and the one before it is tried.

        Returns:
            None if there has never been a checkpoint.

        Raises:
            CheckpointError: There are checkpoints and none of them serves.
        """
        faults: list[tuple[Path, ConvscopeError]] = []
        for path in self._newest_first():
            try:
                snapshot = read_checkpoint(path)
                if take is not None:
                    take(snapshot)
            except (CheckpointError, DataError) as error:
                faults.append((path, error))
                continue
            for broken, _ in faults:
                _set_aside(broken, "damaged", hidden=False)
            return snapshot, [
                f"{broken.name} is damaged ({error.what}); the one before it is used"
                for broken, error in faults
            ]
        if faults and all(error.code == "C10" for _, error in faults):
            raise faults[0][1]
        if faults:
            raise CheckpointError(
                f"no usable checkpoint: {faults[0][0].name} is damaged ({faults[0][1].what})",
                code="C20",
                where=self.folder,
                hint="delete the run folder, or train into another one",
            )
        return None, []

    def _newest_first(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted((p for p in self.folder.iterdir() if _STEP.fullmatch(p.name)), reverse=True)


def read_checkpoint(path: Path) -> Snapshot:
    """Read one checkpoint folder, checking every byte against its manifest.

    Raises:
        CheckpointError: A file is missing, changed, or of a newer version of convscope.
    """
    manifest = _table(path / _MANIFEST, files.MANIFEST)
    schema, named = manifest.get("schema"), manifest.get("files")
    if type(schema) is not int or not isinstance(named, dict):
        raise CheckpointError("not a manifest", code="C08", where=path / _MANIFEST)
    if schema > SCHEMA:
        raise CheckpointError(
            f"written by a newer convscope (schema {schema})", code="C17", where=path
        )
    contents: dict[str, bytes] = {}
    for name, digest in named.items():
        if not re.fullmatch(r"[a-z0-9_-]+\.(safetensors|json|csv)", name):
            raise CheckpointError(f"the manifest names {name!r}", code="C19", where=path)
        contents[name] = _content(path / name)
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise CheckpointError(f"{name} does not match its SHA-256", code="C08", where=path)
    for name in ("state.json", "metrics.csv"):
        if name not in contents:
            raise CheckpointError(f"the manifest names no {name}", code="C08", where=path)
    state = files.parse_json(contents["state.json"], files.STATE, where=path / "state.json")
    step = state.get("step") if isinstance(state, dict) else None
    if type(step) is not int or not isinstance(state.get("numbers"), dict):
        raise CheckpointError("unreadable: no step and numbers", code="C09", where=path)
    metrics = files.decoded(contents["metrics.csv"], files.METRICS, where=path / "metrics.csv")
    return Snapshot(
        step=step,
        tensors={
            name.removesuffix(".safetensors"): _tensors(content, path / name)
            for name, content in contents.items()
            if name.endswith(".safetensors")
        },
        numbers=state["numbers"],
        metrics=metrics,
    )


def _tensors(content: bytes, where: Path) -> dict[str, Tensor]:
    files.check_tensor_file(content, len(content), where=where)
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # the parser raises many kinds
        raise CheckpointError(f"unreadable: {error}", code="C09", where=where) from None


def disk_errors(where: Path, *, cleanup: Path | None = None) -> AbstractContextManager[None]:
    """`convscope.files.disk_errors`, with the way on for a run."""
    hint = "free space or permissions; a started run goes on with --resume"
    return _disk_errors(where, cleanup=cleanup, hint=hint)


def write_atomically(path: Path, content: bytes, failpoint: str = "report.write") -> None:
    """Replace a file by `content`: a reader sees the old bytes or the new ones, never a mixture."""
    draft = path.with_name(f".tmp-{path.name}")
    try:
        _write(draft, content, failpoint)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _files(snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
    for name, tensors in snapshot.tensors.items():
        whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        yield f"{name}.safetensors", safetensors.torch.save(whole)
    state = {"step": snapshot.step, "numbers": snapshot.numbers}
    yield "state.json", json.dumps(state, indent=2, sort_keys=True).encode()
    yield "metrics.csv", snapshot.metrics.encode()


def _write(path: Path, content: bytes, failpoint: str) -> None:
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
        _faults.hit(failpoint)
        file.write(content[len(content) // 2 :])
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_aside(path: Path, why: str, *, hidden: bool = True) -> Path:
    """Give a checkpoint folder a name under which it is not found again."""
    for i in range(1000):
        aside = path.with_name(f"{'.tmp-' if hidden else ''}{why}-{path.name}-{i}")
        if not aside.exists():
            break
    return path.rename(aside)


def _content(path: Path) -> bytes:
    try:
        return files.read_bytes(path, files.TENSORS)
    except ConvscopeError as error:
        raise CheckpointError(f"{path.name}: {error.what}", code="C07", where=path.parent) from None


def _table(path: Path, kind: files.Kind) -> dict[str, Any]:
    try:
        return files.read_json_table(path, kind)
    except ConvscopeError as error:
        raise CheckpointError(f"{path.name}: {error.what}", code="C08", where=path.parent) from None


@dataclass
class RunningMetrics:
    """Training loss and error since the last row of ``metrics.csv``.

    Attributes:
        loss_sum: Sum over batches of the mean loss.
        error_sum: Sum over batches of the share of misclassified images.
        batches: Number of batches.
    """

    loss_sum: float = 0.0
    error_sum: float = 0.0
    batches: int = 0

    def update(self, loss: float, error: float) -> None:
        """Add a batch."""
        self.loss_sum += loss
        self.error_sum += error
        self.batches += 1

    @property
    def loss(self) -> float:
        """Mean over the batches."""
        return self.loss_sum / self.batches

    @property
    def error(self) -> float:
        """Mean over the batches."""
        return self.error_sum / self.batches


@dataclass
class State:
    """A network in training.

    Attributes:
        model: The network.
        optimizers: Each updates its share of the parameters.
        ema: The moving average, if the run keeps one.
        objective: What is minimized.
        step: Updates done.
        metrics: Sums for the next row of ``metrics.csv``.
    """

    model: nn.Module
    optimizers: list[Optimizer]
    ema: EMA | None
    objective: Objective
    step: int = 0
    metrics: RunningMetrics = field(default_factory=RunningMetrics)

    @classmethod
    def fresh(
        cls,
        model: nn.Module,
        settings: TrainSettings,
        objective: Objective,
        *,
        device: torch.device = CPU,
        memory_format: torch.memory_format = torch.channels_last,
        shares: Mapping[str, float] | None = None,
        precision: str = "fp32",
    ) -> State:
        """The state before the first step; `shares` and `precision` as for `build_optimizers`."""
        model = model.to(device, memory_format=memory_format).train()  # type: ignore[call-overload]
        ema = EMA(model, decay=settings.ema) if settings.ema else None
        optimizers = build_optimizers(model, settings, shares=shares, precision=precision)
        return cls(model, optimizers, ema, objective)

    @property
    def eval_model(self) -> nn.Module:
        """The network that is validated and exported: the moving average where there is one."""
        return self.ema.module if self.ema else self.model

    def capture(self, metrics: str = "") -> Snapshot:
        """Everything needed to go on from here."""
        tensors = {
            "model": _detached(self.model.state_dict()),
            "optimizer": state_dict(self.optimizers),
        }
        running = self.metrics
        numbers: dict[str, Any] = {
            "tally": [running.loss_sum, running.error_sum, running.batches],
            **self.objective.state_dict(),
        }
        if self.ema:
            tensors["average"] = _detached(self.ema.module.state_dict())
            numbers["average_updates"] = self.ema.updates
        return Snapshot(step=self.step, tensors=tensors, numbers=numbers, metrics=metrics)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from `snapshot`.

        Raises:
            CheckpointError: It belongs to another network or other settings.
        """
        try:
            self.model.load_state_dict(snapshot.tensors["model"])
            load_state_dict(self.optimizers, snapshot.tensors["optimizer"])
            if self.ema:
                self.ema.module.load_state_dict(snapshot.tensors["average"])
                self.ema.updates = int(snapshot.numbers["average_updates"])
            loss_sum, error_sum, batches = snapshot.numbers["tally"]
            self.objective.load_state_dict(snapshot.numbers)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(
                f"the checkpoint of step {snapshot.step} does not fit: {error}",
                code="C10",
                hint="was the network changed since? train into another folder",
            ) from None
        self.metrics = RunningMetrics(float(loss_sum), float(error_sum), int(batches))
        self.step = snapshot.step


def _detached(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in tensors.items()}
