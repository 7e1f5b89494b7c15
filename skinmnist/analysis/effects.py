"""Effects of a sampler on ranking, on decisions as trained, and on decisions at equal operating points."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from skinmnist.analysis.significance import (
    AS_TRAINED,
    BETTER,
    EQUAL,
    EQUAL_POINTS,
    RANKING,
    WORSE,
    Measure,
)

#: Scores of the decisions as trained; they are also the scores that the tuned rules optimise.
OWN_DECISIONS: tuple[Measure, ...] = tuple((AS_TRAINED, metric) for _, metric in EQUAL_POINTS)

#: Measures in the order of the three questions.
MEASURED: tuple[Measure, ...] = (RANKING, *OWN_DECISIONS, *EQUAL_POINTS)

LEARNED = "learned something"
LEARNED_AND_COST = "learned something by one score and cost something by another"
COST = "cost something"
MOVED = "moved the threshold only"
MOVED_AT_MOST = "moved the threshold at most"
CHANGED = "undecided (it changed the decisions)"
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
