"""Tables as CSV files that a spreadsheet can open without harm, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from skinmnist.text import guarded_cell, printable, unguarded_cell

_MOST_CSV_BYTES = 2**24


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


def read_columns(path: Path, kinds: Mapping[str, type]) -> pd.DataFrame:
    """Return columns of a CSV of `csv_bytes`, each as text or as numbers; others are passed over.

    Raises
    ------
    ValueError
        Where it cannot be read, lacks a column, or one holds something else.
    """
    if path.stat().st_size > _MOST_CSV_BYTES:
        raise ValueError(f"{path.name} is larger than {_MOST_CSV_BYTES:,} bytes")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    absent = [name for name in kinds if list(frame.columns).count(name) != 1]
    if absent:
        raise ValueError(f"{path.name} has no column {absent[0]}")
    return pd.DataFrame(
        {
            name: [unguarded_cell(text) if kind is str else float(text or "nan") for text in frame[name]]
            for name, kind in kinds.items()
        }
    )


def _cell(value: Any) -> Any:
    return guarded_cell(printable(value, None)) if isinstance(value, str) else value
