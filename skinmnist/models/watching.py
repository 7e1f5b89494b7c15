"""What a training run does about rows that it watches: a lower rate where they stand still, then an end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Watcher:
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
