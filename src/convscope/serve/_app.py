"""The routes of the served page. Starlette is imported here and nowhere before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import asdict
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from convscope.errors import ConvscopeError, DataError, UsageError
from convscope.files import loads_json, plain_json
from convscope.reports import TOUR, glossary_html, without_controls
from convscope.serve._door import Door, body_of, status_of
from convscope.serve._frames import packed, unpacked
from convscope.serve._jobs import Job, Lane, described
from convscope.serve._laboratory import arithmetic, image_of, look, unit_image
from convscope.serve._methods import Method, chosen, run_method
from convscope.serve._networks import ServedNetwork
from convscope.serve._shelf import Shelf
from convscope.serve._shown import show

LARGEST_UPLOAD = 32_000_000
"""Bytes of an image file; its pixels are checked before it is decoded (I03, I04)."""

LARGEST_QUESTION = 100_000
COPIES = 18
"""Images of the network's size that one request may hold."""

ALIVE = 0.4
"""Seconds after which a working server says that it is."""

PLACES = {
    "js": (("convscope.playground", "convscope.serve"), "text/javascript"),
    "css": (("convscope.reports", "convscope.playground", "convscope.serve"), "text/css"),
}
Handler = Callable[[Request], Awaitable[Response]]


class Served:
    """What the routes work with.

    Args:
        networks: What is served.
        methods: What the panels offer.
        shelf: The experiments, or None.
    """

    def __init__(
        self, networks: Sequence[ServedNetwork], methods: Sequence[Method], shelf: Shelf | None
    ) -> None:
        self.networks = tuple(networks)
        self.methods = {method.name: method for method in methods}
        self.shelf = shelf
        self.quick, self.slow = Lane("quick"), Lane("slow")
        # While torch.fx traces, every module of the process is reached through it: no method may
        # run then. It begins before anybody asks.
        traced = [self.quick.call(network.layers) for network in self.networks]
        self.slow.call(lambda: wait(traced))

    def cancel(self) -> None:
        """Cancel all work, and return at once."""
        self.quick.cancel_all()
        self.slow.cancel_all()

    def close(self) -> None:
        """Cancel all work and end the threads."""
        self.quick.close()
        self.slow.close()

    def network(self, request: Request) -> ServedNetwork:
        """The network of an address.

        Raises:
            UsageError: U01 if there is none.
        """
        number = request.path_params["number"]
        if not 0 <= number < len(self.networks):
            raise UsageError(
                f"no network {number}", code="U01", expected=f"0 to {len(self.networks) - 1}"
            )
        return self.networks[number]


def application(served: Served, *, token: str, port: int) -> Any:
    """The ASGI application, behind its door.

    Args:
        served: Networks, methods, shelf.
        token: Secret of this server.
        port: That it listens at.
    """

    async def home(request: Request) -> Response:
        if not served.networks:
            return await shelf_page(request)
        return _html("network.html", served, number=0)

    async def network_page(request: Request) -> Response:
        served.network(request)
        return _html("network.html", served, number=request.path_params["number"])

    async def shelf_page(_: Request) -> Response:
        return _html("shelf.html", served, number=None)

    async def asset(request: Request) -> Response:
        text, kind = _asset(request.path_params["name"])
        return Response(text, media_type=kind)

    async def page(request: Request) -> Response:
        network = served.network(request)
        data = await asyncio.wrap_future(served.quick.call(network.page))
        methods = [method.described(network) for method in served.methods.values()]
        return _json({**data, "methods": methods, "tour": [asdict(step) for step in TOUR]})

    async def image(request: Request) -> Response:
        network = served.network(request)
        data = await body_of(request, LARGEST_UPLOAD)
        name = request.query_params.get("name", "image")[:200]
        pixels, notes = await run_in_threadpool(network.read_image, data, name)
        return _frames(packed({"part": "image", "notes": list(notes)}, {"image": pixels}))

    async def run(request: Request) -> Response:
        network, header, arrays = await _question(request)
        panel = _panel(request)
        job = Job((*panel, "look"), lambda job: look(job, network, header, arrays))
        return _stream(served.quick.submit(job))

    async def method(request: Request) -> Response:
        network, header, arrays = await _question(request)
        name = chosen(served.methods, header.get("method"))
        panel = (*_panel(request), name.family)

        def work(job: Job) -> None:
            image = image_of(network, arrays) if name.takes == "image" else None
            result = run_method(name, network, image, header)
            job.go_on()
            show(job, result, name.name)

        return _stream(served.slow.submit(Job(panel, work)))

    async def explain_sum(request: Request) -> Response:
        network, header, arrays = await _question(request)
        made = served.quick.call(lambda: arithmetic(network, header, arrays))
        return _json(await asyncio.wrap_future(made))

    async def unit(request: Request) -> Response:
        network, header, arrays = await _question(request)
        panel = (*_panel(request), "unit")
        job = Job(panel, lambda job: unit_image(job, network, header, arrays))
        return _stream(served.slow.submit(job))

    async def cancel(request: Request) -> Response:
        header = loads_json((await body_of(request, LARGEST_QUESTION)).decode("utf-8", "replace"))
        family = str(header.get("family")) if isinstance(header, dict) else ""
        panel = (*_panel(request), family)
        return _json({"canceled": served.slow.cancel(panel) or served.quick.cancel(panel)})

    async def _question(request: Request) -> tuple[ServedNetwork, dict[str, Any], Any]:
        network = served.network(request)
        channels, height, width = network.classifier.input_shape
        most = LARGEST_QUESTION + 4 * COPIES * channels * height * width
        header, arrays = unpacked(await body_of(request, most))
        return network, header, arrays

    def _the_shelf() -> Shelf:
        if served.shelf is None:
            raise UsageError("there is no shelf", code="U01", hint="convscope serve --folder runs")
        return served.shelf

    async def shelf_list(_: Request) -> Response:
        shelf = _the_shelf()
        items = await run_in_threadpool(lambda: [shelf.described(i) for i in shelf.items()])
        return _json({"items": items})

    async def shelf_run(request: Request) -> Response:
        shelf, name = _the_shelf(), request.query_params.get("name")
        text = request.query_params.get("after", "0")
        after = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
        mark = request.query_params.get("mark", "")
        return _json(await run_in_threadpool(lambda: shelf.run(name, after=after, mark=mark)))

    async def shelf_show(request: Request) -> Response:
        shelf, name = _the_shelf(), request.query_params.get("name")
        text, policy = await run_in_threadpool(lambda: shelf.page(name))
        return Response(text, media_type="text/html", headers={"content-security-policy": policy})

    api = "/api/{number:int}"
    routes = [
        Route("/", home),
        Route("/network/{number:int}", network_page),
        Route("/shelf", shelf_page),
        Route("/shelf/show", shelf_show),
        Route("/assets/{name}", asset),
        Route(f"{api}/page", page),
        Route(f"{api}/image", image, methods=["POST"]),
        Route(f"{api}/run", run, methods=["POST"]),
        Route(f"{api}/method", method, methods=["POST"]),
        Route(f"{api}/arithmetic", explain_sum, methods=["POST"]),
        Route(f"{api}/unit", unit, methods=["POST"]),
        Route("/api/cancel", cancel, methods=["POST"]),
        Route("/api/shelf", shelf_list),
        Route("/api/shelf/run", shelf_run),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            ConvscopeError: _refuse, HTTPException: _http_error, Exception: _refuse,
        },
    )  # fmt: skip
    return Door(app, token=token, port=port)


async def _refuse(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": described(error)}, status_code=status_of(error))


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = described(UsageError(error.detail, code="U01", hint="open the address of the server"))
    return JSONResponse({"error": what}, status_code=error.status_code)


def _panel(request: Request) -> tuple[str, ...]:
    """Which open page asks: a name that it gave itself."""
    name = request.query_params.get("panel", "")
    if not (0 < len(name) <= 64 and name.isascii() and name.isalnum()):
        raise UsageError("no panel asks", code="U21", hint="reload the page")
    return (name,)


def _json(value: Mapping[str, Any]) -> Response:
    return JSONResponse(plain_json(value, text=without_controls))


def _frames(data: bytes) -> Response:
    return Response(data, media_type="application/octet-stream")


def _stream(job: Job) -> Response:
    """The parts of a job as they come; a page that goes away cancels it."""

    async def parts() -> AsyncIterator[bytes]:
        try:
            while True:
                frame = await run_in_threadpool(job.next_frame, ALIVE)
                if frame is None:
                    return
                yield frame
        finally:
            job.cancel()

    return StreamingResponse(parts(), media_type="application/octet-stream")


def _html(template: str, served: Served, **values: Any) -> Response:
    text = (
        _environment()
        .get_template(template)
        .render(
            networks=[without_controls(network.name) for network in served.networks],
            shelf=served.shelf is not None,
            glossary=glossary_html(),
            **values,
        )
    )
    return Response(text, media_type="text/html")


@cache
def _asset(name: str) -> tuple[str, str]:
    """A module or style sheet of the package by its plain name.

    Raises:
        DataError: U02 for anything else.
    """
    stem, _, ending = name.rpartition(".")
    if ending in PLACES and stem.isidentifier():
        packages, kind = PLACES[ending]
        for package in packages:
            path = resources.files(package) / name
            if path.is_file():
                return path.read_text(encoding="utf-8"), kind
    raise DataError("no such file", code="U02", where=name[:80])


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(
            lambda name: (resources.files("convscope.serve") / name).read_text("utf-8")
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
