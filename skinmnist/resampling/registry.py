"""Build samplers by name and apply them to training rows, thin over imbalanced-learn."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.names import unknown_name
from skinmnist.resampling.strategies import CATEGORICAL, SAMPLERS, STRATEGIES, split_share
from skinmnist.text import one_line, shown

#: Samplers that select rows without using their values; these are fitted on sample indices.
_BLIND = frozenset({"RandomOverSampler", "RandomUnderSampler"})

#: Maximum distance between an interpolated row and a line, as a share of the line's length; rounding to
#: integer grey levels causes much smaller distances.
_ON_LINE = 0.03


#: Minimum shares of a class in a cluster of KMeansSMOTE, which are tried in this order.
_CLUSTER_SHARES = (0.05, 0.02, 0.01, 0.0)


@dataclass(frozen=True, eq=False)
class Resampled:
    """Training rows after resampling, given as new rows or as indices of the copied or kept rows."""

    #: Shape (m, features); None if `sample_indices` determines the rows.
    rows: npt.NDArray[Any] | None
    labels: npt.NDArray[np.int64]
    sample_indices: npt.NDArray[np.int64] | None = None
    #: Notes on changes to the requested parameters.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resampler:
    """A method for class imbalance: an imbalanced-learn sampler, a custom sampler, or a strategy.

    Attributes
    ----------
    name : str
        Name of the strategy in `STRATEGIES`, or display name of the sampler.
    factory : callable or None
        Function that accepts a seed and returns an unfitted sampler. None for a strategy, which leaves the
        rows unchanged.
    seed : int
        Seed of a cell; see `with_seed`.
    fingerprint : str
        Identifier of a custom sampler; empty for samplers of imbalanced-learn.
    note : str
        A sentence for the notes of a run; empty if there is nothing to say.

    See Also
    --------
    run_comparison : Accepts resamplers in `samplers`.
    ModelSpec : The counterpart for models.

    Examples
    --------
    >>> from imblearn.over_sampling import SMOTE
    >>> from skinmnist import Resampler
    >>> smote = Resampler("SMOTE", lambda seed: SMOTE(random_state=seed))
    >>> smote.looks_at_rows, Resampler("class_weight").looks_at_rows
    (True, False)
    """

    name: str
    factory: Callable[[int], Any] | None = None
    seed: int = 0
    fingerprint: str = ""
    note: str = ""

    def with_seed(self, seed: int) -> Resampler:
        """Return a copy with the given seed.

        Examples
        --------
        >>> smote.with_seed(3).seed
        3
        """
        return replace(self, seed=seed)

    @property
    def looks_at_rows(self) -> bool:
        """Whether the sampler uses the values of the rows; False for a strategy."""
        return self.factory is not None and not is_blind(self.factory(0))

    def resample(self, rows: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> Resampled | None:
        """Apply the sampler to training rows of shape (n, features); return None for a strategy.

        Examples
        --------
        >>> rows, labels = np.arange(24.0).reshape(12, 2), np.repeat([0, 1], [4, 8])
        >>> smote = Resampler("SMOTE", lambda seed: SMOTE(k_neighbors=2, random_state=seed))
        >>> np.bincount(smote.resample(rows, labels).labels).tolist()
        [8, 8]
        """
        return None if self.factory is None else resample(self.factory(self.seed), rows, labels)


#: The strategy that leaves the training rows unchanged.
AS_THEY_ARE = Resampler("none")


def make_sampler(name: str, seed: int) -> Any:
    """Return an unfitted imbalanced-learn sampler with default parameters, and a share if the name has one.

    Examples
    --------
    >>> make_sampler("SMOTE", seed=3)
    SMOTE(random_state=3)
    >>> make_sampler("RandomUnderSampler@0.5", seed=3)
    RandomUnderSampler(random_state=3,
                       sampling_strategy=TowardsBalance(share=0.5, amount='drops'))
    """
    name, share = split_share(check_sampler_name(name))
    sampler = getattr(importlib.import_module(SAMPLERS[name].module), name)()
    if share is not None:
        sampler.set_params(sampling_strategy=TowardsBalance(share, SAMPLERS[name].amount))
    return seeded(sampler, seed)


def check_sampler_name(name: str) -> str:
    """Return the name of a sampler of imbalanced-learn, which is not imported; raise InputError for others.

    Examples
    --------
    >>> check_sampler_name("SMOTE@0.5")
    'SMOTE@0.5'
    """
    base, _ = split_share(name)
    if base in CATEGORICAL:
        raise InputError(
            f"received sampler {base!r}, which is for categorical columns; expected one for pixels and "
            "features, such as SMOTE"
        )
    if base not in SAMPLERS:
        raise unknown_name("sampler", base, [*STRATEGIES, *SAMPLERS])
    return name


@dataclass(frozen=True)
class TowardsBalance:
    """A ``sampling_strategy`` that goes a share of the way from the natural class mix to balance.

    An oversampler raises a class with n rows to ``n_max * (n / n_max) ** (1 - share)``, and an undersampler
    reduces it to ``n_min * (n / n_min) ** (1 - share)``, where n_max and n_min are the sizes of the largest
    and the smallest class. Both give class frequencies that are the natural ones to the power ``1 - share``:
    a share of 0 is the natural mix, 0.5 its square root, and 1 balance.

    Attributes
    ----------
    share : float
        From 0 to 1.
    amount : {"adds", "drops"}
        What the sampler does.

    Examples
    --------
    >>> TowardsBalance(0.5, "adds")(np.repeat([0, 1, 2], [400, 100, 4]))
    {1: 200, 2: 40}
    >>> TowardsBalance(0.5, "drops")(np.repeat([0, 1, 2], [400, 100, 4]))
    {0: 40, 1: 20}
    """

    share: float
    amount: str

    def __call__(self, labels: npt.NDArray[np.integer]) -> dict[int, int]:
        """Return the number of rows of every class that changes."""
        codes, counts = np.unique(labels, return_counts=True)
        towards = counts.max() if self.amount == "adds" else counts.min()
        wanted = np.rint(towards * (counts / towards) ** (1 - self.share)).astype(int)
        return {
            int(code): int(rows) for code, rows, n in zip(codes, wanted, counts, strict=True) if rows != n
        }


def seeded(estimator: Any, seed: int) -> Any:
    """Set each ``random_state`` that is None, including nested parameters, and return the estimator.

    Examples
    --------
    >>> from imblearn.over_sampling import SMOTE
    >>> seeded(SMOTE(), 3)
    SMOTE(random_state=3)
    >>> seeded(SMOTE(random_state=1), 3)
    SMOTE(random_state=1)
    """
    params = estimator.get_params()
    states = {k: seed for k, v in params.items() if k.split("__")[-1] == "random_state" and v is None}
    return estimator.set_params(**states)


def with_class_codes(sampler: Any, class_names: Sequence[str]) -> Any:
    """Return a sampler whose sampling strategies use class codes instead of class names.

    Raises
    ------
    InputError
        If a strategy contains a class that is not in `class_names`.

    Examples
    --------
    >>> from imblearn.over_sampling import RandomOverSampler
    >>> with_class_codes(RandomOverSampler(sampling_strategy={"mel": 50}), ["nv", "mel"])
    RandomOverSampler(sampling_strategy={1: 50})
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
                f"{shown(unknown[0])}; expected classes among {', '.join(class_names) or '0, 1, ...'}"
            )
        if isinstance(strategy, dict):
            changes[parameter] = {codes.get(name, name): rows for name, rows in strategy.items()}
        else:
            changes[parameter] = [codes.get(name, name) for name in strategy]
    return clone(sampler).set_params(**changes) if changes else sampler


def resample(sampler: Any, rows: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> Resampled:
    """Apply an unfitted sampler to training rows of shape (n, features); the sampler may be modified.

    Samplers that use the values of the rows receive float32, because ``neighbour - row`` inside SMOTE
    silently wraps around for uint8. Only plain SMOTE returns uint8 for uint8 pixels; see
    `skinmnist.resampling.smote`.

    Examples
    --------
    >>> rows, labels = np.arange(8).reshape(4, 2), np.array([0, 0, 0, 1])
    >>> resample(make_sampler("RandomOverSampler", 0), rows, labels).sample_indices.tolist()
    [0, 1, 2, 3, 3, 3]
    """
    if is_blind(sampler):
        indices, new_labels = sampler.fit_resample(np.arange(len(rows))[:, None], labels)
        return Resampled(None, np.asarray(new_labels), indices[:, 0].astype(np.int64))
    notes = fewer_neighbours(sampler, np.bincount(labels))
    if _is_plain_smote(sampler):
        from skinmnist.resampling.smote import smote

        return Resampled(*smote(sampler, rows, labels), notes=notes)
    floats = rows.astype(np.float32, copy=False)
    try:
        if type(sampler).__name__ == "KMeansSMOTE":
            return _resample_clusters(sampler, floats, labels)
        new_rows, new_labels = sampler.fit_resample(floats, labels)
    except (ValueError, RuntimeError) as error:
        new_rows, new_labels, left_out = _resample_able_classes(sampler, floats, labels, error)
        notes = (*notes, left_out)
    return Resampled(new_rows, np.asarray(new_labels), notes=notes)


def _resample_able_classes(
    sampler: Any, rows: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], error: Exception
) -> tuple[Any, Any, str]:
    """Oversample the classes for which the sampler can make rows, and return rows, labels and a note.

    ADASYN, SVMSMOTE and KMeansSMOTE give up if there is a single class for which they would make no row,
    such as one that lacks few rows, or whose rows all look like noise. If they can make rows for no class,
    or if the user chose the numbers of rows, `error` is raised.
    """
    from sklearn.base import clone

    strategy = sampler.get_params(deep=False).get("sampling_strategy")
    strategy = TowardsBalance(1.0, "adds") if strategy == "auto" else strategy
    if not isinstance(strategy, TowardsBalance) or strategy.amount != "adds":
        raise error
    wanted, able = strategy(labels), dict[int, int]()
    for code, rows_wanted in wanted.items():
        one = clone(sampler).set_params(sampling_strategy={code: rows_wanted})
        try:
            one.fit_resample(rows, labels)
        except (ValueError, RuntimeError):
            continue
        able[code] = rows_wanted
    if not able or len(able) == len(wanted):
        raise error
    found = sampler.set_params(sampling_strategy=able).fit_resample(rows, labels)
    note = (
        f"{type(sampler).__name__}: {len(wanted) - len(able)} of {len(wanted)} rarer classes stay unchanged, "
        f"because it can make no rows for them ({one_line(str(error)).rstrip('.')})"
    )
    return found[0], found[1], note


def _resample_clusters(
    sampler: Any, rows: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> Resampled:
    """Apply KMeansSMOTE; lower its threshold and add a note if no cluster has enough rows of a rare class."""
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
            f"KMeansSMOTE: cluster_balance_threshold lowered from {asked} to {threshold}, because no cluster "
            "has enough rows of every class"
        )
        return Resampled(found[0], np.asarray(found[1]), notes=() if threshold == asked else (note,))
    raise ValueError(
        f"KMeansSMOTE finds no cluster with more than {sampler.k_neighbors} rows of one class, at any "
        "cluster_balance_threshold; use SMOTE, which needs no clusters"
    )


def is_blind(sampler: Any) -> bool:
    """Return whether a sampler selects rows without using their pixel or feature values.

    Examples
    --------
    >>> is_blind(make_sampler("RandomOverSampler", 0)), is_blind(make_sampler("SMOTE", 0))
    (True, False)
    """
    return type(sampler).__name__ in _BLIND and getattr(sampler, "shrinkage", None) is None


def _is_plain_smote(sampler: Any) -> bool:
    from imblearn.over_sampling import SMOTE

    return type(sampler) is SMOTE and isinstance(sampler.k_neighbors, int)


def fewer_neighbours(sampler: Any, class_counts: npt.NDArray[np.integer]) -> tuple[str, ...]:
    """Reduce the number of neighbours, or of inner folds, to fit the smallest class, and return notes.

    SMOTE interpolates between a row and one of its ``k_neighbors`` nearest rows in the same class, so a class
    with n rows allows at most n - 1 neighbours. A class with a single row has no neighbours and stays
    unchanged. The sampler is modified in place.

    Examples
    --------
    >>> fewer_neighbours(make_sampler("SMOTE", 0), np.array([40, 4]))
    ('SMOTE: k_neighbors lowered from 5 to 3, because the smallest class has 4 training rows',)
    """
    params: Mapping[str, Any] = sampler.get_params(deep=False)
    if params.get("smote", 0) is None:  # SMOTETomek and SMOTEENN create a SMOTE when fitted.
        from imblearn.over_sampling import SMOTE

        own = {name: params[name] for name in ("sampling_strategy", "random_state")}
        sampler.set_params(smote=SMOTE(**own))
        return fewer_neighbours(sampler.smote, class_counts)
    smallest = int(class_counts[class_counts > 1].min(initial=class_counts.max()))
    if type(sampler).__name__ == "InstanceHardnessThreshold" and isinstance(params["cv"], int):
        if smallest >= params["cv"]:
            return ()
        sampler.set_params(cv=smallest)
        return (
            f"InstanceHardnessThreshold: cv lowered from {params['cv']} to {smallest}, because the smallest "
            f"class has {smallest} training rows",
        )
    name = next((name for name in ("k_neighbors", "n_neighbors") if isinstance(params.get(name), int)), "")
    over_sampling = type(sampler).__module__.startswith("imblearn.over_sampling")
    # KMeansSMOTE searches for neighbours within clusters, whose sizes are not known in advance.
    if not name or not over_sampling or type(sampler).__name__ == "KMeansSMOTE":
        return ()
    notes = []
    strategy = params["sampling_strategy"]
    if strategy == "auto":
        strategy = TowardsBalance(1.0, "adds")
    if (class_counts == 1).any() and isinstance(strategy, TowardsBalance):
        wanted_rows = strategy(np.repeat(np.arange(len(class_counts)), class_counts))
        several = {code: rows for code, rows in wanted_rows.items() if class_counts[code] > 1}
        sampler.set_params(sampling_strategy=several)
        notes.append(
            f"{type(sampler).__name__}: classes with one training row stay unchanged, because a single row "
            "has no neighbour"
        )
    if 1 < smallest <= params[name]:
        sampler.set_params(**{name: smallest - 1})
        notes.append(
            f"{type(sampler).__name__}: {name} lowered from {params[name]} to {smallest - 1}, "
            f"because the smallest class has {smallest} training rows"
        )
    return tuple(notes)


class Parents(NamedTuple):
    """Indices of two rows, and the position of a synthetic row between them: 0 is the first, 1 the second."""

    first: int
    second: int
    position: float


def find_parents(child: npt.NDArray[np.floating], rows: npt.NDArray[np.floating]) -> Parents | None:
    """Find the pair of rows whose connecting line is closest to a synthetic row.

    SMOTE does not record which rows it interpolates, but they can be recovered from the training rows of the
    same class. Returns None if no line is close to `child`, which means that the row was not interpolated.

    References
    ----------
    Chawla, Bowyer, Hall & Kegelmeyer, "SMOTE: synthetic minority over-sampling technique", JAIR 16, 2002.

    Examples
    --------
    >>> rows = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    >>> find_parents(np.array([1.0, 0.0]), rows)
    Parents(first=0, second=1, position=0.25)
    >>> find_parents(np.array([3.0, 3.0]), rows) is None
    True
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
