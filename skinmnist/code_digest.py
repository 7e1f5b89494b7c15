"""A digest of the code behind a module's results, used to detect stale stored results."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType

_PACKAGE = Path(__file__).parent


@lru_cache
def code_digest(*modules: str) -> str:
    """Compute a digest of modules and of everything they import from this package, directly or indirectly.

    The digest covers the compiled code without imports. Comments, docstrings, line layout and file location
    do not change it. Imports inside functions are also followed.
    """
    digests = []
    for code in _reached(modules).values():
        state = hashlib.sha256()
        for part in _parts(code):
            state.update(part)
        digests.append(state.hexdigest())
    return hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()


def _reached(modules: Iterable[str]) -> dict[Path, CodeType]:
    """Compile modules and their imports, each without import statements and docstrings."""
    found: dict[Path, CodeType] = {}
    waiting = [_file_of(module) for module in modules]
    while waiting:
        path = waiting.pop()
        if path is not None and path not in found:
            tree = ast.parse(path.read_bytes())
            waiting += [_file_of(name) for name in _take_imports(tree)]
            found[path] = compile(tree, "", "exec", dont_inherit=True, optimize=2)
    return found


def _file_of(module: str) -> Path | None:
    """Return the file of a module in this package; None for any other module."""
    package, *parts = module.split(".")
    path = _PACKAGE.joinpath(*parts).with_suffix(".py")
    return path if package == _PACKAGE.name and parts and path.is_file() else None


def _take_imports(tree: ast.AST) -> list[str]:
    """Remove the import statements from a tree and return all names in them that may refer to modules."""
    names = []
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        statements = getattr(tree, field, None)
        if not isinstance(statements, list):
            continue
        for position, statement in enumerate(statements):
            if isinstance(statement, ast.ImportFrom) and statement.module:
                names += [statement.module]
                names += [f"{statement.module}.{alias.name}" for alias in statement.names]
            elif isinstance(statement, ast.Import):
                names += [alias.name for alias in statement.names]
            else:
                names += _take_imports(statement)
                continue
            statements[position] = ast.copy_location(ast.Pass(), statement)
    return names


def _parts(code: CodeType) -> Iterator[bytes]:
    """Yield the instructions, names and constants of a code object, without line numbers and file names."""
    yield code.co_code
    yield code.co_exceptiontable
    yield repr((code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)
        elif isinstance(constant, frozenset):  # Its order varies between processes.
            yield repr(sorted(map(repr, constant))).encode()
        else:
            yield repr(constant).encode()
