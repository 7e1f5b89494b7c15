"""What runs cells: worker processes of this machine, or a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial

from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.limits import Limits
from skinmnist.experiment.execution.runner import run_cells
from skinmnist.experiment.fit_cell import Task

#: Cells -> what becomes of each, as it is done.
Engine = Callable[[Sequence[Cell]], Generator[CellResult | CellFailure]]


def choose_engine(dask: str | None, table: PixelTable, task: Task, jobs: int, limits: Limits) -> Engine:
    """Return what runs the cells of a task.

    Parameters
    ----------
    dask : str or None
        Address of a scheduler, or ``"local"``; None: worker processes of this machine.
    table, task, jobs, limits
        As of `skinmnist.experiment.execution.runner.run_cells`.

    Raises
    ------
    InputError
        Where Dask is asked for and not installed.
    """
    if dask is None:
        return partial(run_cells, table=table, task=task, jobs=jobs, limits=limits)
    try:
        from skinmnist.experiment.execution.dask import run_on_cluster
    except ModuleNotFoundError as error:
        raise InputError(
            f"received --dask, but {error.name} is not installed; install skinmnist with the extra 'cluster'"
        ) from None
    return partial(run_on_cluster, table=table, task=task, address=dask, jobs=jobs, limits=limits)
