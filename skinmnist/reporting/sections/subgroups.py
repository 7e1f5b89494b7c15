"""The tables about groups of patients, with numbers already written as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.subgroups import FEWEST
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import count, fixed
from skinmnist.reporting.sections.drawings_findings import best_pairs

_COLUMN_TITLES = {"age": "Age", "sex": "Sex", "localization": "Site"}


@dataclass(frozen=True)
class Cell:
    """A share with its interval and the pictures it rests on; no text where they are too few."""

    text: str
    interval: str
    cases: str


@dataclass(frozen=True)
class GroupRow:
    """A group of patients with its scores."""

    group: str
    pictures: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class GroupTable:
    """The groups of one pair of sampler and model, by the title of their column."""

    pair: str
    columns: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[GroupRow, ...]], ...]


def subgroup_view(record: RunRecord, board: pd.DataFrame, analysis: Analysis) -> dict[str, Any]:
    """Return the values of the section about groups of patients; its tables are empty where nothing is known.

    Parameters
    ----------
    record : RunRecord
    board : DataFrame
        Of `tables.leaderboard`; the best pair of each model is shown, in its order.
    findings : Findings
    """
    chosen = [] if analysis.subgroups.empty else best_pairs(board).to_dict("records")
    metrics = _metrics(record)
    return {
        "group_tables": [
            _table(analysis.subgroups, pair, f"{pair['sampler_title']} with {pair['model_title']}", metrics)
            for pair in chosen
        ],
        "fewest": FEWEST,
    }


def _metrics(record: RunRecord) -> dict[str, str]:
    """Return the shares that are shown with their titles: of all, of the class that matters, of the most."""
    table = record.info.table
    names, counts = table.class_names, np.asarray(table.rows_per_class)
    rare = facts.MELANOMA if facts.MELANOMA in names else names[int(counts.argmin())]
    common = names[int(counts.argmax())]
    return {"accuracy": "Accuracy"} | {f"recall_{name}": f"Recall of {name}" for name in (rare, common)}


def _table(subgroups: pd.DataFrame, pair: dict[Any, Any], title: str, metrics: dict[str, str]) -> GroupTable:
    own = subgroups[(subgroups["sampler"] == pair["sampler"]) & (subgroups["model"] == pair["model"])]
    blocks = []
    for column, of_column in own.groupby("column", sort=False):
        rows = []
        for group, of_group in of_column.groupby("group", sort=False):
            by_metric = {row["metric"]: row for row in of_group.to_dict("records")}
            first = by_metric["accuracy"]
            pictures = f"{first['pictures']:,} of {count(first['lesions'], 'lesion')}"
            rows.append(GroupRow(str(group), pictures, tuple(_cell(by_metric[name]) for name in metrics)))
        blocks.append((_COLUMN_TITLES.get(str(column), str(column)), tuple(rows)))
    return GroupTable(title, tuple(metrics.values()), tuple(blocks))


def _cell(row: dict[Any, Any]) -> Cell:
    cases = f"{row['cases']:,}"
    if np.isnan(row["value"]):
        return Cell("", "", cases)
    return Cell(fixed(row["value"]), f"{fixed(row['low'])}–{fixed(row['high'])}", cases)
