"""Paired tests over the folds of a cross-validation, and the table of comparisons with its verdicts.

A verdict follows from the interval beside it: the simultaneous interval over the family of the comparison. A
family consists of all comparisons that answer one question by one score under one decision rule.
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

#: The scores of the leaderboard. Base claims on the first.
COMPARED_METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc", f"recall_{facts.MELANOMA}")
#: Smaller differences between two scores do not matter in practice.
ROPE = 0.01
#: The probability of at least one false "better" or "worse" in a family.
LEVEL = 0.05
#: Two scores are practically equal from this posterior probability of a difference within ± `ROPE`.
SURE = 0.95
#: Fewer paired folds do not determine a spread.
FEWEST_FOLDS = 3
#: A smaller difference of two scores, or a smaller spread, is floating-point rounding.
ROUNDING = 1e-12

BETTER, WORSE, EQUAL, UNDECIDED = "better", "worse", "practically equal", "undecided"

#: A decision rule and a score.
Measure = tuple[str, str]
#: The rule of ``scores.csv``: the most probable class by the probabilities as trained.
AS_TRAINED = "as_trained"
#: Comparisons of pairs at their own operating points.
OWN_POINT: tuple[Measure, ...] = tuple((AS_TRAINED, metric) for metric in COMPARED_METRICS)
#: Ranking at a common prior; areas as trained also differ because of different training mixes.
RANKING: Measure = ("natural_prior", "macro_auc")
#: Decisions at equal operating points: each side is tuned for the score in question.
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
    """A mean difference, its confidence interval `low` to `high`, and the two-sided p-value."""

    mean: float
    low: float
    high: float
    p: float


class Equivalence(NamedTuple):
    """Probabilities that the true difference lies below, within and above ± `ROPE`."""

    worse: float
    equivalent: float
    better: float


def corrected_t_test(
    differences: npt.ArrayLike, test_to_train: float, confidence: float = 0.95
) -> PairedTest:
    """Test whether the mean of paired differences over resampled splits is zero.

    The corrected resampled t-test (Nadeau & Bengio, "Inference for the generalization error", Machine
    Learning 52, 2003): training sets that share rows give correlated scores, so the variance of the mean of
    J differences is taken as ``(1 / J + test_to_train) * s**2``, with J - 1 degrees of freedom.
    `test_to_train` is the number of held-out rows per training row: ``1 / (folds - 1)`` in a
    cross-validation.

    If all differences are zero, the interval is ``[0, 0]`` and p is 1. If there is only one difference, or
    all are equal and not zero, the spread is unknown, and interval and p are NaN. (The formula would treat
    the latter as certain, but equal steps of a recall over few pictures are not.)
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

    The Bayesian correlated t-test (Corani & Benavoli, Machine Learning 100, 2015; Benavoli, Corani, Demsar &
    Zaffalon, "Time for a change", JMLR 18, 2017): under a flat prior the true difference follows a Student
    distribution with J - 1 degrees of freedom around the mean, of squared scale
    ``(1 / J + rho / (1 - rho)) * s**2``, where ``rho = 1 / folds`` is the correlation of two folds. Returns
    ``(0, 1, 0)`` if all differences are zero, and NaN if the spread is unknown, as in
    `corrected_t_test`.
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
    """Return the differences without rounding noise, and the scale of their mean; NaN if unknown."""
    values = np.asarray(differences, dtype=float)
    values = np.where(np.abs(values) < ROUNDING, 0.0, values)
    if len(values) < 2:
        return values, np.nan
    spread = float(values.std(ddof=1))
    if spread < ROUNDING:
        return values, np.nan if values.any() else 0.0
    return values, spread * float(np.sqrt(1 / len(values) + correlation_term))


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Correct the p-values of one family for their number; NaN, from an impossible test, does not count.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
    1979: the probability of at least one false alarm in the family stays below the level, whatever the
    dependence between the tests.
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
    """Compare every sampler with `reference`, model by model; comparisons with a missing cell are dropped.

    Scores are paired by repeat and fold: both sides have the same pictures and the same seed. A family
    consists of all comparisons of one measure, over models and samplers, because a reader in search of a
    helpful sampler looks at all of them. Each measure is a separate family because it answers another
    question.

    Parameters
    ----------
    scores : DataFrame
        In the layout of ``operating_points.csv``, or of ``scores.csv``, which has the rule `AS_TRAINED`.
    folds : int
        Of one repeat.

    Returns
    -------
    DataFrame
        One row for each measure, model and sampler, in that order:

        question : ``"sampler"``
        sampler, model, against : the two sides; `against` is the reference
        rule, metric : the measure
        folds : paired folds over all repeats
        value, against_value : means over the paired folds
        difference : `value` less `against_value`
        low, high : the simultaneous 95 % interval over the family, which determines the verdict
        single_low, single_high, p : from `corrected_t_test`, as if this were the only comparison
        p_simultaneous : `p` times the number of tests (Bonferroni); below .05 if `low` to `high`
            excludes zero
        p_holm : `p` corrected by `holm`
        family, tests : the name of the family and its number of tests
        worse, equivalent, better : probabilities from `correlated_t_test`, below, within and above ± `ROPE`
        verdict : see `verdict`

        With fewer than `FEWEST_FOLDS` paired folds, or an unknown spread, intervals, p-values and
        probabilities are NaN.
    """
    sides = _sides(scores, reference)
    return _compare(scores, "sampler", f"samplers against {reference}", sides, folds, measures)


def compare_models(scores: pd.DataFrame, folds: int, measures: Sequence[Measure] = MEASURES) -> pd.DataFrame:
    """Compare every pair of models, sampler by sampler, like `compare_samplers`; the question is ``"model"``.

    Both sides have the same sampler and not each its best: the best would be chosen by the scores under
    comparison, so its lead would be partly luck. A family consists of all comparisons of one measure, over
    samplers and pairs of models.
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
    """Compare two pairs on their own: one row with question ``"pair"``, or none without a common fold."""
    return _compare(scores, "pair", f"{first} against {second}", [(first, second)], folds, [measure])


def compare_control(scores: pd.DataFrame, folds: int, control: str, reference: str = "none") -> pd.DataFrame:
    """Compare a control with `reference`, and every sampler with the control, at their own points.

    Like `compare_samplers`; the question is ``"control"``. The gain of the control and the gains of samplers
    over it are two questions, so they are separate families; neither enlarges the family of the samplers.
    """
    own = _sides(scores[scores["sampler"].isin([control, reference])], reference)
    samplers = _sides(scores[scores["sampler"] != reference], control)
    frames = [
        _compare(scores, "control", f"{control} against {reference}", own, folds, OWN_POINT),
        _compare(scores, "control", f"samplers against {control}", samplers, folds, OWN_POINT),
    ]
    return joined(frames)


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables of comparisons, without empty ones, which have no column types."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]


def each_part_once(scores: pd.DataFrame, held_out: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Average scores over repeats that hold out the same pictures, because retraining gives no new folds.

    `held_out` identifies the pictures of each repeat and fold, as in `RunInfo.held_out`. If all are
    different, as with redrawn folds, the scores are returned unchanged.
    """
    first: dict[str, tuple[int, int]] = {}
    for repeat, folds in enumerate(held_out):
        for fold, part in enumerate(folds):
            first.setdefault(part, (repeat, fold))
    if len(first) == sum(map(len, held_out)) or scores.empty:
        return scores
    places = [first[held_out[repeat][fold]] for repeat, fold in scores[["repeat", "fold"]].to_numpy()]
    repeats, folds_of = zip(*places, strict=True)
    keys = [name for name in scores.columns if name != "value"]
    own = scores.assign(repeat=repeats, fold=folds_of)
    return own.groupby(keys, sort=False)["value"].mean().reset_index()[list(scores.columns)]


def verdict(low: float, high: float, equivalent: float, lower_is_better: bool = False) -> str:
    """Return the verdict of a comparison from its simultaneous interval and its posterior.

    It is ``"practically equal"`` if the probability of a difference within ± `ROPE` is at least `SURE`; else
    ``"better"`` or ``"worse"`` if the interval excludes zero; else ``"undecided"``. Undecided does not mean
    equal: there may be a difference that is too small for these folds.
    """
    if equivalent >= SURE:
        return EQUAL
    if np.isnan(low) or low <= 0 <= high:
        return UNDECIDED
    return WORSE if (low > 0) == lower_is_better else BETTER


def reason_undecided(row: Any) -> str:
    """Say why a comparison is undecided: too few folds, no spread, many comparisons, or noise."""
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
    """Return comparisons from the other side: better becomes worse, and the sign changes."""
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
    """Return the median half-width of simultaneous intervals: smaller differences are seldom detected.

    With `planned`, return that of a run with so many paired folds over all repeats, if differences vary from
    fold to fold as much as here. NaN if no interval is known.
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
    """List the pairs of sampler and model, in their order."""
    return [(str(s), str(m)) for s, m in scores[["sampler", "model"]].drop_duplicates().to_numpy()]


def _sides(scores: pd.DataFrame, reference: str) -> list[tuple[Pair, Pair]]:
    """Pair every sampler with `reference`, model by model."""
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
    if "rule" not in scores:
        scores = scores.assign(rule=AS_TRAINED)
    frames = []
    for rule, metric in measures:
        measured = scores[(scores["rule"] == rule) & (scores["metric"] == metric)]
        records, gaps = _paired(measured, question, sides)
        if not records:
            continue
        named = {"rule": rule, "metric": metric, "family": f"{family}: {metric} {rule}"}
        frames.append(
            pd.DataFrame(records).assign(**named).join(_judged(gaps, folds, metric in LOWER_IS_BETTER))
        )
    if not frames:
        return pd.DataFrame(columns=list(COMPARISON_COLUMNS))
    return pd.concat(frames, ignore_index=True)[list(COMPARISON_COLUMNS)]


def _paired(
    scores: pd.DataFrame, question: str, sides: Sequence[tuple[Pair, Pair]]
) -> tuple[list[dict[str, Any]], list[npt.NDArray[np.float64]]]:
    """Describe each comparison whose sides have a fold in common, and list its differences."""
    wide = scores.pivot_table(index=["repeat", "fold"], columns=["sampler", "model"], values="value")
    pairs = cast(list[Pair], wide.columns.to_list())
    columns = dict(zip(pairs, wide.to_numpy(dtype=float).T, strict=True))
    records, gaps = [], []
    for first, second in sides:
        if first not in columns or second not in columns:
            continue
        both = np.stack([columns[first], columns[second]], axis=1)
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


def _judged(gaps: Sequence[npt.NDArray[np.float64]], folds: int, lower_is_better: bool) -> pd.DataFrame:
    """Test the differences of one family, each alone and all together, with a verdict on each."""
    single = [_test(values, folds, LEVEL) for values in gaps]
    p = np.array([test.p for test in single])
    tests = int(np.count_nonzero(~np.isnan(p)))
    together = [_test(values, folds, LEVEL / max(tests, 1)) for values in gaps]
    sign = -1 if lower_is_better else 1
    unknown = Equivalence(np.nan, np.nan, np.nan)
    posterior = [
        correlated_t_test(sign * values, folds) if len(values) >= FEWEST_FOLDS else unknown for values in gaps
    ]
    frame = pd.DataFrame([test._asdict() for test in together]).rename(columns={"mean": "difference"})
    return frame.assign(
        single_low=[test.low for test in single],
        single_high=[test.high for test in single],
        p=p,
        p_simultaneous=np.minimum(1.0, p * tests),
        p_holm=holm(p),
        tests=tests,
        **pd.DataFrame(posterior),
        verdict=[
            verdict(test.low, test.high, chances.equivalent, lower_is_better)
            for test, chances in zip(together, posterior, strict=True)
        ],
    )


def _test(differences: npt.NDArray[np.float64], folds: int, level: float) -> PairedTest:
    """Test one comparison. With two folds, a test could be computed but not trusted."""
    test = corrected_t_test(differences, 1 / (folds - 1), 1 - level)
    return test if len(differences) >= FEWEST_FOLDS else PairedTest(test.mean, np.nan, np.nan, np.nan)
