"""Costs of mistakes: read a cost matrix, and score predictions by their expected cost.

Elkan, "The foundations of cost-sensitive learning", IJCAI 2001. A matrix has a row for each true class and a
column for each decision. ``skinmnist list costs`` shows the forms of a file.
"""

from __future__ import annotations

import csv
import io
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinmnist import facts
from skinmnist.datasets.files import as_path, read_foreign, without_mark
from skinmnist.decisions.probabilities import change_prior, cheapest, check_costs
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellResult
from skinmnist.experiment.metrics import COST_METRICS, add_scores
from skinmnist.names import did_you_mean, known_spelling
from skinmnist.text import one_line, shown

_Floats = npt.NDArray[np.float64]

#: Key for the cost of the mistakes that a mapping does not name; 1 without it.
DEFAULT = "default"
_PAIRS = (("decided", "decision", "predicted"), ("cost", "costs"))
_MOST_BYTES = 2**20


def read_costs(asked: Any, class_names: Sequence[str]) -> _Floats | None:
    """Return a cost matrix of shape (k, k), true classes by decisions, in code order; None without costs.

    Parameters
    ----------
    asked : path, DataFrame, dict, array-like or None
        A CSV or TOML file; a DataFrame with class names as index and columns; a dict of true class
        to the cost of any mistake about it, or to a dict of decision to cost; or an array in code order.
        Mistakes that a dict does not name cost its ``"default"``, or 1; correct decisions cost 0.

    Raises
    ------
    InputError
        If a class is unknown, missing or named twice, or if a cost is not a finite number.

    Examples
    --------
    >>> read_costs({"mel": 20}, ["nv", "mel"]).tolist()
    [[0.0, 1.0], [20.0, 0.0]]
    """
    if asked is None:
        return None
    names = _Names(class_names)
    if isinstance(asked, str | os.PathLike):
        return _read_file(asked, names)
    if isinstance(asked, Mapping):
        return _of_mapping(asked, names, "costs")
    if hasattr(asked, "columns") and hasattr(asked, "index"):
        return _of_frame(asked, names)
    try:
        return check_costs(asked, len(class_names))
    except (ValueError, TypeError) as error:
        raise InputError(f"received costs that are no matrix: {one_line(str(error))}") from None


class _Names:
    """The classes of a table, which files may also name by their titles, in any case."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.every = list(class_names)
        self._titles = {facts.CLASS_TITLES.get(name, name): name for name in class_names}

    def code(self, given: object, where: str) -> int:
        """Return the code of a class; raise an InputError if the table does not have it."""
        name = str(given).strip()
        found = known_spelling(name, self.every)
        found = self._titles.get(known_spelling(found, self._titles), found)
        if found not in self.every:
            few = ", ".join(self.every[:12]) + ", ..." * (len(self.every) > 12)
            hint = did_you_mean(name, [*self.every, *self._titles]) or f"; expected {few}"
            raise InputError(f"{where} names the class {shown(name)}, which the table does not have{hint}")
        return self.every.index(found)

    def codes(self, given: Iterable[object], where: str, what: str) -> list[int]:
        """Return the codes of all classes in the given order; raise an InputError if one is missing."""
        codes = [self.code(name, where) for name in given]
        twice = [name for code, name in enumerate(self.every) if codes.count(code) > 1]
        absent = [name for code, name in enumerate(self.every) if code not in codes]
        if twice:
            raise InputError(f"{where} has the {what} {twice[0]!r} twice; keep one of them")
        if absent:
            raise InputError(
                f"{where} has no {what} for {', '.join(absent)}; expected one for each class, with true "
                "classes as rows and decisions as columns"
            )
        return codes

    def start(self, default: float = 1.0) -> _Floats:
        """Return a matrix in which every mistake costs the same."""
        return default * (1.0 - np.eye(len(self.every)))


def _number(value: object, where: str, true: object, decided: object) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        found = float(value.strip() if isinstance(value, str) else value)  # type: ignore[arg-type]
        if np.isfinite(found):
            return found
    except (TypeError, ValueError):
        pass
    about = f"of deciding {decided} for a true {true}" if decided else f"of a mistake about {true}"
    raise InputError(f"{where} has {shown(value)} as the cost {about}; expected a number, such as 20")


def _of_mapping(asked: Mapping[Any, Any], names: _Names, where: str) -> _Floats:
    given = dict(asked)
    default = 1.0
    if DEFAULT in given and DEFAULT not in names.every:
        default = _number(given.pop(DEFAULT), where, "any class", "")
    matrix, seen = names.start(default), set[int]()
    for true, costs in given.items():
        row = names.code(true, where)
        if row in seen:
            raise InputError(f"{where} has the row {names.every[row]!r} twice; keep one of them")
        seen.add(row)
        own = dict(costs) if isinstance(costs, Mapping) else {DEFAULT: costs}
        if DEFAULT in own and DEFAULT not in names.every:
            rest = _number(own.pop(DEFAULT), where, true, "")
            matrix[row] = np.where(np.arange(len(matrix)) == row, 0.0, rest)
        for decided, cost in own.items():
            matrix[row, names.code(decided, where)] = _number(cost, where, true, decided)
    return matrix


def _of_frame(frame: Any, names: _Names) -> _Floats:
    first = frame.columns[0] if len(frame.columns) else ""
    if pd.api.types.is_integer_dtype(frame.index) and not pd.api.types.is_numeric_dtype(frame.dtypes.iloc[0]):
        frame = frame.set_index(first)  # As read from a CSV without `index_col`.
    rows = [[name, *row] for name, row in zip(frame.index, frame.to_numpy().tolist(), strict=True)]
    return _of_rows([["", *frame.columns], *rows], names, "the DataFrame of costs")


def _read_file(asked: str | os.PathLike[str], names: _Names) -> _Floats:
    path = as_path(asked, "the path of a cost file")
    try:
        text = without_mark(read_foreign(path, _MOST_BYTES)).decode()
        mapping = tomllib.loads(text) if path.suffix.lower() == ".toml" else None
    except OSError as error:
        raise InputError(
            f"the cost file {path} cannot be read ({error.strerror}); `skinmnist list costs` shows its forms"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not a cost file ({one_line(str(error))}); `skinmnist list costs` shows its forms"
        ) from None
    if mapping is not None:
        return _of_mapping(mapping, names, str(path))
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    if delimiter == ";":  # Where a semicolon separates columns, a comma separates decimals.
        text = text.replace(",", ".")
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(map(str.strip, row))]
    return _of_rows(rows, names, str(path))


def _of_rows(rows: Sequence[Sequence[Any]], names: _Names, where: str) -> _Floats:
    """Read the rows of a table: a header, then one row for each true class or each pair of classes."""
    head = [str(name).strip().casefold() for name in rows[0]] if rows else []
    listed = len(head) == 3 and all(name in known for name, known in zip(head[1:], _PAIRS, strict=True))
    widths = {len(row) for row in rows}
    if len(rows) < 2 or len(widths) > 1 or len(head) < 2:
        raise InputError(
            f"{where} is not a table of costs with equally long rows below a header; "
            "`skinmnist list costs` shows its forms"
        )
    if listed:
        matrix = names.start()
        for true, decided, cost in rows[1:]:
            place = names.code(true, where), names.code(decided, where)
            matrix[place] = _number(cost, where, true, decided)
        return matrix
    columns = names.codes(rows[0][1:], where, "column")
    matrix = names.start()
    for code, row in zip(names.codes([row[0] for row in rows[1:]], where, "row"), rows[1:], strict=True):
        for column, cost in zip(columns, row[1:], strict=True):
            matrix[code, column] = _number(cost, where, names.every[code], names.every[column])
    return matrix


def note_on_costs(costs: _Floats | None, class_names: Sequence[str]) -> tuple[str, ...]:
    """Return a warning if a wrong decision costs less than the right one: at most one sentence."""
    if costs is None:
        return ()
    cheaper = np.argwhere(costs < np.diag(costs)[:, None])
    if not len(cheaper):
        return ()
    true, decided = cheaper[0]
    return (
        f"WARNING: by the costs, deciding {class_names[decided]} for a true {class_names[true]} costs "
        f"{costs[true, decided]:g}, less than the right decision ({costs[true, true]:g}); rows are true "
        "classes and columns are decisions, and higher is worse",
    )


def natural_probabilities(results: Sequence[CellResult], n_classes: int) -> _Floats:
    """Return the probabilities of all held-out rows at the natural prior of their folds, shape (m, k)."""
    parts = [change_prior(one.probabilities, one.training_mix, one.natural_mix) for one in results]
    return np.concatenate(parts) if parts else np.zeros((0, n_classes))


def with_costs(scores: pd.DataFrame, predictions: pd.DataFrame, natural: _Floats, costs: Any) -> pd.DataFrame:
    """Add the expected costs of each cell to its scores, in the layout of ``scores.csv``.

    Parameters
    ----------
    scores, predictions : DataFrame
        The scores and the predictions of the same cells, in the same order.
    natural : ndarray of shape (m, k)
        The probabilities of the predictions at the natural prior, by which the cost-sensitive decision is
        made.
    costs : sequence of sequence of float
        The matrix; if it is empty, the scores are returned unchanged.
    """
    if not len(costs) or predictions.empty:
        return scores
    matrix = np.asarray(costs, dtype=np.float64)
    labels = predictions["label"].to_numpy(dtype=np.int64)
    decisions = predictions["predicted"].to_numpy(dtype=np.int64), cheapest(natural, matrix)
    cells = list(Cell._fields)
    found = predictions[cells].assign(
        **{
            name: 1000 * matrix[labels, decided]
            for name, decided in zip(COST_METRICS, decisions, strict=True)
        }
    )
    means = found.groupby(cells, sort=False).mean().reset_index()
    return add_scores(scores, means.melt(cells, var_name="metric", value_name="value"))
