"""The parts of the study: what `plan.toml` says, the table of a part, and whether its run has finished."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinmnist.datasets.synthetic.lesions import TUNED_OVERLAP
from skinmnist.errors import InputError
from skinmnist.experiment.run_folder.record import read_info

if TYPE_CHECKING:
    from skinmnist.datasets.table import PixelTable
    from skinmnist.experiment.run_folder.run_info import CellEntry, RunInfo

PLAN = Path(__file__).with_name("plan.toml")
#: Where the tables of HAM10000 come from.
DOWNLOAD = "`python -m skinmnist.download` fetches it, or put it into data/ or the folder of $SKINMNIST_DATA"


@dataclass(frozen=True)
class Synthetic:
    """A synthetic table: `ratio` pictures of nv for each picture of any other class."""

    rows: int
    ratio: float
    overlap: float
    size: int = 8

    @property
    def weights(self) -> dict[str, float]:
        """Relative class frequencies."""
        from skinmnist import facts

        return {name: float(self.ratio) if name == "nv" else 1.0 for name in facts.CLASS_NAMES}

    @property
    def origin(self) -> str:
        """What the table says of itself: the call that makes it, without default arguments."""
        words = [str(self.rows), f"class_weights={self.weights}"]
        words += [] if self.overlap == TUNED_OVERLAP else [f"overlap={self.overlap}"]
        return f"make_lesions({', '.join([*words, f'size={self.size}', 'random_state=0'])})"

    def make(self) -> PixelTable:
        """Return the table."""
        from skinmnist import make_lesions

        return make_lesions(self.rows, self.weights, overlap=self.overlap, size=self.size)


@dataclass(frozen=True)
class Part:
    """One run of the study."""

    name: str
    group: str
    seed: int
    models: tuple[str, ...]
    samplers: tuple[str, ...]
    table: str = ""
    synthetic: Synthetic | None = None
    split: str = "lesion"
    folds: int = 5
    repeats: int = 1
    ensembles: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The file of the table, or the words for a synthetic one."""
        made = self.synthetic
        return self.table or f"synthetic, {made.ratio:g}:1, overlap {made.overlap:g}"

    def open(self) -> PixelTable:
        """Return the table; raises InputError if its file is missing."""
        return self.synthetic.make() if self.synthetic else _load(self.table)

    def is_finished(self, folder: Path) -> bool:
        """Whether the run in `folder` has an outcome for every cell of this part.

        Only ``run.json`` is read. A cell that failed has an outcome, its reason.
        """
        info = read_info(folder)
        return info is not None and self.matches(info) and not self.has_pending(info)

    def matches(self, info: RunInfo) -> bool:
        """Whether a run has the arguments of this part; it may have further samplers and models."""
        asked = info.arguments
        split = "lesion" if self.split == "lesion" else "given holdout"
        return (
            asked.seed == self.seed
            and (split != "lesion" or asked.folds == self.folds)
            and asked.repeats >= self.repeats
            and info.protocol.split == split
            and set(asked.samplers) >= set(self.samplers)
            and set(asked.models) >= set(self._model_names)
            and len(asked.ensembles) >= len(self.ensembles)
            and self._same_table(info)
        )

    @property
    def _model_names(self) -> list[str]:
        """The names of models in a run: those of the user's classes are without their module."""
        return [name.rpartition(":")[2] for name in self.models]

    def entries(self, info: RunInfo) -> list[CellEntry]:
        """Return the cells of this part; a run that was extended or cut down may list others."""
        models = {*self._model_names, *(text.partition("=")[0] for text in self.ensembles)}
        return [
            entry
            for entry in info.cells
            if entry.sampler in self.samplers and entry.model in models and entry.repeat < self.repeats
        ]

    def has_pending(self, info: RunInfo) -> bool:
        """Whether a run was interrupted, or has cells of this part without an outcome."""
        return info.interrupted or any(entry.status == "pending" for entry in self.entries(info))

    def _same_table(self, info: RunInfo) -> bool:
        made = self.synthetic
        if made is None:
            return info.table.name == Path(self.table).stem
        return info.table.synthetic and info.table.origin == made.origin


@cache
def _load(name: str) -> PixelTable:
    """Load a table once for all parts that follow each other."""
    from skinmnist.datasets.hmnist import find_table, load_hmnist

    folder = find_table()
    path = None if folder is None else folder.parent / name
    if path is None or not path.is_file():
        raise InputError(f"the study needs {name}, which was not found; {DOWNLOAD}")
    return load_hmnist(path)


def read_plan(path: Path = PLAN) -> list[Part]:
    """Return the parts of a plan in order.

    A name of ``[samplers]`` stands for its list. ``ratios`` and ``overlaps`` of synthetic tables are crossed:
    each pair is a part.
    """
    plan = tomllib.loads(path.read_text(encoding="utf-8"))
    named = {name: tuple(words) for name, words in plan.get("samplers", {}).items()}
    parts: list[Part] = []
    for entry in plan["parts"]:
        parts += _parts({"folds": plan["folds"], "seed": plan["seed"], **entry}, named)
    return parts


def _parts(entry: dict[str, Any], named: dict[str, tuple[str, ...]]) -> list[Part]:
    samplers = tuple(word for name in entry["samplers"] for word in named.get(name, (name,)))
    common = {name: entry[name] for name in ("table", "split", "folds", "repeats") if name in entry}
    group, models = entry.get("group", entry["name"]), tuple(entry["models"])
    seed = entry["seed"]
    common |= {"ensembles": tuple(entry.get("ensembles", ()))}
    if "ratios" in entry:
        tables = [Synthetic(entry["rows"], *pair) for pair in product(entry["ratios"], entry["overlaps"])]
        return [
            Part(
                f"{entry['name']}-{made.ratio:g}-{made.overlap:g}",
                group,
                seed,
                models,
                samplers,
                synthetic=made,
                **common,
            )
            for made in tables
        ]
    return [Part(entry["name"], group, seed, models, samplers, **common)]
