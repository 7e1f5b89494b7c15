"""The random forest."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestClassifier

#: Rows that a tree sees at most: sorting them grows faster than their number, and what a tree learns slower.
TREE_ROWS = 20_000


class EvenForest(RandomForestClassifier):
    """A random forest (Breiman 2001) whose trees each see equally many rows, however many a sampler made.

    Samplers are thus compared at equal training cost: what they change is the mix that a tree draws from,
    not how much of it. `rows_per_tree` are at most those given to ``fit``, and `TREE_ROWS`; ``notes_`` say
    where the latter is less than asked. Leaves hold two rows by default: copies made by a sampler would fill
    leaves of their own otherwise. Features are rounded to `levels` steps in each unit before the trees see
    them: where many are equal, sorting them, which is most of the work, takes half the time.
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
        """Grow the trees on rows of shape (n, features)."""
        asked = len(X) if self.rows_per_tree is None else min(self.rows_per_tree, len(X))
        seen = min(asked, TREE_ROWS)
        self.max_samples = seen
        self.notes_ = (f"each tree saw {seen:,} rows instead of {asked:,}",) if seen < asked else ()
        return super().fit(self._rounded(X), y, sample_weight)

    def predict_proba(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the trees' mean probabilities, shape (m, classes)."""
        return super().predict_proba(self._rounded(X))

    def _rounded(self, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.levels is None:
            return X
        steps = np.asarray(X, dtype=np.float32) * np.float32(self.levels)
        return np.rint(steps, out=steps)
