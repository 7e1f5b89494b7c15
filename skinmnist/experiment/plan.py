"""The plan of a run, made before training, and the estimate of its duration."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.cache import code_digest
from skinmnist.datasets.mapped import give_back
from skinmnist.datasets.near_duplicates import first_copies
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.audit import count_shared, number_lesions
from skinmnist.experiment.cells import FUSED, Cell, in_table_order
from skinmnist.experiment.derived.ensembles import Derivation, Ensemble, parse_ensembles
from skinmnist.experiment.derived.fusion import Fusion, choose_columns, informative_columns
from skinmnist.experiment.derived.tuning import plan_tuned, with_base
from skinmnist.experiment.execution.machine import available_cores, versions
from skinmnist.experiment.fit_cell import Task, find_followers
from skinmnist.experiment.given_splits import GivenInfo, find_split
from skinmnist.experiment.grid import notes_on_omitted, plan_cells, resolve_models, resolve_samplers
from skinmnist.experiment.run_folder.run_info import Arguments, ModelInfo, Protocol
from skinmnist.experiment.splits import LEFT_OUT, VALIDATION, GivenFolds, Split, assign_folds, sides_of
from skinmnist.models.cnn.backend import choose_precision
from skinmnist.models.spec import FOLD_ROWS, MOST_ROWS, ModelSpec
from skinmnist.names import notes_on_hidden
from skinmnist.resampling.strategies import lookup, split_share
from skinmnist.text import shown

#: Modules that compute predictions; changes to these or to their imports invalidate stored cells.
_COMPUTING = tuple(
    f"skinmnist.experiment.{name}"
    for name in ("fit_cell", "derived.ensembles", "derived.fusion", "derived.tuning", "grid")
)


@dataclass(frozen=True, eq=False)
class Plan:
    """The plan of a run.

    `cells` are in table order; `notes` contain one sentence for each pair that is not part of the plan.
    `identity` is a digest of the protocol, the code, the library versions and the numerical precision of
    networks. `derived` maps the cells that are made from finished cells to their rules; a cell follows the
    cells that it needs. `fusion` adds clinical columns and `ensembles` average models, if requested; `cv`
    describes the origin of given folds.
    """

    cells: tuple[Cell, ...]
    notes: tuple[str, ...]
    task: Task
    protocol: Protocol
    repeats: int
    identity: str
    fusion: Fusion | None = None
    cv: str = ""
    given: GivenInfo | None = None
    derived: Mapping[Cell, Derivation] = field(default_factory=dict)
    ensembles: Mapping[str, Ensemble] = field(default_factory=dict)

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprints of user-defined models and samplers, and of derived models."""
        models = {name: spec.fingerprint for name, spec in self.task.models.items()}
        samplers = {name: sampler.fingerprint for name, sampler in self.task.samplers.items()}
        columns = self.fusion.fingerprint if self.fusion is not None else ""
        found = models | samplers | {name + FUSED: own + columns for name, own in models.items() if columns}
        ensembles = {name: ensemble.fingerprint(found) for name, ensemble in self.ensembles.items()}
        return found | ensembles | {name + FUSED: own + columns for name, own in ensembles.items() if columns}

    @property
    def models(self) -> dict[str, ModelInfo]:
        """Details of each model for a report, with and without clinical columns, and of each ensemble."""
        described = {}
        for name, spec in self.task.models.items():
            described[name] = ModelInfo(spec.title, spec.features.space)
        for name, ensemble in self.ensembles.items():
            spaces = {
                self.task.models[model.removesuffix(FUSED)].features.space for _, model in ensemble.members
            }
            space = spaces.pop() if len(spaces) == 1 else ""
            described[name] = ModelInfo(ensemble.title, space, members=ensemble.spelt)
        fused = dict.fromkeys(cell.model for cell, rule in self.derived.items() if rule is self.fusion)
        for name in fused:
            assert self.fusion is not None
            base, columns = name.removesuffix(FUSED), tuple(self.fusion.columns)
            own = described[base]
            described[name] = ModelInfo(f"{own.title} + {', '.join(columns)}", own.space, base, columns)
        return described

    def arguments(self, jobs: int) -> Arguments:
        """Return the arguments of a run, for its record."""
        return Arguments(
            samplers=tuple(self.task.samplers),
            models=tuple(self.task.models),
            clinical=tuple(self.fusion.columns) if self.fusion else (),
            folds=self.protocol.folds,
            split=self.protocol.split,
            seed=self.protocol.seed,
            rows=self.protocol.rows,
            repeats=self.repeats,
            jobs=jobs,
            cv=self.cv,
            ensembles={name: ensemble.spelt for name, ensemble in self.ensembles.items()},
        )

    @property
    def trained(self) -> tuple[Cell, ...]:
        """The cells that are trained, in table order."""
        return tuple(cell for cell in self.cells if cell not in self.derived)

    def sides(self, table: PixelTable) -> npt.NDArray[np.integer]:
        """Return the side of the split on which each row is (`sides_of`), to find what both sides share.

        Repeats of given folds may differ: this is the one whose sides share the most lesions or, if lesions
        are unknown, the most copies of a picture.
        """
        folds = self.task.folds if self.protocol.split.startswith("given") else self.task.folds[:1]
        different = {fold_of.tobytes(): fold_of for fold_of in folds}.values()
        sides = [sides_of(fold_of, self.protocol.planned_folds) for fold_of in different]
        if len(sides) == 1:
            return sides[0]
        lesions = number_lesions(table)
        groups = first_copies(table, np.arange(len(table))) if lesions is None else lesions
        return max(sides, key=lambda one: count_shared(groups, one)[0])

    def expected_seconds(self, table: PixelTable) -> dict[Cell, float]:
        """Estimate the wall seconds of every trained cell."""
        taking_part = table.labels[self.task.folds[0] != LEFT_OUT]
        counts = np.bincount(taking_part, minlength=len(table.class_names))
        expected = {
            cell: expected_seconds(
                cell, self.task.models[cell.model], counts, table.pixels.shape[1], self.protocol.folds
            )
            for cell in self.trained
        }
        following = chain.from_iterable(find_followers(self.trained, self.task).values())
        return expected | {cell: _HEAD_SHARE * expected[cell] for cell in following}


def one_of(name: str, value: int | None, alias: str, other: int | None) -> int | None:
    """Return the value of an argument that has two names."""
    if value is not None and other is not None and value != other:
        raise InputError(
            f"received {name}={value} and {alias}={other}, which are one argument; pass only one"
        )
    return other if value is None else value


def whole_number(name: str, value: Any, default: int) -> int:
    """Return a whole number, or the default if the value is None; raises InputError for other values."""
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputError(f"received {name}={shown(value)}; expected a whole number")
    return int(value)


def choose_seed(seed: int | None, random_state: int | None) -> int:
    """Return the seed, which may be given by either of two names; 0 by default."""
    return whole_number("seed", one_of("seed", seed, "random_state", random_state), 0)


def choose_jobs(jobs: int | None, n_jobs: int | None) -> int:
    """Return the number of worker processes; as in joblib, negative numbers count back from all cores."""
    cores = available_cores()
    if jobs is not None and whole_number("jobs", jobs, cores) < 1:
        raise InputError(f"received {jobs} jobs; expected at least 1, or None for all cores")
    number = whole_number("n_jobs", one_of("jobs", jobs, "n_jobs", n_jobs), cores)
    if number == 0:
        raise InputError("received n_jobs=0; expected at least 1, or -1 for all cores")
    return number if number > 0 else max(1, cores + 1 + number)


def make_plan(
    table: PixelTable,
    samplers: Iterable[str] | Mapping[str, Any],
    models: Iterable[str] | Mapping[str, Any],
    folds: int,
    repeats: int,
    split: str | os.PathLike[str] | GivenFolds | None,
    seed: int,
    rows: npt.NDArray[np.int64] | None,
    clinical: Iterable[str] = (),
    ensembles: Any = (),
) -> Plan:
    """Resolve names, assign folds and combine the grid, using the parameters of `run_comparison`.

    Given folds replace `folds`, `repeats` and `rows`.
    """
    if not 0 <= seed < 2**31:
        raise InputError(f"received seed {seed}; expected a whole number from 0 to {2**31 - 1}")
    found_samplers, added = with_base(resolve_samplers(samplers, table.class_names))
    found_models = resolve_models(models)
    clash = found_samplers.keys() & found_models.keys()
    if clash:
        raise InputError(f"received {sorted(clash)[0]!r} as both a sampler and a model; rename one of them")
    columns = choose_columns(table, clinical)
    found = find_split(table, split, repeats, rows)
    given = found if isinstance(found, GivenFolds) else _drawn_folds(table, folds, repeats, found, seed, rows)
    fold_of = given.fold_of
    used = fold_of != LEFT_OUT
    columns, silent = informative_columns(columns, used.any(axis=0))
    varies = bool(given.origin) and not given.groups
    protocol = Protocol(
        data=table.digest(),
        folds=given.folds,
        split=given.split,
        seed=seed,
        rows=int(used.sum(axis=1).max()),
        # Repeat 0 suffices to identify the rows in use, unless every repeat has its own given folds.
        assignment=hashlib.sha256((fold_of if varies else fold_of[0]).tobytes()).hexdigest()[:16],
    )
    give_back(table.pixels)
    same = [*added, *(sampler.note for sampler in found_samplers.values() if sampler.note)]
    cells, notes = plan_cells(found_samplers, found_models, len(fold_of), protocol.planned_folds)
    fusion = Fusion(columns, table.labels, fold_of, len(table.class_names)) if columns else None
    hidden = (
        *notes_on_hidden("sampler", [name for name, one in found_samplers.items() if one.fingerprint]),
        *notes_on_hidden("model", [name for name, one in found_models.items() if one.fingerprint]),
    )
    if not cells:
        raise InputError("; ".join(notes) + "; nothing is left to run, so name other samplers or models")
    fused = [cell.fused for cell in cells] if fusion is not None else []
    folds, validated = protocol.planned_folds, bool((fold_of == VALIDATION).any())
    pairs = list(dict.fromkeys(cell[:2] for cell in (*cells, *fused)))
    averaged, not_tunable = parse_ensembles(ensembles, pairs, folds, validated)
    derived, not_averaged = plan_derived(cells, fusion, averaged)
    balancing = [name for name, spec in found_models.items() if spec.balances]
    finished = [cell for cell in (*cells, *derived) if cell.model.removesuffix(FUSED) not in balancing]
    tuned, not_tuned = plan_tuned(found_samplers, finished, folds, validated)
    derived |= tuned
    task = Task(
        folds=fold_of,
        by_lesion=given.split != "image" and table.lesion_ids is not None,
        models=found_models,
        samplers=found_samplers,
        seed=seed,
    )
    identity = json.dumps(
        [asdict(protocol), code_digest(*_COMPUTING), versions(), choose_precision("auto")], sort_keys=True
    )
    return Plan(
        cells=tuple(in_table_order([*cells, *derived])),
        notes=(*given.notes, *silent, *same, *notes, *not_tunable, *not_averaged, *not_tuned, *hidden),
        task=task,
        protocol=protocol,
        repeats=len(fold_of),
        identity=hashlib.sha256(identity.encode()).hexdigest(),
        fusion=fusion,
        cv=given.origin,
        given=GivenInfo.of_folds(given, table) if given.groups else None,
        derived=derived,
        ensembles=averaged,
    )


def plan_derived(
    cells: Sequence[Cell], fusion: Fusion | None, ensembles: Mapping[str, Ensemble]
) -> tuple[dict[Cell, Derivation], list[str]]:
    """Return the cells that are made from trained cells, with their rules, and notes on omissions.

    With clinical columns, every trained cell and every ensemble without these columns gets a second cell.
    """
    derived: dict[Cell, Derivation] = {}
    notes: list[str] = []
    if fusion is not None:
        derived |= {cell.fused: fusion for cell in cells}
    known = {*cells, *derived}
    folds = list(dict.fromkeys(cell[2:] for cell in cells))
    for name, ensemble in ensembles.items():
        own, omitted = list[Cell](), dict[tuple[str, str], str]()
        for sampler in ensemble.rows(dict.fromkeys(cell.sampler for cell in cells)):
            absent = [pair for pair in ensemble.pairs(sampler) if Cell(*pair, *folds[0]) not in known]
            if absent:
                omitted[sampler, name] = f"{absent[0][1]} cannot take it"
                continue
            own += [Cell(sampler, name, *fold) for fold in folds]
        notes += notes_on_omitted(omitted)
        derived |= dict.fromkeys(own, ensemble)
        if fusion is not None and any(model.endswith(FUSED) for _, model in ensemble.members):
            notes.append(f"{name}{FUSED} is not planned: members of {name} already have clinical columns")
        elif fusion is not None:
            derived |= {cell.fused: fusion for cell in own}
    return derived, notes


def _drawn_folds(
    table: PixelTable,
    folds: int,
    repeats: int,
    split: Split,
    seed: int,
    rows: npt.NDArray[np.int64] | None,
) -> GivenFolds:
    fold_of = assign_folds(table, folds, repeats, split, seed, rows, keep_copies=True)
    return GivenFolds(fold_of, folds, split, origin="")


def environment() -> dict[str, str]:
    """Return the environment that affects cells: versions, code, and numerical precision of networks."""
    return {**versions(), "code": code_digest(*_COMPUTING), "precision": choose_precision("auto")}


#: Expected cost of a cell that uses the networks of another, as a share of training them.
_HEAD_SHARE = 0.05
#: The number of columns for which `Cost.seconds` was measured.
_REFERENCE_COLUMNS = 2352
#: How much longer than with the longest cells first a run may take to finish fold after fold.
_LONGER = 1.02


def expected_seconds(
    cell: Cell,
    spec: ModelSpec,
    class_counts: npt.NDArray[np.integer],
    columns: int,
    folds: int,
) -> float:
    """Estimate the wall seconds of a cell from the cost of its model and the rows created by its sampler.

    Only the ratios between cells matter because measured times replace the estimates during a run.
    """
    rows = min(float(class_counts.sum()) * (folds - 1) / folds, MOST_ROWS)
    sampler, share = split_share(cell.sampler)
    known, growth = lookup(sampler), 1.0
    # Where weights represent copies, no rows are added.
    weighted = spec.copies_as_weights and sampler == "RandomOverSampler"
    if known is not None and known.amount == "adds" and not weighted:
        present = class_counts[class_counts > 0].astype(float)
        left = 0.0 if share is None else 1 - share
        growth = float((present.max() * (present / present.max()) ** left).sum() / present.sum())
    size = (rows / FOLD_ROWS) * max(columns / _REFERENCE_COLUMNS, 0.15)
    return 0.2 + spec.cost.seconds * size * growth**spec.cost.growth


def in_fold_order(expected: Mapping[Cell, float], jobs: int) -> list[Cell]:
    """Sort cells by repeat and fold, and those of one fold by expected seconds, longest first.

    Every pair then has its first fold early in a run. If that would leave workers idle at the end, the last
    folds are sorted as one: no run takes more than `_LONGER` times as long as with the longest cells first.

    Examples
    --------
    >>> cells = [Cell("none", "svm", 0, 0), Cell("none", "svm", 0, 1), Cell("none", "cnn", 0, 0)]
    >>> expected = dict(zip(cells, [3.0, 3.0, 9.0]))
    >>> [(cell.model, cell.fold) for cell in in_fold_order(expected, jobs=1)]
    [('cnn', 0), ('svm', 0), ('svm', 1)]
    """
    longest_first = sorted(expected, key=lambda cell: -expected[cell])
    most = _LONGER * _wall_seconds(map(expected.__getitem__, longest_first), [0.0] * jobs)
    folds = sorted({cell[2:] for cell in expected})
    for apart in reversed(range(1, len(folds))):
        place = {fold: min(number, apart) for number, fold in enumerate(folds)}
        order = sorted(longest_first, key=lambda cell: place[cell[2:]])
        if _wall_seconds(map(expected.__getitem__, order), [0.0] * jobs) <= most:
            return order
    return longest_first


def _wall_seconds(seconds: Iterable[float], free: list[float]) -> float:
    """Assign each cell, in order, to the first worker that becomes free; return when the last one ends."""
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


class Remaining:
    """The expected wall seconds of the remaining cells, updated with the times of finished cells.

    For a pair with finished cells, the estimate is the mean of their times. Other estimates are scaled by the
    ratio of measured to estimated times so far, for the same model if available and otherwise for all models.
    """

    def __init__(
        self, expected: Mapping[Cell, float], jobs: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.expected, self.jobs, self.clock = expected, jobs, clock
        self._measured: dict[Cell, float] = {}
        self._started: dict[Cell, float] = {}

    def running(self, cells: Iterable[Cell]) -> None:
        """Record the running cells."""
        now = self.clock()
        self._started = {cell: self._started.get(cell, now) for cell in cells}

    def finished(self, cell: Cell, seconds: float) -> None:
        """Record a finished cell."""
        self._started.pop(cell, None)
        self._measured[cell] = seconds

    def seconds(self, left: Iterable[Cell]) -> float | None:
        """Return the expected wall seconds, or None if no times have been measured.

        Running cells continue; each of the others is assigned, in order, to the first worker that becomes
        free.
        """
        if not self._measured:
            return None
        now, each, seconds = self.clock(), dict[tuple[str, str], float](), []
        for cell in sorted(left, key=lambda cell: cell not in self._started):
            if cell[:2] not in each:
                each[cell[:2]] = self._seconds_of(cell)
            seconds.append(max(0.0, each[cell[:2]] - (now - self._started.get(cell, now))))
        return _wall_seconds(seconds, [0.0] * self.jobs)

    def _seconds_of(self, cell: Cell) -> float:
        pair = [seconds for done, seconds in self._measured.items() if done[:2] == cell[:2]]
        if pair:
            return sum(pair) / len(pair)
        alike = [done for done in self._measured if done.model == cell.model] or list(self._measured)
        off = sum(map(self._measured.__getitem__, alike)) / sum(map(self.expected.__getitem__, alike))
        return off * self.expected[cell]


#: Expected seconds left below which a run publishes no scores before its end.
EARLY_SECONDS = 20.0
#: Scores of later folds are published once this many times the seconds of the last publication have passed.
REFRESH_RATIO = 100.0


class Ranking:
    """Decide when the scores of the folds that every pair has finished are published during a run.

    The first fold is always published if much of the run is left. Later folds are published as long as that
    costs less than a hundredth of the time. Failed cells count as finished.

    Examples
    --------
    >>> cells = [Cell("none", "svm", 0, fold) for fold in range(3)]
    >>> ranking = Ranking(cells)
    >>> ranking.is_due(cells[1:], seconds_left=60.0), ranking.finished, ranking.planned
    (True, 1, 3)
    >>> ranking.is_due(cells[1:], seconds_left=60.0)
    False
    """

    def __init__(self, cells: Iterable[Cell], clock: Callable[[], float] = time.monotonic) -> None:
        self.planned = len({cell[2:] for cell in cells})
        self.finished = 0
        self._clock, self._next = clock, -math.inf

    def is_due(self, left: Iterable[Cell], seconds_left: float | None) -> bool:
        """Return whether to publish, and update `finished`, the number of folds without a cell in `left`."""
        finished = self.planned - len({cell[2:] for cell in left})
        if not self.finished < finished < self.planned:
            return False
        if seconds_left is None or seconds_left < EARLY_SECONDS or self._clock() < self._next:
            return False
        self.finished = finished
        return True

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure how long a publication takes, which sets the time of the next."""
        started = self._clock()
        yield
        now = self._clock()
        self._next = now + REFRESH_RATIO * (now - started)
