"""Declarations of models, which spare the runner special cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.models.export import Exported, Fitted
from skinmnist.resampling.strategies import TUNED_PLAIN, split_share

#: Maximum number of training rows of a model, before resampling: twelve times a training fold of HAM10000.
#: The features of this many images take 200 MB, and boosted trees store them at twice the width.
MOST_ROWS = 100_000
#: Number of training rows in one of five folds of HAM10000; budgets and costs refer to it.
FOLD_ROWS = 8012


@dataclass(frozen=True)
class Setting:
    """The information available when a model is built, before it sees any training rows."""

    #: ``(height, width, channels)`` of an image.
    shape: tuple[int, int, int]
    n_classes: int
    #: Number of training rows **before** resampling, at most `MOST_ROWS`. Budgets depend on it, so samplers
    #: that add rows do not get more training.
    train_rows: int
    #: The seed of the cell.
    seed: int


@dataclass(frozen=True)
class FeatureSettings:
    """The representation of images on which the model and the sampler work."""

    #: ``(pixel rows uint8, shape)`` -> features of shape (n, features); None for pixels. The features of an
    #: image must depend only on its own pixels, because they are extracted once for all folds. The function
    #: must be at module level, so that workers can import it.
    extract: Callable[[Any, tuple[int, int, int]], Any] | None = None
    #: ``Setting`` -> an unfitted scikit-learn transformer. It is fitted to the training rows before
    #: resampling, and the sampler works on its output.
    transformer: Callable[[Setting], Any] | None = None
    #: The name of the space: pixels, components or descriptors.
    space: str = "pixels"
    #: Type of the rows of a model on pixels: float32, or uint8, to which interpolated rows are rounded.
    pixel_type: str = "float32"


@dataclass(frozen=True)
class RowLimits:
    """Maximum numbers of rows for training a classifier; None for no limit. Larger tables are subsampled."""

    #: Synthetic rows of each class; each retained row is weighted by the number of rows that it represents.
    resampled: int | None = None
    #: Combined rows of the two largest classes after resampling, for classifiers that compare pairs of
    #: classes at superlinear cost.
    pair: int | None = None
    #: The same limit for classifiers fitted to a subset of the lesions for calibration only.
    calibration_pair: int | None = None


@dataclass(frozen=True)
class Cost:
    """The expected cost of a cell, for scheduling and time estimates."""

    #: Seconds to fit and predict one 28x28 fold of HAM10000, without resampling or feature extraction.
    seconds: float = 5.0
    #: Exponent of the cost in the number of resampled rows: 0 for constant, 1 for linear, 2 for quadratic.
    growth: float = 1.0
    #: Module that a worker imports before its first cell, to exclude a slow import from the cell's time.
    library: str = ""


@dataclass(frozen=True)
class Export:
    """How a model is exported to a model file."""

    write: Callable[[Fitted], Exported]
    #: Classifier parameters for training a model to be exported.
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Strategy:
    """An imbalance strategy of one type of model."""

    #: Classifier parameters that enable it.
    params: Mapping[str, Any]
    #: Exponent of the class counts in the class mix to which the probabilities refer: 1 for the mix of the
    #: training rows, 0 for equal shares of all their classes.
    mix_power: float = 1.0
    #: The classifier parameter that accepts the strategy with a share, as in ``balanced_batches@0.5``; the
    #: exponent is then one minus the share. Empty if the strategy has no amount.
    share_of: str = ""
    #: Class counts -> that class mix, in any unit, both (k,) without empty classes; replaces `mix_power`.
    mix: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]] | None = None
    #: Whether it only replaces the last layer of the networks of ``none``; see `skinmnist.models.cnn.heads`.
    replaces_head: bool = False

    def at(self, name: str, share: float) -> Strategy:
        """Return the strategy with a share of the way from the natural mix to balance."""
        return replace(self, params={**self.params, self.share_of: name}, mix_power=1.0 - share)


@dataclass(frozen=True)
class ModelSpec:
    """An entry in the registry of models. The first three fields define a model; the others are optional.

    Classifiers without ``predict_proba`` are calibrated on training lesions.

    Attributes
    ----------
    title : str
        The display name in tables and figures.
    classifier : callable
        Accepts a ``Setting`` and returns an unfitted scikit-learn classifier for the output of `features`.
    features : FeatureSettings
        The representation on which the sampler works, by default pixels.
    weights : bool
        Whether ``fit`` makes effective use of ``sample_weight``; if so, plans include ``class_weight``.
    copies_as_weights : bool
        Whether the model is trained on a single row with weight n instead of n copies of it.
    sample_indices : bool
        Whether ``fit`` accepts positions of training rows instead of copies of rows.
    streams : bool
        Whether ``fit`` also accepts `skinmnist.datasets.mapped.MappedRows` and reads them in chunks. Such
        models get all training rows; other models get at most `MOST_ROWS`, with a note.
    validation_share : float
        Share of the training lesions passed to ``fit`` as a validation set, split off before resampling; 0
        for no validation set.
    strategies : mapping of str to Strategy
        Imbalance strategies of this type of model, by name.
    limits : RowLimits
    cost : Cost
    export : Export or None
        How to export the model; None if it cannot be exported.
    mix_power : float
        Exponent of the class counts in the class mix to which the probabilities refer, if no strategy changes
        it: 1 for most models, 0 for models that balance the classes themselves. Such models are planned with
        ``none`` only.
    fingerprint : str
        Identifier of a model from outside this package; empty for built-in models.

    See Also
    --------
    run_comparison : Accepts model specifications in `models`.
    Resampler : The corresponding class for samplers and strategies.

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
    mix_power: float = 1.0
    fingerprint: str = ""

    @property
    def balances(self) -> bool:
        """Whether the model balances the classes of its training rows itself."""
        return self.mix_power != 1.0

    def takes(self, strategy: str) -> bool:
        """Return whether the model supports an imbalance strategy that adds no rows."""
        if strategy in ("none", TUNED_PLAIN) or self.balances:
            return strategy == "none" or not self.balances
        base, share = split_share(strategy)
        if base == "class_weight":
            return self.weights
        own = self.strategies.get(base)
        return own is not None and (share is None or bool(own.share_of))

    def replaces_head(self, strategy: str) -> bool:
        """Return whether a strategy only replaces the last layer of the networks of ``none``.

        Examples
        --------
        >>> from skinmnist.models.registry import MODELS
        >>> MODELS["cnn"].replaces_head("crt"), MODELS["cnn"].replaces_head("mixup")
        (True, False)
        """
        return strategy in self.strategies and self.strategies[strategy].replaces_head

    def shares_trunk(self, strategy: str) -> bool:
        """Return whether the model trains the same networks with this strategy as with others.

        Examples
        --------
        >>> from skinmnist.models.registry import MODELS
        >>> MODELS["cnn"].shares_trunk("none"), MODELS["svm"].shares_trunk("none")
        (True, False)
        """
        if strategy == "none":
            return any(own.replaces_head for own in self.strategies.values())
        return self.replaces_head(strategy)

    def build(self, setting: Setting, strategy: str) -> Any:
        """Return an unfitted classifier, with `strategy` enabled if it is one of `strategies`.

        Examples
        --------
        >>> spec.build(Setting((8, 8, 3), n_classes=7, train_rows=100, seed=0), "none")
        LogisticRegression()
        """
        classifier = self.classifier(setting)
        own = self._own(strategy)
        return classifier.set_params(**own.params) if own else classifier

    def _own(self, name: str) -> Strategy | None:
        """Return the settings of a strategy of this type of model; None for any other name."""
        base, share = split_share(name)
        own = self.strategies.get(base)
        return own if own is None or share is None else own.at(name, share)

    def answered_mix(self, strategy: str, class_weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the class mix to which the probabilities refer after training, as shares that sum to 1.

        `class_weights` (k,) are the row counts of the classes passed to ``fit``, or the sums of their
        weights.

        Examples
        --------
        >>> spec.answered_mix("none", np.array([30.0, 10.0])).tolist()
        [0.75, 0.25]
        """
        own = self._own(strategy)
        power = self.mix_power if own is None else own.mix_power
        mix, present = np.zeros(len(class_weights)), class_weights > 0
        to_mix = own.mix if own is not None and own.mix is not None else lambda counts: counts**power
        mix[present] = to_mix(class_weights[present])
        return mix / mix.sum()
