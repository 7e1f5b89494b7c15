"""What a model declares about itself, so that the runner never asks which model it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skinmnist.models.export import Exported, Fitted

#: Training rows that a model learns from at most, before resampling: twelve times those of a fold of
#: HAM10000. Descriptors of so many pictures take 200 MB, and boosted trees hold them twice as wide.
MOST_ROWS = 100_000


@dataclass(frozen=True)
class Setting:
    """What is known when a model is built, before it sees a training row.

    Attributes
    ----------
    shape : tuple of int
        ``(height, width, channels)`` of a picture.
    n_classes : int
    train_rows : int
        Training rows of the fold **before** resampling, `MOST_ROWS` at most: budgets follow from these, so
        that a sampler that makes more rows does not buy more training.
    seed : int
        The cell's own seed.
    """

    shape: tuple[int, int, int]
    n_classes: int
    train_rows: int
    seed: int


@dataclass(frozen=True)
class ModelSpec:
    """One entry of the registry of models.

    Attributes
    ----------
    title : str
        The name in tables and figures.
    classifier : callable
        ``Setting`` -> an unfitted scikit-learn classifier on what `features` returns.
    describe : callable or None
        ``(pixel rows uint8, shape)`` -> numbers of shape (n, numbers), of each picture from its own pixels
        alone, so that a table is described once for all folds; None: the pixels themselves. A function of a
        module, so that workers know it again.
    features : callable or None
        ``Setting`` -> an unfitted scikit-learn transformer that is fitted on the training rows before the
        sampler, which then works on its output; None: the sampler works on the pixels.
    space : str
        What the sampler works on, in words: ``"pixels"``, ``"components"``, ``"descriptors"``.
    pixel_type : str
        The type in which a model on pixels takes its rows: ``"float32"``, or ``"uint8"``, to which rows that
        a sampler made are rounded.
    weights : bool
        Whether ``fit`` takes ``sample_weight`` to good purpose; then the remedy ``class_weight`` is planned.
    copies_as_weights : bool
        Whether n copies of a row and one row of weight n pose the very same training problem.
    draws : bool
        Whether ``fit`` takes ``drawn``, the positions of rows to train on, in place of copies of rows.
    streams : bool
        Whether ``fit`` also takes `skinmnist.datasets.mapped.MappedRows` and reads them piece by piece: then
        it is given all training rows, where other models are given `MOST_ROWS` at most, with a note.
    calibrate : bool
        Whether the classifier gives scores only, which calibration on training lesions turns into
        probabilities.
    made_rows : int or None
        Rows made by a sampler that the classifier learns from at most in each class: of more some are drawn,
        each weighing as many as it stands for, with a note. None: any number.
    pair_rows : int or None
        Rows of the two largest classes together that the classifier learns from at most, after resampling;
        of more some are drawn, with a note. For classifiers that compare each pair of classes, at a cost
        that grows faster than the rows. None: any number.
    calibration_pair_rows : int or None
        The same for those that are trained on a part of the lesions only to calibrate, without a note.
    watch : float
        Share of the training lesions that are not trained on but given to ``fit`` as
        ``validation_data=(rows, labels)``, split off before resampling; 0: none.
    seconds : float
        Fit and predict time of one 28x28 fold of HAM10000 without resampling, for ordering and estimates;
        describing the pictures, which a process does once, is left out.
    grows : float
        How that time grows with the rows after resampling: 0 not at all, 1 linearly, 2 quadratically.
    remedies : mapping of str to mapping
        Remedies for imbalance that belong to this kind of model, by name, and the parameters of the
        classifier that switch each one on.
    most_probable : bool
        Whether ``predict`` answers the class of the largest ``predict_proba``, so that one pass over the
        held-out rows serves both.
    export : callable or None
        ``Fitted`` -> ``Exported``: the model as plain data, for a model file; None where it cannot be kept.
    kept : mapping
        Parameters of a classifier that is to be kept in a file.
    library : str
        Module that a worker imports before its first cell, so that a slow import counts for no cell.
    fingerprint : str
        Identifies a model that is not part of this package; empty for those that are.
    """

    title: str
    classifier: Callable[[Setting], Any]
    describe: Callable[[Any, tuple[int, int, int]], Any] | None = None
    features: Callable[[Setting], Any] | None = None
    space: str = "pixels"
    pixel_type: str = "float32"
    weights: bool = False
    copies_as_weights: bool = False
    draws: bool = False
    streams: bool = False
    calibrate: bool = False
    resampled_rows: int | None = None
    pair_rows: int | None = None
    calibration_pair_rows: int | None = None
    watch: float = 0.0
    seconds: float = 5.0
    grows: float = 1.0
    strategies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    most_probable: bool = False
    export: Callable[[Fitted], Exported] | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)
    library: str = ""
    fingerprint: str = ""

    def takes(self, strategy: str) -> bool:
        """Tell whether a remedy that makes no rows can be given to this model."""
        return (
            strategy == "none" or (strategy == "class_weight" and self.weights) or strategy in self.strategies
        )

    def build(self, setting: Setting, strategy: str) -> Any:
        """Return an unfitted classifier, its remedy switched on where it is one of its own."""
        classifier = self.classifier(setting)
        own = self.strategies.get(strategy)
        return classifier.set_params(**own) if own else classifier
