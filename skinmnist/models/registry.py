"""The registry of models: a plain dict. To add a model is to add an entry.

Nothing heavy is imported here; an entry imports its library when it is built.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skinmnist.models.baselines import make_dummy, make_hist_gradient_boosting, make_logistic_regression
from skinmnist.models.cnn.variants import (
    make_cnn,
    make_cnn_early_stopping,
    make_cnn_thorough,
    make_cnn_tiny,
)
from skinmnist.models.export import export_network
from skinmnist.models.exporting_classic import (
    export_boosted_trees,
    export_dummy,
    export_forest,
    export_linear,
    export_svm,
)
from skinmnist.models.spec import ModelSpec, Setting
from skinmnist.models.svm import (
    CALIBRATION_PAIR_ROWS,
    PAIR_ROWS,
    RESAMPLED_ROWS,
    make_svm,
    make_svm_features,
    make_svm_pixels,
)


def _components(setting: Setting) -> Any:
    from skinmnist.models.components import Components

    return Components(random_state=setting.seed)


def _describe(rows: Any, shape: tuple[int, int, int]) -> Any:
    from skinmnist.features.extract import extract_features

    return extract_features(rows, shape)


def _standardiser(setting: Setting) -> Any:
    from skinmnist.features.transformer import Standardiser

    return Standardiser()


def _forest(setting: Setting) -> Any:
    from skinmnist.models.forest import EvenForest

    return EvenForest(rows_per_tree=setting.train_rows, random_state=setting.seed)


def _forest_on_descriptors(setting: Setting) -> Any:
    # Of many numbers that tell much the same, few candidates make trees that differ, at half the cost; an
    # eighth of a standard deviation is as fine as a tree needs its thresholds, at half the cost again.
    return _forest(setting).set_params(max_features=16, levels=8)


#: What a network can do about imbalance by itself.
_NETWORK_STRATEGIES = {
    "balanced_batches": {"balance": "balanced_batches"},
    "sqrt_batches": {"balance": "sqrt_batches"},
    "focal_loss": {"loss": "focal"},
    "logit_adjusted_loss": {"loss": "logit_adjusted"},
}


def _network(
    title: str,
    classifier: Callable[[Setting], Any],
    seconds: float,
    watch: float = 0.0,
    streams: bool = True,
) -> ModelSpec:
    """Declare a network: what all of them have in common."""
    return ModelSpec(
        title=title,
        classifier=classifier,
        pixel_type="uint8",
        library="skinmnist.models.cnn.classifier",
        strategies=_NETWORK_STRATEGIES,
        most_probable=True,
        weights=True,
        draws=True,
        streams=streams,
        watch=watch,
        export=export_network,
        kept={"answer_precision": "float32"},
        seconds=seconds,
        grows=0.0,
    )


MODELS = {
    "svm": ModelSpec(
        title="Support vector machine (RBF)",
        classifier=make_svm,
        describe=_describe,
        features=make_svm_features,
        space="descriptors",
        weights=True,
        copies_as_weights=True,
        calibrate=True,
        calibration_pair_rows=CALIBRATION_PAIR_ROWS,
        resampled_rows=RESAMPLED_ROWS,
        pair_rows=PAIR_ROWS,
        export=export_svm,
        seconds=3.0,
        grows=0.85,
    ),
    "random_forest": ModelSpec(
        title="Random forest",
        classifier=_forest_on_descriptors,
        describe=_describe,
        features=_standardiser,
        space="descriptors",
        most_probable=True,
        weights=True,
        export=export_forest,
        seconds=5.0,
        grows=0.25,
    ),
    "cnn": _network("Convolutional network", make_cnn, seconds=27.0),
    "cnn_tiny": _network("Convolutional network, tiny", make_cnn_tiny, seconds=8.0),
    # It takes the features of all its rows at every pass, and so holds them.
    "cnn_thorough": _network(
        "Convolutional network, thorough", make_cnn_thorough, seconds=200.0, streams=False
    ),
    "cnn_early_stopping": _network(
        "Convolutional network, early stopping", make_cnn_early_stopping, seconds=60.0, watch=0.1
    ),
    "logistic_regression": ModelSpec(
        title="Logistic regression",
        classifier=make_logistic_regression,
        describe=_describe,
        features=_standardiser,
        space="descriptors",
        weights=True,
        copies_as_weights=True,
        export=export_linear,
        seconds=3.0,
    ),
    "hist_gradient_boosting": ModelSpec(
        title="Histogram gradient boosting",
        classifier=make_hist_gradient_boosting,
        describe=_describe,
        features=_standardiser,
        space="descriptors",
        weights=True,
        export=export_boosted_trees,
        seconds=9.0,
    ),
    "svm_pixels": ModelSpec(
        title="Support vector machine (RBF), pixels",
        classifier=make_svm_pixels,
        features=_components,
        space="components",
        weights=True,
        copies_as_weights=True,
        calibrate=True,
        calibration_pair_rows=CALIBRATION_PAIR_ROWS,
        resampled_rows=RESAMPLED_ROWS,
        pair_rows=PAIR_ROWS,
        export=export_svm,
        seconds=5.0,
        grows=1.5,
    ),
    "random_forest_pixels": ModelSpec(
        title="Random forest, pixels",
        classifier=_forest,
        most_probable=True,
        weights=True,
        export=export_forest,
        seconds=20.0,
        grows=0.3,
    ),
    "dummy": ModelSpec(
        title="Class frequencies only",
        classifier=make_dummy,
        export=export_dummy,
        seconds=0.1,
        grows=0.0,
    ),
}

DEFAULT_MODELS = ("svm", "random_forest", "cnn")
