"""Reports: a folder of sections, one HTML file, or a PDF. Needs neither torch nor the network."""

from __future__ import annotations

from convscope.reports._pdf import find_browser, print_pdf
from convscope.reports._render import Rendered, read_report, render
from convscope.reports._scripts import linked as linked_scripts
from convscope.reports._write import LARGEST_MATRIX, Report, Section, refuse_taken

__all__ = [
    "LARGEST_MATRIX",
    "Rendered",
    "Report",
    "Section",
    "find_browser",
    "linked_scripts",
    "print_pdf",
    "read_report",
    "refuse_taken",
    "render",
]
