"""What METRICS says of gates holds in each command that has `--fail-under`."""

import typing

import pytest

from convscope._metrics import METRICS, Command, gates_of
from convscope.cli import main

COMMANDS = typing.get_args(Command)


def refused(command, gates, capsys):
    """What a command says of gates before it does anything."""
    words = [*command.split(), "mnist-conv1", "--data", "digits", "--fail-under", gates]
    assert main(words) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_gate_on_what_a_command_does_not_compute_names_one_that_does(command, capsys):
    others = set(METRICS) - set(gates_of(command))
    assert others
    for name in others:
        said = refused(command, f"{name}=0.5", capsys)
        assert f"--fail-under {name}: this command does not compute it" in said
        assert f"convscope {METRICS[name].gate[0]}" in said and f"computes {name}" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_gate_on_what_a_command_computes_is_taken_by_every_name(command, capsys):
    """Only the gate after them is at fault."""
    for name in gates_of(command):
        for typed in (name, *METRICS[name].aliases):
            assert "unknown gate 'nonsense'" in refused(command, f"{typed}=0,nonsense=1", capsys)
            assert f"{name} is given twice" in refused(command, f"{typed}=0,{name}=0", capsys)
