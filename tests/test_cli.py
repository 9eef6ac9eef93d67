"""The program itself, in a process of its own where that matters."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from convscope.cli import main
from convscope.cli._app import COMMANDS, build_app
from convscope.cli._help import EXAMPLES
from convscope.cli._options import check_number
from convscope.errors import UsageError


def run(*words, **more):
    return subprocess.run(
        [sys.executable, "-m", "convscope", *words],
        capture_output=True,
        text=True,
        timeout=120,
        **more,
    )


@pytest.mark.parametrize("words", [(), ("--help",), *((name, "--help") for name in COMMANDS)])
def test_every_command_explains_itself(words, capsys):
    assert main(list(words)) == 0
    text = capsys.readouterr().out
    assert "Usage: convscope" in text
    if len(words) == 2:
        assert "Example" in text, f"{words[0]} --help shows no example"


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_are_commands_that_exist(line):
    program, *words = shlex.split(line)
    if program == "torchrun":
        program, *words = words[words.index("-m") + 1 :]
    assert program == "convscope"
    build_app().parse_args(words, exit_on_error=False, print_error=False)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from convscope.cli import main; main(['--help']); "
        "heavy = {'torch', 'matplotlib', 'sklearn', 'numpy'} & set(sys.modules); "
        "sys.exit(bool(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_version_is_one_line(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip().count(".") == 2


@pytest.mark.parametrize(
    "words",
    [
        ["trian"],
        ["train", "--epochz", "3"],
        ["models", "show"],
        ["--threads", "none", "doctor"],
        ["attack"],
    ],
)
def test_wrong_words_are_usage_errors_in_four_lines(words, capsys):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error") and len(err.splitlines()) <= 4 and "Traceback" not in err


def flags_of(app):
    """The flags of every command below `app`."""
    for name in app:
        if not name.startswith("-"):
            yield from flags_of(app[name])
            if app[name].default_command is not None:
                arguments = app[name].assemble_argument_collection()
                yield from (one for one in arguments if one.hint is bool)


def test_no_flag_is_on_unless_it_is_typed():
    """There is no word that would switch one off."""
    flags = list(flags_of(build_app()))
    assert len(flags) > 50
    assert [one.name for one in flags if one.field_info.default is not False] == []


@pytest.mark.parametrize(
    ("value", "limits", "hinted"),
    [(8, {"most": 1}, True), (255, {"most": 1}, True), (256, {"most": 1}, False),
     (8, {"most": 4}, False), (2, {"least": 5}, False), (0.5, {}, False)],
)  # fmt: skip
def test_only_a_gray_level_given_for_a_share_is_taken_for_one(value, limits, hinted):
    with pytest.raises(UsageError) as caught:
        check_number("--x", value, **limits)
    assert caught.value.code == "U05"
    assert (f"did you mean {value}/255?" in caught.value.hint) is hinted


def test_a_typo_in_a_command_gets_a_suggestion(capsys):
    main(["trian"])
    assert "train" in capsys.readouterr().err


def test_a_bug_of_ours_is_code_70_with_a_crash_file(monkeypatch, capsys):
    monkeypatch.setattr("convscope.cli._app.build_app", lambda command: 1 / 0)
    assert main(["doctor"]) == 70
    err = capsys.readouterr().err
    assert "bug in convscope: ZeroDivisionError" in err and len(err.splitlines()) == 3
    path = err.splitlines()[1].split("details: ")[1]
    assert "Traceback" in Path(path).read_text()


def test_a_closed_pipe_is_no_error():
    code = f"{sys.executable} -m convscope models list | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("0\n") and "Traceback" not in done.stderr


def test_odd_locales_work():
    done = run("--help", env={"PATH": "/usr/bin", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
