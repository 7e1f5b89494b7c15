"""Training: features, validation set, sampler, model, calibration; for a cell and for a saved model alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.experiment.calibrating import calibrate
from skinmnist.experiment.inner_folds import draw_lesions
from skinmnist.experiment.training_rows import TrainingRows, draw_training_rows, fewer_resampled, subsample
from skinmnist.models.calibration import as_columns
from skinmnist.models.export import Fitted
from skinmnist.models.spec import ModelSpec, Setting


@dataclass(frozen=True, eq=False)
class Trained:
    """A model after training, and how it came about.

    Attributes
    ----------
    spec : ModelSpec
    fitted : Fitted
    n_classes : int
    labels : ndarray of shape (m,), int64
        Of the rows that the sampler was given.
    drawn : TrainingRows
        What the sampler made of them.
    notes : tuple of str
        What had to be done otherwise than asked.
    resample_seconds, fit_seconds : float
        Wall seconds; imports are left out.
    """

    spec: ModelSpec
    fitted: Fitted
    n_classes: int
    labels: npt.NDArray[np.int64]
    sample_indices: TrainingRows
    notes: tuple[str, ...]
    resample_seconds: float
    fit_seconds: float

    def answer(self, rows: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return probabilities (m, k) and decisions (m,) for pixel rows, or the numbers that describe them.

        Raises
        ------
        ValueError
            Where what the model returns are no probabilities or no labels.
        """
        fitted = self.fitted
        if fitted.features is not None:
            rows = fitted.features.transform(rows)
        probabilities = _probabilities(fitted.classifier, fitted.calibration, rows, self.n_classes)
        if self.spec.most_probable:
            return probabilities, probabilities.argmax(axis=1)
        return probabilities, _decisions(fitted.classifier, rows)


def fit_model(
    spec: ModelSpec,
    strategy: str,
    make_sampler: Callable[[int], Any] | None,
    sampler_seed: int,
    setting: Setting,
    rows: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    lesions: npt.NDArray[np.str_] | None,
    kept: bool = False,
    validation_data: tuple[npt.NDArray[Any], npt.NDArray[np.int64]] | None = None,
) -> Trained:
    """Train a model on rows, sampler included.

    Parameters
    ----------
    spec : ModelSpec
    remedy, make_sampler, sampler_seed
        See `skinmnist.experiment.training_rows.draw_training_rows`.
    setting : Setting
    rows : ndarray of shape (n, features)
        Pixel rows, or the numbers that describe them.
    labels : ndarray of shape (n,), int64
    lesions : ndarray of shape (n,) or None
        None where rows are split one by one.
    kept : bool
        Whether the model is to be kept in a file.
    validation_data : tuple of ndarray, optional
        Rows and labels that ``fit`` validates on in place of training lesions: only to show what that leaks.
    """

    def build() -> Any:
        classifier = spec.build(setting, strategy)
        return classifier.set_params(**spec.kept) if kept and spec.kept else classifier

    def draw(chosen: npt.NDArray[np.int64] | slice) -> TrainingRows:
        own = rows[chosen]
        made = draw_training_rows(strategy, make_sampler, sampler_seed, own, labels[chosen], spec)
        return fewer_resampled(made, own, spec.resampled_rows, sampler_seed)

    # Made before the clock starts, for this imports the libraries.
    classifier = build()
    features = spec.features(setting) if spec.features else None
    if make_sampler:
        make_sampler(sampler_seed)
    clock = Clock()
    if features is not None:
        rows = features.fit_transform(rows)
    feature_seconds = clock.lap()
    chosen, validation = _split_validation(spec, rows, labels, lesions, sampler_seed)
    if validation_data is not None:
        validation = {"validation_data": validation_data}
    sample_indices = draw(chosen)
    resample_seconds = clock.lap()
    learnt = subsample(sample_indices, spec.pair_rows, sampler_seed)
    learnt.train(classifier, **validation)
    calibration = None
    if spec.calibrate:
        mix = sample_indices.class_mix(setting.n_classes)
        calibration = calibrate(
            build,
            lambda inner: subsample(draw(inner), spec.calibration_pair_rows, sampler_seed),
            rows,
            labels,
            lesions,
            mix,
            sampler_seed,
        )
    return Trained(
        spec=spec,
        fitted=Fitted(features, classifier, calibration, spec.describe is not None),
        n_classes=setting.n_classes,
        labels=labels[chosen],
        sample_indices=sample_indices,
        notes=(*learnt.notes, *getattr(classifier, "notes_", ())),
        resample_seconds=resample_seconds,
        fit_seconds=feature_seconds + clock.lap(),
    )


class Clock:
    """Wall seconds between one lap and the next."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds


def _split_validation(
    spec: ModelSpec,
    rows: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    lesions: npt.NDArray[np.str_] | None,
    seed: int,
) -> tuple[npt.NDArray[np.int64] | slice, dict[str, Any]]:
    """Split training rows into those to resample and train on, and the validation set of ``fit``."""
    if not spec.watch:
        return slice(None), {}
    seen = draw_lesions(labels, lesions, spec.watch, seed)
    if not len(seen):
        raise ValueError(
            f"too few lesions to validate on {spec.watch:.0%} of those of each class; give more, or choose a "
            "model without a validation set"
        )
    trained = np.setdiff1d(np.arange(len(labels)), seen)
    return trained, {"validation_data": (rows[seen], labels[seen])}


def _decisions(classifier: Any, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the classifier's own decisions, shape (m,), as codes that it was trained on."""
    predicted = np.asarray(classifier.predict(rows))
    if predicted.shape != (len(rows),):
        raise ValueError(f"predict returned the shape {predicted.shape}, expected {(len(rows),)}")
    if not np.isin(predicted, classifier.classes_).all():
        raise ValueError("predict returned values that are no label of the training rows")
    return predicted.astype(np.int64)


def _probabilities(
    classifier: Any, calibration: Any, rows: npt.NDArray[Any], n_classes: int
) -> npt.NDArray[np.float64]:
    """Return probabilities of shape (m, k), float64, rows summing to 1, columns in code order."""
    source = classifier if calibration is None else calibration
    values = rows if calibration is None else as_columns(classifier.decision_function(rows))
    given = np.asarray(source.predict_proba(values), dtype=np.float64)
    classes = np.asarray(source.classes_).astype(int)
    if given.shape != (len(rows), len(classes)):
        raise ValueError(
            f"predict_proba returned the shape {given.shape}, expected {(len(rows), len(classes))}"
        )
    if not np.isfinite(given).all() or (given < 0).any() or (given.sum(axis=1) <= 0).any():
        raise ValueError("predict_proba returned values that are no probabilities")
    probabilities = np.zeros((len(rows), n_classes))
    probabilities[:, classes] = given
    return probabilities / probabilities.sum(axis=1, keepdims=True)
