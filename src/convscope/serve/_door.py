"""Who may talk to the server: this machine, this page, with the token; and how much it may send.

A page of another site that a browser has open can send requests to 127.0.0.1, too. Its requests
carry its own Origin, or come under a name of its own (DNS rebinding); neither gets in. Other users
of this machine do not know the token.
"""

from __future__ import annotations

import hmac
import json
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from convscope.errors import ConvscopeError, DataError, UsageError
from convscope.serve._jobs import described

HOSTS = ("127.0.0.1", "localhost")
STATUS = {"U20": 403, "U21": 413}
"""Of HTTP, by code; other refusals are 422 for what was sent and 400 for what was asked."""

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""The pages' own scripts run, nothing else; nothing is loaded or sent elsewhere."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Door:
    """ASGI middleware that lets only the own page in.

    Args:
        app: What is behind the door.
        token: The secret of this server.
        port: That the server listens at.
    """

    def __init__(self, app: Any, *, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.cookie = f"convscope-{port}"
        default = (port == 80) * ("",)
        self.hosts = {f"{host}{end}" for host in HOSTS for end in (f":{port}", *default)}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request in, or answer it here."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            answer = self._checked(scope)
        except ConvscopeError as error:
            await _answer(send, STATUS[error.code], {"error": described(error)})
            return
        if answer is not None:
            await _redirect(send, *answer)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in HEADERS.items()
                      if k.encode() not in names),
                ]  # fmt: skip
            await send(message)

        await self.app(scope, receive, with_headers)

    def _checked(self, scope: Any) -> tuple[str, str] | None:
        """Where to go, and the cookie to take along, for a request with the token in its address.

        Raises:
            UsageError: U20.
        """
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = headers.get("host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            raise _refused("the Host of a request is not this server")
        own = {f"http://{host}" for host in self.hosts}
        origins = headers.get("origin", [])
        reads = scope["method"] in ("GET", "HEAD")
        if any(origin.lower() not in own for origin in origins) or not (reads or origins):
            raise _refused("a request comes from another page")
        if not reads and headers.get("sec-fetch-site", ["same-origin"]) != ["same-origin"]:
            raise _refused("a request comes from another page")
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if reads and given:
            if not self._is_token(given[0]):
                raise _refused("the token in the address is not that of this server")
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            path = quote("/" + scope["path"].lstrip("/"))
            where = path + (f"?{rest}" if rest else "")
            return where, f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        try:
            jar = SimpleCookie("; ".join(headers.get("cookie", [])))
        except CookieError:
            jar = SimpleCookie()
        kept = jar.get(self.cookie)
        if kept is None or not self._is_token(kept.value):
            raise _refused("no token came with a request")
        return None

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "replace"), self.token.encode())


def new_token() -> str:
    """A secret for one run of the server: 256 random bits."""
    return secrets.token_urlsafe(32)


async def body_of(request: Any, most: int) -> bytes:
    """The body of a request, read only as far as it may be long.

    Raises:
        UsageError: U21.
    """
    declared = request.headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit() or int(declared[:19]) > most:
        raise too_large(most)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise too_large(most)
        parts.append(part)
    return b"".join(parts)


def too_large(most: int) -> UsageError:
    """What was sent is larger than `most` bytes."""
    return UsageError(
        "what was sent is too large", code="U21", expected=f"at most {most / 1e6:,.1f} MB"
    )


def status_of(error: BaseException) -> int:
    """The HTTP status of an error."""
    if isinstance(error, ConvscopeError):
        return STATUS.get(error.code, 422 if isinstance(error, DataError) else 400)
    return 500


def _refused(what: str) -> UsageError:
    return UsageError(what, code="U20", hint="open the address that convscope serve prints")


async def _answer(send: Any, status: int, value: dict[str, Any]) -> None:
    text = json.dumps(value).encode()
    await _send(send, status, [("content-type", "application/json")], text)


async def _redirect(send: Any, where: str, cookie: str) -> None:
    await _send(send, 303, [("location", where), ("set-cookie", cookie)], b"")


async def _send(send: Any, status: int, own: list[tuple[str, str]], body: bytes) -> None:
    pairs = [*own, ("content-length", str(len(body))), *HEADERS.items()]
    headers = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
