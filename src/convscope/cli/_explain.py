"""``convscope explain``: what an error code means, what to do, and where it is raised."""

from __future__ import annotations

from typing import Annotated, Any

import cyclopts

from convscope.cli._output import emit, table


def explain(
    code: str | None = None,
    /,
    *,
    as_json: Annotated[bool, cyclopts.Parameter(name="--json", negative="")] = False,
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
        emit(_facts(entry), as_json=as_json, text=_page(entry))
        return
    entries = list(error_index().values())
    if as_json:
        emit([_facts(entry) for entry in entries], as_json=True)
        return
    table(
        ["code", "exit code", "situation"],
        [[entry.code, _exit_codes(entry), entry.words.situation] for entry in entries],
    )


def _facts(entry: Any) -> dict[str, Any]:
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


def _page(entry: Any) -> str:
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
    """Add the command."""
    app.command(explain)
