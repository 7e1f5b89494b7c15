"""Networks as others published them: a stack of Keras layers, trained by Keras' own ``fit``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skinmnist.models.blueprints import Augmentation, Blueprint, Training
from skinmnist.models.cnn.backend import keras, tf
from skinmnist.models.cnn.blueprint_layers import build_augmentation, build_stack
from skinmnist.models.cnn.validation import (
    check_labels,
    check_patience,
    check_pictures,
    check_sample_indices,
    check_weights,
)

PREDICT_ROWS = 256


class PublishedNetwork(ClassifierMixin, BaseEstimator):
    """A network of a preset: pixels to [0, 1], augmentation in the graph, Adam, Keras' callbacks.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of a picture.
    blueprint : Blueprint
    training : Training
    augmentation : Augmentation or None
    random_state : int
        Same seed, rows, machine and versions: same weights.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    history_ : dict of str to list
        ``step`` and, after each epoch, ``loss`` and ``accuracy``; of watched rows ``watched_loss`` and
        ``watched_accuracy``.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        blueprint: Blueprint,
        training: Training = Training(),  # noqa: B008  Frozen, and scikit-learn's `clone` needs it as it is.
        augmentation: Augmentation | None = None,
        random_state: int = 0,
    ) -> None:
        self.shape = shape
        self.blueprint = blueprint
        self.training = training
        self.augmentation = augmentation
        self.random_state = random_state

    def fit(
        self,
        X: npt.NDArray[np.generic],
        y: npt.NDArray[np.generic],
        sample_weight: npt.NDArray[np.floating] | None = None,
        sample_indices: npt.NDArray[np.integer] | None = None,
        watched: tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]] | None = None,
    ) -> PublishedNetwork:
        """Train the network.

        Parameters
        ----------
        X : ndarray of shape (n, height * width * channels)
            uint8 pixel rows, or floats between 0 and 255, which are rounded.
        y : ndarray of shape (n,)
        sample_weight : ndarray of shape (n,), optional
        drawn : ndarray of int, optional
            Positions of the rows to train on, repeated where a sampler copies rows.
        watched : tuple of ndarray, optional
            Pixel rows and labels that the callbacks watch.

        Raises
        ------
        InputError
            Where rows, labels or weights do not fit each other, or rows to watch are missing.
        FloatingPointError
            Where the loss is no longer finite.
        """
        pictures = check_pictures(X, self.shape)
        y = check_labels(y, len(pictures))
        weights = check_weights(sample_weight, len(y))
        if sample_indices is not None:
            check_sample_indices(sample_indices, y, sample_weight)
        check_patience(self.training.rate_patience, self.training.stop_patience, watched is not None)
        self.classes_, codes = np.unique(y, return_inverse=True)
        order = np.arange(len(codes)) if sample_indices is None else np.asarray(sample_indices)
        self.model_ = build_stack(self.blueprint, self.shape, len(self.classes_), self.random_state)
        trained = self._with_augmentation(self.model_)
        trained.compile(
            keras.optimizers.Adam(self.training.learning_rate),
            "sparse_categorical_crossentropy",
            weighted_metrics=["accuracy"],
        )
        batches = _Batches(
            pictures, codes, weights / weights.mean(), order, self.training.batch_size, self.random_state
        )
        found = trained.fit(
            batches,
            epochs=self.training.epochs,
            shuffle=False,  # The batches shuffle themselves, from a seed of their own.
            verbose=0,
            validation_data=self._validation(watched),
            validation_batch_size=PREDICT_ROWS,
            callbacks=self._callbacks() if watched is not None else [],
        ).history
        if not np.isfinite(found["loss"][-1]):
            raise FloatingPointError(f"the loss is {found['loss'][-1]}; lower the learning rate")
        steps = [len(batches) * (epoch + 1) for epoch in range(len(found["loss"]))]
        self.history_: dict[str, list[float]] = {"step": [float(step) for step in steps]}
        names = {
            "loss": "loss",
            "accuracy": "accuracy",
            "val_loss": "watched_loss",
            "val_accuracy": "watched_accuracy",
        }
        self.history_ |= {new: [float(v) for v in found[old]] for old, new in names.items() if old in found}
        return self

    def predict_proba(self, X: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        """Probability of each class, float64 of shape (n, n_classes), rows summing to one."""
        check_is_fitted(self, "model_")
        pictures = check_pictures(X, self.shape)
        parts = [
            np.asarray(
                self.model_(_scaled(pictures[start : start + PREDICT_ROWS]), training=False), np.float64
            )
            for start in range(0, len(pictures), PREDICT_ROWS)
        ]
        found = np.concatenate(parts)
        return found / found.sum(axis=1, keepdims=True)

    def predict(self, X: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Most probable class of each row, shape (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _with_augmentation(self, model: keras.Sequential) -> keras.Model:
        """Put scaling, and the changes of training, before the network; its weights are shared."""
        pictures = keras.Input(self.shape, dtype="uint8")
        is_copy = keras.Input((1,))
        scaled = keras.layers.Rescaling(1 / 255)(pictures)
        if self.augmentation is not None:
            changed = build_augmentation(self.augmentation, self.shape, self.random_state)(scaled)
            if self.augmentation.copies_only:
                chosen = keras.layers.Reshape((1, 1, 1))(is_copy)
                scaled = scaled + chosen * (changed - scaled)
            else:
                scaled = changed
        return keras.Model([pictures, is_copy], model(scaled))

    def _validation(self, watched: Any) -> Any:
        if watched is None:
            return None
        pictures, labels = check_pictures(watched[0], self.shape), np.asarray(watched[1])
        codes = np.searchsorted(self.classes_, labels)
        return (pictures, np.zeros((len(codes), 1), np.float32)), codes

    def _callbacks(self) -> list[keras.callbacks.Callback]:
        training = self.training
        monitor = f"val_{training.monitor}"
        mode = "max" if training.monitor == "accuracy" else "min"
        found: list[keras.callbacks.Callback] = []
        if training.rate_patience is not None:
            found.append(
                keras.callbacks.ReduceLROnPlateau(
                    monitor, training.rate_factor, training.rate_patience, mode=mode
                )
            )
        if training.stop_patience is not None:
            found.append(
                keras.callbacks.EarlyStopping(
                    monitor, patience=training.stop_patience, mode=mode, restore_best_weights=True
                )
            )
        return found


class _Batches(keras.utils.PyDataset):
    """One shuffled pass over the drawn rows an epoch; a picture's second and further draws are copies."""

    def __init__(
        self,
        pictures: npt.NDArray[np.uint8],
        codes: npt.NDArray[np.integer],
        weights: npt.NDArray[np.float64],
        sample_indices: npt.NDArray[np.integer],
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._pictures, self._codes, self._weights = pictures, codes, weights
        self._batch_size, self._drawn = batch_size, sample_indices
        self._is_copy = np.ones(len(sample_indices), np.float32)
        self._is_copy[np.unique(sample_indices, return_index=True)[1]] = 0.0
        self._random_state = np.random.default_rng(seed)
        self._order = self._random_state.permutation(len(sample_indices))

    def __len__(self) -> int:
        return -(-len(self._drawn) // self._batch_size)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        places = self._order[number * self._batch_size : (number + 1) * self._batch_size]
        rows = self._drawn[places]
        return (self._pictures[rows], self._is_copy[places, None]), self._codes[rows], self._weights[rows]

    def on_epoch_end(self) -> None:
        """Shuffle for the next pass."""
        self._order = self._random_state.permutation(len(self._drawn))


def _scaled(pictures: npt.NDArray[np.uint8]) -> tf.Tensor:
    return tf.constant(pictures, tf.float32) / 255.0
