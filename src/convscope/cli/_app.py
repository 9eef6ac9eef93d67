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
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import cyclopts
from attrs import evolve
from cyclopts.help import DefaultFormatter, HelpPanel

from convscope.cli._aliases import translated
from convscope.cli._examples import EXAMPLES, epilogue
from convscope.cli._methods import show_all_settings, show_page, wanted_page, wants_all_settings
from convscope.cli._output import VOICE
from convscope.cli._settings import shown_default
from convscope.error_codes import CODES
from convscope.errors import ConvscopeError, UsageError, printable
from convscope.models import model_forms

MODULES = {
    "doctor": "_doctor",
    "demo": "_demo",
    "data": "_data",
    "models": "_models",
    "train": "_train",
    "eval": "_eval",
    "inspect": "_inspect",
    "attack": "_attack",
    "audit": "_audit",
    "report": "_audit",
    "scratch": "_scratch",
    "adder": "_scratch",
    "explain": "_explain",
}
"""The module of each command, in the order of the help page: a first visit from top to bottom."""

COMMANDS = tuple(MODULES)
MODULE_ORDER = tuple(dict.fromkeys(MODULES.values()))

HELP = """See what a convolutional network learned, where it looks, and how it is fooled.

First steps: `convscope doctor`, then `convscope demo`."""

EPILOGUE = f"""Everywhere: --quiet (only results and errors), --no-progress, --threads N (CPU
threads), --debug (tracebacks). MODEL is {model_forms()}; `convscope models list` names the
networks. Fractions such as 8/255 are numbers. An option --NAME of COMMAND can also be set by the
environment variable CONVSCOPE_COMMAND_NAME."""


class PlainWords(DefaultFormatter):
    """Help pages that say TEXT and NUMBER, not STR and FLOAT, and no default of a switch."""

    KINDS: ClassVar[dict[str, str]] = {
        "STR": "TEXT",
        "INT": "WHOLE-NUMBER",
        "FLOAT": "NUMBER",
        "LIST[STR]": "TEXT",
        "STR...": "TEXT",
        "PATH": "PATH",
    }

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        """Draw a panel."""
        entries = []
        for entry in panel.entries:
            kind = self.KINDS.get((entry.metavar or "").upper(), entry.metavar)
            default = entry.default
            if default in ("False", "None"):
                default = None
            elif default is not None:
                with contextlib.suppress(ValueError):
                    number = float(default)
                    default = default if number.is_integer() else shown_default(number)
            entries.append(evolve(entry, metavar=kind, default=default))
        super().__call__(console, options, evolve(panel, entries=entries))


MOST_THREADS = 1024


@dataclass
class Everywhere:
    """Options that every command takes, wherever they stand."""

    debug: bool = False
    threads: int | None = None


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
    everywhere = Everywhere()
    try:
        words = _take_global_options(list(sys.argv[1:] if argv is None else argv), everywhere)
        _prepare_streams()
        _let_threads_sleep()
        if everywhere.threads is not None:
            _set_threads(everywhere.threads)
        if page := wanted_page(words):
            show_page(page)
            return 0
        app = build_app(words[0] if words else "")
        words = translated(app, words)
        VOICE.words = tuple(words)
        result = app(words)
        if wants_all_settings(words):
            show_all_settings()
        sys.stdout.flush()
        return result if isinstance(result, int) and not isinstance(result, bool) else 0
    except cyclopts.CycloptsError as error:
        return _say_error(_as_usage(error), everywhere)
    except ConvscopeError as error:
        return _say_error(error, everywhere)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader has gone (`| head`): not an error, but nothing may be flushed at exit either.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        return _say_bare("out of memory", "use fewer images at once", 6, error, everywhere)
    except OSError as error:
        from convscope.files import of_system

        return _say_error(of_system(error), everywhere)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except Exception as error:
        return _crash(error, everywhere)


def _take_global_options(words: list[str], everywhere: Everywhere) -> list[str]:
    """Remove the options that every command takes; a lone ``--`` ends them."""
    VOICE.quiet, VOICE.progress = False, True
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest += [word, *queue]
            break
        if word == "--debug":
            everywhere.debug = True
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
            everywhere.threads = int(value)
        else:
            rest.append(word)
    return rest


def _let_threads_sleep() -> None:
    """Idle OpenMP threads wait asleep, not spinning; read when torch is first imported.

    Spinning threads of a machine whose cores are taken cost up to ten times the run: a training
    of 21 s with one thread took 260 s with two, and 26 s with two that sleep.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")


def _set_threads(count: int) -> None:
    """Remember the wish; torch is imported by commands that need it, and reads this."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(count)


def _prepare_streams() -> None:
    """Names from files may hold anything; writing them must not fail."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _say_error(error: ConvscopeError, everywhere: Everywhere) -> int:
    if everywhere.debug:
        traceback.print_exception(error)
    tag = f"error[{error.code}]" if error.code else "error"
    print(f"{tag}: {error}", file=sys.stderr)
    if error.code in CODES:
        print(f"  more: convscope explain {error.code}", file=sys.stderr)
    code: Any = getattr(error, "exit_code", 70)
    return int(code)


def _say_bare(what: str, hint: str, code: int, error: BaseException, everywhere: Everywhere) -> int:
    if everywhere.debug:
        traceback.print_exception(error)
    print(f"error: {what}\n  fix: {hint}", file=sys.stderr)
    return code


def _crash(error: Exception, everywhere: Everywhere) -> int:
    """Our bug: the traceback goes to a file, three lines go to the person."""
    if everywhere.debug:
        traceback.print_exception(error)
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


def _as_usage(error: cyclopts.CycloptsError) -> UsageError:
    """What the parser says, as an error of the family with an example of the command."""
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
