"""Traced graphs that a process keeps for its next fit: tracing them takes an eighth of a fit.

A comparison fits the same network to one fold after another. What differs between two fits, weights, channel
means and seeds, is put into the graphs that were traced for the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinmnist.models.cnn.ensemble import ChannelStatistics, Ensemble
from skinmnist.models.cnn.network import build_feature_extractor, build_network
from skinmnist.models.cnn.training import Recipe, Trainer

#: Programs that wait for a next fit; more would only hold memory.
KEPT = 2


@dataclass(frozen=True)
class Design:
    """What the networks of a classifier are built from, but for weights.

    Attributes
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of a picture.
    n_classes : int
    channels, pairs : tuple of int
    dropout : float
    precision : {"float32", "bfloat16"}
        See `skinmnist.models.cnn.network.build_network`.
    n_numbers : int
        Descriptors that a second network looks at; 0: there is none.
    hidden : tuple of int
        See `skinmnist.models.cnn.network.build_feature_extractor`.
    share : float
        Weight of the second network's answer.
    """

    shape: tuple[int, int, int]
    n_classes: int
    channels: tuple[int, ...]
    pairs: tuple[int, ...]
    dropout: float
    precision: str
    n_features: int = 0
    hidden: tuple[int, ...] = ()
    share: float = 0.5

    def build(self, standard: ChannelStatistics, seed: int) -> Ensemble:
        """Build untrained networks."""
        pixels = build_network(
            self.shape,
            self.n_classes,
            channels=self.channels,
            pairs=self.pairs,
            dropout=self.dropout,
            precision=self.precision,
            seed=seed,
        )
        if not self.n_features:
            return Ensemble(self.shape, standard, pixels)
        numbers = build_feature_extractor(self.n_features, self.n_classes, hidden=self.hidden, seed=seed)
        return Ensemble(self.shape, standard, pixels, numbers, self.share)


class Program:
    """Networks of one design, and the graphs traced with them.

    Parameters
    ----------
    design : Design
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self._members: Ensemble | None = None
        self._trainer: Trainer | None = None
        self._traced_for: tuple[Recipe, tuple[int, ...]] | None = None

    def start(self, standard: ChannelStatistics, seed: int) -> Ensemble:
        """Return the networks as they are when newly built with a seed."""
        built = self.design.build(standard, seed)
        if self._members is None:
            self._members = built
        else:
            self._members.become(built)
        return self._members

    def load(self, standard: ChannelStatistics, weights: Sequence[npt.NDArray[np.float32]]) -> Ensemble:
        """Return the networks with weights that training found."""
        if self._members is None:
            self._members = self.design.build(standard, seed=0)
        self._members.standard = standard
        self._members.set_weights(weights)
        return self._members

    def trainer(self, recipe: Recipe, counts: npt.NDArray[np.integer]) -> Trainer:
        """Return the trainer of the networks that were started.

        Parameters
        ----------
        recipe : Recipe
        counts : ndarray of shape (k,)
            Rows of each class.
        """
        if self._members is None:
            raise RuntimeError("start the program before asking for its trainer")
        # Only one loss holds the counts; with any other the graphs serve every fold.
        held = tuple(counts.tolist()) if recipe.loss == "logit_adjusted" else ()
        if self._trainer is None or self._traced_for != (recipe.traced, held):
            self._trainer = Trainer(self._members, recipe.traced, counts)
            self._traced_for = (recipe.traced, held)
        return self._trainer


_waiting: dict[Design, Program] = {}


@contextmanager
def borrow(design: Design) -> Iterator[Program]:
    """Lend a program of a design: one that waits, or a new one. Nobody else holds it meanwhile.

    It holds nothing of its last user that `Program.start`, `Program.load` and
    `skinmnist.models.cnn.training.train_network`, which forgets momentum, would not overwrite.
    """
    program = _waiting.pop(design, None) or Program(design)
    yield program
    # After an error it is not kept: its state is unknown.
    _waiting[design] = program
    for oldest in list(_waiting)[:-KEPT]:
        _waiting.pop(oldest, None)
