"""Summaries of a run: leaderboard, majority baseline, recalls, counts, curves, and effects of samplers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.operating_points import PRIOR_CORRECTION
from skinmnist.analysis.significance import (
    AS_TRAINED,
    BETTER,
    EQUAL,
    EQUAL_POINTS,
    RANKING,
    WORSE,
    Measure,
    Pair,
)
from skinmnist.experiment.costs import with_costs
from skinmnist.experiment.derived.tuning import move_prior
from skinmnist.experiment.lesion_scores import LESION, with_lesion_scores
from skinmnist.experiment.metrics import COST_METRICS, confusion_matrix, score_predictions
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.resampling.strategies import STRATEGIES, base_name

_PAIR = ["sampler", "model"]
_CELL = [*_PAIR, "repeat", "fold"]
#: Scores of the leaderboard, which is sorted by the first; the recall of melanoma is appended.
LEADERBOARD_METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc")
#: The expected cost in the leaderboard of a run with costs, whose other scores are as trained, too.
COSTS_SHOWN = next(iter(COST_METRICS))
CALIBRATION_METRICS = ("log_loss", "brier", "ece")
NATURAL_METRICS = ("macro_auc", "macro_average_precision", *CALIBRATION_METRICS)
#: Columns of the table that `external_scores` returns.
EXTERNAL_COLUMNS = ("sampler", "model", "metric", "value", "sd", "external", "low", "high", "drop")
#: The primary score, on which claims rest.
CLAIMED = "macro_f1"
#: Prefix of the model name of the majority baseline; the name of the predicted class follows.
ALWAYS = "always "


def leaderboard(record: RunRecord, untrained: pd.DataFrame | None = None) -> pd.DataFrame:
    """Compare the pairs of sampler and model by their scores on held-out pictures, best macro-F1 first.

    The leaderboard has one row for each pair with a finished cell and for each pair in `untrained`, a table
    of scores that need no training run of their own: by default, those of the majority baseline. An analysis
    also adds prior correction, at the cost of its model. The columns are:

    - ``sampler, model``, which are ``""`` and ``"always <class>"`` for the baseline
    - ``cells``, the number of finished cells, and ``planned``
    - for each metric, its mean, under its own name, and its standard deviation over cells (n - 1; NaN for one
      cell), under ``<metric>_sd``; if there are scores by lesion, also the mean of that score, under
      ``lesion_<metric>``
    - ``seconds``, the mean per cell for resampling, fitting and predicting
    - ``megabytes``, the largest resident memory of a cell
    - ``reference`` and ``corrected`` (bool)
    """
    metrics = [*LEADERBOARD_METRICS]
    if facts.MELANOMA in record.info.table.class_names:
        metrics.append(f"recall_{facts.MELANOMA}")
    if record.info.costs:
        metrics.append(COSTS_SHOWN)
    board = _summary(record, metrics, untrained)
    # A stable sort keeps the order of the grid for equal scores.
    return board.sort_values("macro_f1", ascending=False, kind="stable", ignore_index=True)


def calibration(record: RunRecord, untrained: pd.DataFrame | None = None) -> pd.DataFrame:
    """Summarise the scores of the probabilities, in the layout of `leaderboard` and the order of the grid."""
    return _summary(record, list(CALIBRATION_METRICS), untrained)


def expected_costs(record: RunRecord, majority: pd.DataFrame) -> pd.DataFrame:
    """Summarise the expected costs of a run with costs, like `calibration`, lowest cost-sensitive one first.

    Prior correction has no row because the cost-sensitive decision is made at the natural prior.
    """
    board = _summary(record, list(COST_METRICS), majority)
    return board.sort_values(list(COST_METRICS)[-1], kind="stable", ignore_index=True)


def at_natural_prior(record: RunRecord, points: pd.DataFrame, majority: pd.DataFrame) -> pd.DataFrame:
    """Summarise ranking and calibration at the class mix of the training lesions, like `calibration`.

    `points` is the output of `operating_points`. Prior correction has no row because it equals ``none`` at
    this mix.
    """
    natural = points[points["rule"] == "natural_prior"].drop(columns="rule")
    return _summary(replace(record, scores=natural), list(NATURAL_METRICS), majority)


def external_scores(board: pd.DataFrame, tested: pd.DataFrame | None) -> pd.DataFrame:
    """Return the scores of a run and of its external test as a table with `EXTERNAL_COLUMNS`.

    `board` is the `leaderboard` of the run, and `tested` contains the bootstrap intervals of the test.
    `value` and `sd` describe the run; `external`, `low` and `high` give the score of the test and its
    interval; `drop` is the loss.
    """
    if tested is None:
        return pd.DataFrame(columns=list(EXTERNAL_COLUMNS))
    metrics = [name.removesuffix("_sd") for name in board.columns if name.endswith("_sd")]
    means = board.melt(_PAIR, metrics, "metric", ignore_index=False)
    spreads = board.melt(_PAIR, [f"{name}_sd" for name in metrics])
    own = means.assign(sd=spreads["value"].to_numpy()).sort_index(kind="stable")
    other = tested.rename(columns={"value": "external"})[[*_PAIR, "metric", "external", "low", "high"]]
    both = own.merge(other, on=[*_PAIR, "metric"])
    return both.assign(drop=both["value"] - both["external"])[list(EXTERNAL_COLUMNS)]


def best_pairs(board: pd.DataFrame) -> pd.DataFrame:
    """Return the row of the best trained pair of each model; the first row is the best overall."""
    return board[~board["reference"] & ~board["corrected"]].drop_duplicates("model")


def finished_pairs(record: RunRecord) -> list[Pair]:
    """Return the pairs with a finished cell, in the order of the grid."""
    return list(dict.fromkeys((result.cell.sampler, result.cell.model) for result in record.results))


def _summary(record: RunRecord, metrics: list[str], untrained: pd.DataFrame | None) -> pd.DataFrame:
    frames = [record.scores, majority_scores(record) if untrained is None else untrained]
    scores = pd.concat([frame for frame in frames if len(frame)] or [record.scores])
    wide = scores.pivot_table(index=_CELL, columns="metric", values="value", sort=False)
    by_lesion = [LESION + metric for metric in metrics if LESION + metric in wide.columns]
    wide = wide.reindex(columns=[*metrics, *by_lesion]).astype(float)
    grouped = wide.groupby(level=_PAIR, sort=False)
    mean, spread = grouped.mean(), grouped.std(ddof=1)
    keys = [(str(sampler), str(model)) for sampler, model in mean.index]
    planned = Counter((entry.sampler, entry.model) for entry in record.info.cells)
    done = [int(size) for size in grouped.size()]
    columns: dict[str, object] = {
        "sampler": [sampler for sampler, _ in keys],
        "model": [model for _, model in keys],
        "cells": done,
        "planned": [planned[_trained(key)] if key[0] else n for key, n in zip(keys, done, strict=True)],
    }
    for metric in metrics:
        columns |= {metric: mean[metric].to_numpy(), f"{metric}_sd": spread[metric].to_numpy()}
        if LESION + metric in by_lesion:
            columns[LESION + metric] = mean[LESION + metric].to_numpy()
    costs = _costs(record)
    for place, name in enumerate(("seconds", "megabytes")):
        columns[name] = np.array([costs.get(_trained(key), (np.nan,) * 2)[place] for key in keys], float)
    columns["reference"] = np.array([not sampler for sampler, _ in keys], dtype=bool)
    columns["corrected"] = np.array([sampler == PRIOR_CORRECTION for sampler, _ in keys], dtype=bool)
    # Without rows, pandas would not infer text columns and would refuse to merge them.
    return pd.DataFrame(columns).astype(dict.fromkeys(_PAIR, str))


def _trained(pair: Pair) -> Pair:
    """Return the trained pair; prior correction uses the predictions of ``none``."""
    return ("none", pair[1]) if pair[0] == PRIOR_CORRECTION else pair


def _costs(record: RunRecord) -> dict[Pair, tuple[float, float]]:
    """Return the mean wall seconds and the largest memory of a cell, for each pair.

    Shared seconds count in full for each pair, because no pair can do without them.
    """
    timings = record.timings
    total = timings[[name for name in timings if str(name).endswith("_seconds")]].sum(axis=1)
    grouped = timings.assign(seconds=total).groupby(_PAIR)
    found = grouped.agg(seconds=("seconds", "mean"), megabytes=("peak_rss_mb", "max"))
    return {(str(s), str(m)): (float(a), float(b)) for (s, m), a, b in found.itertuples()}


def majority_predictions(record: RunRecord) -> pd.DataFrame:
    """Predict the most frequent class of the training rows for every held-out picture.

    The layout is that of ``predictions.csv.gz``, with sampler ``""``, model ``"always <class>"``, and the
    class frequencies of the training rows as probabilities: all of them, even if a model sets some aside for
    validation or learns from a sample.
    """
    class_names = record.info.table.class_names
    columns = [f"p_{name}" for name in class_names]
    mixes = {result.cell[2:]: result.natural_mix for result in record.results}
    rows = record.predictions.drop_duplicates(["repeat", "fold", "row"])
    frames, names = [], Counter[str]()
    for place, held_out in rows.groupby(["repeat", "fold"], sort=True):
        mix = mixes[cast(tuple[int, int], place)]
        frame = held_out.assign(sampler="", predicted=int(mix.argmax()))
        frame[columns] = mix
        names[class_names[int(mix.argmax())]] += 1
        frames.append(frame)
    if not frames:
        return record.predictions.iloc[:0]
    return pd.concat(frames, ignore_index=True).assign(model=f"{ALWAYS}{names.most_common(1)[0][0]}")


def majority_scores(record: RunRecord) -> pd.DataFrame:
    """Score the majority baseline, in the layout of ``scores.csv``.

    Its cost-sensitive decision is the same for every picture of a fold: the one that costs least on average.
    """
    names, predictions = record.info.table.class_names, majority_predictions(record)
    natural = predictions[[f"p_{name}" for name in names]].to_numpy(dtype=np.float64)
    scores = score_predictions(predictions, names)
    scores = with_lesion_scores(scores, predictions, names, record.scored_lesions)
    return with_costs(scores, predictions, natural, record.info.costs)


def fold_scores(record: RunRecord, metric: str) -> pd.DataFrame:
    """Return one metric for every finished cell: ``sampler, model, repeat, fold, value``."""
    scores = record.scores
    return scores.loc[scores["metric"] == metric, [*_CELL, "value"]].reset_index(drop=True)


def recalls(record: RunRecord) -> pd.DataFrame:
    """Return the recall of every class over the finished cells: ``sampler, model, class, mean, sd``."""
    names = record.info.table.class_names
    scores = record.scores[record.scores["metric"].isin([f"recall_{name}" for name in names])]
    grouped = scores.groupby([*_PAIR, "metric"], sort=False)["value"].agg(["mean", "std"]).reset_index()
    grouped["metric"] = grouped["metric"].str.removeprefix("recall_")
    return grouped.rename(columns={"metric": "class", "std": "sd"})


def confusion_counts(record: RunRecord) -> dict[Pair, npt.NDArray[np.int64]]:
    """Count pictures by true and predicted class, shape (k, k), over all cells of each pair."""
    k = len(record.info.table.class_names)
    found: dict[Pair, npt.NDArray[np.int64]] = {}
    for result in record.results:
        pair = (result.cell.sampler, result.cell.model)
        counts = confusion_matrix(result.labels, result.predicted, k)
        found[pair] = found.get(pair, np.zeros((k, k), dtype=np.int64)) + counts
    return found


def finding_costs(record: RunRecord, class_name: str) -> pd.DataFrame:
    """Count what each pair finds of a class, and its false alarms, with prior correction after each ``none``.

    The columns are ``sampler, model, pictures, found, alarms`` over the finished cells of a pair, and
    ``extra_found, extra_alarms``: what it finds and raises beyond the same model without a sampler, over the
    cells that both have finished.
    """
    code = record.info.table.class_names.index(class_name)
    cells: dict[Pair, dict[tuple[int, int], npt.NDArray[np.int64]]] = {}
    for result in record.results:
        sampler, model, *place = result.cell
        moved = {PRIOR_CORRECTION: move_prior(result, 1.0)} if sampler == "none" else {}
        for name, one in {sampler: result, **moved}.items():
            ill, called = one.labels == code, one.predicted == code
            counts = np.array([ill.sum(), (ill & called).sum(), (called & ~ill).sum()])
            cells.setdefault((name, model), {})[place[0], place[1]] = counts
    records = []
    for (sampler, model), own in cells.items():
        plain = cells.get(("none", model), {})
        extra = [own[at] - plain[at] for at in own if at in plain]
        more = np.sum(extra, axis=0)[1:] if extra else (np.nan, np.nan)
        records.append((sampler, model, *np.sum(list(own.values()), axis=0), *more))
    columns = [*_PAIR, "pictures", "found", "alarms", "extra_found", "extra_alarms"]
    return pd.DataFrame.from_records(records, columns=columns)


def resampled_counts(record: RunRecord) -> pd.DataFrame:
    """Return the training rows before and after samplers: ``sampler, space, class, before, after``.

    Values are means over all finished cells of a sampler in one space. For strategies, which weight rows and
    have no space, values are summed weights. ``none`` is omitted.
    """
    cells: dict[Pair, list[npt.NDArray[np.float64]]] = {}
    for result in record.results:
        sampler, model = result.cell.sampler, record.info.grid.models.get(result.cell.model)
        if sampler != "none" and not (model and model.members):
            space = model.space if model and base_name(sampler) not in STRATEGIES else ""
            cells.setdefault((sampler, space), []).append(
                np.stack([result.counts_before, result.counts_after])
            )
    frames = [pd.DataFrame(columns=["sampler", "space", "class", "before", "after"])] if not cells else []
    for (sampler, space), counts in cells.items():
        before, after = np.mean(counts, axis=0)
        columns = {"class": list(record.info.table.class_names), "before": before, "after": after}
        frames.append(pd.DataFrame({"sampler": sampler, "space": space, **columns}))
    return pd.concat(frames, ignore_index=True)


def training_curves(record: RunRecord) -> pd.DataFrame:
    """Return training curves, with NaN for missing values.

    The columns are ``sampler, model, repeat, fold, step, loss, accuracy`` and, for networks with a validation
    set, ``validation_loss, validation_accuracy``.
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


def _drawable(curve: npt.NDArray[np.float64], points: int) -> npt.NDArray[np.float64]:
    """Return a curve with NaN for values that cannot be drawn, or all NaN if the number of steps differs."""
    return np.where(np.isfinite(curve), curve, np.nan) if len(curve) == points else np.full(points, np.nan)


def mean_curve(curves: pd.DataFrame, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the steps and the mean of one column of `training_curves` over the folds of one pair."""
    folds = [fold for _, fold in curves.groupby(["repeat", "fold"], sort=False)]
    steps = max((fold["step"].to_numpy() for fold in folds), key=len)
    return steps, np.mean([np.interp(steps, fold["step"], fold[name]) for fold in folds], axis=0)


def last_of_curves(curves: pd.DataFrame) -> pd.Series:
    """Return the final loss and accuracy of training, averaged over the folds of one pair."""
    return curves.groupby(["repeat", "fold"])[["loss", "accuracy"]].last().mean()


#: Scores of the decisions as trained; they are also the scores that the tuned rules optimise.
OWN_DECISIONS: tuple[Measure, ...] = tuple((AS_TRAINED, metric) for _, metric in EQUAL_POINTS)

#: Measures in the order of the three questions.
MEASURED: tuple[Measure, ...] = (RANKING, *OWN_DECISIONS, *EQUAL_POINTS)

LEARNED = "learned something"
LEARNED_AND_COST = "learned something by one score and cost something by another"
COST = "cost something"
MOVED = "moved the threshold only"
MOVED_AT_MOST = "moved the threshold at most"
CHANGED = "changed the decisions, perhaps only by moving the threshold"
NOTHING_CHANGED = "changed nothing that matters"
OPEN = "undecided"

Comparison = Mapping[Hashable, Any]


@dataclass(frozen=True)
class Effect:
    """Comparisons of a pair with the same model trained without a sampler.

    Attributes
    ----------
    rows : mapping of (rule, metric) to mapping
        The available rows of ``comparisons.csv`` for `MEASURED`: macro-AUC at the natural prior, macro-F1 and
        balanced accuracy as trained, and each of the two with both sides tuned for it.
    """

    sampler: str
    model: str
    rows: Mapping[Measure, Comparison]

    @property
    def conclusion(self) -> str:
        """The conclusion, based only on the verdicts.

        A gain in ranking or at equal operating points shows that the model learned more; a loss is a cost. If
        all of these verdicts are practically equal, a change in the decisions as trained is only a change of
        the operating point. If some are undecided, it may be either.
        """
        judged = [self.rows[of]["verdict"] for of in (RANKING, *EQUAL_POINTS) if of in self.rows]
        learned, own = set(judged), {self.rows[of]["verdict"] for of in OWN_DECISIONS if of in self.rows}
        if {BETTER, WORSE} <= learned:
            return LEARNED_AND_COST
        if BETTER in learned:
            return LEARNED
        if WORSE in learned:
            return COST
        moved = bool(own & {BETTER, WORSE})
        if learned == {EQUAL} and len(judged) == 1 + len(EQUAL_POINTS):
            return MOVED if moved else NOTHING_CHANGED if own == {EQUAL} else MOVED_AT_MOST
        return CHANGED if moved else OPEN


def effects(comparisons: pd.DataFrame) -> list[Effect]:
    """Return the effect of every sampler on every model that was also trained without a sampler."""
    rows = comparisons[(comparisons["question"] == "sampler") & (comparisons["against"] == "none")]
    found = []
    for (model, sampler), own_rows in rows.groupby(["model", "sampler"], sort=False):
        by_measure = {(row["rule"], row["metric"]): row for row in own_rows.to_dict("records")}
        found.append(
            Effect(
                str(sampler),
                str(model),
                {measure: by_measure[measure] for measure in MEASURED if measure in by_measure},
            )
        )
    return found


def comparisons_with(
    comparisons: pd.DataFrame, against: str = "none", metric: str = CLAIMED, rule: str = AS_TRAINED
) -> pd.DataFrame:
    """Select comparisons of samplers with `against`; those with ``none`` exclude prior correction."""
    rows = (comparisons["question"] != "model") & (comparisons["against"] == against)
    rows &= (comparisons["metric"] == metric) & (comparisons["rule"] == rule)
    return comparisons[rows & (comparisons["sampler"] != PRIOR_CORRECTION)]


def with_control(comparisons: pd.DataFrame, metric: str = CLAIMED) -> pd.DataFrame:
    """Select comparisons of samplers and prior correction with ``none``, each at its own operating point."""
    rows = (comparisons["question"] != "model") & (comparisons["against"] == "none")
    rows &= (comparisons["metric"] == metric) & (comparisons["rule"] == AS_TRAINED)
    return comparisons[rows].sort_values("model", key=_places, kind="stable")


def _places(names: pd.Series) -> pd.Series:
    """Return the position at which each name first appears, as a sort key."""
    return pd.Series(pd.factorize(names)[0], names.index)
