"""Paired tests over the folds of a cross-validation, and the table of comparisons with its verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.experiment.metrics import LOWER_IS_BETTER

#: The scores of the leaderboard. The first is the one that a claim should rest on.
COMPARED_METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc", f"recall_{facts.MELANOMA}")
#: Differences of two scores that are smaller do not matter in practice.
ROPE = 0.01
#: Corrected p-values below this carry a verdict.
LEVEL = 0.05
#: Fewer paired folds than these say nothing about a spread.
FEWEST_FOLDS = 3
#: Below this, a difference of two scores, or its spread, is the rounding of floats.
ROUNDING = 1e-12

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

#: A sampler and a model.
Pair = tuple[str, str]


class PairedTest(NamedTuple):
    """A mean difference, its confidence interval `low` to `high`, and the two-sided p-value."""

    mean: float
    low: float
    high: float
    p: float


class Equivalence(NamedTuple):
    """Probabilities that the true difference lies below, within and above what makes no difference."""

    worse: float
    equivalent: float
    better: float


def corrected_t_test(
    differences: npt.ArrayLike, test_to_train: float, confidence: float = 0.95
) -> PairedTest:
    """Test whether the mean of paired differences over resampled splits is zero.

    The corrected resampled t-test (Nadeau & Bengio, "Inference for the generalization error", Machine
    Learning 52, 2003): trainings that share rows make scores that go together, so the variance of the mean
    of J differences is taken as ``(1 / J + test_to_train) * s**2``, with J - 1 degrees of freedom.
    `test_to_train` is held-out rows per training row: ``1 / (folds - 1)`` in a cross-validation.

    Where all differences are zero, the interval is ``[0, 0]`` and p is 1. Where there is one difference only,
    or all are equal and not zero, the spread is unknown: interval and p are NaN. (The formula would call the
    latter certain; equal steps of a recall over few pictures are no certainty.)
    """
    from scipy.special import stdtr, stdtrit

    values, scale = _centre_and_scale(differences, test_to_train)
    mean, freedom = float(values.mean()), len(values) - 1
    if np.isnan(scale):
        return PairedTest(mean, np.nan, np.nan, np.nan)
    if scale == 0:
        return PairedTest(0.0, 0.0, 0.0, 1.0)
    reach = float(stdtrit(freedom, 0.5 + confidence / 2)) * scale
    p = 2 * float(stdtr(freedom, -abs(mean) / scale))
    return PairedTest(mean, mean - reach, mean + reach, p)


def correlated_t_test(differences: npt.ArrayLike, folds: int, rope: float = ROPE) -> Equivalence:
    """Return how probable it is that the true difference is a loss, no matter, or a gain.

    The Bayesian correlated t-test (Corani & Benavoli, Machine Learning 100, 2015; Benavoli, Corani, Demsar &
    Zaffalon, "Time for a change", JMLR 18, 2017): under a flat prior the true difference follows a Student
    distribution with J - 1 degrees of freedom around the mean, of squared scale
    ``(1 / J + rho / (1 - rho)) * s**2``, where ``rho = 1 / folds`` is the correlation of two folds.
    ``(0, 1, 0)`` where all differences are zero; NaN where the spread is unknown, as in `corrected_t_test`.
    """
    from scipy.special import stdtr

    rho = 1 / folds
    values, scale = _centre_and_scale(differences, rho / (1 - rho))
    if np.isnan(scale):
        return Equivalence(np.nan, np.nan, np.nan)
    if scale == 0:
        return Equivalence(0.0, 1.0, 0.0)
    mean, freedom = float(values.mean()), len(values) - 1
    worse = float(stdtr(freedom, (-rope - mean) / scale))
    better = float(stdtr(freedom, (mean - rope) / scale))
    return Equivalence(worse, max(0.0, 1 - worse - better), better)


def _centre_and_scale(
    differences: npt.ArrayLike, correlation_term: float
) -> tuple[npt.NDArray[np.float64], float]:
    """Return the differences without rounding, and the scale of their mean: NaN where it is unknown."""
    values = np.asarray(differences, dtype=float)
    values = np.where(np.abs(values) < ROUNDING, 0.0, values)
    if len(values) < 2:
        return values, np.nan
    spread = float(values.std(ddof=1))
    if spread < ROUNDING:
        return values, np.nan if values.any() else 0.0
    return values, spread * float(np.sqrt(1 / len(values) + correlation_term))


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Correct the p-values of one family for their number; NaN, an impossible test, does not count.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
    1979: the chance of one false alarm or more in the family stays below the level, however the tests depend
    on each other.
    """
    given = np.asarray(p_values, dtype=float)
    corrected = np.full(given.shape, np.nan)
    made = np.flatnonzero(~np.isnan(given))
    order = made[np.argsort(given[made], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * factors))
    return corrected


def compare_samplers(
    scores: pd.DataFrame,
    folds: int,
    reference: str = "none",
    metrics: Sequence[str] = COMPARED_METRICS,
) -> pd.DataFrame:
    """Compare every sampler with `reference`, model by model; the comparisons of a missing cell leave it out.

    Scores are paired by repeat and fold: both sides have the same pictures and the same seed. The family for
    Holm's correction is all comparisons of one metric, over models and samplers, for a reader who looks for a
    sampler that helps looks at all of them. Metrics are families of their own: each answers another question.

    Returns
    -------
    DataFrame
        One row for each metric, model and sampler, in that order:

        question : ``"sampler"``
        sampler, model, against : what is compared; `against` is the reference
        folds : paired folds over all repeats
        value, against_value : means over the paired folds
        difference, low, high, p : of `corrected_t_test`; the difference is `value` less `against_value`
        p_holm : p corrected for the number of `tests` in the family
        worse, equivalent, better : probabilities of `correlated_t_test`, within ± `ROPE`
        verdict : see `verdict`
    """
    pairs = _pairs(scores)
    sides = [
        ((sampler, model), (reference, model))
        for model in dict.fromkeys(model for _, model in pairs)
        for sampler, other in pairs
        if other == model and sampler != reference and (reference, model) in pairs
    ]
    return _compare(scores, "sampler", sides, folds, metrics)


def compare_models(scores: pd.DataFrame, folds: int) -> pd.DataFrame:
    """Compare every pair of models, sampler by sampler; as `compare_samplers`, with question ``"model"``.

    Both sides have the same sampler, not each its best: the best is chosen by the very scores that are
    compared, so its lead is partly luck. The family for Holm's correction is all comparisons of one metric,
    over samplers and pairs of models.
    """
    pairs = _pairs(scores)
    models = list(dict.fromkeys(model for _, model in pairs))
    sides = [
        ((sampler, model), (sampler, other))
        for sampler in dict.fromkeys(sampler for sampler, _ in pairs)
        for model, other in combinations(models, 2)
        if (sampler, model) in pairs and (sampler, other) in pairs
    ]
    return _compare(scores, "model", sides, folds, COMPARED_METRICS)


def verdict(p_holm: float, difference: float, folds: int, lower_is_better: bool = False) -> str:
    """Say in words what a corrected comparison shows, and no more.

    ``"better"`` or ``"worse"`` where ``p_holm < .05``, else ``"no difference shown"``, which does not mean
    equal: a difference that is too small for these folds may exist. ``"too few folds"`` below three paired
    folds, and where the spread is unknown.
    """
    if folds < FEWEST_FOLDS or np.isnan(p_holm):
        return TOO_FEW
    if p_holm >= LEVEL:
        return NOT_SHOWN
    return WORSE if (difference > 0) == lower_is_better else BETTER


def exchanged(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return comparisons of models seen from the other side: better is worse, and the sign turns."""
    rows = comparisons
    return rows.assign(
        model=rows["against"],
        against=rows["model"],
        value=rows["against_value"],
        against_value=rows["value"],
        difference=-rows["difference"],
        low=-rows["high"],
        high=-rows["low"],
        worse=rows["better"],
        better=rows["worse"],
        verdict=rows["verdict"].replace({BETTER: WORSE, WORSE: BETTER}),
    )


def typical_reach(comparisons: pd.DataFrame) -> float:
    """Return the median half-width of the intervals of tested comparisons; NaN where none was tested."""
    tested = comparisons[comparisons["verdict"] != TOO_FEW]
    return float(np.median((tested["high"] - tested["low"]) / 2)) if len(tested) else np.nan


def _pairs(scores: pd.DataFrame) -> list[Pair]:
    """List the pairs of sampler and model, in their order."""
    return [(str(s), str(m)) for s, m in scores[["sampler", "model"]].drop_duplicates().to_numpy()]


def _compare(
    scores: pd.DataFrame,
    question: str,
    sides: Sequence[tuple[Pair, Pair]],
    folds: int,
    metrics: Sequence[str],
) -> pd.DataFrame:
    frames = []
    for metric in metrics:
        of_metric = scores[scores["metric"] == metric]
        records = list(_test_all(of_metric, question, metric, sides, folds))
        if records:
            frames.append(_with_verdicts(pd.DataFrame(records), metric))
    if not frames:
        return pd.DataFrame(columns=list(COMPARISON_COLUMNS))
    return pd.concat(frames, ignore_index=True)[list(COMPARISON_COLUMNS)]


def _test_all(
    scores: pd.DataFrame,
    question: str,
    metric: str,
    sides: Sequence[tuple[Pair, Pair]],
    folds: int,
) -> Iterator[dict[str, Any]]:
    """Yield one record for each comparison of which both sides have a fold in common."""
    wide = scores.pivot_table(index=["repeat", "fold"], columns=["sampler", "model"], values="value")
    pairs = cast(list[Pair], wide.columns.to_list())
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
                **_test(both[:, 0] - both[:, 1], folds, metric in LOWER_IS_BETTER),
            }


def _test(differences: npt.NDArray[np.float64], folds: int, lower_is_better: bool) -> dict[str, float]:
    test = corrected_t_test(differences, 1 / (folds - 1))
    gains = -differences if lower_is_better else differences
    return {
        "difference": test.mean,
        "low": test.low,
        "high": test.high,
        # Two folds allow the arithmetic of a test, and no trust in it: they stay out of the family.
        "p": test.p if len(differences) >= FEWEST_FOLDS else np.nan,
        **correlated_t_test(gains, folds)._asdict(),
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
