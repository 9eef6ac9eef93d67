"""``convscope serve`` as a process: its address, its end, and what it says when it cannot."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from convscope.cli import main

COMMAND = [sys.executable, "-m", "convscope", "serve"]


@pytest.fixture
def running(tmp_path):
    """A server of an empty shelf: it imports no torch."""
    process = subprocess.Popen(
        [*COMMAND, "--folder", str(tmp_path), "--port", "0"], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
        # Processes that were started in the background ignore Ctrl-C; this one shall not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    yield process, process.stdout.readline().strip()
    process.kill()
    process.communicate()


def test_it_prints_an_address_that_works_and_ends_cleanly_on_ctrl_c(running):
    process, address = running
    assert address.startswith("http://127.0.0.1:")
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(address, timeout=20) as answer:
        assert "Experiments" in answer.read().decode()
        assert "token" not in answer.url
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(address.partition("?")[0], timeout=20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == ""
    assert err.splitlines() == [
        "open this address in a browser on this machine; Ctrl-C ends the server",
        "the server has ended",
    ]


def test_it_listens_at_this_machine_only(running):
    _, address = running
    port = int(address.split(":")[2].partition("/")[0])
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for other in {*others, "127.0.0.2"} - {"127.0.0.1"}:
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex((other, port)) != 0


def test_without_the_extra_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "--folder", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "error[M22]" in said
    assert "pip install 'convscope[web]'" in said
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_refused(tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--folder", str(tmp_path), "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert "error[U13]" in said
    assert "--port 0" in said


@pytest.mark.parametrize(
    ("words", "code"),
    [([], "U01"), (["--folder", "nowhere-at-all"], "U02"), (["no-such-network"], "C11"),
     (["mnist-conv1", "--port", "70000"], "U05"), (["mnist-conv1", "--data", "none"], "U01")],
)  # fmt: skip
def test_what_cannot_be_served_is_refused(words, code, capsys):
    assert main(["serve", *words]) != 0
    assert f"error[{code}]" in capsys.readouterr().err


def test_help_has_examples(capsys):
    assert main(["serve", "--help"]) == 0
    assert "convscope serve mnist-conv2-fc --data digits" in capsys.readouterr().out
