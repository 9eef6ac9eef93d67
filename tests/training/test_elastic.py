"""torchrun starts lost workers again, and joins several machines: the weights are the same."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

WORKER = Path(__file__).with_name("elastic.py")
RUNNING = []
RUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals of Unix"),
]


def started(words, inside=(), **environment):
    program = subprocess.Popen(
        [*inside, *RUN, *words], env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    RUNNING.append(program)
    return program


@pytest.fixture(autouse=True)
def nothing_stays():
    yield
    while RUNNING:
        program = RUNNING.pop()
        if program.poll() is None:
            program.terminate()  # torchrun ends its workers.
            program.communicate()


def ended(*programs):
    said = [program.communicate(timeout=300)[1] for program in programs]
    assert not any(program.returncode for program in programs), said


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def node(endpoint, folder, *worker, nodes="2", more=(), inside=(), **environment):
    """One of the machines that meet at an address, as the documentation says it."""
    words = ["1", "--nnodes", nodes, "--max-restarts", "3", "--rdzv-backend", "c10d"]
    words += ["--rdzv-endpoint", endpoint, "--rdzv-id", "one", *more]
    # No store of lost processes is handed on: see the documentation.
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    return started([*words, str(WORKER), str(folder), *worker], inside, **environment)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """Weights of two processes that nothing happened to."""
    folder = tmp_path_factory.mktemp("calm")
    ended(started(["2", "--standalone", str(WORKER), str(folder)]))
    return load_file(folder / "run" / "model.safetensors")


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Weights of one process."""
    folder = tmp_path_factory.mktemp("single")
    ended(subprocess.Popen([sys.executable, str(WORKER), str(folder)], stderr=subprocess.PIPE,
                           env={**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "1"},
                           text=True))  # fmt: skip
    return load_file(folder / "run" / "model.safetensors")


def equal(folder, weights):
    found = load_file(folder / "run" / "model.safetensors")
    return all(torch.equal(value, weights[name]) for name, value in found.items())


def near(folder, weights):
    found = load_file(folder / "run" / "model.safetensors")
    return all(torch.allclose(value, weights[name], atol=1e-5) for name, value in found.items())


def begins(folder):
    """At which step a run began each time, and with how many processes."""
    return (folder / "began").read_text().splitlines()


@pytest.mark.parametrize("lost", ["0", "1"])
def test_a_worker_that_is_lost_is_started_again_and_goes_on(lost, calm, tmp_path):
    """Killed in its eighth update; torchrun starts all again, and they go on at the checkpoint."""
    words = ["2", "--standalone", "--max-restarts", "1", str(WORKER), str(tmp_path), lost]
    ended(started(words))
    assert begins(tmp_path) == ["0 of 2", "5 of 2"]
    assert equal(tmp_path, calm)


def test_two_machines_train_as_two_processes_of_one(calm, single, tmp_path):
    port = str(free_port())
    shared = ["1", "--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", port]
    ended(*(started([*shared, "--node-rank", rank, str(WORKER), str(tmp_path)]) for rank in "01"))
    assert begins(tmp_path) == ["0 of 2"]
    assert equal(tmp_path, calm) and near(tmp_path, single)


@pytest.mark.parametrize("lost", ["0", "1"])
def test_a_worker_of_one_of_two_machines_is_lost_and_both_go_on(lost, calm, tmp_path):
    endpoint = f"127.0.0.1:{free_port()}"
    ended(*(node(endpoint, tmp_path, lost) for _ in range(2)))
    assert begins(tmp_path) == ["0 of 2", "5 of 2"]
    assert equal(tmp_path, calm)


def test_a_machine_is_lost_and_the_other_one_goes_on_alone(single, tmp_path):
    endpoint = f"127.0.0.1:{free_port()}"
    soon = {"nodes": "1:2", "more": ["--rdzv-conf", "last_call_timeout=2"]}
    first = node(endpoint, tmp_path, "1", "wait", **soon)
    wait_for(lambda: listens(endpoint))  # The first one keeps the store, and stays.
    other = node(endpoint, tmp_path, "1", "wait", **soon)
    try:
        wait_for((tmp_path / "waits").exists)
        os.kill(int((tmp_path / "waits").read_text()), signal.SIGKILL)
    finally:
        other.kill()
        other.communicate()
    ended(first)
    assert begins(tmp_path) == ["0 of 2", "5 of 1"]
    assert near(tmp_path, single)


@pytest.fixture
def cable():
    """Two namespaces, each with an address of its own, and a cable between them."""
    names = [f"convscope-{os.getpid()}-{one}" for one in "ab"]
    steps = [f"netns add {name}" for name in names]
    steps += ["link add cs0 netns {} type veth peer name cs0 netns {}".format(*names)]
    for number, name in enumerate(names, start=1):
        steps += [f"-n {name} addr add 10.77.0.{number}/24 dev cs0"]
        steps += [f"-n {name} link set {device} up" for device in ("lo", "cs0")]
    try:
        for step in steps:
            subprocess.run(["ip", *step.split()], check=True, capture_output=True)
        yield names
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    finally:
        for name in names if shutil.which("ip") else ():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_two_machines_without_a_common_loopback(cable, calm, tmp_path):
    nodes = []
    for number, name in enumerate(cable, start=1):
        more = ["--local-addr", f"10.77.0.{number}", "--rdzv-conf", f"is_host={number == 1}"]
        inside = ["ip", "netns", "exec", name]
        nodes.append(node("10.77.0.1:29500", tmp_path, "1", more=more, inside=inside,
                          GLOO_SOCKET_IFNAME="cs0"))  # fmt: skip
    ended(*nodes)
    assert begins(tmp_path) == ["0 of 2", "5 of 2"]
    assert equal(tmp_path, calm)


def listens(endpoint):
    host, port = endpoint.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def wait_for(come, seconds=240):
    end = time.monotonic() + seconds
    while not come():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.2)
