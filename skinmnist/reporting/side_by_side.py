"""Several runs on one page: pairs in rows, runs in columns, and a warning for every mismatch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinmnist.analysis.curves import BETWEEN_CLASSES, CURVE, tradeoff_curves
from skinmnist.analysis.operating_points import prior_corrected_scores
from skinmnist.analysis.significance import AS_TRAINED
from skinmnist.analysis.summaries import leaderboard, majority_scores
from skinmnist.datasets.files import check_replaceable
from skinmnist.errors import InputError
from skinmnist.experiment.run_folder.record import RunRecord, read_run
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.names import pair_name
from skinmnist.reporting.format import (
    HINTS,
    LABELS,
    NOTHING,
    Value,
    count,
    duration,
    fixed,
    listing,
    model_title,
    sampler_label,
    shorten,
    signed,
    titled,
)
from skinmnist.reporting.page import environment, is_page, surroundings, with_exports, write_html
from skinmnist.reporting.sections.tradeoff import limits_around, model_panels
from skinmnist.reporting.theme import MUTED, SERIES, Embedded, embed_figure, marker_style, note, styled

RUNS_FILE = "runs.html"
MOST_RUNS = len(ascii_uppercase)


def write_side_by_side(folders: Sequence[Path | str], out: Path | str = RUNS_FILE) -> Path:
    """Write one page with the leaderboards of two or more runs, and their differences from the first run.

    `out` is an ``.html`` file, or a folder for it. Files that skinmnist did not write are never replaced.
    """
    if not 2 <= len(folders) <= MOST_RUNS:
        raise InputError(
            f"received {count(len(folders), 'run')}; expected 2 to {MOST_RUNS} to set side by side"
        )
    records = [read_run(folder) for folder in folders]
    path = Path(out)
    if path.is_dir() or path.suffix.lower() not in (".html", ".htm"):
        path = path / RUNS_FILE
    check_replaceable(path, is_page)
    return write_html(path, render_side_by_side(records))


def render_side_by_side(records: Sequence[RunRecord]) -> str:
    """Return the page; equal records give equal bytes."""
    boards = [_board(record) for record in records]
    letters = list(ascii_uppercase[: len(records)])
    page = environment().get_template("runs.html")
    rendered = page.render(
        **surroundings(),
        letters=letters,
        runs=[_describe(letter, record) for letter, record in zip(letters, records, strict=True)],
        warnings=warnings(records),
        picture=draw_runs(records, letters),
        differences=_differences(boards, letters),
        tables=[_lay_out(metric, boards) for metric in _shared_metrics(boards)],
    )
    return with_exports(rendered)


def _board(record: RunRecord) -> pd.DataFrame:
    """Return the titled leaderboard of a run, including prior correction and the majority baseline."""
    untrained = pd.concat([prior_corrected_scores(record), majority_scores(record)], ignore_index=True)
    return titled(record.info, leaderboard(record, untrained))


def _describe(letter: str, record: RunRecord) -> dict[str, Any]:
    info = record.info
    wall = info.wall_seconds
    return {
        "letter": letter,
        "folder": record.folder.name or str(record.folder),
        **_protocol(info),
        "cells": f"{len(record.results):,} of {len(info.cells):,}",
        "wall": NOTHING if wall is None else duration(wall),
    }


def _protocol(info: RunInfo) -> dict[str, str]:
    """Return, in words, the settings that two runs must share for their scores to differ by chance alone."""
    table, protocol = info.table, info.protocol
    return {
        "table": table.name,
        "size": " × ".join(str(side) for side in table.shape),
        "rows": f"{protocol.rows:,}",
        "split": info.given.name
        if info.given
        else "as given"
        if protocol.split.startswith("given")
        else f"by {protocol.split}",
        "folds": str(protocol.folds),
        "repeats": str(info.repeats),
        "seed": str(protocol.seed),
        "version": info.skinmnist,
    }


#: What each difference between runs implies.
_MEANINGS = {
    "table": "the data differ, so a difference may be that of the data",
    "size": "a difference may be that of the picture size",
    "rows": "the pictures differ",
    "split": "a split by image puts pictures of one lesion into training and test, which usually raises "
    "scores",
    "folds": "more folds leave more pictures to train on",
    "repeats": "the means are over different numbers of folds",
    "seed": "the folds and everything random differ, so folds are not paired",
    "version": "the models may not be the same under the same name",
}
_WORDS = {"size": "picture size", "rows": "number of pictures", "version": "version of skinmnist"}


def warnings(records: Sequence[RunRecord]) -> list[str]:
    """Describe each mismatch between the runs and what it implies; empty if the runs match."""
    described = [_protocol(record.info) for record in records]
    found = []
    for key, meaning in _MEANINGS.items():
        values = list(dict.fromkeys(entry[key] for entry in described))
        if key == "split" and "by image" not in values:
            meaning = "other pictures are held out"
        if len(values) > 1:
            found.append(f"The runs differ in {_WORDS.get(key, key)} ({listing(values)}): {meaning}.")
    digests = {record.info.protocol.data for record in records}
    one_name = all(len({entry[key] for entry in described}) == 1 for key in ("table", "size"))
    if len(digests) > 1 and one_name:
        found.append("The runs read different data under one name, so their scores cannot be compared.")
    for words, holds in {
        "unfinished": lambda record: len(record.results) < len(record.info.cells),
        "a quick look, not a result": lambda record: record.info.quick,
        "on synthetic pictures, which show no real patients": lambda record: record.info.table.synthetic,
    }.items():
        letters = [letter for letter, record in zip(ascii_uppercase, records, strict=False) if holds(record)]
        if letters:
            found.append(f"{listing(letters)} {'is' if len(letters) == 1 else 'are'} {words}.")
    return found


def _shared_metrics(boards: Sequence[pd.DataFrame]) -> list[str]:
    """List the metrics that appear in any run, in leaderboard order."""
    metrics = [name.removesuffix("_sd") for board in boards for name in board.columns if name.endswith("_sd")]
    return [*dict.fromkeys(metrics), "seconds"]


def _differences(boards: Sequence[pd.DataFrame], letters: Sequence[str]) -> dict[str, Any]:
    """Format all differences from the first run: one row per pair in both runs, one column per score."""
    metrics = [name for name in _shared_metrics(boards) if name != "seconds"]
    first, *others = (board.set_index(["sampler", "model"]) for board in boards)
    rows = []
    for pair in first.index:
        for letter, board in zip(letters[1:], others, strict=True):
            if pair not in board.index:
                continue
            known, cells = first.loc[pair], []
            for metric in metrics:
                values = [_value(side, pair, metric) for side in (first, board)]
                cells.append(
                    Value(
                        signed(values[1] - values[0]), values[1] - values[0], " → ".join(map(fixed, values))
                    )
                )
            rows.append(
                {
                    "sampler": known["sampler_title"] or known["model_title"],
                    "model": known["model_title"] if known["sampler_title"] else "majority baseline",
                    "grey": bool(known["reference"] or known["corrected"]),
                    "runs": f"{letter} − {letters[0]}",
                    "cells": cells,
                }
            )
    return {"columns": [(LABELS[name], HINTS[name]) for name in metrics], "rows": rows}


def draw_runs(records: Sequence[RunRecord], letters: Sequence[str]) -> Embedded | None:
    """Draw the trade-offs of all runs' pairs between classes; None if no cell has finished."""
    frames = [tradeoff_curves(record.results, record.info.table.class_names) for record in records]
    together = pd.concat([frame.assign(run=letter) for frame, letter in zip(frames, letters, strict=True)])
    if together.empty:
        return None
    titles = {name: model_title(record.info, name) for record in records for name in record.info.grid.models}
    samplers = list(dict.fromkeys(name for record in records for name in record.info.grid.samplers))
    marks = together[(together["mark"] == AS_TRAINED) & (together["x"] == BETWEEN_CLASSES[0])]
    words = [
        f"{row['run']}, {pair_name((row['sampler'], row['model']))}: "
        f"{fixed(row['x_mean'])} and {fixed(row['y_mean'])}"
        for row in marks.to_dict("records")
    ]
    alt = f"Accuracy and balanced accuracy of every pair of every run, as trained. {'; '.join(words)}."
    figures = [runs_figure(together, titles, samplers, narrow) for narrow in (False, True)]
    return embed_figure(figures[0], alt, figures[1])


@styled
def runs_figure(
    together: pd.DataFrame, titles: dict[str, str], samplers: Sequence[str], narrow: bool = False
) -> Figure:
    """Draw runs in one plane per model: colour by run, marker by sampler, thin lines between matching pairs.

    `together` contains the rows of `tradeoff_curves`, with the letter of the run in the ``run`` column.
    """
    letters = list(dict.fromkeys(together["run"]))
    shown = together[together["x"] == BETWEEN_CLASSES[0]]
    models = [name for name in titles if name in set(shown["model"])]
    used = [name for name in samplers if name in set(shown["sampler"])]
    figure, places = model_panels(len(models), 1, narrow, len(letters) + len(used))
    limits = limits_around(shown)
    hues = {letter: SERIES[place % len(SERIES)] for place, letter in enumerate(letters)}
    for [(axes, first)], model in zip(places, models, strict=True):
        axes.set(
            xlim=limits[0], ylim=limits[1], xlabel="accuracy", ylabel="balanced accuracy" if first else ""
        )
        axes.tick_params(labelleft=first)
        axes.grid(axis="both")
        axes.locator_params(nbins=5)
        axes.set_title(
            shorten(titles[model], int(axes.bbox.width / 7)), loc="left", fontsize=12, weight="bold"
        )
        of_model = shown[shown["model"] == model]
        for letter, rows in of_model[(of_model["sampler"] == "none") & (of_model["mark"] == CURVE)].groupby(
            "run"
        ):
            axes.plot(
                rows["x_mean"], rows["y_mean"], color=hues[str(letter)], linewidth=1.6, alpha=0.7, zorder=3
            )
        for sampler, rows in of_model[of_model["mark"] == AS_TRAINED].groupby("sampler", sort=False):
            axes.plot(rows["x_mean"], rows["y_mean"], color=MUTED, linewidth=0.9, zorder=2)
            for row in rows.to_dict("records"):
                style = marker_style(samplers, str(sampler), hues[row["run"]], 8)
                axes.plot([row["x_mean"]], [row["y_mean"]], zorder=5, **style)
                values = f"accuracy {fixed(row['x_mean'])}, balanced accuracy {fixed(row['y_mean'])}"
                note(axes, row["x_mean"], row["y_mean"], f"{row['run']}, {sampler}: {values}")
    handles = [Line2D([], [], color=hues[letter], linewidth=3, label=f"run {letter}") for letter in letters]
    handles += [
        Line2D(
            [],
            [],
            label=sampler_label(name, 26),
            **marker_style(samplers, name, MUTED, 7),
        )
        for name in used
    ]
    columns = max(1, int(figure.bbox.width // 172))
    figure.legend(
        handles=handles, loc="lower left", ncols=columns, fontsize=10.5, borderaxespad=0, borderpad=0.2
    )
    return figure


def _lay_out(metric: str, boards: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """Format one metric: a row for each pair in any run, with values and differences from the first run."""
    digits = 1 if metric == "seconds" else 3
    keyed = [board.set_index(["sampler", "model"]) for board in boards]
    rows = []
    for pair in dict.fromkeys(pair for board in keyed for pair in board.index):
        known = next(board.loc[pair] for board in keyed if pair in board.index)
        values = [_value(board, pair, metric) for board in keyed]
        spreads = [_value(board, pair, f"{metric}_sd") for board in keyed]
        rows.append(
            {
                "sampler": known["sampler_title"] or known["model_title"],
                "model": known["model_title"] if known["sampler_title"] else "majority baseline",
                "grey": bool(known["reference"] or known["corrected"]),
                "values": [
                    Value(fixed(value, digits), value, "" if np.isnan(spread) else f"± {fixed(spread)}")
                    for value, spread in zip(values, spreads, strict=True)
                ],
                "gaps": [Value(signed(gap := value - values[0], digits), gap) for value in values[1:]],
            }
        )
    return {"label": LABELS[metric], "hint": HINTS[metric], "rows": rows}


def _value(board: pd.DataFrame, pair: Any, column: str) -> float:
    known = pair in board.index and column in board.columns
    return float(cast(float, board.loc[pair, column])) if known else np.nan
