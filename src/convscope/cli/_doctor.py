"""``convscope doctor`` and ``explain``: what is missing or wrong here, what an error code means."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cyclopts

from convscope.cli._options import DataDir, Json
from convscope.cli._output import data_place, emit, next_step, progress, say, table
from convscope.errors import ConvscopeError, GateFailed, printable
from convscope.models import ADAPTERS

OK, MISSING, BROKEN = "ok", "optional", "broken"
PATIENCE = 60.0
"""Seconds for a library to be imported in a process of its own."""

EXTRAS = {
    "weasyprint": ('pip install "convscope[pdf]"', "PDF without a browser"),
    "uvicorn": ("pip install 'convscope[web]'", "convscope serve"),
    "optuna": ('pip install "convscope[search]"', "convscope search --method tpe"),
    "ray": ('pip install "convscope[ray]"', "--engine ray of large jobs"),
}
"""Libraries besides those of the adapters: what to type to get one, and what it is for."""

NEEDED = {
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "numpy": "numpy",
    "matplotlib": "matplotlib",
    "safetensors": "safetensors",
    "jinja2": "jinja2",
    "pooch": "pooch",
    "jaxtyping": "jaxtyping",
    "rich": "rich",
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the examination.

    Args:
        what: What was looked at.
        state: ``"ok"``, ``"optional"`` (not here, not needed) or ``"broken"``.
        found: What is there.
        fix: What to do, if anything.
    """

    what: str
    state: str
    found: str
    fix: str = ""


def doctor(
    *,
    data_dir: DataDir | None = None,
    as_json: Json = False,
) -> None:
    """Check Python, torch, device, threads, libraries, data and disk; print what to do.

    Exit code 1 if something that is needed is broken.

    Args:
        data_dir: Folder that holds the data files.
        as_json: Print JSON.
    """
    findings: list[Finding] = []
    with ThreadPoolExecutor() as asked, progress("examining", total=len(CHECKS)) as bar:
        # Libraries are imported in processes of their own, all at the same time.
        waiting = [(check, asked.submit(check, data_dir)) for check in CHECKS]
        for check, found in waiting:
            bar.describe(f"examining: {check.__name__.removeprefix('check_')}")
            findings += found.result()
            bar.advance(1)
    broken = [f for f in findings if f.state == BROKEN]
    if as_json:
        emit({"ok": not broken, "findings": [vars(f) for f in findings]}, as_json=True)
    else:
        table(["", "what", "found"], [[f.state, f.what, f.found] for f in findings])
        for finding in findings:
            if finding.fix:
                emit(None, text=f"{finding.what}: {finding.fix}")
    if broken:
        names = ", ".join(f.what for f in broken)
        raise GateFailed(f"broken: {names}", hint=broken[0].fix)
    if not as_json:
        say("all that is needed is here")
        next_step("convscope demo")


def check_python(data_dir: Path | None) -> list[Finding]:
    """Version of the interpreter."""
    fine = sys.version_info >= (3, 11)
    fix = "" if fine else "install Python 3.11 or newer"
    return [
        Finding(
            what="python", state=OK if fine else BROKEN, found=platform.python_version(), fix=fix
        )
    ]


def check_torch(data_dir: Path | None) -> list[Finding]:
    """Torch, device, threads and bf16, asked in a process of its own."""
    code = (
        "import json, torch;"
        "bf16 = getattr(torch.cpu, '_is_avx512_bf16_supported', lambda: False)();"
        "cuda = torch.cuda.is_available();"
        "mps = hasattr(torch.backends, 'mps') and torch.backends.mps.is_available();"
        "device = torch.cuda.get_device_name(0) if cuda else 'mps' if mps else 'cpu';"
        "x = torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3));"
        "print(json.dumps({'version': torch.__version__, 'device': device, 'bf16': bool(bf16),"
        " 'threads': torch.get_num_threads(), 'right': x.flatten().tolist() == [9.0] * 4}))"
    )
    done = _ask(code)
    if isinstance(done, str):
        fix = "pip install --force-reinstall torch (see pytorch.org for the build of your machine)"
        return [Finding(what="torch", state=BROKEN, found=done, fix=fix)]
    right = bool(done["right"])
    cores = os.cpu_count() or 1
    return [
        Finding(
            what="torch",
            state=OK if right else BROKEN,
            found=f"{done['version']}" + ("" if right else ", and a convolution comes out wrong"),
            fix="" if right else "pip install --force-reinstall torch",
        ),
        Finding(what="device", state=OK, found=str(done["device"])),
        Finding(what="threads", state=OK, found=f"{done['threads']} of {cores} cores"),
        Finding(
            what="bf16",
            state=OK if done["bf16"] else MISSING,
            found="fast on this processor"
            if done["bf16"]
            else "not fast on this processor; training uses float32",
        ),
    ]


def check_torchvision(data_dir: Path | None) -> list[Finding]:
    """A torchvision built for another torch breaks other packages by being there."""
    if find_spec("torchvision") is None:
        return [Finding(what="torchvision", state=MISSING, found="not installed, not needed")]
    done = _ask("import json, torchvision; print(json.dumps({'version': torchvision.__version__}))")
    if isinstance(done, str):
        return [
            Finding(
                what="torchvision",
                state=BROKEN,
                found=f"{_version('torchvision')}, built for another torch: {done}",
                fix="pip uninstall torchvision (convscope does not need it; while it is there, "
                "transformers, timm and torchmetrics fail), or install the build of your torch",
            )
        ]
    return [Finding(what="torchvision", state=OK, found=str(done["version"]))]


def check_libraries(data_dir: Path | None) -> list[Finding]:
    """What convscope needs besides torch, and what it can use."""
    lost = [name for module, name in NEEDED.items() if find_spec(module) is None]
    found = [
        Finding(
            what="libraries",
            state=BROKEN if lost else OK,
            found=f"missing: {', '.join(lost)}" if lost else f"{len(NEEDED)} found",
            fix=f"pip install {' '.join(lost)}" if lost else "",
        )
    ]
    adapters = {
        spec.library: (spec.install, f"{prefix}: networks")
        for prefix, spec in ADAPTERS.specs().items()
        if spec.library not in ("", "torchvision")  # `check_torchvision` tries it out
    }
    for module, (install, purpose) in {**adapters, **EXTRAS}.items():
        there = find_spec(module) is not None
        found.append(
            Finding(
                what=module,
                state=OK if there else MISSING,
                found=_version(module) if there else f"not installed (for {purpose})",
                fix="" if there else f"{install} if you want {purpose}",
            )
        )
    return found


def check_browser(data_dir: Path | None) -> list[Finding]:
    """Who would print a PDF."""
    from convscope.reports import find_browser

    browser = find_browser()
    there = browser or (find_spec("weasyprint") and "weasyprint")
    return [
        Finding(
            what="pdf",
            state=OK if there else MISSING,
            found=Path(str(there)).name if there else "no browser found for --pdf",
            fix="" if there else 'install Chromium, or pip install "convscope[pdf]"',
        )
    ]


def check_data(data_dir: Path | None) -> list[Finding]:
    """Which data sets are here; they are looked for, not read."""
    from convscope.data import DATASETS, status

    found = []
    for name in DATASETS:
        try:
            here = status(name, data_dir)
        except ConvscopeError as error:
            found.append(Finding(what=f"data {name}", state=BROKEN, found=error.what,
                                 fix=error.hint or error.expected))  # fmt: skip
            continue
        words = "built in" if here.built_in else "found"
        if here.files:
            words += f" in {here.files[0].parent}"
        if here.ready is None:
            fix, words = "", "not known: its record does not say"
        elif here.ready:
            fix = ""
        elif here.download_bytes:
            fix = shlex.join(["convscope", "data", "download", name, *data_place(data_dir)])
            words = f"not on this machine ({here.download_bytes / 1e6:,.0f} MB to download)"
        else:
            fix = f"convscope does not download it: {here.by_hand}"
            words = "not on this machine"
        state = OK if here.ready else MISSING
        found.append(Finding(what=f"data {name}", state=state, found=words, fix=fix))
    return found


def check_disk(data_dir: Path | None) -> list[Finding]:
    """Whether the working folder can be written, and how much room there is."""
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    allowed = os.access(Path.cwd(), os.W_OK)
    state = OK if allowed and free > 0.2 else BROKEN
    words = f"{free:.1f} GB free here" + ("" if allowed else ", and no permission to write")
    fix = "" if state == OK else "go to a folder with room that you may write to"
    return [Finding(what="disk", state=state, found=words, fix=fix)]


CHECKS: tuple[Callable[[Path | None], list[Finding]], ...] = (
    check_python,
    check_torch,
    check_torchvision,
    check_libraries,
    check_browser,
    check_data,
    check_disk,
)


def _ask(code: str, *words: str) -> Any:
    """What a fresh interpreter prints as JSON, or a sentence on why it could not."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE:.0f} s"
    except OSError as error:
        return f"cannot start Python: {error.strerror}"
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()
        return printable(last[-1] if last else f"exit code {done.returncode}", 160)
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return "an answer that makes no sense"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown version"


def explain(
    code: str | None = None,
    /,
    *,
    as_json: Json = False,
) -> None:
    """Explain an error code, such as U11; without one, list all of them.

    Args:
        code: The letter and two digits after "error".
        as_json: Print JSON.
    """
    from convscope.error_index import error_index
    from convscope.error_index import explain as entry_of

    if code is not None:
        entry = entry_of(code)
        emit(_entry_facts(entry), as_json=as_json, text=_entry_page(entry))
        return
    entries = list(error_index().values())
    if as_json:
        emit([_entry_facts(entry) for entry in entries], as_json=True)
        return
    table(
        ["code", "exit code", "situation"],
        [[entry.code, _exit_codes(entry), entry.words.situation] for entry in entries],
    )


def _entry_facts(entry: Any) -> dict[str, Any]:
    """An entry for machines."""
    return {
        "code": entry.code,
        "family": entry.family,
        "errors": list(entry.kinds),
        "exit_codes": list(entry.exit_codes),
        "situation": entry.words.situation,
        "advice": entry.words.advice,
        "raised": [
            {
                "error": site.kind,
                "file": site.file,
                "line": site.line,
                "function": site.function,
                "message": list(site.what),
                "expected": list(site.expected),
                "fix": list(site.fix),
            }
            for site in entry.sites
        ],
    }


def _exit_codes(entry: Any) -> str:
    return " or ".join(map(str, entry.exit_codes)) or "none, a note"


def _entry_page(entry: Any) -> str:
    """An entry for people."""
    kinds = f"{', '.join(entry.kinds)}; " if entry.kinds else ""
    lines = [
        f"{entry.code}: {entry.family} ({kinds}exit code {_exit_codes(entry)})",
        "",
        entry.words.situation,
        f"  fix: {entry.words.advice}",
        "",
        "Messages, with {name} for a value:",
    ]
    for (what, expected, fix), places in entry.messages().items():
        lines.append("")
        lines += what or ("(what the system says)",)
        lines += [f"  expected: {text}" for text in expected]
        lines += [f"  fix: {text}" for text in fix]
        lines.append(f"  raised in: {', '.join(places)}")
    return "\n".join(lines)


def register(app: cyclopts.App) -> None:
    """Add both commands."""
    app.command(doctor, name="doctor")
    app.command(explain)
