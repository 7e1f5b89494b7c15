"""Blueprints turned into Keras models, with Keras' own layers, every draw seeded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skinmnist.errors import InputError
from skinmnist.models.blueprints import Augmentation, Blueprint, Layer
from skinmnist.models.cnn.backend import keras, tf


def build_stack(
    blueprint: Blueprint, shape: tuple[int, int, int], n_classes: int, seed: int = 0
) -> keras.Sequential:
    """Build an untrained network from pictures in [0, 1] to class probabilities.

    Parameters
    ----------
    blueprint : Blueprint
    shape : tuple of int
        ``(height, width, channels)``.
    n_classes : int
    seed : int
        Seeds weights and dropout.

    Raises
    ------
    InputError
        Where the picture is too small for the layers.
    """
    seeds = _seeds(seed)
    model = keras.Sequential([keras.Input(shape, name="pictures")])
    try:
        for number, layer in enumerate(blueprint.layers, start=1):
            model.add(_LAYERS[layer.kind](layer, f"{number:02d}_{layer.kind}", seeds))
        model.add(_dense(n_classes, "softmax", "classes", seeds))
    except ValueError:
        height, width, _ = shape
        raise InputError(
            f"the network's layers received pictures of {height} x {width} pixels, too small for them; "
            "give larger pictures or fewer layers"
        ) from None
    return model


def build_augmentation(
    augmentation: Augmentation, shape: tuple[int, int, int], seed: int = 0
) -> keras.Sequential:
    """Build what changes pictures in [0, 1] at random, from Keras' own layers.

    What a turn or a shift uncovers is filled with the nearest pixel.

    Parameters
    ----------
    augmentation : Augmentation
    shape : tuple of int
    seed : int
    """
    seeds = _seeds(seed)
    layers = keras.layers
    stack: list[keras.Layer] = [keras.Input(shape), layers.Identity()]
    if augmentation.flip:
        stack.append(layers.RandomFlip(augmentation.flip, seed=next(seeds)))
    if augmentation.rotation:
        stack.append(
            layers.RandomRotation(augmentation.rotation / 360, fill_mode="nearest", seed=next(seeds))
        )
    if augmentation.zoom:
        stack.append(layers.RandomZoom(augmentation.zoom, fill_mode="nearest", seed=next(seeds)))
    if augmentation.shift:
        stack.append(
            layers.RandomTranslation(
                augmentation.shift, augmentation.shift, fill_mode="nearest", seed=next(seeds)
            )
        )
    if augmentation.shear:
        stack.append(
            layers.RandomShear(augmentation.shear, augmentation.shear, fill_mode="nearest", seed=next(seeds))
        )
    if augmentation.brightness:
        stack.append(
            layers.RandomBrightness(augmentation.brightness, value_range=(0.0, 1.0), seed=next(seeds))
        )
    return keras.Sequential(stack)


def show_augmented(
    pictures: np.ndarray, augmentation: Augmentation, versions: int, seed: int = 0
) -> np.ndarray:
    """Change pictures at random, several times each.

    Parameters
    ----------
    pictures : ndarray of shape (n, height, width, channels), uint8
    augmentation : Augmentation
    versions : int
    seed : int

    Returns
    -------
    ndarray of shape (n, versions, height, width, channels), uint8
    """
    change = build_augmentation(augmentation, pictures.shape[1:], seed)
    inputs = tf.constant(pictures, tf.float32) / 255.0
    changed = [np.asarray(change(inputs, training=True)) for _ in range(versions)]
    return np.rint(np.clip(np.stack(changed, axis=1), 0, 1) * 255).astype(np.uint8)


def _seeds(seed: int) -> Iterator[int]:
    random_state = np.random.default_rng(seed)
    while True:
        yield int(random_state.integers(2**31))


def _dense(units: int, activation: str, name: str, seeds: Iterator[int]) -> keras.Layer:
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    return keras.layers.Dense(units, activation=activation, kernel_initializer=initializer, name=name)


def _convolution(layer: Layer, name: str, seeds: Iterator[int]) -> keras.Layer:
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    return keras.layers.Conv2D(
        int(layer.value),
        layer.kernel,
        padding=layer.padding,
        activation="relu",
        kernel_initializer=initializer,
        name=name,
    )


_LAYERS = {
    "convolution": _convolution,
    "max_pool": lambda layer, name, seeds: keras.layers.MaxPooling2D(int(layer.value), name=name),
    "batch_norm": lambda layer, name, seeds: keras.layers.BatchNormalization(name=name),
    "dropout": lambda layer, name, seeds: keras.layers.Dropout(layer.value, seed=next(seeds), name=name),
    "flatten": lambda layer, name, seeds: keras.layers.Flatten(name=name),
    "dense": lambda layer, name, seeds: _dense(int(layer.value), "relu", name, seeds),
}
