"""Inputs of a model: pixels or features of a table, in memory or in batches, and its training rows."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.cache import code_digest, compute_once
from skinmnist.datasets.mapped import MappedRows, is_large, row_blocks
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.splits import LEFT_OUT
from skinmnist.models.spec import MOST_ROWS, ModelSpec
from skinmnist.resampling.registry import AS_THEY_ARE, Resampler, make_sampler, resample
from skinmnist.resampling.strategies import split_share


class Inputs:
    """The rows of a table in the form that one model requires.

    `fold_of` (n,) contains the fold of each picture, or `LEFT_OUT`. If the table is `large` (by default, if
    `is_large`), its images are read only when needed; otherwise, features are extracted once for all cells of
    a process, or recalled from the cache. `seconds` is the time to extract the features of one image.
    """

    def __init__(
        self,
        table: PixelTable,
        spec: ModelSpec,
        fold_of: npt.NDArray[np.integer],
        large: bool | None = None,
    ) -> None:
        self.table = table
        self.spec = spec
        self.large = is_large(table) if large is None else large
        self.seconds = 0.0
        self._features = None
        if spec.features.extract is not None and not self.large:
            self._features = extract_table_features(table, spec.features.extract, fold_of)
            self.seconds = self._features.seconds

    def take(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """Return pixels, or the features extracted from them, as an array in memory."""
        if self._features is not None:
            return self._features.values[rows]
        chosen, settings = MappedRows(self.table.pixels, rows), self.spec.features
        if settings.extract is None:
            return np.asarray(chosen).astype(settings.pixel_type, copy=False)
        start = time.perf_counter()
        found = extract_row_features(chosen, settings.extract, self.table.shape)
        self.seconds = (time.perf_counter() - start) / len(rows)
        return found

    def view(self, rows: npt.NDArray[np.integer], resampler: Resampler = AS_THEY_ARE) -> Any:
        """Return the rows for training: `MappedRows` if the table is large and no step needs all rows."""
        if self.large and _streams(self.spec, resampler):
            return MappedRows(self.table.pixels, rows)
        return self.take(rows)


def _streams(spec: ModelSpec, resampler: Resampler) -> bool:
    """Return whether a model reads its rows in batches and no sampler uses their values."""
    return spec.streams and not resampler.looks_at_rows


def choose_training_rows(
    train: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    spec: ModelSpec,
    resampler: Resampler,
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Choose the training rows of a model, with a note if some rows are omitted.

    `train` contains row numbers of the table, and `labels` the labels of these rows. A sampler that uses the
    values of rows receives at most `MOST_ROWS` rows for any model. The chosen rows are in ascending order and
    keep the class shares.
    """
    if len(train) <= MOST_ROWS:
        return train, ()
    if _streams(spec, resampler):
        return train, (
            f"drew its batches from all {len(train):,} training rows, with the number of steps for "
            f"{MOST_ROWS:,} rows",
        )
    chosen = train[stratified_subsample(labels, MOST_ROWS, resampler.seed)]
    note = (
        f"trained on {len(chosen):,} of the {len(train):,} training rows, sampled at random from each class "
        "before any sampler, to limit memory"
    )
    return chosen, (note,)


#: Tables with at least this many pixels have their features stored in the cache; others take less than half a
#: second.
STORED_PIXELS = 10_000_000
#: Largest number of features of an image in the cache.
MOST_FEATURES = 10_000
#: Images per batch when features are extracted from a large table.
BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class TableFeatures:
    """The features of the images of a table, NaN for images in no fold, and their cost.

    `seconds` is the cost per image in CPU seconds. Every cell is charged for all its images, even if another
    cell extracted the features, to make the costs of models comparable.
    """

    values: npt.NDArray[np.floating]
    seconds: float


def extract_table_features(
    table: PixelTable,
    extract: Callable[[Any, tuple[int, int, int]], Any],
    fold_of: npt.NDArray[np.integer],
) -> TableFeatures:
    """Extract the features of all images that belong to a fold, once per process; see `STORED_PIXELS`."""
    # Extract all features at once and in order; sums over other batches would differ in the last digit.
    return _extract_once(table, extract, (fold_of != LEFT_OUT).tobytes())


def extract_row_features(
    rows: MappedRows, extract: Callable[[Any, tuple[int, int, int]], Any], shape: tuple[int, int, int]
) -> npt.NDArray[np.floating]:
    """Extract features in blocks; apart from the result, memory does not grow with the number of rows."""
    values = np.zeros(0)
    for block in row_blocks(len(rows), BLOCK_ROWS):
        part = np.asarray(extract(np.asarray(rows[block]), shape))
        if not block.start:
            values = np.empty((len(rows), part.shape[1]), dtype=part.dtype)
        values[block] = part
    return values


@lru_cache(maxsize=1)
def _extract_once(
    table: PixelTable, extract: Callable[[Any, tuple[int, int, int]], Any], taking_part: bytes
) -> TableFeatures:
    rows = np.flatnonzero(np.frombuffer(taking_part, dtype=bool))
    pixels = np.asarray(table.pixels[rows])

    def compute() -> dict[str, npt.NDArray[np.floating]]:
        start = time.process_time()  # Kept for later runs, so the load of the machine must not count.
        values = np.asarray(extract(pixels, table.shape))
        return {"values": values, "seconds": np.array([time.process_time() - start])}

    # The code of an extractor from outside this package is not known.
    own = extract.__module__.split(".")[0] == __name__.split(".")[0]
    if own and pixels.size >= STORED_PIXELS:
        what = f"{extract.__module__} {extract.__qualname__} {table.shape} {np.__version__}"
        state = hashlib.sha256(f"{what} {code_digest(extract.__module__)}".encode())
        state.update(pixels.data)
        key = f"features-{state.hexdigest()}"
        found = compute_once(key, ("values", "seconds"), len(rows) * MOST_FEATURES, compute)
    else:
        found = compute()
    features = found["values"]
    values = features  # Workers share the memory map of the cache if all images take part.
    if len(rows) < len(table):
        values = np.full((len(table), features.shape[1]), np.nan, dtype=features.dtype)
        values[rows] = features
    return TableFeatures(values, float(found["seconds"][0]) / len(rows))


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Training rows, with copies represented by weights or repeated positions if possible.

    `n_resampled` includes copies; `sample_indices` are positions among `rows`; `notes` describe how the
    sampler deviated from the request.
    """

    rows: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None
    n_resampled: int
    notes: tuple[str, ...] = ()
    sample_indices: npt.NDArray[np.integer] | None = None

    def class_mix(self, n_classes: int) -> npt.NDArray[np.float64]:
        """Return the weight of each class, shape (k,): its number of rows or the sum of their weights."""
        labels = self.labels if self.sample_indices is None else self.labels[self.sample_indices]
        return np.bincount(labels, self.weights, minlength=n_classes).astype(float)

    def train(self, classifier: Any, **more: Any) -> None:
        """Fit a classifier on these rows, passing any additional arguments to its ``fit``."""
        if self.weights is not None:
            more["sample_weight"] = self.weights
        if self.sample_indices is not None:
            more["sample_indices"] = self.sample_indices
        classifier.fit(self.rows, self.labels, **more)


def resample_rows(
    resampler: Resampler, rows: npt.NDArray[Any], labels: npt.NDArray[np.int64], spec: ModelSpec
) -> TrainingRows:
    """Apply a sampler, or ``class_weight``, to training rows of shape (n, features).

    If the model supports it, copies are represented by weights or sample indices.
    """
    result = resampler.resample(rows, labels)
    if result is None:
        base, share = split_share(resampler.name)
        weights = balanced_weights(labels, share) if base == "class_weight" else None
        return TrainingRows(rows, labels, weights, len(rows))
    n_resampled, indices, notes = len(result.labels), result.sample_indices, result.notes
    if indices is None:
        new_rows = np.asarray(result.rows)
        features = spec.features
        if features.transformer is None and features.pixel_type == "uint8" and new_rows.dtype != np.uint8:
            new_rows = np.clip(np.rint(new_rows), 0, 255).astype(np.uint8)
        return TrainingRows(new_rows, result.labels, None, n_resampled, notes)
    if spec.copies_as_weights:
        copies = np.bincount(indices, minlength=len(rows))
        chosen = copies > 0
        return TrainingRows(rows[chosen], labels[chosen], copies[chosen].astype(float), n_resampled, notes)
    if spec.sample_indices:
        return TrainingRows(rows, labels, None, n_resampled, notes, indices)
    return TrainingRows(rows[indices], result.labels, None, n_resampled, notes)


def resample_all(table: PixelTable, rows: npt.NDArray[np.int64], sampler: str, seed: int) -> PixelTable:
    """Resample rows before any split; the new rows have no lesion ids."""
    resampled = resample(make_sampler(sampler, seed), np.asarray(table.pixels[rows]), table.labels[rows])
    if resampled.sample_indices is not None:
        pixels = np.asarray(table.pixels[rows])[resampled.sample_indices]
    else:
        pixels = np.clip(np.rint(np.asarray(resampled.rows)), 0, 255).astype(np.uint8)
    return PixelTable(pixels, resampled.labels, table.class_names, table.shape)


def subsample_resampled(
    training: TrainingRows, old_rows: npt.NDArray[Any], most: int | None, seed: int
) -> TrainingRows:
    """Subsample the rows that a sampler added and weight them to represent all added rows, with a note.

    The sample gives an unbiased estimate of the total contribution of the added rows to a loss. All original
    rows, `old_rows`, are kept. This requires a sampler that returns the original rows first and the new rows
    after them, like the interpolating samplers of imbalanced-learn. At most `most` new rows of each class are
    kept; ``n_resampled`` and the class mix do not change.
    """
    n_old, n = len(old_rows), len(training.rows)
    plain = training.weights is None and training.sample_indices is None
    if most is None or not plain or n <= n_old:
        return training
    counts = np.bincount(training.labels[n_old:], minlength=int(training.labels.max()) + 1)
    same = np.array_equal(training.rows[:n_old], old_rows.astype(training.rows.dtype, copy=False))
    if counts.max() <= most or not same:
        return training
    order = n_old + np.random.default_rng(seed).permutation(n - n_old)
    sampled = [order[training.labels[order] == code][:most] for code in range(len(counts))]
    chosen = np.concatenate([np.arange(n_old), *sampled])
    chosen.sort()
    stands_for = (counts / np.clip(counts, 1, most))[training.labels[chosen]]
    note = (
        f"trained on {len(chosen) - n_old:,} of the {n - n_old:,} rows made by the sampler, sampled at "
        "random from each class and weighted by the number that they represent"
    )
    return _take(training, chosen, np.where(chosen < n_old, 1.0, stands_for), note)


def subsample(training: TrainingRows, most_pair: int | None, seed: int) -> TrainingRows:
    """Subsample training rows to the limit of a model, with a note.

    `most_pair` limits the total number of rows of the two largest classes. Every class keeps its share of the
    weight: rare rows with large weights are all kept, and frequent rows are dropped. ``n_resampled`` does not
    change.
    """
    counts = np.bincount(training.labels)
    pair = int(np.sort(counts)[-2:].sum())
    if most_pair is None or pair <= most_pair:
        return training
    n = len(training.rows)
    shares = np.bincount(training.labels, training.weights).astype(float)
    chosen = _sample_each_class(training.labels, _allot(counts, shares, n * most_pair // pair), seed)
    labels = training.labels[chosen]
    weights = None
    if training.weights is not None:
        weights = training.weights[chosen]
        # The relative weights of the classes and the mean weight of a row do not change.
        left = np.bincount(labels, weights, minlength=len(counts))
        weights = weights * (shares / np.maximum(left, 1e-12) * len(chosen) / n)[labels]
    note = (
        f"trained on {len(chosen):,} of the {n:,} training rows, sampled at "
        "random from each class, because the model takes no more"
    )
    return _take(training, chosen, weights, note)


def _take(
    training: TrainingRows,
    chosen: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64] | None,
    note: str,
) -> TrainingRows:
    rows, labels = training.rows[chosen], training.labels[chosen]
    return replace(training, rows=rows, labels=labels, weights=weights, notes=(*training.notes, note))


def stratified_subsample(labels: npt.NDArray[np.int64], most: int, seed: int) -> npt.NDArray[np.int64]:
    """Return ascending indices of a subsample that keeps the class shares and at least one row per class.

    Returns all indices if there are at most `most` rows.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    counts = np.bincount(labels)
    return _sample_each_class(labels, _allot(counts, counts.astype(float), most), seed)


def _sample_each_class(
    labels: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], seed: int
) -> npt.NDArray[np.int64]:
    """Sample a given number of rows from each class; return ascending indices."""
    rng = np.random.default_rng(seed)
    own = [rng.permutation(np.flatnonzero(labels == code))[:size] for code, size in enumerate(sizes)]
    return np.sort(np.concatenate(own))


def _allot(
    counts: npt.NDArray[np.integer], shares: npt.NDArray[np.floating], most: int
) -> npt.NDArray[np.int64]:
    """Divide `most` rows among classes by their shares; rows that a class cannot fill go to the others."""
    sizes = np.zeros(len(counts), dtype=np.int64)
    open_classes = counts > 0
    while open_classes.any():
        room = most - sizes[~open_classes].sum()
        wanted = np.where(open_classes, shares, 0.0) / shares[open_classes].sum() * room
        full = open_classes & (wanted >= counts)
        if not full.any():
            sizes[open_classes] = np.maximum(1, wanted[open_classes].astype(np.int64))
            break
        sizes[full] = counts[full]
        open_classes &= ~full
    return sizes


def balanced_weights(labels: npt.NDArray[np.int64], share: float | None = None) -> npt.NDArray[np.float64]:
    """Return weights with mean 1 that give every class the same total weight (King & Zeng 2001).

    With a `share`, they are the balanced weights to that power, so total weights are the class counts to the
    power ``1 - share``.
    """
    counts = np.bincount(labels)
    if share is None:
        return (len(labels) / (np.count_nonzero(counts) * counts.astype(float).clip(1)))[labels]
    weights = (counts.astype(float).clip(1) ** -share)[labels]
    return weights / weights.mean()
