"""Ctrl-C while other processes decode images: nothing runs on, and nothing is left lying."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")

EVAL = ["-m", "convscope", "eval", "mnist-conv1", "--split", "all", "--quiet"]
# Jobs in the background ignore Ctrl-C, and what they start does, too.
HEARD = "import signal, sys, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); " + (
    "sys.argv = sys.argv[1:]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Ten classes of gray images, so many that they are not read at once."""
    folder, numbers = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    for number in range(1500):
        place = folder / str(number % 10)
        place.mkdir(exist_ok=True)
        pixels = numbers.integers(0, 256, (96, 96), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def of(session):
    """Processes of a session or started by one of it: (identity, command)."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            marked = session.encode() in (place / "environ").read_bytes()
        except OSError:
            continue
        if marked and fields[0] != "Z":
            found.append((int(place.name), words))
    return found


def interrupted(words, many, tmp_path, session):
    """Start a program, press Ctrl-C while decoders work, and wait; its exit code and words."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {
        **os.environ, "CONVSCOPE_IMAGE_MEMORY": "0", "CONVSCOPE_WORKERS": "2",
        "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1", "SESSION_OF_TEST": session,
    }  # fmt: skip
    program = subprocess.Popen(
        [sys.executable, *words, "--data", f"folder:{many}"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    mark = f"SESSION_OF_TEST={session}"
    try:
        limit = time.monotonic() + 120
        while not any("_worker" in line for _, line in of(mark)):
            assert program.poll() is None and time.monotonic() < limit, program.communicate()
            time.sleep(0.02)
        time.sleep(0.2)
        os.killpg(program.pid, signal.SIGINT)
        _, said = program.communicate(timeout=120)
        limit = time.monotonic() + 20
        while of(mark) and time.monotonic() < limit:
            time.sleep(0.05)
        left = of(mark)
    finally:
        for pid, _ in of(mark):
            os.kill(pid, signal.SIGKILL)
    kept = [path for path in temporary.rglob("*") if path.is_file()]
    return program.returncode, said, left, kept


def test_a_command(many, tmp_path):
    code, said, left, kept = interrupted(
        ["-c", HEARD, *EVAL[1:]], many, tmp_path, f"a{os.getpid()}"
    )
    assert code == 130 and "interrupted" in said and "Traceback" not in said, said
    assert not left and not kept


@pytest.mark.slow
def test_a_command_under_torchrun(many, tmp_path):
    """torchrun ends its workers by itself; what they had started ends with them."""
    words = [
        "-c", HEARD, "torch.distributed.run", "--nproc-per-node", "2", "--standalone", *EVAL,
    ]  # fmt: skip
    code, said, left, kept = interrupted(words, many, tmp_path, f"t{os.getpid()}")
    assert code != 0 and not left, (code, said[-2000:], left)
    assert not kept, kept
