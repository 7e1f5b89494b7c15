"""The most confident mistakes of the best pair, with their pixels: what a score cannot show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist.datasets.arrays import encode_arrays, take_array
from skinmnist.datasets.files import write_atomically
from skinmnist.datasets.table import PixelTable
from skinmnist.experiment.run_folder.archives import damaged, read_arrays
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.run_folder.rows import read_lesions

MISTAKES_FILE = "mistakes.npz"
MOST_MISTAKES = 24


def best_pair(scores: pd.DataFrame, metric: str = "macro_f1") -> tuple[str, str] | None:
    """Return the sampler and the model with the highest mean over folds; of equals, the first.

    Parameters
    ----------
    scores : DataFrame
        In the layout of ``scores.csv``.
    metric : str

    Returns
    -------
    tuple of (str, str), or None
        None where no cell has the metric.
    """
    means = scores[scores["metric"] == metric].groupby(["sampler", "model"], sort=False)["value"].mean()
    if means.empty:
        return None
    sampler, model = means.index[int(means.to_numpy().argmax())]
    return str(sampler), str(model)


def confident_mistakes(record: RunRecord, most: int = MOST_MISTAKES) -> pd.DataFrame:
    """Find the held-out pictures about which the best pair was most sure, and wrong.

    Parameters
    ----------
    record : RunRecord
        Where its folder tells the lesions, each lesion is taken once.
    most : int

    Returns
    -------
    DataFrame
        ``row, label, predicted, confidence`` (the probability of the class that was named), by falling
        confidence, then by row; no picture twice. Empty where nothing is finished or nothing is wrong.

    Raises
    ------
    InputError
        Where the lesions in the folder are damaged.
    """
    names = record.info.table.class_names
    pair = best_pair(record.scores)
    rows = record.predictions
    wrong = rows["label"] != rows["predicted"]
    if pair is not None:
        wrong &= (rows["sampler"] == pair[0]) & (rows["model"] == pair[1])
    rows = rows[wrong]
    probabilities = rows[[f"p_{name}" for name in names]].to_numpy(dtype=float)
    told = rows["predicted"].to_numpy(dtype=np.int64)
    found = rows[["row", "label", "predicted"]].astype(np.int64)
    found["confidence"] = probabilities[np.arange(len(told)), told]
    found = found.sort_values(["confidence", "row"], ascending=[False, True], kind="stable")
    lesions = read_lesions(record.folder, record.info.table.rows)
    shown = found["row"] if lesions is None else pd.Series(lesions[found["row"]], index=found.index)
    return found[~shown.duplicated()].head(most).reset_index(drop=True)


def write_mistakes(record: RunRecord, table: PixelTable) -> None:
    """Keep the pixels of `confident_mistakes` in the run folder."""
    rows = confident_mistakes(record)["row"].to_numpy(dtype=np.int64)
    pictures = np.asarray(table.pixels[rows]).reshape(len(rows), *table.shape)
    write_atomically(record.folder / MISTAKES_FILE, encode_arrays({"rows": rows, "pictures": pictures}))


def read_mistakes(record: RunRecord) -> tuple[pd.DataFrame, npt.NDArray[np.uint8]]:
    """Read the pixels that `write_mistakes` has kept, beside what is said of them.

    Parameters
    ----------
    record : RunRecord

    Returns
    -------
    mistakes : DataFrame
        Of `confident_mistakes`, without those whose pixels are not there; none are in the folder of a run
        before this file was written.
    pictures : ndarray of shape (len(mistakes), height, width, channels), uint8

    Raises
    ------
    InputError
        Where the file is there and cannot be read.
    """
    found, shape, path = confident_mistakes(record), record.info.table.shape, record.folder / MISTAKES_FILE
    if not path.is_file():
        return found.iloc[:0], np.zeros((0, *shape), np.uint8)
    arrays = read_arrays(path)
    try:
        rows = take_array(arrays, "rows", "i", (None,))
        pictures = take_array(arrays, "pictures", "u", (len(rows), *shape))
    except ValueError as error:
        raise damaged(path, str(error)) from None
    place = {int(row): position for position, row in enumerate(rows)}
    found = found[found["row"].isin(list(place))].reset_index(drop=True)
    return found, np.asarray(pictures[[place[row] for row in found["row"]]], dtype=np.uint8)
