"""The server of the application: its socket, and its timeout for slow clients."""

from __future__ import annotations

import asyncio
import json
import socket
from functools import partial
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from skinmnist.errors import InputError
from skinmnist.web.guard import SECURITY_HEADERS

#: Time limit in seconds, from connecting or the end of the previous response to the end of the next.
PATIENCE = 60.0
#: Maximum number of simultaneous connections; further clients are asked to try again.
CONNECTIONS = 200
KEEP_ALIVE = 5


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
