"""The random forest."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

#: Maximum number of rows per tree: beyond it, the cost of sorting grows faster than the benefit.
TREE_ROWS = 20_000


class EvenForest(RandomForestClassifier):
    """A random forest whose trees all see the same number of rows, regardless of the sampler.

    Samplers are thus compared at equal training cost: they change the class mix from which trees draw their
    rows, not the number of rows. `rows_per_tree` is limited by the rows passed to ``fit`` and by `TREE_ROWS`;
    ``notes_`` reports the latter limit when it applies. By default, leaves contain at least two rows;
    otherwise, copies made by a sampler would form their own leaves. Features are first rounded to `levels`
    steps per unit: sorting dominates the run time, and takes half as long with many equal values.

    References
    ----------
    Breiman, "Random forests", Machine Learning 45, 2001.
    """

    def __init__(
        self,
        rows_per_tree: int | None = None,
        n_estimators: int = 100,
        min_samples_leaf: int = 2,
        max_features: int | str = "sqrt",
        levels: float | None = None,
        random_state: int = 0,
    ) -> None:
        super().__init__(
            n_estimators=n_estimators,
            min_samples_leaf=min_samples_leaf,
            max_features=max_features,
            random_state=random_state,
            n_jobs=1,
        )
        self.rows_per_tree = rows_per_tree
        self.levels = levels

    def fit(
        self, X: npt.NDArray[Any], y: npt.NDArray[Any], sample_weight: npt.NDArray[Any] | None = None
    ) -> EvenForest:
        """Fit the trees to rows of shape (n, features)."""
        asked = len(X) if self.rows_per_tree is None else min(self.rows_per_tree, len(X))
        seen = min(asked, TREE_ROWS)
        self.max_samples = seen
        self.notes_ = (f"each tree saw {seen:,} rows instead of {asked:,}",) if seen < asked else ()
        return super().fit(self._rounded(X), y, sample_weight)

    def predict_proba(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the mean probabilities of the trees, shape (m, classes)."""
        return super().predict_proba(self._rounded(X))

    def _rounded(self, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.levels is None:
            return X
        steps = np.asarray(X, dtype=np.float32) * np.float32(self.levels)
        return np.rint(steps, out=steps)
