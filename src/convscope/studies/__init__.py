"""One function per question, read from top to bottom like a lab notebook.

A study computes with the packages below and writes a report folder; `convscope.reports.render`
turns that into one HTML file.
"""

from collections.abc import Callable
from typing import Any

from convscope.studies._audit import AUDIT_SECTIONS, AuditResult, audit

STUDIES: dict[str, Callable[..., Any]] = {
    "audit": audit,
}

__all__ = ["AUDIT_SECTIONS", "STUDIES", "AuditResult", "audit"]
