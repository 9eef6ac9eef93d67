"""An audit of one classifier: sections that compute, and one report of all that they found.

`audit` writes a report folder, and `convscope.reports.render` turns that into one HTML file.
`AUDIT_SECTIONS` is the registry of its sections; nothing is imported before one is filled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convscope._registry import lazy
from convscope.studies._sections import AUDIT_SECTIONS, SectionSpec

if TYPE_CHECKING:
    from convscope.studies._audit import AuditResult, audit

__all__ = ["AUDIT_SECTIONS", "AuditResult", "SectionSpec", "audit"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, {"_audit": "audit AuditResult"})
