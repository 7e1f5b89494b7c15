"""Runs the cells of a notebook without Jupyter, so that its outputs need not be stored."""

from __future__ import annotations

import ast
import base64
from typing import Any


def run_notebook(notebook: dict[str, Any], names: dict[str, Any]) -> list[Any]:
    """Run the code cells in order, and return the value that each of them shows, or None.

    `names` are the variables of the notebook; they fill up on the way.
    """
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [run_cell("".join(cell["source"]), names) for cell in cells]


def run_cell(code: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does, and return what its last expression is."""
    *body, last = ast.parse(code).body
    if not isinstance(last, ast.Expr):
        body.append(last)
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return None


def as_output(value: Any) -> dict[str, Any]:
    """Return a value as a notebook stores it: as a picture, HTML or text, whichever is the richest."""
    if hasattr(value, "_repr_png_"):
        content, _ = value._repr_png_()
        return {"data": {"image/png": base64.b64encode(content).decode()}}
    if hasattr(value, "_repr_html_"):
        return {"data": {"text/html": value._repr_html_()}}
    return {"data": {} if value is None else {"text/plain": repr(value)}}
