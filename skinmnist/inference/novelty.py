"""How unlike the pictures that a model was trained on a picture is: a warning, never a refusal.

A picture is described by the lesion features of `skinmnist.features.extract`. Along the principal axes of
the training pictures its distance is Mahalanobis' (Hotelling's T²); off these axes it is what the axes leave
over (the Q of Jackson & Mudholkar 1979, *Technometrics* 21, 341-349). Their product catches what is too much
of something, too little (a flat colour), or a mixture that no training picture has. It learns nothing of
other pictures, and it says nothing about whether a diagnosis is correct.
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

#: Share of held-out training pictures that lies beyond the threshold.
FLAGGED = 0.05
#: Principal axes at most, and training pictures for each of them at least.
AXES, ROWS_PER_AXIS = 120, 10
#: Standard deviations at which a feature counts no more: one odd feature makes no picture novel.
FARTHEST = 8.0
FOLDS = 5
#: The fewest pixels a side that features can be extracted from.
LEAST_SIDE = 8
#: Spread below which a feature is a constant; less of what the axes leave over is nothing.
NOTHING = 1e-6


def fit_novelty(
    rows: npt.NDArray[np.uint8],
    shape: Shape,
    groups: npt.NDArray[Any] | None = None,
    random_state: int = 0,
) -> Arrays:
    """Learn from at least 20 training pictures, uint8 rows of a shape, which pictures are novel.

    `groups` are the lesions of the pictures: the threshold is set on lesions that the distance was not fitted
    on. Without them every picture is a lesion of its own, and the threshold a little too low.

    Returns
    -------
    dict of str to ndarray, float32
        What `novelty_score` needs: ``mean``, ``scale`` and ``axes`` of the features, ``variances`` along the
        axes, ``rest`` (what they leave over on average) and ``threshold``; 250 kB for colour pictures.
    """
    if len(rows) < 2 * ROWS_PER_AXIS:
        raise InputError(
            f"received {len(rows)} training pictures to learn which pictures are novel; expected at least "
            f"{2 * ROWS_PER_AXIS}, so take a larger table"
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
    """Return how unlike the training pictures pictures are, shape (n,); `arrays` are those of `fit_novelty`.

    Distances are multiples of the threshold: about one in twenty pictures of new lesions lies beyond 1.
    InputError where arrays are missing or do not fit the shape.
    """
    features = _features(rows, shape)
    _check(arrays, features.shape[1])
    return _distances(features, arrays) / float(arrays["threshold"][0])


def _features(rows: npt.NDArray[np.uint8], shape: Shape) -> npt.NDArray[np.float32]:
    """Extract features; pictures of fewer pixels than that takes are enlarged by whole pixels."""
    height, width, channels = shape
    down, across = -(-LEAST_SIDE // height), -(-LEAST_SIDE // width)
    if down * across > 1:
        pictures = np.asarray(rows).reshape(len(rows), *shape)
        rows = pictures.repeat(down, axis=1).repeat(across, axis=2).reshape(len(rows), -1)
    return extract_features(rows, (height * down, width * across, channels))


def _folds(n: int, groups: npt.NDArray[Any] | None, random_state: int) -> npt.NDArray[np.integer]:
    """Deal lesions out to folds: fold of each picture, shape (n,)."""
    lesion = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    order = np.random.default_rng(random_state).permutation(int(lesion.max()) + 1)
    return order[lesion] % FOLDS


def _fit(features: npt.NDArray[np.float32]) -> Arrays:
    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale[scale < NOTHING] = 1
    scaled = _scaled(features, mean, scale)
    variances, axes = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    # Pictures that are all alike have no principal axis; any will do.
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
    """Return the geometric mean of both distances, in standard deviations; shape (n,)."""
    scaled = _scaled(features, arrays["mean"], arrays["scale"])
    squares = (scaled @ arrays["axes"]) ** 2
    off = np.maximum((scaled**2).sum(axis=1) - squares.sum(axis=1), NOTHING) / float(arrays["rest"][0])
    return (np.maximum((squares / arrays["variances"]).mean(axis=1), NOTHING) * off) ** 0.25


def _check(arrays: AnyArrays, n_features: int) -> None:
    """Refuse arrays that `fit_novelty` cannot have returned for so many features."""
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
                f"received {name!r} of shape {values.shape} for the warning of novel pictures; expected "
                f"{shape} of finite numbers, so train the model again"
            )
        if name not in ("mean", "axes") and not bool((values > 0).all()):
            raise InputError(
                f"received {name!r} with values that are not above 0 for the warning of novel pictures; "
                "train the model again"
            )
