"""What a training run does about rows that it watches: a lower rate where they stand still, then an end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from skinmnist.models.cnn.backend import tf
from skinmnist.models.cnn.ensemble import Ensemble, Rows

#: Rows that are looked at in one go.
CHECKED_ROWS = 256


@dataclass
class Monitor:
    """Follow the loss of watched rows, as ReduceLROnPlateau and EarlyStopping of Keras do.

    Parameters
    ----------
    rate_patience : int or None
        Checks without a lower loss after which the learning rate is multiplied by `rate_factor`; None: never.
    stop_patience : int or None
        Checks without a lower loss after which the run ends; None: never.
    rate_factor : float

    Attributes
    ----------
    rate : float
        Share of the highest learning rate that holds now.
    stop : bool
        Whether the run should end.
    improved : bool
        Whether the last check was the best so far.
    """

    rate_patience: int | None
    stop_patience: int | None
    rate_factor: float = 0.5
    rate: float = 1.0
    stop: bool = False
    improved: bool = False
    _best: float = math.inf
    _since_best: int = field(default=0, repr=False)
    _since_change: int = field(default=0, repr=False)

    def see(self, loss: float) -> None:
        """Take note of one more check."""
        self.improved = loss < self._best
        if self.improved:
            self._best, self._since_best, self._since_change = loss, 0, 0
            return
        self._since_best += 1
        self._since_change += 1
        if self.rate_patience is not None and self._since_change >= self.rate_patience:
            self.rate *= self.rate_factor
            self._since_change = 0
        self.stop = self.stop_patience is not None and self._since_best >= self.stop_patience


@dataclass(frozen=True)
class Watched:
    """Rows that are looked at and not trained on.

    Attributes
    ----------
    rows : Rows
    class_weights : ndarray of shape (k,)
        Weight of each class in the loss: the mix that is trained for, over the mix of these rows.
    log_prior : ndarray of shape (k,)
        Added to the log-probabilities before the loss: zeros, or what a logit-adjusted loss adds in training.
    """

    rows: Rows
    class_weights: npt.NDArray[np.float64]
    log_prior: npt.NDArray[np.float64]


class Watch:
    """Look at watched rows now and then, and keep the weights that did best on them.

    Parameters
    ----------
    experts : Experts
    watched : Watched
    watcher : Watcher

    Attributes
    ----------
    best : list of ndarray
        Weights at the best look so far; those of the start before the first.
    """

    def __init__(self, members: Ensemble, watched: Watched, monitor: Monitor) -> None:
        self.members, self.watched, self.monitor = members, watched, monitor
        self.best = members.get_weights()
        self._answer = members.compile_answer(views=1)

    def look(self, history: dict[str, list[float]]) -> bool:
        """Add ``watched_loss`` and ``watched_accuracy`` to the history, and tell whether to end the run."""
        rows, losses, hits = self.watched.rows, [], []
        for start in range(0, len(rows.codes), CHECKED_ROWS):
            part = slice(start, start + CHECKED_ROWS)
            codes = rows.codes[part]
            answers = self._answer(rows.pictures[part], rows.numbers[part]).numpy()
            logs = tf.nn.log_softmax(answers + self.watched.log_prior).numpy()
            losses.append(-logs[np.arange(len(codes)), codes])
            hits.append(answers.argmax(axis=1) == codes)
        weights = self.watched.class_weights[rows.codes]
        loss = float(np.average(np.concatenate(losses), weights=weights))
        history["watched_loss"].append(loss)
        history["watched_accuracy"].append(float(np.concatenate(hits).mean()))
        self.monitor.see(loss)
        if self.monitor.improved:
            self.best = self.members.get_weights()
        return self.monitor.stop
