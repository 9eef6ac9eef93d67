"""What a network learned: images that make its classes and neurons as active as possible."""

from convscope.visualizations._result import Control, Judgement, Nearest, Visualization

__all__ = ["Control", "Judgement", "Nearest", "Visualization"]
