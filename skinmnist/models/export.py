"""Fitted models as plain data for `skinmnist.inference`, which does not need the training library.

Networks are exported as tensors, with normalisations folded into the preceding convolutions. Classic models
are exported as arrays, see `skinmnist.inference.heads`. This requires neither pickle nor a converter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Fitted:
    """A trained model."""

    #: The transformer before the classifier, or None.
    features: Any
    classifier: Any
    #: Calibration of decision values for classifiers without ``predict_proba``; None for the others.
    calibration: Any
    #: Whether the inputs are lesion features instead of pixels.
    on_features: bool


@dataclass(frozen=True)
class Exported:
    """A model as plain data and arrays, in the format of `skinmnist.inference.model_file.Answer.read`."""

    answer: dict[str, Any]
    arrays: dict[str, Array] = field(default_factory=dict)


def export_network(fitted: Fitted) -> Exported:
    """Export a `skinmnist.models.cnn.classifier.CNNClassifier`."""
    from skinmnist.models.cnn.network import block_side

    classifier = fitted.classifier
    ensemble = classifier.build_ensemble()
    block = block_side(classifier.shape)
    feature_layers = tuple(classifier.feature_layers)
    head = {
        "kind": "network",
        "channels": list(classifier.channels),
        "pairs": list(classifier.pairs),
        "block": block,
        "views": classifier.used_views,
        "features": ensemble.n_features,
        "hidden": list(feature_layers),
        "share": float(classifier.feature_share) if feature_layers else 0.0,
    }
    statistics = ensemble.statistics
    tensors: dict[str, Array] = {
        "centre": np.tile(statistics.centre, block**2)[None, :, None, None],
        "spread": np.tile(statistics.spread, block**2)[None, :, None, None],
    }
    pixels = ensemble.members[0]
    for stage, n_pairs in enumerate(classifier.pairs, start=1):
        names = [f"stage{stage}_conv"]
        for pair in range(n_pairs):
            names += [f"stage{stage}_pair{pair}_first", f"stage{stage}_pair{pair}_second"]
        for name in names:
            tensors |= _convolution(name, pixels.get_layer(name), pixels.get_layer(f"{name}_norm"))
    tensors |= _dense("logits", pixels.get_layer("logits"))
    for layer in range(1, len(feature_layers) + 1):
        tensors |= _dense(f"hidden{layer}", ensemble.members[1].get_layer(f"hidden{layer}"))
    if feature_layers:
        tensors |= _dense("feature_logits", ensemble.members[1].get_layer("logits"))
    inside = replace(fitted, features=classifier.standardiser_, on_features=bool(feature_layers))
    return _exported(inside, head, tensors)


def _convolution(name: str, convolution: Any, norm: Any) -> dict[str, Array]:
    """Fold a normalisation into the preceding convolution, in ONNX order: out, in, height, width."""
    (kernel,) = convolution.get_weights()
    scale, offset, mean, variance = (part.astype(np.float64) for part in norm.get_weights())
    factor = scale / np.sqrt(variance + norm.epsilon)
    return {
        f"{name}_kernel": (kernel * factor).transpose(3, 2, 0, 1).astype(np.float32),
        f"{name}_offset": (offset - mean * factor).astype(np.float32),
    }


def _dense(name: str, layer: Any) -> dict[str, Array]:
    kernel, offset = layer.get_weights()
    return {f"{name}_kernel": kernel, f"{name}_offset": offset}


def export_svm(fitted: Fitted) -> Exported:
    """Export a `skinmnist.models.classic.PairwiseSVC` with its calibration."""
    machine, (scaler, regression) = fitted.classifier, (step for _, step in fitted.calibration.steps)
    weights, offsets = machine.pair_weights()
    arrays = {
        # The vectors were float32 before libsvm converted them.
        "vector": machine.support_vectors_.astype(np.float32),
        "vector_weight": weights,
        "pair_offset": offsets,
        "pair_mean": scaler.mean_,
        "pair_scale": scaler.scale_,
        **_linear(regression),
    }
    return _exported(fitted, {"kind": "kernel_machine", "gamma": float(machine.gamma)}, arrays)


def export_linear(fitted: Fitted) -> Exported:
    """Export logistic regression."""
    return _exported(fitted, {"kind": "linear"}, _linear(fitted.classifier))


def export_dummy(fitted: Fitted) -> Exported:
    """Export the class frequencies of the dummy classifier."""
    return _exported(fitted, {"kind": "constant"}, {"probability": fitted.classifier.class_prior_})


def export_forest(fitted: Fitted) -> Exported:
    """Export a `skinmnist.models.classic.EvenForest`."""
    forest = fitted.classifier
    trees = []
    for tree in (estimator.tree_ for estimator in forest.estimators_):
        left, values = tree.children_left, tree.value[:, 0, :]
        shares = values / values.sum(axis=1, keepdims=True)
        trees.append((tree.feature, tree.threshold, left, tree.children_right, left < 0, shares))
    head = {"kind": "forest", "levels": float(forest.levels or 0)}
    arrays = _join(trees)
    return _exported(fitted, head, {**arrays, "leaf_value": arrays["leaf_value"].astype(np.float32)})


def export_boosted_trees(fitted: Fitted) -> Exported:
    """Export histogram gradient boosting.

    scikit-learn has no public interface to the trees; a test checks the private names used here.
    """
    boosting = fitted.classifier
    outputs = boosting.n_trees_per_iteration_
    trees = []
    for round_ in boosting._predictors:
        for output, predictor in enumerate(round_):
            nodes = predictor.nodes
            values = np.zeros((len(nodes), outputs))
            values[:, output] = nodes["value"]
            leaf = nodes["is_leaf"].astype(bool)
            trees.append(
                (nodes["feature_idx"], nodes["num_threshold"], nodes["left"], nodes["right"], leaf, values)
            )
    arrays = {**_join(trees), "start": np.asarray(boosting._baseline_prediction, dtype=np.float64).ravel()}
    return _exported(fitted, {"kind": "boosted_trees"}, arrays)


def _join(trees: Sequence[tuple[Array, ...]]) -> dict[str, Array]:
    """Concatenate trees, each given by its nodes' columns, thresholds, children, leaf flags and values."""
    sizes = [len(tree[0]) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    columns, thresholds, left, right, leaf, values = (
        np.concatenate(part) for part in zip(*trees, strict=True)
    )
    place, start = np.arange(len(leaf)), np.repeat(roots, sizes)
    return {
        "tree_root": roots.astype(np.int32),
        "node_column": np.where(leaf, 0, columns).astype(np.int32),
        "node_threshold": _rounded_down(np.where(leaf, 0.0, thresholds)),
        # A leaf is its own child.
        "node_left": np.where(leaf, place, left.astype(np.int64) + start).astype(np.int32),
        "node_right": np.where(leaf, place, right.astype(np.int64) + start).astype(np.int32),
        "node_leaf": np.where(leaf, np.cumsum(leaf) - 1, 0).astype(np.int32),
        "leaf_value": values[leaf],
    }


def _rounded_down(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the largest float32 not above each value; ``<=`` with float32 inputs gives the same result."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)


def _linear(regression: Any) -> dict[str, Array]:
    return {"linear_weight": regression.coef_, "linear_offset": regression.intercept_}


def _exported(fitted: Fitted, head: dict[str, Any], arrays: dict[str, Array]) -> Exported:
    """Add the steps before the classifier."""
    steps = []
    for transformer in _transformers(fitted.features):
        step, own = _standardise(transformer) if hasattr(transformer, "spread_") else _project(transformer)
        steps.append(step)
        arrays = {**own, **arrays}
    answer = {
        "input": "features" if fitted.on_features else "pixels",
        "steps": steps,
        "head": head,
        "codes": np.asarray(fitted.classifier.classes_).tolist(),
    }
    return Exported(answer, arrays)


def _transformers(features: Any) -> list[Any]:
    if features is None:
        return []
    return [step for _, step in features.steps] if hasattr(features, "steps") else [features]


def _project(components: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    axes = components.pca_.components_
    step = {"kind": "project", "axes": len(axes), "scale": components.scale_}
    return step, {"axis": axes, "axis_mean": components.pca_.mean_}


def _standardise(standardiser: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    from skinmnist.features.transformer import FARTHEST

    step = {"kind": "standardise", "farthest": FARTHEST}
    return step, {"feature_mean": standardiser.mean_, "feature_scale": standardiser.spread_}
