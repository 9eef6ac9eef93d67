"""Every command that runs a network takes ``--device``, and says which devices are here."""

import ast
import inspect
from functools import cache
from pathlib import Path

import pytest
import torch

import convscope
import convscope.cli
from convscope.cli import main
from convscope.cli._app import build_app
from convscope.devices import FORMS, check_device_name, devices_here, resolve_device
from convscope.errors import ResourceError, UsageError
from convscope.studies import run_study
from convscope.visualizations import VISUALIZATIONS, logit_trajectory

LOADING = {"load", "opened_network", "train", "search", "run_study", "summarize"}
"""Functions that load, make or train a network; commands call them, or a function that does."""


@cache
def defined():
    """Every function of the command line: what it calls, by the name of module and function."""
    found = {}
    for file in Path(convscope.cli.__file__).parent.glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                calls = (n.func for n in ast.walk(node) if isinstance(n, ast.Call))
                names = {f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "")
                         for f in calls}  # fmt: skip
                found[f"convscope.cli.{file.stem}", node.name] = names
    return found


def loads(module, name, seen=()):
    """Whether a function of the command line loads a network, by itself or through another."""
    called = defined().get((module, name), set())
    if called & LOADING:
        return True
    further = [
        (where, one) for where, one in defined() if one in called and (where, one) not in seen
    ]
    return any(loads(*one, (*seen, *further)) for one in further if one[0] == module)


def commands(app, words=()):
    for name in app:
        if name.startswith("-"):
            continue
        inner = app[name]
        if inner.default_command is not None:
            yield (*words, name), inner
        yield from commands(inner, (*words, name))


ALL = {" ".join(words): app for words, app in commands(build_app())}
WITH_NETWORK = [
    name for name, app in ALL.items()
    if loads(app.default_command.__module__, app.default_command.__name__)
    and not app.default_command.__module__.endswith("_scratch")  # NumPy alone.
]  # fmt: skip

WORDS = {
    "demo": "",
    "models show": "mnist-conv1",
    "export": "mnist-conv1 --to safetensors",
    "train": "mnist-conv1 --data digits",
    "search": "mnist-conv1 --data digits --space space.toml --storage kept --method random "
    "--trials 1",
    "eval": "mnist-conv1 --data digits",
    "predict": "mnist-conv1 digits:test/0",
    "transfer": "mnist-conv1 --data digits",
    "inspect": "mnist-conv1 digits:test/0",
    "attack": "pgd mnist-conv1 digits:test/0",
    "attack evaluate": "mnist-conv1 --data digits",
    "attack certify": "mnist-conv1 --data digits --sigma 0.25",
    "attack transfer": "mnist-conv1 mnist-conv2 --data digits",
    "attack survival": "mnist-conv1 digits:test/0 --target 3",
    "audit": "mnist-conv1 --data digits",
    "study": "assignment-2-report --fast",
    "serve": "mnist-conv1",
}
"""How each is called."""


def test_each_command_that_loads_a_network_is_tried_here():
    assert sorted(WITH_NETWORK) == sorted(WORDS)


@pytest.mark.parametrize("command", WITH_NETWORK)
def test_a_device_that_is_not_there_is_one_error(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.toml").write_text("batch_size = [32, 64]\n")
    assert main([*command.split(), *WORDS[command].split(), "--device", "cuda:99"]) == 6
    said = capsys.readouterr().err
    assert "error[T27]: there is no device 'cuda:99'" in said, said
    assert f"expected: one that is here: {', '.join(devices_here())}" in said
    assert "--device cpu" in said and said.count("error") == 1
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()} - {"space.toml"}
    assert left <= {"demo.txt", "study.json", "report.json"}, left


@pytest.mark.parametrize("command", WITH_NETWORK)
def test_a_word_that_is_no_device_is_refused(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*command.split(), *WORDS[command].split(), "--device", "gpu7"]) == 2
    said = capsys.readouterr().err
    assert "error[U01]" in said and "auto, cpu, cuda, cuda:1 or mps" in said, said


@pytest.mark.parametrize("name", [*FORMS, "cuda:0", "cuda:12", "mps:0"])
def test_names_of_devices(name):
    assert check_device_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "CUDA", "cuda:", "cuda:-1", "cuda:01", "cpu:1", "xpu", 1, None]
)
def test_names_of_no_devices(name):
    with pytest.raises(UsageError) as caught:
        check_device_name(name)
    assert caught.value.code == "U01"


def test_auto_without_a_gpu_is_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(ResourceError, match="no device 'cuda'"):
        resolve_device("cuda")


@pytest.mark.parametrize(
    ("wanted", "rank", "expected"),
    [("auto", "0", 0), ("cuda", "1", 1), ("auto", "3", 1), ("cuda:1", "0", 1), ("cuda", "?", 0)],
)
def test_each_process_of_torchrun_has_a_gpu_of_its_own(wanted, rank, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert resolve_device(wanted) == torch.device("cuda", expected)
    assert devices_here()[:3] == ("cpu", "cuda:0", "cuda:1")
    with pytest.raises(ResourceError, match="here: cpu, cuda:0, cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize(
    "function",
    [*VISUALIZATIONS.values(), logit_trajectory, convscope.load, run_study],
    ids=lambda function: function.__name__,
)
def test_functions_that_make_tensors_of_nothing_take_a_device(function):
    assert "device" in inspect.signature(function).parameters
    assert "    device: " in inspect.getdoc(function)
