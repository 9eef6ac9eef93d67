"""`convscope serve`: networks in a page, computed on this machine, and a shelf of experiments.

`run_server` serves to 127.0.0.1 with a token until Ctrl-C; `application` is the ASGI application
behind it. The page is the playground's, whose modules know nothing of the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convscope._registry import lazy

if TYPE_CHECKING:
    from convscope.serve._app import Served, application
    from convscope.serve._methods import Field, Method
    from convscope.serve._networks import ServedNetwork
    from convscope.serve._server import PORT, needs_web, run_server
    from convscope.serve._shelf import Item, Shelf

__all__ = [
    "PORT",
    "Field",
    "Item",
    "Method",
    "Served",
    "ServedNetwork",
    "Shelf",
    "application",
    "needs_web",
    "run_server",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "_app": "Served application",
            "_methods": "Field Method",
            "_networks": "ServedNetwork",
            "_server": "PORT needs_web run_server",
            "_shelf": "Item Shelf",
        },
    )
