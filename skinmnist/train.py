"""``python -m skinmnist.train``: train one model on a whole table and save it to a file."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from skinmnist import facts
from skinmnist.console.common import (
    FAILED_CELLS,
    add_table_arguments,
    command_parser,
    guarded,
    open_table,
    program,
    resume_command,
    say,
)
from skinmnist.names import pair_name
from skinmnist.text import shell_word

if TYPE_CHECKING:
    from skinmnist.console.terminal import Terminal
    from skinmnist.datasets.table import PixelTable
    from skinmnist.experiment.run_folder.record import RunRecord
    from skinmnist.experiment.train_model import Choice


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = command_parser(
        "train",
        "Train one model on a whole table and save it in one file for "
        "`skinmnist predict` and `skinmnist.classify_image`.",
        (
            "hmnist_28_28_RGB.csv --out model.skm",
            "hmnist_28_28_RGB.csv --model svm --sampler SMOTE --cv",
            "hmnist_28_28_RGB.csv --model ensemble --members svm cnn",
        ),
        usage="[CSV] [options]",
        closing=facts.DISCLAIMER,
    )
    add_table_arguments(parser)
    add = parser.add_argument_group("what to train").add_argument
    add(
        "--model",
        metavar="NAME",
        default="cnn",
        help="a name from `skinmnist list models`, or ensemble, which averages several (default: cnn)",
    )
    add(
        "--members",
        metavar="NAME",
        nargs="+",
        help="the models of --model ensemble, all in one file (default: svm cnn)",
    )
    add(
        "--sampler",
        metavar="NAME",
        default="none",
        help="a name from `skinmnist list samplers` (default: none)",
    )
    add = parser.add_argument_group("run").add_argument
    add(
        "--cv",
        action="store_true",
        help="cross-validate first, print the scores that the model may claim, and store them in its file",
    )
    add("--folds", metavar="N", type=int, default=5, help="folds of --cv (default: 5)")
    add("--seed", metavar="N", type=int, default=0, help="seed of all randomness (default: 0)")
    add("--jobs", metavar="N", type=int, help="worker processes of --cv (default: one per core)")
    add(
        "--conformal",
        metavar="ALPHA",
        type=float,
        help="share of answers, of one class or several, that may miss the right class; needs --cv, which "
        "calibrates them (default: .1)",
    )
    add = parser.add_argument_group("output").add_argument
    add("--out", metavar="FILE", help="default: <table>-<model>-<sampler>.skm in the user's model folder")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = build_parser().parse_args(arguments)
    return guarded(lambda: _train(options, resume_command("train", arguments)))


def _train(options: argparse.Namespace, command: str) -> int:
    from skinmnist.console.progress import working
    from skinmnist.console.terminal import Terminal
    from skinmnist.decisions.probabilities import DEFAULT_ALPHA, check_alpha
    from skinmnist.errors import InputError
    from skinmnist.experiment.audit import LesionFit
    from skinmnist.experiment.splits import choose_split
    from skinmnist.experiment.train_model import (
        check_destination,
        check_exportable,
        choose,
        default_file,
        train_model,
    )

    if not 0 <= options.seed < 2**31:
        raise InputError(f"received seed {options.seed}; expected a whole number from 0 to {2**31 - 1}")
    if options.conformal is not None and not options.cv:
        raise InputError("received --conformal without --cv, which calibrates the sets; add it, or drop both")
    alpha = check_alpha(options.conformal) or DEFAULT_ALPHA
    choice = choose(options.model, options.sampler, options.members)
    model, sampler = choice.model, choice.sampler
    table = _training_part(open_table(options, command))
    check_exportable(table)
    out = Path(options.out) if options.out else default_file(table, model, sampler)
    check_destination(out)  # Check before training, not after it.
    terminal = Terminal()
    terminal.table(table, choose_split(table, None), quick=False)
    fit = LesionFit.of_table(table)
    for note in (*(fit.warning if fit else ()), *table.notes):
        if not options.cv:  # With cross-validation, the comparison prints the notes of its table.
            terminal.note(note)
    record = None
    if options.cv:
        record = _cross_validate(table, choice, options, terminal)
        if record.failures:
            return FAILED_CELLS
    started = time.perf_counter()
    with working(f"Training {pair_name((sampler, model))} on {len(table):,} pictures"):
        trained = train_model(
            table,
            options.model,
            options.sampler,
            options.seed,
            record,
            members=options.members,
            conformal=alpha,
        )
        trained.save(out)
    for note in trained.notes:
        say(f"note: {note}")
    seconds = time.perf_counter() - started
    say(f"{pair_name((sampler, model))}: trained on {len(table):,} pictures in {seconds:.1f} s")
    if table.synthetic:
        say("SYNTHETIC TABLE: the pictures are not real; every answer of this model will say so")
    say(f"model: {out} ({len(trained.content) / 1e6:.2f} MB)")
    promise = trained.promise or "has no known coverage, because only --cv calibrates sets of classes"
    say(f"Each answer, of one class or several, {promise}")
    say(f"To use it: {program('predict')} {shell_word(out)} IMAGE...")
    say(f"Its model card, with data, scores and limits: {program('predict')} {shell_word(out)} --card")
    say(facts.DISCLAIMER)
    return 0


def _training_part(table: PixelTable) -> PixelTable:
    """Return the training set of a table with its own split, else the whole table."""
    if table.parts is None:
        return table
    rows = (table.parts == "train").nonzero()[0]
    note = (
        f"trained on the train part only, {len(rows):,} of {len(table):,} pictures, so that val and test "
        "can still be used for evaluation"
    )
    return replace(table.take(rows), parts=None, notes=(*table.notes, note))


def _cross_validate(
    table: PixelTable, choice: Choice, options: argparse.Namespace, terminal: Terminal
) -> RunRecord:
    from skinmnist.experiment.comparison import run_comparison

    members = options.members or list(choice.members)
    with terminal:
        record = run_comparison(
            table,
            [options.sampler],
            members if len(choice.members) > 1 else [options.model],
            ensembles={choice.model: list(choice.members)} if len(choice.members) > 1 else {},
            folds=options.folds,
            seed=options.seed,
            jobs=options.jobs,
            progress=terminal,
        )
    terminal.scores(record)
    return record


if __name__ == "__main__":
    raise SystemExit(main())
