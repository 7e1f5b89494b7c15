"""What a sampler changed: each conclusion follows from verdicts, and never says more than they do."""

from itertools import product

import pytest

from skinmnist.analysis.analyze import analyze
from skinmnist.analysis.effects import (
    CHANGED,
    COST,
    LEARNED,
    LEARNED_AND_COST,
    MEASURED,
    MOVED,
    MOVED_AT_MOST,
    NOTHING_CHANGED,
    OPEN,
    Effect,
    effects,
)

BETTER, WORSE, EQUAL, UNDECIDED = "better", "worse", "practically equal", "undecided"


def concluded(ranking, own, equal):
    """Return the conclusion from a verdict on ranking, two as trained, two at equal operating points."""
    words = [ranking, *own, *(equal or (None, None))]
    rows = {of: {"verdict": word} for of, word in zip(MEASURED, words, strict=True) if word}
    return Effect("SMOTE", "svm", rows).conclusion


@pytest.mark.parametrize(
    ("ranking", "own", "equal", "words"),
    [
        (EQUAL, (BETTER, BETTER), (EQUAL, EQUAL), MOVED),
        (EQUAL, (EQUAL, WORSE), (EQUAL, EQUAL), MOVED),
        (EQUAL, (EQUAL, EQUAL), (EQUAL, EQUAL), NOTHING_CHANGED),
        (EQUAL, (UNDECIDED, EQUAL), (EQUAL, EQUAL), MOVED_AT_MOST),
        (EQUAL, (BETTER, BETTER), (EQUAL, UNDECIDED), CHANGED),
        (UNDECIDED, (WORSE, BETTER), (UNDECIDED, UNDECIDED), CHANGED),
        (UNDECIDED, (UNDECIDED, EQUAL), (UNDECIDED, EQUAL), OPEN),
        (BETTER, (UNDECIDED, UNDECIDED), (UNDECIDED, UNDECIDED), LEARNED),
        (EQUAL, (BETTER, BETTER), (UNDECIDED, BETTER), LEARNED),
        (WORSE, (BETTER, BETTER), (EQUAL, EQUAL), COST),
        (WORSE, (BETTER, BETTER), (BETTER, EQUAL), LEARNED_AND_COST),
        (None, (BETTER, BETTER), (EQUAL, EQUAL), CHANGED),
        (None, (UNDECIDED, UNDECIDED), (), OPEN),
    ],
)
def test_the_conclusions(ranking, own, equal, words):
    assert concluded(ranking, own, equal) == words


def test_nothing_is_concluded_that_no_verdict_carries():
    words = (BETTER, WORSE, EQUAL, UNDECIDED)
    for ranking, *rest in product((None, *words), *[words] * 4):
        own, equal = rest[:2], rest[2:]
        found, judged = concluded(ranking, own, equal), [ranking, *equal]
        assert (BETTER in judged) == (found in (LEARNED, LEARNED_AND_COST))
        assert (WORSE in judged) == (found in (COST, LEARNED_AND_COST))
        if found in (MOVED, NOTHING_CHANGED, MOVED_AT_MOST):
            assert judged == [EQUAL] * 3
        if found in (MOVED, CHANGED):
            assert {BETTER, WORSE} & set(own)
        # As trained, a gain alone teaches nothing.
        assert concluded(ranking, (UNDECIDED, UNDECIDED), equal) == found or found in (
            MOVED,
            CHANGED,
            NOTHING_CHANGED,
        )


def test_a_run_has_an_effect_of_every_sampler_on_every_model(record):
    rows = analyze(record, draws=1).comparisons
    found = effects(rows)
    assert {(one.sampler, one.model) for one in found} == {
        (sampler, model)
        for sampler in ("RandomOverSampler", "SMOTE")
        for model in ("svm", "random_forest", "cnn")
    }
    for one in found:
        assert list(one.rows) == [
            ("natural_prior", "macro_auc"),
            ("as_trained", "macro_f1"),
            ("as_trained", "balanced_accuracy"),
            ("tuned_macro_f1", "macro_f1"),
            ("tuned_balanced_accuracy", "balanced_accuracy"),
        ]
        for measure, row in one.rows.items():
            assert (row["rule"], row["metric"]) == measure
            assert (row["question"], row["against"], row["tests"]) == ("sampler", "none", 6)
            assert (row["sampler"], row["model"]) == (one.sampler, one.model)
