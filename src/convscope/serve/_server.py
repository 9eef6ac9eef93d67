"""The server: 127.0.0.1 only, one token per start, a clean end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from convscope.errors import ResourceError, UsageError
from convscope.serve._door import new_token
from convscope.serve._methods import Method
from convscope.serve._networks import ServedNetwork
from convscope.serve._shelf import Shelf

ADDRESS = "127.0.0.1"
PORT = 7860
PATIENCE = 2
"""Seconds that open answers get when the server ends."""


def needs_web() -> None:
    """Refuse to go on without the libraries of the extra ``web``.

    Raises:
        UsageError: M22.
    """
    try:
        import starlette
        import uvicorn

        del starlette, uvicorn
    except ImportError:
        raise UsageError(
            "convscope serve needs Starlette and uvicorn, which are not installed",
            code="M22",
            hint="pip install 'convscope[web]'",
        ) from None


def run_server(
    networks: Sequence[ServedNetwork],
    methods: Sequence[Method],
    *,
    folder: Path | None = None,
    port: int = PORT,
    on_start: Callable[[str], None] | None = None,
) -> None:
    """Serve networks and experiments to this machine until Ctrl-C.

    Args:
        networks: What is served; none: the shelf alone.
        methods: What the panels offer.
        folder: Where experiments are, or None.
        port: To listen at; 0: any that is free.
        on_start: Called with the address, which holds the token.

    Raises:
        UsageError: M22 without the extra ``web``; U13 if the port is taken.
    """
    needs_web()
    import uvicorn

    from convscope.serve._app import Served, application

    listener = listening(port)
    own = listener.getsockname()[1]
    token = new_token()
    served = Served(networks, methods, None if folder is None else Shelf(folder))
    config = uvicorn.Config(
        application(served, token=token, port=own), log_config=None, access_log=False,
        lifespan="off", timeout_graceful_shutdown=PATIENCE, server_header=False, ws="none",
    )  # fmt: skip
    try:
        if on_start is not None:
            on_start(f"http://{ADDRESS}:{own}/?token={token}")
        server = uvicorn.Server(config)
        ends = server.handle_exit

        def end(sig: int, frame: FrameType | None) -> None:
            served.cancel()
            ends(sig, frame)

        server.handle_exit = end  # type: ignore[method-assign]
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises it again when it has ended
        pass
    finally:
        served.close()
        listener.close()


def listening(port: int) -> socket.socket:
    """A socket that listens at this machine's own address only.

    Raises:
        UsageError: U13 if the port is taken.
        ResourceError: It may not be used.
    """
    # asyncio switches off delays (TCP_NODELAY) only where the protocol is named: 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
        listener.listen(64)
    except PermissionError as error:
        listener.close()
        raise ResourceError(f"port {port}: {error.strerror}", hint="--port 7860") from None
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {port} cannot be used: {error.strerror}", code="U13",
            hint="--port 0 takes any that is free",
        ) from None  # fmt: skip
    return listener
