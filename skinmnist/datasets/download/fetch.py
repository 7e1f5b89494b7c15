"""Download a file over HTTP with streaming, a size limit, verification, and resumption if interrupted."""

from __future__ import annotations

import hashlib
import http
import http.client
import json
import re
import string
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from skinmnist.datasets.files import check_type, is_plain, open_plain, write_atomically
from skinmnist.errors import InputError
from skinmnist.text import shown

_STEP = 1 << 18
_TIMEOUT_SECONDS = 60
#: Maximum number of times that a broken connection is resumed before the download fails.
_ATTEMPTS = 4
_REDIRECTS = 5
_REDIRECT_CODES = (301, 302, 303, 307, 308)
#: Pattern of a length; `int` alone fails on thousands of digits and accepts non-ASCII digits.
_NUMBER = "[0-9]{1,18}"

#: Raises an `InputError` if a file is invalid.
Check = Callable[[Path], None]
#: Receives the number of bytes downloaded and, if known, the size of the file.
OnProgress = Callable[[int, int | None], None]


class _Version(NamedTuple):
    """The version and size of a partially downloaded file."""

    tag: str
    total: int | None


class NotThereError(InputError):
    """Raised if the file does not exist on the mirror."""


class _UnfinishedError(InputError):
    """Raised if a download is incomplete but can be resumed."""


class _BrokenOffError(Exception):
    """Raised if the connection closed before the file was complete."""


class _ChangedError(_BrokenOffError):
    """Raised if the partial download belongs to another version of the file."""


@dataclass(frozen=True)
class _Extent:
    """Start and end of the response body within the file, and the size of the file."""

    start: int
    stop: int | None
    total: int | None


@dataclass(frozen=True)
class Expected:
    """Size limit and checksum of a file, known before it is downloaded."""

    largest: int  # Maximum size in bytes
    sha256: str | None = None


def fetch(
    url: str,
    path: Path,
    expected: Expected,
    *,
    check: Check | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[str, ...]:
    """Download a file over http or https to `path`, which is created once the file is complete and verified.

    A partial download is stored in ``<path>.part``, and the server's version (ETag or date) and the size are
    stored in ``<path>.part.json``; the next call requests the rest (RFC 9110, range requests). If the version
    has changed, the download restarts. The folder must belong to skinmnist, because existing files are
    replaced. `check` is called on the downloaded file before it is renamed. After an error, the partial file
    is deleted unless the next call can resume it. Returns notes on restarted downloads and missing checks.
    """
    split_url(url)
    part = path.with_name(path.name + ".part")
    for name in (path, part, _mark(part)):
        check_type(name)
    try:
        transfer = _Transfer(url, part, expected, on_progress)
        transfer.complete()
        check_content(url, part, expected)
        if check:
            check(part)
    except InputError as error:
        if not isinstance(error, _UnfinishedError | NotThereError):
            _forget(part)
        raise
    part.replace(path)
    _forget(part)
    return tuple(dict.fromkeys(transfer.notes))


def check_content(url: str, part: Path, expected: Expected) -> None:
    """Check the contents of a file against its checksum, if known."""
    if expected.sha256 is None:
        return
    with part.open("rb") as stream:
        check_digest(url, hashlib.file_digest(stream, "sha256").hexdigest(), expected)


def check_digest(where: str, received: str, expected: Expected) -> None:
    """Check a SHA-256 against the expected value, if known."""
    if expected.sha256 is not None and received != expected.sha256.lower():
        raise InputError(
            f"{where} has the SHA-256 {received}; expected {expected.sha256.lower()}, so it is another file "
            "or is damaged"
        )


def split_url(url: str) -> SplitResult:
    """Split a web address into its components."""
    try:
        parts = urlsplit(url)
    except ValueError:  # For example, an IPv6 address without its closing bracket.
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InputError(f"received the address {url!r}; expected one that begins with http:// or https://")
    return parts


@dataclass
class _Transfer:
    url: str
    part: Path
    expected: Expected
    on_progress: OnProgress | None
    notes: list[str] = field(default_factory=list)

    def complete(self) -> None:
        for left in reversed(range(_ATTEMPTS)):
            try:
                self._continue()
                return
            except _BrokenOffError as error:
                if not left:
                    raise _UnfinishedError(
                        f"{self.url} broke off ({error}); run the same command again to resume"
                    ) from None

    def _continue(self) -> None:
        """Request the rest of the file and append it."""
        begun = _begun_version(self.url, self.part)
        have = self.part.stat().st_size if begun.tag else 0
        headers = {"Accept-Encoding": "identity", "User-Agent": "skinmnist"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": begun.tag}
        try:
            with _open(self.url, headers) as answer:
                extent = _extent(self.url, answer, have)
                if extent.total is not None:
                    self._check_longest(extent.total, f"{extent.total:,}")
                if extent.start:
                    _check_same(answer, extent, begun)
                else:
                    if have:
                        self.notes.append(_anew(self.url))
                    _note_version(self.url, self.part, answer)
                length = self._append(answer, extent)
                if answer.length is None and not answer.chunked and self.expected.sha256 is None:
                    self.notes.append(
                        f"{self.url} came without a length or checksum, so it may be incomplete"
                    )
        except _ChangedError:
            self.notes.append(_anew(self.url))
            _forget(self.part)
            raise
        if extent.total is not None and length < extent.total:
            raise _BrokenOffError(f"{length:,} of {extent.total:,} bytes")

    def _append(self, answer: http.client.HTTPResponse, extent: _Extent) -> int:
        """Write the response body to its position in the file and return the new size."""
        length = extent.start
        with open(self.part, "r+b" if extent.start else "wb", opener=open_plain) as stream:
            stream.seek(length)
            while block := _read(answer):
                length += len(block)
                if extent.stop is not None and length > extent.stop:
                    raise InputError(
                        f"{self.url} sent more than the {extent.stop:,} bytes that it announced; expected no "
                        "more, so try another mirror"
                    )
                self._check_longest(length, f"more than {self.expected.largest:,}")
                stream.write(block)
                if self.on_progress:
                    self.on_progress(length, extent.total)
        return length

    def _check_longest(self, length: int, received: str) -> None:
        if length > self.expected.largest:
            raise InputError(
                f"{self.url} has {received} bytes; expected at most {self.expected.largest:,}, so try "
                "another mirror"
            )


def _open(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """Open a URL and follow redirects."""
    first = url
    for _ in range(_REDIRECTS + 1):
        try:
            return _opener().open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            error.close()
            url = _redirected(url, error, resumed="Range" in headers)
        except (http.client.HTTPException, OSError) as error:
            raise _BrokenOffError(_reason(error)) from None
        except (ValueError, OverflowError) as error:  # An invalid host name or port.
            raise _UnfinishedError(
                f"the address {url!r} cannot be opened ({_reason(error)}); check it, or try another mirror"
            ) from None
    raise _UnfinishedError(
        f"{first} redirects more than {_REDIRECTS} times; check the address, or try another mirror"
    )


def _redirected(url: str, error: urllib.error.HTTPError, resumed: bool) -> str:
    """Return the target of a redirect; raise an error for any other response that contains no file."""
    if error.code in (404, 410):
        raise NotThereError(f"{url} does not exist ({error.code}); expected a mirror that has it") from None
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and resumed:
        raise _ChangedError("it has changed") from None
    location = error.headers.get("Location") if error.code in _REDIRECT_CODES else None
    if location is None:
        raise _UnfinishedError(
            f"{url} was refused ({error.code} {shown(error.reason)}); check the address, or try later"
        ) from None
    try:
        # Like browsers, accept non-ASCII characters.
        target = urljoin(url, quote(location, safe=string.punctuation, encoding="iso-8859-1"))
        scheme = split_url(target).scheme
    except ValueError:
        raise _UnfinishedError(
            f"{url} redirects to {shown(location)}; expected an http or https address, so try another mirror"
        ) from None
    if (split_url(url).scheme, scheme) == ("https", "http"):
        raise _UnfinishedError(
            f"{url} redirects to {shown(location)}, where the file could be altered in transit; expected "
            "https, so try another mirror"
        ) from None
    return target


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        # `read` would load a chunk with a negative size into memory, however long it is.
        return answer.read1(_STEP)
    except (http.client.HTTPException, OSError) as error:
        raise _BrokenOffError(_reason(error)) from None


def _reason(error: Exception) -> str:
    reason = str(getattr(error, "reason", None) or error) or type(error).__name__
    return reason if reason.isprintable() else shown(reason)


def _extent(url: str, answer: http.client.HTTPResponse, have: int) -> _Extent:
    """Return the extent declared by the response headers after checking that it is valid."""
    packed = answer.headers.get("Content-Encoding", "identity")
    if packed != "identity":
        raise InputError(
            f"{url} came compressed ({shown(packed)}); expected the plain file, so try another mirror"
        )
    lengths = {length.strip() for length in answer.headers.get_all("Content-Length", [])}
    if len(lengths) > 1 or not all(re.fullmatch(_NUMBER, length) for length in lengths):
        raise InputError(
            f"{url} announced the length {shown(', '.join(sorted(lengths)))}; expected one number of bytes, "
            "so try another mirror"
        )
    length = int(lengths.pop()) if lengths else None
    if answer.status in (http.HTTPStatus.OK, http.HTTPStatus.NON_AUTHORITATIVE_INFORMATION):
        return _Extent(0, length, length)
    span_text = answer.headers.get("Content-Range", "nothing")
    span = re.fullmatch(rf"bytes ({_NUMBER})-({_NUMBER})/({_NUMBER})", span_text)
    first, last, total = map(int, span.groups()) if span else (0, 0, 0)
    asked = answer.status == http.HTTPStatus.PARTIAL_CONTENT and have > 0
    if not (asked and first == have <= last < total and length in (None, last + 1 - first)):
        raise InputError(
            f"{url} sent a part that was not requested (status {answer.status}, range {shown(span_text)}, "
            f"expected from {have:,} on); run the same command again"
        )
    return _Extent(first, last + 1, total)


def _check_same(answer: http.client.HTTPResponse, extent: _Extent, begun: _Version) -> None:
    """Check that the response continues the partial file, even if the server ignored ``If-Range``."""
    tagged = begun.tag.startswith('"')
    version = answer.headers.get("ETag" if tagged else "Last-Modified", "" if tagged else begun.tag)
    if version != begun.tag or begun.total not in (None, extent.total):
        raise _ChangedError("it has changed")


def _anew(url: str) -> str:
    return f"{url} was restarted: it has changed since the first part, or its mirror cannot resume it"


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener that supports only http and https and does not follow redirects."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _mark(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _note_version(url: str, part: Path, answer: http.client.HTTPResponse) -> None:
    """Store the identifier of this version of the file; a weak ETag is not an identifier."""
    tag = answer.headers.get("ETag", "")
    version = tag if re.fullmatch(r'"[^"\s]{1,200}"', tag) else answer.headers.get("Last-Modified", "")
    noted = {"url": url, "version": version, "total": answer.length}
    write_atomically(_mark(part), json.dumps(noted).encode())


def _begun_version(url: str, part: Path) -> _Version:
    """Return the version of the partial file, or an empty version if it cannot be resumed."""
    try:
        noted = json.loads(_mark(part).read_bytes()) if is_plain(_mark(part)) else None
    except (OSError, ValueError, RecursionError):
        noted = None
    if not isinstance(noted, dict) or noted.get("url") != url or not is_plain(part):
        noted = {}
    tag, total = noted.get("version"), noted.get("total")
    return _Version(tag if isinstance(tag, str) else "", total if isinstance(total, int) else None)


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _mark(part).unlink(missing_ok=True)
