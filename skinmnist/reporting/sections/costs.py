"""Benefit and cost of samplers: classes missed, false alarms, prior correction, run time, net benefit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinmnist import facts
from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.operating_points import PRIOR_CORRECTION
from skinmnist.analysis.summaries import CLAIMED, finding_costs
from skinmnist.experiment.metrics import COST_METRICS
from skinmnist.experiment.run_folder.record import RunRecord
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.reporting.format import (
    CORRECTION_TITLE,
    HINTS,
    NOTHING,
    Column,
    Row,
    Value,
    change,
    duration,
    fixed,
    label_in_text,
    listing,
    model_title,
    pair_title,
    sampler_label,
    sampler_title,
    score_table,
    score_values,
    shorten,
    titled,
    with_spread,
)
from skinmnist.reporting.sections.leaderboard import score_rows
from skinmnist.reporting.theme import (
    DASHES,
    INK,
    MULTIPLE,
    MUTED,
    NARROW,
    WIDE,
    Captioned,
    Embedded,
    embed_figure,
    heat_ink,
    marker_style,
    model_colour,
    note,
    pair_style,
    panels,
    sampler_legend,
    styled,
    text_width,
)

#: Largest number of classes whose costs a sentence lists.
_MOST_COSTS = 3


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of these sections."""
    board = titled(analysis.record.info, analysis.leaderboard)
    sensitivity_columns, sensitivity_rows = sensitivity_table(analysis, board)
    expected = analysis.expected_costs
    return {
        "correction_rows": correction_table(board, score_rows(analysis)[1]),
        "correction_claims": correction_claims(analysis, board),
        "cost_figure": draw_costs(analysis, board),
        "shared_words": shared_in_words(analysis.record),
        "expected_costs": None if expected is None else score_table(titled(analysis.record.info, expected)),
        "expected_words": "" if expected is None else costs_in_words(analysis, expected),
        "sensitivity_columns": sensitivity_columns,
        "sensitivity_rows": sensitivity_rows,
        "decisions": draw_decisions(analysis),
        "heat_ink": heat_ink,
        "recall_rows": recall_table(analysis.record, analysis.recalls),
        "lost": lost_classes(analysis),
        "interest": cost_of_finding(analysis),
    }


def correction_table(board: pd.DataFrame, rows: list[Row]) -> list[Row]:
    """Select the `rows` of a board for ``none``, prior correction and the best sampler of each model."""
    chosen = []
    for model in board.loc[board["corrected"], "model"]:
        own = board[board["model"] == model]
        samplers = own[~own["corrected"] & (own["sampler"] != "none")]
        chosen += [
            own.index[own["sampler"] == "none"][0],
            own.index[own["corrected"]][0],
            *samplers.index[:1],
        ]
    # The best values of the whole leaderboard are irrelevant here.
    return [
        replace(rows[place], figures=tuple(replace(figure, best=False) for figure in rows[place].figures))
        for place in chosen
    ]


def correction_claims(analysis: Analysis, board: pd.DataFrame) -> list[dict[str, str]]:
    """State for every model whether its best sampler outperforms prior correction."""
    claims = []
    for model in board.loc[board["corrected"], "model"]:
        own = board[(board["model"] == model) & ~board["corrected"] & (board["sampler"] != "none")]
        if own.empty:
            continue
        best = own.iloc[0]
        rows = analysis.comparisons
        rows = rows[(rows["model"] == model) & (rows["sampler"] == best["sampler"])]
        rows = rows[rows["against"] == PRIOR_CORRECTION]
        scores: dict[str, list[str]] = {}
        for row in rows[rows["metric"].isin(["macro_f1", "balanced_accuracy"])].to_dict("records"):
            scores.setdefault(row["verdict"], []).append(f"{label_in_text(row['metric'])} ({change(row)})")
        shown = [f"{verdict} for {listing(texts)}" for verdict, texts in scores.items()]
        if shown:
            claims.append(
                {
                    "model": model_title(analysis.record.info, model),
                    "words": f"{best['sampler_title']} compared with prior correction: {listing(shown)}.",
                }
            )
    return claims


def costs_in_words(analysis: Analysis, board: pd.DataFrame) -> str:
    """Describe the costs of a run, and state the lowest expected cost; empty without a finished cell."""
    info = analysis.record.info
    trained = board[~board["reference"]]
    if trained.empty:
        return ""
    matrix, names = np.array(info.costs), info.table.class_names
    per_class, usual = [], float(np.median(matrix[~np.eye(len(names), dtype=bool)]))
    for name, row, own in zip(names, matrix, range(len(names)), strict=True):
        others = np.delete(row, own)
        if (others != usual).any() and np.ptp(others) == 0:
            per_class.append(f"{others[0]:,g} for a missed {name}")
        elif (others != usual).any():
            per_class.append(f"{others.min():,g} to {others.max():,g} for a missed {name}")
    shown = [*per_class[:_MOST_COSTS], *["other costs for other classes"] * (len(per_class) > _MOST_COSTS)]
    words = f"A mistake costs {usual:,g}{', or ' * bool(shown)}{listing(shown)}"
    if np.diag(matrix).any():
        words += "; right decisions have costs of their own"
    best, constant = trained.iloc[0], board[board["reference"]]
    by_cost = list(COST_METRICS)[-1]
    words += (
        f". {pair_title(info, best['sampler'], best['model'])} costs least: {fixed(best[by_cost], 1)} per "
        "1,000 pictures when each decision is the one with the smallest expected cost"
    )
    if len(constant):
        lowest = fixed(constant.iloc[0][by_cost], 1)
        words += f", against {lowest} for the cheapest decision that is always the same"
    return f"{words}."


def shared_in_words(record: RunRecord) -> str:
    """State which rows share the networks of others, and what they cost apart from them."""
    timings, models, sentences = record.timings, record.info.grid.models, []
    own = timings["resample_seconds"] + timings["fit_seconds"] + timings["predict_seconds"]
    sharing = timings.assign(own=own)[timings["shared_seconds"] > 0]
    for name in map(str, sharing["model"].unique()):
        rows = sharing[sharing["model"] == name]
        if models[name].base or models[name].members:
            continue
        pairs = listing([str(sampler) for sampler in rows["sampler"].unique()])
        sentences.append(
            f"The seconds of {pairs} with {model_title(record.info, name)} include the whole network "
            f"({duration(rows['shared_seconds'].mean())}), although it is trained once per fold for all of "
            f"them; apart from it, the costliest takes "
            f"{duration(rows.groupby('sampler')['own'].mean().max())}."
        )
    return " ".join(sentences)


def draw_costs(analysis: Analysis, board: pd.DataFrame) -> Embedded | None:
    """Draw macro-F1 against its cost in seconds."""
    rows = board[~board["reference"] & (board["seconds"] > 0)]
    if rows.empty:
        return None
    over = analysis.intervals[analysis.intervals["metric"] == CLAIMED]
    over = over.rename(columns={"low": "lesion_low", "high": "lesion_high"})
    rows = rows.merge(
        over[["sampler", "model", "lesion_low", "lesion_high"]], on=["sampler", "model"], how="left"
    )
    grid = analysis.record.info.grid
    samplers, models = grid.samplers, list(grid.models)
    by_cost = rows.sort_values("seconds", kind="stable")
    cheapest, costliest = by_cost.iloc[0], by_cost.iloc[-1]
    alt = (
        f"Scatter plot of macro-F1 against seconds per fold, from {cheapest['sampler_title']} with "
        f"{cheapest['model_title']} ({fixed(cheapest['seconds'], 1)} s, {fixed(cheapest['macro_f1'])}) to "
        f"{costliest['sampler_title']} with {costliest['model_title']} ({fixed(costliest['seconds'], 1)} s, "
        f"{fixed(costliest['macro_f1'])}). The numbers are in the leaderboard."
    )
    wide, narrow = (cost_figure(rows, samplers, models, phone) for phone in (False, True))
    return embed_figure(wide, alt, narrow)


@styled
def cost_figure(
    board: pd.DataFrame, samplers: Sequence[str], models: Sequence[str], narrow: bool = False
) -> Figure:
    """Draw macro-F1 against the seconds per cell, one mark for each pair, with its bootstrap interval.

    `board` is the titled leaderboard with ``lesion_low, lesion_high``; `narrow` is for phones.
    """
    shown_models = board.drop_duplicates("model")
    shown_samplers = [name for name in [*samplers, PRIOR_CORRECTION] if name in set(board["sampler"])]
    entries = len(shown_models) + len(shown_samplers)
    names = [*shown_models["model_title"], *map(sampler_label, shown_samplers)]
    beside = 46 + max(text_width(shorten(name, 36)) for name in names)
    below = 40 + 18 * entries if narrow else 0
    width, height = (NARROW, 280 + below) if narrow else (WIDE, max(330, 90 + 19 * entries))
    figure, (axes,) = panels(width, height, (48, 12 if narrow else beside, 10, 46 + below))
    for row in board.to_dict("records"):
        style = pair_style(samplers, models, row["sampler"], row["model"])
        x, ends = round(row["seconds"], 9), [row["lesion_low"], row["lesion_high"]]
        axes.plot([x, x], ends, color=style["markeredgecolor"], linewidth=1.8)
        axes.plot([x], [row["macro_f1"]], **style)
        pair = f"{row['sampler_title']}, {row['model_title']}"
        note(axes, x, row["macro_f1"], f"{pair}: {fixed(row['macro_f1'])} in {duration(x)}")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:,.10g}" if f"{value:.0e}"[0] in "25" else "")
    axes.tick_params(axis="x", which="minor", labelsize=11, labelcolor=MUTED)
    axes.margins(x=0.06, y=0.08)
    axes.grid(axis="both", which="major")
    axes.set(xlabel="seconds per fold, on a logarithmic scale", ylabel="macro-F1")
    handles: list[Any] = [
        Line2D(
            [],
            [],
            color=model_colour(models, row["model"]),
            linewidth=7,
            label=shorten(row["model_title"], 54),
        )
        for row in shown_models.to_dict("records")
    ]
    for sampler in shown_samplers:
        grey = sampler == PRIOR_CORRECTION
        style = pair_style(samplers, models, sampler, "") if grey else marker_style(samplers, sampler, INK, 8)
        handles.append(Line2D([], [], label=CORRECTION_TITLE if grey else sampler_label(sampler), **style))
    place = (
        {"loc": "lower left"} if narrow else {"loc": "upper left", "bbox_to_anchor": (1 - beside / WIDE, 1)}
    )
    figure.legend(handles=handles, handlelength=1.4, borderaxespad=0.6, **place)
    return figure


def sensitivity_table(analysis: Analysis, board: pd.DataFrame) -> tuple[list[Column], list[Row]]:
    """Format the sensitivity for melanoma of every pair at given specificities; empty without melanomas."""
    found = analysis.sensitivities
    if found is None or found.empty:
        return [], []
    trained = board[~board["reference"] & ~board["corrected"]]
    competing = np.ones(len(trained), dtype=bool)
    pairs = pd.MultiIndex.from_frame(trained[["sampler", "model"]])
    columns, values = [], []
    for level in dict.fromkeys(found["specificity"]):
        at_level = found[found["specificity"] == level]
        scores = at_level.set_index(["sampler", "model"])[["sensitivity", "sd"]].reindex(pairs)
        values.append(score_values(scores, competing))
        hint = "Share of the melanomas found at the threshold with this specificity."
        columns.append(Column(f"at {100 * level:.0f} % specificity", hint))
    rows = [
        Row(row["sampler_title"], row["model_title"], figures)
        for row, figures in zip(trained.to_dict("records"), zip(*values, strict=True), strict=True)
    ]
    return columns, rows


def draw_decisions(analysis: Analysis) -> list[Captioned]:
    """Draw the decision curves for melanoma, one figure for each model; empty without melanomas."""
    record, curves = analysis.record, analysis.decisions
    if curves is None:
        return []
    highest = max(float(curves[["net_benefit", "treat_all"]].max().max()), 0.001)
    limits = (-0.35 * highest, 1.08 * highest)
    samplers, models, drawn = record.info.grid.samplers, list(record.info.grid.models), []
    for model, rows in curves.groupby("model", sort=False):
        title = model_title(record.info, str(model))
        at = rows[np.isclose(rows["threshold"], 0.1)]
        shown = [f"{row['sampler']} {fixed(row['net_benefit'])}" for row in at.to_dict("records")]
        alt = (
            f"Decision curves of {title} for melanoma. Net benefit at a threshold of 10 per cent: "
            f"{listing(shown)}; treating all {fixed(float(at['treat_all'].iloc[0]))}."
        )
        colour = model_colour(models, str(model))
        figure = decision_figure(rows, samplers, colour, limits)
        drawn.append(Captioned(title, (embed_figure(figure, alt),)))
    return drawn


@styled
def decision_figure(
    curves: pd.DataFrame, samplers: Sequence[str], colour: str, limits: tuple[float, float]
) -> Figure:
    """Draw the net benefit of treating by a model, one line for each sampler, with treat-all and treat-none.

    `curves` are the `decision_curves` of one model; all models share the vertical `limits`.
    """
    shown = [name for name in samplers if name in set(curves["sampler"])]
    legend = 17 * -(-(len(shown) + 2) // 2)
    figure, (axes,) = panels(MULTIPLE, MULTIPLE + legend, (52, 10, 10, 48 + legend))
    blind = curves[curves["sampler"] == shown[0]]
    rules = [
        *axes.plot(blind["threshold"], blind["treat_all"], color=MUTED, label="treat all", **DASHES),
        axes.axhline(0, color=INK, linewidth=1.1, label="treat none"),
    ]
    for place, sampler in enumerate(shown):
        rows = curves[curves["sampler"] == sampler]
        x, y = rows["threshold"], rows["net_benefit"]
        axes.plot(x, y, color=colour, linewidth=1.2, alpha=0.8)
        # Offset the marks so that those of overlapping lines remain distinguishable.
        some = slice(2 + 3 * place, None, max(9, 3 * len(shown)))
        axes.plot(x.iloc[some], y.iloc[some], **marker_style(samplers, sampler, colour, 5.5))
        for at, benefit in zip(x.iloc[some], y.iloc[some], strict=True):
            note(axes, at, benefit, f"{sampler} at {100 * at:.0f} %: {fixed(benefit)}")
    axes.set(xlim=(0, 0.51), ylim=limits, xlabel="threshold probability", ylabel="net benefit per picture")
    axes.locator_params(nbins=5)
    axes.grid(axis="both")
    sampler_legend(figure, shown, samplers, colour, rules)
    return figure


#: Maximum number of classes that a sentence lists, and that the answer lists.
_MOST_NAMED, _FIRST_NAMED = 5, 3
#: A class with a lower recall is hardly ever found; the answer names all of these.
_HARDLY = 0.1


def class_of_interest(analysis: Analysis) -> str:
    """Return melanoma if present, else the rarer of two classes, else the class missed most often."""
    table = analysis.record.info.table
    names, rows = table.class_names, np.asarray(table.rows_per_class)
    if facts.MELANOMA in names:
        return facts.MELANOMA
    if len(names) > 2 and not analysis.best_pairs.empty:
        sampler, model = analysis.best_pairs.iloc[0][["sampler", "model"]]
        own = analysis.recalls
        own = own[(own["sampler"] == sampler) & (own["model"] == model)].dropna(subset=["mean"])
        if len(own):
            return str(own.sort_values("mean", kind="stable")["class"].iloc[0])
    return str(names[int(rows.argmin())])


def class_noun(info: RunInfo, name: str) -> str:
    """Return the noun for pictures of a class within a sentence: ``melanomas``, ``pictures of class df``."""
    return "melanomas" if name == facts.MELANOMA else f"pictures of class {shorten(name, 30)}"


def failing_classes(analysis: Analysis, pairs: pd.DataFrame) -> str:
    """State which classes one or two pairs mostly miss, worst first, with their recalls."""
    recalls = analysis.recalls.dropna(subset=["mean"])
    wide = recalls.pivot_table(index="class", columns=["sampler", "model"], values="mean", sort=False)
    keys = list(pairs[["sampler", "model"]].itertuples(index=False, name=None))
    if wide.empty or not set(keys) <= set(wide.columns):
        return ""
    own = wide[keys].dropna()
    lowest = own.min(axis=1).sort_values(kind="stable")
    whose = "It finds" if len(keys) == 1 else "Both find"
    if lowest.iloc[0] >= 0.5:
        least = _class_words(analysis, own, lowest.index[0])
        return f"{whose} at least half of every class, and least of {least}."
    low = list(lowest.index[lowest < 0.5])
    named = [_class_words(analysis, own, name) for name in low]
    most = max(_FIRST_NAMED, int((lowest < _HARDLY).sum()))
    start = "It finds fewer than half of" if len(keys) == 1 else "One or both find fewer than half of"
    return f"{start} {listing(named, most)}."


def _class_words(analysis: Analysis, recalls: pd.DataFrame, name: str) -> str:
    """Spell out a class with its recalls: ``dermatofibroma (df, 0.06)``."""
    values = listing([fixed(float(value), 2) for value in np.asarray(recalls.loc[name], dtype=float)])
    title = class_title(analysis.record.info, name)
    return f"{title} ({values})" if title == name else f"{title} ({shorten(name, 30)}, {values})"


def class_title(info: RunInfo, name: str) -> str:
    """Return the full name of a class within a sentence: ``basal cell carcinoma``; else its short name."""
    title = info.table.class_titles.get(name, name)
    if title != name and title[1:2].islower():
        title = title[0].lower() + title[1:]
    return shorten(title, 60)


def lost_classes(analysis: Analysis) -> str:
    """State which classes no pair finds half of; empty without a finished cell."""
    recalls = analysis.recalls.dropna(subset=["mean"])
    if recalls.empty:
        return ""
    highest = recalls.groupby("class", sort=False)["mean"].max().sort_values(kind="stable")
    lost = highest[highest < 0.5]
    if lost.empty:
        return "Of every class, some pair finds at least half."
    named = [
        f"{shorten(str(name), 30)} (at most {fixed(value, 2)})"
        for name, value in zip(lost.index, lost.to_numpy(float), strict=True)
    ]
    return f"No pair finds half of {listing(named, _MOST_NAMED)}."


@dataclass(frozen=True)
class CostOfFinding:
    """The cost to each pair of finding more of the class of interest."""

    noun: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def cost_of_finding(analysis: Analysis) -> CostOfFinding:
    """Format recall, false alarms and accuracy of every pair and of every moved threshold.

    Each model starts with its training without a sampler; the others follow by recall, highest first.
    """
    info, name = analysis.record.info, class_of_interest(analysis)
    board = titled(info, analysis.leaderboard).set_index(["sampler", "model"])
    laid = []
    for row in finding_costs(analysis.record, name).to_dict("records"):
        on_board = board.loc[(row["sampler"], row["model"])]
        moved = row["sampler"] == PRIOR_CORRECTION
        share = _ratio(row["found"], row["pictures"])
        alarms = _ratio(row["alarms"], row["found"])
        extra = _ratio(row["extra_alarms"], row["extra_found"])
        figures = (
            Value(f"{in_hundred(share)} of 100", share),
            Value(fixed(alarms, 1), alarms),
            Value(fixed(extra, 1), extra),
            Value(fixed(on_board["accuracy"]), on_board["accuracy"]),
        )
        title = "no sampler, threshold moved" if moved else on_board["sampler_title"]
        place = list(info.grid.models).index(row["model"]), row["sampler"] != "none", -np.nan_to_num(share)
        laid.append((place, Row(title, on_board["model_title"], figures, corrected=moved)))
    laid.sort(key=lambda pair: pair[0])
    noun = class_noun(info, name)
    columns = (
        Column("Found", f"Of 100 {noun}, how many are found; all folds pooled."),
        Column(
            "False alarms per find",
            "Pictures of other classes predicted as this class, per picture of the class that is found.",
        ),
        Column(
            "Extra alarms per extra find",
            f"False alarms beyond those of the same model without a sampler, for each of the {noun} "
            "that are found in addition; a dash if no more are found.",
        ),
        Column("Accuracy", HINTS["accuracy"]),
    )
    return CostOfFinding(noun, columns, tuple(row for _, row in laid))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else np.nan


def in_hundred(share: float) -> str:
    """Format a share in hundredths; a dash if it is unknown."""
    return NOTHING if np.isnan(share) else f"{100 * share:.0f}"


def recall_table(record: RunRecord, recalls: pd.DataFrame) -> list[Row]:
    """Format the recall of every class, with pairs in grid order."""
    rows = []
    for (sampler, model), of_pair in recalls.groupby(["sampler", "model"], sort=False):
        by_class = of_pair.set_index("class")[["mean", "sd"]].reindex(list(record.info.table.class_names))
        figures = [
            Value(fixed(mean, 2), mean, with_spread(mean, spread))
            for mean, spread in by_class.to_numpy(dtype=float).tolist()
        ]
        title = sampler_title(record.info, str(sampler), str(model))
        rows.append(Row(title, model_title(record.info, str(model)), tuple(figures)))
    return rows
