"""Reports: a folder of sections, one HTML file, or a PDF. Needs neither torch nor the network."""

from __future__ import annotations

from convscope.reports._pdf import find_browser, print_pdf
from convscope.reports._render import Rendered, glossary_html, page, read_report, render
from convscope.reports._scripts import linked as linked_scripts
from convscope.reports._text import without_controls
from convscope.reports._tour import TOUR, TourStep
from convscope.reports._write import LARGEST_MATRIX, Report, Section, refuse_taken

__all__ = [
    "LARGEST_MATRIX",
    "TOUR",
    "Rendered",
    "Report",
    "Section",
    "TourStep",
    "find_browser",
    "glossary_html",
    "linked_scripts",
    "page",
    "print_pdf",
    "read_report",
    "refuse_taken",
    "render",
    "without_controls",
]
