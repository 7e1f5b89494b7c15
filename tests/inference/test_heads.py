"""Heads against slow and plain ways to the same numbers."""

import numpy as np
import pytest

from skinmnist.inference.heads import Trees, read_project, read_standardise, softmax
from skinmnist.inference.manifest import Arrays, UnreadableError


def random_trees(rng, n_trees=3, splits=6, width=4, outputs=2):
    """Return arrays of trees that were grown by splitting leaves at random; children follow their parents."""
    columns, thresholds, left, right, roots = [], [], [], [], []

    def grow(splits):
        place = len(left)
        columns.append(int(rng.integers(width)))
        thresholds.append(rng.normal())
        left.append(place)
        right.append(place)
        if splits:
            rest = splits - 1
            share = int(rng.integers(rest + 1))
            left[place] = len(left)
            grow(share)
            right[place] = len(left)
            grow(rest - share)

    for _ in range(n_trees):
        roots.append(len(left))
        grow(splits)
    leaf = np.array(left) == np.arange(len(left))
    return {
        "tree_root": np.array(roots),
        "node_column": np.array(columns),
        "node_threshold": np.array(thresholds),
        "node_left": np.array(left),
        "node_right": np.array(right),
        "node_leaf": np.where(leaf, np.cumsum(leaf) - 1, 0),
        "leaf_value": rng.normal(size=(leaf.sum(), outputs)),
    }


def walk(arrays, node, row):
    """Walk one tree with one row, one step at a time."""
    left, right = arrays["node_left"][node], arrays["node_right"][node]
    if left == node:
        return arrays["leaf_value"][arrays["node_leaf"][node]]
    goes_left = row[arrays["node_column"][node]] <= arrays["node_threshold"][node]
    return walk(arrays, left if goes_left else right, row)


@pytest.mark.parametrize("splits", [0, 1, 12])
def test_all_trees_at_once_are_each_tree_by_itself(splits):
    rng = np.random.default_rng(splits)
    arrays, rows = random_trees(rng, splits=splits), rng.normal(size=(50, 4))
    expected = [sum(walk(arrays, root, row) for root in arrays["tree_root"]) for row in rows]
    np.testing.assert_allclose(Trees.read(Arrays(arrays), 4, 2).total(rows), expected, rtol=1e-12)


def test_nodes_that_are_no_trees():
    arrays = random_trees(np.random.default_rng(0))
    for name in ("node_left", "node_right"):
        with pytest.raises(UnreadableError, match="are not connected"):
            Trees.read(Arrays({**arrays, name: np.roll(arrays[name], 1)}), 4, 2)


def test_softmax_of_one_score_is_that_of_the_second_class():
    scores = np.array([[0.0], [2.0], [-700.0]])
    np.testing.assert_allclose(softmax(scores)[:, 1], 1 / (1 + np.exp(-scores[:, 0])))
    np.testing.assert_allclose(softmax(np.array([[1000.0, 1000.0]])), [[0.5, 0.5]])


def test_steps():
    rows = np.array([[0.0, 100.0], [2.0, 4.0]])
    arrays = {"feature_mean": np.array([1.0, 2.0]), "feature_scale": np.array([0.5, 2.0])}
    step, width = read_standardise({"farthest": 8}, Arrays(arrays), 2)
    assert width == 2
    np.testing.assert_allclose(step(rows), [[-2, 8], [2, 1]])
    arrays = {"axis_mean": np.array([1.0, 2.0]), "axis": np.array([[0.0, 1.0]])}
    step, width = read_project({"axes": 1, "scale": 4}, Arrays(arrays), 2)
    assert width == 1
    np.testing.assert_allclose(step(rows), [[24.5], [0.5]])
