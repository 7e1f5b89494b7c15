"""Checks of the table, the split and the run as a whole."""

from __future__ import annotations

import numpy as np

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis
from skinmnist.experiment.run_folder.record import RunRecord

#: With fewer lesions of a class in a fold than these, one lesion moves its recall by a tenth or more.
FEWEST_LESIONS = 10
#: A table this close to the size of HAM10000 claims to be it; its classes may miss their shares by this much.
_CLOSE, _OFF = 0.05, 0.2


def shared_lesions(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell of lesions whose pictures stand in several folds."""
    found = record.info.split_facts
    if found is None or not found.shared_lesions or found.shared_pictures is None:
        return None
    share = found.shared_pictures / record.info.protocol.rows
    return (
        f"{found.shared_lesions:,} lesions have pictures in several folds ({100 * share:.0f} % of all "
        "pictures), so models are examined on lesions that they have trained on, which raises every score; "
        "split by lesion."
    )


def unknown_lesions(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell that nobody can know whether the folds share lesions."""
    if record.info.table.lesions is not None:
        return None
    return (
        "The table has no lesion ids, so pictures of one lesion may stand in several folds, which raises "
        "every score; name its metadata with --metadata."
    )


def near_duplicates(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell of nearly equal pictures in different folds that no lesion id ties together."""
    found = record.info.split_facts
    if found is None or not found.alike_across:
        return None
    pairs, first = found.alike_across, found.alike_rows[0]
    many = "pair of pictures looks" if pairs == 1 else "pairs of pictures look"
    ids = "" if found.shared_lesions is None else ", though their lesion ids differ"
    return (
        f"{pairs:,} {many} nearly the same in different folds{ids} (correlation of {found.alike_from:g} "
        f"or more; rows {first[0]} and {first[1]}{', for one' if pairs > 1 else ''}): where they show one "
        "lesion, it is examined from memory."
    )


def few_lesions(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell of classes of which a fold holds few lesions."""
    table, folds = record.info.table, record.info.protocol.folds
    known = table.lesions_per_class
    what = "pictures" if known is None else "lesions"
    # A run on a part of the table keeps classes in proportion.
    part = record.info.protocol.rows / table.rows
    counts = np.asarray(table.rows_per_class if known is None else known) * part / folds
    few = [
        f"{name} {count:.0f}"
        for name, count in zip(table.class_names, counts, strict=True)
        if count < FEWEST_LESIONS
    ]
    if not few:
        return None
    return (
        f"A held-out fold has fewer than {FEWEST_LESIONS} {what} of some classes ({listed(few)}): a single "
        "one moves their recall, and so macro-F1, by a lot."
    )


def class_order(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell where a table that claims to be HAM10000 has other class sizes: its labels may be swapped."""
    table = record.info.table
    rows, true = np.asarray(table.rows_per_class), np.asarray(facts.ROWS_PER_CLASS)
    claims = tuple(table.class_names) == facts.CLASS_NAMES and not table.synthetic
    if not claims or abs(rows.sum() - true.sum()) > _CLOSE * true.sum():
        return None
    off = np.flatnonzero(np.abs(rows - true) > np.maximum(_OFF * true, 5))
    if not len(off):
        return None
    shown = [f"{facts.CLASS_NAMES[code]} {rows[code]:,} instead of {true[code]:,}" for code in off]
    return (
        f"The table has the size of HAM10000 and other classes ({listed(shown)}): the order of its labels "
        "is probably not that of the names."
    )


def quick(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell that a run was a quick look."""
    if not record.info.quick:
        return None
    rows, folds = record.info.protocol.rows, record.info.protocol.folds
    return (
        f"This was a quick look at {rows:,} pictures in {folds} folds and is no result; run again without "
        "--quick."
    )


def synthetic(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell that the pictures were drawn."""
    if not record.info.table.synthetic:
        return None
    return "The pictures were drawn by skinmnist, so the scores say nothing about real skin."


def failed_cells(record: RunRecord, analysis: Analysis) -> str | None:
    """Tell of cells without a result."""
    if not record.failures:
        return None
    pairs = dict.fromkeys(f"{f.cell.sampler} with {f.cell.model}" for f in record.failures)
    return (
        f"{len(record.failures)} of {len(record.info.cells)} cells failed ({listed(list(pairs))}), so "
        "means are over the folds that are left and pairs are not examined on the same pictures."
    )


def listed(items: list[str], most: int = 4) -> str:
    """Join items, the first of them where there are many."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + rest
