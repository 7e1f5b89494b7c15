"""How much to oversample: scores against the share of the way from the natural class mix to balance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skinmnist.analysis.analyze import Analysis
from skinmnist.analysis.operating_points import SHARE_MEASURES
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.reporting.format import fixed, listing, model_title, pair_title, shorten, signed
from skinmnist.reporting.theme import (
    MARKERS,
    NARROW,
    SERIES,
    WIDE,
    Embedded,
    PageFigure,
    embed_figure,
    note,
    styled,
)

#: Titles of `SHARE_MEASURES`.
_MEASURES = {
    ("natural_prior", "macro_auc"): "Macro-AUC at the natural prior",
    ("as_trained", "macro_f1"): "Macro-F1 as trained",
    ("tuned_macro_f1", "macro_f1"): "Macro-F1 at equal operating points",
}
#: The same within a sentence, by rule.
_IN_WORDS = {
    "natural_prior": "for ranking",
    "as_trained": "as trained",
    "tuned_macro_f1": "at equal operating points",
}
#: Smallest height of a panel, in units of the score, so that tiny differences look tiny.
LEAST_RANGE = 0.04
#: Largest number of lines in the figure of shares.
MOST_LINES = 6
#: Margins, gap and heights of that figure, in CSS pixels.
_LEFT, _RIGHT, _GAP, _TITLE, _BELOW, _PANEL = 48, 14, 48, 26, 44, 170


def context(analysis: Analysis) -> dict[str, Any]:
    """Return the template context of this section."""
    return {"shares": draw_shares(analysis.record.info, analysis.shares)}


@dataclass(frozen=True)
class Shares:
    """The figure of scores by share, and what it leaves out."""

    image: Embedded
    remarks: tuple[str, ...]


def draw_shares(info: RunInfo, shares: pd.DataFrame) -> Shares | None:
    """Draw `shares_figure` and describe it in words; None if no sampler has several shares."""
    lines = list(dict.fromkeys(shares[["sampler", "model"]].itertuples(index=False, name=None)))
    if not lines:
        return None
    drawn = lines[:MOST_LINES]
    alt = " ".join(_best_share(info, shares, *line) for line in drawn)
    wide, narrow = (shares_figure(info, shares, drawn, phone) for phone in (False, True))
    left_out = [pair_title(info, *line) for line in lines[MOST_LINES:]]
    remarks = [f"Not drawn, but in shares.csv: {listing(left_out)}."] if left_out else []
    caution = "The best of several means is partly chance; the verdicts compare each share with no sampler."
    return Shares(embed_figure(wide, f"Scores against shares. {alt}", narrow), (f"{alt} {caution}", *remarks))


def _best_share(info: RunInfo, shares: pd.DataFrame, sampler: str, model: str) -> str:
    """State the share with the best mean of each measure, without a claim of significance."""
    own = shares[(shares["sampler"] == sampler) & (shares["model"] == model)]
    found = []
    for rule, metric in SHARE_MEASURES:
        rows = own[(own["rule"] == rule) & (own["metric"] == metric)]
        if len(rows):
            best = rows.iloc[int(rows["mean"].argmax())]
            found.append(f"{best['share']:g} {_IN_WORDS[rule]} ({fixed(best['mean'])})")
    return f"Best shares of {pair_title(info, sampler, model)}: {listing(found)}."


@styled
def shares_figure(
    info: RunInfo, shares: pd.DataFrame, lines: list[tuple[str, str]], narrow: bool = False
) -> Figure:
    """Draw each measure against the share in a panel of its own, one line for each sampler and model."""
    measures = [m for m in SHARE_MEASURES if ((shares["rule"] == m[0]) & (shares["metric"] == m[1])).any()]
    columns = 1 if narrow else len(measures)
    width = NARROW if narrow else WIDE
    each = (width - _LEFT - _RIGHT - _GAP * (columns - 1)) / columns
    row_height, legend = _TITLE + _PANEL + _BELOW, 18 * (len(lines) if narrow else -(-len(lines) // 2)) + 4
    height = row_height * (len(measures) if narrow else 1) + legend
    figure = PageFigure(figsize=(width / 72, height / 72), dpi=72)
    for place, (rule, metric) in enumerate(measures):
        column, row = (0, place) if narrow else (place, 0)
        left, lower = _LEFT + column * (each + _GAP), height - row * row_height - _TITLE - _PANEL
        axes = figure.add_axes((left / width, lower / height, each / width, _PANEL / height))
        axes.set_title(_MEASURES[rule, metric], loc="left", fontsize=11.5, weight="bold")
        of_measure = shares[(shares["rule"] == rule) & (shares["metric"] == metric)]
        for sampler, model in lines:
            own = of_measure[(of_measure["sampler"] == sampler) & (of_measure["model"] == model)]
            _draw_line(axes, own, _line_style(info, lines, sampler, model), pair_title(info, sampler, model))
        axes.set(xlim=(-0.04, 1.04), xticks=[0, 0.25, 0.5, 0.75, 1], xlabel="share of the way to balance")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.grid(axis="y")
        axes.locator_params(axis="y", nbins=5)
        low, high = axes.get_ylim()
        room = max(0.0, LEAST_RANGE - (high - low)) / 2
        axes.set_ylim(low - room, high + room)
    handles = [
        Line2D([], [], label=_named(info, lines, *line), **_line_style(info, lines, *line)) for line in lines
    ]
    figure.legend(handles=handles, loc="lower left", ncols=1 if narrow else 2, borderaxespad=0, borderpad=0.2)
    return figure


def _named(info: RunInfo, lines: list[tuple[str, str]], sampler: str, model: str) -> str:
    """Return the name of a line: the sampler alone if there is only one model."""
    if len({name for _, name in lines}) == 1:
        return shorten(sampler, 50)
    return shorten(f"{sampler}, {model_title(info, model)}", 50)


def _draw_line(axes: Axes, rows: pd.DataFrame, style: dict[str, Any], title: str) -> None:
    """Draw the means of one pair against the share, with the band of their differences."""
    axes.plot(rows["share"], rows["mean"], **style)
    if rows["change_sd"].notna().all():
        ends = rows["mean"] - rows["change_sd"], rows["mean"] + rows["change_sd"]
        axes.fill_between(rows["share"], *ends, color=style["color"], alpha=0.12, linewidth=0)
    for row in rows.to_dict("records"):
        words = f"{title}, share {row['share']:g}: {fixed(row['mean'])} ({signed(row['change'])})"
        note(axes, row["share"], row["mean"], words)


def _line_style(info: RunInfo, lines: list[tuple[str, str]], sampler: str, model: str) -> dict[str, Any]:
    """Return the colour of a model, or of a sampler if there is only one model, and the sampler's marker."""
    models, samplers = (list(dict.fromkeys(line[part] for line in lines)) for part in (1, 0))
    place = models.index(model) if len(models) > 1 else samplers.index(sampler)
    marker = MARKERS[1 + samplers.index(sampler) % (len(MARKERS) - 1)]
    return {"color": SERIES[place % len(SERIES)], "marker": marker, "markersize": 6, "linewidth": 1.8}
