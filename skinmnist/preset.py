"""``python -m skinmnist.preset``: run a published system as published and honestly, or describe it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from skinmnist import facts
from skinmnist.console.common import (
    FAILED_CELLS,
    add_run_arguments,
    add_table_arguments,
    command_parser,
    guarded,
    open_table,
    resume_command,
    run_options,
    say,
)
from skinmnist.text import printable

if TYPE_CHECKING:
    import pandas as pd

    from skinmnist.datasets.table import PixelTable
    from skinmnist.presets.presets import Preset

#: The picture size in a description if neither the table nor the preset specifies it.
USUAL_SHAPE = (28, 28, 3)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = command_parser(
        "preset",
        "Run a published system, as published and with the honest protocol, or describe it.",
        ("describe kfold_cnn", "run kfold_cnn", "run kfold_cnn hmnist_28_28_RGB.csv --out runs/kfold"),
        usage="{run,describe} PRESET [CSV] [options]",
        closing=facts.DISCLAIMER,
    )
    actions = parser.add_subparsers(dest="action", required=True, prog=parser.prog)
    run = actions.add_parser(
        "run", help="run a preset and show claimed, as-published and honest scores side by side"
    )
    describe = actions.add_parser("describe", help="print what a preset would run, layer by layer")
    for name, action in (("run", run), ("describe", describe)):
        action.example = f"{parser.prog} {name} kfold_cnn"
        action.usage = f"{parser.prog} {name} PRESET [CSV] [options]"
        action.add_argument(
            "preset",
            metavar="PRESET",
            help="a name from `skinmnist list presets`, or a TOML file",
        )
        add_table_arguments(action)
    add_run_arguments(run, out="the run folder (default: runs/<preset>-<table>-<seed>)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = build_parser().parse_args(arguments)
    if options.action == "describe":
        return guarded(lambda: _describe(options, resume_command("preset", arguments)))
    return guarded(lambda: _run(options, resume_command("preset", arguments)))


def _describe(options: argparse.Namespace, command: str) -> int:
    from skinmnist.presets.presets import find_preset, read_preset

    preset = read_preset(find_preset(options.preset))
    named = options.csv or options.metadata or options.synthetic is not None
    table = open_table(options, command) if named else None
    print("\n".join(map(printable, describe(preset, table))))
    return 0


def describe(preset: Preset, table: PixelTable | None) -> list[str]:
    """Return the lines of a description, for the pictures and classes of a table or of the published page."""
    from skinmnist.models.cnn.stacked import build_stack

    head, training = preset.head, preset.training
    shape, n_classes = USUAL_SHAPE, head.classes
    if table is not None:
        shape, n_classes = table.shape, len(table.class_names)
    elif head.size:
        height, width = (int(side) for side in head.size.split("x"))
        shape = (height, width, 3)
    protocol = "one split into training, validation and test" if head.holdout else f"{head.folds} folds"
    sampler = "no sampler" if head.sampler == "none" else f"{head.sampler} inside the training part"
    lines = [
        head.title,
        f"Page: {head.page}" if head.page else "",
        head.about,
        head.claim,
        f"Honest: {protocol} by lesion, {sampler}.",
        "As published: " + ("; ".join(preset.published.differences) or "the same") + ".",
        f"Training: at most {training.epochs} epochs, batches of {training.batch_size}, Adam at "
        f"{training.learning_rate:g}.",
        f"Reduced from the published setup: {head.less}" if head.less else "",
        *(f"Choice: {choice}" for choice in head.choices),
    ]
    lines = [line for line in lines if line]
    for network in preset.networks:
        model = build_stack(network.blueprint, shape, n_classes)
        lines += ["", f"{network.name}: {network.title}, pictures of {' x '.join(map(str, shape))}"]
        for layer in model.layers:
            size = " x ".join(str(length) for length in layer.output.shape[1:])
            lines.append(f"  {layer.name:<20} {size:<16} {layer.count_params():>10,}")
        lines.append(f"  {'parameters':<37} {model.count_params():>10,}")
    return lines


def _run(options: argparse.Namespace, command: str) -> int:
    started = time.perf_counter()
    from skinmnist.console.terminal import PUBLISHED, Terminal, verbosely
    from skinmnist.experiment.run_folder.run_info import Request
    from skinmnist.experiment.splits import choose_split
    from skinmnist.presets.presets import find_preset, read_preset
    from skinmnist.presets.run import other_data, run_preset
    from skinmnist.reporting.sections.inflated import paired_words

    preset = read_preset(find_preset(options.preset))
    table = open_table(options, command)
    out = Path(options.out) if options.out else Path("runs") / f"{preset.name}-{table.name}-{options.seed}"
    terminal = Terminal(started, trials=PUBLISHED)
    terminal.table(table, choose_split(table, None), quick=False)
    with terminal, verbosely(terminal.console, options.verbose):
        done = run_preset(
            preset,
            table,
            out=out,
            progress=terminal,
            request=Request(command),
            **run_options(options),
        )
        analysis, report = terminal.write_report(done.record, options.jobs)
    terminal.conclude(analysis, report, resume=None)
    for failure in done.failures:
        say(f"failed as published: {failure.cell}: {failure.reason}")
    print(claims_table(done.claims))
    if preset.head.choices:
        say(
            "Where the page is incomplete, we filled the gaps in both runs; "
            "`skinmnist preset describe FILE` lists the choices."
        )
    if other := other_data(preset, table):
        say(f"This table is not the data of the page: {'; '.join(other)}.")
    networks = [network.name for network in preset.networks]
    for words in paired_words(done.record.info, analysis.comparisons, networks):
        say(words)
    return FAILED_CELLS if done.failures or done.record.failures else 0


def claims_table(claims: pd.DataFrame) -> str:
    """Format the claimed, as-published and honest scores as plain text."""
    from skinmnist.reporting.format import fixed

    lines = [f"{'network':<30} {'score':<10} {'claimed':>8} {'as published':>13} {'honest':>8}"]
    names = ["claimed", "as_published", "honest"]
    for row in claims.astype(dict.fromkeys(names, float)).to_dict("records"):
        figures = [fixed(row[name]) for name in names]
        network = printable(row["network"], 30)
        lines.append(f"{network:<30} {row['metric']:<10} {figures[0]:>8} {figures[1]:>13} {figures[2]:>8}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
