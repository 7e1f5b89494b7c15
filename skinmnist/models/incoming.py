"""Checks of what a network is given: flat rows become pictures, weights become numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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


def check_drawn(
    drawn: npt.NDArray[np.integer], n: int, sample_weight: npt.NDArray[np.floating] | None
) -> None:
    """Check positions of rows to train on.

    Raises
    ------
    InputError
        Where they are none of n rows, there is none, or weights are given as well.
    """
    if len(drawn) == 0 or sample_weight is not None or not np.isin(drawn, np.arange(n)).all():
        raise InputError(
            f"fit received {len(drawn)} positions of rows to draw for {n} rows; give at least one position "
            "of these rows, and no weights beside them"
        )
