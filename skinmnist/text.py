"""Sanitising untrusted text for terminals, sentences, pages, logs and spreadsheets."""

from __future__ import annotations

import json
import os
import re
import reprlib
import shlex
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from jinja2 import Environment

#: Longer lines are shortened in the middle; no path is longer than this.
LONGEST_LINE = 4096
#: Maximum length of a message from third-party code.
LONGEST_MESSAGE = 300
#: Maximum length of the name of a class, lesion or model, and of patient attributes.
LONGEST_NAME = 200
#: Zero-width joiners, which the spelling of some languages requires.
JOINERS = "\u200c\u200d"

_CUT = " … "
_SHOWN = 40
#: Maximum number of combining marks on a letter; more would cover the lines above.
_MOST_MARKS = 5
#: Invisible characters that Unicode does not classify as format characters.
_TRACELESS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\U000e0100-\U000e01ef]"
)
#: Text that spreadsheets interpret as a formula (OWASP, "CSV Injection"), also after strippable characters.
_FORMULA = re.compile(
    "'*(?:[\t\r\n]|[\\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20])"
)
_NEGATIVE_NUMBER = re.compile(r"-(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def printable(text: object, longest: int | None = LONGEST_LINE) -> str:
    r"""Return a text as one line without control or invisible characters.

    Control characters, escape sequences, direction marks, invisible characters, lone surrogates and
    stacks of combining marks are escaped, as in ``\x1b``, ``\u202e`` or ``\n``. All other characters,
    including letters of any script and the spaces between them, stay unchanged. Lines longer than `longest`
    are shortened in the middle.

    Examples
    --------
    >>> printable("two" + chr(10) + "lines")
    'two\\nlines'
    """
    line = _cut(str(text), longest)
    if line.isascii() and line.isprintable():
        return line
    return _cut("".join(ascii(sign)[1:-1] if hidden else sign for sign, hidden in _judged(line)), longest)


def one_line(message: object) -> str:
    """Join the lines of a third-party message into one short line and make it `printable`."""
    return printable(" ".join(str(message).split()), LONGEST_MESSAGE)


def shown(value: object) -> str:
    """Return a value as quoted in errors: in quotation marks, shortened, with unusual characters escaped.

    Examples
    --------
    >>> shown("a name that is longer than anybody would type")
    "'a name that is longer than anybody wo...'"
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "...")
    return reprlib.repr(value)


def shell_word(text: object) -> str:
    r"""Quote a word for a shell command if necessary, with undecodable bytes as in ``$'caf\xe9'``."""
    word = str(text)
    if printable(word, None) == word:
        return shlex.quote(word)
    plain = {byte: chr(byte) for byte in range(0x20, 0x7F)} | {0x27: r"\'", 0x5C: r"\\"}
    return "$'" + "".join(plain.get(byte, f"\\x{byte:02x}") for byte in os.fsencode(word)) + "'"


def is_name(text: object) -> TypeGuard[str]:
    """Return whether a text is a valid name: visible, on one line, and not too long."""
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_NAME:
        return False
    return printable(text, None) == text


def json_text(value: object, indent: int | None = None) -> str:
    """Return JSON that keeps letters of any script and escapes invisible characters."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(_json_escape(sign) if hidden and sign != "\n" else sign for sign, hidden in _judged(text))


def guarded_cell(text: str) -> str:
    """Return the text of a CSV cell, prefixed with an apostrophe if a spreadsheet would evaluate it.

    Negative numbers stay unchanged. `unguarded_cell` is the inverse.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NEGATIVE_NUMBER.fullmatch(text) else text


def unguarded_cell(text: str) -> str:
    """Return the original text of a cell written by `guarded_cell`."""
    return text[1:] if text.startswith("'") and guarded_cell(text[1:]) == text else text


def template_environment(folder: Path, finalize: Callable[[Any], Any] | None = None) -> Environment:
    """Return a Jinja environment for the templates in a folder.

    Values are escaped after applying `finalize`; undefined names raise an error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _cut(line: str, longest: int | None) -> str:
    if longest is None or len(line) <= longest:
        return line
    tail = longest // 3
    return line[: longest - tail - len(_CUT)] + _CUT + line[-tail:]


def _judged(line: str) -> Iterator[tuple[str, bool]]:
    """Yield each character, and whether it must be escaped to be visible."""
    marks = _MOST_MARKS  # A mark at the beginning has no base letter.
    for sign in line:
        marks = marks + 1 if unicodedata.category(sign)[0] == "M" else 0
        hidden = not sign.isprintable() and unicodedata.category(sign) != "Zs"
        yield sign, hidden or marks > _MOST_MARKS or _TRACELESS.match(sign) is not None


def _json_escape(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def listed(items: list[str], most: int = 4) -> str:
    """Join items, keeping only the first `most` of a long list."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + rest


def documentation_page(name: str) -> str:
    """Return the location of a page of the documentation, such as ``"pitfalls/SKM001"``.

    The location is a URL if the package has one for its documentation (``project.urls`` in pyproject.toml),
    and a path in the repository otherwise.
    """
    from importlib import metadata

    try:
        urls = metadata.metadata("skinmnist").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        urls = []
    for url in urls:
        label, _, address = url.partition(", ")
        if label.lower() == "documentation":
            return f"{address.rstrip('/')}/{name}.html"
    return f"docs/{name}.md"
