"""What every request must pass before anything looks at it, and the headers that every answer carries.

A page on this machine is reachable by every other page that its browser has open. Two checks keep those out:

- The name in ``Host`` must be one of this machine's: a foreign name that was made to point here (DNS
  rebinding) is refused.
- A request that changes or computes something must come from the page itself, or from a program: browsers say
  in ``Origin`` and ``Sec-Fetch-Site`` where it comes from.
"""

from __future__ import annotations

import ipaddress

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

#: Own files only, no script or style inside the page, no frames around it, no forms out of it.
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
#: Added by the server, so that its own errors carry them as well.
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


class Guard:
    """Middleware that refuses what comes from elsewhere.

    Parameters
    ----------
    app : ASGI application
    host : str
        What the server listens on, see `is_own_name`.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
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
    """Return the name or address in a ``Host`` header without its port; ``""`` where it is malformed."""
    name, colon, port = header.rpartition(":")
    if not colon or name.startswith("[") != name.endswith("]") or header.endswith("]"):
        name, port = header, ""
    if (colon and port and not port.isdecimal()) or (name.startswith("[") and not name.endswith("]")):
        return ""
    return name.strip("[]").lower()


def is_own_name(name: str, listening: str) -> bool:
    """Tell whether a name or address may stand for this server.

    Parameters
    ----------
    name : str
        From a request.
    listening : str
        The address or name that the server listens on. Only where it is every address (``0.0.0.0``, ``::``)
        is any address accepted: an address cannot be rebound, names can.
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
