"""Help pages: their words, their layout, and the examples at the end of each.

The test suite parses every example.
"""

from __future__ import annotations

import contextlib
import shlex
from typing import Any, ClassVar

from attrs import evolve
from cyclopts.help import DefaultFormatter, HelpPanel

from convscope.cli._settings import shown_default
from convscope.models import model_forms

HELP = """See what a convolutional network learned, where it looks, and how it is fooled.

First steps: `convscope doctor`, then `convscope demo`."""

EPILOGUE = f"""Everywhere: --quiet (only results and errors), --no-progress, --threads N (CPU
threads), --debug (tracebacks). MODEL is {model_forms()}; `convscope models list` names the
networks. Fractions such as 8/255 are numbers. An option --NAME of COMMAND can also be set by the
environment variable CONVSCOPE_COMMAND_NAME."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "doctor": ("convscope doctor",),
    "demo": ("convscope demo", "convscope demo --out runs/first"),
    "data": (
        "convscope data list",
        "convscope data download mnist",
        "convscope data verify mnist --data-dir ~/data",
    ),
    "models": ("convscope models list", "convscope models show mnist-conv2-fc"),
    "export": (
        "convscope export mnist-conv2-fc --to torch-export --out digits.pt2",
        "convscope export hf:mobilenet --to onnx --out mobilenet.onnx",
    ),
    "train": (
        "convscope train mnist-conv2-fc-bn --data digits --out runs/digits",
        "convscope train mnist-conv2-fc-bn --data mnist --data-dir ~/data --preset long --seed 1",
        "convscope train --resume --out runs/digits",
        "convscope train mnist-conv1 --data digits --find-learning-rate rates.png",
        "convscope train mnist-conv1 --data digits --epochs 60 --patience 5 --log tensorboard",
        "convscope train mnist-conv1 --data folder:photos --epochs 20 --learning-rate 0.003",
    ),
    "search": (
        "convscope search mnist-conv2-fc-bn --data digits --space space.toml --trials 20 "
        "--storage search.journal --out search.html",
        "convscope search mnist-conv1 --data mnist --space space.toml --method grid --storage grid",
        "convscope search mnist-conv1 --data digits --space space.toml --trials 50 --storage "
        "postgresql://lab@server/searches --epochs 5",
    ),
    "eval": (
        "convscope eval runs/digits --data digits",
        "convscope eval runs/digits --data digits --json --fail-under accuracy=0.98",
        "convscope eval hf:mobilenet --data folder:photos --split all",
    ),
    "predict": (
        "convscope predict hf:mobilenet peppers.png --top 3",
        'convscope predict hf:mobilenet "photos/*.jpg" --json',
        "convscope predict runs/digits digits:test/0-9 --out predictions.html",
    ),
    "transfer": (
        "convscope transfer hf:mobilenet --data folder:photos",
        "convscope transfer hf:mobilenet --data pets --classifier svm --fail-under 0.9",
        "convscope transfer cifar-resnet20 --data folder:photos --out transfer.html",
        "convscope transfer hf:mobilenet --data pets --part features --shard 1/2",
    ),
    "inspect": (
        "convscope inspect runs/digits digits:test/7 --show saliency,occlusion --out look",
        "convscope inspect runs/digits digits:test/7 --show occlusion --window 4 --stride 2",
        "convscope inspect settings occlusion",
        "convscope inspect runs/digits digits:test/0-3 --targets all --out look.html",
        'convscope inspect runs/digits "digits:test?class=7/0-4" --show occlusion',
        "convscope inspect runs/digits --units pool2:0-9 --at center --out neurons",
        "convscope inspect runs/digits --units logits --recipe gaussian-gradient --out classes",
        "convscope inspect runs/digits --trust --data digits",
        "convscope inspect hf:mobilenet --trust --data pets --show grad-cam,occlusion",
        "convscope inspect hf:mobilenet --trust --data pets --resume",
    ),
    "attack": (
        "convscope attack pgd runs/digits digits:test/0-99 --epsilon 0.1",
        "convscope attack l2-gradient-ascent runs/digits digits:test/7 --target 3 --out f.html",
        "convscope attack l2-gradient-ascent runs/digits digits:test/7 --target all --out all.html",
        "convscope attack evaluate runs/digits --data digits --epsilon 0.1 --effort quick",
        "convscope attack ddn runs/digits digits:test/0-999 --resume",
        "convscope attack evaluate runs/digits --data digits --epsilon 0.1 --part p --shard 1/2",
        "torchrun --nproc-per-node 4 -m convscope attack evaluate runs/digits --data digits",
        "convscope attack certify runs/digits --data digits --sigma 0.25 --count 20",
        "convscope attack transfer mnist-conv1 mnist-conv2 --data digits --epsilon 0.1",
        'convscope attack survival hf:mobilenet peppers.png --target "space shuttle" --out fooled',
        "convscope attack settings pgd",
    ),
    "merge": (
        "convscope merge p",
        "convscope merge node-1 node-2 --json --fail-under robust=0.4",
    ),
    "audit": (
        "convscope audit runs/digits --data digits --out report.html",
        "convscope audit runs/digits --data digits --fail-under accuracy=0.98",
        "convscope audit runs/digits --data digits --resume",
        "torchrun --nproc-per-node 2 -m convscope audit runs/digits --data digits",
    ),
    "report": (
        "convscope report report",
        "convscope report report --out again.html --pdf",
    ),
    "study": (
        "convscope study",
        "convscope study assignment-2-report --fast",
        "convscope study assignment-2-report --data-dir ~/data --out runs/answers --pdf",
        "convscope study all --fast",
    ),
    "serve": (
        "convscope serve mnist-conv2-fc --data digits",
        "convscope serve hf:mobilenet --data folder:photos --open",
        "convscope serve runs/digits runs/other --folder runs --port 0",
        "convscope serve --folder runs",
    ),
    "scratch": ("convscope scratch check", "convscope scratch train --data digits"),
    "adder": ("convscope adder 100111 110010",),
    "explain": ("convscope explain U11", "convscope explain"),
}


WIDTH = 72


def epilogue(command: str) -> str:
    """The examples of `command` as a paragraph of its help page; long ones can be pasted, too."""
    lines = "\n".join(f"    {part}" for line in EXAMPLES[command] for part in broken(line))
    return f"Examples:\n\n{lines}"


def broken(line: str) -> list[str]:
    """A command on lines that fit a terminal, each but the last ended by a backslash.

    Example:
        >>> broken("convscope eval " + "x" * 40 + " --data 'folder:my photos of cats' --json")[1]
        "    'folder:my photos of cats' --json"
    """
    pieces = [""]
    for word in shlex.split(line, posix=False):
        if len(pieces[-1]) + len(word) + 3 > WIDTH:
            pieces[-1] += " \\"
            pieces.append("   ")
        pieces[-1] += f" {word}" if pieces[-1] else word
    return pieces


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
