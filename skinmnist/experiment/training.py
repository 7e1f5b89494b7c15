"""Train a cell or saved model: features, validation set, sampler, model, calibration."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinmnist.experiment.inputs import TrainingRows, resample_rows, subsample, subsample_resampled
from skinmnist.experiment.splits import draw_lesions, inner_folds
from skinmnist.models.cnn.heads import Trunk
from skinmnist.models.export import Fitted
from skinmnist.models.spec import ModelSpec, Setting
from skinmnist.resampling.registry import Resampler


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, with details of its training run.

    `labels` belong to the rows passed to the sampler, and `training` is its output, whose rows the model may
    have overwritten. `training_mix` (k,) contains the class shares to which the probabilities refer. `notes`
    describe deviations from the request. Wall seconds exclude imports and the seconds of `trunk`, the
    networks whose last layer a strategy has replaced.
    """

    spec: ModelSpec
    fitted: Fitted
    labels: npt.NDArray[np.int64]
    training: TrainingRows
    training_mix: npt.NDArray[np.float64]
    notes: tuple[str, ...]
    resample_seconds: float
    fit_seconds: float
    trunk: Trunk | None = None

    def answer(self, rows: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return probabilities (m, k); the largest determines the class. Raises ValueError if invalid."""
        fitted = self.fitted
        if fitted.features is not None:
            rows = fitted.features.transform(rows)
        return _probabilities(fitted.classifier, fitted.calibration, rows, len(self.training_mix))


@dataclass(frozen=True, eq=False)
class Validation:
    """Rows, or their features, that monitor a training run in place of a share of its lesions.

    If this set `leaks`, because its rows are held out, the share is still excluded from training, so only the
    monitored rows differ from an honest training run.
    """

    rows: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    leaks: bool = False


def fit_model(
    spec: ModelSpec,
    resampler: Resampler,
    setting: Setting,
    rows: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    lesions: npt.NDArray[np.str_] | None,
    to_export: bool = False,
    validation: Validation | None = None,
    trunk: Trunk | None = None,
) -> Trained:
    """Train a model on pixel rows or features (n, columns), including the sampler.

    `resampler` is seeded for the cell; `lesions` is None if rows are split individually. If `validation` is
    given, a model with a validation set uses these rows. `trunk` is passed to the ``fit`` of networks.
    """
    seed, limits = resampler.seed, spec.limits

    def build() -> Any:
        classifier = spec.build(setting, resampler.name)
        return classifier.set_params(**spec.export.params) if to_export and spec.export else classifier

    def resampled(chosen: npt.NDArray[np.int64] | slice) -> TrainingRows:
        own = rows[chosen]
        training = resample_rows(resampler, own, labels[chosen], spec)
        return subsample_resampled(training, own, limits.resampled, seed)

    calibration_notes = set[str]()

    def for_calibration(inner: npt.NDArray[np.int64]) -> TrainingRows:
        every = resampled(inner)
        some = subsample(every, limits.calibration_pair, seed)
        if some is not every:
            calibration_notes.add(
                f"calibrated by classifiers of at most {limits.calibration_pair:,} rows of two classes, "
                "sampled at random from each class, because the model takes no more"
            )
        return some

    # Build before starting the clock, because this imports the libraries.
    classifier = build()
    transformer = spec.features.transformer(setting) if spec.features.transformer else None
    if resampler.factory:
        resampler.factory(seed)
    own_trunk = trunk if spec.replaces_head(resampler.name) else None
    clock = Clock(own_trunk)
    if transformer is not None:
        rows = transformer.fit_transform(rows)
    feature_seconds = clock.lap()
    chosen, monitored = _split_validation(spec, rows, labels, lesions, seed, validation)
    training = resampled(chosen)
    resample_seconds = clock.lap()
    mix = training.class_mix(setting.n_classes)
    learnt = subsample(training, limits.pair, seed)
    if trunk is not None:
        monitored["trunk"] = trunk
    learnt.train(classifier, **monitored)
    calibration = None
    if not hasattr(classifier, "predict_proba"):
        calibration = calibrate(
            build,
            for_calibration,
            rows,
            labels,
            lesions,
            spec.answered_mix(resampler.name, mix) if spec.balances else mix,
            seed,
        )
    return Trained(
        spec=spec,
        fitted=Fitted(transformer, classifier, calibration, spec.features.extract is not None),
        labels=labels[chosen],
        training=training,
        training_mix=_answered_mix(spec, resampler.name, classifier, mix),
        notes=(*learnt.notes, *calibration_notes, *getattr(classifier, "notes_", ())),
        resample_seconds=resample_seconds,
        fit_seconds=feature_seconds + clock.lap(),
        trunk=own_trunk,
    )


def _answered_mix(
    spec: ModelSpec, strategy: str, classifier: Any, mix: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the class mix that a classifier states for its probabilities, or else that of its strategy."""
    stated = getattr(classifier, "class_mix_", None)
    if stated is None:
        return spec.answered_mix(strategy, mix)
    found = np.zeros(len(mix))
    found[np.asarray(classifier.classes_).astype(int)] = stated
    return found


class Clock:
    """Measure wall seconds between laps, without those of a trunk."""

    def __init__(self, trunk: Trunk | None = None) -> None:
        self._trunk = trunk
        self._last = self._now()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        now = self._now()
        seconds, self._last = max(0.0, now - self._last), now
        return seconds

    def _now(self) -> float:
        return time.perf_counter() - (0.0 if self._trunk is None else self._trunk.seconds)


def _split_validation(
    spec: ModelSpec,
    rows: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    lesions: npt.NDArray[np.str_] | None,
    seed: int,
    given: Validation | None,
) -> tuple[npt.NDArray[np.int64] | slice, dict[str, Any]]:
    """Split training rows into the rows to resample and train on, and the validation set for ``fit``."""
    share = spec.validation_share
    own = {} if given is None else {"validation_data": (given.rows, given.labels)}
    leaks = given is not None and given.leaks
    if not share or (own and not leaks):
        return slice(None), own if share or leaks else {}
    left_out = draw_lesions(labels, lesions, share, seed)
    if not len(left_out):
        raise ValueError(
            f"too few lesions to validate on {share:.0%} of those of each class; add lesions, or choose a "
            "model without a validation set"
        )
    trained = np.setdiff1d(np.arange(len(labels)), left_out)
    return trained, own or {"validation_data": (rows[left_out], labels[left_out])}


def _probabilities(
    classifier: Any, calibration: Any, rows: npt.NDArray[Any], n_classes: int
) -> npt.NDArray[np.float64]:
    """Return probabilities of shape (m, k), float64, with rows that sum to 1 and columns in code order."""
    source = classifier if calibration is None else calibration
    values = rows if calibration is None else as_columns(classifier.decision_function(rows))
    given = np.asarray(source.predict_proba(values), dtype=np.float64)
    classes = np.asarray(source.classes_).astype(int)
    if given.shape != (len(rows), len(classes)):
        raise ValueError(
            f"predict_proba returned the shape {given.shape}, expected {(len(rows), len(classes))}"
        )
    if not np.isfinite(given).all() or (given < 0).any() or (given.sum(axis=1) <= 0).any():
        raise ValueError("predict_proba returned values that are not probabilities")
    probabilities = np.zeros((len(rows), n_classes))
    probabilities[:, classes] = given
    return probabilities / probabilities.sum(axis=1, keepdims=True)


#: Two folds rank rows like three, within .001 of the area under the curve, at less than half the cost.
CALIBRATION_FOLDS = 2


def calibrate(
    make_classifier: Callable[[], Any],
    resampled: Callable[[npt.NDArray[np.int64]], TrainingRows],
    rows: npt.NDArray[Any],
    labels: npt.NDArray[np.int64],
    lesions: npt.NDArray[np.str_] | None,
    mix: npt.NDArray[np.float64],
    seed: int,
) -> Any:
    """Fit a calibration from decision values to probabilities; raises ValueError for a class with one lesion.

    Each half of the training lesions is scored by a classifier (`make_classifier`) trained on the other half;
    `resampled` returns its training rows for given positions among `rows`. The scored rows are weighted to
    the class mix (k,) of the training rows of the final classifier, so its probabilities refer to that mix,
    as for any other model.
    """
    decisions, true_labels = [], []
    for inner, outer in inner_folds(labels, lesions, CALIBRATION_FOLDS, seed):
        classifier = make_classifier()
        resampled(inner).train(classifier)
        decisions.append(as_columns(classifier.decision_function(rows[outer])))
        true_labels.append(labels[outer])
    found = np.concatenate(true_labels)
    weights = (mix / np.bincount(found, minlength=len(mix)).clip(1))[found]
    return fit_calibration(np.concatenate(decisions), found, weights / weights.mean())


def fit_calibration(
    decisions: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
) -> Any:
    """Fit a multinomial logistic regression of the class on decision values, (n,) or (n, values).

    This generalises Platt scaling (1999) to more than two classes. If the input contains the values for all
    pairs of classes, it also recovers information that one-against-one voting loses. The weights convert the
    class mix of these rows to the mix to which the probabilities refer.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000))
    return model.fit(as_columns(decisions), labels, logisticregression__sample_weight=weights)


def as_columns(decisions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return decision values as columns, even the single value of a two-class model."""
    return decisions[:, None] if decisions.ndim == 1 else decisions
