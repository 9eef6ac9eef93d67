"""Grid and random search in a folder: a folder per trial, and the lock of the kernel in it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from convscope import files
from convscope.errors import CheckpointError, ConvscopeError, RunBusyError, UsageError
from convscope.files import checked_path, write_whole
from convscope.training._checkpoints import disk_errors
from convscope.training._run_folder import locked
from convscope.training._search_space import Value
from convscope.training._search_trials import Trial, trial_from_table, trial_table
from convscope.training._settings import settings_from_toml, settings_to_toml

SEARCH, RECORD, RUN, ATTEMPTS = "search.json", "trial.json", "run", "attempts"
POLL = 0.5
"""Seconds between two looks at trials that others run."""


class FolderLedger:
    """Trials are the numbers from 0; one is finished when its record is there.

    A trial belongs to whoever holds the lock of its folder. The lock ends with its process, so the
    trial of a killed process is free at once, and its run goes on from the last checkpoint. On a
    file system whose locks do not reach other machines, all processes must be on one.

    Args:
        folder: Where; made if it is not there.
        description: What is searched, as JSON can hold it.
        trials: How many, by all processes together.
        parameters: What to try in a trial, by its number.

    Raises:
        UsageError: U13, the folder holds something else.
        CheckpointError: T21, it holds another search.
        ResourceError: It may not be written to.
    """

    def __init__(
        self,
        folder: Path,
        description: Mapping[str, Any],
        *,
        trials: int,
        parameters: Callable[[int], dict[str, Value]],
    ) -> None:
        self.folder, self.count = checked_path(folder), trials
        self.parameters = parameters
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(
                "a file: grid and random search keep their trials in a folder",
                code="U13",
                where=folder,
                hint="another --storage, or --method tpe, which keeps them in one file",
            )
        path = self.folder / SEARCH
        if not path.exists():
            inside = [p.name for p in self.folder.iterdir()] if self.folder.is_dir() else []
            others = [name for name in inside if not name.startswith(".")]
            # Another process may have begun this search since.
            if others and not path.exists():
                raise UsageError(
                    f"holds {others[0]!r} and is no search",
                    code="U13",
                    where=folder,
                    hint="another --storage",
                )
            text = json.dumps(description, indent=1, ensure_ascii=False)
            write_whole(path, text.encode("utf-8", errors="backslashreplace"))
        refuse_another(files.read_json_table(path, files.STATE), description, where=folder)

    def claim(self) -> FolderClaim | None:
        """The first trial that is neither finished nor run by another process."""
        while True:
            unfinished = False
            for number in range(self.count):
                place = self._place(number)
                if (place / RECORD).exists():
                    continue
                unfinished = True
                with disk_errors(place):
                    place.mkdir(parents=True, exist_ok=True)
                with ExitStack() as stack, suppress(RunBusyError):
                    stack.enter_context(locked(place))
                    # Another process may have finished it since.
                    if not (place / RECORD).exists():
                        return FolderClaim(number, self.parameters(number), place, stack.pop_all())
            if not unfinished:
                return None
            time.sleep(POLL)

    def trials(self) -> tuple[Trial, ...]:
        """Those that are finished, in the order of their numbers."""
        found = []
        for number in range(self.count):
            path = self._place(number) / RECORD
            if not path.exists():
                continue
            try:
                table = files.read_json_table(path, files.STATE)
                trial = trial_from_table(table, number=number)
                if trial.parameters != self.parameters(number):
                    raise CheckpointError(
                        f"the record of trial {number} has other parameters",
                        code="C08",
                        hint="delete it, and the trial is run again",
                    )
            except ConvscopeError as error:
                error.where = error.where or str(path)
                raise
            found.append(trial)
        return tuple(found)

    def close(self) -> None:
        """Remove runs of finished trials whose process was killed before it could."""
        for number in range(self.count):
            place = self._place(number)
            if (place / RECORD).exists():
                for run in place.glob(f"{RUN}*/"):
                    remove_run(run)

    def _place(self, number: int) -> Path:
        return self.folder / "trials" / f"{number:04d}"


class FolderClaim:
    """A trial whose lock this process holds."""

    def __init__(
        self, number: int, parameters: dict[str, Value], place: Path, lock: ExitStack
    ) -> None:
        self.number, self.parameters = number, parameters
        self.folder = place / RUN
        with disk_errors(place), (place / ATTEMPTS).open("a+") as file:
            file.write("x")
            self.attempts = file.tell()
        self._lock = lock

    def should_prune(self, epoch: int, value: float) -> bool:
        """Never: a table that depends on who was faster would not be the same twice."""
        return False

    def is_lost(self) -> bool:
        """Never: the lock is ours."""
        return False

    def finish(self, trial: Trial) -> bool:
        """Write the record, then remove the run and let go."""
        text = json.dumps(trial_table(trial), indent=1, ensure_ascii=False, allow_nan=False)
        data = text.encode("utf-8", errors="backslashreplace")
        write_whole(self.folder.parent / RECORD, data)
        remove_run(self.folder)
        self._lock.close()
        return True

    def elsewhere(self) -> None:
        """Choose another folder: somebody trains in the one that this search keeps for itself."""
        self.folder = self.folder.with_name(f"{self.folder.name}-2")

    def release(self) -> None:
        """Let go of the lock."""
        self._lock.close()


def remove_run(folder: Path) -> None:
    """Remove the run folder of a trial, unless a process trains in it."""
    if folder.is_dir():
        with suppress(ConvscopeError), locked(folder):
            shutil.rmtree(folder, ignore_errors=True)


def refuse_another(before: Mapping[str, Any], now: Mapping[str, Any], *, where: object) -> None:
    """Refuse to mix two searches.

    Raises:
        CheckpointError: T21, with what differs.
    """
    before = dict(before)
    with suppress(ConvscopeError):
        # One that an earlier version began has not all settings: they have their defaults.
        written = settings_from_toml(str(before.get("settings", "")))
        before["settings"] = settings_to_toml(written)
    changed = [name for name in now if before.get(name) != now[name]]
    if not changed:
        return
    words = []
    for name in changed[:4]:
        old, new = before.get(name), now[name]
        if isinstance(old, str) and isinstance(new, str) and "\n" in new:
            lines = zip(old.splitlines(), new.splitlines(), strict=False)
            words += [f"{a} -> {b.partition('= ')[2]}" for a, b in lines if a != b][:3]
        elif isinstance(new, int | str) and isinstance(old, int | str):
            words.append(f"{name} {old} -> {new}")
        else:
            words.append(f"another {name}")
    raise CheckpointError(
        f"holds another search: {'; '.join(words)}",
        code="T21",
        where=where,
        hint="go on with the same settings, or search with another --storage",
    )
