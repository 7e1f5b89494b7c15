"""Training rows as a model takes them, after the sampler or remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.models.spec import ModelSpec
from skinmnist.resampling.registry import resample


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Rows to train on.

    Attributes
    ----------
    rows : ndarray of shape (m, features)
    labels : ndarray of shape (m,), int64
    weights : ndarray of shape (m,), float64, or None
    made : int
        How many rows stand behind them: copies that travel as weights or positions are counted.
    drawn : ndarray of int, or None
        Positions among `rows` of the rows to train on, where copies travel as positions.
    notes : tuple of str
        What the sampler had to do otherwise than asked.
    """

    rows: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None
    made: int
    notes: tuple[str, ...] = ()
    sample_indices: npt.NDArray[np.integer] | None = None

    def class_mix(self, n_classes: int) -> npt.NDArray[np.float64]:
        """Return the weight of each class, shape (k,): its rows, or the sum of their weights."""
        labels = self.labels if self.sample_indices is None else self.labels[self.sample_indices]
        return np.bincount(labels, self.weights, minlength=n_classes).astype(float)

    def train(self, classifier: Any, **more: Any) -> None:
        """Fit a classifier on these rows, with whatever more its ``fit`` takes."""
        if self.weights is not None:
            more["sample_weight"] = self.weights
        if self.sample_indices is not None:
            more["sample_indices"] = self.sample_indices
        classifier.fit(self.rows, self.labels, **more)


def draw_training_rows(
    strategy: str,
    make_sampler: Callable[[int], Any] | None,
    seed: int,
    rows: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    spec: ModelSpec,
) -> TrainingRows:
    """Apply a sampler, or a remedy, to the training rows of a fold.

    Parameters
    ----------
    remedy : str
        ``"class_weight"`` weights the rows; other remedies leave them as they are. Only looked at where
        `make_sampler` is None.
    make_sampler : callable or None
        Seed -> unfitted sampler.
    seed : int
    rows : ndarray of shape (n, features)
    labels : ndarray of shape (n,), int64
    spec : ModelSpec
        Tells whether copies may travel as weights, and the type of pixels.
    """
    if make_sampler is None:
        weights = balanced_weights(labels) if strategy == "class_weight" else None
        return TrainingRows(rows, labels, weights, len(rows))
    result = resample(make_sampler(seed), rows, labels)
    if result.chosen is None:
        new_rows = np.asarray(result.rows)
        if spec.features is None and spec.pixel_type == "uint8" and new_rows.dtype != np.uint8:
            new_rows = np.clip(np.rint(new_rows), 0, 255).astype(np.uint8)
        return TrainingRows(new_rows, result.labels, None, len(new_rows), result.notes)
    if spec.copies_as_weights:
        copies = np.bincount(result.chosen, minlength=len(rows))
        kept = copies > 0
        return TrainingRows(
            rows[kept], labels[kept], copies[kept].astype(float), int(copies.sum()), result.notes
        )
    if spec.draws:
        return TrainingRows(rows, labels, None, len(result.labels), result.notes, result.chosen)
    return TrainingRows(rows[result.chosen], result.labels, None, len(result.labels), result.notes)


def fewer_resampled(
    sample_indices: TrainingRows, old_rows: npt.NDArray[Any], most: int | None, seed: int
) -> TrainingRows:
    """Draw some of the rows that a sampler made, each weighing as many as it stands for, and say so.

    What is drawn estimates without bias what all of them would add to a loss. The old rows all stay.

    Parameters
    ----------
    drawn : TrainingRows
    old_rows : ndarray of shape (n, features)
        What the sampler was given. Only samplers that answer these first and made rows after them, as those
        of imbalanced-learn that interpolate do, are looked at.
    most : int or None
        Made rows to keep of each class; None: any number.
    seed : int

    Returns
    -------
    TrainingRows
        The same object where no class has more made rows; else with weights and one more note. ``made`` and
        the class mix are what they were.
    """
    n_old, n = len(old_rows), len(sample_indices.rows)
    if (
        most is None
        or sample_indices.weights is not None
        or sample_indices.sample_indices is not None
        or n <= n_old
    ):
        return sample_indices
    counts = np.bincount(sample_indices.labels[n_old:], minlength=int(sample_indices.labels.max()) + 1)
    same = np.array_equal(sample_indices.rows[:n_old], old_rows.astype(sample_indices.rows.dtype, copy=False))
    if counts.max() <= most or not same:
        return sample_indices
    order = n_old + np.random.default_rng(seed).permutation(n - n_old)
    kept = [order[sample_indices.labels[order] == code][:most] for code in range(len(counts))]
    chosen = np.concatenate([np.arange(n_old), *kept])
    chosen.sort()
    weights = np.where(
        chosen < n_old, 1.0, (counts / np.clip(counts, 1, most))[sample_indices.labels[chosen]]
    )
    note = (
        f"trained on {len(chosen) - n_old:,} of the {n - n_old:,} rows that the sampler made, drawn at "
        "random from each class, each weighing as many as it stands for"
    )
    return replace(
        sample_indices,
        rows=sample_indices.rows[chosen],
        labels=sample_indices.labels[chosen],
        weights=weights,
        notes=(*sample_indices.notes, note),
    )


def subsample(sample_indices: TrainingRows, pair_rows: int | None, seed: int) -> TrainingRows:
    """Draw some of the training rows where there are more than a model can learn from, and say so.

    Every class keeps its share of the weight: rare rows that weigh much all stay, and frequent ones go.

    Parameters
    ----------
    drawn : TrainingRows
    pair_rows : int or None
        Rows that the two largest classes may have together; None: any number.
    seed : int

    Returns
    -------
    TrainingRows
        The same object where it has few enough rows; else with one more note. ``made`` is what it was.
    """
    counts = np.bincount(sample_indices.labels)
    pair = int(np.sort(counts)[-2:].sum())
    if pair_rows is None or pair <= pair_rows:
        return sample_indices
    most_rows = len(sample_indices.rows) * pair_rows // pair
    shares = np.bincount(sample_indices.labels, sample_indices.weights).astype(float)
    chosen = _draw_of_each(sample_indices.labels, _kept_of_each(counts, shares, most_rows), seed)
    weights = None
    if sample_indices.weights is not None:
        weights = sample_indices.weights[chosen]
        # The classes weigh among each other what they did, and a row on average what it did.
        left = np.bincount(sample_indices.labels[chosen], weights, minlength=len(counts))
        weights = (
            weights
            * (shares / np.maximum(left, 1e-12) * len(chosen) / len(sample_indices.rows))[
                sample_indices.labels[chosen]
            ]
        )
    note = (
        f"trained on {len(chosen):,} of the {len(sample_indices.rows):,} training rows, drawn at "
        "random from each class, for the model takes no more"
    )
    return replace(
        sample_indices,
        rows=sample_indices.rows[chosen],
        labels=sample_indices.labels[chosen],
        weights=weights,
        notes=(*sample_indices.notes, note),
    )


def draw_some(labels: npt.NDArray[np.int64], most: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw so many rows that every class keeps its share, and at least one; ascending positions.

    All positions where there are no more rows than `most`.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    counts = np.bincount(labels)
    return _draw_of_each(labels, _kept_of_each(counts, counts.astype(float), most), seed)


def _draw_of_each(
    labels: npt.NDArray[np.int64], kept: npt.NDArray[np.int64], seed: int
) -> npt.NDArray[np.int64]:
    """Draw a number of the rows of each class; ascending positions."""
    rng = np.random.default_rng(seed)
    own = [rng.permutation(np.flatnonzero(labels == code))[:most] for code, most in enumerate(kept)]
    return np.sort(np.concatenate(own))


def _kept_of_each(
    counts: npt.NDArray[np.integer], shares: npt.NDArray[np.floating], most: int
) -> npt.NDArray[np.int64]:
    """Divide `most` rows among classes by their shares; what a class has not, the others get."""
    kept = np.zeros(len(counts), dtype=np.int64)
    open_classes = counts > 0
    while open_classes.any():
        room = most - kept[~open_classes].sum()
        wanted = np.where(open_classes, shares, 0.0) / shares[open_classes].sum() * room
        full = open_classes & (wanted >= counts)
        if not full.any():
            kept[open_classes] = np.maximum(1, wanted[open_classes].astype(np.int64))
            break
        kept[full] = counts[full]
        open_classes &= ~full
    return kept


def balanced_weights(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return weights of mean 1 that give every class the same sum (King & Zeng 2001)."""
    counts = np.bincount(labels)
    return (len(labels) / (np.count_nonzero(counts) * counts.astype(float).clip(1)))[labels]
