"""Notebooks as pages: their texts and code, and their outputs, stored or made when the pages are built.

A few lines in place of a Jupyter installation: a notebook is JSON, and its texts are Markdown like that of
the other pages.
"""

from __future__ import annotations

import json
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from run_notebook import as_output, run_notebook
from sphinx.application import Sphinx

#: More backticks than any cell uses, so that nothing inside ends a block.
_FENCE = "`" * 7


class NotebookParser(MystParser):
    """Turns a notebook into Markdown and parses that."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parse the source of a notebook."""
        super().parse(as_markdown(with_outputs(json.loads(inputstring))), document)


def with_outputs(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook with outputs; one that stores none is run."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if not any(cell["outputs"] for cell in cells):
        for cell, value in zip(cells, run_notebook(notebook, {}), strict=True):
            cell["outputs"] = [as_output(value)]
    return notebook


def as_markdown(notebook: dict[str, Any]) -> str:
    """Return a notebook as Markdown."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source.strip():
            parts.append(f"{_FENCE}python\n{source}\n{_FENCE}")
            parts += [shown for output in cell.get("outputs", []) if (shown := output_as_markdown(output))]
    return "\n\n".join(parts) + "\n"


def output_as_markdown(output: dict[str, Any]) -> str:
    """Return one stored output: a picture, HTML or text, whichever is the richest."""
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        words = " ".join("".join(data.get("text/plain", "A figure")).split()).replace('"', "'")
        return raw_html(f'<p><img class="output" alt="{words}" src="data:image/png;base64,{picture}"></p>')
    if "text/html" in data:
        return raw_html(f'<div class="output" tabindex="0">{"".join(data["text/html"])}</div>')
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"{_FENCE}text\n{text.rstrip()}\n{_FENCE}" if text.strip() else ""


def raw_html(content: str) -> str:
    """Return a block that is passed on as HTML."""
    return f"{_FENCE}{{raw}} html\n{content}\n{_FENCE}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Read files that end in ``.ipynb``."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
