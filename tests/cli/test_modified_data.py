"""Files with another checksum can be used wherever data are: what error D24 says is true."""

import pytest

from convscope.cli._app import build_app


def commands(one, words=()):
    """Every command with its words and its function's parameters."""
    for name in one:
        if name.startswith("-"):
            continue
        inner = one[name]
        if inner.default_command is not None:
            yield (*words, name), inner.assemble_argument_collection()
        yield from commands(inner, (*words, name))


def options(arguments):
    return {name for argument in arguments for name in argument.names}


EVERY = {" ".join(words): options(arguments) for words, arguments in commands(build_app())}


@pytest.mark.parametrize(
    "command", [name for name, names in EVERY.items() if "--data-dir" in names]
)
def test_data_commands_accept_modified_data_or_only_list_them(command):
    listing = command in (
        "data list",
        "data where",
        "data get",
        "data download",
        "data export",
        "doctor",
        "demo",
    )
    assert listing or "--accept-modified-data" in EVERY[command]
