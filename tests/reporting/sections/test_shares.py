"""The figure of scores by share says the numbers of shares.csv."""

from __future__ import annotations

from skinmnist.analysis.analyze import analyze
from skinmnist.reporting.sections.shares import draw_shares


def test_the_figure_of_shares_says_its_numbers(make_run) -> None:
    only = {"svm": {"title": "SVM", "space": "pixels"}}
    run = make_run(samplers=["none", "SMOTE@0.5", "SMOTE"], models=only, n_rows=80, folds=2)
    analysis = analyze(run, draws=1)
    shares = analysis.shares
    drawn = draw_shares(run.info, shares)
    assert drawn is not None
    said = [words for _, _, words in drawn.image.values]
    expected = [
        f"SMOTE on pixels with SVM, share {row['share']:g}: {row['mean']:.3f}"
        for row in shares.to_dict("records")
    ]
    assert len(said) == len(expected) == 9
    assert all(any(words.startswith(start) for words in said) for start in expected)
    best = shares[shares["rule"] == "as_trained"].sort_values("mean").iloc[-1]
    assert f"{best['share']:g} as trained ({best['mean']:.3f})" in drawn.remarks[0]


def test_without_several_shares_there_is_no_figure(analysis) -> None:
    assert analysis.shares.empty
    assert draw_shares(analysis.record.info, analysis.shares) is None
