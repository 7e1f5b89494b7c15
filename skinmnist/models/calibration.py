"""From decision values to probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def fit_calibration(
    decisions: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
) -> Any:
    """Fit multinomial logistic regression of the class on decision values.

    Platt's scaling (1999) for more than two classes: with the pairwise values of all classes as its input
    it also repairs what one-against-one voting loses.

    Parameters
    ----------
    decisions : ndarray of shape (n, values) or (n,)
        Of rows that the scoring model was not trained on.
    labels : ndarray of shape (n,), int
    weights : ndarray of shape (n,)
        Turn the class mix of these rows into the one that the probabilities are meant for.

    Returns
    -------
    estimator with ``predict_proba`` on decision values of shape (m, values)
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))
    return model.fit(as_columns(decisions), labels, logisticregression__sample_weight=weights)


def as_columns(decisions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the single decision value of a two-class model a column of its own."""
    return decisions[:, None] if decisions.ndim == 1 else decisions
