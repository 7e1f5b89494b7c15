"""Computations on probabilities: other class mixes, cost-sensitive decisions, and conformal sets.

The functions operate on arrays, for finished runs and saved models; `skinmnist.decisions` wraps them as
estimators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError

_Floats = npt.NDArray[np.float64]

#: Candidate exponents of the class frequencies: 0 keeps them, 1 makes all classes equal. A forest trained on
#: resampled rows, whose probabilities are too moderate, has its best balanced accuracy near 1.5.
EXPONENTS = np.linspace(0.0, 2.0, 41)
#: Smallest probability in a geometric mean, because a single 0, common in forests, would veto its class.
SMALLEST = 1e-12


#: Share of the conformal sets of a saved model that may miss the right class, unless another is asked for.
DEFAULT_ALPHA = 0.1


def change_prior(probabilities: _Floats, trained: _Floats, wanted: _Floats | None = None) -> _Floats:
    """Convert probabilities to a class mix other than that of training, using Bayes' rule.

    The correction is only as good as the probabilities. If a model cannot output "one in a thousand", as with
    label smoothing, dividing by the frequency of a rare class overestimates that class.

    Parameters
    ----------
    probabilities : ndarray of shape (m, k)
    trained, wanted : ndarray of shape (k,)
        Class mixes, in any unit; by default, `wanted` makes all classes equally frequent. Classes absent from
        the training rows get probability 0.

    Returns
    -------
    ndarray of shape (m, k)
        Rows sum to 1. Values are rounded to 40 bits (12 digits) to prevent differences in the last bits from
        breaking ties.

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
    return rounded(np.where(total > 0, changed / np.where(total > 0, total, 1.0), probabilities))


def geometric_mean(probabilities: Sequence[_Floats], weights: _Floats | None = None) -> _Floats:
    """Return the normalised geometric mean of the probabilities of several models, shape (n, k).

    This *logarithmic opinion pool* commutes with `change_prior` (Genest, McConway & Schervish, Annals of
    Statistics 14, 1986). Probabilities below `SMALLEST` are raised to it.

    Examples
    --------
    >>> import numpy as np
    >>> geometric_mean([np.array([[0.8, 0.2]]), np.array([[0.2, 0.8]])]).round(3).tolist()
    [[0.5, 0.5]]
    """
    count = len(probabilities)
    weights = np.full(count, 1 / count) if weights is None else weights
    return pool_logs(np.log(np.maximum(np.stack(probabilities), SMALLEST)), weights)


def pool_logs(logs: _Floats, weights: _Floats) -> _Floats:
    """Return the normalised geometric mean of probabilities given their logarithms (models, n, k)."""
    mean = np.einsum("m,mnk->nk", weights, logs)
    shares = np.exp(mean - mean.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def flatten_prior(prior: _Floats, exponent: float) -> _Floats:
    """Return a class mix divided by a power of itself; the share of an empty class stays 0.

    Examples
    --------
    >>> import numpy as np
    >>> flatten_prior(np.array([0.64, 0.36]), exponent=0.5).tolist()
    [0.8, 0.6]
    """
    return np.power(prior, 1.0 - exponent, out=np.zeros(len(prior)), where=prior > 0)


def check_costs(costs: Any, n_classes: int) -> _Floats:
    """Return a cost matrix as floats; with None, every error costs 1.

    Raises
    ------
    ValueError
        If it is not a square matrix of finite numbers with one row for each class.

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


def check_alpha(alpha: float | None) -> float | None:
    """Return the share of sets that may miss the right class; None stays None.

    Raises
    ------
    InputError
        If it is not a number above 0 and at most 0.5: one half would be a set that is wrong every other time.

    Examples
    --------
    >>> check_alpha(0.1)
    0.1
    """
    if alpha is None:
        return None
    try:
        found = float(alpha)
    except (TypeError, ValueError):
        found = 0.0
    if 0 < found <= 0.5:
        return found
    raise InputError(
        f"received {alpha!r} as the share of conformal sets that may miss the right class; expected a number "
        "above 0 and at most 0.5, such as 0.1 for sets that hold it in 90 of 100 pictures"
    )


def cheapest(probabilities: _Floats, costs: _Floats) -> npt.NDArray[np.intp]:
    """Return the decision with the smallest expected cost for each row (m, k); the first one in a tie.

    Examples
    --------
    >>> import numpy as np
    >>> cheapest(np.array([[0.9, 0.1]]), np.array([[0.0, 1.0], [20.0, 0.0]])).tolist()
    [1]
    """
    # Round, so that equal costs stay equal regardless of the order of summation.
    return rounded(probabilities @ costs).argmin(axis=1)


def conformal_thresholds(
    labels: npt.NDArray[np.intp], probabilities: _Floats, alpha: float, classwise: bool = True
) -> _Floats:
    """Return the minimum probability for each class to be in a conformal set.

    Parameters
    ----------
    labels : ndarray of shape (n,)
        True classes of rows not used to train the classifier, as column indices of `probabilities`.
    probabilities : ndarray of shape (n, k)
    alpha : float
        Maximum share of sets that may omit the true class.
    classwise : bool
        Whether each class has its own threshold.

    Returns
    -------
    ndarray of shape (k,)
        The thresholds. A class with too few rows has threshold 0 and is therefore in every set.

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
    """Return a mask of the classes in each row's set, shape (m, k), including the most probable class.

    Examples
    --------
    >>> import numpy as np
    >>> conformal_sets(np.array([[0.7, 0.3]]), thresholds=np.array([0.5, 0.4])).tolist()
    [[True, False]]
    """
    sets = probabilities >= thresholds
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets


def _lower_quantile(values: _Floats, alpha: float) -> float:
    """Return a bound that a new value falls below with probability at most `alpha`; 0 if no bound exists."""
    place = int(np.floor(alpha * (len(values) + 1)))
    return float(np.sort(values)[place - 1]) if place >= 1 else 0.0


def rounded(values: _Floats) -> _Floats:
    """Round to 40 bits, using Veltkamp's splitting."""
    scaled = values * (2.0**13 + 1)
    return scaled - (scaled - values)
