"""Which classes fail, and what finding more of one costs, on any table."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from skinmnist.reporting.sections.costs import (
    class_of_interest,
    cost_of_finding,
    failing_classes,
    lost_classes,
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
    board = analysis.leaderboard
    one, two = (board[~board["reference"]].head(number) for number in (1, 2))
    recalls = analysis.recalls.assign(mean=0.7)
    (first, second) = (row[:2] for row in two[["sampler", "model"]].itertuples(index=False, name=None))

    def give(pair, name, mean):
        own = (recalls["sampler"] == pair[0]) & (recalls["model"] == pair[1])
        recalls.loc[own & (recalls["class"] == name), "mean"] = mean

    words = failing_classes(with_recalls(analysis, recalls), one)
    assert words.startswith("It finds at least half of every class, and least of ")
    give(first, "df", 0.12)
    give(first, "mel", 0.41)
    give(second, "vasc", 0.02)
    words = failing_classes(with_recalls(analysis, recalls), one)
    assert words == "It finds fewer than half of df (0.12) and melanoma (mel, 0.41)."
    words = failing_classes(with_recalls(analysis, recalls), two)
    assert words.startswith("One or both find fewer than half of vasc (0.70 and 0.02), df (")
    for name in ("akiec", "bcc", "bkl", "nv"):
        give(first, name, 0.06)
    words = failing_classes(with_recalls(analysis, recalls), two)
    assert words.count(", 0.06 and 0.70)") + words.count(" (0.06 and 0.70)") == 4
    assert words.endswith(" and 2 more.")


def test_classes_that_no_pair_finds(analysis) -> None:
    recalls = analysis.recalls.assign(mean=0.7)
    assert lost_classes(with_recalls(analysis, recalls)) == "Of every class, some pair finds at least half."
    recalls.loc[recalls["class"] == "df", "mean"] = 0.12
    recalls.loc[recalls["class"] == "mel", "mean"] = 0.34
    words = lost_classes(with_recalls(analysis, recalls))
    assert words == "No pair finds half of df (at most 0.12) and mel (at most 0.34)."


def with_recalls(analysis, recalls):
    changed = replace(analysis)
    changed.__dict__["recalls"] = recalls
    return changed


def test_what_finding_more_costs_is_counted(analysis) -> None:
    rows = analysis.record.predictions
    laid = cost_of_finding(analysis)
    assert laid.noun == "melanomas"
    expected, plain = {}, {}
    for (sampler, model), cell in rows.groupby(["sampler", "model"], sort=False):
        ill, called = cell["label"] == 6, cell["predicted"] == 6
        found, alarms = (ill & called).sum(), (called & ~ill).sum()
        plain[model] = plain.get(model, (found, alarms))
        more = found - plain[model][0]
        extra = (alarms - plain[model][1]) / more if more > 0 else float("nan")
        expected[sampler, model] = found / ill.sum(), alarms / found, extra
    titles = {"no sampler": "none", "SMOTE": "SMOTE", "RandomOverSampler": "RandomOverSampler"}
    models = {spec.title: name for name, spec in analysis.record.info.grid.models.items()}
    trained = [row for row in laid.rows if not row.corrected]
    assert len(trained) == len(expected)
    for row in trained:
        own = expected[titles[row.sampler.partition(" on ")[0]], models[row.model]]
        assert [figure.value for figure in row.figures[:3]] == pytest.approx(own, nan_ok=True)
    for model in models:
        of_model = [row for row in laid.rows if row.model == model]
        assert of_model[0].sampler == "no sampler"
        shares = [row.figures[0].value for row in of_model[1:]]
        assert shares == sorted(shares, reverse=True)


def test_the_free_control_has_rows_of_its_own(analysis) -> None:
    """The threshold of each model without a sampler, moved by the class frequencies of its training rows."""
    names = analysis.record.info.table.class_names
    rows = analysis.record.predictions
    moved = {row.model: row for row in cost_of_finding(analysis).rows if row.corrected}
    assert len(moved) == len(analysis.record.info.grid.models)
    for name, spec in analysis.record.info.grid.models.items():
        found = alarms = ill = 0
        for result in analysis.record.results:
            if result.cell[:2] != ("none", name):
                continue
            cell = rows[(rows["sampler"] == "none") & (rows["model"] == name)]
            cell = cell[cell["fold"] == result.cell.fold]
            called = (cell[[f"p_{one}" for one in names]].to_numpy() / result.natural_mix).argmax(axis=1) == 6
            true = cell["label"].to_numpy() == 6
            found, alarms, ill = (
                found + (true & called).sum(),
                alarms + (called & ~true).sum(),
                ill + true.sum(),
            )
        shown = [figure.value for figure in moved[spec.title].figures[:2]]
        assert shown == pytest.approx([found / ill, alarms / found])


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
