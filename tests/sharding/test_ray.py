"""`--engine ray`: blocks as tasks of Ray, with the real library where it is installed."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from convscope.cli import main
from convscope.errors import ResourceError
from convscope.sharding import Part, judge_by_ray
from tests.sharding.conftest import job

EVAL = ["eval", "mnist-conv1", "--data", "digits", "--count", "7", "--json", "--quiet"]
AUDIT = ["audit", "mnist-conv1", "--data", "digits", "--count", "4", "--shown", "2", "--json",
         "--only", "performance,architecture", "--quiet"]  # fmt: skip

MARK = "CONVSCOPE_TEST_OF_RAY"
"""Environment variable by which processes of a test are known."""

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason='needs Ray: pip install "convscope[ray]"'
)


def test_without_the_library_the_error_says_what_to_do(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([*EVAL, "--engine", "ray", "--part", str(tmp_path / "p")]) == 2
    said = capsys.readouterr().err
    assert "error[M22]" in said and "convscope[ray]" in said


def test_a_cluster_that_does_not_start_is_no_bug(capsys, monkeypatch, tmp_path):
    def late(**_):
        raise Exception("The current node timed out during startup.")

    ended = []
    library = SimpleNamespace(
        is_initialized=lambda: False, init=late, shutdown=lambda: ended.append(True)
    )
    monkeypatch.setitem(sys.modules, "ray", library)
    assert main([*EVAL, "--engine", "ray", "--part", str(tmp_path / "p")]) == 6
    said = capsys.readouterr().err
    assert "error[T29]" in said and "timed out during startup" in said
    assert ended, "what had begun before it stopped goes on"


class FakeRay:
    """A cluster of one machine that does nothing; `ending` strikes while somebody waits for it."""

    def __init__(self, cores=2, ending=None):
        self.cores, self.ending, self.calls = cores, ending, []

    def is_initialized(self):
        return False

    def init(self, **options):
        self.calls.append(("init", options))
        signal.signal(signal.SIGTERM, lambda *_: None)  # as Ray does

    def nodes(self):
        return [{"Resources": {"CPU": self.cores}}]

    def cluster_resources(self):
        return {"CPU": self.cores}

    def put(self, value):
        return value

    def remote(self, **options):
        return lambda task: SimpleNamespace(remote=lambda *given: object())

    def wait(self, waiting, num_returns):
        raise self.ending

    def cancel(self, reference, force):
        self.calls.append(("cancel", force))

    def shutdown(self, *, wait_for_processes=False):
        self.calls.append(("shutdown", wait_for_processes))


def judged_by(library, tmp_path, monkeypatch, squares, cores=1):
    monkeypatch.setitem(sys.modules, "ray", library)
    part, _ = Part.begun(tmp_path / "p", job(squares))
    return judge_by_ray(squares, part, cores=cores, prepare=dict)


def test_a_task_that_fits_on_no_machine_is_refused(tmp_path, monkeypatch, squares):
    """Ray would wait for such a machine for ever."""
    library = FakeRay(cores=2)
    with pytest.raises(ResourceError, match="has 3 cores") as caught:
        judged_by(library, tmp_path, monkeypatch, squares, cores=3)
    assert caught.value.code == "T29" and "--threads 2" in (caught.value.hint or "")
    assert library.calls[-1] == ("shutdown", True)


@pytest.mark.parametrize(
    "ending", [KeyboardInterrupt(), SystemExit(143), ValueError("x")], ids=repr
)
def test_nothing_is_left_whatever_ends_the_wait(ending, tmp_path, monkeypatch, squares):
    handler = signal.getsignal(signal.SIGTERM)
    library = FakeRay(ending=ending)
    with pytest.raises(type(ending)):
        judged_by(library, tmp_path, monkeypatch, squares)
    assert [call for call in library.calls if call[0] == "cancel"] == [("cancel", True)] * 4
    assert library.calls[-1] == ("shutdown", True)
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize(
    ("given", "own"), [(None, True), ("local", True), ("10.0.0.1:6379", False)]
)
def test_a_cluster_is_begun_here_only_if_none_is_named(given, own, tmp_path, monkeypatch, squares):
    if given is None:
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
    else:
        monkeypatch.setenv("RAY_ADDRESS", given)
    library = FakeRay(cores=64, ending=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        judged_by(library, tmp_path, monkeypatch, squares, cores=64)
    options = library.calls[0][1]
    assert options["address"] == (given or "local")
    assert options.get("num_cpus") == (64 if own else None), "a container may have fewer cores"


def test_ray_shares_the_work_out_by_itself(capsys):
    assert main([*EVAL, "--engine", "ray", "--shard", "1/2"]) == 2
    assert "error[U11]" in capsys.readouterr().err


def environment(tmp_path):
    return {**os.environ, MARK: str(tmp_path / "mark"), "RAY_ADDRESS": "local"}


def left_over(tmp_path):
    """Processes that were started for a test: what they inherited has its folder in it."""
    mark, found = str(tmp_path / "mark").encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ")[:80])
    return found


def without_times(table):
    return {name: table[name] for name in table if "seconds" not in name and name != "report"}


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("command", [EVAL, AUDIT], ids=["eval", "audit"])
def test_tasks_of_ray_give_the_report_of_one_process(command, tmp_path, capsys):
    out = (lambda name: ["--out", str(tmp_path / name)]) if command is AUDIT else lambda name: []
    assert main(["--threads", "1", *command, *out("alone.html")]) == 0
    alone = json.loads(capsys.readouterr().out)
    # In a process of its own: Ray's warnings are no errors of ours.
    found = subprocess.run(
        [sys.executable, "-m", "convscope", "--threads", "1", *command, *out("ray.html"),
         "--engine", "ray", "--part", "p"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False,
        timeout=900,
    )  # fmt: skip
    assert left_over(tmp_path) == [], found.stderr
    if "timed out during startup" in found.stderr:
        pytest.skip("the machine is too busy: Ray gave up after its 30 seconds")
    assert found.returncode == 0, found.stderr
    assert without_times(json.loads(found.stdout)) == without_times(alone)
    assert Part.opened(tmp_path / "p").missing() == []


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_ends_the_workers_too(sign, tmp_path):
    """Ctrl-C is sent to all processes of a terminal, SIGTERM to one; blocks are being judged."""
    words = ["attack", "evaluate", "mnist-conv1", "--data", "digits", "--epsilon", "0.1",
             "--effort", "full", "--count", "200", "--engine", "ray", "--part", "p",
             "--quiet"]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "convscope", "--threads", "1", *words],
        cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as program:  # fmt: skip
        deadline = time.monotonic() + 600
        while not any(b"ray::" in line for line in left_over(tmp_path)):
            assert program.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(1)
        (os.killpg if sign == signal.SIGINT else os.kill)(program.pid, sign)
        assert program.wait(timeout=300) == 128 + sign
    assert left_over(tmp_path) == []
