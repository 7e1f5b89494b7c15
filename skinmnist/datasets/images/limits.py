"""Limits on picture files that are checked before decoding.

A file of a few kilobytes can declare hundreds of megabytes of pixels, and a file with millions of empty
pieces (JPEG segments, PNG or WebP chunks) keeps a Python reader busy for half a minute. Both are detected in
a single pass over the pieces, which stops at the first limit exceeded and therefore has a bounded cost.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from skinmnist.errors import InputError

#: Maximum number of JPEG segments or PNG or WebP chunks. A 32 MB PNG in libpng's 8 kB chunks has 4,100.
MAX_PIECES = 10_000
#: Maximum total size of pieces without pixels: previews, depth maps, profiles, text.
MAX_METADATA = 8 * 2**20
#: Maximum number of EXIF pieces; for each of them, readers join all pieces again.
MAX_EXIF_PIECES = 200
#: Maximum number of scans. A progressive JPEG has about ten; an empty scan costs as much as a full scan.
MAX_SCANS = 100
#: Number of scans allowed for any picture; above it, the maximum number of pixels in all scans together.
USUAL_SCANS, MAX_SCANNED_PIXELS = 16, 50_000_000
#: Number of pixels above which pictures are decoded one at a time and rejected if they have very few bytes.
LARGE_PIXELS = 8_000_000
#: Maximum number of pixels per byte. A smooth picture at the lowest quality has 60 as JPEG and 124 as WebP.
MAX_PIXELS_PER_BYTE = 200
#: Maximum number of bytes between the segments of a JPEG header, which readers skip one at a time.
MAX_JUNK = 16 * 2**10

_PNG, _JPEG, _RIFF, _BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"BM"
#: JPEG markers that start a segment, and the end marker; all others have no segment or are invalid.
_LEADS = np.isin(np.arange(256), [*range(0xC0, 0xD0), *range(0xD9, 0xFF)])
_START_OF_SCAN, _END_OF_JPEG = b"\xda", b"\xd9"
_FRAMES = frozenset(bytes([code]) for code in range(0xC0, 0xD0)) - {b"\xc4", b"\xc8", b"\xcc"}
#: JPEG markers that no decoder supports; readers interpret the data after them as further markers.
_UNSUPPORTED = frozenset(bytes([code]) for code in (0xC8, 0xDE, 0xDF, *range(0xF0, 0xFE)))
_LONGEST_FRAME = 38
_WINDOW = 2**20
#: Pieces that contain pixels.
_PIXELS = frozenset((b"IDAT", b"fdAT", b"VP8 ", b"VP8L", b"ALPH", b"ANMF"))
#: Pieces that declare the size of the picture.
_DECLARING = _FRAMES | {b"IHDR", b"VP8X", b"VP8 ", b"VP8L"}
_EXIF = b"Exif\0\0"


class _Piece(NamedTuple):
    """A segment or chunk: its kind, the start of its data, and its declared number of bytes."""

    kind: bytes
    start: int
    length: int


def check_limits(content: bytes) -> int:
    """Raise an error for a malicious file that would take excessive time or memory to decode.

    The limits are above those of files written by cameras and editors. Returns the number of pixels declared
    by the file, or 0 if it was not found. Formats other than PNG, JPEG, WebP and BMP are not checked, because
    the reader rejects them.
    """
    if content.startswith(_PNG):
        return _walk(content, "PNG", "chunks", _png_chunks(content))
    if content.startswith(_JPEG):
        return _walk(content, "JPEG", "segments", _jpeg_segments(content))
    if content.startswith(_RIFF) and content[8:12] == b"WEBP":
        return _walk(content, "WebP", "chunks", _webp_chunks(content))
    return _bmp_pixels(content) if content.startswith(_BMP) else 0


def check_density(pixels: int, count: int) -> None:
    """Raise an error for a large picture with so few bytes that it must be a decompression bomb."""
    if pixels > LARGE_PIXELS and pixels > MAX_PIXELS_PER_BYTE * count:
        raise InputError(
            f"received {pixels:,} pixels in {count:,} bytes, which is no photograph; expected at most "
            f"{MAX_PIXELS_PER_BYTE} pixels per byte in a picture this large, so scale it down"
        )


def _walk(content: bytes, form: str, called: str, pieces: Iterator[_Piece]) -> int:
    """Check all pieces against the limits and return the largest declared number of pixels."""
    metadata = exif = scans = pixels = 0
    for count, piece in enumerate(pieces, 1):
        exif += content.startswith(_EXIF, piece.start)
        scans += form == "JPEG" and piece.kind == _START_OF_SCAN
        metadata += 0 if piece.kind in _PIXELS else min(piece.length, len(content) - piece.start)
        pixels = max(pixels, _declared(content, piece))
        if count > MAX_PIECES or exif > MAX_EXIF_PIECES:
            raise _beyond(form, f"more than {MAX_PIECES:,} {called}, or {MAX_EXIF_PIECES} of EXIF")
        if metadata > MAX_METADATA:
            raise _beyond(form, f"more than {MAX_METADATA // 2**20} MB besides its pixels")
        if scans > MAX_SCANS:
            raise _beyond(form, f"more than {MAX_SCANS} scans")
        if scans > USUAL_SCANS and scans * pixels > MAX_SCANNED_PIXELS:
            raise _beyond(form, f"more than {USUAL_SCANS} scans of {pixels:,} pixels")
    return pixels


def _beyond(form: str, what: str) -> InputError:
    return InputError(
        f"received a {form} of {what}; expected at most that many, so save it again with another program"
    )


def _png_chunks(content: bytes) -> Iterator[_Piece]:
    place = len(_PNG)
    while place + 8 <= len(content):
        piece = _Piece(content[place + 4 : place + 8], place + 8, _number(content, place, "big"))
        yield piece
        if piece.kind == b"IEND":
            return
        place += 12 + piece.length


def _webp_chunks(content: bytes) -> Iterator[_Piece]:
    place, end = 12, min(len(content), 8 + _number(content, 4, "little"))
    while place + 8 <= end:
        piece = _Piece(content[place : place + 4], place + 8, _number(content, place + 4, "little"))
        yield piece
        place += 8 + piece.length + piece.length % 2


def _jpeg_segments(content: bytes) -> Iterator[_Piece]:
    """Yield the segments that libjpeg would find; comments and data after the picture are not searched."""
    place, junk, in_head, framed = 2, 0, True, False
    while True:
        end = min(len(content), place + MAX_JUNK + 2) if in_head else len(content)
        mark = _next_mark(content, place, end)
        if mark >= end:
            break
        kind = content[mark + 1 : mark + 2]
        if in_head:
            junk += mark - place
            _check_head(content, kind, mark, junk, framed)
            framed |= kind in _FRAMES
        if kind == _END_OF_JPEG:
            if not in_head:
                return
            junk, place = junk + 2, mark + 2
            continue
        piece = _Piece(kind, mark + 4, max(0, int.from_bytes(content[mark + 2 : mark + 4], "big") - 2))
        yield piece
        place = mark + 4 + piece.length
        in_head &= kind != _START_OF_SCAN
    if in_head:
        _check_head(content, b"", mark, junk + mark - place, framed)


def _next_mark(content: bytes, place: int, end: int) -> int:
    """Return the position of the next marker that starts a segment, or `end` if no marker is found."""
    if content[place : place + 1] == b"\xff" and place + 1 < len(content) and _LEADS[content[place + 1]]:
        return place
    width = 256
    while place + 1 < end:
        part = np.frombuffer(content, np.uint8, min(width, end - place), place)
        marks = np.flatnonzero((part[:-1] == 0xFF) & _LEADS[part[1:]])
        if len(marks):
            return place + int(marks[0])
        place, width = place + width - 1, min(4 * width, _WINDOW)
    return end


def _check_head(content: bytes, kind: bytes, mark: int, junk: int, framed: bool) -> None:
    """Raise an error for a header that is slow to read and that the decoder would reject anyway."""
    length = int.from_bytes(content[mark + 2 : mark + 4], "big")
    if junk > MAX_JUNK or kind in _UNSUPPORTED or (kind in _FRAMES and (framed or length > _LONGEST_FRAME)):
        raise InputError(
            "received a damaged JPEG, whose header is not a sequence of segments; expected a complete one, "
            "so save or send it again"
        )


def _declared(content: bytes, piece: _Piece) -> int:
    """Return the number of pixels that a piece declares, or 0 if it declares none."""
    if piece.kind not in _DECLARING:
        return 0
    data = content[piece.start : piece.start + 10]
    data = data.ljust(10, b"\0")  # A damaged piece may contain less data.
    if piece.kind == b"IHDR":
        width, height = struct.unpack_from(">II", data)
    elif piece.kind in _FRAMES:
        height, width = struct.unpack_from(">HH", data, 1)
    elif piece.kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (4, 7))
    elif piece.kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 6))
    else:
        bits = int.from_bytes(data[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int(width * height)


def _bmp_pixels(content: bytes) -> int:
    if _number(content, 14, "little") == 12:
        width, height = struct.unpack_from("<HH", content[18:22].ljust(4, b"\0"))
    else:
        width, height = struct.unpack_from("<ii", content[18:26].ljust(8, b"\0"))
    return abs(width * height)


def _number(content: bytes, place: int, order: Literal["big", "little"]) -> int:
    return int.from_bytes(content[place : place + 4], order)
