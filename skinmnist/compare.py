"""``python -m skinmnist.compare``: combine samplers with models and write one report."""

from __future__ import annotations

import argparse
import glob
import re
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skinmnist import facts
from skinmnist.console.common import (
    FAILED_CELLS,
    INTERRUPTED,
    add_run_arguments,
    add_table_arguments,
    command_parser,
    guarded,
    open_table,
    resume_command,
    run_options,
)
from skinmnist.errors import InputError
from skinmnist.experiment.grid import DEFAULT_SAMPLERS, resolve_models, resolve_samplers
from skinmnist.models.registry import DEFAULT_MODELS, MODELS
from skinmnist.names import known_spelling

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from skinmnist.console.terminal import Terminal
    from skinmnist.datasets.table import PixelTable
    from skinmnist.experiment.run_folder.record import RunRecord
    from skinmnist.experiment.splits import GivenFolds, Split

QUICK_ROWS = 1000
QUICK_FOLDS = 3
#: Models that a quick run replaces with a cheaper model of the same type.
QUICK_MODELS = {"cnn": "cnn_tiny"}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = command_parser(
        "compare",
        "Cross samplers with models under stratified cross-validation and write one report.",
        (
            "--quick",
            "hmnist_28_28_RGB.csv --samplers none SMOTE --models svm random_forest",
            "table.csv --metadata metadata.csv --split lesion --folds 5 --repeats 3",
            "hmnist_28_28_RGB.csv --split dermamnist-c --samplers none --models svm",
        ),
        usage="[CSV] [options]",
        closing=facts.DISCLAIMER,
    )
    add_table_arguments(parser)
    _add_what_to_compare(parser)
    _add_split(parser)
    add_run_arguments(
        parser,
        out="the run folder (default: runs/<table>-<seed>, then the name of a given split, then -quick)",
    )
    return parser


def _add_what_to_compare(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what to compare").add_argument
    add(
        "--samplers",
        metavar="NAME",
        nargs="+",
        default=[*DEFAULT_SAMPLERS],
        help="names from `skinmnist list samplers`, with a share such as SMOTE@0.5, a sweep over shares such "
        "as sweep:SMOTE, a group such as modern, or package.module:Class "
        f"(default: {' '.join(DEFAULT_SAMPLERS)})",
    )
    add(
        "--models",
        metavar="NAME",
        nargs="+",
        default=[*DEFAULT_MODELS],
        help="names from `skinmnist list models`, or package.module:Class "
        f"(default: {' '.join(DEFAULT_MODELS)})",
    )
    add(
        "--metrics",
        metavar="NAME",
        nargs="+",
        default=[],
        help="additional scores: a scikit-learn scorer, or a metric from a plugin; see "
        "`skinmnist list metrics`",
    )
    add(
        "--costs",
        metavar="FILE",
        help="costs of mistakes, by true class and decision: adds the expected cost per 1,000 pictures to "
        "the scores, as trained and for the cheapest decisions; see `skinmnist list costs`",
    )
    add(
        "--conformal",
        metavar="ALPHA",
        type=float,
        help="share of sets that may miss the right class, such as .1: adds coverage and size of conformal "
        "sets by class, in conformal.csv and the report",
    )
    add(
        "--clinical",
        metavar="COLUMN",
        nargs="+",
        default=[],
        help=f"for every model, add a row <model>+clinical that also uses these columns of the metadata: "
        f"{', '.join(facts.CLINICAL_COLUMNS)}",
    )
    add(
        "--ensemble",
        metavar="NAME=MODEL,...",
        action="append",
        default=[],
        help="add a row NAME that averages finished models without training, such as both=svm,cnn; a member "
        "may have its own sampler (SMOTE+cnn) or columns (svm+clinical); NAME=tuned:svm,cnn chooses weights "
        "on the other folds; repeatable",
    )
    add(
        "--demonstrate-leaks",
        action="store_true",
        help="also show how resampling before the split, lesions in both folds and tuning on the test fold "
        "would have changed the scores, in leaks.csv and a section of the report, never in the leaderboard",
    )
    add(
        "--leak-models",
        metavar="NAME",
        nargs="+",
        help="models to show leaks with (default: those of the run that are not networks, and a forest on "
        "pixels)",
    )


def _add_split(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("split").add_argument
    add("--folds", metavar="N", type=int, help="folds of the cross-validation (default: 5)")
    add(
        "--repeats",
        metavar="N",
        type=int,
        default=1,
        help="how often to redraw the folds or, on a given split, to train with other seeds (default: 1)",
    )
    add(
        "--split",
        metavar="SPLIT",
        help="lesion: all pictures of a lesion in one fold (default, wherever lesions are known); image: "
        "each by itself; holdout: one test part, by lesion; own: the parts stored in a MedMNIST file "
        "(the default for it); dermamnist, dermamnist-c: as published; "
        "column:NAME: leave out one group of that metadata column at a time; or a CSV with image_id "
        "and split (train, val, test) or fold",
    )
    add(
        "--test",
        metavar="CSV",
        help="another pixel table with the same classes and size: also train on the whole first table "
        "and report on this one, beside the cross-validation",
    )
    add(
        "--test-metadata",
        metavar="CSV",
        help="metadata of the --test table (default: the file beside it; none: no metadata)",
    )
    add(
        "--quick",
        action="store_true",
        help=f"try everything on {QUICK_ROWS:,} rows in {QUICK_FOLDS} folds; not a result",
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = build_parser().parse_args(arguments)
    return guarded(lambda: _compare(options, arguments))


@dataclass(frozen=True)
class _Prepared:
    """What a command asks to compare, with its tables read."""

    table: PixelTable
    other: PixelTable | None
    rows: npt.NDArray[np.int64] | None
    folds: int
    split: Split | GivenFolds
    out: Path

    @classmethod
    def of(cls, options: argparse.Namespace, command: str) -> _Prepared:
        """Read the tables and the split."""
        from skinmnist.datasets.table import sample_rows
        from skinmnist.experiment.costs import read_costs
        from skinmnist.experiment.given_splits import find_split
        from skinmnist.experiment.splits import GivenFolds

        table = open_table(options, command)
        read_costs(options.costs, table.class_names)
        other, folds = _open_test(options), _folds(options)
        rows = sample_rows(table, QUICK_ROWS, options.seed, folds) if options.quick else None
        split = find_split(table, options.split, options.repeats, rows)
        given = split.origin if isinstance(split, GivenFolds) else ""
        _check_given(given, options)
        out = Path(options.out or _default_folder(table, given, options))
        return cls(table, other, rows, folds, split, out)


def _folds(options: argparse.Namespace) -> int:
    if options.folds is not None:
        return int(options.folds)
    return QUICK_FOLDS if options.quick else 5


def _compare(options: argparse.Namespace, arguments: list[str]) -> int:
    from skinmnist.decisions.probabilities import check_alpha

    started = time.perf_counter()
    if options.leak_models:
        if not options.demonstrate_leaks:
            raise InputError("received --leak-models without --demonstrate-leaks; add it, or drop both")
        resolve_models(options.leak_models)
    models = [known_spelling(name, MODELS) for name in options.models]
    if options.quick:
        models = list(dict.fromkeys(QUICK_MODELS.get(name, name) for name in models))
    check_alpha(options.conformal)
    run_options(options)  # Refuses impossible limits, before workers start.
    command = resume_command("compare", arguments)
    with _workers_ahead(options, models):
        # What follows imports for two seconds, in which the workers import theirs. Wrong names are refused
        # before the table is read.
        resolve_samplers(options.samplers)
        resolve_models(options.models)
        from skinmnist.console.terminal import Terminal

        prepared = _Prepared.of(options, command)
        terminal = Terminal(started)
        terminal.table(prepared.table, prepared.split, options.quick)
        return _run(prepared, models, options, command, terminal)


def _workers_ahead(options: argparse.Namespace, models: list[str]) -> AbstractContextManager[None]:
    """Start the workers before the table is read, if the run surely has a cell for each of them."""
    from skinmnist.experiment.execution.local import workers_ahead
    from skinmnist.experiment.execution.machine import available_cores

    table = glob.escape(Path(options.csv).stem) if options.csv else "*"
    stored = Path(options.out).exists() if options.out else any(Path("runs").glob(f"{table}-{options.seed}*"))
    jobs = available_cores() if options.jobs is None else options.jobs
    # A given split may have a single part; `run_comparison` refuses fewer than one job.
    fewest_cells = len(models) * (1 if options.split else _folds(options))
    if options.dask or (stored and not options.fresh) or not 1 <= jobs <= fewest_cells:
        return nullcontext()
    return workers_ahead(resolve_models(models).values(), jobs)


def _run(
    prepared: _Prepared, models: list[str], options: argparse.Namespace, command: str, terminal: Terminal
) -> int:
    """Run the comparison, write its report, and return the exit code."""
    from skinmnist.console.terminal import verbosely
    from skinmnist.experiment.comparison import run_comparison
    from skinmnist.experiment.run_folder.record import read_info, read_run
    from skinmnist.experiment.run_folder.run_info import Request

    interrupted = False
    with terminal, verbosely(terminal.console, options.verbose):
        try:
            record = run_comparison(
                prepared.table,
                options.samplers,
                models,
                folds=prepared.folds,
                repeats=options.repeats,
                split=prepared.split,
                test=prepared.other,
                clinical=options.clinical,
                ensembles=_quick_members(options.ensemble) if options.quick else options.ensemble,
                metrics=options.metrics,
                costs=options.costs,
                conformal=options.conformal,
                out=prepared.out,
                rows=prepared.rows,
                progress=terminal,
                request=Request(command, options.quick),
                **run_options(options),
            )
            if options.demonstrate_leaks:
                _demonstrate(prepared.table, record, options, terminal)
        except KeyboardInterrupt:
            # Before the run starts, the contents of its folder belong to another run.
            if not terminal.begun or read_info(prepared.out) is None:
                raise
            record, interrupted = read_run(prepared.out), True
        analysis, report = terminal.write_report(record, options.jobs)
    terminal.conclude(analysis, report, resume=command if interrupted else None)
    return INTERRUPTED if interrupted else FAILED_CELLS if _failed(record) else 0


def _quick_members(ensembles: list[str]) -> list[str]:
    """Replace the members of ensembles as a quick run replaces models."""
    parts = [text.partition("=") for text in ensembles]
    return [
        name + equals + re.sub(r"\w+", lambda word: QUICK_MODELS.get(word[0].lower(), word[0]), members)
        for name, equals, members in parts
    ]


def _failed(record: RunRecord) -> bool:
    return bool(record.failures or (record.external is not None and record.external.failures))


def _open_test(options: argparse.Namespace) -> PixelTable | None:
    """Return the table of the external test; None without an external test."""
    if options.test is None:
        if options.test_metadata is not None:
            raise InputError("received --test-metadata without --test; name the table that it describes")
        return None
    from skinmnist.datasets.hmnist import find_table, load_hmnist

    path = find_table(options.test)
    assert path is not None
    return load_hmnist(path, False if options.test_metadata == "none" else options.test_metadata)


def _check_given(given: str, options: argparse.Namespace) -> None:
    """Raise InputError for options that contradict a given split."""
    for name, value in (("--folds", options.folds), ("--demonstrate-leaks", options.demonstrate_leaks)):
        if given and value:
            raise InputError(
                f"received --split {given}, whose parts are given, and {name}, which draws folds; drop one "
                "of them"
            )


def _default_folder(table: PixelTable, given: str, options: argparse.Namespace) -> str:
    """Return the run folder; quick looks and given splits have their own folders."""
    split = f"-{re.sub(r'[^A-Za-z0-9]+', '-', given).strip('-')}" if given else ""
    return f"runs/{table.name}-{options.seed}{split}{'-quick' if options.quick else ''}"


def _demonstrate(
    table: PixelTable, record: RunRecord, options: argparse.Namespace, terminal: Terminal
) -> None:
    """Demonstrate leaks on the rows and folds of a run; the run itself stays unchanged."""
    from skinmnist.datasets.table import sample_rows
    from skinmnist.leakage.demonstrate import choose_leaky_models, demonstrate_leaks

    protocol = record.info.protocol
    models, notes = choose_leaky_models(record.info.arguments.models)
    demonstrate_leaks(
        table,
        options.leak_models or models,
        folds=protocol.folds,
        out=record.folder,
        rows=sample_rows(table, QUICK_ROWS, options.seed, protocol.folds) if options.quick else None,
        notes=() if options.leak_models else notes,
        progress=terminal,
        **run_options(options),
    )


if __name__ == "__main__":
    raise SystemExit(main())
