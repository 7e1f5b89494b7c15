"""Names of the files of a run, and functions that distinguish run folders from user folders."""

from __future__ import annotations

import json
from pathlib import Path
from stat import S_IFDIR

from skinmnist.datasets.files import LOCK_FILE, Owned, Series, file_type, is_plain, members

_CELL_NAME, _CELL_HEAD = r".+-r\d+-f\d+-[0-9a-f]{16}\.cell", "[0-9a-f]{64}PK"
#: Files of a leak demonstration.
LEAK_FILES = Owned(
    "demonstration of leaks",
    files=("leaks.csv", "leaks/leaks.json"),
    series=(Series("leaks/*", _CELL_NAME, _CELL_HEAD),),
)
#: Files of a report, in the run folder or elsewhere.
REPORT_FILE = "report.html"
REPORT = Owned(
    "report",
    files=(
        REPORT_FILE,
        "comparisons.csv",
        "intervals.csv",
        "difference_intervals.csv",
        "derived_scores.csv",
        "operating_points.csv",
        "tradeoff.csv",
        "subgroups.csv",
        "label_audit.csv",
        "external.csv",
    ),
    series=(Series("medmnist_results", r"[\w-]+_test_\[AUC\][\d.]+_\[ACC\][\d.]+@[\w-]+\.csv", r"0,"),),
)
RUN = Owned(
    "run folder",
    files=(
        "run.json",
        "run.log",
        *REPORT.files,
        "predictions.csv.gz",
        "validation_predictions.csv.gz",
        "class_mix.csv",
        "scores.csv",
        "timings.csv",
        "pictures.npz",
        "mistakes.npz",
        "lesions.npz",
        "patients.npz",
        "claims.csv",
        "published/preset.json",
        "published/augmented.npz",
        *LEAK_FILES.files,
    ),
    series=(
        *REPORT.series,
        Series("cells", _CELL_NAME, _CELL_HEAD),
        Series("published", _CELL_NAME, _CELL_HEAD),
        *LEAK_FILES.series,
    ),
    marker=f"cells/{LOCK_FILE}",
)
_OF_A_RUN = {"skinmnist", "identity", "protocol", "grid", "cells"}


def is_unmarked_run(folder: Path) -> bool:
    """Return whether a folder without a marker is an older run folder, based on ``run.json`` or its cells."""
    path = folder / "run.json"
    try:
        info = json.loads(path.read_bytes()) if is_plain(path) else None
    except (OSError, ValueError, RecursionError):
        return False
    if info is None:
        return _holds_only_cells(folder)
    return isinstance(info, dict) and info.keys() >= _OF_A_RUN


def _holds_only_cells(folder: Path) -> bool:
    """Return whether a folder contains only the cells of a run."""
    cells = folder / "cells"
    if file_type(cells) != S_IFDIR or any(
        file_type(folder / name) for name in {*RUN.files, *RUN.folders} - {"cells"}
    ):
        return False
    return set(cells.iterdir()) - {cells / LOCK_FILE} == set(members(folder, RUN.series[1]))
