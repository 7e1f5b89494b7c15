"""Which pair leads, and which pairs a constant prediction beats, against plain means over folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skinmnist.analysis import standing
from skinmnist.analysis.analyze import Analysis, analyze
from skinmnist.experiment.run_folder.record import RunRecord


@pytest.fixture(scope="module")
def analysis(record: RunRecord) -> Analysis:
    return analyze(record, draws=1)


def with_scores(analysis: Analysis, values: dict[tuple[str, str], list[float]]) -> Analysis:
    """Give pairs other scores by fold, of every metric, and drop the comparisons made of the old ones."""
    scores = analysis.record.scores
    frames = scores.copy()
    for (sampler, model), by_fold in values.items():
        own = (frames["sampler"] == sampler) & (frames["model"] == model)
        frames.loc[own, "value"] = frames.loc[own, "fold"].map(dict(enumerate(by_fold)))
    record = replace(analysis.record, scores=frames)
    return replace(analysis, record=record, comparisons=analysis.comparisons.iloc[:0])


def test_the_two_first_pairs_and_their_difference(analysis: Analysis) -> None:
    wide = analysis.record.scores.query("metric == 'macro_f1'").pivot_table(
        index="fold", columns=["sampler", "model"], values="value"
    )
    ordered = wide.mean().sort_values(ascending=False).index
    found = standing.lead(analysis)
    assert found is not None
    assert [found.first, found.second] == list(ordered[:2])
    assert found.row is not None
    gap = (wide[ordered[0]] - wide[ordered[1]]).mean()
    assert found.row["difference"] == pytest.approx(gap)


def test_a_lead_is_shown_where_every_fold_agrees(analysis: Analysis) -> None:
    high, next_one = [0.90, 0.91, 0.92, 0.91, 0.90], [0.80, 0.81, 0.82, 0.80, 0.81]
    clear = standing.lead(with_scores(analysis, {("SMOTE", "svm"): high, ("none", "cnn"): next_one}))
    assert clear is not None
    assert clear.shown
    assert clear.decided
    noisy = [0.99, 0.70, 0.95, 0.75, 0.98]
    open_one = standing.lead(with_scores(analysis, {("SMOTE", "svm"): noisy, ("none", "cnn"): next_one}))
    assert open_one is not None
    assert open_one.first == ("SMOTE", "svm")
    assert not open_one.shown
    assert not open_one.decided


def test_pairs_without_a_fold_in_common_are_not_compared(analysis: Analysis) -> None:
    scores = analysis.record.scores
    own = {("none", "svm"): 0, ("SMOTE", "cnn"): 1}
    kept = [own.get((row.sampler, row.model)) == row.fold for row in scores.itertuples()]
    found = standing.lead(replace(analysis, record=replace(analysis.record, scores=scores[kept])))
    assert found is not None
    assert found.row is None
    assert not found.shown
    alone = scores[(scores["sampler"] == "none") & (scores["model"] == "svm")]
    assert standing.lead(replace(analysis, record=replace(analysis.record, scores=alone))) is None


def test_pairs_that_a_constant_prediction_beats(analysis: Analysis) -> None:
    labels = [result.labels for result in analysis.record.results if result.cell[:2] == ("none", "svm")]
    share = np.mean([(own == 4).mean() for own in labels])
    low, high = [share - 0.01] * 5, [share + 0.01] * 5
    changed = with_scores(analysis, {("none", "svm"): low, ("SMOTE", "svm"): high})
    found = standing.less_accurate_than_majority(changed)
    assert found.class_name == "nv"
    assert found.value == pytest.approx(share)
    assert found.pairs[("none", "svm")] == pytest.approx(share - 0.01)
    assert ("SMOTE", "svm") not in found.pairs
    f1 = standing.not_above_majority(with_scores(analysis, {("none", "svm"): [0.01] * 5}))
    assert ("none", "svm") in f1.pairs
    assert f1.value < 0.2
