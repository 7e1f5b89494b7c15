"""The figures of how sure a run is and what it costs: forest plots, and scores against seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from skinmnist.analysis.differences import BETTER, ROPE, WORSE
from skinmnist.analysis.prior_correction import PRIOR_CORRECTION
from skinmnist.reporting.format import CONTROL_TITLE, shorten
from skinmnist.reporting.sections.scores import NARROW, WIDE, marker_style, model_colour
from skinmnist.reporting.theme import INK, LINE, MUTED, ON_HEAT, panels, styled, text_width

#: Room for a heading and for a row, in CSS pixels.
_HEADING, _ROW, _NARROW_ROW = 34, 27, 46


def pair_style(samplers: Sequence[str], models: Sequence[str], sampler: str, model: str) -> dict[str, Any]:
    """Return colour and marker of a pair; the control, which nobody trained, is grey."""
    if sampler == PRIOR_CORRECTION:
        grey = marker_style(["none"], "none", MUTED, 8)
        return grey | {"marker": "d", "markerfacecolor": ON_HEAT}
    style = marker_style(samplers, sampler, model_colour(models, model), 8)
    return style | ({"markerfacecolor": ON_HEAT} if sampler == "none" else {})


@styled
def forest_figure(
    rows: pd.DataFrame,
    samplers: Sequence[str],
    models: Sequence[str],
    label: str,
    narrow: bool = False,
    units: str = "lesions",
) -> Figure:
    """Draw the difference of every pair to the same model without a sampler, with both intervals.

    Parameters
    ----------
    rows : DataFrame
        ``sampler, model, sampler_title, model_title, difference, low, high`` (over folds), ``lesion_low,
        lesion_high`` (over lesions), ``verdict``, models together.
    samplers, models : sequence of str
        Names of the grid, which give markers and colours.
    label : str
        The metric.
    narrow : bool
        For a phone: names above the marks instead of beside them.
    """
    records = rows.to_dict("records")
    row_step = _NARROW_ROW if narrow else _ROW
    n_headings = rows["model"].nunique()
    height = n_headings * _HEADING + len(rows) * row_step
    names = [shorten(row["sampler_title"], 34) for row in records]
    verdicts = [row["verdict"] for row in records]
    left = 12 if narrow else 30 + max(text_width(name) for name in names)
    right = 12 if narrow else 16 + max(text_width(verdict, 11) for verdict in verdicts)
    legend = 62 if narrow else 34
    width = NARROW if narrow else WIDE
    figure, (axes,) = panels(width, height + 46 + legend, (left, right, 4, 42 + legend))
    axes.set_ylim(height, 0)
    axes.axvspan(-ROPE, ROPE, color=LINE, alpha=0.55, linewidth=0)
    axes.axvline(0, color=INK, linewidth=1)
    y, model = 0.0, None
    for row, name in zip(records, names, strict=True):
        if row["model"] != model:
            model = row["model"]
            _write(axes, shorten(row["model_title"], 54), y + _HEADING * 0.66, left, narrow, weight="bold")
            y += _HEADING
        centre = y + (row_step - 13 if narrow else row_step / 2)
        _draw_difference(axes, row, centre, pair_style(samplers, models, row["sampler"], row["model"]))
        told: dict[str, Any] = {"color": INK if row["verdict"] in (BETTER, WORSE) else MUTED}
        if narrow:
            _write(axes, name, y + 14, left, narrow)
            axes.text(1, y + 14, row["verdict"], transform=_rowwise(axes), ha="right", va="center", **told)
        else:
            _write(axes, name, centre, left, narrow)
            x = 1 + 12 / (width - left - right)
            axes.text(x, centre, row["verdict"], transform=_rowwise(axes), va="center", **told)
        y += row_step
    _limit(axes, rows)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_xlabel(f"difference in {label} to training without a sampler")
    _explain(figure, narrow, units)
    return figure


def _rowwise(axes: Axes) -> Any:
    return axes.get_yaxis_transform()


def _write(axes: Axes, text: str, y: float, left: float, narrow: bool, weight: str = "normal") -> None:
    """Write a name at the left edge of the figure, or, on a phone, of the axes."""
    width = axes.bbox.width
    x = 0.0 if narrow else -(left - (0 if weight == "bold" else 16)) / width
    axes.text(x, y, text, transform=_rowwise(axes), va="center", weight=weight)


def _draw_difference(axes: Axes, row: Any, y: float, style: dict[str, Any]) -> None:
    colour = style["markeredgecolor"]
    axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=9, alpha=0.3, solid_capstyle="butt")
    axes.plot([row["lesion_low"], row["lesion_high"]], [y, y], color=colour, linewidth=1.8)
    axes.plot([row["difference"]], [y], **style)


def _limit(axes: Axes, rows: pd.DataFrame) -> None:
    """Show everything but intervals over too few folds, which have no end."""
    tested = rows[rows["folds"] > 2]
    values = np.concatenate(
        [
            rows[["difference", "lesion_low", "lesion_high"]].to_numpy(dtype=float).ravel(),
            tested[["low", "high"]].to_numpy(dtype=float).ravel(),
            [-2 * ROPE, 2 * ROPE],
        ]
    )
    low, high = np.nanmin(values), np.nanmax(values)
    axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.2f}".replace("-", "−") if value else "0")


def _explain(figure: Figure, narrow: bool, units: str) -> None:
    handles = [
        Line2D([], [], color=MUTED, linewidth=9, alpha=0.4, label="95 % interval over folds, corrected"),
        Line2D([], [], color=MUTED, linewidth=1.8, label=f"95 % interval over {units}"),
        Patch(color=LINE, alpha=0.55, label=f"within ±{ROPE:g}"),
    ]
    figure.legend(handles=handles, loc="lower left", ncols=1 if narrow else 3, borderaxespad=0, borderpad=0.2)


@styled
def cost_figure(
    board: pd.DataFrame, samplers: Sequence[str], models: Sequence[str], narrow: bool = False
) -> Figure:
    """Draw macro-F1 against the seconds of a cell, one mark for each pair, with its interval over lesions.

    Parameters
    ----------
    board : DataFrame
        ``sampler, model, model_title, macro_f1, seconds, lesion_low, lesion_high``.
    samplers, models : sequence of str
    narrow : bool
        For a phone.
    """
    shown_models = board.drop_duplicates("model")
    shown_samplers = [name for name in [*samplers, PRIOR_CORRECTION] if name in set(board["sampler"])]
    entries = len(shown_models) + len(shown_samplers)
    names = [*shown_models["model_title"], *shown_samplers]
    beside = 46 + max(text_width(shorten(name, 36)) for name in names)
    below = 40 + 18 * entries if narrow else 0
    width, height = (NARROW, 280 + below) if narrow else (WIDE, max(330, 90 + 19 * entries))
    figure, (axes,) = panels(width, height, (48, 12 if narrow else beside, 10, 46 + below))
    for row in board.to_dict("records"):
        style = pair_style(samplers, models, row["sampler"], row["model"])
        x, ends = row["seconds"], [row["lesion_low"], row["lesion_high"]]
        axes.plot([x, x], ends, color=style["markeredgecolor"], linewidth=1.8)
        axes.plot([x], [row["macro_f1"]], **style)
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
        handles.append(Line2D([], [], label=CONTROL_TITLE if grey else shorten(sampler, 36), **style))
    place = (
        {"loc": "lower left"} if narrow else {"loc": "upper left", "bbox_to_anchor": (1 - beside / WIDE, 1)}
    )
    figure.legend(handles=handles, handlelength=1.4, borderaxespad=0.6, **place)
    return figure
