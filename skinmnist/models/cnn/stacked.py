"""Published networks: a stack of Keras layers, trained with Keras's ``fit``, fully seeded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skinmnist.datasets.mapped import row_blocks
from skinmnist.errors import InputError
from skinmnist.models.blueprints import Augmentation, Blueprint, Layer, Training
from skinmnist.models.cnn.backend import keras, tf
from skinmnist.models.cnn.classifier import (
    PREDICT_ROWS,
    Array,
    check_patience,
    check_pictures,
    check_training_rows,
)


@dataclass(eq=False, repr=False)
class PublishedNetwork(ClassifierMixin, BaseEstimator):
    """A preset's network: pixels in [0, 1], augmentation inside the graph, Adam, Keras callbacks.

    The same seed, rows, machine and versions give the same weights. After `fit`, ``history_`` contains
    ``step`` and, for each epoch, ``loss`` and ``accuracy``; with a validation set, also ``validation_loss``
    and ``validation_accuracy``.
    """

    shape: tuple[int, int, int]
    blueprint: Blueprint
    training: Training = Training()  # noqa: RUF009  Frozen, and `clone` of scikit-learn needs the instance.
    augmentation: Augmentation | None = None
    random_state: int = 0

    def fit(
        self,
        X: Array,
        y: Array,
        sample_weight: npt.NDArray[np.floating] | None = None,
        sample_indices: npt.NDArray[np.integer] | None = None,
        validation_data: tuple[Array, Array] | None = None,
    ) -> PublishedNetwork:
        """Train the network; see `skinmnist.models.cnn.classifier.CNNClassifier.fit`.

        The callbacks monitor the validation data.
        """
        training = self.training
        pictures, y, weights = check_training_rows(
            np.asarray(X), y, self.shape, sample_weight, sample_indices
        )
        check_patience(training.rate_patience, training.stop_patience, validation_data)
        self.classes_, codes = np.unique(y, return_inverse=True)
        indices = np.arange(len(codes)) if sample_indices is None else np.asarray(sample_indices)
        self.model_ = build_stack(self.blueprint, self.shape, len(self.classes_), self.random_state)
        trained = self._with_augmentation(self.model_)
        trained.compile(
            keras.optimizers.Adam(training.learning_rate),
            "sparse_categorical_crossentropy",
            weighted_metrics=["accuracy"],
        )
        batches = _Batches(
            np.asarray(pictures),
            codes,
            weights / weights.mean(),
            indices,
            training.batch_size,
            self.random_state,
        )
        history = trained.fit(
            batches,
            epochs=training.epochs,
            shuffle=False,  # The batches do their own shuffling, with their own seed.
            verbose=0,
            validation_data=self._validation_set(validation_data),
            validation_batch_size=PREDICT_ROWS,
            callbacks=_callbacks(training) if validation_data is not None else [],
        ).history
        if not np.isfinite(history["loss"][-1]):
            raise FloatingPointError(f"the loss is {history['loss'][-1]}; lower the learning rate")
        self.history_: dict[str, list[float]] = {
            "step": [float(len(batches) * epoch) for epoch in range(1, len(history["loss"]) + 1)]
        }
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            if name in history:
                self.history_[name.replace("val_", "validation_")] = [float(value) for value in history[name]]
        return self

    def predict_proba(self, X: Array) -> npt.NDArray[np.float64]:
        """Return the probability of each class, float64 of shape (n, n_classes); rows sum to 1."""
        check_is_fitted(self, "model_")
        pictures = check_pictures(X, self.shape)
        parts = [
            np.asarray(self.model_(_scale(pictures[part]), training=False), np.float64)
            for part in row_blocks(len(pictures), PREDICT_ROWS)
        ]
        probabilities = np.concatenate(parts)
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def predict(self, X: Array) -> Array:
        """Return the most probable class of each row, shape (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _with_augmentation(self, model: keras.Sequential) -> keras.Model:
        """Add scaling and augmentation before the network, sharing its weights."""
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

    def _validation_set(self, data: tuple[Array, Array] | None) -> Any:
        if data is None:
            return None
        codes = np.searchsorted(self.classes_, np.asarray(data[1]))
        return (check_pictures(data[0], self.shape), np.zeros((len(codes), 1), np.float32)), codes


def _callbacks(training: Training) -> list[keras.callbacks.Callback]:
    monitor = f"val_{training.monitor}"
    mode = "max" if training.monitor == "accuracy" else "min"
    callbacks: list[keras.callbacks.Callback] = []
    if training.rate_patience is not None:
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor, training.rate_factor, training.rate_patience, mode=mode
            )
        )
    if training.stop_patience is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor, patience=training.stop_patience, mode=mode, restore_best_weights=True
            )
        )
    return callbacks


class _Batches(keras.utils.PyDataset):
    """One shuffled pass over the sample indices per epoch; repeated indices are copies."""

    def __init__(
        self,
        pictures: npt.NDArray[np.uint8],
        codes: npt.NDArray[np.integer],
        weights: npt.NDArray[np.float64],
        indices: npt.NDArray[np.integer],
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._pictures, self._codes, self._weights = pictures, codes, weights
        self._batch_size, self._indices = batch_size, indices
        self._is_copy = np.ones(len(indices), np.float32)
        self._is_copy[np.unique(indices, return_index=True)[1]] = 0.0
        self._random_state = np.random.default_rng(seed)
        self._order = self._random_state.permutation(len(indices))

    def __len__(self) -> int:
        return -(-len(self._indices) // self._batch_size)

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        places = self._order[number * self._batch_size : (number + 1) * self._batch_size]
        rows = self._indices[places]
        return (self._pictures[rows], self._is_copy[places, None]), self._codes[rows], self._weights[rows]

    def on_epoch_end(self) -> None:
        """Shuffle for the next pass."""
        self._order = self._random_state.permutation(len(self._indices))


def build_stack(
    blueprint: Blueprint, shape: tuple[int, int, int], n_classes: int, seed: int = 0
) -> keras.Sequential:
    """Build an untrained network from pictures in [0, 1] to class probabilities."""
    seeds = _seeds(seed)
    model = keras.Sequential([keras.Input(shape, name="pictures")])
    try:
        for number, layer in enumerate(blueprint.layers, start=1):
            model.add(_build_layer(layer, f"{number:02d}_{layer.kind}", seeds))
        model.add(_build_layer(Layer("dense", n_classes), "classes", seeds, "softmax"))
    except ValueError:
        height, width, _ = shape
        raise InputError(
            f"the network's layers received pictures of {height} x {width} pixels, too small for them; "
            "give larger pictures or fewer layers"
        ) from None
    return model


def _build_layer(layer: Layer, name: str, seeds: Iterator[int], activation: str = "relu") -> keras.Layer:
    layers = keras.layers
    if layer.kind in ("convolution", "dense"):
        initializer = keras.initializers.GlorotUniform(seed=next(seeds))
        options = {"activation": activation, "kernel_initializer": initializer, "name": name}
        if layer.kind == "dense":
            return layers.Dense(int(layer.value), **options)
        return layers.Conv2D(int(layer.value), layer.kernel, padding=layer.padding, **options)
    if layer.kind == "max_pool":
        return layers.MaxPooling2D(int(layer.value), name=name)
    if layer.kind == "dropout":
        return layers.Dropout(layer.value, seed=next(seeds), name=name)
    return {"batch_norm": layers.BatchNormalization, "flatten": layers.Flatten}[layer.kind](name=name)


def build_augmentation(
    augmentation: Augmentation, shape: tuple[int, int, int], seed: int = 0
) -> keras.Sequential:
    """Build the random augmentation of pictures in [0, 1]; the nearest pixel fills uncovered areas."""
    seeds, layers, nearest = _seeds(seed), keras.layers, {"fill_mode": "nearest"}
    changes: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
        (layers.RandomFlip, (augmentation.flip,), {}),
        (layers.RandomRotation, (augmentation.rotation / 360,), nearest),
        (layers.RandomZoom, (augmentation.zoom,), nearest),
        (layers.RandomTranslation, (augmentation.shift, augmentation.shift), nearest),
        (layers.RandomShear, (augmentation.shear, augmentation.shear), nearest),
        (layers.RandomBrightness, (augmentation.brightness,), {"value_range": (0.0, 1.0)}),
    ]
    stack = [make(*sizes, seed=next(seeds), **options) for make, sizes, options in changes if any(sizes)]
    return keras.Sequential([keras.Input(shape), layers.Identity(), *stack])


def show_augmented(
    pictures: npt.NDArray[np.uint8], augmentation: Augmentation, versions: int, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Augment uint8 pictures (n, h, w, c) at random; return (n, versions, h, w, c)."""
    change = build_augmentation(augmentation, pictures.shape[1:], seed)
    inputs = _scale(pictures)
    changed = [np.asarray(change(inputs, training=True)) for _ in range(versions)]
    return np.rint(np.clip(np.stack(changed, axis=1), 0, 1) * 255).astype(np.uint8)


def _seeds(seed: int) -> Iterator[int]:
    random_state = np.random.default_rng(seed)
    while True:
        yield int(random_state.integers(2**31))


def _scale(pictures: npt.NDArray[np.uint8]) -> tf.Tensor:
    return tf.constant(pictures, tf.float32) / 255.0
