"""The picture in a request: read into memory within limits, and never onto the disk."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from skinmnist.datasets.images.pictures import MAX_BYTES

#: What a form may add to its picture: names, lines between parts, a few small fields.
FORM_BYTES = 64 * 2**10
FORM_PARTS = 20
#: What all requests together may hold in memory.
ALL_BYTES = 8 * MAX_BYTES
#: RFC 2046 allows these in a boundary.
_BOUNDARY = re.compile(r"""boundary=("?)([0-9A-Za-z'()+_,./:=? -]{1,70})\1\s*(?:;|$)""", re.IGNORECASE)
_FILE = re.compile(rb"""^content-disposition:[^\r\n]*;\s*filename\*?=""", re.IGNORECASE | re.MULTILINE)


class Bodies:
    """All bodies that are in memory at one time, and how large they may be together."""

    def __init__(self, limit: int = ALL_BYTES) -> None:
        self._limit = limit
        self._held = 0

    @asynccontextmanager
    async def picture(self, request: Request) -> AsyncIterator[bytes]:
        """Read the picture of a request, and hold it until the block is left.

        Raises
        ------
        HTTPException
            413 where it is too large, before all of it was read; 503 where too much is held already; 400
            where there is no picture in a form.
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
    """Return the one file of a form (``multipart/form-data``, RFC 7578); what it is called is not looked at.

    Raises
    ------
    HTTPException
        400 where there is no file in it, or several, or where it was cut short.
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
    """Return what parts the fields of a form; None where the body is the picture itself."""
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
