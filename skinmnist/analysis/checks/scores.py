"""Checks of predictions and scores: what a leaderboard alone does not tell."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.checks.data import listed
from skinmnist.analysis.differences import (
    BETTER,
    COMPARED_METRICS,
    FEWEST_FOLDS,
    LEVEL,
    NOT_SHOWN,
    WORSE,
    compare_samplers,
)
from skinmnist.analysis.prior_correction import PRIOR_CORRECTION
from skinmnist.analysis.significance import corrected_t_test
from skinmnist.experiment.run_folder.record import RunRecord

#: The score that a claim should rest on.
_MAIN = COMPARED_METRICS[0]
#: Share of a class that must be named as the other, both ways, before the two count as exchanged.
_EXCHANGED = 0.5

_Pair = tuple[str, str]


def no_better_than_majority(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell of pairs whose macro-F1 is not above that of always answering the most frequent class."""
    class_name, reference = _majority_scores(record, _MAIN)
    pairs = []
    for pair, values in _fold_scores(record, _MAIN).items():
        gaps = (values - reference).dropna().to_numpy(dtype=float)
        test = corrected_t_test(gaps, 1 / (record.info.protocol.folds - 1))
        # Below three folds there is no spread to trust, and the mean must do.
        sure = test.low > 0 if len(gaps) >= FEWEST_FOLDS and not np.isnan(test.low) else test.mean > 0
        if not sure:
            pairs.append(f"{_named(pair)} {values.mean():.3f}")
    if not pairs:
        return None
    return (
        f"Always answering {class_name} has a macro-F1 of {reference.mean():.3f}, and not shown to be better "
        f"{'is' if len(pairs) == 1 else 'are'} {listed(pairs)}."
    )


def less_accurate(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell of pairs that are right less often than always answering the most frequent class."""
    class_name, reference = _majority_scores(record, "accuracy")
    means = {pair: values.mean() for pair, values in _fold_scores(record, "accuracy").items()}
    pairs = [f"{_named(pair)} {mean:.3f}" for pair, mean in means.items() if mean < reference.mean()]
    if not pairs:
        return None
    return (
        f"Always answering {class_name} is right in {reference.mean():.3f} of the pictures, more often than "
        f"{listed(pairs)}: accuracy cannot tell whether {'it is' if len(pairs) == 1 else 'they are'} of use."
    )


def never_predicted(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell of pairs that never answer some class, in any fold."""
    names = record.info.table.class_names
    missing = []
    for pair, counts in _confusions(record).items():
        absent = [names[code] for code in np.flatnonzero(counts.sum(axis=0) == 0) if counts[code].any()]
        if absent:
            missing.append(f"{_named(pair)} ({', '.join(absent)})")
    if not missing:
        return None
    return f"Classes are never predicted, and have a recall of 0, with {listed(missing)}."


def hurt_calibration(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell of samplers whose expected calibration error is above that of none by more than noise."""
    found = compare_samplers(record.scores, record.info.protocol.folds, metrics=("ece",))
    worse = [
        f"{_named((row['sampler'], row['model']))} (from {row['against_value']:.3f} to {row['value']:.3f})"
        for row in found[found["verdict"] == WORSE].to_dict("records")
    ]
    if not worse:
        return None
    return (
        f"The calibration error rises by more than luck lets expect, for {listed(worse)}: do not take these "
        "probabilities at their word."
    )


def lead_within_noise(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell where the pair on top of the leaderboard is not shown to be better than the next."""
    scores = _fold_scores(record, _MAIN)
    ranked = sorted(scores, key=lambda pair: -scores[pair].mean())
    if len(ranked) < 2:
        return None
    gaps = (scores[ranked[0]] - scores[ranked[1]]).dropna().to_numpy(dtype=float)
    if not len(gaps):
        return None
    test = corrected_t_test(gaps, 1 / (record.info.protocol.folds - 1))
    known = _verdict(analysis, ranked[0], ranked[1])
    if known in (BETTER, WORSE) or (known is None and len(gaps) >= FEWEST_FOLDS and test.p < LEVEL):
        return None
    reach = "" if np.isnan(test.low) else f" (95 % interval {_signed(test.low)} to {_signed(test.high)})"
    return (
        f"{_named(ranked[0])} leads {_named(ranked[1])} by {test.mean:.3f} in macro-F1{reach}: these folds "
        "do not show which of the two is better."
    )


def differences_within_noise(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell how many differences between a sampler and none are not shown."""
    found = _compared(analysis, "sampler")
    found = found[(found["against"] == "none") & (found["sampler"] != PRIOR_CORRECTION)]
    unsure = found[~found["verdict"].isin([BETTER, WORSE])]
    if unsure.empty:
        return None
    shown = [
        f"{_named((row['sampler'], row['model']))} {_signed(row['difference'])}"
        for row in unsure.to_dict("records")
    ]
    why = "smaller than its noise" if (unsure["verdict"] == NOT_SHOWN).all() else "from too few folds"
    return (
        f"{len(unsure)} of {len(found)} differences to none in macro-F1 "
        f"{'is' if len(unsure) == 1 else 'are'} not shown to be real, each {why}: {listed(shown)}."
    )


def exchanged_classes(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell of two classes whose pictures are named as the other, both ways, more often than not."""
    names = record.info.table.class_names
    swapped = []
    for pair, counts in _confusions(record).items():
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        both = np.minimum(shares, shares.T) > _EXCHANGED
        swapped += [
            f"{names[a]} and {names[b]} by {_named(pair)}"
            for a, b in zip(*np.nonzero(both), strict=True)
            if a < b
        ]
    if not swapped:
        return None
    return (
        f"Most pictures of one class are named as another and the other way round: {listed(swapped)}; look "
        "for swapped labels."
    )


def _compared(analysis: Analysis, question: str) -> pd.DataFrame:
    """Return the comparisons of the score that a claim should rest on, as the report shows them."""
    rows = analysis.comparisons
    return rows[(rows["question"] == question) & (rows["metric"] == _MAIN)]


def _verdict(analysis: Analysis, first: _Pair, second: _Pair) -> str | None:
    """Return what the report says of two pairs, whichever is first; None where it does not compare them."""
    samplers, models = _compared(analysis, "sampler"), _compared(analysis, "model")
    for one, other in ((first, second), (second, first)):
        same_model = samplers[samplers["against"] == other[0]] if one[1] == other[1] else samplers[:0]
        same_sampler = models[models["against"] == other[1]] if one[0] == other[0] else models[:0]
        rows = pd.concat([same_model, same_sampler])
        rows = rows[(rows["sampler"] == one[0]) & (rows["model"] == one[1])]
        if len(rows):
            return str(rows["verdict"].iloc[0])
    return None


def _fold_scores(record: RunRecord, metric: str) -> dict[_Pair, pd.Series]:
    """Return a score of every pair, indexed by repeat and fold."""
    rows = record.scores[record.scores["metric"] == metric]
    return {
        (str(sampler), str(model)): of_pair.set_index(["repeat", "fold"])["value"]
        for (sampler, model), of_pair in rows.groupby(["sampler", "model"], sort=False)
    }


def _majority_scores(record: RunRecord, metric: str) -> tuple[str, pd.Series]:
    """Score the answer that is always the most frequent class of the training rows, fold by fold."""
    names = record.info.table.class_names
    values: dict[tuple[int, int], float] = {}
    classes = Counter[str]()
    for result in record.results:
        place = (result.cell.repeat, result.cell.fold)
        if place in values:
            continue
        code = int(result.counts_before.argmax())
        classes[names[code]] += 1
        hits = np.count_nonzero(result.labels == code)
        share = hits / max(len(result.labels), 1)
        # Of the classes that are there, one is found, at the price of all the others.
        values[place] = (
            share
            if metric == "accuracy"
            else 2 * share / (1 + share) / len(np.unique(np.append(result.labels, code)))
        )
    name = classes.most_common(1)[0][0] if classes else ""
    index = pd.MultiIndex.from_tuples(list(values), names=["repeat", "fold"]) if values else None
    return name, pd.Series(list(values.values()), index=index, dtype=float)


def _confusions(record: RunRecord) -> dict[_Pair, npt.NDArray[np.int64]]:
    """Count pictures by true and predicted class, shape (k, k), for every pair over all its cells."""
    k = len(record.info.table.class_names)
    found: dict[_Pair, npt.NDArray[np.int64]] = {}
    for result in record.results:
        pair = (result.cell.sampler, result.cell.model)
        counts = np.bincount(result.labels * k + result.predicted, minlength=k * k).reshape(k, k)
        found[pair] = found.get(pair, np.zeros((k, k), dtype=np.int64)) + counts
    return found


def _named(pair: _Pair) -> str:
    sampler, model = pair
    return f"{model} without a sampler" if sampler == "none" else f"{model} with {sampler}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
