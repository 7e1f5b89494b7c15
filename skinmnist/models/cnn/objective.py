"""Losses, the plain one and two remedies for imbalance, as functions of labels and logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.models.cnn.backend import tf

LOSSES = ("cross_entropy", "focal", "logit_adjusted")

#: Exponent of the focal loss, as Lin et al. recommend.
FOCUS = 2.0


def make_loss(
    name: str, class_counts: npt.NDArray[np.integer], label_smoothing: float
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return a function of labels ``(n,)`` and logits ``(n, k)`` to the loss of each row ``(n,)``.

    Parameters
    ----------
    name : {"cross_entropy", "focal", "logit_adjusted"}
        ``"focal"`` weights each row by ``(1 - p)**2``, p being the probability of its class (Lin et al.,
        "Focal loss for dense object detection", 2017). ``"logit_adjusted"`` adds the logarithm of the class
        frequencies to the logits in training only, so that the network decides as if all classes were equally
        frequent (Menon et al., "Long-tail learning via logit adjustment", 2020).
    class_counts : ndarray of shape (k,)
        Training rows of each class.
    label_smoothing : float
        Share of the target that is spread over all classes (Szegedy et al. 2016).

    Raises
    ------
    InputError
        Where there is no loss of that name.
    """
    if name not in LOSSES:
        raise InputError(f"the network received the loss {name!r}; choose one of {', '.join(LOSSES)}")
    n_classes = len(class_counts)
    spread = label_smoothing / n_classes
    log_frequency = np.log(class_counts / class_counts.sum()).astype(np.float32)

    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        targets = tf.one_hot(labels, n_classes, 1.0 - label_smoothing + spread, spread)
        if name == "logit_adjusted":
            logits += log_frequency
        entropy = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
        if name == "focal":
            probability = tf.gather(tf.nn.softmax(logits), labels, batch_dims=1)
            entropy *= (1.0 - probability) ** FOCUS
        return entropy

    return loss
