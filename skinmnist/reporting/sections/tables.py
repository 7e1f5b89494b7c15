"""The tables of the report: each function takes the record of a run and returns a frame."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.prior_correction import PRIOR_CORRECTION
from skinmnist.experiment.metrics import score_predictions
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import model_title, sampler_space, sampler_title, space_title

_PAIR = ["sampler", "model"]
_CELL = [*_PAIR, "repeat", "fold"]
#: The scores of the leaderboard, the first of which sorts it; the recall of melanomas joins them.
LEADERBOARD_METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc")
_TITLES = ("sampler_title", "model_title")
CALIBRATION_METRICS = ("log_loss", "brier", "ece")


def leaderboard(record: RunRecord, derived: pd.DataFrame | None = None) -> pd.DataFrame:
    """Compare the pairs of sampler and model by their scores on held-out pictures.

    Parameters
    ----------
    record : RunRecord
    derived : DataFrame, optional
        Scores of controls that nobody trained (`Analysis.derived_scores`), to stand among the pairs.

    Returns
    -------
    DataFrame
        One row for each pair with a finished cell, and one for the line to beat, which answers every fold's
        most frequent training class; by falling mean of macro-F1. Columns: ``sampler`` and ``model`` (names
        of the grid; ``""`` and ``"always <class>"`` for the line to beat), ``sampler_title``,
        ``model_title``, ``cells`` (finished), ``planned``, then for each metric its mean, under its own
        name, and its standard deviation over cells (n - 1; NaN for one cell), under ``<metric>_sd``; then
        ``seconds`` (mean of a cell: resampling, fitting and predicting), ``megabytes`` (largest resident
        memory of a cell), ``reference`` and ``derived`` (bool). A control costs what its training costs.
    """
    metrics = [*LEADERBOARD_METRICS]
    if facts.MELANOMA in record.info.table.class_names:
        metrics.append(f"recall_{facts.MELANOMA}")
    board = _summary(record, metrics, derived)
    # A stable sort keeps the order of the grid where scores are equal.
    return board.sort_values("macro_f1", ascending=False, kind="stable", ignore_index=True)


def calibration(record: RunRecord, derived: pd.DataFrame | None = None) -> pd.DataFrame:
    """Summarise the scores of the probabilities, in the layout of `leaderboard` and the order of the grid.

    The reference row answers every picture with the class frequencies of its training folds.
    """
    summary = _summary(record, list(CALIBRATION_METRICS), derived)
    summary.loc[summary["reference"], "model_title"] = "class frequencies"
    return summary


def _summary(record: RunRecord, metrics: list[str], derived: pd.DataFrame | None) -> pd.DataFrame:
    reference = majority_predictions(record)
    class_names = record.info.table.class_names
    frames = [record.scores, derived, score_predictions(reference, class_names)]
    scores = pd.concat([frame for frame in frames if frame is not None and len(frame)] or [record.scores])
    wide = scores.pivot_table(index=_CELL, columns="metric", values="value", sort=False)
    wide = wide.reindex(columns=metrics).astype(float)
    grouped = wide.groupby(level=_PAIR, sort=False)
    mean, spread = grouped.mean(), grouped.std(ddof=1)
    keys = [(str(sampler), str(model)) for sampler, model in mean.index]
    planned = Counter((entry.sampler, entry.model) for entry in record.info.cells)
    done = [int(size) for size in grouped.size()]
    columns: dict[str, object] = {
        "sampler": [sampler for sampler, _ in keys],
        "model": [model for _, model in keys],
        "sampler_title": [sampler_title(record.info, *key) if key[0] else "" for key in keys],
        "model_title": [model_title(record.info, model) for _, model in keys],
        "cells": done,
        "planned": [planned[_trained(key)] if key[0] else n for key, n in zip(keys, done, strict=True)],
    }
    for metric in metrics:
        columns |= {metric: mean[metric].to_numpy(), f"{metric}_sd": spread[metric].to_numpy()}
    costs = _costs(record)
    for place, name in enumerate(("seconds", "megabytes")):
        columns[name] = np.array([costs.get(_trained(key), (np.nan,) * 2)[place] for key in keys], float)
    columns["reference"] = np.array([not sampler for sampler, _ in keys], dtype=bool)
    columns["derived"] = np.array([sampler == PRIOR_CORRECTION for sampler, _ in keys], dtype=bool)
    # Without a row, pandas could not tell that these are texts, and would refuse to merge them.
    return pd.DataFrame(columns).astype(dict.fromkeys(("sampler", "model", *_TITLES), str))


def _trained(pair: tuple[str, str]) -> tuple[str, str]:
    """Return the pair that was trained: the control is made of what ``none`` has answered."""
    return ("none", pair[1]) if pair[0] == PRIOR_CORRECTION else pair


def _costs(record: RunRecord) -> dict[tuple[str, str], tuple[float, float]]:
    """Mean wall seconds and largest memory of a cell, by pair."""
    timings = record.timings
    total = timings["resample_seconds"] + timings["fit_seconds"] + timings["predict_seconds"]
    grouped = timings.assign(seconds=total).groupby(_PAIR)
    found = grouped.agg(seconds=("seconds", "mean"), megabytes=("peak_rss_mb", "max"))
    return {(str(s), str(m)): (float(a), float(b)) for (s, m), a, b in found.itertuples()}


def majority_predictions(record: RunRecord) -> pd.DataFrame:
    """Predict every picture by the most frequent class of the other folds, without looking at it.

    Parameters
    ----------
    record : RunRecord

    Returns
    -------
    DataFrame
        In the layout of ``predictions.csv.gz``, with sampler ``""``, model ``"always <class>"``, and the
        class frequencies of the other folds as probabilities. Where no other fold is finished, the training
        rows that a cell has counted stand in for them.
    """
    class_names = record.info.table.class_names
    columns = [f"p_{name}" for name in class_names]
    rows = record.predictions.drop_duplicates(["repeat", "fold", "row"])
    frames, names = [], Counter[str]()
    for (repeat, fold), held_out in rows.groupby(["repeat", "fold"], sort=True):
        others = rows.loc[(rows["repeat"] == repeat) & (rows["fold"] != fold), "label"].to_numpy(dtype=int)
        counts: np.ndarray = np.bincount(others, minlength=len(class_names))
        if not counts.any():
            counts = next(r.counts_before for r in record.results if r.cell[2:] == (repeat, fold))
        frame = held_out.assign(sampler="", predicted=int(counts.argmax()))
        frame[columns] = counts / counts.sum()
        names[class_names[int(counts.argmax())]] += 1
        frames.append(frame)
    if not frames:
        return record.predictions.iloc[:0]
    return pd.concat(frames, ignore_index=True).assign(model=f"always {names.most_common(1)[0][0]}")


def fold_scores(record: RunRecord, metric: str) -> pd.DataFrame:
    """Return one metric of every finished cell: ``sampler, model, repeat, fold, value``."""
    scores = record.scores
    return scores.loc[scores["metric"] == metric, [*_CELL, "value"]].reset_index(drop=True)


def recalls(record: RunRecord) -> pd.DataFrame:
    """Return the recall of every class: ``sampler, model, class, mean, sd``, over the finished cells."""
    names = record.info.table.class_names
    scores = record.scores[record.scores["metric"].isin([f"recall_{name}" for name in names])]
    grouped = scores.groupby([*_PAIR, "metric"], sort=False)["value"].agg(["mean", "std"]).reset_index()
    grouped["metric"] = grouped["metric"].str.removeprefix("recall_")
    return grouped.rename(columns={"metric": "class", "std": "sd"})


def confusion(record: RunRecord, sampler: str, model: str) -> pd.DataFrame:
    """Count pictures by true class (index) and predicted class (columns), over all finished cells."""
    names = record.info.table.class_names
    rows = record.predictions
    rows = rows[(rows["sampler"] == sampler) & (rows["model"] == model)]
    codes = rows["label"].to_numpy(dtype=int) * len(names) + rows["predicted"].to_numpy(dtype=int)
    counts = np.bincount(codes, minlength=len(names) ** 2).reshape(len(names), len(names))
    return pd.DataFrame(counts, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted"))


def classes(record: RunRecord) -> pd.DataFrame:
    """Return the data card: ``class, title, rows, share, lesions``; lesions are NaN where unknown."""
    table = record.info.table
    names, rows = table.class_names, np.asarray(table.rows_per_class, dtype=float)
    titles = table.class_titles
    lesions = table.lesions_per_class or [np.nan] * len(names)
    return pd.DataFrame(
        {
            "class": names,
            "title": [titles.get(name, name) for name in names],
            "rows": rows.astype(int),
            "share": rows / rows.sum(),
            "lesions": np.asarray(lesions, dtype=float),
        }
    )


def resampled_counts(record: RunRecord) -> pd.DataFrame:
    """Return what the samplers made of the training rows: ``sampler, title, class, before, after``.

    Means over all finished cells of a sampler in one space; for remedies that weight rows, the summed
    weights. ``none`` is left out.
    """
    names = record.info.table.class_names
    cells: dict[tuple[str, str], list[np.ndarray]] = {}
    for result in record.results:
        if result.cell.sampler != "none":
            space = sampler_space(record.info, result.cell.model)
            key = (result.cell.sampler, space_title(result.cell.sampler, space))
            cells.setdefault(key, []).append(np.stack([result.counts_before, result.counts_after]))
    frames = []
    for (sampler, title), counts in cells.items():
        before, after = np.mean(counts, axis=0)
        frame = pd.DataFrame({"class": names, "before": before, "after": after})
        frames.append(frame.assign(sampler=sampler, title=title))
    columns = ["sampler", "title", "class", "before", "after"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def curves(record: RunRecord) -> pd.DataFrame:
    """Return training curves; NaN where absent.

    Columns ``sampler, model, repeat, fold, step, loss, accuracy``, and ``validation_loss,
    validation_accuracy`` of networks with a validation set of training lesions.
    """
    names = ["step", "loss", "accuracy", "validation_loss", "validation_accuracy"]
    frames = []
    for result in record.results:
        points = max((len(curve) for curve in result.history.values()), default=0)
        if points:
            history = {"step": np.arange(1.0, points + 1), **result.history}
            absent = np.full(points, np.nan)
            known = {name: _drawable(history.get(name, absent), points) for name in names}
            frames.append(pd.DataFrame(result.cell._asdict() | known))
    columns = [*_CELL, *names]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def _drawable(curve: np.ndarray, points: int) -> np.ndarray:
    """Return a curve with NaN for what cannot be drawn, or for all of one that has other steps."""
    return np.where(np.isfinite(curve), curve, np.nan) if len(curve) == points else np.full(points, np.nan)


def notes(record: RunRecord) -> pd.DataFrame:
    """Return what cells had to do otherwise than asked: ``note, cells, pairs``, each note once."""
    seen: dict[str, list[str]] = {}
    for result in record.results:
        title = sampler_title(record.info, result.cell.sampler, result.cell.model)
        for note in result.notes:
            pair = f"{title} with {model_title(record.info, result.cell.model)}"
            seen.setdefault(note, []).append(pair)
    records = [(note, len(pairs), ", ".join(dict.fromkeys(pairs))) for note, pairs in seen.items()]
    return pd.DataFrame(records, columns=["note", "cells", "pairs"])
