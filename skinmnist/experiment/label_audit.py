"""Find doubtful labels by confident learning on held-out probabilities.

Northcutt, Jiang & Chuang, "Confident learning: estimating uncertainty in dataset labels", Journal of
Artificial Intelligence Research 70 (2021). A class is claimed for a picture if its probability is at least
the average over the pictures with that label. The threshold thus adapts to rare classes, which models predict
with less confidence. The list is sorted by the probability of the label, which found flipped labels better
than the margin to the suggested class did (`experiments/benchmarks/label_audit.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.experiment.cells import CellResult

#: Number of doubtful labels whose pictures a run stores.
MOST_DOUBTED = 24
AUDIT_COLUMNS = ("row", "label", "suggested", "p_label", "p_suggested", "doubted")


def audit_labels(
    labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the strongest alternative to each label, and whether the label is doubtful.

    Parameters
    ----------
    labels : ndarray of shape (n,), int
        Codes of the given labels.
    probabilities : ndarray of shape (n, k)
        Probabilities from models that were not trained on the picture.

    Returns
    -------
    suggested : ndarray of shape (n,), int64
        The most probable claimed class or, if no class other than the label is claimed, the most probable
        other class.
    doubted : ndarray of shape (n,), bool
        True if a class is claimed and the most probable claimed class differs from the label.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([0, 0, 0, 1, 1])
    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.4, 0.6]])
    >>> audit_labels(labels, probabilities)[1]
    array([False, False,  True, False, False])
    """
    n, k = probabilities.shape
    each, counts = np.arange(n), np.bincount(labels, minlength=k)
    usual = np.bincount(labels, probabilities[each, labels], minlength=k) / np.maximum(counts, 1)
    claimed = np.where((probabilities >= usual) & (counts > 0), probabilities, -1.0)
    most = claimed.argmax(axis=1)
    doubted = (claimed.max(axis=1) >= 0) & (most != labels)
    others = probabilities.copy()
    others[each, labels] = -1.0
    return np.where(doubted, most, others.argmax(axis=1)).astype(np.int64), doubted


def mean_probabilities(
    results: Sequence[CellResult],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the held-out rows in ascending order, their labels, and their mean probabilities over cells.

    If there are cells without a sampler, only these are used because samplers distort probabilities.
    """
    plain = [result for result in results if result.cell.sampler == "none"] or list(results)
    rows = np.concatenate([result.rows for result in plain])
    found, place = np.unique(rows, return_inverse=True)
    k = plain[0].probabilities.shape[1]
    total = np.zeros((len(found), k))
    np.add.at(total, place, np.concatenate([result.probabilities for result in plain]))
    labels = np.empty(len(found), dtype=np.int64)
    labels[place] = np.concatenate([result.labels for result in plain])
    return found, labels, total / total.sum(axis=1, keepdims=True)


def label_audit(results: Sequence[CellResult], class_names: Sequence[str]) -> pd.DataFrame:
    """Return all held-out rows, the most suspicious label first, with the columns `AUDIT_COLUMNS`.

    The table is empty if no cell has finished.
    """
    if not results:
        return pd.DataFrame(columns=list(AUDIT_COLUMNS))
    rows, labels, probabilities = mean_probabilities(results)
    suggested, doubted = audit_labels(labels, probabilities)
    names, each = np.array(class_names), np.arange(len(rows))
    columns = (
        rows,
        names[labels],
        names[suggested],
        probabilities[each, labels],
        probabilities[each, suggested],
        doubted,
    )
    frame = pd.DataFrame(dict(zip(AUDIT_COLUMNS, columns, strict=True)))
    order = np.lexsort((rows, frame["p_label"]))
    return frame.iloc[order].reset_index(drop=True)
