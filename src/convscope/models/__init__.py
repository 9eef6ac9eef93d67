"""Networks: how they are built and described."""

from convscope.models._architecture import Architecture
from convscope.models._registry import MODELS, build
from convscope.models._summary import LayerSummary, NetworkSummary, summarize

__all__ = [
    "MODELS",
    "Architecture",
    "LayerSummary",
    "NetworkSummary",
    "build",
    "summarize",
]
