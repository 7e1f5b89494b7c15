"""What a model declares about itself, so that the runner never asks which model it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.models.export import Exported, Fitted

#: Training rows that a model learns from at most, before resampling: twelve times those of a fold of
#: HAM10000. Features of so many images take 200 MB, and boosted trees hold them twice as wide.
MOST_ROWS = 100_000


@dataclass(frozen=True)
class Setting:
    """What is known when a model is built, before it sees a training row."""

    #: ``(height, width, channels)`` of an image.
    shape: tuple[int, int, int]
    n_classes: int
    #: Of the fold **before** resampling, `MOST_ROWS` at most: budgets follow from these, so that a sampler
    #: that adds rows does not buy more training.
    train_rows: int
    #: The cell's own.
    seed: int


@dataclass(frozen=True)
class FeatureSettings:
    """What a model sees of an image, and so what a sampler works on."""

    #: ``(pixel rows uint8, shape)`` -> features of shape (n, features), of each image from its own pixels
    #: alone, so that a table's are extracted once for all folds; None: the pixels. A function of a module,
    #: so that workers find it again.
    extract: Callable[[Any, tuple[int, int, int]], Any] | None = None
    #: ``Setting`` -> an unfitted scikit-learn transformer that is fitted on the training rows before the
    #: sampler, which then works on its output.
    transformer: Callable[[Setting], Any] | None = None
    #: What the sampler works on, in words: pixels, components or descriptors.
    space: str = "pixels"
    #: Of the rows that a model on pixels takes: float32, or uint8, to which interpolated rows are rounded.
    pixel_type: str = "float32"


@dataclass(frozen=True)
class RowLimits:
    """How many rows a classifier learns from at most, None: any number. Of more it gets a subsample."""

    #: Rows of each class that a sampler made, each weighing as many as it stands for.
    resampled: int | None = None
    #: Rows of the two largest classes together, after resampling: for classifiers that compare each pair of
    #: classes, at a cost that grows faster than the rows.
    pair: int | None = None
    #: The same for the classifiers trained on a part of the lesions only to calibrate.
    calibration_pair: int | None = None


@dataclass(frozen=True)
class Cost:
    """What a cell is expected to cost, for ordering and estimates."""

    #: Fit and predict time of one 28x28 fold of HAM10000 without resampling and extracting features.
    seconds: float = 5.0
    #: How that time grows with the rows after resampling: 0 not at all, 1 linearly, 2 quadratically.
    growth: float = 1.0
    #: Module that a worker imports before its first cell, so that a slow import counts for no cell.
    library: str = ""


@dataclass(frozen=True)
class Export:
    """How a model becomes plain data, for a model file."""

    write: Callable[[Fitted], Exported]
    #: Parameters of a classifier that is trained to be exported.
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Strategy:
    """An imbalance strategy that belongs to a kind of model."""

    #: Parameters of the classifier that switch it on.
    params: Mapping[str, Any]
    #: The probabilities answer to a class mix in proportion to the class counts to this power: 1 the mix of
    #: the training rows, 0 the same for every class that they show.
    mix_power: float


@dataclass(frozen=True)
class ModelSpec:
    """One entry of the registry of models: the first three fields make a model, the others help it.

    A classifier without ``predict_proba`` is calibrated on training lesions.

    Attributes
    ----------
    title : str
        The name in tables and figures.
    classifier : callable
        ``Setting`` -> an unfitted scikit-learn classifier on what `features` returns.
    features : FeatureSettings
        Where the sampler works; on pixels by default.
    weights : bool
        Whether ``fit`` takes ``sample_weight`` to good purpose; then ``class_weight`` is planned.
    copies_as_weights : bool
        Whether n copies of a row and one row of weight n pose the very same training problem.
    sample_indices : bool
        Whether ``fit`` takes the positions of rows to train on in place of copies of rows.
    streams : bool
        Whether ``fit`` also takes `skinmnist.datasets.mapped.MappedRows` and reads them piece by piece: then
        it is given all training rows, where other models are given `MOST_ROWS` at most, with a note.
    validation_share : float
        Share of the training lesions that is not trained on but given to ``fit`` as a validation set, split
        off before resampling; 0: none.
    strategies : mapping of str to Strategy
        Imbalance strategies that belong to this kind of model, by name.
    limits : RowLimits
    cost : Cost
    export : Export or None
        None where the model cannot be exported.
    fingerprint : str
        Identifies a model that is not part of this package; empty for those that are.
    """

    title: str
    classifier: Callable[[Setting], Any]
    features: FeatureSettings = FeatureSettings()
    weights: bool = False
    copies_as_weights: bool = False
    sample_indices: bool = False
    streams: bool = False
    validation_share: float = 0.0
    strategies: Mapping[str, Strategy] = field(default_factory=dict)
    limits: RowLimits = RowLimits()
    cost: Cost = Cost()
    export: Export | None = None
    fingerprint: str = ""

    def takes(self, strategy: str) -> bool:
        """Return whether an imbalance strategy that adds no rows works with this model."""
        return (
            strategy == "none" or (strategy == "class_weight" and self.weights) or strategy in self.strategies
        )

    def build(self, setting: Setting, strategy: str) -> Any:
        """Return an unfitted classifier, with its own imbalance strategy switched on where one is named."""
        classifier = self.classifier(setting)
        own = self.strategies.get(strategy)
        return classifier.set_params(**own.params) if own else classifier

    def answered_mix(self, strategy: str, class_weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the class mix, shares of sum 1, that probabilities answer to after training.

        `class_weights` (k,) are the rows of each class, or their summed weights, that ``fit`` was given.
        """
        own = self.strategies.get(strategy)
        power = 1.0 if own is None else own.mix_power
        mix = np.where(class_weights > 0, class_weights**power, 0.0)
        return mix / mix.sum()
