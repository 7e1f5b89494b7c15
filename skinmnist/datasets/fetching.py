"""One file over HTTP: streamed, limited, checked, and resumed where it was cut off."""

from __future__ import annotations

import hashlib
import http
import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from skinmnist.datasets.files import check_type, is_plain, open_plain, write_atomically
from skinmnist.errors import InputError

_STEP = 1 << 18
_TIMEOUT_SECONDS = 60
#: How often a connection that breaks is taken up again before the file is given up for now.
_ATTEMPTS = 4

#: Raises an `InputError` where a file is not what it should be.
Check = Callable[[Path], None]
#: Told how many bytes there are so far, and how many there will be where that is known.
Watcher = Callable[[int, int | None], None]


class NotThereError(InputError):
    """The mirror answers that it has no such file."""


class _UnfinishedError(InputError):
    """What has come so far is good, and the rest is not there."""


class _BrokenOffError(Exception):
    """The connection ended before the file did."""


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is fetched.

    Attributes
    ----------
    largest : int
        Bytes that it cannot exceed.
    sha256 : str or None
    """

    largest: int
    sha256: str | None = None


def fetch(
    url: str, path: Path, expected: Expected, *, check: Check | None = None, watch: Watcher | None = None
) -> None:
    """Fetch a file to `path`, which appears when it is whole and checked.

    What has come so far is kept in ``<path>.part``, with the server's mark of the version (its ETag, else its
    date) in ``<path>.part.json``; the next call asks for the rest, as RFC 9110 describes ranges.

    Parameters
    ----------
    url : str
        Of http or https.
    path : Path
        In a folder that exists and is skinmnist's own: what stands there and at these names is replaced.
    expected : Expected
    check : callable, optional
        Looks at what has come before it gets its name.
    watch : callable, optional

    Raises
    ------
    NotThereError
        Where the server has no such file.
    InputError
        Where the file is longer than it may be, where its content is not the expected one (what has come is
        thrown away), or where the server cannot be reached or breaks off (what has come is kept).
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise InputError(f"received the address {url!r}; expected one that begins with http:// or https://")
    part = path.with_name(path.name + ".part")
    for name in (path, part, _mark(part)):
        check_type(name)
    try:
        for attempt in range(_ATTEMPTS):
            try:
                _continue(url, part, expected, watch)
                break
            except _BrokenOffError as error:
                if attempt == _ATTEMPTS - 1:
                    raise _UnfinishedError(
                        f"{url} broke off ({error}); what has come is kept, so type the same command again"
                    ) from None
        _check_content(url, part, expected)
        if check:
            check(part)
    except InputError as error:
        if not isinstance(error, _UnfinishedError | NotThereError):
            _forget(part)
        raise
    part.replace(path)
    _forget(part)


def _continue(url: str, part: Path, expected: Expected, watch: Watcher | None) -> None:
    """Ask for what is missing of a file and append it."""
    version = _kept_version(url, part)
    have = part.stat().st_size if version else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "skinmnist"}
    if version and have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    with _open(urllib.request.Request(url, headers=headers)) as answer:
        start, total = _extent(url, answer, have)
        if total is not None and total > expected.largest:
            raise InputError(_too_long(url, f"{total:,}", expected))
        if not start:
            _note_version(url, part, answer)
        with open(part, "r+b" if start else "wb", opener=open_plain) as stream:
            stream.seek(start)
            length = start
            while block := _read(answer):
                length += len(block)
                if length > expected.largest:
                    raise InputError(_too_long(url, f"more than {expected.largest:,}", expected))
                stream.write(block)
                if watch:
                    watch(length, total)
    if total is not None and length < total:
        raise _BrokenOffError(f"{length:,} of {total:,} bytes")


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    url = request.full_url
    try:
        return _opener().open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise NotThereError(f"{url} is not there ({error.code}); expected a mirror that has it") from None
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise InputError(f"{url} is another file than before; type the same command again") from None
        raise _UnfinishedError(
            f"{url} was refused ({error.code} {error.reason}); check the address, or try later"
        ) from None
    except (http.client.HTTPException, OSError) as error:
        raise _BrokenOffError(_reason(error)) from None


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(_STEP)
    except (http.client.HTTPException, OSError) as error:
        raise _BrokenOffError(_reason(error)) from None


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def _extent(url: str, answer: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Return where the body begins in the file, and the length of the whole file where it is told."""
    packed = answer.headers.get("Content-Encoding", "identity")
    if packed != "identity":
        raise InputError(f"{url} came packed ({packed}); expected the plain file, so try another mirror")
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if span is None or int(span[1]) != have:
            raise InputError(f"{url} came in a part that was not asked for; type the same command again")
        return have, int(span[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _check_content(url: str, part: Path, expected: Expected) -> None:
    if expected.sha256 is None:
        return
    with part.open("rb") as stream:
        received = hashlib.file_digest(stream, "sha256").hexdigest()
    if received != expected.sha256.lower():
        raise InputError(
            f"{url} has the SHA-256 {received}; expected {expected.sha256.lower()}, so it is another file or "
            "was damaged on the way, and was thrown away"
        )


def _opener() -> urllib.request.OpenerDirector:
    """Open http and https only, wherever a server redirects to."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _mark(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _note_version(url: str, part: Path, answer: http.client.HTTPResponse) -> None:
    """Keep what tells this version of the file from another; a weak ETag does not."""
    tag = answer.headers.get("ETag", "")
    version = tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")
    write_atomically(_mark(part), json.dumps({"url": url, "version": version}).encode())


def _kept_version(url: str, part: Path) -> str:
    """Return the version of what has come so far, or nothing where it cannot be gone on with."""
    try:
        kept = json.loads(_mark(part).read_bytes()) if is_plain(_mark(part)) else {}
    except (OSError, ValueError):
        return ""
    fits = isinstance(kept, dict) and kept.get("url") == url and is_plain(part)
    return str(kept.get("version", "")) if fits else ""


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)


def _too_long(url: str, received: str, expected: Expected) -> str:
    return f"{url} has {received} bytes; expected at most {expected.largest:,}, so try another mirror"
