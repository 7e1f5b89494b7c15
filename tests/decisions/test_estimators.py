"""Decisions as estimators: scikit-learn's own checks, and what each does beside a few lines."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skinmnist.decisions import ConformalSets, CostSensitiveDecision, PriorCorrection, TunedPrior

EVERY = [PriorCorrection, TunedPrior, CostSensitiveDecision, ConformalSets]


@pytest.mark.filterwarnings("ignore")  # Warnings are what some of these checks are about.
@parametrize_with_checks([decision(LogisticRegression()) for decision in EVERY])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def rows():
    X, y = make_classification(
        600, n_informative=6, n_classes=3, weights=[0.8, 0.15], flip_y=0.1, random_state=0
    )
    return X, np.array(["nv", "bkl", "mel"])[y]


@pytest.mark.parametrize("decision", EVERY)
def test_at_the_end_of_a_pipeline(decision, rows):
    X, y = rows
    fitted = decision(make_pipeline(StandardScaler(), LogisticRegression())).fit(X, y)
    assert set(fitted.predict(X)) <= set(y)
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1)


def test_prior_correction_by_hand(rows):
    X, y = rows
    plain = LogisticRegression().fit(X, y)
    shares = np.array([(y == name).mean() for name in plain.classes_])
    wanted = np.array([5.0, 3.0, 2.0])
    moved = plain.predict_proba(X) / shares * wanted
    found = PriorCorrection(LogisticRegression(), priors=wanted).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(found, moved / moved.sum(axis=1, keepdims=True), rtol=1e-10)


def test_prior_correction_back_from_balance_to_nature(rows):
    """Trained with balanced weights, the answers come back near those of the plain model."""
    X, y = rows
    balanced = LogisticRegression(class_weight="balanced")
    back = PriorCorrection(balanced, priors="natural", trained_at="balanced").fit(X, y).predict_proba(X)
    plain = LogisticRegression().fit(X, y).predict_proba(X)
    raw = balanced.fit(X, y).predict_proba(X)
    assert np.abs(back - plain).mean() < np.abs(raw - plain).mean() / 3


@pytest.mark.parametrize("wrong", [[1, 2], [1, -1, 1], [0, 0, 0], "even", [1, np.inf, 1]])
def test_priors_that_are_none(wrong, rows):
    with pytest.raises(ValueError, match="expected priors"):
        PriorCorrection(LogisticRegression(), priors=wrong).fit(*rows)


@pytest.mark.parametrize(
    ("metric", "score"),
    [
        ("balanced_accuracy", balanced_accuracy_score),
        ("macro_f1", lambda t, p: f1_score(t, p, average="macro")),
    ],
)
def test_the_tuned_prior_is_the_best_on_other_folds(metric, score, rows):
    X, y = rows
    tuned = TunedPrior(LogisticRegression(), metric=metric, random_state=1).fit(X, y)
    folds = StratifiedKFold(5, shuffle=True, random_state=1)
    held_out = cross_val_predict(LogisticRegression(), X, y, cv=folds, method="predict_proba")
    shares = np.array([(y == name).mean() for name in tuned.classes_])
    scores = [score(y, tuned.classes_[(held_out / shares**e).argmax(axis=1)]) for e in np.linspace(0, 2, 41)]
    assert tuned.best_score_ == pytest.approx(max(scores))
    assert tuned.exponent_ == pytest.approx(np.linspace(0, 2, 41)[int(np.argmax(np.round(scores, 12)))])


def test_groups_stay_together_where_they_are_given(rows):
    """Every row stands three times: only with groups does the choice not rest on rows seen in training."""
    seen = []

    class Watching(LogisticRegression):
        def fit(self, X, y):
            seen.append({tuple(row) for row in X.round(9)})
            return super().fit(X, y)

        def predict_proba(self, X):
            if len(X) < 900:
                seen.append({tuple(row) for row in X.round(9)} & seen[-1])
            return super().predict_proba(X)

    X, y = (np.repeat(part[:300], 3, axis=0) for part in rows)
    for decision in (TunedPrior, ConformalSets):
        seen.clear()
        decision(Watching(), random_state=0).fit(X, y, groups=np.repeat(np.arange(300), 3))
        assert len(seen) >= 2
        assert not any(seen[i] for i in range(len(seen)) if len(seen[i]) < 100)


def test_a_metric_that_is_none(rows):
    with pytest.raises(ValueError, match="expected metric balanced_accuracy, macro_f1, accuracy or"):
        TunedPrior(LogisticRegression(), metric="auc").fit(*rows)


def test_costs_decide(rows):
    X, y = rows
    costs = np.array([[0, 1, 1], [50, 0, 50], [1, 1, 0]])
    fitted = CostSensitiveDecision(LogisticRegression(), costs).fit(X, y)
    assert list(fitted.classes_) == ["bkl", "mel", "nv"]
    np.testing.assert_allclose(fitted.expected_costs(X), fitted.predict_proba(X) @ costs)
    careful, plain = (
        (named[y == "mel"] == "mel").mean()
        for named in (fitted.predict(X), LogisticRegression().fit(X, y).predict(X))
    )
    assert careful > plain + 0.2


@pytest.mark.parametrize("classwise", [True, False])
def test_conformal_sets_cover_new_rows(classwise, rows):
    X, y = rows
    conformal = ConformalSets(LogisticRegression(), 0.2, classwise=classwise, random_state=0)
    conformal.fit(X[:400], y[:400])
    sets = conformal.predict_sets(X[400:])
    places = np.searchsorted(conformal.classes_, y[400:])
    assert sets[np.arange(200), places].mean() > 0.72
    assert len(set(conformal.thresholds_)) == (3 if classwise else 1)


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"alpha": 1.5}, {"calibration_size": 1}])
def test_shares_that_are_none(wrong, rows):
    with pytest.raises(ValueError, match="expected alpha and calibration_size between 0 and 1"):
        ConformalSets(LogisticRegression(), **wrong).fit(*rows)
