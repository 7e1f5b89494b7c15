"""The registry of models, a plain dict. To add a model, add an entry.

No heavy library is imported here; each entry imports its library when the model is built.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from skinmnist.models.export import (
    export_boosted_trees,
    export_dummy,
    export_forest,
    export_linear,
    export_network,
    export_svm,
)
from skinmnist.models.spec import (
    FOLD_ROWS,
    Cost,
    Export,
    FeatureSettings,
    ModelSpec,
    RowLimits,
    Setting,
    Strategy,
)


def _extract(rows: Any, shape: tuple[int, int, int]) -> Any:
    from skinmnist.features.extract import extract_features

    return extract_features(rows, shape)


def _standardiser(setting: Setting) -> Any:
    from skinmnist.features.transformer import Standardiser

    return Standardiser()


def _svm(builder: str, setting: Setting) -> Any:
    from skinmnist.models import classic

    return getattr(classic, builder)(setting)


#: Representations for samplers: pixels, their principal components, or lesion features.
PIXELS = FeatureSettings()
COMPONENTS = FeatureSettings(transformer=partial(_svm, "make_components"), space="components")
DESCRIPTORS = FeatureSettings(_extract, _standardiser, "descriptors")
#: Lesion features rotated to their principal axes, for the SVM.
_DESCRIPTOR_AXES = FeatureSettings(_extract, partial(_svm, "make_axes"), "descriptors")
_BYTES = FeatureSettings(pixel_type="uint8")


def _forest(setting: Setting) -> Any:
    from skinmnist.models.classic import EvenForest

    return EvenForest(rows_per_tree=setting.train_rows, random_state=setting.seed)


def _forest_on_features(setting: Setting) -> Any:
    # Many features are redundant: with few candidates per split, trees are diverse and cost half as much.
    # Thresholds finer than an eighth of a standard deviation do not help; this resolution halves the cost
    # again. With 70 trees, the area under the curve is up to .005 lower
    # (``experiments/benchmarks/descriptor_trials.csv``).
    # Nothing reads the training rows after the fit, because they are not pixels and need no calibration.
    return _forest(setting).set_params(max_features=16, levels=8, copy_X=False)


def _balanced(kind: str, setting: Setting) -> Any:
    from skinmnist.models.classic import BalancedEnsemble

    return BalancedEnsemble(kind, random_state=setting.seed)


def _dummy(setting: Setting) -> Any:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def _logistic_regression(setting: Setting) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.02, max_iter=2000, tol=1e-3)


def _hist_gradient_boosting(setting: Setting) -> Any:
    """Build histogram gradient boosting with a fixed number of rounds.

    Early stopping is off, because it would monitor rows that may show lesions from the training rows.
    """
    from skinmnist.models.classic import BoostedTrees

    return BoostedTrees(
        max_iter=60,
        learning_rate=0.1,
        max_leaf_nodes=15,
        max_features=0.2,
        max_bins=127,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=setting.seed,
    )


def make_cnn(setting: Setting) -> Any:
    """Build the network of the default comparison, which takes about 9 seconds on a 28x28 fold of HAM10000.

    It has three convolutions. At 28x28, 760 steps of such a network scored at least as well as 420 steps of
    one with residual pairs, in two thirds of the time (``experiments/benchmarks/cnn_trials.csv``). So few
    passes leave little to memorise: there is less dropout than in `CNNClassifier`, and the last stages are
    narrower. Pictures too small for cheap half-resolution steps get fewer steps: about 3 seconds at 8x8.
    """
    from skinmnist.models.cnn.network import grid_side
    from skinmnist.models.cnn.training import COARSE_GRID

    steps = 860 if grid_side(setting.shape) >= COARSE_GRID else 300
    return _cnn(setting, steps, channels=(32, 48, 64), pairs=(0, 0, 0), dropout=0.1)


def make_cnn_tiny(setting: Setting) -> Any:
    """Build the network for ``--quick``, which takes about half a second on 700 rows at 28x28."""
    layers = {"channels": (32, 64), "pairs": (0, 0)}
    return _cnn(setting, 1200, batch_size=32, coarse_share=0.8, views=2, **layers)


def make_cnn_thorough(setting: Setting) -> Any:
    """Build a wider network for longer runs, averaged with a network on lesion features.

    It takes about three minutes on a 28x28 fold of HAM10000. Training for so long memorises pictures unless
    the augmentation is stronger than in shorter runs.
    """
    layers = {"channels": (48, 96, 128), "pairs": (0, 2, 1), "feature_layers": (256,)}
    return _cnn(setting, 2400, dropout=0.4, max_shift=3, colour_spread=0.1, **layers)


def make_cnn_early_stopping(setting: Setting) -> Any:
    """Build a residual network with a common published training scheme: Adam with early stopping.

    The learning rate is halved after 3 checks without a lower validation loss, and training stops after 8
    such checks. On HAM10000, there is about one check per pass over the training rows.
    """
    patience = {"rate_patience": 3, "stop_patience": 8}
    return _cnn(setting, 1900, kernel_rate=None, learning_rate=1e-3, coarse_share=0.0, **patience)


def _cnn(setting: Setting, steps_at_full_table: int, **parameters: Any) -> Any:
    from skinmnist.models.cnn.classifier import CNNClassifier

    steps = steps_for(setting.train_rows, steps_at_full_table)
    return CNNClassifier(setting.shape, steps=steps, random_state=setting.seed, **parameters)


def steps_for(train_rows: int, steps_at_full_table: int) -> int:
    """Scale the number of steps with the rows before resampling, to keep the number of passes constant.

    Examples
    --------
    >>> steps_for(8012, steps_at_full_table=700), steps_for(4006, steps_at_full_table=700)
    (700, 350)
    """
    return max(20, round(steps_at_full_table * train_rows / FOLD_ROWS))


def _trained_mix(loss: str, counts: Any) -> Any:
    from skinmnist.models.cnn.losses import trained_mix

    return trained_mix(loss, counts)


def _of_loss(loss: str) -> Strategy:
    return Strategy({"loss": loss}, mix=partial(_trained_mix, loss))


def _of_mixture(mixture: str) -> Strategy:
    # Mixing takes the place of label smoothing and strong dropout: with all three, a network of so few steps
    # learns less. Pictures that are not mixed keep their labels, so the class mix stays natural.
    return Strategy({"mixture": mixture, "label_smoothing": 0.0, "dropout": 0.1})


#: Imbalance strategies of networks.
_NETWORK_STRATEGIES = {
    "balanced_batches": Strategy({"balance": "balanced_batches"}, mix_power=0.0, share_of="balance"),
    "sqrt_batches": Strategy({"balance": "sqrt_batches"}, mix_power=0.5),
    "focal_loss": Strategy({"loss": "focal"}, mix_power=1.0),
    # The frequencies are part of the loss but not of the predictions.
    "logit_adjusted_loss": Strategy({"loss": "logit_adjusted"}, mix_power=0.0),
    "class_balanced_loss": _of_loss("class_balanced"),
    "ldam_drw": _of_loss("ldam_drw"),
    "label_aware_smoothing": _of_loss("label_aware"),
    "mixup": _of_mixture("mixup"),
    "remix": _of_mixture("remix"),
    # The classifiers state the exact class mix, which a class of one row or the norms may change.
    "crt": Strategy({"head": "crt"}, mix_power=0.0, replaces_head=True),
    "tau_norm": Strategy({"head": "tau_norm"}, mix_power=1.0, replaces_head=True),
    "smote_head": Strategy({"head": "smote_head"}, mix_power=0.0, replaces_head=True),
}


def _network(title: str, classifier: Callable[[Setting], Any], seconds: float, **more: Any) -> ModelSpec:
    """Declare a network, with the settings that all networks share."""
    return ModelSpec(
        title,
        classifier,
        _BYTES,
        weights=True,
        sample_indices=True,
        cost=Cost(seconds, growth=0.0, library="skinmnist.models.cnn.classifier"),
        export=Export(export_network, {"answer_precision": "float32"}),
        **{"streams": True, "strategies": _NETWORK_STRATEGIES, **more},
    )


#: SMOTE creates up to 5,300 rows for a class of HAM10000, most of them far from any boundary. The cost of a
#: machine grows faster than quadratically in the rows of its pair. HAM10000 has 7,818 such rows (6,255 in a
#: fold), and 8,818 with the retained rows of SMOTE. With a limit of 12,000, a fold with twice as many 8x8
#: images took three times as long. For calibration on half of the lesions, a limit of 3,200 does not reduce
#: the macro-AUC after SMOTE.
_SVM_LIMITS = RowLimits(resampled=1_000, pair=9_000, calibration_pair=3_200)


def _pairwise_svm(title: str, builder: str, features: FeatureSettings, cost: Cost) -> ModelSpec:
    return ModelSpec(
        title,
        partial(_svm, builder),
        features,
        weights=True,
        copies_as_weights=True,
        limits=_SVM_LIMITS,
        cost=cost,
        export=Export(export_svm),
    )


def _balanced_ensemble(title: str, kind: str, seconds: float) -> ModelSpec:
    """Declare an ensemble that undersamples inside; its probabilities are calibrated to balanced classes."""
    return ModelSpec(
        title, partial(_balanced, kind), DESCRIPTORS, mix_power=0.0, cost=Cost(seconds, growth=0.0)
    )


MODELS = {
    "svm": _pairwise_svm(
        "Support vector machine (RBF)", "make_svm", _DESCRIPTOR_AXES, Cost(3.0, growth=0.85)
    ),
    "random_forest": ModelSpec(
        "Random forest",
        _forest_on_features,
        DESCRIPTORS,
        weights=True,
        copies_as_weights=True,
        cost=Cost(5.0, growth=0.25),
        export=Export(export_forest),
    ),
    "cnn": _network("Convolutional network", make_cnn, seconds=9.0),
    "cnn_tiny": _network("Convolutional network, tiny", make_cnn_tiny, seconds=8.0),
    # It needs the features of all its rows in every pass, so it keeps them in memory.
    "cnn_thorough": _network(
        "Convolutional network, thorough", make_cnn_thorough, seconds=200.0, streams=False
    ),
    "cnn_early_stopping": _network(
        "Convolutional network, early stopping",
        make_cnn_early_stopping,
        seconds=60.0,
        validation_share=0.1,
        # Training may stop before the weights of this loss begin.
        strategies={name: own for name, own in _NETWORK_STRATEGIES.items() if name != "ldam_drw"},
    ),
    "logistic_regression": ModelSpec(
        "Logistic regression",
        _logistic_regression,
        DESCRIPTORS,
        weights=True,
        copies_as_weights=True,
        cost=Cost(3.0),
        export=Export(export_linear),
    ),
    "hist_gradient_boosting": ModelSpec(
        "Histogram gradient boosting",
        _hist_gradient_boosting,
        DESCRIPTORS,
        weights=True,
        cost=Cost(9.0),
        export=Export(export_boosted_trees),
    ),
    "balanced_random_forest": _balanced_ensemble(
        "Balanced random forest", "balanced_random_forest", seconds=5.0
    ),
    "balanced_bagging": _balanced_ensemble("Balanced bagging", "balanced_bagging", seconds=4.0),
    "easy_ensemble": _balanced_ensemble("EasyEnsemble", "easy_ensemble", seconds=6.0),
    "rus_boost": _balanced_ensemble("RUSBoost", "rus_boost", seconds=5.0),
    "svm_pixels": _pairwise_svm(
        "Support vector machine (RBF), pixels", "make_svm_pixels", COMPONENTS, Cost(5.0, growth=1.5)
    ),
    "random_forest_pixels": ModelSpec(
        "Random forest, pixels",
        _forest,
        PIXELS,
        weights=True,
        copies_as_weights=True,
        cost=Cost(20.0, growth=0.3),
        export=Export(export_forest),
    ),
    "dummy": ModelSpec(
        "Class frequencies only", _dummy, cost=Cost(0.1, growth=0.0), export=Export(export_dummy)
    ),
}

DEFAULT_MODELS = ("svm", "random_forest", "cnn")
