"""The baselines that cost next to nothing: the prior, a straight line, boosted trees."""

from __future__ import annotations

from typing import Any

from skinmnist.models.spec import Setting


def make_dummy(setting: Setting) -> Any:
    """Return the classifier that looks at no picture: it answers with the class frequencies."""
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def make_logistic_regression(setting: Setting) -> Any:
    """Return multinomial logistic regression on standardised descriptors."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.02, max_iter=2000, tol=1e-3)


def make_hist_gradient_boosting(setting: Setting) -> Any:
    """Return histogram gradient boosting (Ke et al., LightGBM, 2017), at a fixed number of rounds.

    No early stopping: it would watch rows that may be pictures of the lesions it trains on.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=60,
        learning_rate=0.1,
        max_leaf_nodes=15,
        max_features=0.2,
        max_bins=127,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=setting.seed,
    )
