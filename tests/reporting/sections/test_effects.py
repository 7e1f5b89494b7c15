"""The table on equal terms holds the verdicts, differences and intervals of the comparisons."""

from __future__ import annotations

import pytest

from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.effects import effects
from skinmnist.reporting.page import render_page
from skinmnist.reporting.sections.effects import effect_rows, summary


def section(page):
    return page.partition('id="equal-terms"')[2].partition("<section id=")[0]


def test_every_verdict_stands_with_its_interval(analysis) -> None:
    found = effects(analysis.comparisons)
    laid = effect_rows(analysis.record.info, found)
    assert len(laid) == len(found) == 6
    for shown, effect in zip(laid, found, strict=True):
        assert shown.conclusion == effect.conclusion
        assert len(shown.cells) == len(effect.rows) == 5
        for cell, row in zip(shown.cells, effect.rows.values(), strict=True):
            texts = [
                f"{round(row[name], 3) + 0:+.3f}".replace("-", "−") for name in ("difference", "low", "high")
            ]
            assert [cell.difference, *cell.interval.split(" to ")] == texts
            assert cell.verdict == row["verdict"]
            assert cell.posterior.startswith(
                f"{100 * max(row['worse'], row['equivalent'], row['better']):.0f} % "
            )
            assert cell.shown == (cell.verdict in ("better", "worse"))


def test_pairs_of_one_conclusion_stand_together(analysis) -> None:
    found = effects(analysis.comparisons)
    sentences = summary(found, "{} with {}".format)
    assert len(sentences) == len({effect.conclusion for effect in found})
    for effect in found:
        (own,) = [words for words in sentences if f"{effect.sampler} with {effect.model}" in words]
        assert own.endswith(f": {effect.conclusion}.")


@pytest.mark.usefixtures("bare_figures")
def test_one_fold_has_no_interval_and_no_tuned_rule(make_run) -> None:
    only = {"svm": {"title": "SVM", "space": "pixels"}}
    run = make_run(models=only, n_rows=80, finished=lambda cell: cell.fold == 0)
    analysis = analyze(run, draws=1)
    for row in effect_rows(run.info, effects(analysis.comparisons)):
        assert {cell.interval for cell in row.cells} <= {"–", ""}
        assert [cell.difference for cell in row.cells[3:]] == ["–", "–"]
        assert row.conclusion == "undecided"
    assert ":</strong> undecided." in section(render_page(analysis))


@pytest.mark.usefixtures("bare_figures")
def test_without_none_nothing_is_on_equal_terms(make_run) -> None:
    only = {"svm": {"title": "SVM", "space": "pixels"}}
    run = make_run(samplers=["SMOTE"], models=only, n_rows=80)
    assert "none can be compared" in section(render_page(analyze(run, draws=1)))
