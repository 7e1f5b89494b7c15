"""Audits of the data: what both sides of a split share, whether lesion ids fit, and doubtful labels.

Doubtful labels are found by confident learning on held-out probabilities (Northcutt, Jiang & Chuang,
"Confident learning: estimating uncertainty in dataset labels", Journal of Artificial Intelligence Research
70, 2021). A class is claimed for a picture if its probability is at least the average over the pictures with
that label. The threshold thus adapts to rare classes, which models predict with less confidence. The list is
sorted by the probability of the label, which found flipped labels better than the margin to the suggested
class did (`experiments/benchmarks/label_audit.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.decoding import OPTIONAL, Between, Count, refused
from skinmnist.datasets.near_duplicates import (
    ALIKE,
    MOST_ROWS,
    find_near_duplicates,
    first_copies,
    lesion_likeness,
)
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.splits import LEFT_OUT, Split

if TYPE_CHECKING:
    import pandas as pd

    from skinmnist.experiment.cells import CellResult

#: Number of doubtful labels whose pictures a run stores.
MOST_DOUBTED = 24
AUDIT_COLUMNS = ("row", "label", "suggested", "p_label", "p_suggested", "doubted")
#: Maximum number of near duplicates across folds to list.
_NAMED = 20
#: The fit is 0.81 for the lesion ids of HAM10000, and 0.50 if these are shuffled within their classes. With
#: fewer pairs, such a difference can be due to chance.
_LEAST_FIT, _FEWEST_PAIRS = 0.65, 20


@dataclass(frozen=True)
class SplitFacts:
    """Counts that describe both sides of a split, computed while the table is available."""

    #: Lesions with pictures in several folds, and the number of these pictures; None if lesions are unknown.
    shared_lesions: Count | None
    shared_pictures: Count | None
    #: Smallest correlation between near duplicates.
    alike_from: float
    #: Number of near duplicates; None if the table is too large to search.
    alike_pairs: Count | None
    #: Near duplicates in different folds without a known common lesion, and the first of them by row.
    alike_across: Count | None
    alike_rows: tuple[tuple[Count, Count], ...]
    #: Pictures with the same pixels as an earlier picture; those without a common lesion id; those with
    #: another label, and the first such pair.
    copies: Count = field(default=0, metadata=OPTIONAL)
    unlinked_copies: Count = field(default=0, metadata=OPTIONAL)
    relabelled: Count = field(default=0, metadata=OPTIONAL)
    relabelled_rows: tuple[Count, ...] = field(default=(), metadata=OPTIONAL)

    @classmethod
    def of_split(cls, table: PixelTable, fold_of: npt.NDArray[np.integer]) -> SplitFacts:
        """Count lesions and copies across folds; `fold_of` has the fold of each row, or ``LEFT_OUT``."""
        rows = np.flatnonzero(fold_of != LEFT_OUT)
        lesions = number_lesions(table)
        shared_lesions, shared_pictures = (None, None) if lesions is None else count_shared(lesions, fold_of)
        first = rows[first_copies(table, rows)]
        relabelled = np.flatnonzero(table.labels[first] != table.labels[rows])
        copies = (
            int(np.count_nonzero(first != rows)),
            int(np.count_nonzero((first != rows) & (lesions is None or lesions[first] != lesions[rows]))),
            len(relabelled),
            tuple(int(part[relabelled[0]]) for part in (first, rows)) if len(relabelled) else (),
        )
        if len(rows) > MOST_ROWS:
            return cls(shared_lesions, shared_pictures, ALIKE, None, None, (), *copies)
        pairs = find_near_duplicates(table, rows)
        apart = fold_of[pairs[:, 0]] != fold_of[pairs[:, 1]]
        if lesions is not None:
            apart &= lesions[pairs[:, 0]] != lesions[pairs[:, 1]]
        return cls(
            shared_lesions=shared_lesions,
            shared_pictures=shared_pictures,
            alike_from=ALIKE,
            alike_pairs=len(pairs),
            alike_across=int(apart.sum()),
            alike_rows=tuple((int(one), int(other)) for one, other in pairs[apart][:_NAMED]),
            copies=copies[0],
            unlinked_copies=copies[1],
            relabelled=copies[2],
            relabelled_rows=copies[3],
        )

    def check(self) -> None:
        """Raise an InputError if the fields are inconsistent."""
        if self.alike_across and not self.alike_rows:
            raise refused("split_facts.alike_rows", "the rows of a pair", [])
        if self.shared_lesions and self.shared_pictures is None:
            raise refused("split_facts.shared_pictures", "a whole number", None)
        if self.relabelled and len(self.relabelled_rows) != 2:
            raise refused("split_facts.relabelled_rows", "the rows of a pair", [])


def count_shared(lesions: npt.NDArray[np.integer], fold_of: npt.NDArray[np.integer]) -> tuple[int, int]:
    """Count the lesions, numbered for each row, with pictures in several folds, and these pictures."""
    used = fold_of != LEFT_OUT
    lesions, fold_of = lesions[used], fold_of[used]
    one_of = np.zeros(lesions.max(initial=0) + 1, fold_of.dtype)
    one_of[lesions] = fold_of  # One of the folds of each lesion; those with another one are shared.
    shared = np.zeros(len(one_of), dtype=bool)
    shared[lesions[one_of[lesions] != fold_of]] = True
    return int(shared.sum()), int(shared[lesions].sum())


def number_lesions(table: PixelTable) -> npt.NDArray[np.intp] | None:
    """Return the number of the lesion of each row, by the order of the ids; None if lesions are unknown."""
    return None if table.lesion_ids is None else np.unique(table.lesion_ids, return_inverse=True)[1]


def warn_of_shared(split: Split, table: PixelTable, fold_of: npt.NDArray[np.integer]) -> tuple[str, ...]:
    """Return the warning for given folds that split lesions: at most one sentence."""
    lesions = number_lesions(table) if split.startswith("given") else None
    shared_lesions = 0 if lesions is None else count_shared(lesions, fold_of)[0]
    if not shared_lesions:
        return ()
    return (
        f"WARNING: {shared_lesions:,} lesions have pictures both in training and in held-out parts "
        "of the given folds, so a model may answer from memory; use a splitter that keeps groups "
        "together, such as StratifiedGroupKFold",
    )


@dataclass(frozen=True)
class LesionFit:
    """The agreement of lesion ids with pictures: the pairs and share of `lesion_likeness`."""

    pairs: Count
    share: Annotated[float, Between(0, 1)]

    @classmethod
    def of_table(cls, table: PixelTable) -> LesionFit | None:
        """Measure the agreement; None if no lesion has two pictures."""
        found = lesion_likeness(table)
        return None if found is None else cls(found[0], round(found[1], 4))

    @property
    def doubtful(self) -> bool:
        """Whether the ids probably belong to other pictures; False if there are too few pairs."""
        return self.pairs >= _FEWEST_PAIRS and self.share < _LEAST_FIT

    @property
    def warning(self) -> tuple[str, ...]:
        """The warning for ids that do not match the pictures: at most one sentence."""
        if not self.doubtful:
            return ()
        return (
            f"WARNING: the lesion ids do not fit the pictures: a second picture of a lesion is more like the "
            f"first than {self.share:.0%} of those of other lesions in its class, over {self.pairs:,} pairs "
            f"(by chance 50%, expected at least {_LEAST_FIT:.0%}). The split cannot keep lesions together; "
            "check that metadata and table have their rows in the same order",
        )


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

    The cells are those of trained models: a derived cell would count the models it is made from again. If
    there are cells without a sampler, only these are used because samplers distort probabilities.
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
    import pandas as pd

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
