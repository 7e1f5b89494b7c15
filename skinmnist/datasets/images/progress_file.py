"""What a build has done so far, on disk: an interrupted one goes on where it stopped."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from skinmnist.datasets.files import check_replaceable, open_plain, read_head, write_atomically

#: What became of a picture: the bytes of its rows, or the reason why it has none.
Outcome = bytes | str

#: How every journal begins, so that a file of the user's is not taken for one.
_MARK = b"skinmnist build\n"
_ROW, _REASON = b"\x01", b"\x02"
_LENGTH_BYTES = _SEAL_BYTES = 4


class Journal:
    """Records in one file, one for each picture in order.

    The file begins with a mark and the digest of what is built. A record is a mark, the length of what
    follows, the rows or the reason, and a seal over its place and bytes, so that what a crash has torn or
    left empty is not taken for a record.

    Parameters
    ----------
    path : Path
    digest : bytes
        Identifies what is built; a journal of anything else is written over.

    Raises
    ------
    InputError
        Where a file stands at `path` that is no journal.
    """

    def __init__(self, path: Path, digest: bytes) -> None:
        self.path = path
        self._head = _MARK + digest
        self._stream: BinaryIO | None = None
        #: Pictures that are noted.
        self.count = 0

    def __enter__(self) -> Journal:
        """Open the journal behind its last whole record."""
        check_replaceable(self.path, lambda head: head.startswith(_MARK) or _MARK.startswith(head))
        if not self._fits():
            write_atomically(self.path, self._head)
        end = len(self._head)
        for outcome in self.outcomes():
            self.count += 1
            end += len(_framed(outcome)) + _SEAL_BYTES
        self._stream = open(self.path, "r+b", opener=open_plain)
        self._stream.truncate(end)
        self._stream.seek(end)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def append(self, outcome: Outcome) -> None:
        """Note what became of the next picture."""
        assert self._stream is not None, "the journal is not open"
        framed = _framed(outcome)
        self._stream.write(framed + _seal(self.count, framed))
        self.count += 1

    def flush(self) -> None:
        """Hand over to the system what was noted, so that the end of this process does not lose it."""
        assert self._stream is not None, "the journal is not open"
        self._stream.flush()

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what was noted of each picture, up to the first record that is not whole."""
        if not self._fits():
            return
        with self.path.open("rb") as stream:
            stream.seek(len(self._head))
            number = 0
            while True:
                head = stream.read(1 + _LENGTH_BYTES)
                length = int.from_bytes(head[1:], "little")
                payload, seal = stream.read(length), stream.read(_SEAL_BYTES)
                if len(seal) < _SEAL_BYTES or seal != _seal(number, head + payload):
                    return
                yield payload if head[:1] == _ROW else payload.decode()
                number += 1

    def _fits(self) -> bool:
        return read_head(self.path).startswith(self._head)


def _framed(outcome: Outcome) -> bytes:
    mark, payload = (_REASON, outcome.encode()) if isinstance(outcome, str) else (_ROW, outcome)
    return mark + len(payload).to_bytes(_LENGTH_BYTES, "little") + payload


def _seal(number: int, framed: bytes) -> bytes:
    # The place goes in, and never as 0: a stretch of zeros must not seal itself.
    return zlib.crc32(framed, number + 1 & 0xFFFFFFFF).to_bytes(_SEAL_BYTES, "little")
