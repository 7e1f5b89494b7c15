"""Who answers for a picture: a network that looks at its pixels, and another that looks at its descriptors.

Both see the same rows at every step, each with a loss of its own, and both answer; their answers are
averaged. They err on different pictures, which is what makes the average better than either (Hansen &
Salamon, "Neural network ensembles", 1990).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.mapped import MappedRows
from skinmnist.models.cnn.augmentation import symmetric_view
from skinmnist.models.cnn.backend import keras, tf
from skinmnist.models.cnn.network import block_side, pad_to_blocks

#: Pictures that are measured at a time.
MEASURED_ROWS = 256


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel over the training pictures.

    Attributes
    ----------
    centre, spread : ndarray of shape (channels,), float32
    """

    centre: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]

    @classmethod
    def of(cls, pictures: npt.NDArray[np.uint8] | MappedRows) -> ChannelStatistics:
        """Measure pictures ``(n, height, width, channels)``.

        Sums of whole numbers have no rounding, and need no picture as floats: those would take eight times
        the memory of the pictures.
        """
        height, width, channels = pictures.shape[1:]
        sums = np.zeros((2, height, width, channels), dtype=np.int64)
        for start in range(0, len(pictures), MEASURED_ROWS):
            block = np.asarray(pictures[start : start + MEASURED_ROWS])
            sums[0] += block.sum(axis=0, dtype=np.uint32)
            sums[1] += np.square(block, dtype=np.uint16).sum(axis=0, dtype=np.uint32)
        count = len(pictures) * height * width
        centre, square = sums.sum(axis=(1, 2)) / count
        spread = np.sqrt(np.maximum(square - centre**2, 1.0))
        return cls(centre.astype(np.float32), spread.astype(np.float32))


@dataclass(frozen=True)
class Rows:
    """Rows as the experts take them.

    Attributes
    ----------
    pictures : ndarray or MappedRows of shape (n, height, width, channels), uint8
    numbers : ndarray of shape (n, d), float32
        Standardised descriptors; d is 0 where nobody looks at them.
    codes : ndarray of shape (n,)
        Class codes 0..k-1.
    """

    pictures: npt.NDArray[np.uint8] | MappedRows
    numbers: npt.NDArray[np.float32]
    codes: npt.NDArray[np.integer]


class Ensemble:
    """The networks of one classifier.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of a picture.
    standard : Standard
    pixels : keras.Model
        Standardised pictures to logits.
    numbers : keras.Model or None
        Standardised descriptors to logits.
    share : float
        Weight of the second network's answer, between 0 and 1.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        standard: ChannelStatistics,
        pixels: keras.Model,
        numbers: keras.Model | None = None,
        share: float = 0.5,
    ) -> None:
        self.shape = shape
        # Variables, so that graphs traced with them serve other training rows as well.
        self._centre, self._spread = tf.Variable(standard.centre), tf.Variable(standard.spread)
        self.networks = [pixels] if numbers is None else [pixels, numbers]
        self.n_features = 0 if numbers is None else numbers.input_shape[-1]
        self.shares = [1.0] if numbers is None else [1.0 - share, share]
        self._answers: dict[int, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {}

    @property
    def standard(self) -> ChannelStatistics:
        """Mean and standard deviation of each channel that pictures are standardised by."""
        return ChannelStatistics(self._centre.numpy(), self._spread.numpy())

    @standard.setter
    def standard(self, standard: ChannelStatistics) -> None:
        self._centre.assign(standard.centre)
        self._spread.assign(standard.spread)

    def standardise(self, pictures: tf.Tensor) -> tf.Tensor:
        """Turn uint8 pictures into floats of zero mean and unit spread."""
        return (tf.cast(pictures, tf.float32) - self._centre) * tf.math.reciprocal(self._spread)

    def become(self, other: Ensemble) -> None:
        """Take over the state of networks of the same design: weights, and what dropout draws from."""
        self.standard = other.standard
        for own, others in zip(self.networks, other.networks, strict=True):
            for variable, value in zip(own.variables, others.variables, strict=True):
                variable.assign(value)

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The trainable variables of all networks."""
        return [variable for network in self.networks for variable in network.trainable_variables]

    def get_weights(self) -> list[npt.NDArray[np.float32]]:
        """Return the weights of all networks."""
        return [weights for network in self.networks for weights in network.get_weights()]

    def set_weights(self, weights: Sequence[npt.NDArray[np.float32]]) -> None:
        """Take over weights that `get_weights` returned."""
        left = list(weights)
        for network in self.networks:
            count = len(network.weights)
            network.set_weights(left[:count])
            left = left[count:]

    def logits(self, inputs: tf.Tensor, numbers: tf.Tensor, training: bool) -> list[tf.Tensor]:
        """Return the logits of each network for standardised pictures and descriptors."""
        padded = pad_to_blocks(inputs, block_side(self.shape))
        given = (padded, tf.ensure_shape(numbers, (numbers.shape[0], self.n_features)))
        return [network(x, training=training) for network, x in zip(self.networks, given, strict=False)]

    def answer(self, logits: list[tf.Tensor]) -> tf.Tensor:
        """Return the weighted mean of the networks' log-probabilities."""
        return tf.add_n(
            [share * tf.nn.log_softmax(one) for share, one in zip(self.shares, logits, strict=True)]
        )

    def compile_answer(self, views: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """Return a graph function from uint8 pictures and numbers to log-probabilities, traced once.

        Parameters
        ----------
        views : int
            How many symmetric views of a picture are averaged.
        """
        if views in self._answers:
            return self._answers[views]

        @tf.function(
            input_signature=[
                tf.TensorSpec((None, *self.shape), tf.uint8),
                tf.TensorSpec((None, self.n_features), tf.float32),
            ],
            autograph=False,
        )
        def answer(pictures, numbers):  # type: ignore[no-untyped-def]
            inputs = self.standardise(pictures)
            turned = tf.stack([symmetric_view(inputs, view) for view in range(views)])
            # A loop, so that the networks are traced once and not for every view.
            logs = tf.map_fn(
                lambda view: self.answer(self.logits(view, numbers, training=False)),
                turned,
                parallel_iterations=1,
            )
            return tf.add_n(tf.unstack(logs, num=views)) / views

        self._answers[views] = answer
        return answer
