"""`--engine ray`: blocks as tasks of Ray, with the real library where it is installed."""

import importlib.util
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from convscope.cli import main
from convscope.sharding import Part

EVAL = ["eval", "mnist-conv1", "--data", "digits", "--count", "7", "--json", "--quiet"]
AUDIT = ["audit", "mnist-conv1", "--data", "digits", "--count", "4", "--shown", "2", "--json",
         "--only", "performance,architecture,fooling", "--quiet"]  # fmt: skip

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

    library = SimpleNamespace(is_initialized=lambda: False, init=late)
    monkeypatch.setitem(sys.modules, "ray", library)
    assert main([*EVAL, "--engine", "ray", "--part", str(tmp_path / "p")]) == 6
    said = capsys.readouterr().err
    assert "error[T29]" in said and "timed out during startup" in said


def test_ray_shares_the_work_out_by_itself(capsys):
    assert main([*EVAL, "--engine", "ray", "--shard", "1/2"]) == 2
    assert "error[U11]" in capsys.readouterr().err


def ran(tmp_path, *words):
    """A command in a process of its own: Ray's warnings are no errors of ours."""
    given = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "RAY_ADDRESS": "local"}
    found = subprocess.run(
        [sys.executable, "-m", "convscope", "--threads", "1", *words],
        cwd=tmp_path, env=given, capture_output=True, text=True, check=False, timeout=1800,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("command", [EVAL, AUDIT], ids=["eval", "audit"])
def test_tasks_of_ray_give_the_report_of_one_process(command, tmp_path):
    out = ["--out", "alone.html"] if command is AUDIT else []
    alone = ran(tmp_path, *command, *out)
    out = ["--out", "ray.html"] if command is AUDIT else []
    by_ray = ran(tmp_path, *command, *out, "--engine", "ray", "--part", "p")
    for found in (alone, by_ray):
        found.pop("report", None)
        for name in [name for name in found if "seconds" in name]:
            del found[name]
    assert by_ray == alone
    assert Part.opened(tmp_path / "p").missing() == []
