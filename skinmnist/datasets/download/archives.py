"""Zip archives of others: only the expected members come out, no larger than they can be."""

from __future__ import annotations

import errno
import hashlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from skinmnist.datasets.download.fetch import Expected
from skinmnist.datasets.files import written_whole
from skinmnist.errors import InputError

_STEP = 1 << 18
_ENCRYPTED = 0x1
#: What zipfile and the libraries under it raise at altered bytes, names and offsets.
_DAMAGES = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, ValueError, OverflowError, struct.error)


def extract(archive: Path, folder: Path, expected: Mapping[str, Expected]) -> list[str]:
    """Extract the expected members of a zip archive into a folder.

    Nothing of an archive decides where anything is written: a member whose last name is an expected one is
    written to that name in `folder`, and no other member is opened.

    Parameters
    ----------
    archive, folder : Path
    expected : mapping of str to Expected
        By file name.

    Returns
    -------
    list of str
        Names that were extracted, in the order of `expected`.

    Raises
    ------
    InputError
        Where the archive is damaged; where an expected member is doubled, a link, encrypted, outside the
        archive, larger than it may be, or not of the expected content. Members that came out before stay.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened, archive, expected)
            for name, member in members.items():
                with written_whole(folder / name) as stream, opened.open(member) as source:
                    copy_checked(
                        source, stream, f"{archive.name}, member {member.filename!r}", expected[name]
                    )
    except InputError:
        raise
    except (*_DAMAGES, NotImplementedError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # A full disk is no fault of the archive; places before its beginning are.
        raise InputError(f"{archive} is no whole zip archive ({error}); fetch it again") from None
    return list(members)


def _members(
    opened: zipfile.ZipFile, archive: Path, expected: Mapping[str, Expected]
) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for member in opened.infolist():
        inside = PurePosixPath(member.filename.replace("\\", "/"))
        if inside.name not in expected or member.is_dir():
            continue
        where = f"{archive.name}, member {member.filename!r}"
        if inside.is_absolute() or ".." in inside.parts or ":" in inside.parts[0]:
            raise InputError(
                f"{where} points out of the archive; expected a plain one, so try another mirror"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InputError(f"{where} is a link; expected a file, so try another mirror")
        if member.flag_bits & _ENCRYPTED:
            raise InputError(f"{where} is encrypted; expected a plain one, so try another mirror")
        if inside.name in found:
            raise InputError(f"{where} stands there twice; expected it once, so try another mirror")
        found[inside.name] = member
    return {name: found[name] for name in expected if name in found}


def copy_checked(source: IO[bytes], stream: BinaryIO, where: str, expected: Expected) -> None:
    """Copy a file step by step; what anybody says of its size is not believed.

    Raises
    ------
    InputError
        Where it is longer than it may be, or not of the expected content.
    """
    length, digest = 0, hashlib.sha256()
    while block := source.read(_STEP):
        length += len(block)
        if length > expected.largest:
            raise InputError(
                f"{where} has more than {expected.largest:,} bytes, which it cannot have; try another mirror"
            )
        digest.update(block)
        stream.write(block)
    if expected.sha256 is not None and digest.hexdigest() != expected.sha256.lower():
        raise InputError(
            f"{where} has the SHA-256 {digest.hexdigest()}; expected {expected.sha256.lower()}, so it is "
            "another file or was damaged"
        )
