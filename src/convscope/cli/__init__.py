"""The command line: arguments in, calls of the library, words and tables out.

`served_methods` are the methods of `convscope serve`, for whoever puts its application elsewhere.
"""

from convscope.cli._app import main
from convscope.cli._serve_methods import served_methods

__all__ = ["main", "served_methods"]
