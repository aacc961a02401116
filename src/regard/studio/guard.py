"""What protects the studio from other pages, other users and other folders.

A page of another site may send requests to a server on this machine, and by DNS rebinding (a name that first resolves
to its own server and then to 127.0.0.1) even read the answers. So ``Host`` must be an address of this server,
``Origin`` and ``Sec-Fetch-Site``, where a browser sends them, this page, and all requests for data carry a token that
is new at every start and only part of the printed address. It is sent as a header, never as a cookie, which every port
of this machine would get.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from regard.errors import RegardError

TOKEN_HEADER = "x-regard-token"

MOST_IMAGE_BYTES, MOST_FILM_BYTES, MOST_JSON_BYTES = 32 * 2**20, 512 * 2**20, 2 * 2**20
"""Largest body of a request with an image, with a video, and of any other."""

LOOPBACK = ("127.0.0.1", "localhost")

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def is_local(host: str) -> bool:
    """Whether only programs on this machine reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> frozenset[str]:
    """What ``Host`` may name where a server listens on ``host``: never a name that another server could rebind."""
    if is_local(host):
        return frozenset((*LOOPBACK, host))
    return frozenset((*LOOPBACK, host, socket.gethostname().lower()))


class Guard:
    """ASGI middleware that lets pass only requests of the studio's page, of limited size.

    Args:
        app: what answers them.
        token: what requests for data must carry.
        port: of the server.
        names: see `names_of`.
        any_address: let ``Host`` be any numeric address, which cannot be rebound; for servers on all addresses.
        frames: pages that may show this one in a frame, as in ``frame-ancestors``.
        proxy: a further ``Host``, that of a proxy with HTTPS that shows this server to one browser.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        port: int,
        names: Iterable[str],
        any_address: bool = False,
        frames: str = "'none'",
        proxy: str = "",
    ) -> None:
        self.app, self.token, self.port, self.proxy = app, token, port, proxy.lower()
        self.names, self.any_address = frozenset(names), any_address
        framed = b"frame-ancestors " + frames.encode()
        self.headers = tuple((name, value.replace(b"frame-ancestors 'none'", framed)) for name, value in HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is no web socket
            return
        status, reason = self._objection(scope)
        if status:
            await _reject(send, status, reason)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in self.headers if h[0] not in known)]
            await send(message)

        await self.app(scope, _limited(receive, _limit(scope)), send_with_headers)

    def _objection(self, scope: Scope) -> tuple[int, str]:
        """Status and reason of a rejection; (0, "") for a request that is let pass."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._is_own(headers.get("host", "")):
            return 403, "this is not the studio's address: open the address that was printed"
        origin = headers.get("origin")
        if origin is not None and not self._is_own_origin(origin):
            return 403, "requests of other pages are rejected"
        if scope["path"].startswith("/api/"):
            if headers.get("sec-fetch-site", "same-origin") != "same-origin":
                return 403, "requests of other pages are rejected"
            if not secrets.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self.token.encode()):
                return 401, "the token is missing or of an earlier start: open the address that was printed"
        if scope["method"] not in ("GET", "HEAD"):
            if not headers.get("content-length", "").isdigit():
                return 411, "the length of the content is not stated"
            if int(headers["content-length"]) > _limit(scope):
                return 413, f"more than {_limit(scope) // 2**20} MiB"
        return 0, ""

    def _is_own_origin(self, origin: str) -> bool:
        if self.proxy and origin.lower() == f"https://{self.proxy}":
            return True
        return origin.startswith("http://") and self._is_own(origin.removeprefix("http://"))

    def _is_own(self, netloc: str) -> bool:
        if self.proxy and netloc.lower() == self.proxy:
            return True
        name, colon, port = netloc.lower().rpartition(":")
        if (port if colon else "80") != str(self.port):
            return False
        name = (name if colon else netloc.lower()).strip("[]")
        return name in self.names or (self.any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _limit(scope: Scope) -> int:
    most = {"/api/image": MOST_IMAGE_BYTES, "/api/film": MOST_FILM_BYTES}
    return most.get(scope["path"], MOST_JSON_BYTES)


def _limited(receive: Receive, most: int) -> Receive:
    """Receive at most ``most`` bytes, whatever length was stated."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return message if seen <= most else {"type": "http.disconnect"}

    return limited


async def _reject(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"what": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def inside(workspace: Path, name: str) -> Path:
    """Find a path in the workspace; symbolic links are followed before it is compared.

    Args:
        workspace: the folder, resolved.
        name: a path relative to it.

    Raises:
        RegardError: it leads out of the workspace.
    """
    path = Path(name)
    try:
        found = (workspace / path).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise RegardError(f"{name!r:.200} is no path") from error
    if path.is_absolute() or path.drive or not found.is_relative_to(workspace):
        raise RegardError(f"{name!r:.200} leads out of the workspace", expected="a path inside it")
    return found
