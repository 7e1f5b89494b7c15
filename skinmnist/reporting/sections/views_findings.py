"""The tables about certainty and cost, with numbers already written as text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.curves import sensitivities
from skinmnist.analysis.differences import BETTER, COMPARED_METRICS, NOT_SHOWN, WORSE
from skinmnist.analysis.prior_correction import PRIOR_CORRECTION, prior_corrected_predictions
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.reporting.format import NOTHING, fixed, listing, model_title, sampler_title, signed
from skinmnist.reporting.sections.conclusions import probability
from skinmnist.reporting.sections.drawings_findings import best_pairs
from skinmnist.reporting.sections.scores import model_colour
from skinmnist.reporting.sections.views import HINTS, LABELS, Column, Figure, Row, label_in_text
from skinmnist.reporting.theme import LIGHT

_ARROWS = {BETTER: "▲ ", WORSE: "▼ "}


def with_intervals(
    columns: list[Column], rows: list[Row], board: pd.DataFrame, intervals: pd.DataFrame
) -> list[Row]:
    """Put the interval over lesions below every score, and the spread over folds behind it, for the pointer.

    Parameters
    ----------
    columns, rows : list
        Of `views.score_table`.
    board : DataFrame
        What they were made of.
    intervals : DataFrame
        Of `Analysis.intervals`.
    """
    ends = {
        (row["sampler"], row["model"], LABELS[row["metric"]]): (row["low"], row["high"])
        for row in intervals.to_dict("records")
        if row["metric"] in LABELS and not np.isnan(row["low"])
    }
    finished = []
    for row, pair in zip(rows, board[["sampler", "model"]].itertuples(index=False), strict=True):
        shown = []
        for column, figure in zip(columns, row.figures, strict=True):
            found = ends.get((pair.sampler, pair.model, column.label))
            spread = f"{figure.spread} over folds" if figure.spread else ""
            below = f"{fixed(found[0])}–{fixed(found[1])}" if found else ""
            shown.append(replace(figure, spread=below, hover=spread))
        finished.append(replace(row, figures=tuple(shown)))
    return finished


@dataclass(frozen=True)
class Verdict:
    """A cell of the table of verdicts."""

    text: str
    words: str
    shown: bool
    hover: str


def verdict_table(record: RunRecord, analysis: Analysis) -> tuple[list[Column], list[dict[str, Any]]]:
    """Lay out what is shown for every pair and metric against training without a sampler."""
    rows = analysis.comparisons
    rows = rows[(rows["question"] == "sampler") & (rows["against"] == "none")]
    metrics = [name for name in COMPARED_METRICS if name in set(rows["metric"])]
    laid = []
    for (model, sampler), of_pair in rows.groupby(["model", "sampler"], sort=False):
        by_metric = {row["metric"]: row for row in of_pair.to_dict("records")}
        laid.append(
            {
                "sampler": sampler_title(record.info, str(sampler), str(model)),
                "model": model_title(record.info, str(model)),
                "derived": sampler == PRIOR_CORRECTION,
                "verdicts": [_verdict(by_metric.get(name)) for name in metrics],
            }
        )
    return [Column(LABELS[name], HINTS[name]) for name in metrics], laid


def _verdict(row: Any) -> Verdict:
    if row is None:
        return Verdict(NOTHING, "", False, "")
    hover = f"{signed(row['low'])} to {signed(row['high'])}, p {probability(row['p_holm'])}"
    words = row["verdict"]
    text = _ARROWS.get(words, "") + signed(row["difference"])
    return Verdict(text, "not shown" if words == NOT_SHOWN else words, words in _ARROWS, hover)


def comparison_rows(record: RunRecord, analysis: Analysis) -> list[dict[str, str]]:
    """Lay out every comparison that was made, as text."""
    rows = []
    for row in analysis.comparisons.to_dict("records"):
        by_sampler = row["question"] == "sampler"
        name = sampler_title if by_sampler else None
        against = (
            name(record.info, row["against"], row["model"])
            if name
            else model_title(record.info, row["against"])
        )
        rows.append(
            {
                "sampler": sampler_title(record.info, row["sampler"], row["model"]),
                "model": model_title(record.info, row["model"]),
                "against": against,
                "metric": LABELS[row["metric"]],
                "folds": str(row["folds"]),
                "difference": signed(row["difference"]),
                "interval": f"{signed(row['low'])} to {signed(row['high'])}",
                "p": _p(row["p"]),
                "p_holm": _p(row["p_holm"]),
                "chances": " / ".join(_share(row[side]) for side in ("worse", "equivalent", "better")),
                "verdict": row["verdict"],
            }
        )
    return rows


def _p(value: float) -> str:
    return probability(value).removeprefix("= ")


def _share(value: float) -> str:
    return NOTHING if np.isnan(value) else f"{100 * value:.0f}"


def control_table(board: pd.DataFrame, rows: list[Row]) -> list[Row]:
    """Set ``none``, the control and the best sampler of each model one below the other.

    Parameters
    ----------
    board : DataFrame
        The leaderboard with the control.
    rows : list of Row
        What the leaderboard shows, row by row of `board`.
    """
    chosen = []
    for model in board.loc[board["derived"], "model"]:
        own = board[board["model"] == model]
        samplers = own[~own["derived"] & (own["sampler"] != "none")]
        chosen += [own.index[own["sampler"] == "none"][0], own.index[own["derived"]][0], *samplers.index[:1]]
    # The best of the whole leaderboard is not the question here.
    return [
        replace(rows[place], figures=tuple(replace(figure, best=False) for figure in rows[place].figures))
        for place in chosen
    ]


def control_claims(record: RunRecord, board: pd.DataFrame, analysis: Analysis) -> list[dict[str, str]]:
    """Say for every model whether its best sampler does better than the control."""
    claims = []
    for model in board.loc[board["derived"], "model"]:
        own = board[(board["model"] == model) & ~board["derived"] & (board["sampler"] != "none")]
        if own.empty:
            continue
        best = own.iloc[0]
        rows = analysis.comparisons
        rows = rows[(rows["model"] == model) & (rows["sampler"] == best["sampler"])]
        rows = rows[rows["against"] == PRIOR_CORRECTION]
        told = [
            f"{_in_words(row['verdict'])} in {label_in_text(row['metric'])} ({signed(row['difference'])})"
            for row in rows.to_dict("records")
            if row["metric"] in ("macro_f1", "balanced_accuracy")
        ]
        if told:
            claims.append(
                {
                    "model": model_title(record.info, model),
                    "words": f"against prior correction, {best['sampler_title']} shows {listing(told)}.",
                }
            )
    return claims


def _in_words(verdict: str) -> str:
    return {BETTER: "a gain", WORSE: "a loss"}.get(verdict, verdict.replace(" shown", ""))


def sensitivity_table(record: RunRecord, board: pd.DataFrame) -> tuple[list[Column], list[Row]]:
    """Lay out how many melanomas every pair finds at a given specificity; nothing without melanomas."""
    names = record.info.table.class_names
    if facts.MELANOMA not in names or not record.results:
        return [], []
    rows = pd.concat([record.predictions, prior_corrected_predictions(record)], ignore_index=True)
    found = sensitivities(rows, names, facts.MELANOMA)
    if found.empty:
        return [], []
    known = {
        (row["sampler"], row["model"], row["specificity"]): (float(row["sensitivity"]), float(row["sd"]))
        for row in found.to_dict("records")
    }
    levels = list(dict.fromkeys(found["specificity"]))
    rivals = {
        level: [round(value, 3) for key, (value, _) in known.items() if _is_rival(key, level)]
        for level in levels
    }
    laid = []
    for row in board[~board["reference"]].to_dict("records"):
        shown = []
        for level in levels:
            value, spread = known.get((row["sampler"], row["model"], level), (np.nan, np.nan))
            best = not row["derived"] and len(rivals[level]) > 1 and round(value, 3) == max(rivals[level])
            shown.append(Figure(fixed(value), value, "" if np.isnan(spread) else f"± {fixed(spread)}", best))
        laid.append(Row(row["sampler_title"], row["model_title"], tuple(shown), derived=bool(row["derived"])))
    hint = (
        "Share of the melanomas found by a threshold that leaves this share of the other pictures in peace."
    )
    return [Column(f"at {100 * level:.0f} % specificity", hint) for level in levels], laid


def _is_rival(key: tuple[str, str, float], level: float) -> bool:
    return key[0] != PRIOR_CORRECTION and key[2] == level


def ranking_legend(record: RunRecord, board: pd.DataFrame) -> list[tuple[str, str]]:
    """Name the best trained pair of each model, each with the CSS variable of its colour."""
    models = list(record.info.grid.models)
    names = {hue: name for name, hue in LIGHT.items()}
    return [
        (f"{row['sampler_title']} with {row['model_title']}", names[model_colour(models, row["model"])])
        for row in best_pairs(board).to_dict("records")
    ]
