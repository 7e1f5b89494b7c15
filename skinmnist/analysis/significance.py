"""Tests of paired differences over the folds of a cross-validation, whose trainings overlap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: Below this, a difference of two scores, or its spread, is the rounding of floats.
ROUNDING = 1e-12


class PairedTest(NamedTuple):
    """A mean difference and how sure it is.

    Attributes
    ----------
    mean : float
    low, high : float
        Ends of the confidence interval.
    p : float
        Two-sided p-value.
    """

    mean: float
    low: float
    high: float
    p: float


class Equivalence(NamedTuple):
    """Probabilities that the true difference lies below, within and above what makes no difference."""

    worse: float
    equivalent: float
    better: float


def corrected_t_test(
    differences: npt.ArrayLike, test_to_train: float, confidence: float = 0.95
) -> PairedTest:
    """Test whether the mean of paired differences over resampled splits is zero.

    The corrected resampled t-test (Nadeau & Bengio, "Inference for the generalization error", Machine
    Learning 52, 2003): trainings that share rows make scores that go together, so the variance of the mean
    of J differences is taken as ``(1 / J + test_to_train) * s**2``, with J - 1 degrees of freedom.

    Parameters
    ----------
    differences : array-like of shape (J,), float
        One for each fold of each repeat.
    test_to_train : float
        Held-out rows for each training row; ``1 / (folds - 1)`` in a cross-validation.
    confidence : float
        Of the interval.

    Returns
    -------
    PairedTest
        Where all differences are zero, the interval is ``[0, 0]`` and p is 1. Where there is one difference
        only, or all are equal and not zero, the spread is unknown: interval and p are NaN. (The formula
        would call the latter certain; equal steps of a recall over few pictures are no certainty.)
    """
    from scipy.special import stdtr, stdtrit

    values, scale = _centre_and_scale(differences, test_to_train)
    mean, freedom = float(values.mean()), len(values) - 1
    if np.isnan(scale):
        return PairedTest(mean, np.nan, np.nan, np.nan)
    if scale == 0:
        return PairedTest(0.0, 0.0, 0.0, 1.0)
    reach = float(stdtrit(freedom, 0.5 + confidence / 2)) * scale
    p = 2 * float(stdtr(freedom, -abs(mean) / scale))
    return PairedTest(mean, mean - reach, mean + reach, p)


def correlated_t_test(differences: npt.ArrayLike, folds: int, rope: float = 0.01) -> Equivalence:
    """Return how probable it is that the true difference is a loss, no matter, or a gain.

    The Bayesian correlated t-test (Corani & Benavoli, Machine Learning 100, 2015; Benavoli, Corani, Demsar &
    Zaffalon, "Time for a change", JMLR 18, 2017): under a flat prior the true difference follows a Student
    distribution with J - 1 degrees of freedom around the mean, of squared scale
    ``(1 / J + rho / (1 - rho)) * s**2``, where ``rho = 1 / folds`` is the correlation of two folds.

    Parameters
    ----------
    differences : array-like of shape (J,), float
        One for each fold of each repeat.
    folds : int
        Folds of one repeat, at least 2.
    rope : float
        Half the width of the region of practical equivalence: smaller differences do not matter.

    Returns
    -------
    Equivalence
        Sums to 1. ``(0, 1, 0)`` where all differences are zero; NaN where the spread is unknown, as in
        `corrected_t_test`.
    """
    from scipy.special import stdtr

    rho = 1 / folds
    values, scale = _centre_and_scale(differences, rho / (1 - rho))
    if np.isnan(scale):
        return Equivalence(np.nan, np.nan, np.nan)
    if scale == 0:
        return Equivalence(0.0, 1.0, 0.0)
    mean, freedom = float(values.mean()), len(values) - 1
    worse = float(stdtr(freedom, (-rope - mean) / scale))
    better = float(stdtr(freedom, (mean - rope) / scale))
    return Equivalence(worse, max(0.0, 1 - worse - better), better)


def _centre_and_scale(
    differences: npt.ArrayLike, correlation_term: float
) -> tuple[npt.NDArray[np.float64], float]:
    """Return the differences without rounding, and the scale of their mean: NaN where it is unknown."""
    values = np.asarray(differences, dtype=float)
    values = np.where(np.abs(values) < ROUNDING, 0.0, values)
    if len(values) < 2:
        return values, np.nan
    spread = float(values.std(ddof=1))
    if spread < ROUNDING:
        return values, np.nan if values.any() else 0.0
    return values, spread * float(np.sqrt(1 / len(values) + correlation_term))


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Correct the p-values of one family for their number.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6,
    1979. The chance of one false alarm or more in the family stays below the level that the corrected
    values are held against, however the tests depend on each other.

    Parameters
    ----------
    p_values : array-like of shape (m,), float
        NaN for a test that could not be made: it stays NaN and does not count.

    Returns
    -------
    ndarray of shape (m,), float
        In the order given; never below the p-value given, never above 1.
    """
    given = np.asarray(p_values, dtype=float)
    corrected = np.full(given.shape, np.nan)
    made = np.flatnonzero(~np.isnan(given))
    order = made[np.argsort(given[made], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * factors))
    return corrected
