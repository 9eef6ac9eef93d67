"""The same page on paper: by the Chromium of the machine, else by WeasyPrint."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from convscope.errors import ResourceError
from convscope.files import checked_path, disk_errors
from convscope.reports._images import PRINTED
from convscope.reports._render import page

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
APPLICATIONS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
PATIENCE = 120.0
"""Seconds for a browser to print."""


def find_browser() -> str | None:
    """A browser that can print without a window, if this machine has one."""
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    return next((path for path in APPLICATIONS if Path(path).is_file()), None)


def print_pdf(folder: Path | str, out: Path | str) -> str:
    """Print a report folder to a PDF file.

    Args:
        folder: The report folder.
        out: The PDF; replaced whole.

    Returns:
        What printed it: the browser's name or ``"weasyprint"``.

    Raises:
        ResourceError: If nothing here can print; the text says how else to get a PDF.
    """
    folder, out = Path(folder), checked_path(out)
    text, _ = page(folder, enlarge=PRINTED)
    with disk_errors(out), tempfile.TemporaryDirectory(prefix="convscope-pdf-") as scratch:
        source, made = Path(scratch) / "report.html", Path(scratch) / "report.pdf"
        out.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text, encoding="utf-8", errors="backslashreplace")
        browser = find_browser()
        if browser and _by_browser(browser, source, made, Path(scratch)):
            printer = Path(browser).stem
        elif _by_weasyprint(source, made):
            printer = "weasyprint"
        else:
            raise ResourceError(
                "no program here can print a PDF",
                where=out,
                hint="open the HTML file and print it (Ctrl+P), or install Chromium, "
                'or: pip install "convscope[pdf]"',
            )
        _move(made, out)
    return printer


def _by_browser(browser: str, source: Path, made: Path, scratch: Path) -> bool:
    command = [
        browser,
        "--headless",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-extensions",
        "--no-first-run",
        "--no-pdf-header-footer",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={scratch / 'profile'}",
        f"--print-to-pdf={made}",
        source.as_uri(),
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Chromium refuses its sandbox to root; the page has no script and no network anyway.
        command.insert(1, "--no-sandbox")
    try:
        subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return made.is_file() and made.stat().st_size > 0


def _by_weasyprint(source: Path, made: Path) -> bool:
    code = "import sys, weasyprint; weasyprint.HTML(sys.argv[1]).write_pdf(sys.argv[2])"
    try:
        subprocess.run(
            [sys.executable, "-c", code, str(source), str(made)],
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return made.is_file()


def _move(made: Path, out: Path) -> None:
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=out.parent)
        os.close(descriptor)
        shutil.copyfile(made, temporary)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(out)
    except OSError as error:
        raise ResourceError(f"cannot write: {error.strerror or error}", where=out) from error
