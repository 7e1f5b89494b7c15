"""Pictures changed at random in ways that leave the diagnosis alone, as part of the training graph.

Turning, mirroring and shifting a picture only moves pixels, so all three are one gathering of uint8 pixels by
computed positions; the colours are changed after that, on floats. Every draw is made from (seed, step) alone.
"""

from __future__ import annotations

import numpy as np

from skinmnist.models.cnn.backend import tf


def symmetric_view(pictures: tf.Tensor, view: int) -> tf.Tensor:
    """Return one of the 8 symmetric views of square pictures (n, h, w, c), or of the 4 of oblong ones.

    View 0 is the picture itself; bit 0 mirrors left and right, bit 1 up and down, bit 2 swaps rows with
    columns.
    """
    if view & 1:
        pictures = tf.reverse(pictures, [2])
    if view & 2:
        pictures = tf.reverse(pictures, [1])
    return tf.transpose(pictures, [0, 2, 1, 3]) if view & 4 else pictures


def move_pixels(pictures: tf.Tensor, seed: tf.Tensor, max_shift: int) -> tf.Tensor:
    """Mirror, turn and shift each picture at random; oblong ones are never turned by a quarter.

    The int32 seed of shape (2,) decides every draw. What a shift uncovers is filled by reflection.
    """
    n = tf.shape(pictures)[0]
    height, width, channels = pictures.shape[1:]
    draws = tf.random.experimental.stateless_split(seed, 2)
    flags = tf.random.stateless_uniform((3, n, 1), draws[0], 0, 2, tf.int32)
    shifts = tf.random.stateless_uniform((2, n, 1), draws[1], -max_shift, max_shift + 1, tf.int32)

    def positions(length: int, shift: tf.Tensor, mirrored: tf.Tensor) -> tf.Tensor:
        """Where each pixel along one axis comes from, shape (n, length)."""
        along = tf.range(length) + tf.clip_by_value(shift, 1 - length, length - 1)
        along = tf.where(along < 0, -along, along)
        along = tf.where(along >= length, 2 * (length - 1) - along, along)
        return tf.where(mirrored == 1, length - 1 - along, along)

    y = positions(height, shifts[0], flags[0])[:, :, None]
    x = positions(width, shifts[1], flags[1])[:, None, :]
    source = y * width + x
    if height == width:
        source = tf.where(flags[2][:, :, None] == 1, x * width + y, source)
    flat = tf.reshape(pictures, (n, height * width, channels))
    moved = tf.gather(flat, tf.reshape(source, (n, height * width)), batch_dims=1)
    return tf.reshape(moved, (n, height, width, channels))


def change_colours(pictures: tf.Tensor, seed: tf.Tensor, spread: float) -> tf.Tensor:
    """Multiply and offset each channel of each standardised picture at random, as another camera would.

    `spread` is the standard deviation of the gain around 1 and of the offset around 0.
    """
    shape = (2, tf.shape(pictures)[0], 1, 1, pictures.shape[-1])
    gain, offset = tf.unstack(tf.random.stateless_normal(shape, seed, 0.0, spread))
    return pictures * _every_pixel(1.0 + gain, pictures) + _every_pixel(offset, pictures)


def _every_pixel(values: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
    """Write a number for each picture and channel, ``(n, 1, 1, channels)``, at every pixel of the pictures.

    TensorFlow is slow to broadcast along an axis as short as the channels. A product with ones and zeros
    writes the very same numbers in a tenth of the time.
    """
    height, width, channels = pictures.shape[1:]
    copies = np.tile(np.eye(channels, dtype=np.float32), height * width)
    written = tf.matmul(tf.reshape(values, (-1, channels)), copies)
    return tf.reshape(written, (-1, *pictures.shape[1:]))
