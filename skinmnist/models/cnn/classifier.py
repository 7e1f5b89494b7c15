"""The convolutional network as a scikit-learn classifier on flat pixel rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skinmnist.datasets.mapped import MappedRows, row_blocks
from skinmnist.datasets.table import to_rows
from skinmnist.errors import InputError
from skinmnist.features.extract import extract_features
from skinmnist.features.transformer import Standardiser
from skinmnist.models.cnn.backend import choose_precision
from skinmnist.models.cnn.heads import Head, Trunk, TrunkOutput, make_head, sample_rows
from skinmnist.models.cnn.losses import MIXTURES, loss_weights
from skinmnist.models.cnn.network import Architecture, ChannelStatistics, Ensemble
from skinmnist.models.cnn.training import Rows, TrainingConfig, ValidationSet, batch_exponent, borrow

#: Rows per prediction step, which keeps memory independent of the size of the table.
PREDICT_ROWS = 256

T = TypeVar("T")
Array = npt.NDArray[np.generic]
Pictures = npt.NDArray[np.uint8] | MappedRows

#: Attributes that classifiers with different heads share.
_TRAINED = ("n_features_in_", "precision_", "channel_statistics_", "standardiser_", "history_", "weights_")


@dataclass(eq=False, repr=False)
class CNNClassifier(ClassifierMixin, BaseEstimator):
    """A small convolutional network, trained on one CPU thread for a limited number of gradient steps.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of a picture; the length of a row is their product.
    steps : int, default=700
        Number of gradient steps, independent of the number of rows.
    batch_size : int, default=128
    channels : sequence of int, default=(32, 64, 96)
        Channels of each stage; each stage has half the resolution of the previous stage.
    pairs : sequence of int, default=(0, 1, 1)
        Residual pairs of convolutions in each stage.
    dropout : float, default=0.3
    feature_layers : sequence of int, default=()
        Units of each hidden layer of a second network, on the features of `skinmnist.features`. Its
        predictions are averaged with those of the first network, with weight `feature_share`. By default,
        there is no second network.
    feature_share : float, default=0.5
    coarse_share : float, default=0.6
        Share of the steps, from the start, at half resolution if the pictures are large enough.
    kernel_rate, kernel_decay : float, default=0.1 and 0.1
        Highest learning rate and weight decay of convolution kernels with Muon; with None, they use Adam.
    learning_rate, weight_decay : float, default=4e-3 and 0.05
        The same settings for all other weights, with Adam.
    label_smoothing : float, default=0.05
        Share of the target distribution that is spread over all classes.
    max_shift : int, default=1
        Largest random shift in training, in pixels.
    colour_spread : float, default=0.02
        Standard deviation of the random gain and offset of each colour channel in training, in units of the
        channel's own standard deviation.
    balance : {None, "sqrt_batches", "balanced_batches"} or str, default=None
        Draw the classes of each batch in proportion to the square root of their frequencies, uniformly, or a
        share of the way, as ``"balanced_batches@0.25"``.
    loss : str, default="cross_entropy"
        ``"cross_entropy"``, ``"focal"``, ``"logit_adjusted"``, ``"class_balanced"``, ``"ldam_drw"`` or
        ``"label_aware"``; see `skinmnist.models.cnn.losses.make_loss`.
    mixture : {None, "mixup", "remix"}, default=None
        Train on mixtures of two rows; see `skinmnist.models.cnn.losses.mixing_shares`.
    head : {None, "crt", "tau_norm", "smote_head"}, default=None
        Strategy that replaces the last layer after training; see `skinmnist.models.cnn.heads`.
    points : int, default=30
        Number of points in the history, evenly spaced over the steps, with validation at each point.
    rate_patience, stop_patience : int or None, default=None
        Points without a lower validation loss after which the learning rate is halved, and after which
        training stops. Both require a validation set in `fit`. With `rate_patience`, the learning rate is
        constant between halvings instead of following its cycle.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        See `skinmnist.models.cnn.backend.choose_precision`.
    answer_precision : {None, "auto", "float32", "bfloat16"}, default=None
        The precision of predictions; None for that of training. Saved networks predict in float32 on every
        machine.
    views : int, default=8
        Number of symmetric views whose probabilities are averaged in prediction: 1, 2, 4 or 8 (at most 4 for
        pictures that are not square).
    random_state : int, default=0
        Random seed. The same seed, rows, machine and versions give the same weights, bit for bit.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    history_ : dict of str to list
        ``step``, and means since the previous point of ``loss``, ``accuracy`` (on the augmented training
        pictures) and ``learning_rate``; with a validation set, also ``validation_loss`` and
        ``validation_accuracy``.
    channel_statistics_ : ChannelStatistics
        Mean and standard deviation of each channel over the training rows.
    standardiser_ : Standardiser or None
        Means and spreads of the features over the training rows.
    precision_ : str
        Precision of the computations, ``"float32"`` or ``"bfloat16"``.
    weights_ : list of ndarray
        The weights of the networks in sequence, in the order of ``keras.Model.get_weights``.
    head_ : Head or None
        The last layer that replaces those of the networks.
    class_mix_ : ndarray of shape (n_classes,) or None
        The class mix to which the probabilities of `head_` refer.
    notes_ : tuple of str
        How `head_` was made.
    """

    shape: tuple[int, int, int]
    _: KW_ONLY
    steps: int = 700
    batch_size: int = 128
    channels: Sequence[int] = (32, 64, 96)
    pairs: Sequence[int] = (0, 1, 1)
    dropout: float = 0.3
    feature_layers: Sequence[int] = ()
    feature_share: float = 0.5
    coarse_share: float = 0.6
    kernel_rate: float | None = 0.1
    kernel_decay: float = 0.1
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    max_shift: int = 1
    colour_spread: float = 0.02
    balance: str | None = None
    loss: str = "cross_entropy"
    mixture: str | None = None
    head: str | None = None
    points: int = 30
    rate_patience: int | None = None
    stop_patience: int | None = None
    precision: str = "auto"
    answer_precision: str | None = None
    views: int = 8
    random_state: int = 0

    def fit(
        self,
        X: Array | MappedRows,
        y: Array,
        sample_weight: npt.NDArray[np.floating] | None = None,
        sample_indices: npt.NDArray[np.integer] | None = None,
        validation_data: tuple[Array, Array] | None = None,
        trunk: Trunk | None = None,
    ) -> CNNClassifier:
        """Train the network; raise FloatingPointError if the loss is not finite.

        `X` (n, height * width * channels) contains uint8 pixel rows, or floats between 0 and 255 (as made by
        SMOTE), which are rounded to uint8. Mapped rows are read batch by batch, unless there are
        `feature_layers`. Weights are scaled to mean 1, and rows with weight 0 are omitted. `sample_indices`
        are positions of training rows, with repetitions for rows that a sampler copies; they cannot be
        combined with weights. `validation_data` contains pixel rows and labels that are not used for
        training. The weights with the lowest loss on them are restored, and both patiences monitor that loss,
        in which each class is weighted as in training. Classifiers that differ only in their `head` train one
        network for the same rows if they receive the same `trunk`.
        """
        self._check_parameters()
        check_patience(self.rate_patience, self.stop_patience, validation_data)
        if self.head is not None and not (sample_weight is None and sample_indices is None):
            raise InputError(
                f"the network received the head {self.head!r} together with weights or sample indices; leave "
                "out one of them, because each changes the class mix"
            )
        pictures, y, weights = check_training_rows(
            np.asarray(X) if self.feature_layers else X, y, self.shape, sample_weight, sample_indices
        )
        positive = weights > 0
        if not positive.all():
            pictures, y, weights = pictures[positive], y[positive], weights[positive]
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"fit received rows of one class only, {self.classes_[0]!r}; give at least two")

        def train() -> dict[str, Any]:
            self._train_networks(pictures, codes, weights, sample_indices, validation_data)
            return {name: getattr(self, name) for name in _TRAINED}

        self._trunk: Trunk | None = trunk
        plain = self.get_params() | {"head": None}
        inputs = (plain, pictures, y, weights, sample_indices, *(validation_data or ()))
        for name, value in self._recall("networks", inputs, train).items():
            setattr(self, name, value)
        self.head_: Head | None = None
        self.class_mix_: npt.NDArray[np.float64] | None = None
        self.notes_: tuple[str, ...] = ()
        if self.head is not None:
            self._replace_head(pictures, codes)
        return self

    def _train_networks(
        self,
        pictures: Pictures,
        codes: npt.NDArray[np.integer],
        weights: npt.NDArray[np.float64],
        sample_indices: npt.NDArray[np.integer] | None,
        validation_data: tuple[Array, Array] | None,
    ) -> None:
        self.precision_ = choose_precision(self.precision)
        self.n_features_in_ = math.prod(self.shape)
        self.channel_statistics_ = ChannelStatistics.of(pictures)
        self.standardiser_, features = None, np.zeros((len(pictures), 0), dtype=np.float32)
        if self.feature_layers:
            features = extract_features(to_rows(np.asarray(pictures)), self.shape)
            self.standardiser_ = Standardiser().fit(features)
            features = self.standardiser_.transform(features)
        counts = np.bincount(codes, weights) if sample_indices is None else np.bincount(codes[sample_indices])
        config = TrainingConfig(**{field.name: getattr(self, field.name) for field in fields(TrainingConfig)})
        with borrow(self._architecture(self.precision_)) as compiled:
            self.history_, self.weights_ = compiled.train(
                config,
                self.channel_statistics_,
                Rows(pictures, features, codes),
                weights / weights.mean(),
                self.random_state,
                sample_indices,
                self._validation_set(validation_data, counts.astype(float)),
            )

    def _replace_head(self, pictures: Pictures, codes: npt.NDArray[np.integer]) -> None:
        rows = sample_rows(codes, self.random_state)
        _, embeddings = self._answers(pictures[rows], views=1)
        with borrow(self._architecture(self._prediction_precision())) as compiled:
            ensemble = compiled.load(self.channel_statistics_, self.weights_)
            head, parts = ensemble.head, ensemble.parts
        output = TrunkOutput(embeddings, codes[rows], np.bincount(codes), head, parts)
        made = make_head(str(self.head), output, self.random_state)
        self.head_, self.class_mix_, self.notes_ = made.head, made.class_mix, made.notes
        self.history_ = {}  # That of the networks is the history of the classifier without a new head.

    def _recall(self, what: str, inputs: Sequence[Any], compute: Callable[[], T]) -> T:
        return compute() if self._trunk is None else self._trunk.recall(what, inputs, compute)

    def predict_proba(self, X: Array) -> npt.NDArray[np.float64]:
        """Return the probability of each class, (n, n_classes), as the geometric mean over symmetric views.

        `X` is as in `fit`, but in memory. Rows sum to 1.
        """
        check_is_fitted(self, "weights_")
        logits, embeddings = self._answers(check_pictures(X, self.shape), self.used_views)
        logits = logits.astype(np.float64) if self.head_ is None else self.head_.logits(embeddings)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def _answers(self, pictures: Pictures, views: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the logits of the untouched head, and the embeddings; see `Ensemble.compile_answer`."""

        def compute() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
            found = []
            with borrow(self._architecture(self._prediction_precision())) as compiled:
                answer = compiled.load(self.channel_statistics_, self.weights_).compile_answer(views)
                for part in row_blocks(len(pictures), PREDICT_ROWS):
                    block = np.asarray(pictures[part])
                    found.append([each.numpy() for each in answer(block, self._features(block))])
            logits, embeddings = (np.concatenate(parts) for parts in zip(*found, strict=True))
            return logits, embeddings

        return self._recall("answers", (views, pictures), compute)

    def predict(self, X: Array) -> Array:
        """Return the most probable class of each row, shape (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    @property
    def used_views(self) -> int:
        """The number of symmetric views to average: at most 4 for non-square pictures."""
        return self.views if self.shape[0] == self.shape[1] else min(self.views, 4)

    def build_ensemble(self) -> Ensemble:
        """Rebuild the networks with the weights of `fit`, in the precision of predictions."""
        check_is_fitted(self, "weights_")
        architecture = self._architecture(self._prediction_precision())
        ensemble = architecture.build(self.channel_statistics_, self.random_state)
        ensemble.set_weights(self.weights_)
        if self.head_ is not None:
            ensemble.head = self.head_
        return ensemble

    def _prediction_precision(self) -> str:
        asked = self.answer_precision
        return self.precision_ if asked is None else choose_precision(asked)

    def _validation_set(
        self, data: tuple[Array, Array] | None, mix: npt.NDArray[np.float64]
    ) -> ValidationSet | None:
        """Weight the classes of validation rows to match the class mix of training."""
        if data is None:
            return None
        pictures, labels = check_pictures(data[0], self.shape), np.asarray(data[1])
        if labels.shape != (len(pictures),) or not np.isin(labels, self.classes_).all():
            raise InputError(
                f"fit received validation labels of shape {labels.shape} for {len(pictures)} rows; "
                "give one of the trained classes for each row"
            )
        codes = np.searchsorted(self.classes_, labels)
        counts = np.bincount(codes, minlength=len(mix)).clip(1)
        log_prior = np.log(mix / mix.sum()) if self.loss == "logit_adjusted" else np.zeros(len(mix))
        rows = Rows(pictures, self._features(pictures), codes)
        trained_mix = mix ** batch_exponent(self.balance) * loss_weights(self.loss, mix)
        return ValidationSet(rows, trained_mix / counts, log_prior)

    def _features(self, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the features for the second network, with zero columns if there is no second network."""
        if self.standardiser_ is None:
            return np.zeros((len(pictures), 0), dtype=np.float32)
        return self.standardiser_.transform(extract_features(to_rows(pictures), self.shape))

    def _architecture(self, precision: str) -> Architecture:
        height, width, channels = self.shape
        stages = tuple(self.channels), tuple(self.pairs), self.dropout
        n_features = 0 if self.standardiser_ is None else len(self.standardiser_.mean_)
        features = n_features, tuple(self.feature_layers), self.feature_share
        return Architecture((height, width, channels), len(self.classes_), *stages, precision, *features)

    def _check_parameters(self) -> None:
        if self.views not in (1, 2, 4, 8):
            raise InputError(f"the network received {self.views!r} views to average; choose 1, 2, 4 or 8")
        if self.mixture not in MIXTURES:
            raise InputError(
                f"the network received the mixture {self.mixture!r}; choose None, 'mixup' or 'remix'"
            )
        for name in ("steps", "batch_size", "points", "rate_patience", "stop_patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(
                    f"the network received {value!r} as {name}; give a whole number of at least 1"
                )


def check_pictures(rows: Array, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Return flat pixel rows, uint8 or other numbers between 0 and 255, as rounded uint8 pictures."""
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


def check_training_rows(
    rows: Array | MappedRows,
    labels: Array,
    shape: tuple[int, int, int],
    sample_weight: npt.NDArray[np.floating] | None,
    sample_indices: npt.NDArray[np.integer] | None,
) -> tuple[Pictures, Array, npt.NDArray[np.float64]]:
    """Return the pictures (mapped rows stay unread), labels and weights of the rows passed to ``fit``."""
    n, labels = len(rows), np.asarray(labels)
    pictures: Pictures
    if not isinstance(rows, MappedRows):
        pictures = check_pictures(rows, shape)
    elif rows.shape[1:] != (math.prod(shape),) or rows.dtype != np.uint8 or not n:
        raise InputError(
            f"the network received mapped rows of shape {rows.shape} and type {rows.dtype}; expected "
            f"(n, {math.prod(shape)}) of uint8, unscaled pixels, and at least one row"
        )
    else:
        pictures = rows.reshape(n, *shape)
    check_classification_targets(labels)
    if labels.shape != (n,):
        raise InputError(f"fit received labels of shape {labels.shape} for {n} rows; give one for each row")
    weights = np.ones(n) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise InputError(
            f"fit received sample weights of shape {weights.shape} for {n} rows; "
            "give one finite number of at least 0 for each row, not all of them 0"
        )
    if sample_indices is None:
        return pictures, labels, weights
    if (
        not len(sample_indices)
        or sample_weight is not None
        or not np.isin(sample_indices, np.arange(n)).all()
    ):
        raise InputError(
            f"fit received {len(sample_indices)} sample indices for {n} rows; give at least one position of "
            "these rows, and no weights beside them"
        )
    missed = np.setdiff1d(labels, labels[sample_indices])
    if len(missed):
        raise InputError(
            f"fit received sample indices without a row of class {missed[0]}; give at least one row of every "
            "class, or leave out the rows of that class"
        )
    return pictures, labels, weights


def check_patience(rate_patience: int | None, stop_patience: int | None, validation_data: object) -> None:
    """Raise an error if a patience is set without a validation set."""
    if validation_data is None and (rate_patience is not None or stop_patience is not None):
        raise InputError(
            "the network received a patience but no validation set; give fit validation_data=(rows, labels) "
            "of lesions that are not trained on, or set no patience"
        )
