"""The command line: arguments in, calls of the library, words and tables out."""

from convscope.cli._app import main

__all__ = ["main"]
