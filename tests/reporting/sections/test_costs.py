"""Which classes fail, and what finding more of one costs, on any table."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from skinmnist.reporting.sections.costs import (
    class_of_interest,
    cost_of_finding,
    failing_classes,
    shared_in_words,
)


@pytest.mark.parametrize(("names", "expected"), [(["well", "ill"], "ill"), (["a", "b", "c"], "b")])
def test_the_class_of_interest_of_any_table(analysis, names, expected) -> None:
    best = analysis.leaderboard.iloc[0]
    recalls = pd.DataFrame(
        {
            "sampler": best["sampler"],
            "model": best["model"],
            "class": names,
            "mean": [0.9, 0.2, 0.5][: len(names)],
        }
    )
    info = analysis.record.info
    table = replace(info.table, class_names=names, rows_per_class=[90, 10, 5][: len(names)])
    changed = replace(analysis, record=replace(analysis.record, info=replace(info, table=table)))
    changed.__dict__["recalls"] = recalls
    assert class_of_interest(changed) == expected


def test_failing_classes_are_named_worst_first(analysis) -> None:
    best = analysis.leaderboard.iloc[0]
    recalls = analysis.recalls.assign(mean=0.7)
    own = (recalls["sampler"] == best["sampler"]) & (recalls["model"] == best["model"])
    assert "finds at least half of every class" in failing_classes(with_recalls(analysis, recalls))
    recalls.loc[own & (recalls["class"] == "df"), "mean"] = 0.12
    recalls.loc[own & (recalls["class"] == "mel"), "mean"] = 0.41
    words = failing_classes(with_recalls(analysis, recalls))
    assert words.endswith("finds fewer than half of df (0.12) and mel (0.41).")
    recalls.loc[recalls["class"] == "df", "mean"] = 0.12
    assert failing_classes(with_recalls(analysis, recalls)).endswith(" No pair finds half of df.")


def with_recalls(analysis, recalls):
    changed = replace(analysis)
    changed.__dict__["recalls"] = recalls
    return changed


def test_what_finding_more_costs_is_counted(analysis) -> None:
    rows = analysis.record.predictions
    laid = cost_of_finding(analysis)
    assert laid.noun == "melanomas"
    expected = []
    for _, cell in rows.groupby(["sampler", "model"], sort=False):
        ill, called = cell["label"] == 6, cell["predicted"] == 6
        expected.append(((ill & called).sum() / ill.sum(), (called & ~ill).sum() / (ill & called).sum()))
    found = [(row.figures[0].value, row.figures[1].value) for row in laid.rows]
    assert [share for share, _ in found] == sorted((share for share, _ in found), reverse=True)
    for shown, counted in zip(sorted(found), sorted(expected), strict=True):
        assert shown == pytest.approx(counted)


def test_networks_that_rows_share_are_not_hidden(analysis) -> None:
    record = analysis.record
    assert shared_in_words(record) == ""
    timings = record.timings.copy()
    sampler, model = timings.loc[0, ["sampler", "model"]]
    own = (timings["sampler"] == sampler) & (timings["model"] == model)
    timings[["resample_seconds", "fit_seconds", "predict_seconds"]] = [0.0, 0.25, 0.25]
    timings.loc[own, "shared_seconds"] = 25.0
    words = shared_in_words(replace(record, timings=timings))
    assert words.startswith(f"The seconds of {sampler} with ")
    assert "include the whole network (25.0 s), although it is trained once per fold" in words
    assert words.endswith("the costliest takes 0.5 s.")
