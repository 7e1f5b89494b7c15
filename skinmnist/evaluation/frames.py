"""Tables as CSV files that a spreadsheet can open without harm, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import pandas as pd

from skinmnist.text import guarded_cell, printable, unguarded_cell


def csv_bytes(frame: pd.DataFrame, header: bool = True) -> bytes:
    """Return a table as CSV; floats are written with the fewest digits that read back exactly.

    What a text would do to a terminal or a spreadsheet is disarmed; numbers are written as they are.
    """
    safe = frame.rename(columns={name: _cell(name) for name in frame.columns if _cell(name) != name})
    for position, column in enumerate(safe.columns):
        values = safe.iloc[:, position]
        if pd.api.types.is_numeric_dtype(values.dtype):
            continue
        texts = [value for value in values.unique() if isinstance(value, str)]
        changed = {text: _cell(text) for text in texts if _cell(text) != text}
        if changed:
            safe = safe.assign(**{column: [changed.get(value, value) for value in values]})
    return safe.to_csv(index=False, lineterminator="\n", header=header).encode()


def read_csv(source: Path | IO[bytes], columns: Sequence[str], texts: Iterable[str]) -> pd.DataFrame:
    """Read columns of a table that `csv_bytes` has written.

    Parameters
    ----------
    source : path, or file open for reading
    columns : sequence of str
    texts : iterable of str
        Those of the columns that hold texts, which come back as they were, whatever they look like.

    Raises
    ------
    OSError, ValueError, KeyError
        Where it cannot be read, or a column is missing.
    """
    converters: dict[Any, Any] = dict.fromkeys(texts, unguarded_cell)
    # "None" and "NA" are names as good as others.
    return pd.read_csv(source, converters=converters, keep_default_na=False, na_values=[""])[list(columns)]


def _cell(value: Any) -> Any:
    return guarded_cell(printable(value, None)) if isinstance(value, str) else value
