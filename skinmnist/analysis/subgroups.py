"""Scores by age group, sex and site, with intervals that account for several pictures per lesion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.errors import InputError

#: Boundaries between age groups, in years.
AGE_STEPS = (30, 45, 60, 75)
UNKNOWN = "unknown"
#: With fewer pictures, only their number is reported, without a share.
FEWEST = 20
SUBGROUP_COLUMNS = (
    "sampler",
    "model",
    "column",
    "group",
    "pictures",
    "lesions",
    "metric",
    "cases",
    "value",
    "low",
    "high",
)
_Z = 1.959963984540054


class Group(NamedTuple):
    """Rows of a table that share a value in one column, such as ``45 to 59`` in ``age``."""

    column: str
    name: str
    rows: npt.NDArray[np.bool_]


class Share(NamedTuple):
    """A share of pictures with its 95 % interval; NaN if there are too few pictures."""

    value: float
    low: float
    high: float


def group_rows(clinical: Mapping[str, npt.NDArray[Any]]) -> list[Group]:
    """Group the rows of a table by each clinical column: numbers by `AGE_STEPS`, words by value.

    Every row belongs to one group of each column: ages in ascending order, words in alphabetical order, then
    unknown values. Empty groups are omitted.
    """
    groups = []
    for column, values in clinical.items():
        known, names = _known_groups(values)
        groups += [Group(column, name, rows) for name, rows in names if rows.any()]
        if not known.all():
            groups.append(Group(column, UNKNOWN, ~known))
    return groups


def held_out_parts(predictions: pd.DataFrame, names: Sequence[str], rows: int) -> npt.NDArray[np.str_]:
    """Return the name of the fold that holds out each row of a table, or ``""`` if it is never held out."""
    first = predictions.drop_duplicates("row")
    parts = np.full(rows, "", dtype=np.array(names).dtype)
    parts[first["row"].to_numpy(dtype=np.int64)] = np.array(names)[first["fold"].to_numpy(dtype=np.int64)]
    return parts


def _known_groups(
    values: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.bool_], list[tuple[str, npt.NDArray[np.bool_]]]]:
    if values.dtype.kind != "f":
        known = values != ""
        return known, [(str(word), values == word) for word in np.unique(values[known])]
    known = ~np.isnan(values)
    place = np.where(known, np.searchsorted(AGE_STEPS, values, side="right"), -1)
    names = [f"under {AGE_STEPS[0]}"]
    names += [f"{low} to {high - 1}" for low, high in pairwise(AGE_STEPS)]
    names.append(f"{AGE_STEPS[-1]} and over")
    return known, [(name, place == number) for number, name in enumerate(names)]


def subgroup_scores(
    predictions: pd.DataFrame,
    class_names: Sequence[str],
    clinical: Mapping[str, npt.NDArray[Any]],
    lesions: npt.NDArray[np.integer] | None = None,
) -> pd.DataFrame:
    """Score every pair of sampler and model on the held-out pictures of each group, with `SUBGROUP_COLUMNS`.

    Folds are pooled because every score is a share of decisions, which do not depend on how the models of
    different folds are calibrated. Repeats are averaged picture by picture. `clinical` and `lesions` cover
    the whole table; without `lesions`, every row counts as a separate lesion. `metric` is ``accuracy``, then
    ``recall_<class>``; `cases` is the number of pictures in the denominator. With fewer than `FEWEST` cases,
    `value`, `low` and `high` are NaN. Accuracy also depends on the diagnoses in a group; recalls allow
    like-for-like comparisons.

    Raises
    ------
    InputError
        If the columns do not cover every row of the predictions.
    """
    groups = group_rows(clinical)
    known = min((len(group.rows) for group in groups), default=0)
    if groups and len(predictions) and predictions["row"].max() >= known:
        raise InputError(
            f"received clinical columns of {known} rows and predictions of row {predictions['row'].max()}; "
            "pass the clinical columns of every row of the table"
        )
    records = []
    for (sampler, model), of_pair in predictions.groupby(["sampler", "model"], sort=False):
        correct = (of_pair["label"] == of_pair["predicted"]).groupby(of_pair["row"]).mean()
        rows = correct.index.to_numpy(dtype=np.int64)
        shares = np.asarray(correct, dtype=np.float64)
        labels = of_pair.groupby("row")["label"].first().to_numpy(dtype=np.int64)
        units = rows if lesions is None else np.asarray(lesions)[rows]
        for group in groups:
            inside = group.rows[rows]
            if not inside.any():
                continue
            counts = (int(inside.sum()), len(np.unique(units[inside])))
            for metric, cases in _metrics(labels, inside, class_names):
                share = share_with_interval(shares[cases], units[cases])
                key = (sampler, model, group.column, group.name, *counts, metric, int(cases.sum()))
                records.append((*key, *share))
    return pd.DataFrame.from_records(records, columns=list(SUBGROUP_COLUMNS))


def _metrics(
    labels: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_], class_names: Sequence[str]
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    yield "accuracy", inside
    for code, name in enumerate(class_names):
        yield f"recall_{name}", inside & (labels == code)


def share_with_interval(correct: npt.NDArray[np.float64], units: npt.NDArray[np.integer]) -> Share:
    """Return the mean of `correct` (shape (m,)) with a 95 % interval; NaN for fewer than `FEWEST` pictures.

    This is Wilson's interval (Wilson, JASA 22, 1927) for the effective number of independent pictures: the
    number of pictures divided by the design effect, which is the ratio of the variance of the mean over
    lesions to that over pictures (Kish, "Survey Sampling", 1965; Korn & Graubard, Survey Methodology 24,
    1998). If all or no pictures are correct, the variance cannot be estimated, and every lesion (`units`)
    counts once.
    """
    number = len(correct)
    if number < FEWEST:
        return Share(np.nan, np.nan, np.nan)
    value = float(correct.mean())
    _, place = np.unique(units, return_inverse=True)
    n_units = int(place.max()) + 1
    variance = float((np.bincount(place, weights=correct - value) ** 2).sum()) / number**2
    effective = value * (1 - value) / variance if variance > 0 else n_units
    effective = float(np.clip(effective, 1, number))
    shrink = 1 + _Z**2 / effective
    centre = (value + _Z**2 / (2 * effective)) / shrink
    half = _Z * np.sqrt(value * (1 - value) / effective + _Z**2 / (4 * effective**2)) / shrink
    return Share(value, max(float(centre - half), 0.0), min(float(centre + half), 1.0))
