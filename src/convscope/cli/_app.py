"""The program ``convscope``: commands, global options, and errors turned into exit codes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import cyclopts

from convscope.cli._help import EPILOGUE, EXAMPLES, HELP, PlainWords, epilogue
from convscope.cli._methods import HELP_FLAGS, show_all_settings, show_page, wanted_page
from convscope.cli._output import VOICE
from convscope.cli._words import refuse_fractions, translated
from convscope.error_codes import CODES
from convscope.errors import ConvscopeError, UsageError, printable

MODULES = {
    "doctor": "_doctor",
    "demo": "_audit",
    "data": "_data",
    "models": "_models",
    "export": "_export",
    "train": "_train",
    "search": "_search",
    "eval": "_eval",
    "predict": "_predict",
    "transfer": "_transfer",
    "inspect": "_inspect",
    "attack": "_attack",
    "merge": "_merge",
    "audit": "_audit",
    "report": "_audit",
    "study": "_study",
    "serve": "_serve",
    "scratch": "_scratch",
    "adder": "_scratch",
    "explain": "_doctor",
}
"""The module of each command, in the order of a first visit."""

COMMANDS = tuple(MODULES)
MODULE_ORDER = tuple(dict.fromkeys(MODULES.values()))

MOST_THREADS = 1024


def build_app(command: str = "") -> cyclopts.App:
    """The command line. Nothing heavy is imported before a command runs.

    Args:
        command: Build only what this command needs; by default all commands.
    """
    from convscope import __version__

    app = cyclopts.App(
        name="convscope",
        help=HELP,
        help_epilogue=EPILOGUE,
        version=__version__,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        help_format="markdown",
        config=cyclopts.config.Env("CONVSCOPE_"),
        default_parameter=cyclopts.Parameter(show_env_var=False, negative=()),
        help_formatter=PlainWords(),
    )
    # An older cyclopts has no completion; everything else works with it.
    if hasattr(app, "register_install_completion_command"):
        app.register_install_completion_command(
            help="Let the shell complete commands and options (bash, zsh, fish)."
        )
    module = MODULES.get(command)
    for name in MODULE_ORDER if module is None else (module,):
        import_module(f"convscope.cli.{name}").register(app)
    for name in EXAMPLES:
        if module is None or name == command:
            app[name].help_epilogue = epilogue(name)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code.

    Codes: 0 ok, 1 a gate failed, 2 usage, 3 data or image, 4 model or checkpoint, 5 numerical,
    6 environment, 7 run folder busy, 8 finished with refused items, 70 our bug, 130 / 143
    interrupted.
    """
    try:
        words, threads = _take_global_options(list(sys.argv[1:] if argv is None else argv))
        _prepare(threads)
        asks_help = not HELP_FLAGS.isdisjoint(words)
        if asks_help and (page := wanted_page(words)):
            show_page(page)
            return 0
        app = build_app(words[0] if words else "")
        words = translated(app, words)
        refuse_fractions(app, words)
        VOICE.words = tuple(words)
        result = app(words)
        if asks_help and words[0] == "inspect" and words[1] not in ("list", "settings"):
            show_all_settings()
        sys.stdout.flush()
        return result if isinstance(result, int) and not isinstance(result, bool) else 0
    except cyclopts.CycloptsError as error:
        return _say_error(_as_usage(error))
    except ConvscopeError as error:
        return _say_error(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has gone (`| head`): not an error, but nothing may be flushed at exit either.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        _show_traceback(error)
        print("error: out of memory\n  fix: use fewer images at once", file=sys.stderr)
        return 6
    except OSError as error:
        from convscope.files import of_system

        return _say_error(of_system(error))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except Exception as error:
        return _crash(error)


def _take_global_options(words: list[str]) -> tuple[list[str], int | None]:
    """The words without the options that every command takes, and the threads asked for.

    A lone ``--`` ends these options. What they say of messages is left in `VOICE`.

    Raises:
        UsageError: U05 for a number of threads that cannot be.
    """
    VOICE.quiet, VOICE.progress, VOICE.debug = False, True, False
    threads = None
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += [word, *queue]
            break
        if word == "--debug":
            VOICE.debug = True
        elif word in ("--quiet", "-q"):
            VOICE.quiet = True
        elif word == "--no-progress":
            VOICE.progress = False
        elif word == "--threads" or word.startswith("--threads="):
            value = word.partition("=")[2] or (queue.pop(0) if queue else "")
            if (
                not value.isascii()
                or not value.isdigit()
                or not 1 <= int(value[:9]) <= MOST_THREADS
            ):
                raise UsageError(
                    f"--threads {value!r}",
                    code="U05",
                    expected=f"a number from 1 to {MOST_THREADS}",
                )
            threads = int(value)
        else:
            rest.append(word)
    return rest, threads


def _prepare(threads: int | None) -> None:
    """Set up streams and threads for the process.

    Names from files may hold anything; writing them must not fail. Idle OpenMP threads wait asleep,
    not spinning: on a machine whose cores are taken, a training of 21 s with one thread took 260 s
    with two, and 26 s with two that sleep. Torch reads all this when a command first imports it.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
        if "torch" in sys.modules:
            import torch

            torch.set_num_threads(threads)


def _show_traceback(error: BaseException) -> None:
    if VOICE.debug:
        traceback.print_exception(error)


def _say_error(error: ConvscopeError) -> int:
    _show_traceback(error)
    tag = f"error[{error.code}]" if error.code else "error"
    print(f"{tag}: {error}", file=sys.stderr)
    if error.code in CODES:
        print(f"  more: convscope explain {error.code}", file=sys.stderr)
    code: Any = getattr(error, "exit_code", 70)
    return int(code)


def _crash(error: Exception) -> int:
    """Our bug: the traceback goes to a file, three lines go to the person."""
    _show_traceback(error)
    text = "".join(traceback.format_exception(error))
    where = "(could not be written)"
    with contextlib.suppress(OSError):
        path = Path(tempfile.gettempdir()) / f"convscope-crash-{time.time_ns()}.txt"
        command = f"convscope {' '.join(sys.argv[1:])}"
        path.write_text(f"{command}\n\n{text}", encoding="utf-8", errors="replace")
        where = str(path)
    first = printable(f"{type(error).__name__}: {error}", limit=300)
    print(
        f"error: this is a bug in convscope: {first}\n  details: {where}\n"
        "  fix: please report it with that file; --debug shows it here",
        file=sys.stderr,
    )
    return 70


VALUES = {int: "a whole number", float: "a number", bool: "true or false"}
"""What an option of a type takes."""


def _as_usage(error: cyclopts.CycloptsError) -> UsageError:
    """What the parser says, as an error of the family with an example of the command."""
    if isinstance(error, cyclopts.CoercionError) and error.token is not None:
        option = error.token.keyword or (error.argument.name if error.argument else "")
        if isinstance(error.__cause__, UsageError):
            error.__cause__.where = option
            return error.__cause__
        if error.msg is None and error.target_type in VALUES:
            return UsageError(
                f"{option} {error.token.value!r}", code="U11", expected=VALUES[error.target_type]
            )
    what = " ".join(str(error).split())
    unused = re.fullmatch(r"Unused Tokens: \[(.*)\]\.?", what)
    if unused:
        what = f"nothing takes {unused[1]}"
    missing = re.fullmatch(r'Command "(.+?)" parameter (\S+) requires an argument\.', what)
    if missing:
        what = f"convscope {missing[1]} needs {missing[2]}"
    chain = [word for word in getattr(error, "command_chain", None) or () if word]
    examples = [
        line for line in EXAMPLES.get(chain[0] if chain else "", ())
        if line.startswith(f"convscope {' '.join(chain)} ")
    ]  # fmt: skip
    return UsageError(what, code="U01", expected=f"such as {examples[0]}" if examples else "")
