"""The shell of a model file: a plain ZIP of stored members, written and read in one way only.

Any ZIP program opens it. In turn only what `pack` writes is read: `unpack` packs what it found again and
compares. So there is no compression that could explode, no path, no link, no comment, no member twice, no
gap and no overlap to be wary of.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping

from skinmnist.inference.checks import UnreadableError

#: Members of a file, and its bytes.
MOST_MEMBERS, MOST_BYTES = 64, 64 * 2**20

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
#: ZIP 2.0; no flags, not compressed; midnight of the first day that a ZIP can name.
_HOW = (20, 0, 0, 0, 0x21)
#: Made on Unix, and an ordinary file that everybody may read.
_MADE_BY, _RIGHTS = 3 << 8 | 20, 0o100644 << 16
_NAME = re.compile(r"[a-z0-9_]{1,60}\.(json|npy|onnx)")


def pack(members: Mapping[str, bytes]) -> bytes:
    """Join named members to the content of a ZIP, the same bytes for the same members.

    Layout: APPNOTE.TXT of PKWARE, "ZIP File Format Specification", sections 4.3.7, 4.3.12 and 4.3.16.
    """
    local, central = [], []
    offset = 0
    for name, content in members.items():
        encoded = name.encode("ascii")
        sizes = (zlib.crc32(content), len(content), len(content), len(encoded), 0)
        header = _LOCAL.pack(_LOCAL_MARK, *_HOW, *sizes) + encoded
        central.append(
            _CENTRAL.pack(_CENTRAL_MARK, _MADE_BY, *_HOW, *sizes, 0, 0, 0, _RIGHTS, offset) + encoded
        )
        local += [header, content]
        offset += len(header) + len(content)
    directory = b"".join(central)
    end = _END.pack(_END_MARK, 0, 0, len(central), len(central), len(directory), offset, 0)
    return b"".join([*local, directory, end])


def begins_with(content: bytes, name: str) -> bool:
    """Tell whether the first member has a name; the rest may be missing."""
    return content[:4] == _LOCAL_MARK and content[_LOCAL.size :].startswith(name.encode("ascii"))


def unpack(content: bytes) -> dict[str, bytes]:
    """Return the members of what `pack` has written.

    Raises
    ------
    UnreadableError
        For anything else.
    """
    if content[:4] != _LOCAL_MARK:
        raise UnreadableError("it is not written by skinmnist")
    members: dict[str, bytes] = {}
    place = 0
    while content[place : place + 4] == _LOCAL_MARK:
        if len(content) - place < _LOCAL.size or len(members) == MOST_MEMBERS:
            raise UnreadableError("it is cut off or has too many members")
        *_, size, name_length, _extra = _LOCAL.unpack_from(content, place)
        start = place + _LOCAL.size + name_length
        name = content[place + _LOCAL.size : start].decode("ascii", "replace")
        if not _NAME.fullmatch(name) or name in members or len(content) - start < size:
            raise UnreadableError("it is cut off, or one of its members is none of skinmnist's")
        members[name] = content[start : start + size]
        place = start + size
    if pack(members) != content:
        raise UnreadableError("it is cut off, damaged, or packed by another program")
    return members
