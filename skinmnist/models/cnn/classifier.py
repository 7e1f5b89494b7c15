"""The convolutional network as a scikit-learn classifier on flat pixel rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skinmnist.datasets.mapped import MappedRows
from skinmnist.datasets.table import to_rows
from skinmnist.errors import InputError
from skinmnist.features.descriptors import describe
from skinmnist.features.transformer import Standardiser
from skinmnist.models.cnn.ensemble import ChannelStatistics, Ensemble, Rows
from skinmnist.models.cnn.monitoring import Watched
from skinmnist.models.cnn.precision import choose_precision
from skinmnist.models.cnn.programs import Design, borrow
from skinmnist.models.cnn.schedule import BALANCES
from skinmnist.models.cnn.training import Recipe, train_network
from skinmnist.models.cnn.validation import (
    check_labels,
    check_patience,
    check_pictures,
    check_sample_indices,
    check_settings,
    check_unread,
    check_validation,
    check_weights,
)

#: Rows per step when predicting, so that memory does not follow the size of the table.
PREDICT_ROWS = 256


class CNNClassifier(ClassifierMixin, BaseEstimator):
    """A small convolutional network, trained for at most a number of gradient steps on one CPU thread.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of a picture; rows have their product as length.
    steps : int, default=700
        Gradient steps. They do not depend on how many rows `fit` is given.
    batch_size : int, default=128
    channels : sequence of int, default=(32, 64, 96)
        Channels of each stage; each stage has half the resolution of the one before.
    pairs : sequence of int, default=(0, 1, 1)
        Residual pairs of convolutions of each stage.
    dropout : float, default=0.3
    describer : sequence of int, default=()
        Units of each hidden layer of a second network, which looks at the descriptors of
        `skinmnist.features.descriptors` and answers along with the first; none by default.
    describer_share : float, default=0.5
        Weight of its answer.
    coarse_share : float, default=0.6
        Share of the steps, from the first, in which the network sees pictures at half their resolution; left
        out for pictures too small for it.
    kernel_rate, kernel_decay : float, default=0.1 and 0.1
        Highest learning rate and weight decay of the kernels of convolutions, under Muon. A rate of None puts
        the kernels under Adam, too.
    learning_rate, weight_decay : float, default=4e-3 and 0.05
        The same of everything else, under Adam.
    label_smoothing : float, default=0.05
    max_shift : int, default=1
        Largest random shift in training, in pixels.
    colour_spread : float, default=0.02
        Standard deviation of the random gain and offset of each colour channel in training, in units of the
        channel's own standard deviation.
    balance : {None, "sqrt_batches", "balanced_batches"}, default=None
        Draw the classes of each batch by the square root of their frequencies, or with equal chances.
    loss : {"cross_entropy", "focal", "logit_adjusted"}, default="cross_entropy"
        See `skinmnist.models.cnn.objective.make_loss`.
    points : int, default=30
        Points of the history over a run; watched rows are checked at each.
    rate_patience, stop_patience : int or None, default=None
        Points without a lower loss on the watched rows after which the learning rate is halved, and after
        which the run ends. With either, `fit` must be given rows to watch. With a `rate_patience` the
        learning rate has no cycle of its own.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        See `skinmnist.models.cnn.precision.choose_precision`.
    answer_precision : {None, "auto", "float32", "bfloat16"}, default=None
        The same for answers; None: as in training. A network that is to be kept in a file answers in float32,
        as the file does on any machine.
    views : int, default=8
        Symmetric views whose probabilities are averaged in prediction: 1, 2, 4 or 8 (at most 4 where the
        picture is not square).
    random_state : int, default=0
        Same seed, rows, machine and versions: same weights, bit for bit.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    history_ : dict of str to list
        ``step``, ``loss``, ``accuracy`` and ``learning_rate`` over the run, as means since the point before;
        with watched rows also ``watched_loss`` and ``watched_accuracy``.
    standard_ : Standard
        Mean and standard deviation of each channel over the training rows.
    standardiser_ : Standardiser or None
        Means and spreads of the descriptors over the training rows.
    precision_ : str
        What the network computes with, ``"float32"`` or ``"bfloat16"``.
    weights_ : list of ndarray
        The networks' weights, one network after the other, in the order of ``keras.Model.get_weights``.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        steps: int = 700,
        batch_size: int = 128,
        channels: Sequence[int] = (32, 64, 96),
        pairs: Sequence[int] = (0, 1, 1),
        dropout: float = 0.3,
        feature_extractor: Sequence[int] = (),
        feature_share: float = 0.5,
        coarse_share: float = 0.6,
        kernel_rate: float | None = 0.1,
        kernel_decay: float = 0.1,
        learning_rate: float = 4e-3,
        weight_decay: float = 0.05,
        label_smoothing: float = 0.05,
        max_shift: int = 1,
        colour_spread: float = 0.02,
        balance: str | None = None,
        loss: str = "cross_entropy",
        points: int = 30,
        rate_patience: int | None = None,
        stop_patience: int | None = None,
        precision: str = "auto",
        answer_precision: str | None = None,
        views: int = 8,
        random_state: int = 0,
    ) -> None:
        self.shape = shape
        self.steps = steps
        self.batch_size = batch_size
        self.channels = channels
        self.pairs = pairs
        self.dropout = dropout
        self.feature_extractor = feature_extractor
        self.feature_share = feature_share
        self.coarse_share = coarse_share
        self.kernel_rate = kernel_rate
        self.kernel_decay = kernel_decay
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.max_shift = max_shift
        self.colour_spread = colour_spread
        self.balance = balance
        self.loss = loss
        self.points = points
        self.rate_patience = rate_patience
        self.stop_patience = stop_patience
        self.precision = precision
        self.answer_precision = answer_precision
        self.views = views
        self.random_state = random_state

    def fit(
        self,
        X: npt.NDArray[np.generic] | MappedRows,
        y: npt.NDArray[np.generic],
        sample_weight: npt.NDArray[np.floating] | None = None,
        sample_indices: npt.NDArray[np.integer] | None = None,
        watched: tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]] | None = None,
    ) -> CNNClassifier:
        """Train the network.

        Parameters
        ----------
        X : ndarray or MappedRows of shape (n, height * width * channels)
            uint8 pixel rows, or floats between 0 and 255 (as SMOTE makes them), which are rounded to uint8.
            Mapped rows are read batch by batch, unless a `feature_extractor` looks at them, too.
        y : ndarray of shape (n,)
            Class labels.
        sample_weight : ndarray of shape (n,), optional
            Weights of the rows in the loss; they are scaled to mean 1. Rows of weight 0 are left out.
        drawn : ndarray of int, optional
            Positions of the rows to train on, repeated where a sampler copies rows; all of them once by
            default. Not together with weights.
        watched : tuple of ndarray, optional
            Pixel rows and labels that are not trained on: the weights that did best on them are kept, and
            `rate_patience` and `stop_patience` go by their loss, each class weighted as in training.

        Raises
        ------
        InputError
            Where rows, labels, weights or positions do not fit each other, the rows are no pixels, or a
            parameter is none of those it can be.
        FloatingPointError
            Where the loss is no longer finite.
        """
        check_settings(self.get_params(deep=False))
        check_patience(self.rate_patience, self.stop_patience, watched is not None)
        pictures = check_unread(np.asarray(X) if self.feature_extractor else X, self.shape)
        y = check_labels(y, len(pictures))
        weights = check_weights(sample_weight, len(y))
        if sample_indices is not None:
            check_sample_indices(sample_indices, y, sample_weight)
        kept = weights > 0
        if not kept.all():
            pictures, y, weights = pictures[kept], y[kept], weights[kept]
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"fit received rows of one class only, {self.classes_[0]!r}; give at least two")
        self.precision_ = choose_precision(self.precision)
        self.n_features_in_ = int(np.prod(self.shape))
        self.standard_ = ChannelStatistics.of(pictures)
        self.standardiser_, numbers = None, np.zeros((len(pictures), 0), dtype=np.float32)
        if self.feature_extractor:
            described = describe(to_rows(np.asarray(pictures)), self.shape)
            self.standardiser_ = Standardiser().fit(described)
            numbers = self.standardiser_.transform(described)
        rows = Rows(pictures, numbers, codes)
        counts = np.bincount(codes, weights) if sample_indices is None else np.bincount(codes[sample_indices])
        seen = self._watched(watched, counts.astype(float))
        recipe = Recipe(**{field.name: getattr(self, field.name) for field in fields(Recipe)})
        with borrow(self._design(self.precision_)) as program:
            members = program.start(self.standard_, self.random_state)
            trainer = program.trainer(
                recipe, np.bincount(codes if sample_indices is None else codes[sample_indices])
            )
            self.history_ = train_network(
                trainer, rows, weights / weights.mean(), recipe, self.random_state, sample_indices, seen
            )
            self.weights_ = members.get_weights()
        return self

    def predict_proba(self, X: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        """Probability of each class, averaged over the symmetric views of each picture.

        The views' log-probabilities are averaged, that is, the probabilities geometrically.

        Parameters
        ----------
        X : ndarray of shape (n, height * width * channels)
            As for `fit`, and in memory.

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Rows sum to one.
        """
        check_is_fitted(self, "weights_")
        pictures = check_pictures(X, self.shape)
        logits = np.empty((len(pictures), len(self.classes_)))
        with borrow(self._design(self._answers_in())) as program:
            answer = program.load(self.standard_, self.weights_).compile_answer(self.used_views)
            for start in range(0, len(pictures), PREDICT_ROWS):
                batch = pictures[start : start + PREDICT_ROWS]
                logits[start : start + PREDICT_ROWS] = answer(batch, self._numbers(batch)).numpy()
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def predict(self, X: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Most probable class of each row, shape (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    @property
    def used_views(self) -> int:
        """How many symmetric views are averaged: an oblong picture has no more than 4."""
        return self.views if self.shape[0] == self.shape[1] else min(self.views, 4)

    def trained_members(self) -> Ensemble:
        """Build the networks again, with the weights that `fit` has found, as answers are computed."""
        check_is_fitted(self, "weights_")
        members = self._design(self._answers_in()).build(self.standard_, self.random_state)
        members.set_weights(self.weights_)
        return members

    def _answers_in(self) -> str:
        """Return the precision that answers are computed in."""
        asked = self.answer_precision
        return self.precision_ if asked is None else choose_precision(asked)

    def _watched(
        self,
        watched: tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]] | None,
        mix: npt.NDArray[np.float64],
    ) -> Watched | None:
        """Weigh the classes of watched rows by the mix of rows that is trained for."""
        if watched is None:
            return None
        pictures, codes = check_validation(*watched, self.shape, self.classes_)
        wanted = mix ** BALANCES[self.balance]
        found = np.bincount(codes, minlength=len(mix)).clip(1)
        log_prior = np.log(mix / mix.sum()) if self.loss == "logit_adjusted" else np.zeros(len(mix))
        return Watched(Rows(pictures, self._numbers(pictures), codes), wanted / found, log_prior)

    def _numbers(self, pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return what the second network looks at, of no columns where there is none."""
        if self.standardiser_ is None:
            return np.zeros((len(pictures), 0), dtype=np.float32)
        return self.standardiser_.transform(describe(to_rows(pictures), self.shape))

    def _design(self, precision: str) -> Design:
        return Design(
            shape=(self.shape[0], self.shape[1], self.shape[2]),
            n_classes=len(self.classes_),
            channels=tuple(self.channels),
            pairs=tuple(self.pairs),
            dropout=self.dropout,
            precision=precision,
            n_features=0 if self.standardiser_ is None else len(self.standardiser_.mean_),
            hidden=tuple(self.feature_extractor),
            share=self.feature_share,
        )
