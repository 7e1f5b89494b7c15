"""Documents that stand elsewhere in the repository, such as CONTRIBUTING.md, as pages of this site.

A page that consists of ``<!-- page: ../CONTRIBUTING.md -->`` and a link for readers of the repository gets
the text of that file, with its links led to pages where there are some. A heading in it is kept, for files
that have none.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

STUB = re.compile(r"<!-- page: (\S+) -->\n+(# .+\n)?")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


def stubs(docs: Path) -> dict[Path, Path]:
    """Return the pages that stand for another file, by that file."""
    found = {}
    for page in docs.rglob("*.md"):
        match = STUB.match(page.read_text(encoding="utf-8")) if "_build" not in page.parts else None
        if match:
            found[(page.parent / match[1]).resolve()] = page
    return found


def led(text: str, file: Path, page: Path, pages: dict[Path, Path]) -> str:
    """Return the text of a file with links that lead the same way from a page."""

    def turn(match: re.Match[str]) -> str:
        target = (file.parent / match[1]).resolve()
        return "](" + os.path.relpath(pages.get(target, target), page.parent).replace(os.sep, "/")

    return LINK.sub(turn, text)


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace a stub by the text of its file."""
    match = STUB.match(source[0])
    if match:
        page = Path(str(app.env.doc2path(docname))).resolve()
        file = (page.parent / match[1]).resolve()
        app.env.note_dependency(str(file))
        source[0] = (f"{match[2]}\n" if match[2] else "") + led(
            file.read_text(encoding="utf-8"), file, page, stubs(Path(app.srcdir).resolve())
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill stubs when pages are read."""
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
