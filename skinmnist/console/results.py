"""The results of a run as a table that fits the terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from skinmnist.analysis.significance import Pair
from skinmnist.analysis.summaries import LEADERBOARD_METRICS, leaderboard
from skinmnist.console.progress import Output
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.names import pair_name
from skinmnist.reporting.format import LABELS, NOTHING, fixed, with_spread
from skinmnist.text import printable

#: Styles: best of its column; worse than the majority baseline; unfinished; failed.
BEST, BELOW, UNFINISHED, FAILED = "bold green", "yellow", "cyan", "bold red"
#: Terminal width from which standard deviations are shown.
_SPREAD_WIDTH = 100
#: Largest and smallest width of a pair; longer names are shortened in the middle.
_LONGEST_PAIR, _SHORTEST_PAIR = 120, 16
_PAIR_HEADING = "Sampler + model"
#: Columns that are always shown, and columns that are dropped first if space is short.
_INDISPENSABLE = ("folds", LEADERBOARD_METRICS[0])
_LEFT_OUT_FIRST = ("seconds", "macro_auc", "accuracy")


@dataclass(frozen=True)
class _Column:
    name: str
    heading: str
    cells: list[Text]

    @property
    def width(self) -> int:
        """Width of the column, including the gap before it."""
        texts = [*self.heading.split("\n"), *(cell.plain for cell in self.cells)]
        return 2 + max(map(cell_len, texts))


def results_table(record: RunRecord, console: Output) -> RenderableType:
    """Format the leaderboard of a run to fit a console; omitted columns are listed below the table."""
    rows = [*_rows(record)]
    spread = console.width >= _SPREAD_WIDTH
    columns, left_out = [*_columns(rows, spread)], list[_Column]()
    least = sum(column.width for column in columns if column.name in _INDISPENSABLE)
    longest = min(_LONGEST_PAIR, max(_SHORTEST_PAIR, console.width - least))
    names = [_name(row, longest) for row in rows]
    room = console.width - max(map(cell_len, (*names, _PAIR_HEADING)))
    dispensable = sorted((c for c in columns[::-1] if c.name not in _INDISPENSABLE), key=_dispensable)
    while sum(column.width for column in columns) > room and dispensable:
        left_out.insert(0, dispensable.pop(0))
        columns.remove(left_out[0])
    over = "trainings" if record.info.given and record.info.protocol.planned_folds == 1 else "folds"
    what = f"mean ± standard deviation over {over}" if spread else f"mean over {over}"
    parts: list[RenderableType] = [
        Text(f"{printable(record.info.table.name)}: {what}, best macro-F1 first", "bold"),
        _table(names, rows, columns),
    ]
    if left_out:
        labels = ", ".join(column.heading.replace("\n", " ") for column in left_out)
        parts.append(Text(f"More in the report: {labels}", "dim"))
    if console.has_colors:
        parts.append(_legend(rows, columns))
    return Group(*parts)


def _name(row: dict[Any, Any], longest: int) -> str:
    if row["sampler"]:
        return pair_name((row["sampler"], row["model"]), longest)
    return printable(row["model"], longest)


def _dispensable(column: _Column) -> int:
    return _LEFT_OUT_FIRST.index(column.name) if column.name in _LEFT_OUT_FIRST else len(_LEFT_OUT_FIRST)


def _rows(record: RunRecord) -> Iterator[dict[Any, Any]]:
    """Yield the rows of the leaderboard, followed by the pairs without a finished cell."""
    board = leaderboard(record)
    planned = Counter[Pair]((entry.sampler, entry.model) for entry in record.info.cells)
    failed = Counter[Pair](failure.cell[:2] for failure in record.failures)
    for row in board.to_dict("records"):
        planned.pop(pair := (row["sampler"], row["model"]), None)
        yield row | {"failed": failed[pair]}
    for pair, number in planned.items():
        nothing = dict.fromkeys(board.columns, math.nan)
        counts = {"cells": 0, "planned": number, "failed": failed[pair], "reference": False}
        yield nothing | dict(zip(("sampler", "model"), pair, strict=True)) | counts


def _columns(rows: list[dict[Any, Any]], spread: bool) -> Iterator[_Column]:
    if any(row["cells"] < row["planned"] for row in rows):
        yield _Column("folds", "folds", [_folds(row) for row in rows])
    for name in (name.removesuffix("_sd") for name in rows[0] if name.endswith("_sd")):
        heading = "\n".join(LABELS[name].split())
        texts = [with_spread(row[name], row[f"{name}_sd"]) if spread else fixed(row[name]) for row in rows]
        styles = _styles([row[name] for row in rows], [row["reference"] for row in rows])
        yield _Column(name, heading, [*map(Text, texts, styles)])
    seconds = [NOTHING if math.isnan(row["seconds"]) else fixed(row["seconds"], 1) for row in rows]
    yield _Column("seconds", "Seconds\nper fold", [*map(Text, seconds)])


def _folds(row: dict[Any, Any]) -> Text:
    style = FAILED if row["failed"] else UNFINISHED if row["cells"] < row["planned"] else ""
    return Text(f"{row['cells']} of {row['planned']}", style)


def _styles(values: list[float], references: list[bool]) -> list[str]:
    """Return styles that mark the best printed value of a column and values below the majority baseline."""
    rounded = [round(value, 3) for value in values]
    trained = [value for value, reference in zip(rounded, references, strict=True) if not reference]
    trained = [value for value in trained if not math.isnan(value)]
    best = max(trained) if len(trained) > 1 else math.inf
    baseline = max(
        (value for value, reference in zip(rounded, references, strict=True) if reference), default=-1
    )
    return [
        "" if reference else BELOW if value < baseline else BEST if value == best else ""
        for value, reference in zip(rounded, references, strict=True)
    ]


def _table(names: list[str], rows: list[dict[Any, Any]], columns: list[_Column]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column(_PAIR_HEADING, no_wrap=True, vertical="bottom")
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for place, (name, row) in enumerate(zip(names, rows, strict=True)):
        style = FAILED if row["failed"] else ""
        cells = (column.cells[place] for column in columns)
        table.add_row(Text(name, style), *cells, style="dim" if row["reference"] else None)
    return table


def _legend(rows: list[dict[Any, Any]], columns: list[_Column]) -> Text:
    used = {str(cell.style) for column in columns for cell in column.cells}
    baseline = next((row["model"] for row in rows if row["reference"]), "")
    meanings = {
        BEST: "best of its column",
        BELOW: f"below {printable(baseline)}",
        UNFINISHED: "unfinished",
        FAILED: "cells failed",
    }
    known = [Text(words, style) for style, words in meanings.items() if style in used]
    return Text(", ").join(known)
