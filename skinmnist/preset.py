"""What ``python -m skinmnist.compare`` does with a preset: describe it, or run it and print its claims."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from skinmnist.console.common import say
from skinmnist.errors import InputError
from skinmnist.text import printable

if TYPE_CHECKING:
    import pandas as pd

    from skinmnist.datasets.table import PixelTable
    from skinmnist.presets.run import PresetRun

#: The size of pictures that a description takes where neither a table nor the preset names one.
USUAL_SHAPE = (28, 28, 3)

#: What a preset says itself.
_SAID_BY_PRESET = (
    "samplers",
    "models",
    "clinical",
    "folds",
    "repeats",
    "split",
    "quick",
    "demonstrate_leaks",
    "leak_models",
)


def refuse_options(options: argparse.Namespace, usual: argparse.Namespace) -> None:
    """Refuse options that a preset says itself.

    Raises
    ------
    InputError
        Where one of them is not what it is when left out.
    """
    for name in _SAID_BY_PRESET:
        if getattr(options, name) != getattr(usual, name):
            raise InputError(
                f"received --{name.replace('_', '-')} together with --preset, which says that itself; leave "
                "one of them out, or change the preset"
            )


def describe(path: str, table: PixelTable | None) -> str:
    """Say what a preset would run, its networks layer by layer with parameter counts.

    Parameters
    ----------
    path : str
    table : PixelTable or None
        Whose pictures and classes the networks are built for; those of the preset's page by default.
    """
    from skinmnist.models.cnn.blueprint_layers import build_stack
    from skinmnist.presets.presets import read_preset

    preset = read_preset(path)
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
        head.about,
        head.claim,
        f"Honest: {protocol} by lesion, {sampler}.",
        "As published: " + ("; ".join(preset.published.differences) or "the same") + ".",
        f"Training: {training.epochs} epochs at most, batches of {training.batch_size}, Adam at "
        f"{training.learning_rate:g}.",
        f"Less than published: {head.less}" if head.less else "",
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
    return "\n".join(map(printable, lines))


def run(options: argparse.Namespace, table: PixelTable, command: str) -> PresetRun:
    """Run a preset on a table, write the report, and print the scores and the claims."""
    from skinmnist.console.comparison import Terminal
    from skinmnist.console.verbose import verbosely
    from skinmnist.experiment.execution.limits import Limits
    from skinmnist.experiment.execution.processes import available_cores
    from skinmnist.experiment.run_folder.manifest import Request
    from skinmnist.experiment.splits import choose_split
    from skinmnist.presets.presets import read_preset
    from skinmnist.presets.run import other_data, run_preset
    from skinmnist.reporting.page import conclude_run
    from skinmnist.reporting.sections.claims import paired_words

    preset = read_preset(options.preset)
    out = Path(options.out) if options.out else Path("runs") / f"{preset.name}-{table.name}-{options.seed}"
    terminal = Terminal()
    terminal.table(table, choose_split(table, None), quick=False)
    with terminal, verbosely(terminal.console, options.verbose):
        done = run_preset(
            preset,
            table,
            out=out,
            seed=options.seed,
            jobs=options.jobs,
            fresh=options.fresh,
            limits=Limits(options.cell_seconds, options.cell_memory),
            dask=options.dask,
            progress=terminal,
            request=Request(command),
        )
    report, analysis = conclude_run(done.record, jobs=options.jobs or available_cores())
    terminal.conclude(done.record, analysis, report, resume=None)
    for failure in done.failures:
        say(f"failed as published: {failure.cell}: {failure.reason}")
    print(claims_table(done.claims))
    if other := other_data(preset, table):
        say(f"This table is not the page's data: {'; '.join(other)}.")
    networks = [network.name for network in preset.networks]
    for words in paired_words(done.record.info, analysis.comparisons, networks):
        say(words)
    return done


def claims_table(claims: pd.DataFrame) -> str:
    """Lay out claimed, as published and honest scores as plain text."""
    lines = [f"{'network':<30} {'score':<10} {'claimed':>8} {'as published':>13} {'honest':>8}"]
    for row in claims.to_dict("records"):
        figures = [_text(row[name]) for name in ("claimed", "as_published", "honest")]
        network = printable(row["network"], 30)
        lines.append(f"{network:<30} {row['metric']:<10} {figures[0]:>8} {figures[1]:>13} {figures[2]:>8}")
    return "\n".join(lines)


def _text(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
