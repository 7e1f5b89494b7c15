"""A comparison from table to run folder: plan, resume, run, write."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.files import check_ours, claim, remove_owned, remove_torn
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell, CellFailure, CellResult
from skinmnist.experiment.execution.limits import NO_LIMITS, Limits
from skinmnist.experiment.execution.locks import RUN_FOLDER, hold_folder, scratch_folder
from skinmnist.experiment.execution.log import LOG_FILE, log_event, log_outcome, log_to
from skinmnist.experiment.execution.machine import PeakMemory, available_cores
from skinmnist.experiment.execution.runner import Engine, choose_engine
from skinmnist.experiment.grid import DEFAULT_SAMPLERS
from skinmnist.experiment.plan import Plan, make_plan
from skinmnist.experiment.run_folder.file_names import RUN, is_unmarked_run
from skinmnist.experiment.run_folder.manifest import Request, check_same_protocol, describe_run, list_cells
from skinmnist.experiment.run_folder.mistakes import write_mistakes
from skinmnist.experiment.run_folder.patients import write_patients
from skinmnist.experiment.run_folder.provenance import Provenance
from skinmnist.experiment.run_folder.record import (
    CELLS_FOLDER,
    RunRecord,
    build_record,
    read_info,
    write_info,
    write_pictures,
    write_tables,
)
from skinmnist.experiment.run_folder.rows import write_lesions
from skinmnist.experiment.run_folder.run_info import RunInfo, Session, SplitFacts
from skinmnist.experiment.run_folder.store import CellStore
from skinmnist.experiment.schedule import Remaining
from skinmnist.experiment.split_facts import describe_split
from skinmnist.models.registry import DEFAULT_MODELS

PICTURES_PER_CLASS = 12


class Progress(Protocol):
    """Whoever wants to see a run go on."""

    def planned(self, cells: Sequence[Cell], stored: int, notes: Sequence[str]) -> None:
        """Take note of the cells of this run, how many of them were stored before, and what is left out."""

    def waiting(self, folder: Path) -> None:
        """Take note that another run holds the folder and must end first."""

    def finished(self, outcome: CellResult | CellFailure, seconds_left: float | None) -> None:
        """Take note of one more cell, and of the wall seconds that are expected to be left."""


def run_comparison(
    table: PixelTable,
    samplers: Iterable[str] | Mapping[str, Any] = DEFAULT_SAMPLERS,
    models: Iterable[str] | Mapping[str, Any] = DEFAULT_MODELS,
    *,
    folds: int = 5,
    repeats: int = 1,
    split: str | None = None,
    seed: int = 0,
    clinical: Iterable[str] = (),
    jobs: int | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    rows: npt.NDArray[np.int64] | None = None,
    limits: Limits = NO_LIMITS,
    dask: str | None = None,
    progress: Progress | None = None,
    request: Request | None = None,
) -> RunRecord:
    """Cross samplers with models under stratified cross-validation.

    Parameters
    ----------
    table : PixelTable
    samplers : iterable of str, or mapping of str to sampler
        ``"none"``, ``"class_weight"``, class names of imbalanced-learn, ``"package.module:Class"``; in a
        mapping also sampler objects. A sampler is fitted on the training part of each fold only.
    models : iterable of str, or mapping of str to classifier
        Names of `skinmnist.models.MODELS`, ``"package.module:Class"``; in a mapping also scikit-learn
        classifiers, which get pixel rows as float32.
    folds, repeats : int
    split : {"lesion", "image"}, optional
        By lesion wherever the table knows its lesions.
    seed : int
        Everything random follows from it.
    clinical : iterable of str
        Columns of `PixelTable.clinical`, such as ``("age", "sex", "localization")``: every model appears a
        second time, as ``<model>+clinical``, with what these columns say added to its answers.
    jobs : int, optional
        Worker processes of one thread each; the cores by default. Scores do not depend on it.
    out : path, optional
        The run folder: finished cells are stored there at once and found again by a later run; a later run
        with other samplers or models extends the grid. None: nothing is kept on disk.
    fresh : bool
        Forget what is stored in `out`.
    rows : ndarray of int, optional
        The rows of the table that take part; all by default.
    limits : Limits
        What a cell may take at most of time and memory; one that takes more is ended and fails alone.
    dask : str, optional
        The address of a Dask scheduler, or ``"local"``: where cells run instead of in `jobs` processes of
        this machine. The bytes are the same.
    progress : Progress, optional
    request : Request, optional

    Returns
    -------
    RunRecord
        Cells that failed stand in its ``failures``.

    Raises
    ------
    InputError
        For arguments that make no comparison, and where `out` holds a run of other data, folds, split or
        seed, or files of the user's that would be replaced.
    KeyboardInterrupt
        After what is finished has been written.
    """
    started = time.perf_counter()
    if jobs is not None and jobs < 1:
        raise InputError(f"received {jobs} jobs; expected at least 1")
    if out is not None:
        check_ours(Path(out), RUN, is_unmarked_run)
    plan = make_plan(table, samplers, models, folds, repeats, split, seed, rows, clinical)
    provenance = Provenance.of_table(plan.identity, plan.fingerprints, table, plan.task.folds)
    request = request or Request()
    with ExitStack() as held:
        folder = Path(out) if out is not None else held.enter_context(scratch_folder()) / RUN_FOLDER
        opening = time.perf_counter()
        earlier, store = _open_folder(folder, plan, provenance, fresh, held, progress)
        started += time.perf_counter() - opening  # Waiting for another run is no work of this one.
        log_event("run started", folder=str(folder), cells=len(plan.cells), identity=plan.identity)
        own = replace(
            describe_run(plan, table, request, jobs or available_cores(), provenance),
            started=datetime.now().astimezone().isoformat(timespec="seconds"),
            split_facts=_split_facts(table, plan, earlier),
        )
        write_pictures(folder, *_some_pictures(table, plan.task.folds[0] >= 0))
        write_lesions(folder, table)
        write_patients(folder, table)
        done: set[Cell] = {cell for cell in plan.cells if store.load(cell) is not None}
        failures: dict[Cell, CellFailure] = {}
        stored = len(done)
        log_event("cells found", stored=stored, left=len(plan.cells) - stored)
        # Whatever ends this run before its time, the folder tells what it is.
        own = replace(own, sessions=(Session(request.command, 0, 0.0, 0.0),), interrupted=True)
        write_info(folder, replace(own, cells=list_cells(plan, store, done, failures)).merged_with(earlier))
        with PeakMemory() as peak:
            try:
                engine = choose_engine(dask, table, plan.task, own.arguments.jobs, limits)
                _run_missing(plan, table, store, own.arguments.jobs, engine, progress, done, failures)
                own = replace(own, interrupted=False)
            except KeyboardInterrupt:
                pass
        own = replace(own, cells=list_cells(plan, store, done, failures), memory_measure=peak.measure)
        record = build_record(folder, own.merged_with(earlier))
        write_tables(record)
        # Which pictures are worth a look is known only now, and only now is the table at hand.
        write_mistakes(record, table)
        wall_seconds = time.perf_counter() - started
        session = Session(
            request.command,
            len(done) + len(failures) - stored,
            round(wall_seconds, 2),
            round(peak.megabytes, 1),
        )
        record = replace(record, info=replace(own, sessions=(session,)).merged_with(earlier))
        write_info(folder, record.info)
        log_event(
            "run interrupted" if own.interrupted else "run ended",
            done=len(done),
            failed=len(failures),
            wall_seconds=round(wall_seconds, 3),
            peak_memory_mb=round(peak.megabytes, 1),
        )
    if own.interrupted:
        raise KeyboardInterrupt
    return record


def _open_folder(
    folder: Path,
    plan: Plan,
    provenance: Provenance,
    fresh: bool,
    held: ExitStack,
    progress: Progress | None,
) -> tuple[RunInfo | None, CellStore]:
    """Open a run folder, or make it, and hold it; what it holds must fit the plan.

    Of two runs at once in one folder, the second goes on where the first ends.
    """
    cells = folder / CELLS_FOLDER
    try:
        claim(folder, RUN, is_unmarked_run)
        held.enter_context(hold_folder(cells, lambda: progress.waiting(folder) if progress else None))
        held.enter_context(log_to(folder / LOG_FILE))
        earlier = None if fresh else read_info(folder)
        check_same_protocol(earlier, plan, folder)
        store = CellStore(cells, provenance)
        store.sweep()
        remove_torn(folder, RUN.files)
        if fresh:
            remove_owned(folder, RUN, keep=(LOG_FILE,))
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be written ({error.strerror}); name another one with --out"
        ) from None
    return earlier, store


def _split_facts(table: PixelTable, plan: Plan, earlier: RunInfo | None) -> SplitFacts:
    """Count what stands on both sides of the split, once for all runs of a folder."""
    if earlier is not None and earlier.identity == plan.identity and earlier.split_facts is not None:
        return earlier.split_facts
    folds = plan.task.folds[0]
    # Of a holdout only the held-out part stands apart.
    return describe_split(table, np.minimum(folds, 1) if plan.protocol["split"] == "holdout" else folds)


def _run_missing(
    plan: Plan,
    table: PixelTable,
    store: CellStore,
    jobs: int,
    engine: Engine,
    progress: Progress | None,
    done: set[Cell],
    failures: dict[Cell, CellFailure],
) -> None:
    """Run the cells that are not `done`; `done` and `failures` fill up on the way."""
    expected = plan.expected_seconds(table)
    left = dict.fromkeys(cell for cell in expected if cell not in done)
    remaining = Remaining(expected, jobs)
    if progress:
        progress.planned(plan.cells, len(done), plan.notes)
    trained = sorted(left, key=lambda cell: -expected[cell])
    with closing(_outcomes(plan, store, trained, frozenset(done), engine)) as outcomes:
        for outcome in outcomes:
            left.pop(outcome.cell, None)
            if isinstance(outcome, CellFailure):
                failures[outcome.cell] = outcome
            else:
                store.save(outcome)
                done.add(outcome.cell)
                if outcome.cell.base is None:
                    timing = outcome.timing
                    seconds = timing.resample_seconds + timing.fit_seconds + timing.predict_seconds
                    remaining.finished(outcome.cell, seconds)
            log_outcome(outcome)
            if progress:
                progress.finished(outcome, remaining.seconds(left))


def _outcomes(
    plan: Plan,
    store: CellStore,
    trained: Sequence[Cell],
    done: frozenset[Cell],
    engine: Engine,
) -> Generator[CellResult | CellFailure]:
    """Yield what becomes of the cells to be trained, each followed by the one that is made of its answers."""
    fusion, fused = plan.fusion, {cell for cell in plan.cells if cell.base and cell not in done}
    if fusion is not None:
        for cell in plan.cells:
            base = store.load(cell) if cell in done and cell.fused in fused else None
            if base is not None:
                yield fusion.finish(base)
    with closing(engine(trained)) as outcomes:
        for outcome in outcomes:
            yield outcome
            if fusion is not None and outcome.cell.fused in fused:
                yield fusion.finish(outcome)


def _some_pictures(
    table: PixelTable, taking_part: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pick a few pictures of each class for the report, evenly over the table, of different lesions."""
    chosen = []
    for code in range(len(table.class_names)):
        rows = np.flatnonzero((table.labels == code) & taking_part)
        if table.lesion_ids is not None:
            rows = rows[np.sort(np.unique(table.lesion_ids[rows], return_index=True)[1])]
        picks = np.linspace(0, len(rows) - 1, min(PICTURES_PER_CLASS, len(rows))).round().astype(int)
        chosen.append(rows[picks])
    rows = np.concatenate(chosen)
    return np.asarray(table.pixels[rows]).reshape(len(rows), *table.shape), np.asarray(table.labels[rows])
