"""Search by Optuna, ask and tell: one study for all processes, and a lease on every trial."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from convscope.data import cache_folder
from convscope.errors import ConvscopeError, ResourceError, UsageError
from convscope.files import checked_path
from convscope.training._batches import number as number_of
from convscope.training._search_folder import POLL, refuse_another, remove_run
from convscope.training._search_space import Dimension, Space, Value
from convscope.training._search_storage import database, journal, public, quiet
from convscope.training._search_trials import Objective, Trial, trial_from_table, trial_table

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

Pruner = Literal["median", "halving", "none"]

STARTUP = 5
"""Trials that end undisturbed before any is pruned, Optuna's default for medians."""

BEAT = 10.0
"""Seconds between two signs of life of a process."""

GRACE = 60.0
"""Seconds without one after which the trial of a process on another machine is run again. On the
machine itself, that the process is gone is seen at once."""

ABOUT, RECORD, LEASE = "convscope", "record", "lease"
ROOT, ATTEMPT, SURPLUS = "retry_of", "attempt", "surplus"
"""User attributes of studies and trials."""


class StudyLedger:
    """An Optuna study whose trials have leases.

    Optuna has no leases for journal files. A trial that runs has an attribute with its process and
    a counter that goes up every `BEAT` seconds. Whoever finds that the process is gone marks the
    trial as failed, which only one can do, and enters it again with the same parameters, as a
    further attempt of the same trial. If two enter it, the first counts. So every trial ends once.

    Args:
        storage: A file for a journal, or the URL of a database.
        description: What is searched, as JSON can hold it.
        space: What is varied.
        trials: How many, by all processes together.
        objective: What the search goes by.
        seed: Of the sampler.
        pruner: ``"median"``, ``"halving"`` or ``"none"``.

    Raises:
        UsageError: M22, Optuna is not installed; U13, U02, the storage cannot be used.
        CheckpointError: T21, it holds another search.
        ResourceError: It may not be written to.
    """

    def __init__(
        self,
        storage: str | Path,
        description: Mapping[str, Any],
        *,
        space: Space,
        trials: int,
        objective: Objective,
        seed: int,
        pruner: Pruner = "median",
    ) -> None:
        self.count, self.seed = trials, seed
        self.space = space
        self._seen: dict[int, tuple[str, float]] = {}
        with quiet() as optuna:
            self.optuna = optuna
            text = str(storage)
            name = f"{description['model']} on {description['data']}"
            if "://" in text:
                key = blake2b(f"{text} {name}".encode(), digest_size=8).hexdigest()
                self.runs = cache_folder() / "searches" / key
            else:
                path = checked_path(text)
                self.runs = path.with_name(path.name + ".runs")
            kept = database(optuna, text) if "://" in text else journal(optuna, path)
            try:
                self.study = optuna.create_study(
                    storage=kept,
                    study_name=name,
                    direction="maximize" if objective == "accuracy" else "minimize",
                    load_if_exists=True,
                    pruner=_pruner(optuna, pruner),
                )
                if ABOUT not in self.study.user_attrs:
                    self.study.set_user_attr(ABOUT, dict(description))
                about = self.study.user_attrs[ABOUT]
            except ConvscopeError:
                raise
            except Exception as error:  # a database may answer with anything
                raise ResourceError(
                    f"the storage cannot be used: {type(error).__name__}: {error}",
                    code="T22",
                    where=public(text),
                    hint="is the server reachable, and is this a storage of Optuna?",
                ) from error
        if not isinstance(about, Mapping):
            raise UsageError("holds no search of convscope", code="U13", where=public(text))
        refuse_another(about, description, where=public(text))

    def claim(self) -> StudyClaim | None:
        """A lost trial, or the next one that Optuna proposes."""
        with quiet():
            while True:
                slots = self._slots()
                for attempts in slots[: self.count]:
                    self._revive(attempts)
                slots = self._slots()
                free = len(slots) < self.count
                waiting = any(
                    self._state(attempts) == "waiting" for attempts in slots[: self.count]
                )
                if free or waiting:
                    if claim := self._ask():
                        return claim
                elif all(self._state(attempts) == "ended" for attempts in slots[: self.count]):
                    return None
                else:
                    time.sleep(POLL)

    def trials(self) -> tuple[Trial, ...]:
        """Those that are finished, numbered in the order in which they were proposed."""
        found = []
        with quiet():
            for rank, attempts in enumerate(self._slots()[: self.count]):
                for frozen in attempts:
                    if self._ended(frozen):
                        table = {"parameters": frozen.params, **frozen.user_attrs[RECORD]}
                        found.append(trial_from_table(table, number=rank))
        return tuple(found)

    def close(self) -> None:
        """Remove runs of finished trials whose process was killed before it could."""
        with quiet():
            for attempts in self._slots():
                if self._state(attempts) == "ended":
                    for folder in self.runs.glob(f"{self._folder(attempts[0].number).name}*"):
                        remove_run(folder)
        with suppress(OSError):
            self.runs.rmdir()

    def frozen(self, number: int) -> FrozenTrial:
        """A trial of the study as it is now."""
        return next(t for t in self.study.get_trials(deepcopy=False) if t.number == number)

    def _folder(self, root: int) -> Path:
        return self.runs / f"{root:04d}"

    def _slots(self) -> list[list[FrozenTrial]]:
        """The trials in order, each with its attempts; what was entered twice is left out."""
        by_root: dict[int, dict[int, FrozenTrial]] = {}
        for frozen in sorted(self.study.get_trials(deepcopy=False), key=lambda t: t.number):
            about = frozen.user_attrs
            if SURPLUS not in about:
                attempts = by_root.setdefault(about.get(ROOT, frozen.number), {})
                attempts.setdefault(about.get(ATTEMPT, 0), frozen)
        return [list(by_root[root].values()) for root in sorted(by_root)]

    def _ended(self, frozen: FrozenTrial) -> bool:
        """Whether an attempt came to its end: one that was lost has no record."""
        return frozen.state.is_finished() and RECORD in frozen.user_attrs

    def _state(self, attempts: list[FrozenTrial]) -> str:
        if any(self._ended(frozen) for frozen in attempts):
            return "ended"
        if attempts[-1].state == self.optuna.trial.TrialState.WAITING:
            return "waiting"
        return "running"

    def _revive(self, attempts: list[FrozenTrial]) -> None:
        """Enter a trial again whose process is gone."""
        states = self.optuna.trial.TrialState
        last = attempts[-1]
        if self._state(attempts) != "running":
            return
        if last.state == states.RUNNING:
            if not self._is_lost(last):
                return
            # Its process may have been killed between the record and the end.
            self._tell(last.number, last.user_attrs.get(RECORD))
            last = self.frozen(last.number)
            if self._ended(last):
                return
        # Finished without a record: lost, and perhaps entered again by another process meanwhile,
        # in which case the first entry counts.
        self.study.add_trial(
            self.optuna.trial.create_trial(
                state=states.WAITING,
                params=last.params,
                distributions=last.distributions,
                intermediate_values=last.intermediate_values,
                user_attrs={
                    ROOT: attempts[0].number,
                    ATTEMPT: last.user_attrs.get(ATTEMPT, 0) + 1,
                },
            )
        )

    def _tell(self, number: int, record: Mapping[str, Any] | None) -> bool:
        """End a trial as its record says, or as lost; whether nobody else had ended it."""
        states = self.optuna.trial.TrialState
        by_name = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        state, value = states.FAIL, None
        if record is not None:
            state = by_name[record["state"]]
            trial = trial_from_table({"parameters": {}, **record}, number=number)
            value = trial.value if trial.state == "complete" else None
        try:
            self.study.tell(number, value, state=state)
        except (self.optuna.exceptions.UpdateFinishedTrialError, ValueError):
            return False
        return True

    def _is_lost(self, frozen: FrozenTrial) -> bool:
        lease = frozen.user_attrs.get(LEASE, {})
        if lease.get("released"):
            return True
        if lease.get("machine") and lease["machine"] == machine():
            return not is_alive(lease.get("pid", 0), str(lease.get("started")))
        # Clocks of machines differ: what counts is for how long we have seen no change.
        now, text = time.monotonic(), repr(lease)
        before, since = self._seen.get(frozen.number, ("", now))
        self._seen[frozen.number] = (text, since if before == text else now)
        return before == text and now - since > GRACE

    def _ask(self) -> StudyClaim | None:
        trial = self.study.ask()
        lease = _Lease(trial)
        try:
            for rank, attempts in enumerate(self._slots()[: self.count]):
                if any(frozen.number == trial.number for frozen in attempts):
                    # The state of a generator is not stored: every trial has its own.
                    seed = number_of(self.seed, "search/tpe", rank) % 2**32
                    self.study.sampler = self.optuna.samplers.TPESampler(seed=seed)
                    parameters = {d.name: _suggested(trial, d) for d in self.space}
                    folder = self._folder(attempts[0].number)
                    return StudyClaim(self, trial, rank, folder, parameters, lease)
            # Another process was faster with the last one.
            trial.set_user_attr(SURPLUS, True)
        except BaseException:
            lease.stop(released=True)
            raise
        lease.stop()
        self._tell(trial.number, None)
        return None


class StudyClaim:
    """A trial whose lease this process holds."""

    def __init__(
        self,
        ledger: StudyLedger,
        trial: optuna.Trial,
        rank: int,
        folder: Path,
        parameters: dict[str, Value],
        lease: _Lease,
    ) -> None:
        self.number, self.parameters, self.folder = rank, parameters, folder
        self.attempts = int(trial.user_attrs.get(ATTEMPT, 0)) + 1
        self._ledger, self._trial, self._lease = ledger, trial, lease

    def should_prune(self, epoch: int, value: float) -> bool:
        """Report the value of an epoch; what the pruner says. A trial that was lost ends, too."""
        with quiet():
            known = self._ledger.frozen(self._trial.number)
            if known.state.is_finished():
                return True
            # A run that goes on from a checkpoint passes an epoch again.
            if epoch not in known.intermediate_values:
                self._trial.report(value, epoch)
            return bool(self._trial.should_prune())

    def elsewhere(self) -> None:
        """Train in another folder: a process that was taken for lost is still in this one."""
        self.folder = self.folder.with_name(f"{self.folder.name}-{self._trial.number}")

    def is_lost(self) -> bool:
        """Whether another process took this one for dead and has ended the trial."""
        with quiet():
            return self._ledger.frozen(self._trial.number).state.is_finished()

    def finish(self, trial: Trial) -> bool:
        """Tell Optuna; if the trial was taken for lost and run again, the other result counts."""
        self._lease.stop()
        table = trial_table(trial)
        del table["parameters"]
        with quiet() as optuna, suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._trial.set_user_attr(RECORD, table)
            if self._ledger._tell(self._trial.number, table):
                remove_run(self.folder)
                return True
        return False

    def release(self) -> None:
        """Give the lease up."""
        self._lease.stop(released=True)


class _Lease:
    """Signs of life of this process, as an attribute of its trial."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial, self._beat = trial, 0
        self._ended = threading.Event()
        self._write()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def stop(self, *, released: bool = False) -> None:
        """No more signs; `released`: the trial may be taken now."""
        self._ended.set()
        self._thread.join()
        if released:
            with quiet(), suppress(Exception):  # the storage may be why we leave
                self._write(released=True)

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            # A storage that is away for a moment costs a beat, not the trial.
            with suppress(Exception):
                self._beat += 1
                self._write()

    def _write(self, *, released: bool = False) -> None:
        about = {"machine": machine(), "pid": os.getpid(), "started": started(os.getpid())}
        self._trial.set_user_attr(LEASE, {**about, "beat": self._beat, "released": released})


def machine() -> str:
    """This start of this machine, and its table of processes; empty where that cannot be told."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def started(pid: int) -> str:
    """When a process began, as the system counts; empty if there is none."""
    with suppress(OSError, IndexError):
        text = Path(f"/proc/{pid}/stat").read_text()
        state, *rest = text.rpartition(") ")[2].split()
        return "" if state in ("Z", "X") else rest[18]
    return ""


def is_alive(pid: int, start: str) -> bool:
    """Whether the process that began at that time still runs."""
    return bool(start) and started(pid) == start


def _pruner(optuna: Any, name: Pruner) -> Any:
    if name == "none":
        return optuna.pruners.NopPruner()
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=2)


def _suggested(trial: optuna.Trial, dimension: Dimension) -> Value:
    name, log = dimension.name, dimension.log
    if dimension.is_discrete:
        return cast(Value, trial.suggest_categorical(name, dimension.values()))
    if dimension.whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=log)
