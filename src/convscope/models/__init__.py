"""Networks: how they are built, described, saved and loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convscope._registry import lazy
from convscope.models._registry import (
    ADAPTERS,
    EXPORTS,
    MODELS,
    AdapterSpec,
    ExportSpec,
    ModelSpec,
    adapter_forms,
    build,
    check_model_name,
    model_forms,
)
from convscope.models._shipped import shipped, shipped_config

if TYPE_CHECKING:
    from convscope.models._architecture import Architecture
    from convscope.models._export import export_model
    from convscope.models._fine_tuned import (
        Origin,
        load_onto,
        new_head,
        origin_of,
        relabel,
        save_fine_tuned,
    )
    from convscope.models._load import load
    from convscope.models._matching import KeyTable, compare_keys
    from convscope.models._summary import SUMMARY_COLUMNS, LayerSummary, NetworkSummary, summarize
    from convscope.models._weights import save_model

__all__ = [
    "ADAPTERS",
    "EXPORTS",
    "MODELS",
    "SUMMARY_COLUMNS",
    "AdapterSpec",
    "Architecture",
    "ExportSpec",
    "KeyTable",
    "LayerSummary",
    "ModelSpec",
    "NetworkSummary",
    "Origin",
    "adapter_forms",
    "build",
    "check_model_name",
    "compare_keys",
    "export_model",
    "load",
    "load_onto",
    "model_forms",
    "new_head",
    "origin_of",
    "relabel",
    "save_fine_tuned",
    "save_model",
    "shipped",
    "shipped_config",
    "summarize",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_architecture": "Architecture",
            "_fine_tuned": "Origin load_onto new_head origin_of relabel save_fine_tuned",
            "_export": "export_model",
            "_load": "load",
            "_matching": "compare_keys KeyTable",
            "_summary": "SUMMARY_COLUMNS LayerSummary NetworkSummary summarize",
            "_weights": "save_model",
        },
    )
