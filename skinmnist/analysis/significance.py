"""Paired tests over the folds of a cross-validation, and the table of comparisons with its verdicts.

Each verdict follows from the simultaneous interval over the family of the comparison. A family consists
of all comparisons that address one question with one score under one decision rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.experiment.metrics import LOWER_IS_BETTER

#: The scores of the leaderboard. Base conclusions on the first.
COMPARED_METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc", f"recall_{facts.MELANOMA}")
#: Smaller differences between two scores are irrelevant in practice.
ROPE = 0.01
#: Bound on the probability of at least one false "better" or "worse" in a family.
LEVEL = 0.05
#: Two scores are practically equal if the posterior probability of a difference within ± `ROPE` is at least
#: this high.
SURE = 0.95
#: Fewer paired folds are not enough to estimate a spread.
FEWEST_FOLDS = 3
#: Smaller differences between two scores, and smaller spreads, are floating-point rounding errors.
ROUNDING = 1e-12

BETTER, WORSE, EQUAL, UNDECIDED = "better", "worse", "practically equal", "undecided"

#: A decision rule and a score.
Measure = tuple[str, str]
#: The rule of ``scores.csv``: predict the most probable class according to the probabilities as trained.
AS_TRAINED = "as_trained"
#: Comparisons of pairs at their own operating points.
OWN_POINT: tuple[Measure, ...] = tuple((AS_TRAINED, metric) for metric in COMPARED_METRICS)
#: Ranking at a common prior; AUCs as trained also differ because of different training mixes.
RANKING: Measure = ("natural_prior", "macro_auc")
#: Decisions at equal operating points: each side is tuned for the metric.
EQUAL_POINTS: tuple[Measure, ...] = (
    ("tuned_macro_f1", "macro_f1"),
    ("tuned_balanced_accuracy", "balanced_accuracy"),
)
MEASURES = (*OWN_POINT, RANKING, *EQUAL_POINTS)

COMPARISON_COLUMNS = (
    "question",
    "sampler",
    "model",
    "against",
    "rule",
    "metric",
    "folds",
    "value",
    "against_value",
    "difference",
    "low",
    "high",
    "single_low",
    "single_high",
    "p",
    "p_simultaneous",
    "p_holm",
    "family",
    "tests",
    "worse",
    "equivalent",
    "better",
    "verdict",
)

#: A sampler and a model.
Pair = tuple[str, str]


class PairedTest(NamedTuple):
    """A mean difference, its confidence interval from `low` to `high`, and the two-sided p-value."""

    mean: float
    low: float
    high: float
    p: float


class Equivalence(NamedTuple):
    """Probabilities of a true difference below, within and above ± `ROPE`."""

    worse: float
    equivalent: float
    better: float


def corrected_t_test(
    differences: npt.ArrayLike, test_to_train: float, confidence: float = 0.95
) -> PairedTest:
    """Test whether the mean of paired differences over resampled splits is zero.

    This is the corrected resampled t-test (Nadeau & Bengio, "Inference for the generalization error",
    Machine Learning 52, 2003). Training sets that share rows give correlated scores, so the variance of the
    mean of J differences is estimated as ``(1 / J + test_to_train) * s**2``, with J - 1 degrees of freedom.
    `test_to_train` is the number of held-out rows per training row: ``1 / (folds - 1)`` in a
    cross-validation.

    If all differences are zero, the interval is ``[0, 0]`` and p is 1. If there is only one difference, or if
    all are equal but not zero, the spread is unknown, and the interval and p are NaN. (The formula would
    treat equal differences as certain, but the recall over few pictures can easily change by equal steps.)
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
    """Return the probabilities that the true difference is a loss, negligible, or a gain.

    This is the Bayesian correlated t-test (Corani & Benavoli, Machine Learning 100, 2015; Benavoli, Corani,
    Demsar & Zaffalon, "Time for a change", JMLR 18, 2017). Under a flat prior, the true difference follows a
    Student distribution around the mean with J - 1 degrees of freedom and squared scale
    ``(1 / J + rho / (1 - rho)) * s**2``, where ``rho = 1 / folds`` is the correlation of two folds. Returns
    ``(0, 1, 0)`` if all differences are zero, and NaN if the spread is unknown, as in `corrected_t_test`.
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
    """Return the differences without rounding noise, and the scale of their mean; NaN if it is unknown."""
    values = np.asarray(differences, dtype=float)
    values = np.where(np.abs(values) < ROUNDING, 0.0, values)
    if len(values) < 2:
        return values, np.nan
    spread = float(values.std(ddof=1))
    if spread < ROUNDING:
        return values, np.nan if values.any() else 0.0
    return values, spread * float(np.sqrt(1 / len(values) + correlation_term))


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Adjust the p-values of one family for multiple comparisons, ignoring NaN from impossible tests.

    The method is that of Holm, "A simple sequentially rejective multiple test procedure", Scandinavian
    Journal of Statistics 6, 1979. The probability of at least one false positive in the family stays below
    the level under any dependence between the tests.
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
    measures: Sequence[Measure] = MEASURES,
) -> pd.DataFrame:
    """Compare every sampler with `reference` for each model; comparisons with a missing cell are dropped.

    Scores are paired by repeat and fold, so both sides share the pictures and the seed. A family consists of
    all comparisons by one measure, over models and samplers, because a reader who searches for a helpful
    sampler considers all of them. Each measure has a separate family because it addresses a separate
    question.

    Parameters
    ----------
    scores : DataFrame
        In the layout of ``operating_points.csv``, or of ``scores.csv``, whose rule is `AS_TRAINED`.
    folds : int
        Number of folds in one repeat.

    Returns
    -------
    DataFrame
        One row for each measure, model and sampler, in that order:

        question : ``"sampler"``
        sampler, model, against : the two sides; `against` is the reference
        rule, metric : the measure
        folds : number of paired folds over all repeats
        value, against_value : means over the paired folds
        difference : `value` minus `against_value`
        low, high : the simultaneous 95 % interval over the family, which determines the verdict
        single_low, single_high, p : from `corrected_t_test`, without adjustment for other comparisons
        p_simultaneous : `p` times the number of tests (Bonferroni); below .05 if `low` to `high`
            excludes zero
        p_holm : `p` adjusted with `holm`
        family, tests : the name of the family and the number of its tests
        worse, equivalent, better : probabilities of `correlated_t_test` below, within and above ± `ROPE`
        verdict : see `verdict`

        With fewer than `FEWEST_FOLDS` paired folds, or an unknown spread, intervals, p-values and
        probabilities are NaN.
    """
    sides = _sides(scores, reference)
    return _compare(scores, "sampler", f"samplers against {reference}", sides, folds, measures)


def compare_models(scores: pd.DataFrame, folds: int, measures: Sequence[Measure] = MEASURES) -> pd.DataFrame:
    """Compare models pairwise for each sampler, like `compare_samplers`; the question is ``"model"``.

    Both sides have the same sampler, rather than the best one for each model: selecting the best by the
    scores under comparison would add luck to its lead. A family consists of all comparisons by one measure,
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
    return _compare(scores, "model", "models", sides, folds, measures)


def compare_pair(
    scores: pd.DataFrame, folds: int, first: Pair, second: Pair, measure: Measure
) -> pd.DataFrame:
    """Compare two pairs, with the question ``"pair"``; returns one row, or none without a shared fold."""
    return _compare(scores, "pair", f"{first} against {second}", [(first, second)], folds, [measure])


def compare_control(scores: pd.DataFrame, folds: int, control: str, reference: str = "none") -> pd.DataFrame:
    """Compare a control with `reference`, and every sampler with the control, using decisions as trained.

    The output is that of `compare_samplers`, with the question ``"control"``. The gain of the control and the
    gains of samplers over it are separate questions and thus separate families; neither enlarges the family
    of the samplers.
    """
    own = _sides(scores[scores["sampler"].isin([control, reference])], reference)
    samplers = _sides(scores[scores["sampler"] != reference], control)
    frames = [
        _compare(scores, "control", f"{control} against {reference}", own, folds, OWN_POINT),
        _compare(scores, "control", f"samplers against {control}", samplers, folds, OWN_POINT),
    ]
    return joined(frames)


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables of comparisons, omitting empty ones because they lack column types."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]


def each_part_once(scores: pd.DataFrame, held_out: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Average scores over repeats that hold out the same pictures, because retraining adds no new folds.

    `held_out` identifies the pictures of each repeat and fold, as in `RunInfo.held_out`. If all of them
    differ, as with redrawn folds, the scores are returned unchanged.
    """
    first = first_places(held_out)
    if len({*first.values()}) == len(first) or scores.empty:
        return scores
    places = [first[repeat, fold] for repeat, fold in scores[["repeat", "fold"]].to_numpy()]
    repeats, folds_of = zip(*places, strict=True)
    keys = [name for name in scores.columns if name != "value"]
    own = scores.assign(repeat=repeats, fold=folds_of)
    return own.groupby(keys, sort=False)["value"].mean().reset_index()[list(scores.columns)]


def first_places(held_out: Sequence[Sequence[str]]) -> dict[tuple[int, int], tuple[int, int]]:
    """Return, for each repeat and fold, the first repeat and fold that hold out the same pictures."""
    first: dict[str, tuple[int, int]] = {}
    return {
        (repeat, fold): first.setdefault(part, (repeat, fold))
        for repeat, folds in enumerate(held_out)
        for fold, part in enumerate(folds)
    }


def verdict(low: float, high: float, equivalent: float, lower_is_better: bool = False) -> str:
    """Return the verdict of a comparison from its simultaneous interval and its posterior.

    The verdict is ``"practically equal"`` if the probability of a difference within ± `ROPE` is at least
    `SURE`; otherwise ``"better"`` or ``"worse"`` if the interval excludes zero; otherwise ``"undecided"``.
    Undecided does not mean equal: these folds may be too few to detect a difference.
    """
    if equivalent >= SURE:
        return EQUAL
    if np.isnan(low) or low <= 0 <= high:
        return UNDECIDED
    return WORSE if (low > 0) == lower_is_better else BETTER


def reason_undecided(row: Any) -> str:
    """Return the reason for an undecided comparison: too few folds, no spread, many comparisons, or noise."""
    if row["folds"] == 1:
        return "one held-out part has no spread over folds"
    if row["folds"] < FEWEST_FOLDS:
        return f"fewer than {FEWEST_FOLDS} folds in common"
    if np.isnan(row["low"]):
        return "the same difference in every fold, so its spread is unknown"
    if row["single_low"] <= 0 <= row["single_high"]:
        return "its interval over folds includes zero"
    return f"its interval over folds excludes zero on its own, but not over {row['tests']} comparisons"


def exchanged(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Swap the sides of comparisons: better becomes worse, and the sign changes."""
    rows = comparisons
    return rows.assign(
        model=rows["against"],
        against=rows["model"],
        value=rows["against_value"],
        against_value=rows["value"],
        difference=-rows["difference"],
        low=-rows["high"],
        high=-rows["low"],
        single_low=-rows["single_high"],
        single_high=-rows["single_low"],
        worse=rows["better"],
        better=rows["worse"],
        verdict=rows["verdict"].replace({BETTER: WORSE, WORSE: BETTER}),
    )


def detectable_difference(comparisons: pd.DataFrame, folds: int, planned: int | None = None) -> float:
    """Return the median half-width of simultaneous intervals; smaller differences are rarely detected.

    If `planned` is given, return the half-width expected for that many paired folds over all repeats,
    assuming the same variation between folds. The result is NaN if all intervals are unknown.
    """
    from scipy.special import stdtrit

    rows = comparisons[comparisons["low"].notna()]
    if rows.empty:
        return np.nan
    half = (rows["high"] - rows["low"]).to_numpy(dtype=float) / 2
    if planned is not None:
        done, tail = (
            rows["folds"].to_numpy(dtype=float),
            1 - LEVEL / (2 * rows["tests"].to_numpy(dtype=float)),
        )
        now, then = (
            stdtrit(count - 1, tail) * np.sqrt(1 / count + 1 / (folds - 1)) for count in (done, planned)
        )
        half = half * then / now
    return float(np.median(half))


def _pairs(scores: pd.DataFrame) -> list[Pair]:
    """Return the pairs of sampler and model, in order of appearance."""
    return [(str(s), str(m)) for s, m in scores[["sampler", "model"]].drop_duplicates().to_numpy()]


def _sides(scores: pd.DataFrame, reference: str) -> list[tuple[Pair, Pair]]:
    """Pair every sampler with `reference` for each model."""
    pairs = _pairs(scores)
    return [
        ((sampler, model), (reference, model))
        for model in dict.fromkeys(model for _, model in pairs)
        for sampler, other in pairs
        if other == model and sampler != reference and (reference, model) in pairs
    ]


def _compare(
    scores: pd.DataFrame,
    question: str,
    family: str,
    sides: Sequence[tuple[Pair, Pair]],
    folds: int,
    measures: Sequence[Measure],
) -> pd.DataFrame:
    by_measure = _scores_by_fold(scores, measures)
    rows: list[dict[str, Any]] = []
    for rule, metric in measures:
        records, gaps = _paired(by_measure[rule, metric], question, sides)
        named = {"rule": rule, "metric": metric, "family": f"{family}: {metric} {rule}"}
        verdicts = _judged(gaps, folds, metric in LOWER_IS_BETTER)
        rows += [record | named | judged for record, judged in zip(records, verdicts, strict=True)]
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))


def _scores_by_fold(
    scores: pd.DataFrame, measures: Sequence[Measure]
) -> dict[Measure, dict[Pair, npt.NDArray[np.float64]]]:
    """Return the scores of each pair by each measure, over the folds of all measures; NaN where missing."""
    if "rule" not in scores:
        scores = scores.assign(rule=AS_TRAINED)
    rules, metrics = ({measure[part] for measure in measures} for part in (0, 1))
    measured = scores[scores["rule"].isin(rules) & scores["metric"].isin(metrics)]
    # One table for all measures, because each costs milliseconds.
    wide = measured.pivot_table(
        index=["repeat", "fold"], columns=["rule", "metric", "sampler", "model"], values="value"
    )
    found: dict[Measure, dict[Pair, npt.NDArray[np.float64]]] = {measure: {} for measure in measures}
    columns = cast(list[tuple[str, str, str, str]], wide.columns.to_list())
    for (rule, metric, *pair), values in zip(columns, wide.to_numpy(dtype=float).T, strict=True):
        found.setdefault((rule, metric), {})[pair[0], pair[1]] = values
    return found


def _paired(
    scores: dict[Pair, npt.NDArray[np.float64]], question: str, sides: Sequence[tuple[Pair, Pair]]
) -> tuple[list[dict[str, Any]], list[npt.NDArray[np.float64]]]:
    """Describe each comparison whose sides share a fold, and return its differences."""
    records, gaps = [], []
    for first, second in sides:
        if first not in scores or second not in scores:
            continue
        both = np.stack([scores[first], scores[second]], axis=1)
        both = both[~np.isnan(both).any(axis=1)]
        if len(both):
            records.append(
                {
                    "question": question,
                    "sampler": first[0],
                    "model": first[1],
                    "against": second[1] if question == "model" else second[0],
                    "folds": len(both),
                    "value": both[:, 0].mean(),
                    "against_value": both[:, 1].mean(),
                }
            )
            gaps.append(both[:, 0] - both[:, 1])
    return records, gaps


def _judged(
    gaps: Sequence[npt.NDArray[np.float64]], folds: int, lower_is_better: bool
) -> list[dict[str, Any]]:
    """Test the differences of one family, individually and simultaneously, and give each a verdict."""
    single = [_test(values, folds, LEVEL) for values in gaps]
    p = np.array([test.p for test in single])
    tests = int(np.count_nonzero(~np.isnan(p)))
    sign = -1 if lower_is_better else 1
    rows = []
    for values, alone, adjusted in zip(gaps, single, holm(p), strict=True):
        together = _test(values, folds, LEVEL / max(tests, 1))
        enough = len(values) >= FEWEST_FOLDS
        posterior = correlated_t_test(sign * values, folds) if enough else Equivalence(np.nan, np.nan, np.nan)
        rows.append(
            {
                "difference": together.mean,
                "low": together.low,
                "high": together.high,
                "single_low": alone.low,
                "single_high": alone.high,
                "p": alone.p,
                "p_simultaneous": min(1.0, alone.p * tests) if not np.isnan(alone.p) else np.nan,
                "p_holm": adjusted,
                "tests": tests,
                "verdict": verdict(together.low, together.high, posterior.equivalent, lower_is_better),
                **posterior._asdict(),
            }
        )
    return rows


def _test(differences: npt.NDArray[np.float64], folds: int, level: float) -> PairedTest:
    """Test one comparison; a test with two folds would be unreliable."""
    test = corrected_t_test(differences, 1 / (folds - 1), 1 - level)
    return test if len(differences) >= FEWEST_FOLDS else PairedTest(test.mean, np.nan, np.nan, np.nan)
