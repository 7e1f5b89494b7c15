"""The server of the application: its socket, its timeout for slow clients, and checks of every request.

Every other page open in the browser can send requests to a local page. Two checks reject them:

- ``Host`` must name this machine. This rejects foreign names that were made to point here (DNS rebinding).
- A request that changes or computes anything must come from the page itself or from a program. Browsers send
  its origin in ``Origin`` and ``Sec-Fetch-Site``.

The picture in a request is read into memory, within limits, and never written to disk. Every response has
security headers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import h11
import uvicorn
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from skinmnist.datasets.images.pictures import MAX_BYTES
from skinmnist.errors import InputError

#: Time limit in seconds, from connecting or the end of the previous response to the end of the next.
PATIENCE = 60.0
#: Maximum number of simultaneous connections; further clients are asked to try again.
CONNECTIONS = 200
KEEP_ALIVE = 5
#: Only local files, no inline scripts or styles, no framing, and no form submissions.
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
#: Added by the server, so that its own error responses also have them.
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
SAFE_METHODS = {"GET", "HEAD"}
#: Allowance for everything in a form except the picture: names, boundaries and a few small fields.
FORM_BYTES = 64 * 2**10
FORM_PARTS = 20
#: Memory limit for the bodies of all requests together.
ALL_BYTES = 8 * MAX_BYTES
#: Characters that RFC 2046 allows in a boundary.
_BOUNDARY = re.compile(r"""boundary=("?)([0-9A-Za-z'()+_,./:=? -]{1,70})\1\s*(?:;|$)""", re.IGNORECASE)
_FILE = re.compile(rb"""^content-disposition:[^\r\n]*;\s*filename\*?=""", re.IGNORECASE | re.MULTILINE)


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise InputError if its address or port is unavailable."""
    if not 0 <= port <= 65_535:
        raise InputError(f"received the port {port}; expected 0 (any free one) to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):
        raise InputError(
            f"received the host {host!r}; expected an address of this machine, such as 127.0.0.1"
        ) from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            f"cannot listen on {host} port {port} ({reason}); name a free one with --port, or 0 for any"
        ) from None
    return listening


def make_server(app: ASGIApp, patience: float = PATIENCE) -> uvicorn.Server:
    """Return a server for an application; ``run(sockets=[...])`` starts it.

    Every response has the security headers, even if the request never reaches the application. Clients that
    send or receive too slowly are disconnected after `patience` seconds.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=partial(_ImpatientProtocol, patience=patience),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_level="error",
            access_log=False,
            server_header=False,
            headers=list(SECURITY_HEADERS.items()),
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=3,
        )
    )


class _ImpatientProtocol(H11Protocol):
    """HTTP protocol that adds a time limit for slow clients, and security headers on uvicorn's own errors."""

    def __init__(self, *arguments: Any, patience: float, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._patience = patience
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_again()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._end is not None:
            self._end.cancel()

    def on_response_complete(self) -> None:
        self._wait_again()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        sentence = (
            "received no valid HTTP request; expected one of HTTP/1.1, as browsers and programs send it"
        )
        headers = [
            *self.config.encoded_headers,
            (b"content-type", b"application/json"),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=json.dumps({"error": sentence}).encode("ascii")),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait_again(self) -> None:
        if self._end is not None:
            self._end.cancel()
        # Abort instead of closing: closing waits for a client that does not read.
        self._end = self.loop.call_later(self._patience, self.transport.abort)


class Guard:
    """Middleware that rejects foreign requests; `host` is the address on which the server listens."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            status, sentence = refusal
            await JSONResponse({"error": sentence}, status)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_own_name(host_name(hosts[0]), self._host):
            return 421, "received a request for another host; expected this machine's own name or address"
        if scope["method"] in SAFE_METHODS:
            return None
        origin = headers.getlist("origin")
        site = headers.getlist("sec-fetch-site")
        own = f"{scope['scheme']}://{hosts[0]}".lower()
        if any(value.lower() != own for value in origin) or set(site) - {"same-origin", "none"}:
            return 403, "received a request from another page; expected one from this page or from a program"
        return None


def host_name(header: str) -> str:
    """Return the name or address in a ``Host`` header without its port; ``""`` if it is malformed."""
    name, colon, port = header.rpartition(":")
    if not colon or name.startswith("[") != name.endswith("]") or header.endswith("]"):
        name, port = header, ""
    if (colon and port and not port.isdecimal()) or (name.startswith("[") and not name.endswith("]")):
        return ""
    return name.strip("[]").lower()


def is_own_name(name: str, listening: str) -> bool:
    """Return whether the name or address in a request may refer to this server.

    Arbitrary addresses are accepted only if the server listens on every address (``0.0.0.0``, ``::``). Unlike
    names, addresses cannot be rebound.
    """
    if name in ("localhost", listening.lower()):
        return True
    try:
        address, own = ipaddress.ip_address(name), _address(listening)
    except ValueError:
        return False
    return address.is_loopback or (own is not None and (address == own or own.is_unspecified))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


class Bodies:
    """All request bodies in memory, with a limit on their total size."""

    def __init__(self, limit: int = ALL_BYTES) -> None:
        self._limit = limit
        self._held = 0

    @asynccontextmanager
    async def picture(self, request: Request) -> AsyncIterator[bytes]:
        """Read the picture of a request and keep it in memory for the duration of the block.

        Raises HTTPException: 413 if the picture is too large, before all of it is read; 503 if the memory
        limit is reached; 400 if a form contains no picture.
        """
        boundary = _boundary(request)
        limit = MAX_BYTES if boundary is None else MAX_BYTES + FORM_BYTES
        taken = 0
        content = bytearray()
        _check_announced(request, limit)
        try:
            async for chunk in request.stream():
                if len(content) + len(chunk) > limit:
                    raise _too_large()
                if self._held + len(chunk) > self._limit:
                    raise HTTPException(503, "received too many pictures at once; try again in a moment")
                self._held += len(chunk)
                taken += len(chunk)
                content += chunk
            whole = bytes(content)
            content.clear()
            yield whole if boundary is None else file_of_form(whole, boundary)
        except ClientDisconnect:
            raise HTTPException(400, "received only a part of the picture; send it again") from None
        finally:
            self._held -= taken


def file_of_form(body: bytes, boundary: bytes) -> bytes:
    """Return the only file in a form (``multipart/form-data``, RFC 7578), regardless of its field name.

    Raises HTTPException 400 if the form contains no file or several files, or is truncated.
    """
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary, FORM_PARTS + 1)
    files: list[bytes] = []
    for part in parts[1:]:
        if part.startswith(b"--"):
            if len(files) == 1:
                return files[0]
            break
        head, blank, content = part.partition(b"\r\n\r\n")
        if blank and len(head) <= FORM_BYTES and _FILE.search(head):
            files.append(content)
    raise HTTPException(
        400, f"received a form with {len(files)} files or without an end; expected one file, so send it alone"
    )


def _boundary(request: Request) -> bytes | None:
    """Return the boundary between the fields of a form; None if the body is the picture itself."""
    kind = request.headers.get("content-type", "")
    name = kind.partition(";")[0].strip().lower()
    if name != "multipart/form-data":
        return None
    found = _BOUNDARY.search(kind)
    if found is None:
        raise HTTPException(
            400, "received a form without a boundary; expected one, so let your program add it"
        )
    return found[2].encode("ascii")


def _check_announced(request: Request, limit: int) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > limit):
        raise _too_large()


def _too_large() -> HTTPException:
    return HTTPException(
        413,
        f"received more than {MAX_BYTES // 2**20} MB; expected a smaller picture, so scale it down or save "
        "it as JPEG",
    )
