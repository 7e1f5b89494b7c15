"""Lessons as Jupyter notebooks: text and code without outputs, so that the prediction comes first.

The notebook format is JSON; these few keys of its version 4.5 are all that a lesson needs.
"""

from __future__ import annotations

import json
from typing import Any

from skinmnist.teaching.script import Cell, Lesson

_SOLUTION = "<details>\n<summary>Solution</summary>\n\n```python\n{}\n```\n\n</details>"


def to_notebook(lesson: Lesson) -> str:
    """Return a lesson as the text of an ``.ipynb`` file.

    A solution becomes a folded text: who runs all cells at once does not run into it.
    """
    notebook = {
        "cells": [_convert(cell, f"cell-{place}") for place, cell in enumerate(lesson.cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def _convert(cell: Cell, identity: str) -> dict[str, Any]:
    source = _SOLUTION.format(cell.source) if cell.kind == "solution" else cell.source
    converted: dict[str, Any] = {"id": identity, "metadata": {}, "source": source.splitlines(keepends=True)}
    if cell.kind == "code":
        return converted | {"cell_type": "code", "execution_count": None, "outputs": []}
    return converted | {"cell_type": "markdown"}
