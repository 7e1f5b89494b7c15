"""What a training step minimises: losses, weights of the classes, and pairs of mixed rows.

What a loss needs to know about the class counts of a fold is one number for each class, its `class_terms`.
They are variables of the training graph, so the graph of one fold serves all others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.errors import InputError
from skinmnist.models.cnn.backend import tf

LOSSES = ("cross_entropy", "focal", "logit_adjusted", "class_balanced", "ldam_drw", "label_aware")
#: Exponent of the focal loss, as recommended by Lin et al.
FOCUS = 2.0
#: Margin of the rarest class in the LDAM loss, in units of the logits.
LARGEST_MARGIN = 2.0
#: Share of the target distribution that label-aware smoothing spreads, for the largest and smallest class.
#: The paper has .3 for the largest, in a stage that trains the last layer only; in our single stage, .3 costs
#: macro-AUC.
SMOOTHING = (0.1, 0.0)
#: For losses with class-balanced weights: the share of the steps without them, and beta. Cui et al. choose
#: beta for each data set, from .9 to .9999; Cao et al. use .9999.
REWEIGHTED = {"class_balanced": (0.0, 0.999), "ldam_drw": (0.8, 0.9999)}

MIXTURES = (None, "mixup", "remix")
#: Both parameters of the beta distribution from which shares are drawn, within the range of Zhang et al.
MIXING = 0.2
#: Ratio of class counts from which Remix favours the rarer class, and its limit on the shares (Chou et al.).
KAPPA, TAU = 3.0, 0.5


def class_terms(loss: str, counts: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return what a loss needs to know about each class, (k,), from the class counts of the training rows.

    These are logarithms of frequencies for ``"logit_adjusted"``, margins for ``"ldam_drw"``, shares to spread
    for ``"label_aware"``, and zeros for losses that treat all classes alike.
    """
    terms = np.zeros(len(counts))
    if loss == "logit_adjusted":
        terms = np.log(counts / counts.sum())
    elif loss == "ldam_drw":
        terms = LARGEST_MARGIN * (counts.min() / counts) ** 0.25
    elif loss == "label_aware":
        most, least = SMOOTHING
        place = (counts - counts.min()) / max(1, counts.max() - counts.min())
        terms = least + (most - least) * np.sin(0.5 * np.pi * place)
    return terms.astype(np.float32)


def loss_weights(loss: str, counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the weight of a row of each class, (k,), for a loss with class-balanced weights; else ones.

    A weight is the inverse of the effective number of rows, ``(1 - beta**n) / (1 - beta)`` (Cui et al.,
    "Class-balanced loss based on effective number of samples", CVPR 2019). Only ratios matter, because the
    weights of all rows are scaled to mean 1, where the paper scales those of the classes.
    """
    if loss not in REWEIGHTED:
        return np.ones(len(counts))
    beta = REWEIGHTED[loss][1]
    return np.asarray((1.0 - beta) / (1.0 - beta**counts), dtype=np.float64)


def trained_mix(loss: str, counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the class mix to which probabilities refer after training, (k,), in units of weighted rows.

    It is the mean of the weighted target distributions, which a calibrated network reproduces on average.
    Margins are not taken into account, nor is label smoothing that is equal for all classes.
    """
    weighted = np.asarray(counts * loss_weights(loss, counts), dtype=np.float64)
    if loss != "label_aware":
        return weighted
    spread = weighted * class_terms(loss, counts)
    others = spread / (len(counts) - 1)
    return weighted - spread - others + others.sum()


def make_loss(
    name: str, terms: tf.Tensor, label_smoothing: float
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return a function from labels ``(n,)`` and logits ``(n, k)`` to the loss of each row ``(n,)``.

    `terms` (k,) are the `class_terms`. Label smoothing follows Szegedy et al. 2016.

    ``"focal"``
        Weights each row by ``(1 - p)**2``, where p is the probability of its class (Lin et al., "Focal loss
        for dense object detection", 2017).
    ``"logit_adjusted"``
        Adds the logarithm of the class frequencies to the logits, in training only; the network then predicts
        as if all classes were equally frequent (Menon et al., "Long-tail learning via logit adjustment",
        2020). Balanced softmax is the same loss (Ren et al., "Balanced meta-softmax for long-tailed visual
        recognition", NeurIPS 2020).
    ``"class_balanced"``
        Cross-entropy with the `loss_weights`.
    ``"ldam_drw"``
        Subtracts a margin proportional to ``n**-0.25`` from the logit of the true class, in training only;
        the `loss_weights` apply in the last fifth of the steps (Cao et al., "Learning imbalanced datasets
        with label-distribution-aware margin loss", NeurIPS 2019). The paper normalises the features and the
        weights of the last layer and multiplies the cosines by 30. Here, the last layer is the same as for
        the other losses, and the margins are in units of its logits.
    ``"label_aware"``
        Spreads a share of the target distribution evenly over the other classes, more for frequent classes;
        it replaces the common label smoothing (Zhong et al., "Improving calibration for long-tailed
        recognition", CVPR 2021). The paper trains the features first, with mixup, and then the last layer
        with this loss and balanced batches. Here, there is a single stage.
    """
    if name not in LOSSES:
        raise InputError(f"the network received the loss {name!r}; choose one of {', '.join(LOSSES)}")
    n_classes = terms.shape[0]
    spread = label_smoothing / n_classes

    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        targets = tf.one_hot(labels, n_classes, 1.0 - label_smoothing + spread, spread)
        if name == "logit_adjusted":
            logits += terms
        elif name == "ldam_drw":
            logits -= tf.one_hot(labels, n_classes) * terms
        elif name == "label_aware":
            own = tf.gather(terms, labels)[:, None]
            other = own / (n_classes - 1)
            targets = tf.one_hot(labels, n_classes) * (1.0 - own - other) + other
        entropy = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
        if name == "focal":
            probability = tf.gather(tf.nn.softmax(logits), labels, batch_dims=1)
            entropy *= (1.0 - probability) ** FOCUS
        return entropy

    return loss


def mixing_shares(
    mixture: str, first: tf.Tensor, second: tf.Tensor, counts: tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draw the share of the first row of each pair: in the mixed input, (n,), and in its label, (n,).

    `first` and `second` (n,) are class codes, and `counts` (k,) class counts. ``"mixup"`` (Zhang et al.,
    "mixup: beyond empirical risk minimization", ICLR 2018) uses the same share for both. ``"remix"`` (Chou et
    al., "Remix: rebalanced mixup", ECCV workshops 2020) gives the whole label to the rarer class if the other
    class is at least `KAPPA` times as frequent and contributes less than `TAU` of the input.
    """
    draws = tf.random.stateless_gamma((2, tf.shape(first)[0]), seed, MIXING)
    share = tf.math.divide_no_nan(draws[0], draws[0] + draws[1])
    if mixture == "mixup":
        return share, share
    ratio = tf.gather(counts, first) / tf.gather(counts, second)
    of_label = tf.where((ratio >= KAPPA) & (share < TAU), 0.0, share)
    return share, tf.where((ratio <= 1.0 / KAPPA) & (1.0 - share < TAU), 1.0, of_label)


def mix(values: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Mix each row with its predecessor in the batch, whose order is random; `share` (n,) is its own."""
    count, shape = tf.shape(values)[0], values.shape[1:]
    rows = tf.reshape(values, (count, math.prod(shape)))
    partners = tf.roll(rows, 1, 0)
    return tf.reshape(partners + share[:, None] * (rows - partners), (count, *shape))
