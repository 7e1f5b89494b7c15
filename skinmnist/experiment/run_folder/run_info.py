"""The contents of ``run.json``: the table, the grid, the environment, and the outcome of each cell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from skinmnist import facts
from skinmnist.datasets.decoding import OPTIONAL, Amount, Between, Count, decode, encode, refused
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.audit import LesionFit, SplitFacts
from skinmnist.experiment.cells import FUSED, Cell, in_table_order, sorted_models, sorted_samplers
from skinmnist.experiment.given_splits import GivenInfo
from skinmnist.experiment.run_folder.store import Provenance
from skinmnist.experiment.splits import Split
from skinmnist.names import PAIRED

Folds = Annotated[int, Between(2, 100)]
Seed = Annotated[int, Between(0, 2**31 - 1)]
Positive = Annotated[int, Between(1)]
Side = Annotated[int, Between(1, 2**16)]


@dataclass(frozen=True)
class Request:
    """The command that repeats a run, and whether the run is only a quick look.

    See Also
    --------
    run_comparison : Accepts it as `request`.

    Examples
    --------
    >>> from skinmnist import Request
    >>> Request("skinmnist compare --quick", quick=True)
    Request(command='skinmnist compare --quick', quick=True)
    """

    command: str = "run_comparison(...)"
    quick: bool = False


@dataclass(frozen=True)
class Arguments:
    """The arguments of a run."""

    samplers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    clinical: tuple[str, ...] = ()
    folds: Folds = 5
    split: str = ""
    seed: Seed = 0
    rows: Count = 0
    repeats: Positive = 1
    jobs: Positive = 1
    #: Origin of given folds, such as the representation of a scikit-learn splitter.
    cv: str = field(default="", metadata=OPTIONAL)
    #: Names of the ensembles, each with its members.
    ensembles: Mapping[str, tuple[str, ...]] = field(default_factory=dict, metadata=OPTIONAL)


@dataclass(frozen=True)
class Protocol:
    """The settings that all runs in a folder must share."""

    data: str
    folds: Folds
    split: Split
    seed: Seed
    rows: Positive
    assignment: str = ""

    @property
    def planned_folds(self) -> int:
        """Number of held-out folds in each repeat."""
        return 1 if self.split in ("holdout", "given holdout") else self.folds


@dataclass(frozen=True)
class InputFile:
    """An input file of a table."""

    file: str
    sha256: str


@dataclass(frozen=True)
class TableInfo:
    """The table of a run; the number of lesions is None if lesions are unknown."""

    name: str
    origin: str
    synthetic: bool
    rows: Positive
    shape: tuple[Side, Side, Side]
    class_names: tuple[str, ...]
    class_titles: Mapping[str, str] = field(default_factory=dict)
    rows_per_class: tuple[Count, ...] = ()
    lesions_per_class: tuple[Count, ...] | None = None
    lesions: Count | None = None
    clinical: tuple[str, ...] = ()
    inputs: tuple[InputFile, ...] = ()

    @classmethod
    def of_table(cls, table: PixelTable) -> TableInfo:
        """Describe a table."""
        lesions = table.lesion_counts
        return cls(
            name=table.name,
            origin=table.origin,
            synthetic=table.synthetic,
            rows=len(table),
            shape=table.shape,
            class_names=tuple(table.class_names),
            class_titles={name: facts.CLASS_TITLES.get(name, name) for name in table.class_names},
            rows_per_class=tuple(table.class_counts.tolist()),
            lesions_per_class=None if lesions is None else tuple(lesions.tolist()),
            lesions=table.n_lesions,
            clinical=tuple(table.clinical or ()),
            inputs=tuple(InputFile(name, digest) for name, digest in table.inputs),
        )

    def check(self) -> None:
        """Raise an InputError if the fields are inconsistent."""
        n_classes = len(self.class_names)
        if not n_classes or len(set(self.class_names)) < n_classes or not all(self.class_names):
            raise refused("table.class_names", "one name or more, each once", list(self.class_names))
        if len(self.rows_per_class) != n_classes or sum(self.rows_per_class) != self.rows:
            wanted = f"{n_classes} numbers that sum to {self.rows:,}"
            raise refused("table.rows_per_class", wanted, list(self.rows_per_class))
        if self.lesions_per_class is not None and len(self.lesions_per_class) != n_classes:
            wanted = f"{n_classes} numbers"
            raise refused("table.lesions_per_class", wanted, list(self.lesions_per_class))


@dataclass(frozen=True)
class ModelInfo:
    """Details of a model for a report: its title, and the space in which samplers operate.

    For a model with clinical columns, they include the names of its base model and of the columns; for an
    ensemble, those of its members, as users write them.
    """

    title: str
    space: str = ""
    base: str = field(default="", metadata=OPTIONAL)
    clinical: tuple[str, ...] = field(default=(), metadata=OPTIONAL)
    members: tuple[str, ...] = field(default=(), metadata=OPTIONAL)

    def depends_on(self, names: Collection[str]) -> bool:
        """Return whether the model is derived from one of these models or samplers."""
        parts = [self.base, *(part for member in self.members for part in member.split(PAIRED))]
        return any(part in names for part in parts)


@dataclass(frozen=True)
class MetricInfo:
    """Details of an additional metric, for tables."""

    title: str = ""
    lower_is_better: bool = False


@dataclass(frozen=True)
class Grid:
    """The samplers and models of a run, in table order."""

    samplers: tuple[str, ...]
    models: Mapping[str, ModelInfo]


@dataclass(frozen=True)
class CellEntry:
    """The outcome of a cell: the name of its file, or the reason why it failed."""

    sampler: str
    model: str
    repeat: Count
    fold: Count
    status: Literal["done", "failed", "pending"]
    file: str = field(default="", metadata=OPTIONAL)
    reason: str = field(default="", metadata=OPTIONAL)

    @property
    def cell(self) -> Cell:
        """The cell."""
        return Cell(self.sampler, self.model, self.repeat, self.fold)


@dataclass(frozen=True)
class Session:
    """The cost of one run in a folder."""

    command: str
    new_cells: Count
    wall_seconds: Amount
    peak_memory_mb: Amount


@dataclass(frozen=True)
class Hardware:
    """The hardware of a machine."""

    cpu: str = ""
    cores: Count = 0
    memory_gb: Amount = 0.0
    network_precision: str = ""
    system: str = ""


@dataclass(frozen=True)
class RunInfo:
    """The contents of ``run.json``; the fields are its keys, in order."""

    #: The package version, followed by the command that repeats the run.
    skinmnist: str
    command: str
    arguments: Arguments
    seed: Seed
    #: Whether the run is only a quick look.
    quick: bool
    jobs: Positive | None
    protocol: Protocol
    repeats: Positive
    #: Digest of the protocol, the code, the library versions and the numerical precision of networks.
    identity: str
    #: Fingerprints of user-defined models and samplers, by name.
    fingerprints: Mapping[str, str]
    #: For each repeat and fold, a digest of the held-out rows and labels (see `Provenance`).
    held_out: tuple[tuple[str, ...], ...]
    table: TableInfo
    grid: Grid
    notes: tuple[str, ...]
    versions: Mapping[str, str]
    hardware: Hardware
    started: str = ""
    split_facts: SplitFacts | None = None
    lesion_fit: LesionFit | None = None
    given: GivenInfo | None = field(default=None, metadata=OPTIONAL)
    sessions: tuple[Session, ...] = ()
    #: Maximum over all sessions.
    wall_seconds: Amount | None = None
    peak_memory_mb: Amount | None = None
    interrupted: bool = False
    cells: tuple[CellEntry, ...] = ()
    memory_measure: str = field(default="", metadata=OPTIONAL)
    #: Additional metrics, by name.
    metrics: Mapping[str, MetricInfo] = field(default_factory=dict, metadata=OPTIONAL)
    #: The cost of each decision (column) for each true class (row); empty without costs.
    costs: tuple[tuple[float, ...], ...] = field(default=(), metadata=OPTIONAL)
    #: The largest share of conformal sets of a class that may miss it; None without sets.
    conformal: Annotated[float, Between(0, 0.5)] | None = field(default=None, metadata=OPTIONAL)
    #: For an external test, the `identity` of the run whose models it tests; empty for other runs.
    main_identity: str = field(default="", metadata=OPTIONAL)

    @classmethod
    def from_json(cls, content: Any) -> RunInfo:
        """Read the contents of ``run.json``; raises InputError if fields are invalid or inconsistent."""
        info = decode(cls, content)
        info.table.check()
        if info.split_facts is not None:
            info.split_facts.check()
        if info.seed != info.protocol.seed:
            raise refused("seed", f"that of the protocol, {info.protocol.seed}", info.seed)
        if info.protocol.rows > info.table.rows:
            raise refused(
                "protocol.rows", f"at most the {info.table.rows:,} of the table", info.protocol.rows
            )
        n_classes = len(info.table.class_names)
        if info.costs and [len(row) for row in info.costs] != [n_classes] * n_classes:
            raise refused("costs", f"{n_classes} lists of {n_classes} numbers", list(info.costs))
        if [len(folds) for folds in info.held_out] != [info.protocol.folds] * info.repeats:
            wanted = f"{info.repeats} lists of {info.protocol.folds}"
            raise refused("held_out", wanted, list(info.held_out))
        info._check_cells()
        return info

    def to_json(self) -> dict[str, Any]:
        """Return the contents of ``run.json``."""
        encoded: dict[str, Any] = encode(self)
        return encoded

    @property
    def provenance(self) -> Provenance:
        """The provenance that the stored cells of this run must have."""
        table = self.table
        return Provenance(self.identity, self.fingerprints, table.class_names, table.shape, self.held_out)

    def _check_cells(self) -> None:
        folds = self.protocol.planned_folds
        seen = set()
        for place, entry in enumerate(self.cells):
            where = f"cells[{place}]"
            if entry.sampler not in self.grid.samplers or entry.model not in self.grid.models:
                raise refused(where, "a sampler and a model of the grid", [entry.sampler, entry.model])
            if entry.repeat >= self.repeats or entry.fold >= folds:
                wanted = f"less than {self.repeats} repeats and {folds} folds"
                raise refused(where, wanted, [entry.repeat, entry.fold])
            if entry.cell in seen:
                raise refused(where, "each cell once", list(entry.cell))
            if entry.status == "done" and (not entry.file or PurePath(entry.file).name != entry.file):
                raise refused(f"{where}.file", "the name of a file", entry.file)
            seen.add(entry.cell)

    def merged_with(self, earlier: RunInfo | None) -> RunInfo:
        """Add the arguments and results of an earlier run in the same folder, for cells that are still valid.

        If all cells of a run were already stored, it adds no session.
        """
        changed = () if earlier is None else self._changed_since(earlier)
        notes = [f"{name} has changed: its earlier cells were left out" for name in changed]
        if earlier is None or earlier.identity != self.identity:
            if earlier is not None:
                notes.append("cells stored by other versions of the code or its libraries were left out")
            return replace(self, notes=_once([*notes, *self.notes]))._with_totals()
        samplers = sorted_samplers({*earlier.grid.samplers, *self.grid.samplers})
        models = {name: model for name, model in earlier.grid.models.items() if name not in changed}
        models |= self.grid.models
        cells = {e.cell: e for e in earlier.cells if not {*changed} & {e.sampler, e.model}}
        cells |= {entry.cell: entry for entry in self.cells}
        own = [s for s in self.sessions if s.new_cells or not earlier.sessions]
        return replace(
            self,
            repeats=max(self.repeats, earlier.repeats),
            fingerprints={**earlier.fingerprints, **self.fingerprints},
            held_out=self.held_out + earlier.held_out[len(self.held_out) :],
            grid=Grid(tuple(samplers), {name: models[name] for name in sorted_models(models)}),
            notes=_once([*earlier.notes, *notes, *self.notes]),
            split_facts=earlier.split_facts or self.split_facts,
            sessions=(*earlier.sessions, *own),
            metrics={**earlier.metrics, **self.metrics},
            costs=self.costs or earlier.costs,
            conformal=self.conformal or earlier.conformal,
            cells=tuple(cells[cell] for cell in in_table_order(cells)),
        )._with_totals()

    def without_outdated(self, main: RunInfo) -> RunInfo:
        """Return an external test without cells of other code or models than those of `main`, its run."""
        changed = {*self._differing_from(main)}
        cells = (e for e in self.cells if self._has_code_of(main) and not changed & {e.sampler, e.model})
        return replace(self, cells=tuple(cells))

    def with_notes_on(self, external: RunInfo | None, damaged: bool = False) -> RunInfo:
        """Add notes on what is left out of the external test of this run: all of it, or outdated cells."""
        if damaged:
            notes = [
                "the external test is left out because its run.json is damaged; remove the folder external, "
                "and repeat the test with --test"
            ]
        elif external is None:
            return self
        elif external._has_code_of(self):
            notes = [
                f"{name} has changed since the external test, so its results there are left out"
                for name in external._differing_from(self)
            ]
        else:
            notes = [
                "the external test was made by other versions of the code or its libraries and is left out; "
                "repeat it with --test"
            ]
        return replace(self, notes=_once([*self.notes, *notes]))

    def _has_code_of(self, main: RunInfo) -> bool:
        if self.main_identity:
            return self.main_identity == main.identity
        # Folders of older versions lack the identity; they are read as before unless a version has changed.
        return (self.skinmnist, self.versions) == (main.skinmnist, main.versions)

    def _differing_from(self, main: RunInfo) -> list[str]:
        """Return the models and samplers of an external test that differ from those of `main`.

        Fingerprints of derived models depend on the table, so these are compared by what they derive from.
        """
        models, before = self.grid.models, main.fingerprints
        derived = {name for name, model in models.items() if model.base or model.members}
        changed = {name for name, own in self.fingerprints.items() if before.get(name, own) != own} - derived
        changed |= {name + FUSED for name in changed}
        for name in sorted_models(models):  # Models follow their bases.
            own, other = models[name], main.grid.models.get(name, models[name])
            if own.depends_on(changed) or (own.clinical, own.members) != (other.clinical, other.members):
                changed.add(name)
        return [name for name in (*self.grid.samplers, *models) if name in changed]

    def _with_totals(self) -> RunInfo:
        return replace(
            self,
            wall_seconds=round(sum(session.wall_seconds for session in self.sessions), 2),
            peak_memory_mb=max((session.peak_memory_mb for session in self.sessions), default=0.0),
        )

    def _changed_since(self, earlier: RunInfo) -> list[str]:
        """Return the names of models and samplers that have changed since an earlier run.

        A model with clinical columns changes with its base model, and an ensemble with its members.
        """
        before = earlier.fingerprints
        changed = {name for name, own in self.fingerprints.items() if before.get(name, own) != own}
        for name in sorted_models(earlier.grid.models):  # Models follow their bases, but not their members.
            if earlier.grid.models[name].depends_on(changed):
                changed.add(name)
        return sorted(changed | {name + FUSED for name in changed if name + FUSED in before})


def entries_of(
    cells: Iterable[Cell], files: Mapping[Cell, str], reasons: Mapping[Cell, str]
) -> tuple[CellEntry, ...]:
    """Return the outcomes of cells in table order, with the files of finished and reasons of failed ones."""

    def entry(cell: Cell) -> CellEntry:
        if cell in files:
            return CellEntry(*cell, status="done", file=files[cell])
        if cell in reasons:
            return CellEntry(*cell, status="failed", reason=reasons[cell])
        return CellEntry(*cell, status="pending")

    return tuple(map(entry, in_table_order(cells)))


def _once(notes: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(notes))


def check_same_protocol(
    info: RunInfo | None, protocol: Protocol, folder: Path, otherwise: str = "start over with --fresh"
) -> None:
    """Raise an InputError if a folder contains a run with other data, rows, folds or seeds."""
    if info is None:
        return
    if info.protocol.assignment == protocol.assignment:
        # It implies the number of rows, which older versions counted in the first of several given pairs.
        protocol = replace(protocol, rows=info.protocol.rows)
    for key, wanted in asdict(protocol).items():
        stored = getattr(info.protocol, key)
        if stored != wanted:
            what = {"data": "other data", "assignment": "other rows"}.get(
                key, f"{key} {stored} instead of {wanted}"
            )
            raise InputError(
                f"{folder} holds a run with {what}; name another folder with --out, or {otherwise}"
            )
