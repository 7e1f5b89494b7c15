"""Checks of what a network is given: flat rows become pictures, weights and parameters can be used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.multiclass import check_classification_targets

from skinmnist.datasets.mapped import MappedRows
from skinmnist.errors import InputError


def check_pictures(rows: npt.NDArray[np.generic], shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Return flat pixel rows as uint8 pictures.

    Parameters
    ----------
    rows : ndarray of shape (n, height * width * channels)
        uint8, or other numbers between 0 and 255, which are rounded.
    shape : tuple of int
        ``(height, width, channels)``.

    Returns
    -------
    ndarray of shape (n, height, width, channels), uint8

    Raises
    ------
    InputError
        Where rows have another length, there is none, or they hold other numbers.
    """
    rows = np.asarray(rows)
    height, width, channels = shape
    length = height * width * channels
    if rows.ndim != 2 or rows.shape[1] != length or len(rows) == 0:
        raise InputError(
            f"the network received rows of shape {rows.shape}; expected (n, {length}), "
            f"the pixels of {height} x {width} pictures of {channels} channels, and at least one row"
        )
    if rows.dtype != np.uint8:
        rounded = np.rint(rows)
        if not (rounded.min() >= 0 and rounded.max() <= 255):
            raise InputError(
                f"the network received pixels between {rows.min()} and {rows.max()}; "
                "expected 0 to 255, unscaled"
            )
        rows = rounded
    return rows.astype(np.uint8, copy=False).reshape(len(rows), *shape)


def check_unread(
    rows: npt.NDArray[np.generic] | MappedRows, shape: tuple[int, int, int]
) -> npt.NDArray[np.uint8] | MappedRows:
    """Return flat pixel rows as pictures, as `check_pictures` does, but mapped rows unread.

    Raises
    ------
    InputError
        Where rows have another length or, if mapped, another type, or there is none.
    """
    if not isinstance(rows, MappedRows):
        return check_pictures(rows, shape)
    if rows.shape[1:] != (math.prod(shape),) or rows.dtype != np.uint8 or not len(rows):
        raise InputError(
            f"the network received mapped rows of shape {rows.shape} and type {rows.dtype}; expected "
            f"(n, {math.prod(shape)}) of uint8, unscaled pixels, and at least one row"
        )
    return rows.reshape(len(rows), *shape)


def check_labels(labels: npt.NDArray[np.generic], n: int) -> npt.NDArray[np.generic]:
    """Return the labels of n rows as an array.

    Raises
    ------
    InputError
        Where there is not one for each row.
    ValueError
        Where they are measurements and no classes.
    """
    labels = np.asarray(labels)
    check_classification_targets(labels)
    if labels.shape != (n,):
        raise InputError(f"fit received labels of shape {labels.shape} for {n} rows; give one for each row")
    return labels


def check_weights(sample_weight: npt.NDArray[np.floating] | None, n: int) -> npt.NDArray[np.float64]:
    """Return the weights of n rows, ones where none are given, float64 of shape (n,).

    Raises
    ------
    InputError
        Where there is not one finite number of at least 0 for each row, or all are 0.
    """
    weights = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise InputError(
            f"fit received sample weights of shape {weights.shape} for {n} rows; "
            "give one finite number of at least 0 for each row, not all of them 0"
        )
    return weights


def check_sample_indices(
    sample_indices: npt.NDArray[np.integer],
    labels: npt.NDArray[np.generic],
    sample_weight: npt.NDArray[np.floating] | None,
) -> None:
    """Check positions of rows to train on.

    Raises
    ------
    InputError
        Where they are none of the labels' positions, a class is not drawn at all, or weights are given as
        well.
    """
    n = len(labels)
    known = len(sample_indices) > 0 and sample_weight is None and np.isin(sample_indices, np.arange(n)).all()
    if not known:
        raise InputError(
            f"fit received {len(sample_indices)} positions of rows to draw for {n} rows; give at least one "
            "position of these rows, and no weights beside them"
        )
    missed = np.setdiff1d(labels, labels[sample_indices])
    if len(missed):
        raise InputError(
            f"fit received positions that draw no row of class {missed[0]}; draw at least one row of every "
            "class, or leave out the rows of that class"
        )


def check_validation(
    rows: npt.NDArray[np.generic],
    labels: npt.NDArray[np.generic],
    shape: tuple[int, int, int],
    classes: npt.NDArray[np.generic],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return watched rows as pictures, and their class codes.

    Parameters
    ----------
    rows : ndarray of shape (n, height * width * channels)
        As for `check_pictures`.
    labels : ndarray of shape (n,)
    shape : tuple of int
    classes : ndarray of shape (k,)
        The classes that are trained on, in order.

    Raises
    ------
    InputError
        Where there is not one label of these classes for each row.
    """
    pictures, labels = check_pictures(rows, shape), np.asarray(labels)
    if labels.shape != (len(pictures),) or not np.isin(labels, classes).all():
        raise InputError(
            f"fit received watched labels of shape {labels.shape} for {len(pictures)} watched rows; give "
            "one for each row, of the classes that are trained on"
        )
    return pictures, np.searchsorted(classes, labels)


def check_patience(rate_patience: int | None, stop_patience: int | None, watching: bool) -> None:
    """Check that there are rows to watch where any patience is given.

    Raises
    ------
    InputError
        Where there are none.
    """
    if not watching and (rate_patience is not None or stop_patience is not None):
        raise InputError(
            "the network received a patience but no rows to watch; give fit watched=(rows, labels) "
            "of lesions that are not trained on, or leave the patience out"
        )


def check_settings(params: Mapping[str, Any]) -> None:
    """Check the parameters of a network that count something.

    Parameters
    ----------
    params : mapping of str
        Name -> value, as ``get_params`` returns them.

    Raises
    ------
    InputError
        Where `views` is not 1, 2, 4 or 8, or another is below 1.
    """
    if params["views"] not in (1, 2, 4, 8):
        raise InputError(f"the network received {params['views']!r} views to average; choose 1, 2, 4 or 8")
    for name in ("steps", "batch_size", "points", "rate_patience", "stop_patience"):
        if params[name] is not None and params[name] < 1:
            raise InputError(
                f"the network received {params[name]!r} as {name}; give a whole number of at least 1"
            )
