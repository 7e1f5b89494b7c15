"""The classic models as arrays; see `skinmnist.inference.heads` for what is computed with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.models.export import Array, Exported, Fitted, standardise


def export_svm(fitted: Fitted) -> Exported:
    """Export a `skinmnist.models.pairwise.PairwiseSVC` with its calibration."""
    machine, (scaler, regression) = fitted.classifier, (step for _, step in fitted.calibration.steps)
    weights, offsets = machine.pair_weights()
    arrays = {
        # They were float32 before libsvm copied them.
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
    """Export class frequencies."""
    return _exported(fitted, {"kind": "constant"}, {"probability": fitted.classifier.class_prior_})


def export_forest(fitted: Fitted) -> Exported:
    """Export a `skinmnist.models.forest.EvenForest`."""
    forest = fitted.classifier
    grown = [estimator.tree_ for estimator in forest.estimators_]
    values = [tree.value[:, 0, :] / tree.value[:, 0, :].sum(axis=1, keepdims=True) for tree in grown]
    trees = [
        (tree.feature, tree.threshold, tree.children_left, tree.children_right, tree.children_left < 0, value)
        for tree, value in zip(grown, values, strict=True)
    ]
    head = {"kind": "forest", "levels": float(forest.levels or 0)}
    arrays = _join(trees)
    return _exported(fitted, head, {**arrays, "leaf_value": arrays["leaf_value"].astype(np.float32)})


def export_boosted_trees(fitted: Fitted) -> Exported:
    """Export histogram gradient boosting.

    scikit-learn gives no public access to its trees; a test holds the names that are used here.
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
    """Put trees behind each other: columns, thresholds, left, right, whether a leaf, values, of each node."""
    sizes = [len(tree[0]) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    moved = [np.full(size, root) for root, size in zip(roots, sizes, strict=True)]
    columns, thresholds, left, right, leaf, values = (
        np.concatenate(part) for part in zip(*trees, strict=True)
    )
    place, start = np.arange(len(leaf)), np.concatenate(moved)
    number = np.cumsum(leaf) - 1
    return {
        "tree_root": roots.astype(np.int32),
        "node_column": np.where(leaf, 0, columns).astype(np.int32),
        "node_threshold": _rounded_down(np.where(leaf, 0.0, thresholds)),
        # A leaf is its own child.
        "node_left": np.where(leaf, place, left.astype(np.int64) + start).astype(np.int32),
        "node_right": np.where(leaf, place, right.astype(np.int64) + start).astype(np.int32),
        "node_leaf": np.where(leaf, number, 0).astype(np.int32),
        "leaf_value": values[leaf],
    }


def _rounded_down(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the largest float32 that is not above: for float32 numbers ``<=`` tells the same of both."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)


def _linear(regression: Any) -> dict[str, Array]:
    return {"linear_weight": regression.coef_, "linear_offset": regression.intercept_}


def _exported(fitted: Fitted, head: dict[str, Any], arrays: dict[str, Array]) -> Exported:
    """Add what stands before the classifier."""
    steps = []
    for transformer in _transformers(fitted.features):
        step, own = standardise(transformer) if hasattr(transformer, "spread_") else _project(transformer)
        steps.append(step)
        arrays = {**own, **arrays}
    answer = {
        "input": "features" if fitted.described else "pixels",
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
