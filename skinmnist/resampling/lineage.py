"""Which two rows a synthetic row lies between."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: A row counts as lying on a line where its distance to it is below this share of the line's length; rounding
#: to whole grey levels stays far below.
TOLERANCE = 0.03


class Parents(NamedTuple):
    """Positions of the two rows, and where between them the child lies (0 at the first, 1 at the second)."""

    first: int
    second: int
    position: float


def find_parents(child: npt.NDArray[np.floating], rows: npt.NDArray[np.floating]) -> Parents | None:
    """Find the pair of rows whose connecting line passes nearest to a synthetic row.

    SMOTE (Chawla et al. 2002) keeps no record of what it drew between; its rows tell all the same.

    Parameters
    ----------
    child : ndarray of shape (features,)
    rows : ndarray of shape (n, features)
        The training rows of the child's class.

    Returns
    -------
    Parents or None
        None where no line between two rows passes near the child, so that it was not interpolated.
    """
    rows, child = rows.astype(np.float64), child.astype(np.float64)
    offsets = rows - child
    gram = offsets @ offsets.T
    squares = np.diag(gram)
    lengths = squares[:, None] + squares[None, :] - 2 * gram
    along = squares[:, None] - gram  # (child - a) . (b - a) for every pair a, b
    with np.errstate(divide="ignore", invalid="ignore"):
        position = along / lengths
        misses = (squares[:, None] - along * position) / lengths
    misses[~((position >= 0) & (position <= 1))] = np.inf
    np.fill_diagonal(misses, np.inf)
    first, second = np.unravel_index(np.argmin(misses), misses.shape)
    if not misses[first, second] < TOLERANCE**2:
        return None
    return Parents(int(first), int(second), float(position[first, second]))
