"""What follows from probabilities: other class mixes, decisions by cost, sets of classes.

Functions on arrays, for finished runs and saved models; `skinmnist.decisions` offers them as estimators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

#: Powers of the class frequencies that thresholds are tuned over: 0 keeps them, 1 makes all classes equal. A
#: forest on resampled rows, which answers too mildly, has its best balanced accuracy near 1.5.
EXPONENTS = np.linspace(0.0, 2.0, 41)


def change_prior(probabilities: _Floats, trained: _Floats, wanted: _Floats | None = None) -> _Floats:
    """Return the probabilities at another class mix than the one of training, by Bayes' rule.

    The correction is as good as the probabilities: where a model cannot say "one in a thousand", as after
    label smoothing, dividing by the frequency of a rare class makes too much of it.

    Parameters
    ----------
    probabilities : ndarray of shape (m, k)
    trained, wanted : ndarray of shape (k,)
        Class mixes, in any unit; without `wanted` all classes are equally frequent. A class that training
        has not seen gets 0.

    Returns
    -------
    ndarray of shape (m, k)
        Rows of sum 1, rounded to 40 bits (12 digits): what differs only in the last bits is equal, so that
        rounding decides no tie.

    References
    ----------
    Saerens, Latinne & Decaestecker, Neural Computation 14, 2002.

    Examples
    --------
    >>> import numpy as np
    >>> change_prior(np.array([[0.75, 0.25]]), trained=np.array([300, 100])).tolist()
    [[0.5, 0.5]]
    """
    target = np.ones(len(trained)) if wanted is None else wanted
    changed = probabilities * np.divide(target, trained, out=np.zeros(len(trained)), where=trained > 0)
    total = changed.sum(axis=1, keepdims=True)
    return _rounded(np.where(total > 0, changed / np.where(total > 0, total, 1.0), probabilities))


def flatten_prior(prior: _Floats, exponent: float) -> _Floats:
    """Return a class mix divided by a power of itself; a class of no rows keeps none."""
    return np.power(prior, 1.0 - exponent, out=np.zeros(len(prior)), where=prior > 0)


def check_costs(costs: Any, n_classes: int) -> _Floats:
    """Return a cost matrix as numbers; None costs 1 for every mistake.

    Raises
    ------
    ValueError
        If it is not square, of one row for each class, with finite numbers.

    Examples
    --------
    >>> check_costs(None, 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    matrix = 1.0 - np.eye(n_classes) if costs is None else np.asarray(costs, dtype=np.float64)
    if matrix.shape != (n_classes, n_classes) or not np.isfinite(matrix).all():
        raise ValueError(
            f"expected a cost matrix of {n_classes} x {n_classes} finite numbers, a row for each true class "
            f"and a column for each decision, got shape {matrix.shape}"
        )
    return matrix


def cheapest(probabilities: _Floats, costs: _Floats) -> npt.NDArray[np.intp]:
    """Return the decision of the smallest expected cost for each row (m, k); of equals, the first.

    Examples
    --------
    >>> import numpy as np
    >>> cheapest(np.array([[0.9, 0.1]]), np.array([[0.0, 1.0], [20.0, 0.0]])).tolist()
    [1]
    """
    # Rounded, so that equal costs that were summed in another order stay equal.
    return _rounded(probabilities @ costs).argmin(axis=1)


def conformal_thresholds(
    labels: npt.NDArray[np.intp], probabilities: _Floats, alpha: float, classwise: bool = True
) -> _Floats:
    """Return the smallest probability with which each class is in a conformal set.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        True classes of rows that the classifier has not seen, as columns of `probabilities`.
    probabilities : ndarray of shape (n, k)
    alpha : float
        The share of sets that may miss the true class.
    classwise : bool
        Whether each class has its own threshold.

    Returns
    -------
    ndarray of shape (k,)
        0 for a class with too few rows: it is in every set.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.linspace(0.1, 1.0, 10)
    >>> conformal_thresholds(np.ones(10, int), np.column_stack([1 - p, p]), alpha=0.2).round(2).tolist()
    [0.0, 0.2]
    """
    k = probabilities.shape[1]
    of_true = probabilities[np.arange(len(labels)), labels]
    if not classwise:
        return np.full(k, _lower_quantile(of_true, alpha))
    return np.array([_lower_quantile(of_true[labels == code], alpha) for code in range(k)])


def conformal_sets(probabilities: _Floats, thresholds: _Floats) -> npt.NDArray[np.bool_]:
    """Return which classes are in the set of each row, shape (m, k); the likeliest always is."""
    sets = probabilities >= thresholds
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets


def _lower_quantile(values: _Floats, alpha: float) -> float:
    """Return the value that a new one is below with probability `alpha` at most; 0 if none is known."""
    place = int(np.floor(alpha * (len(values) + 1)))
    return float(np.sort(values)[place - 1]) if place >= 1 else 0.0


def _rounded(values: _Floats) -> _Floats:
    """Round to 40 bits, by Veltkamp's splitting."""
    scaled = values * (2.0**13 + 1)
    return scaled - (scaled - values)
