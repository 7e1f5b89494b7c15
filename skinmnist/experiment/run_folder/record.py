"""The files of a run folder, which a comparison writes and a report reads."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.datasets.decoding import encode_arrays, read_arrays, take_array
from skinmnist.datasets.files import as_path, read_foreign, write_atomically
from skinmnist.datasets.mapped import row_blocks
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.audit import MOST_DOUBTED, label_audit, number_lesions
from skinmnist.experiment.cells import Cell, CellFailure, CellResult, Timing
from skinmnist.experiment.costs import natural_probabilities, with_costs
from skinmnist.experiment.lesion_scores import scored_lesions, with_lesion_scores
from skinmnist.experiment.metrics import Metric, best_pair, metric_names, score_predictions
from skinmnist.experiment.run_folder.run_info import RunInfo, TableInfo
from skinmnist.experiment.run_folder.store import read_cell, reading
from skinmnist.text import guarded_cell, json_text, one_line, printable, unguarded_cell

RUN_FILE = "run.json"
SCORES_FILE = "scores.csv"
VALIDATION_FILE = "validation_predictions.csv.gz"
PICTURES_FILE = "pictures.npz"
LESIONS_FILE = "lesions.npz"
PATIENTS_FILE = "patients.npz"
MISTAKES_FILE = "mistakes.npz"
#: Number of confident mistakes whose pictures are stored.
MOST_MISTAKES = 24
#: The same number for a pair that is not the best.
OTHER_MISTAKES = 12
CELLS_FOLDER = "cells"
#: Folder of an external test, which is a run folder as well.
EXTERNAL_FOLDER = "external"
#: Number of predictions per batch on writing; as text, they take much more memory than as numbers.
WRITTEN_ROWS = 100_000
_CELL_COLUMNS = list(Cell._fields)
_NOT_OF_THIS_RUN = "its file is missing, damaged, or from another run, data or code; run the comparison again"
#: Maximum size of ``run.json`` in bytes, enough for about 100,000 cells.
_MOST_BYTES = 32 * 2**20
_MOST_CSV_BYTES = 2**24


@dataclass(frozen=True, eq=False, repr=False)
class RunRecord:
    """The contents of a run folder.

    Attributes
    ----------
    folder : Path
    info : RunInfo
        The contents of ``run.json``.
    results : tuple of CellResult
        Finished cells, in table order.
    failures : tuple of CellFailure
    predictions, scores, timings : DataFrame
        As in ``predictions.csv.gz``, ``scores.csv`` and ``timings.csv``.
    pictures : ndarray of shape (m, height, width, channels), uint8
        A few pictures of each class.
    picture_labels : ndarray of shape (m,), int64

    See Also
    --------
    Run : A record with an analysis, figures and a report.
    read_run : Read a run folder.

    Examples
    --------
    >>> from skinmnist import make_lesions, run_comparison
    >>> record = run_comparison(make_lesions(60, size=8), ["none"], ["dummy"], folds=2, jobs=1)
    >>> [str(result.cell) for result in record.results]
    ['none + dummy, repeat 0, fold 0', 'none + dummy, repeat 0, fold 1']
    >>> record.info.table.rows, len(record.predictions), record.failures
    (60, 60, ())
    """

    folder: Path
    info: RunInfo
    results: tuple[CellResult, ...]
    failures: tuple[CellFailure, ...]
    predictions: pd.DataFrame
    scores: pd.DataFrame
    timings: pd.DataFrame
    pictures: npt.NDArray[np.uint8]
    picture_labels: npt.NDArray[np.int64]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {printable(self.info.table.name)}: {len(self.results)} cells>"

    @property
    def in_memory(self) -> bool:
        """Whether the run has no folder, or its folder no longer exists."""
        return not (self.folder / RUN_FILE).is_file()

    @property
    def trained(self) -> tuple[CellResult, ...]:
        """The finished cells of trained models, without ensembles and models with clinical columns."""
        models = self.info.grid.models
        derived = {name for name, model in models.items() if model.members or model.base}
        return tuple(result for result in self.results if result.cell.model not in derived)

    @cached_property
    def lesions(self) -> npt.NDArray[np.int32] | None:
        """The lesion of each row of the table, from `read_lesions`."""
        return read_lesions(self.folder, self.info.table.rows)

    @cached_property
    def scored_lesions(self) -> npt.NDArray[np.integer] | None:
        """The lesion of each row for scores by lesion, from `scored_lesions`; None without such scores."""
        return scored_lesions(self.predictions, self.lesions, self.info.protocol.split)

    @cached_property
    def patients(self) -> dict[str, npt.NDArray[Any]]:
        """The clinical columns, from `read_patients`."""
        return read_patients(self.folder, self.info.table.rows)

    @cached_property
    def mistake_pictures(self) -> dict[int, npt.NDArray[np.uint8]]:
        """Pictures of confident mistakes by row of the table; empty if the folder has none."""
        return read_mistake_pictures(self.folder, self.info.table)

    @cached_property
    def external(self) -> RunRecord | None:
        """The run of the external test, from `read_external`."""
        return read_external(self)

    def load(self) -> Self:
        """Read all data that is otherwise read on demand, for example before the folder is removed.

        Examples
        --------
        >>> record.load() is record
        True
        """
        _ = self.lesions, self.patients, self.mistake_pictures
        if self.external is not None:
            self.external.load()
        return self


def predictions_table(results: Sequence[CellResult], class_names: Sequence[str]) -> pd.DataFrame:
    """Return the held-out predictions, one row per picture and cell, with ascending rows in each cell."""
    columns = [*_CELL_COLUMNS, "row", "label", "predicted", *(f"p_{name}" for name in class_names)]
    frames = []
    for result in results:
        frame = pd.DataFrame(result.probabilities, columns=columns[-len(class_names) :])
        own: tuple[Any, ...] = (*result.cell, result.rows, result.labels, result.predicted)
        for position, values in enumerate(own):
            frame.insert(position, columns[position], values)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def validation_table(results: Sequence[CellResult], class_names: Sequence[str]) -> pd.DataFrame:
    """Return the predictions for the validation set, like `predictions_table` but without row numbers.

    The rows of each cell are in table order. The table is empty if the split has no validation set.
    """
    answered = [
        replace(result, rows=np.arange(len(part.labels)), **part._asdict())
        for result in results
        if (part := result.validation) is not None
    ]
    return predictions_table(answered, class_names).drop(columns="row")


def timings_table(results: Sequence[CellResult]) -> pd.DataFrame:
    """Return the cost of each cell."""
    records = [(*result.cell, *result.timing) for result in results]
    return pd.DataFrame.from_records(records, columns=[*_CELL_COLUMNS, *Timing._fields])


def class_mix_table(results: Sequence[CellResult], class_names: Sequence[str]) -> pd.DataFrame:
    """Return two class mixes of each cell: that of its training rows, and that of its predictions."""
    records = [
        (*result.cell, *of_class)
        for result in results
        for of_class in zip(class_names, result.natural_mix, result.training_mix, strict=True)
    ]
    return pd.DataFrame.from_records(records, columns=[*_CELL_COLUMNS, "class", "natural", "trained"])


def write_tables(record: RunRecord) -> None:
    """Write the predictions, class mixes, scores and timings of a run to its folder.

    Floats are written exactly, which allows scores to be recomputed from the predictions to the last bit.
    """
    class_names = record.info.table.class_names
    write_atomically(record.folder / "predictions.csv.gz", _packed(record.predictions))
    of_validation, path = validation_table(record.results, class_names), record.folder / VALIDATION_FILE
    if of_validation.empty:
        path.unlink(missing_ok=True)
    else:
        write_atomically(path, _packed(of_validation))
    write_atomically(record.folder / "class_mix.csv", csv_bytes(class_mix_table(record.results, class_names)))
    write_atomically(record.folder / SCORES_FILE, csv_bytes(record.scores))
    write_atomically(record.folder / "timings.csv", csv_bytes(record.timings.round(4)))


def _packed(predictions: pd.DataFrame) -> bytes:
    packed = io.BytesIO()
    # Omit name and time from the header, so equal predictions create equal files.
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=5, mtime=0) as stream:
        for rows in row_blocks(max(len(predictions), 1), WRITTEN_ROWS):
            stream.write(csv_bytes(predictions.iloc[rows], header=rows.start == 0))
    return packed.getvalue()


def write_info(folder: Path, info: RunInfo) -> None:
    """Write ``run.json``."""
    write_atomically(folder / RUN_FILE, f"{json_text(info.to_json(), indent=1)}\n".encode())


def write_pictures(folder: Path, pictures: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> None:
    """Store the pictures of each class for the report."""
    write_atomically(folder / PICTURES_FILE, encode_arrays({"pictures": pictures, "labels": labels}))


def read_info(folder: Path, otherwise: str = "start over with --fresh") -> RunInfo | None:
    """Read ``run.json``; returns None if the folder has no run, and raises InputError for an invalid file."""
    path = folder / RUN_FILE
    if not path.is_file():
        return None
    try:
        return RunInfo.from_json(json.loads(read_foreign(path, _MOST_BYTES).decode()))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not a valid record of a run ({one_line(str(error))}); name another folder, "
            f"or {otherwise}"
        ) from None


def read_run(folder: str | Path) -> RunRecord:
    """Read a run folder without training, importing models or writing files.

    Raises
    ------
    InputError
        If the folder does not contain a run.
    """
    folder = as_path(folder, "the path of a run folder")
    info = read_info(folder)
    if info is None:
        if folder.is_file():
            near = f", such as {folder.parent}" if (folder.parent / RUN_FILE).is_file() else ""
            raise InputError(f"{folder} is a file; expected the folder of a run, so name that{near}")
        raise InputError(
            f"{folder} holds no {RUN_FILE}; expected a folder that `skinmnist compare` has written"
        )
    return build_record(folder, info.with_notes_on(*read_external_info(folder)))


def build_record(folder: Path, info: RunInfo, metrics: Mapping[str, Metric] | None = None) -> RunRecord:
    """Combine ``run.json`` with the stored cells; raises InputError for damaged pictures.

    A cell whose file belongs to another run counts as failed. `metrics` contains the available metrics among
    those in ``run.json``.
    """
    results, failures, provenance = [], [], info.provenance
    for entry in info.cells:
        if entry.status == "failed":
            failures.append(CellFailure(entry.cell, entry.reason))
        elif entry.status == "done":
            result = read_cell(folder / CELLS_FOLDER / entry.file, entry.cell, provenance)
            if result is None:
                failures.append(CellFailure(entry.cell, _NOT_OF_THIS_RUN))
            else:
                results.append(result)
    class_names = info.table.class_names
    predictions = predictions_table(results, class_names)
    pictures, picture_labels = _read_pictures(folder / PICTURES_FILE, info.table)
    return RunRecord(
        folder=folder,
        info=info,
        results=tuple(results),
        failures=tuple(failures),
        predictions=predictions,
        scores=with_costs(
            with_lesion_scores(
                _score(folder, info, predictions, metrics or {}),
                predictions,
                class_names,
                scored_lesions(predictions, read_lesions(folder, info.table.rows), info.protocol.split),
            ),
            predictions,
            natural_probabilities(results if info.costs else (), len(class_names)),
            info.costs,
        ),
        timings=timings_table(results),
        pictures=pictures,
        picture_labels=picture_labels,
    )


def _score(
    folder: Path, info: RunInfo, predictions: pd.DataFrame, given: Mapping[str, Metric]
) -> pd.DataFrame:
    """Score the predictions; if the function of a metric is unavailable, read its scores from the file."""
    class_names, found = info.table.class_names, dict[str, Metric | None]()
    for name in info.metrics:
        from skinmnist.experiment.scorers import find_metric  # This module imports scikit-learn.

        found[name] = given.get(name) or find_metric(name, class_names)
    known = {name: metric for name, metric in found.items() if metric is not None}
    absent = {*found} - {*known}
    scores = score_predictions(predictions, class_names, known)
    path = folder / SCORES_FILE
    if not absent or not path.is_file():
        return scores
    return _with_written(path, scores, absent, [*metric_names(class_names), *info.metrics])


def _with_written(path: Path, scores: pd.DataFrame, absent: set[str], order: Sequence[str]) -> pd.DataFrame:
    """Add scores of absent metrics from ``scores.csv``, for cells whose predictions are unchanged."""
    with reading(path):
        kinds = {"sampler": str, "model": str, "repeat": float, "fold": float, "metric": str, "value": float}
        written = read_columns(path, kinds).drop_duplicates([*_CELL_COLUMNS, "metric"])
        written = written[(written[["repeat", "fold"]] % 1 == 0).all(axis=1)]
    same = ["metric", "value", *_CELL_COLUMNS]
    witness = scores[scores["metric"] == "log_loss"]
    cells = witness.merge(written[same], on=same)[_CELL_COLUMNS].drop_duplicates()
    kept = cells.merge(written[written["metric"].isin(absent)], on=_CELL_COLUMNS)
    if kept.empty:
        return scores
    every = pd.concat([scores, kept[scores.columns].astype(scores.dtypes)], ignore_index=True)
    # Keep the order of the cells, and of the metrics of each cell.
    place = {tuple(cell): at for at, cell in enumerate(witness[_CELL_COLUMNS].to_numpy(dtype=object))}
    cell_of = every[_CELL_COLUMNS].apply(lambda row: place[tuple(row)], axis=1)
    keys = pd.DataFrame({"cell": cell_of, "metric": every["metric"].map(list(order).index)})
    return every.loc[keys.sort_values(["cell", "metric"], kind="stable").index].reset_index(drop=True)


def _read_pictures(path: Path, table: TableInfo) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    with reading(path):
        arrays = read_arrays(path)
        labels = take_array(arrays, "labels", "i", (None,))
        pictures = take_array(arrays, "pictures", "u", (len(labels), *table.shape))
        if pictures.dtype != np.uint8 or not np.isin(labels, np.arange(len(table.class_names))).all():
            raise ValueError("its labels are not classes, or its pictures are not bytes")
    return pictures, labels.astype(np.int64)


def write_rows(folder: Path, table: PixelTable) -> None:
    """Store the lesion number of every row and the clinical columns; unknown values are omitted."""
    known = table.clinical or {}
    patients: dict[str, Any] = {name: known[name] for name in facts.CLINICAL_COLUMNS if name in known}
    codes = number_lesions(table)
    lesions = {} if codes is None else {"codes": codes.astype(np.int32)}
    for name, arrays in ((LESIONS_FILE, lesions), (PATIENTS_FILE, patients)):
        if arrays:
            write_atomically(folder / name, encode_arrays(arrays))
        else:
            (folder / name).unlink(missing_ok=True)


def read_external(record: RunRecord) -> RunRecord | None:
    """Read the external test in a run folder without outdated cells; None if there is no such test."""
    found, _ = read_external_info(record.folder)
    info = None if found is None else found.without_outdated(record.info)
    return build_record(record.folder / EXTERNAL_FOLDER, info) if info is not None and info.cells else None


def read_external_info(folder: Path) -> tuple[RunInfo | None, bool]:
    """Read ``run.json`` of the external test in a run folder, if any, and whether it is damaged."""
    try:
        return read_info(folder / EXTERNAL_FOLDER), False
    except InputError:
        return None, True


def read_lesions(folder: Path, rows: int) -> npt.NDArray[np.int32] | None:
    """Read the lesion codes, one per row of the table, or None if the folder has no lesions."""
    path = folder / LESIONS_FILE
    if not path.is_file():
        return None
    with reading(path):
        codes = take_array(read_arrays(path), "codes", "iu", (rows,))
        if not ((codes >= 0) & (codes < rows)).all():
            raise ValueError(f"its lesions are not numbered from 0 to {rows - 1}")
    return codes.astype(np.int32)


def read_patients(folder: Path, rows: int) -> dict[str, npt.NDArray[Any]]:
    """Read the clinical columns, one value per row of the table; empty if the folder has none."""
    path = folder / PATIENTS_FILE
    if not path.is_file():
        return {}
    with reading(path):
        arrays = read_arrays(path)
        names = [name for name in facts.CLINICAL_COLUMNS if name in arrays]
        return {name: take_array(arrays, name, "fU", (rows,)) for name in names}


def confident_mistakes(record: RunRecord, pair: tuple[str, str] | None = None) -> pd.DataFrame:
    """Return the most confident mistakes of a pair, by default the best pair, on held-out pictures.

    The columns are ``row, label, predicted, confidence`` (the probability of the predicted class), sorted by
    descending confidence and then by row. No picture is listed twice, nor is any lesion if lesions are known.
    """
    names = record.info.table.class_names
    pair = pair or best_pair(record.scores)
    rows = record.predictions
    wrong = rows["label"] != rows["predicted"]
    if pair is not None:
        wrong &= (rows["sampler"] == pair[0]) & (rows["model"] == pair[1])
    rows = rows[wrong]
    probabilities = rows[[f"p_{name}" for name in names]].to_numpy(dtype=float)
    found = rows[["row", "label", "predicted"]].astype(np.int64)
    found["confidence"] = probabilities[np.arange(len(found)), found["predicted"]]
    found = found.sort_values(["confidence", "row"], ascending=[False, True], kind="stable")
    lesions = record.lesions
    shown = found["row"] if lesions is None else pd.Series(lesions[found["row"]], index=found.index)
    return found[~shown.duplicated()].head(MOST_MISTAKES).reset_index(drop=True)


def write_mistakes(record: RunRecord, table: PixelTable) -> None:
    """Store the pictures of the `confident_mistakes` of every pair, and of doubtful labels."""
    pairs = dict.fromkeys((result.cell.sampler, result.cell.model) for result in record.results)
    found = [confident_mistakes(record)["row"]]
    found += [confident_mistakes(record, pair)["row"].head(OTHER_MISTAKES) for pair in pairs]
    audit = label_audit(record.trained, record.info.table.class_names)
    found.append(audit.loc[audit["doubted"].astype(bool), "row"].head(MOST_DOUBTED))
    rows = pd.concat(found).drop_duplicates().to_numpy(dtype=np.int64)
    pictures = np.asarray(table.pixels[rows]).reshape(len(rows), *table.shape)
    write_atomically(record.folder / MISTAKES_FILE, encode_arrays({"rows": rows, "pictures": pictures}))


def read_mistake_pictures(folder: Path, table: TableInfo) -> dict[int, npt.NDArray[np.uint8]]:
    """Read the pictures of `write_mistakes` by row; runs of older versions have none.

    Raises InputError if the file cannot be read.
    """
    path = folder / MISTAKES_FILE
    if not path.is_file():
        return {}
    with reading(path):
        arrays = read_arrays(path)
        rows = take_array(arrays, "rows", "i", (None,))
        pictures = take_array(arrays, "pictures", "u", (len(rows), *table.shape))
    return dict(zip(rows.tolist(), pictures, strict=True))


def read_mistakes(
    record: RunRecord, pair: tuple[str, str] | None = None
) -> tuple[pd.DataFrame, npt.NDArray[np.uint8]]:
    """Return the `confident_mistakes` whose pictures are stored, with these (m, height, width, channels)."""
    found, known = confident_mistakes(record, pair), record.mistake_pictures
    found = found[found["row"].isin(list(known))].reset_index(drop=True)
    pictures = np.array([known[row] for row in found["row"]], np.uint8)
    return found, pictures.reshape(len(found), *record.info.table.shape)


def csv_bytes(frame: pd.DataFrame, header: bool = True) -> bytes:
    """Return a table as CSV, writing floats with the fewest digits that restore them exactly.

    Text is made safe for terminals and spreadsheets; numbers are written unchanged.
    """
    safe = frame.rename(columns={name: _cell(name) for name in frame.columns if _cell(name) != name})
    for position, column in enumerate(safe.columns):
        values = safe.iloc[:, position]
        if pd.api.types.is_numeric_dtype(values.dtype):
            continue
        texts = [value for value in values.unique() if isinstance(value, str)]
        changed = {text: _cell(text) for text in texts if _cell(text) != text}
        if changed:
            safe = safe.assign(**{column: [changed.get(value, value) for value in values]})
    return safe.to_csv(index=False, lineterminator="\n", header=header).encode()


def read_columns(path: Path, kinds: Mapping[str, type]) -> pd.DataFrame:
    """Return columns of a CSV written by `csv_bytes`, as text or numbers; other columns are ignored.

    Raises ValueError if the file cannot be read, or if a column is missing or has the wrong type.
    """
    frame = pd.read_csv(io.BytesIO(read_foreign(path, _MOST_CSV_BYTES)), dtype=str, keep_default_na=False)
    absent = [name for name in kinds if list(frame.columns).count(name) != 1]
    if absent:
        raise ValueError(f"{path.name} has no column {absent[0]}")
    return pd.DataFrame(
        {
            name: [unguarded_cell(text) if kind is str else float(text or "nan") for text in frame[name]]
            for name, kind in kinds.items()
        }
    )


def _cell(value: Any) -> Any:
    return guarded_cell(printable(value, None)) if isinstance(value, str) else value
