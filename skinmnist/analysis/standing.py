"""The standing of the pairs: whether the first one leads, and which ones a constant prediction beats.

The checks and the answer of the report state the same findings, and both take them from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skinmnist.analysis.significance import (
    AS_TRAINED,
    BETTER,
    COMPARED_METRICS,
    FEWEST_FOLDS,
    WORSE,
    Pair,
    compare_pair,
    corrected_t_test,
    each_part_once,
    exchanged,
    joined,
)
from skinmnist.analysis.summaries import ALWAYS, fold_scores

if TYPE_CHECKING:
    from skinmnist.analysis.analyze import Analysis

#: The primary score, on which conclusions should be based.
MAIN = COMPARED_METRICS[0]


@dataclass(frozen=True)
class Lead:
    """The two pairs with the highest mean macro-F1.

    Attributes
    ----------
    row : mapping or None
        The comparison of `first` with `second`; None if they have no fold in common.
    """

    first: Pair
    second: Pair
    row: Mapping[Any, Any] | None

    @property
    def shown(self) -> bool:
        """Whether the folds show that the first pair is better."""
        return self.row is not None and self.row["verdict"] == BETTER

    @property
    def decided(self) -> bool:
        """Whether the folds show a difference: they may favour the second pair if cells have failed."""
        return self.row is not None and self.row["verdict"] in (BETTER, WORSE)


@dataclass(frozen=True)
class Beaten:
    """Pairs, with their mean scores, that do not surpass a constant prediction of `class_name`."""

    class_name: str
    value: float
    pairs: Mapping[Pair, float]


def lead(analysis: Analysis) -> Lead | None:
    """Compare the two pairs that lead by macro-F1; None with fewer than two pairs."""
    scores = scores_by_fold(analysis, MAIN)
    ranked = sorted(scores, key=lambda pair: -scores[pair].mean())[:2]
    if len(ranked) < 2:
        return None
    first, second = ranked
    return Lead(first, second, _comparison(analysis, first, second))


def not_above_majority(analysis: Analysis) -> Beaten:
    """Return the pairs whose macro-F1 is not shown to be above that of the majority baseline."""
    class_name, reference = majority_by_fold(analysis, MAIN)
    beaten = {}
    for pair, values in scores_by_fold(analysis, MAIN).items():
        gaps = (values - reference).dropna().to_numpy(dtype=float)
        test = corrected_t_test(gaps, 1 / (analysis.record.info.protocol.folds - 1))
        # With fewer than three folds, the spread is unreliable, so only the mean counts.
        sure = test.low > 0 if len(gaps) >= FEWEST_FOLDS and not np.isnan(test.low) else test.mean > 0
        if not sure:
            beaten[pair] = float(values.mean())
    return Beaten(class_name, float(reference.mean()), beaten)


def less_accurate_than_majority(analysis: Analysis) -> Beaten:
    """Return the pairs that are less accurate than the majority baseline."""
    class_name, reference = majority_by_fold(analysis, "accuracy")
    means = {pair: float(values.mean()) for pair, values in scores_by_fold(analysis, "accuracy").items()}
    # Compare rounded values: a pair that predicts the same as the baseline is not below it.
    lower = {pair: mean for pair, mean in means.items() if round(mean, 3) < round(reference.mean(), 3)}
    return Beaten(class_name, float(reference.mean()), lower)


def compared(analysis: Analysis, question: str) -> pd.DataFrame:
    """Return the comparisons by the primary score, as shown in the report."""
    rows = analysis.comparisons
    rows = rows[(rows["question"] == question) & (rows["metric"] == MAIN)]
    return rows[rows["rule"] == AS_TRAINED]


def by_part(analysis: Analysis, scores: pd.DataFrame) -> pd.DataFrame:
    """Average scores over the repeats of a run that hold out the same pictures."""
    return each_part_once(scores, analysis.record.info.held_out)


def scores_by_fold(analysis: Analysis, metric: str) -> dict[Pair, pd.Series]:
    """Return one score for every pair, indexed by repeat and fold."""
    grouped = by_part(analysis, fold_scores(analysis.record, metric)).groupby(
        ["sampler", "model"], sort=False
    )
    return {(str(s), str(m)): rows.set_index(["repeat", "fold"])["value"] for (s, m), rows in grouped}


def majority_by_fold(analysis: Analysis, metric: str) -> tuple[str, pd.Series]:
    """Return the class that the majority baseline predicts, and its scores by repeat and fold."""
    rows = by_part(analysis, analysis.majority_scores)
    rows = rows[rows["metric"] == metric]
    name = str(rows["model"].iloc[0]).removeprefix(ALWAYS) if len(rows) else ""
    return name, rows.set_index(["repeat", "fold"])["value"]


def _comparison(analysis: Analysis, first: Pair, second: Pair) -> Mapping[Any, Any] | None:
    """Return the comparison of two pairs from the report, or a separate one; None without a shared fold."""
    folds, scores = analysis.record.info.protocol.folds, by_part(analysis, analysis.record.scores)
    own = compare_pair(scores, folds, first, second, (AS_TRAINED, MAIN))
    rows = joined([compared(analysis, "sampler"), compared(analysis, "model")])
    for one, other, turned in ((first, second, False), (second, first, True)):
        if (one[0] == other[0]) == (one[1] == other[1]):
            continue
        against = other[0] if one[1] == other[1] else other[1]
        known = rows[(rows["sampler"] == one[0]) & (rows["model"] == one[1]) & (rows["against"] == against)]
        if len(known):  # Names are not needed here, so the sides of a sampler comparison may be swapped.
            own = exchanged(known) if turned else known
    return None if own.empty else dict(own.iloc[0])
