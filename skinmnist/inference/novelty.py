"""Novelty score: a measure of the difference between a picture and the training pictures.

A picture is represented by the lesion features of `skinmnist.features.extract`. The score combines two
distances: the Mahalanobis distance along the principal axes of the training pictures (Hotelling's T²) and the
residual orthogonal to these axes (the Q statistic of Jackson & Mudholkar 1979, *Technometrics* 21, 341-349).
Their product detects features that are too strong, too weak (a uniform colour) or combined in a way that does
not occur in training pictures.

The score is fitted on training pictures only and does not indicate whether a diagnosis is correct. A high
score adds a warning; the picture is still classified.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.features.extract import extract_features
from skinmnist.features.image_ops import Shape

Arrays = dict[str, npt.NDArray[np.float32]]
AnyArrays = Mapping[str, npt.NDArray[np.floating]]

#: Share of held-out training pictures with scores above the threshold.
FLAGGED = 0.05
#: Maximum number of principal axes, and minimum number of training pictures per axis.
AXES, ROWS_PER_AXIS = 120, 10
#: Number of standard deviations at which features are clipped to limit the influence of a single feature.
FARTHEST = 8.0
FOLDS = 5
#: Minimum side length in pixels for feature extraction.
LEAST_SIDE = 8
#: Spread below which a feature counts as constant, and lower bound for residuals.
NOTHING = 1e-6


def fit_novelty(
    rows: npt.NDArray[np.uint8],
    shape: Shape,
    groups: npt.NDArray[Any] | None = None,
    random_state: int = 0,
) -> Arrays:
    """Fit the novelty score on 20 or more training pictures, given as uint8 rows.

    `groups` contains the lesion of each picture and is used to set the threshold on held-out lesions. Without
    it, every picture counts as a separate lesion, which makes the threshold slightly too low.

    Returns
    -------
    dict of str to ndarray, float32
        Input of `novelty_score`: ``mean``, ``scale`` and ``axes`` of the features, ``variances`` along the
        axes, ``rest`` (the mean residual) and ``threshold``; 250 kB for colour pictures.
    """
    if len(rows) < 2 * ROWS_PER_AXIS:
        raise InputError(
            f"received {len(rows)} training pictures to fit the novelty score; expected at least "
            f"{2 * ROWS_PER_AXIS}, so use a larger table"
        )
    features = _features(rows, shape)
    fold_of = _folds(len(rows), groups, random_state)
    held_out = np.empty(len(rows))
    for fold in range(FOLDS):
        test = fold_of == fold
        if test.any() and not test.all():
            held_out[test] = _distances(features[test], _fit(features[~test]))
    arrays = _fit(features)
    if len(np.unique(fold_of)) == 1:
        held_out = _distances(features, arrays)
    return {**arrays, "threshold": np.array([np.quantile(held_out, 1 - FLAGGED)], dtype=np.float32)}


def novelty_score(rows: npt.NDArray[np.uint8], shape: Shape, arrays: AnyArrays) -> npt.NDArray[np.float64]:
    """Return the novelty score of each picture, shape (n,); `arrays` is the result of `fit_novelty`.

    Scores are relative to the threshold: about one in twenty pictures of new lesions scores above 1. Raises
    InputError if arrays are missing or do not match the shape.
    """
    features = _features(rows, shape)
    _check(arrays, features.shape[1])
    return _distances(features, arrays) / float(arrays["threshold"][0])


def _features(rows: npt.NDArray[np.uint8], shape: Shape) -> npt.NDArray[np.float32]:
    """Extract features; pictures that are too small are first enlarged by an integer factor."""
    height, width, channels = shape
    down, across = -(-LEAST_SIDE // height), -(-LEAST_SIDE // width)
    if down * across > 1:
        pictures = np.asarray(rows).reshape(len(rows), *shape)
        rows = pictures.repeat(down, axis=1).repeat(across, axis=2).reshape(len(rows), -1)
    return extract_features(rows, (height * down, width * across, channels))


def _folds(n: int, groups: npt.NDArray[Any] | None, random_state: int) -> npt.NDArray[np.integer]:
    """Assign lesions to folds and return the fold of each picture, shape (n,)."""
    lesion = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    order = np.random.default_rng(random_state).permutation(int(lesion.max()) + 1)
    return order[lesion] % FOLDS


def _fit(features: npt.NDArray[np.float32]) -> Arrays:
    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale[scale < NOTHING] = 1
    scaled = _scaled(features, mean, scale)
    variances, axes = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    # Identical pictures have no principal axis, so an arbitrary axis is used.
    count = max(1, min(AXES, len(features) // ROWS_PER_AXIS, int((variances > NOTHING).sum())))
    fitted = {
        "mean": mean,
        "scale": scale,
        "axes": axes[:, ::-1][:, :count],
        "variances": np.maximum(variances[::-1][:count], NOTHING),
        "rest": [max(float(variances[::-1][count:].sum()), NOTHING)],
    }
    return {name: np.asarray(values, dtype=np.float32) for name, values in fitted.items()}


def _scaled(
    features: npt.NDArray[np.floating], mean: npt.NDArray[np.floating], scale: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    return np.clip((features.astype(np.float64) - mean) / scale, -FARTHEST, FARTHEST)


def _distances(features: npt.NDArray[np.floating], arrays: AnyArrays) -> npt.NDArray[np.float64]:
    """Return the geometric mean of the two distances in standard deviations, shape (n,)."""
    scaled = _scaled(features, arrays["mean"], arrays["scale"])
    squares = (scaled @ arrays["axes"]) ** 2
    off = np.maximum((scaled**2).sum(axis=1) - squares.sum(axis=1), NOTHING) / float(arrays["rest"][0])
    return (np.maximum((squares / arrays["variances"]).mean(axis=1), NOTHING) * off) ** 0.25


def _check(arrays: AnyArrays, n_features: int) -> None:
    """Check that arrays have the shapes and ranges of the result of `fit_novelty` for `n_features`."""
    axes = np.shape(arrays.get("axes", ()))[-1:]
    shapes = {
        "mean": (n_features,),
        "scale": (n_features,),
        "axes": (n_features, *axes),
        "variances": axes,
        "rest": (1,),
        "threshold": (1,),
    }
    for name, shape in shapes.items():
        values = np.asarray(arrays.get(name, ()))
        fits = values.shape == shape and values.dtype.kind == "f" and 0 not in shape
        if not fits or not np.isfinite(values).all():
            raise InputError(
                f"received {name!r} of shape {values.shape} for the novelty score; expected "
                f"{shape} of finite numbers, so train the model again"
            )
        if name not in ("mean", "axes") and not bool((values > 0).all()):
            raise InputError(
                f"received {name!r} with values that are not above 0 for the novelty score; "
                "train the model again"
            )
