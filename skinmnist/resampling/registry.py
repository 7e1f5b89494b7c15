"""The registry of samplers: imbalanced-learn's own, by class name; and what a cell does about imbalance."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.names import unknown_name
from skinmnist.text import shown

#: Every sampler of imbalanced-learn for numeric features, and its module.
SAMPLERS = {
    "RandomOverSampler": "imblearn.over_sampling",
    "SMOTE": "imblearn.over_sampling",
    "ADASYN": "imblearn.over_sampling",
    "BorderlineSMOTE": "imblearn.over_sampling",
    "SVMSMOTE": "imblearn.over_sampling",
    "KMeansSMOTE": "imblearn.over_sampling",
    "SMOTETomek": "imblearn.combine",
    "SMOTEENN": "imblearn.combine",
    "RandomUnderSampler": "imblearn.under_sampling",
    "NearMiss": "imblearn.under_sampling",
    "TomekLinks": "imblearn.under_sampling",
    "EditedNearestNeighbours": "imblearn.under_sampling",
    "RepeatedEditedNearestNeighbours": "imblearn.under_sampling",
    "AllKNN": "imblearn.under_sampling",
    "OneSidedSelection": "imblearn.under_sampling",
    "NeighbourhoodCleaningRule": "imblearn.under_sampling",
    "CondensedNearestNeighbour": "imblearn.under_sampling",
    "InstanceHardnessThreshold": "imblearn.under_sampling",
    "ClusterCentroids": "imblearn.under_sampling",
}

#: Samplers for columns of categories, which are refused.
CATEGORICAL = ("SMOTEN", "SMOTENC")

#: What is done about imbalance without touching a row, and what it is.
STRATEGIES = {
    "none": "the training rows as they are",
    "class_weight": "rows weighted by the inverse frequency of their class",
    "balanced_batches": "every class equally often in a network's batches",
    "sqrt_batches": "batches drawn by the square root of the inverse class frequency",
    "focal_loss": "a loss that looks away from what is easy (Lin et al. 2017)",
    "logit_adjusted_loss": "a loss that takes the class frequencies out of the decision (Menon et al. 2020)",
}

#: Samplers that choose among the rows without looking at them; they are fitted on sample indices.
_BLIND = frozenset({"RandomOverSampler", "RandomUnderSampler"})

#: A row counts as interpolated where its distance to a line is below this share of the line's length;
#: rounding to whole grey levels stays far below.
_ON_LINE = 0.03


#: Shares of a class in a cluster of KMeansSMOTE, tried one after the other.
_CLUSTER_SHARES = (0.05, 0.02, 0.01, 0.0)


@dataclass(frozen=True, eq=False)
class Resampled:
    """Training rows after a sampler: new ones, or the indices of those that it copies or keeps."""

    #: Shape (m, features); None where `sample_indices` says everything.
    rows: npt.NDArray[Any] | None
    labels: npt.NDArray[np.int64]
    sample_indices: npt.NDArray[np.int64] | None = None
    #: What was done otherwise than asked.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resampler:
    """What is done about imbalance: a sampler of imbalanced-learn, one of the user's own, or a strategy.

    Attributes
    ----------
    name : str
        Of a strategy, as in `STRATEGIES`; of a sampler for the reader only.
    factory : callable or None
        Seed -> unfitted sampler; None for a strategy, which leaves the rows as they are.
    seed : int
        A cell's own, see `with_seed`.
    fingerprint : str
        Identifies a sampler that is not imbalanced-learn's; empty for those that are.
    """

    name: str
    factory: Callable[[int], Any] | None = None
    seed: int = 0
    fingerprint: str = ""

    def with_seed(self, seed: int) -> Resampler:
        """Return the same with the seed of a cell."""
        return replace(self, seed=seed)

    @property
    def looks_at_rows(self) -> bool:
        """Whether it is a sampler that computes with the rows."""
        return self.factory is not None and not is_blind(self.factory(0))

    def resample(self, rows: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> Resampled | None:
        """Apply the sampler to training rows of shape (n, features); None for a strategy."""
        return None if self.factory is None else resample(self.factory(self.seed), rows, labels)


#: The training rows as they are.
AS_THEY_ARE = Resampler("none")


def make_sampler(name: str, seed: int) -> Any:
    """Return an unfitted sampler of imbalanced-learn with its own defaults; InputError for unknown names."""
    if name in CATEGORICAL:
        raise InputError(
            f"received sampler {name!r}, which is for columns of categories; expected one for pixels and "
            "features, such as SMOTE"
        )
    if name not in SAMPLERS:
        raise unknown_name("sampler", name, [*STRATEGIES, *SAMPLERS])
    sampler = getattr(importlib.import_module(SAMPLERS[name]), name)()
    return seeded(sampler, seed)


def seeded(estimator: Any, seed: int) -> Any:
    """Set every ``random_state`` that is still open, nested ones included, and return the estimator."""
    params = estimator.get_params()
    states = {k: seed for k, v in params.items() if k.split("__")[-1] == "random_state" and v is None}
    return estimator.set_params(**states)


def with_class_codes(sampler: Any, class_names: Sequence[str]) -> Any:
    """Return a sampler whose sampling strategies have codes where they name classes.

    Raises
    ------
    InputError
        Where a strategy names a class that is none of `class_names`.
    """
    from sklearn.base import clone

    codes = {name: code for code, name in enumerate(class_names)}
    changes: dict[str, Any] = {}
    for parameter, strategy in sampler.get_params().items():
        if not parameter.endswith("sampling_strategy") or not isinstance(strategy, dict | list | tuple):
            continue
        unknown = [name for name in strategy if isinstance(name, str) and name not in codes]
        if unknown:
            raise InputError(
                f"{type(sampler).__name__} received the {parameter} {shown(strategy)}, which names "
                f"{shown(unknown[0])}; expected classes among {', '.join(class_names) or 'codes from 0 on'}"
            )
        if isinstance(strategy, dict):
            changes[parameter] = {codes.get(name, name): rows for name, rows in strategy.items()}
        else:
            changes[parameter] = [codes.get(name, name) for name in strategy]
    return clone(sampler).set_params(**changes) if changes else sampler


def resample(sampler: Any, rows: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> Resampled:
    """Apply an unfitted sampler, which may be changed, to training rows of shape (n, features).

    Rows reach a sampler that computes with them as float32: on uint8, ``neighbour - row`` inside SMOTE wraps
    around silently. Only imbalanced-learn's plain SMOTE returns uint8 for pixels of uint8, see
    `skinmnist.resampling.smote_pixels`.
    """
    if is_blind(sampler):
        indices, new_labels = sampler.fit_resample(np.arange(len(rows))[:, None], labels)
        return Resampled(None, np.asarray(new_labels), indices[:, 0].astype(np.int64))
    notes = fewer_neighbours(sampler, np.bincount(labels))
    if rows.dtype == np.uint8 and _is_plain_smote(sampler):
        from skinmnist.resampling.smote_pixels import smote_pixels

        return Resampled(*smote_pixels(sampler, rows, labels), notes=notes)
    floats = rows.astype(np.float32, copy=False)
    if type(sampler).__name__ == "KMeansSMOTE":
        return _resample_clusters(sampler, floats, labels)
    new_rows, new_labels = sampler.fit_resample(floats, labels)
    return Resampled(new_rows, np.asarray(new_labels), notes=notes)


def _resample_clusters(
    sampler: Any, rows: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> Resampled:
    """Apply KMeansSMOTE, with a lower threshold and so a note where no cluster has enough of a rare class."""
    asked = sampler.cluster_balance_threshold
    lower = [share for share in _CLUSTER_SHARES if asked == "auto" or share < asked]
    for threshold in (asked, *lower):
        try:
            found = sampler.set_params(cluster_balance_threshold=threshold).fit_resample(rows, labels)
        except RuntimeError as error:
            if "No clusters found" not in str(error):
                raise
            continue
        note = (
            f"KMeansSMOTE: cluster_balance_threshold lowered from {asked} to {threshold}, for no cluster has "
            "enough rows of every class"
        )
        return Resampled(found[0], np.asarray(found[1]), notes=() if threshold == asked else (note,))
    raise ValueError(
        f"KMeansSMOTE finds no cluster with more than {sampler.k_neighbors} rows of one class, at any "
        "cluster_balance_threshold; use SMOTE, which needs no clusters"
    )


def is_blind(sampler: Any) -> bool:
    """Return whether a sampler chooses among the rows without looking at them."""
    return type(sampler).__name__ in _BLIND and getattr(sampler, "shrinkage", None) is None


def _is_plain_smote(sampler: Any) -> bool:
    from imblearn.over_sampling import SMOTE

    return type(sampler) is SMOTE and isinstance(sampler.k_neighbors, int)


def fewer_neighbours(sampler: Any, class_counts: npt.NDArray[np.integer]) -> tuple[str, ...]:
    """Ask of a SMOTE no more than its classes can give, and say so; the sampler is changed.

    SMOTE interpolates between a row and one of its ``k_neighbors`` nearest rows of the same class, so that a
    class of n rows allows at most n - 1. A class of a single row has none, and stays as it is.
    """
    params: Mapping[str, Any] = sampler.get_params(deep=False)
    if params.get("smote", 0) is None:  # SMOTETomek and SMOTEENN build their own SMOTE when fitted.
        from imblearn.over_sampling import SMOTE

        own = {name: params[name] for name in ("sampling_strategy", "random_state")}
        sampler.set_params(smote=SMOTE(**own))
        return fewer_neighbours(sampler.smote, class_counts)
    name = next((name for name in ("k_neighbors", "n_neighbors") if isinstance(params.get(name), int)), "")
    over_sampling = type(sampler).__module__.startswith("imblearn.over_sampling")
    # KMeansSMOTE looks for neighbours inside clusters, whose sizes are not known beforehand.
    if not name or not over_sampling or type(sampler).__name__ == "KMeansSMOTE":
        return ()
    notes = []
    if (class_counts == 1).any() and params["sampling_strategy"] == "auto":
        several = np.flatnonzero(class_counts > 1)
        most = int(class_counts.max())
        wanted_rows = {int(code): most for code in several if class_counts[code] < most}
        sampler.set_params(sampling_strategy=wanted_rows)
        notes.append(
            f"{type(sampler).__name__}: classes of one training row stay as they are, for nothing lies "
            "between a row and itself"
        )
    smallest = int(class_counts[class_counts > 1].min(initial=class_counts.max()))
    if 1 < smallest <= params[name]:
        sampler.set_params(**{name: smallest - 1})
        notes.append(
            f"{type(sampler).__name__}: {name} lowered from {params[name]} to {smallest - 1}, "
            f"for the smallest class has {smallest} training rows"
        )
    return tuple(notes)


class Parents(NamedTuple):
    """Indices of two rows, and where between them the child lies: 0 at the first, 1 at the second."""

    first: int
    second: int
    position: float


def find_parents(child: npt.NDArray[np.floating], rows: npt.NDArray[np.floating]) -> Parents | None:
    """Find the pair of rows whose connecting line passes nearest to a synthetic row.

    SMOTE (Chawla et al. 2002) keeps no record of the rows it interpolates; they can be found again among the
    training rows of the child's class. None where no line passes near the child: it was not interpolated.
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
    if not misses[first, second] < _ON_LINE**2:
        return None
    return Parents(int(first), int(second), float(position[first, second]))
