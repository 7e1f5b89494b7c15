"""What a model declares about itself, so that the runner needs no special cases for models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.models.export import Exported, Fitted

#: Most training rows of a model, before resampling: twelve times those of a fold of HAM10000. The features
#: of so many images take 200 MB, and boosted trees hold them at twice the width.
MOST_ROWS = 100_000


@dataclass(frozen=True)
class Setting:
    """What is known when a model is built, before it sees a training row."""

    #: ``(height, width, channels)`` of an image.
    shape: tuple[int, int, int]
    n_classes: int
    #: Rows of the fold **before** resampling, at most `MOST_ROWS`: they determine budgets, so that a sampler
    #: that adds rows does not get more training.
    train_rows: int
    #: The seed of the cell.
    seed: int


@dataclass(frozen=True)
class FeatureSettings:
    """What a model sees of an image, which is also what a sampler works on."""

    #: ``(pixel rows uint8, shape)`` -> features of shape (n, features); None: the pixels. The features of an
    #: image must depend on its own pixels only, because they are extracted once for all folds. Must be a
    #: module-level function, so that workers can import it.
    extract: Callable[[Any, tuple[int, int, int]], Any] | None = None
    #: ``Setting`` -> an unfitted scikit-learn transformer. It is fitted on the training rows before the
    #: sampler, which works on its output.
    transformer: Callable[[Setting], Any] | None = None
    #: What the sampler works on, in words: pixels, components or descriptors.
    space: str = "pixels"
    #: Type of the rows for a model on pixels: float32, or uint8, to which interpolated rows are rounded.
    pixel_type: str = "float32"


@dataclass(frozen=True)
class RowLimits:
    """The most rows that a classifier learns from; None: no limit. It gets a subsample of larger tables."""

    #: Rows of each class that a sampler made; each is weighted by the number of rows it represents.
    resampled: int | None = None
    #: Rows of the two largest classes together, after resampling, for classifiers that compare each pair of
    #: classes at a cost that grows faster than the rows.
    pair: int | None = None
    #: The same for classifiers that are trained on part of the lesions only for calibration.
    calibration_pair: int | None = None


@dataclass(frozen=True)
class Cost:
    """The expected cost of a cell, for ordering and estimates."""

    #: Time to fit and predict one 28x28 fold of HAM10000, without resampling and feature extraction.
    seconds: float = 5.0
    #: Growth of that time with the rows after resampling: 0 for none, 1 for linear, 2 for quadratic.
    growth: float = 1.0
    #: Module that a worker imports before its first cell, so that a slow import is not timed with a cell.
    library: str = ""


@dataclass(frozen=True)
class Export:
    """How to write a model as plain data to a model file."""

    write: Callable[[Fitted], Exported]
    #: Parameters of a classifier that is trained to be exported.
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Strategy:
    """An imbalance strategy of one kind of model."""

    #: Parameters of the classifier that switch it on.
    params: Mapping[str, Any]
    #: The probabilities refer to a class mix proportional to the class counts to this power: 1 for the mix of
    #: the training rows, 0 for equal shares of all classes in them.
    mix_power: float


@dataclass(frozen=True)
class ModelSpec:
    """One entry of the registry of models. The first three fields define a model; the others are optional.

    A classifier without ``predict_proba`` is calibrated on training lesions.

    Attributes
    ----------
    title : str
        The name in tables and figures.
    classifier : callable
        Takes a ``Setting`` and returns an unfitted scikit-learn classifier for the output of `features`.
    features : FeatureSettings
        Where the sampler works; on pixels by default.
    weights : bool
        Whether ``fit`` makes good use of ``sample_weight``; then ``class_weight`` is planned.
    copies_as_weights : bool
        Whether n copies of a row and one row of weight n are the same training problem.
    sample_indices : bool
        Whether ``fit`` takes positions of training rows instead of copies of rows.
    streams : bool
        Whether ``fit`` also takes `skinmnist.datasets.mapped.MappedRows` and reads them in pieces. Then it
        gets all training rows; other models get at most `MOST_ROWS`, with a note.
    validation_share : float
        Share of the training lesions that is held back and given to ``fit`` as a validation set, split off
        before resampling; 0: none.
    strategies : mapping of str to Strategy
        Imbalance strategies of this kind of model, by name.
    limits : RowLimits
    cost : Cost
    export : Export or None
        None if the model cannot be exported.
    fingerprint : str
        Identifies a model from outside this package; empty for its own models.

    See Also
    --------
    run_comparison : Takes it among the `models`.
    Resampler : The counterpart for samplers and strategies.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skinmnist import ModelSpec
    >>> spec = ModelSpec("Mine", lambda setting: LogisticRegression(), weights=True)
    >>> spec.takes("class_weight"), spec.takes("focal_loss")
    (True, False)
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
        """Return whether the model supports an imbalance strategy that adds no rows."""
        return (
            strategy == "none" or (strategy == "class_weight" and self.weights) or strategy in self.strategies
        )

    def build(self, setting: Setting, strategy: str) -> Any:
        """Return an unfitted classifier, with `strategy` switched on if it is one of `strategies`.

        Examples
        --------
        >>> spec.build(Setting((8, 8, 3), n_classes=7, train_rows=100, seed=0), "none")
        LogisticRegression()
        """
        classifier = self.classifier(setting)
        own = self.strategies.get(strategy)
        return classifier.set_params(**own.params) if own else classifier

    def answered_mix(self, strategy: str, class_weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the class mix, shares that sum to 1, to which the probabilities refer after training.

        `class_weights` (k,) are the numbers of rows of each class given to ``fit``, or their summed weights.

        Examples
        --------
        >>> spec.answered_mix("none", np.array([30.0, 10.0])).tolist()
        [0.75, 0.25]
        """
        own = self.strategies.get(strategy)
        power = 1.0 if own is None else own.mix_power
        mix = np.where(class_weights > 0, class_weights**power, 0.0)
        return mix / mix.sum()
