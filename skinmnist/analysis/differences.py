"""Which differences between the rows of a leaderboard hold: tables of paired comparisons with verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.significance import corrected_t_test, correlated_t_test, holm
from skinmnist.experiment.metrics import LOWER_IS_BETTER

#: The scores of the leaderboard. The first is the one that a claim should rest on.
COMPARED_METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc", f"recall_{facts.MELANOMA}")
#: Differences of two scores that are smaller do not matter in practice.
ROPE = 0.01
#: Corrected p-values below this carry a verdict.
LEVEL = 0.05
#: Fewer paired folds than these say nothing about a spread.
FEWEST_FOLDS = 3

BETTER, WORSE, NOT_SHOWN, TOO_FEW = "better", "worse", "no difference shown", "too few folds"

COMPARISON_COLUMNS = (
    "question",
    "sampler",
    "model",
    "against",
    "metric",
    "folds",
    "value",
    "against_value",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "tests",
    "worse",
    "equivalent",
    "better",
    "verdict",
)

_Pair = tuple[str, str]


def compare_samplers(
    scores: pd.DataFrame,
    folds: int,
    reference: str = "none",
    metrics: Sequence[str] = COMPARED_METRICS,
    rope: float = ROPE,
) -> pd.DataFrame:
    """Compare every sampler with a reference, model by model.

    Scores are paired by repeat and fold: both sides met the same pictures and the same seed. The family for
    Holm's correction is all comparisons of one metric, over models and samplers: whoever looks for a sampler
    that helps looks at all of them. Metrics are families of their own, for each answers another question.

    Parameters
    ----------
    scores : DataFrame
        In the layout of ``scores.csv``; a cell that is missing on one side is left out on both.
    folds : int
        Of one repeat, as planned.
    reference : str
        The sampler to hold the others against.
    metrics : sequence of str
        Those that `scores` does not hold are left out.
    rope : float
        Half the width of the region of practical equivalence.

    Returns
    -------
    DataFrame
        Columns `COMPARISON_COLUMNS`, one row for each metric, model and sampler, in that order:

        question : ``"sampler"``
        sampler, model, against : what is compared; `against` is the reference
        folds : int, paired folds over all repeats
        value, against_value : means over the paired folds
        difference, low, high, p : of `corrected_t_test`; the difference is `value` less `against_value`
        p_holm : p corrected for the number of `tests` in the family
        worse, equivalent, better : probabilities of `correlated_t_test`
        verdict : ``"better"`` or ``"worse"`` where ``p_holm < .05``, else ``"no difference shown"``; ``"too
        few folds"`` below three paired folds, and where the spread is unknown
    """
    pairs = _pairs(scores)
    sides = [
        ((sampler, model), (reference, model))
        for model in dict.fromkeys(model for _, model in pairs)
        for sampler, other in pairs
        if other == model and sampler != reference and (reference, model) in pairs
    ]
    return _compare(scores, "sampler", sides, folds, metrics, rope)


def compare_models(
    scores: pd.DataFrame, folds: int, metrics: Sequence[str] = COMPARED_METRICS, rope: float = ROPE
) -> pd.DataFrame:
    """Compare every pair of models, sampler by sampler; the counterpart of `compare_samplers`.

    Both sides are taken with the same sampler, and not each with its best: the best is chosen by the very
    scores that are compared, so its lead is partly the luck of having been chosen. The family for Holm's
    correction is all comparisons of one metric, over samplers and pairs of models.

    Parameters
    ----------
    scores, folds, metrics, rope
        As in `compare_samplers`.

    Returns
    -------
    DataFrame
        As of `compare_samplers`, with question ``"model"``; `against` is the other model.
    """
    pairs = _pairs(scores)
    models = list(dict.fromkeys(model for _, model in pairs))
    sides = [
        ((sampler, model), (sampler, other))
        for sampler in dict.fromkeys(sampler for sampler, _ in pairs)
        for model, other in combinations(models, 2)
        if (sampler, model) in pairs and (sampler, other) in pairs
    ]
    return _compare(scores, "model", sides, folds, metrics, rope)


def verdict(p_holm: float, difference: float, folds: int, lower_is_better: bool = False) -> str:
    """Say in words what a corrected comparison shows, and no more.

    Parameters
    ----------
    p_holm, difference : float
    folds : int
        Paired folds over all repeats.
    lower_is_better : bool

    Returns
    -------
    str
        ``"no difference shown"`` is not ``"equal"``: what is too small for these folds to show may be there.
    """
    if folds < FEWEST_FOLDS or np.isnan(p_holm):
        return TOO_FEW
    if p_holm >= LEVEL:
        return NOT_SHOWN
    return WORSE if (difference > 0) == lower_is_better else BETTER


def _pairs(scores: pd.DataFrame) -> list[_Pair]:
    """List the pairs of sampler and model, in the order in which they stand."""
    return [(str(s), str(m)) for s, m in scores[["sampler", "model"]].drop_duplicates().to_numpy()]


def _compare(
    scores: pd.DataFrame,
    question: str,
    sides: Sequence[tuple[_Pair, _Pair]],
    folds: int,
    metrics: Sequence[str],
    rope: float,
) -> pd.DataFrame:
    frames = []
    for metric in metrics:
        of_metric = scores[scores["metric"] == metric]
        records = list(_test_all(of_metric, question, metric, sides, folds, rope))
        if records:
            frames.append(_with_verdicts(pd.DataFrame(records), metric))
    if not frames:
        return pd.DataFrame(columns=list(COMPARISON_COLUMNS))
    return pd.concat(frames, ignore_index=True)[list(COMPARISON_COLUMNS)]


def _test_all(
    scores: pd.DataFrame,
    question: str,
    metric: str,
    sides: Sequence[tuple[_Pair, _Pair]],
    folds: int,
    rope: float,
) -> Iterator[dict[str, Any]]:
    """Yield one record for each comparison of which both sides have a fold in common."""
    wide = scores.pivot_table(index=["repeat", "fold"], columns=["sampler", "model"], values="value")
    pairs = cast(list[_Pair], wide.columns.to_list())
    columns = dict(zip(pairs, wide.to_numpy(dtype=float).T, strict=True))
    for first, second in sides:
        if first not in columns or second not in columns:
            continue
        both = np.stack([columns[first], columns[second]], axis=1)
        both = both[~np.isnan(both).any(axis=1)]
        if len(both):
            yield {
                "question": question,
                "sampler": first[0],
                "model": first[1],
                "against": second[0] if question == "sampler" else second[1],
                "metric": metric,
                "folds": len(both),
                "value": both[:, 0].mean(),
                "against_value": both[:, 1].mean(),
                **_test(both[:, 0] - both[:, 1], folds, rope, metric in LOWER_IS_BETTER),
            }


def _test(
    differences: npt.NDArray[np.float64], folds: int, rope: float, lower_is_better: bool
) -> dict[str, float]:
    test = corrected_t_test(differences, 1 / (folds - 1))
    gains = -differences if lower_is_better else differences
    return {
        "difference": test.mean,
        "low": test.low,
        "high": test.high,
        # Two folds allow the arithmetic of a test, and no trust in it: they stay out of the family.
        "p": test.p if len(differences) >= FEWEST_FOLDS else np.nan,
        **correlated_t_test(gains, folds, rope)._asdict(),
    }


def _with_verdicts(family: pd.DataFrame, metric: str) -> pd.DataFrame:
    corrected = holm(family["p"].to_numpy(dtype=float))
    lower = metric in LOWER_IS_BETTER
    rows = zip(corrected, family["difference"], family["folds"], strict=True)
    return family.assign(
        p_holm=corrected,
        tests=int(np.count_nonzero(~np.isnan(corrected))),
        verdict=[verdict(float(p), float(gap), int(folds), lower) for p, gap, folds in rows],
    )
