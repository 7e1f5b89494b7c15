"""Run a comparison from table to run folder: plan, resume, run, write."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

import skinmnist
from skinmnist.datasets.files import as_path, check_ours, claim, is_marked, leave, remove_owned, remove_torn
from skinmnist.datasets.from_arrays import as_table
from skinmnist.datasets.joining import join_tables
from skinmnist.datasets.table import PixelTable, example_rows
from skinmnist.decisions.probabilities import check_alpha
from skinmnist.experiment.audit import LesionFit, SplitFacts, warn_of_shared
from skinmnist.experiment.cells import Cell, CellFailure, CellResult, sorted_models, sorted_samplers
from skinmnist.experiment.costs import note_on_costs, read_costs
from skinmnist.experiment.derived.ensembles import with_derived
from skinmnist.experiment.execution.local import libraries_for, run_in_thread, start_workers
from skinmnist.experiment.execution.machine import NO_LIMITS, Limits, PeakMemory, hardware, versions
from skinmnist.experiment.execution.runner import Progress, choose_engine, store_outcomes, with_followers
from skinmnist.experiment.fit_cell import share_networks
from skinmnist.experiment.grid import DEFAULT_SAMPLERS
from skinmnist.experiment.lesion_scores import note_on_labels
from skinmnist.experiment.metrics import Metric
from skinmnist.experiment.plan import (
    Plan,
    Ranking,
    Remaining,
    choose_jobs,
    choose_seed,
    in_fold_order,
    make_plan,
    whole_number,
)
from skinmnist.experiment.run_folder.folder import (
    LOG_FILE,
    RUN,
    RUN_FOLDER,
    hold_folder,
    is_unmarked_run,
    log_event,
    log_outcome,
    log_to,
    naming_folder,
    scratch_folder,
)
from skinmnist.experiment.run_folder.record import (
    CELLS_FOLDER,
    EXTERNAL_FOLDER,
    RunRecord,
    build_record,
    read_external_info,
    read_info,
    write_info,
    write_mistakes,
    write_pictures,
    write_rows,
    write_tables,
)
from skinmnist.experiment.run_folder.run_info import (
    CellEntry,
    Grid,
    Hardware,
    MetricInfo,
    Request,
    RunInfo,
    Session,
    TableInfo,
    check_same_protocol,
    entries_of,
)
from skinmnist.experiment.run_folder.store import CellStore, Provenance
from skinmnist.experiment.scorers import resolve_metrics
from skinmnist.experiment.splits import LEFT_OUT, GivenFolds, choose_folds, external_folds
from skinmnist.models.registry import DEFAULT_MODELS
from skinmnist.names import notes_on_hidden

#: Number of pictures of each class in the report.
PICTURES_PER_CLASS = 12


def run_comparison(
    table: PixelTable | tuple[Any, ...] | Mapping[str, Any],
    samplers: Iterable[Any] | Mapping[str, Any] = DEFAULT_SAMPLERS,
    models: Iterable[Any] | Mapping[str, Any] = DEFAULT_MODELS,
    *,
    folds: int = 5,
    repeats: int = 1,
    split: str | os.PathLike[str] | GivenFolds | None = None,
    cv: Any = None,
    test: Any = None,
    metrics: Any = (),
    costs: Any = None,
    conformal: float | None = None,
    seed: int | None = None,
    random_state: int | None = None,
    clinical: Iterable[str] = (),
    ensembles: Mapping[str, Any] | Iterable[str] = (),
    jobs: int | None = None,
    n_jobs: int | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    rows: npt.NDArray[np.int64] | None = None,
    limits: Limits = NO_LIMITS,
    dask: str | None = None,
    progress: Progress | bool | str | None = "auto",
    request: Request | None = None,
) -> RunRecord:
    """Compare all pairs of samplers and models by stratified cross-validation.

    Parameters
    ----------
    table : PixelTable, tuple or Bunch
        The pictures and their labels: a `PixelTable`, ``(X, y)`` or ``(X, y, groups)`` as for
        `PixelTable.from_arrays`, or a scikit-learn data set such as ``load_digits()``.
    samplers : iterable of str or sampler, or mapping of str to these
        ``"none"``, ``"class_weight"``, class names of imbalanced-learn, ``"package.module:Class"``, or
        sampler objects. Samplers are fitted only on the training set of each fold.
    models : iterable of str or classifier, or mapping of str to these
        Names in `skinmnist.models.MODELS`, ``"package.module:Class"``, or scikit-learn classifiers and
        pipelines, which receive pixel rows as float32. Unnamed objects are named after their class.
    folds, repeats : int
        Number of cross-validation folds, and number of times to draw them.
    split : {"lesion", "image", "holdout"}, str, path or GivenFolds, optional
        By default, folds are split by lesion if the lesions are known. ``"holdout"`` uses a single test set.
        A given split replaces `folds`, and each of the `repeats` trains on the same sets with other seeds:

        - ``"dermamnist"`` and ``"dermamnist-c"``: the published splits.
        - A CSV with the columns ``image_id`` (without it, rows must be in table order) and ``split`` (train,
          val, test) or ``fold``. With ``split``, only the test set is reported; the
          validation set is used for early stopping and for tuning thresholds.
        - ``"column:dataset"``: each group of that metadata column is held out in turn.
    cv : int, splitter or iterable of (train, test), optional
        Replaces `folds`, `repeats` and `split`: a number of folds, a scikit-learn splitter, which receives
        the lesions as groups, or pairs of row numbers. If the ``random_state`` of a splitter is None, it is
        set to the seed.
    metrics : str, callable, Metric, list or dict of these, optional
        Additional scores: names of scikit-learn scorers, such as ``"roc_auc_ovo"``; functions
        ``f(y_true, y_pred)`` or ``f(y_true, y_score)``; scorers from ``make_scorer``. They are computed from
        stored predictions, so a later call with other metrics needs no training.
    costs : path, DataFrame, dict or array, optional
        The cost of each decision (column) for each true class (row): a file as for ``--costs``; a DataFrame
        with class names as index and columns; a dict such as ``{"mel": 20}`` for any mistake about a class,
        or ``{"mel": {"nv": 20}}``, with a cost of 1 for mistakes that are not named; or an array in code
        order. Adds the expected cost per 1,000 pictures to the scores.
    conformal : float, optional
        The share of sets that may miss the right class, such as 0.1: adds coverage and size of class-wise
        conformal sets, calibrated on the other folds (``Run.analysis.conformal``).
    test : PixelTable, tuple or Bunch, optional
        Another table with the same classes and picture size, for an external test: every pair is also trained
        once on the whole `table` and tested on `test`. The result is a separate run, ``RunRecord.external``,
        in the ``external`` subfolder of `out`.
    seed, random_state : int, optional
        Seed of all randomness; 0 by default. The two names are aliases.
    clinical : iterable of str
        Columns of `PixelTable.clinical`, such as ``("age", "sex", "localization")``. Every model is then also
        listed as ``<model>+clinical``, with the evidence from these columns added to its predictions.
    ensembles : mapping of str to list, or iterable of str, optional
        Rows made from finished cells, without training: ``{"both": ["svm", "cnn"]}`` lists the geometric mean
        of the probabilities of these models as a model ``both``, for every sampler. A member may also have
        its own sampler, as in ``("SMOTE", "cnn")`` or ``"SMOTE + cnn"``, or clinical columns, as in
        ``"svm+clinical"``. If all members have samplers and these differ, the row's sampler is ``"mixed"``,
        and members are first moved to the natural prior. With ``{"both": "tuned:svm,cnn"}``, weights are
        chosen on the other folds.
    jobs, n_jobs : int, optional
        Number of single-threaded worker processes; by default, and with ``n_jobs=-1``, one per core. Scores
        do not depend on this number.
    out : path, optional
        The run folder. Finished cells are stored there immediately and reused by later runs; a later run with
        other samplers or models extends the grid. If None, nothing is kept on disk.
    fresh : bool
        Whether to discard the results stored in `out`.
    rows : ndarray of int, optional
        The rows of the table to use; all by default.
    limits : Limits
        Time and memory limits for each cell. A cell that exceeds them is stopped and marked as failed; the
        other cells continue.
    dask : str, optional
        The address of a Dask scheduler, or ``"local"``, to run cells there instead of in `jobs` processes on
        this machine. The results are byte-identical.
    progress : "auto", bool or Progress
        ``"auto"`` shows a bar only in notebooks, True always shows it, and False never does. A `Progress`
        object receives the events of the run.
    request : Request, optional
        The command that repeats the run, stored in the run folder.

    Returns
    -------
    RunRecord
        Failed cells are listed in its ``failures``.

    Raises
    ------
    InputError
        For invalid arguments, and if `out` contains a run with other data, folds, split or seed, or user
        files that would be overwritten.
    KeyboardInterrupt
        On Ctrl-C, after the finished cells have been written.

    See Also
    --------
    read_run : Read the run folder of an earlier comparison.
    demonstrate_leaks : Score models with leaky evaluations.
    train_model : Train a model on a whole table and save it.

    References
    ----------
    He & Garcia, "Learning from imbalanced data", IEEE TKDE 21, 2009. Nadeau & Bengio, "Inference for the
    generalization error", Machine Learning 52, 2003.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import StratifiedKFold
    >>> from sklearn.naive_bayes import GaussianNB
    >>> digits = load_digits(n_class=3)
    >>> run = run_comparison(
    ...     (digits.images, digits.target),
    ...     samplers=["none", "RandomUnderSampler"],
    ...     models=[GaussianNB(var_smoothing=0.1)],
    ...     cv=StratifiedKFold(2),
    ...     metrics=["f1_weighted"],
    ...     n_jobs=1,
    ... )
    >>> run.scores.query("metric == 'f1_weighted'").groupby("sampler")["value"].mean().round(2).to_dict()
    {'RandomUnderSampler': 0.96, 'none': 0.96}
    """
    started = time.perf_counter()
    table = as_table(table)
    seed = choose_seed(seed, random_state)
    jobs = choose_jobs(jobs, n_jobs)
    out = None if out is None else as_path(out, "the path of a run folder")
    if out is not None:
        check_ours(out, RUN, is_unmarked_run)
        if test is not None:
            check_ours(out / EXTERNAL_FOLDER, RUN, is_unmarked_run)
    folds, repeats = whole_number("folds", folds, 5), whole_number("repeats", repeats, 1)
    more = resolve_metrics(metrics, table.class_names)
    matrix = read_costs(costs, table.class_names)
    check_alpha(conformal)
    folds, parts = choose_folds(table, cv, folds, repeats, split, seed, rows)
    joined, parts_of_test = None, None
    if test is not None:
        other = as_table(test)
        joined, parts_of_test = join_tables(table, other), external_folds(table, other, rows)
    # Bars are drawn by `skinmnist.run_comparison`, in a higher layer; here, only objects receive events.
    receiver = None if progress is None or isinstance(progress, str | bool) else progress

    def plan_run(table: PixelTable, split: Any, rows: Any, clinical: Iterable[str]) -> _Run:
        plan = make_plan(table, samplers, models, folds, repeats, split, seed, rows, clinical, ensembles)
        run = _Run(plan, table, request or Request(), jobs, receiver)
        run.metrics, run.costs = more, matrix
        return run

    run = plan_run(table, parts, rows, clinical)
    run.conformal = conformal
    # A column that is constant in the first table may vary in the other, but models must be the same.
    columns = run.plan.fusion.columns if run.plan.fusion else ()
    external = None if joined is None else plan_run(joined, parts_of_test, None, columns)
    if external is not None and out is not None and not fresh:
        folder, otherwise = out / EXTERNAL_FOLDER, f"remove the folder {out / EXTERNAL_FOLDER}"
        check_same_protocol(read_info(out), run.plan.protocol, out)
        check_same_protocol(read_info(folder, otherwise), external.plan.protocol, folder, otherwise)
    with ExitStack() as held:
        folder = out if out is not None else held.enter_context(scratch_folder()) / RUN_FOLDER
        record = run.complete(folder, fresh, dask, limits, started, held)
        if external is not None and not run.interrupted:
            external.main_identity = run.plan.identity
            external.complete(folder / EXTERNAL_FOLDER, fresh, dask, limits, time.perf_counter(), held)
            run.interrupted = external.interrupted
        record = replace(record, info=record.info.with_notes_on(*read_external_info(folder)))
        if out is None:
            record.load()
    if run.interrupted:
        raise KeyboardInterrupt
    return record


class _Run:
    """One session with a run folder."""

    folder: Path
    store: CellStore
    earlier: RunInfo | None
    info: RunInfo
    _facts: Future[SplitFacts]

    def __init__(
        self, plan: Plan, table: PixelTable, request: Request, jobs: int, progress: Progress | None
    ) -> None:
        self.plan, self.table, self.request = plan, table, request
        self.jobs, self.progress, self.stored, self.interrupted = jobs, progress, 0, False
        self.provenance = Provenance.of_table(plan.identity, plan.fingerprints, table, plan.task.folds)
        self.sides = plan.sides(table)
        self.done: set[Cell] = set()
        self.failures: dict[Cell, CellFailure] = {}
        self.metrics: dict[str, Metric] = {}
        self.costs: npt.NDArray[np.float64] | None = None
        self.conformal: float | None = None
        self.main_identity = ""

    def complete(
        self, folder: Path, fresh: bool, dask: str | None, limits: Limits, started: float, held: ExitStack
    ) -> RunRecord:
        """Run the cells that a folder does not hold, and write its files; `held` keeps it locked."""
        opening = time.perf_counter()
        self.open(folder, fresh, held)
        started += time.perf_counter() - opening  # Exclude the time spent waiting for another run.
        if dask is None and not self.earlier:  # After an earlier run, there may be nothing to run.
            start_workers(libraries_for(self.plan.trained, self.plan.task, self.jobs))
        # Several threads of this process set this limit for a while, which would otherwise undo each other's.
        held.enter_context(threadpool_limits(1))
        self.start()
        with PeakMemory() as peak:
            try:
                self.train(dask, limits)
            except KeyboardInterrupt:
                self.interrupted = True
        return self.finish(started, peak)

    def open(self, folder: Path, fresh: bool, held: ExitStack) -> None:
        """Open or create the folder, lock it, and check that its contents match the plan.

        If two runs use a folder at the same time, the second waits for the first and then reuses its cells.
        """
        progress, cells = self.progress, folder / CELLS_FOLDER
        with naming_folder(folder):
            claim(folder, RUN, is_unmarked_run)
            held.enter_context(hold_folder(cells, lambda: progress.waiting(folder) if progress else None))
            held.enter_context(log_to(folder / LOG_FILE))
            self.earlier = None if fresh else read_info(folder)
            check_same_protocol(self.earlier, self.plan.protocol, folder)
            self.folder, self.store = folder, CellStore(cells, self.provenance)
            self.store.sweep()
            remove_torn(folder, RUN.files)
            if fresh:
                if is_marked(folder / EXTERNAL_FOLDER, RUN):
                    leave(folder / EXTERNAL_FOLDER, RUN)
                remove_owned(folder, RUN, keep=(LOG_FILE,))

    def start(self) -> None:
        """Write the information that is available before training, and find stored cells."""
        plan, table, folder = self.plan, self.table, self.folder
        log_event("run started", folder=str(folder), cells=len(plan.cells), identity=plan.identity)
        self.info = self._describe()
        # Searching for near duplicates takes seconds, in which cells can already run.
        self._facts = run_in_thread(self._split_facts)
        rows = example_rows(table, plan.task.folds[0] != LEFT_OUT, PICTURES_PER_CLASS)
        pictures = np.asarray(table.pixels[rows]).reshape(len(rows), *table.shape)
        write_pictures(folder, pictures, np.asarray(table.labels[rows]))
        write_rows(folder, table)
        for result in filter(None, map(self.store.load, plan.cells)):
            self.done.add(result.cell)
            if self.progress:
                self.progress.found(result)
        self.stored = len(self.done)
        log_event("cells found", stored=self.stored, left=len(plan.cells) - self.stored)
        # If this run ends early, the folder already contains a record of its progress.
        sessions = (Session(self.request.command, 0, 0.0, 0.0),)
        self.info = replace(self.info, sessions=sessions, cells=self._entries())
        write_info(folder, replace(self.info, interrupted=True).merged_with(self.earlier))

    def train(self, dask: str | None, limits: Limits) -> None:
        """Run the cells that are not stored, fold after fold, and update `done` and `failures`."""
        expected = self.plan.expected_seconds(self.table)
        missing = {cell: seconds for cell, seconds in expected.items() if cell not in self.done}
        left = dict.fromkeys(in_fold_order(missing, self.jobs))
        remaining, progress = Remaining(expected, self.jobs), self.progress
        ranking = Ranking(expected)

        def report(outcome: CellResult | CellFailure) -> None:
            left.pop(outcome.cell, None)
            if isinstance(outcome, CellResult) and outcome.cell not in self.plan.derived:
                remaining.finished(outcome.cell, outcome.timing.seconds)
            log_outcome(outcome)
            seconds_left = remaining.seconds(left)
            if progress:
                progress.finished(outcome, seconds_left)
            if self._facts.done():
                self._facts.result()  # Raises an error of the search while much of the run is left.
            if ranking.is_due(left, seconds_left):
                with ranking.timed():
                    self.rank(ranking)

        def running(cells: Sequence[Cell]) -> None:
            remaining.running(cells)
            if progress:
                progress.running(cells)

        if progress:
            progress.planned(self.plan.cells, len(self.done), self.info.notes)
        # A time limit applies to single cells, so each of them then trains its own networks.
        task = self.plan.task if limits.seconds else share_networks(self.plan.task, missing)
        following = {cell for cells in task.followers.values() for cell in cells}
        engine = choose_engine(dask, self.table, task, self.jobs, limits)
        leading = [cell for cell in left if cell not in following]
        trained = with_followers(engine(leading, on_running=running), task.followers)
        outcomes = with_derived(self.plan.derived, self.store.load, trained, frozenset(self.done))
        store_outcomes(outcomes, self.store, self.done, self.failures, report)
        wait([self._facts])

    def rank(self, ranking: Ranking) -> None:
        """Write the tables of the finished cells while others run, and report them."""
        info = replace(self._described(), interrupted=True)
        record = build_record(self.folder, info.merged_with(self.earlier), self.metrics)
        write_tables(record)
        write_mistakes(record, self.table)
        write_info(self.folder, record.info)
        log_event("folds finished", finished=ranking.finished, planned=ranking.planned)
        if self.progress:
            self.progress.ranked(record, ranking.finished, ranking.planned)

    def finish(self, started: float, peak: PeakMemory) -> RunRecord:
        """Write the tables and the record of this session."""
        info = replace(self._described(), interrupted=self.interrupted, memory_measure=peak.measure)
        record = build_record(self.folder, info.merged_with(self.earlier), self.metrics)
        write_tables(record)
        write_mistakes(record, self.table)
        seconds, megabytes = time.perf_counter() - started, round(peak.megabytes, 1)
        new = len(self.done) + len(self.failures) - self.stored
        session = Session(self.request.command, new, round(seconds, 2), megabytes)
        record = replace(record, info=replace(info, sessions=(session,)).merged_with(self.earlier))
        write_info(self.folder, record.info)
        log_event(
            "run interrupted" if self.interrupted else "run ended",
            done=len(self.done),
            failed=len(self.failures),
            wall_seconds=round(seconds, 3),
            peak_memory_mb=megabytes,
        )
        return record

    def _describe(self) -> RunInfo:
        """Describe a run before its first cell; `RunInfo.merged_with` adds the results in its folder."""
        plan, table, protocol, models = self.plan, self.table, self.plan.protocol, self.plan.models
        used = {*plan.task.samplers, *(cell.sampler for cell in plan.cells)}
        fit = LesionFit.of_table(table)
        return RunInfo(
            skinmnist=skinmnist.__version__,
            command=self.request.command,
            started=datetime.now().astimezone().isoformat(timespec="seconds"),
            arguments=plan.arguments(self.jobs),
            seed=protocol.seed,
            repeats=plan.repeats,
            jobs=self.jobs,
            quick=self.request.quick,
            protocol=protocol,
            identity=plan.identity,
            fingerprints=plan.fingerprints,
            held_out=self.provenance.held_out,
            table=TableInfo.of_table(table),
            lesion_fit=fit,
            given=plan.given,
            grid=Grid(tuple(sorted_samplers(used)), {name: models[name] for name in sorted_models(models)}),
            notes=(
                *(fit.warning if fit else ()),
                *(plan.given.notes if plan.given else warn_of_shared(protocol.split, table, self.sides)),
                *table.notes,
                *plan.notes,
                *notes_on_hidden("metric", self.metrics),
                *note_on_costs(self.costs, table.class_names),
                *note_on_labels(table),
            ),
            metrics={name: MetricInfo(m.title, m.lower_is_better) for name, m in self.metrics.items()},
            costs=() if self.costs is None else tuple(map(tuple, self.costs.tolist())),
            conformal=self.conformal,
            main_identity=self.main_identity,
            versions=versions(),
            hardware=Hardware(**hardware()),
        )

    def _split_facts(self) -> SplitFacts:
        """Count the pictures and lesions on each side of the split, once for all runs in a folder."""
        same = self.earlier if self.earlier and self.earlier.identity == self.plan.identity else None
        return (same and same.split_facts) or SplitFacts.of_split(self.table, self.sides)

    def _described(self) -> RunInfo:
        """Describe the run so far, with the state of its cells and, once known, the facts of its split."""
        # After an interrupt, the finished cells are written even if the search has failed.
        known = self._facts.done() and not (self.interrupted and self._facts.exception())
        facts = self._facts.result() if known else None
        return replace(self.info, cells=self._entries(), split_facts=facts)

    def _entries(self) -> tuple[CellEntry, ...]:
        files = {cell: self.store.path(cell).name for cell in self.done}
        reasons = {cell: failure.reason for cell, failure in self.failures.items()}
        return entries_of(self.plan.cells, files, reasons)
