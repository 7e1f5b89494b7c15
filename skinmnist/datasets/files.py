"""Input files: what the operating system or the encoding refuses becomes one sentence."""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from pathlib import Path

from skinmnist.errors import InputError


def stat_file(path: Path) -> os.stat_result:
    """Return size and times of an input file.

    Raises
    ------
    InputError
        Where there is no such file, or where it is a folder.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise _refusal(path, error) from None
    except ValueError:  # No file can be called what holds a zero byte, or half a character.
        raise InputError(f"{path} cannot be the name of a file; expected a CSV file") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path} is a folder; expected a CSV file, so name the file inside it")
    return status


def read_file(path: Path) -> bytes:
    """Return the whole content of an input file.

    Raises
    ------
    InputError
        Where the operating system refuses.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _refusal(path, error) from None


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file that need not fit into memory, in hexadecimal.

    Raises
    ------
    InputError
        Where the operating system refuses.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _refusal(path, error) from None


def without_mark(content: bytes) -> bytes:
    """Return the content without the UTF-8 byte order mark that spreadsheets put in front."""
    return content.removeprefix(codecs.BOM_UTF8)


def decode(content: bytes, path: Path) -> str:
    """Decode a file, or its first lines.

    Raises
    ------
    InputError
        Names the row and the cell of the first byte that is not UTF-8.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        row = before.count(b"\n") - 1
        where = f"{path}, header (line 1)" if row < 0 else place(path, row)
        cell = before[before.rfind(b"\n") + 1 :].count(b",") + 1
        raise InputError(
            f"{where}, cell {cell}: received the byte 0x{content[error.start]:02x}, which is not UTF-8; "
            f"expected a plain CSV file, so save it again as UTF-8"
        ) from None


def place(path: Path, row: int, line: int | None = None) -> str:
    """Name a data row of a CSV for an error, such as ``table.csv, row 41 (line 43)``.

    Parameters
    ----------
    row : int
        0-based data row, as in every output of this package.
    line : int, optional
        1-based line of the file; by default that of a file with one line per row under one header line.
    """
    return f"{path}, row {row} (line {row + 2 if line is None else line})"


def _refusal(path: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} does not exist; expected a CSV file, so check its name and folder")
    reason = (error.strerror or str(error)).lower()
    return InputError(f"{path} cannot be read ({reason}); expected a CSV file that you may read")
